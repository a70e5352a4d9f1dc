// SPDX-License-Identifier: Apache-2.0
// Details of items: one row each, in a table of their own, so that reading an item does not drag them along. Those of
// many are asked for at once: a round trip each would take longer than comparing them.
#include <jansson.h>

#include "backends/meta/pg_int.h"
#include "base/js.h"

int pg_details_put(struct meta_tx *tx, const char *tenant, const char *id, const void *bytes, size_t len,
                   struct error *err)
{
    if (pg_wall(tx, tenant, err) < 0)
        return -1;
    return pg_later(tx,
                    "INSERT INTO details (media, tenant, bytes)"
                    " SELECT num, tenant, $3 FROM media WHERE tenant = $1 AND id = $2"
                    " ON CONFLICT (media) DO UPDATE SET bytes = excluded.bytes",
                    PG_ARGS(pg_text(tenant), pg_text(id), pg_bytes(bytes, len)), err);
}

static char *ids_text(const char *const *ids, size_t count)
{
    _cleanup_json_ json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(ids[i]));
    return json_dumps(list, JSON_COMPACT);
}

int pg_details_get(struct meta_tx *tx, struct arena *arena, const char *tenant, const char *const *ids, size_t count,
                   struct meta_details **out, struct error *err)
{
    _cleanup_free_ char *list = ids_text(ids, count);
    _cleanup_pg_result_ PGresult *found = NULL;
    if (!list)
        return error_set(err, ERR_NO_MEMORY, "No memory for %zu ids", count);
    if (pg_wall(tx, tenant, err) < 0 ||
        pg_query(tx,
                 "SELECT a.place, d.bytes FROM jsonb_array_elements_text($2::jsonb) WITH ORDINALITY AS a(id, place)"
                 " JOIN media m ON m.tenant = $1 AND m.id = a.id COLLATE \"C\" JOIN details d ON d.media = m.num",
                 PG_ARGS(pg_text(tenant), pg_text(list)), &found, err) < 0)
        return -1;
    struct meta_details *rows = arena_alloc(arena, (count + 1) * sizeof *rows);
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct meta_details){0};
    for (int i = 0; i < PQntuples(found); i++) {
        struct meta_details *row = &rows[pg_col_int(found, i, 0) - 1];
        row->bytes = pg_col_bytes(arena, found, i, 1, &row->len);
    }
    *out = rows;
    return 0;
}
