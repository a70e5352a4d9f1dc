// SPDX-License-Identifier: Apache-2.0
// Vectors on a Qdrant server: a collection is one of Qdrant's, of the same name; a vector is one of its points.
//
//   point     its id is a UUID, made of ours (qdrant_payload.c); ours, and what filters see, are its payload
//   upsert    requests of a bounded size, each of which Qdrant has applied when it answers (wait=true). Done again,
//   they
//             change nothing
//   search    exact, unless the query is content with less; equal scores are put in order here (qdrant_search.c)
//   filters   translated whole (qdrant_filter.c)
//   claim     the server has one owner (qdrant_claim.c)
//
// What was answered is in Qdrant's write-ahead log, so `flush` has nothing to do: how durable that is, Qdrant's own
// settings say (docs/QDRANT.md). A batch is seen point by point while it is applied, and when the connection breaks in
// the middle, a part of it may be in: callers do it again.
//
// When the server is away, everything fails as an outage (ERR_UNAVAILABLE), and opening does not: DeepLens starts, says
// that it is not ready, and goes on when the server is back.
#include <string.h>

#include "backends/index/index_qdrant.h"
#include "backends/index/qdrant_int.h"

static void qdrant_close(void *state)
{
    struct qdrant *q = state;
    if (!q)
        return;
    qdrant_idle_free(q);
    qdrant_known_free(q);
    pthread_mutex_destroy(&q->admin);
    pthread_mutex_destroy(&q->lock);
    qdrant_config_free(&q->config);
    free(q);
}
DEFINE_CLEANUP(struct qdrant *, qdrant, qdrant_close)

static int qdrant_open(const char *location, void **state, struct error *err)
{
    struct error why = {0};
    _cleanup_(cleanup_qdrant) struct qdrant *q = calloc(1, sizeof *q);
    if (!q)
        return error_set(err, ERR_NO_MEMORY, "There is no memory for the index");
    pthread_mutex_init(&q->lock, NULL);
    pthread_mutex_init(&q->admin, NULL);
    if (qdrant_config_read(location, &q->config, err) < 0)
        return -1;
    if (qdrant_claim(q, &why) < 0 && (!why.outage || why.code == ERR_CONFIG))
        return error_copy(err, &why);
    *state = take_ptr(q);
    return 0;
}

static int qdrant_flush(void *state, const char *collection, struct error *err)
{
    return 0;
}

// Its optimisers do that by themselves.
static int qdrant_tidy(void *state, const char *collection, bool dry_run, uint64_t *freed, struct error *err)
{
    *freed = 0;
    return 0;
}

const struct index_ops index_qdrant = {
    .name = "qdrant",
    .open = qdrant_open,
    .close = qdrant_close,
    .ensure = qdrant_ensure,
    .list = qdrant_list,
    .drop = qdrant_drop,
    .upsert = qdrant_upsert,
    .remove = qdrant_remove,
    .search = qdrant_search,
    .get = qdrant_get,
    .count = qdrant_count,
    .list_ids = qdrant_list_ids,
    .flush = qdrant_flush,
    .tidy = qdrant_tidy,
    .health = qdrant_health,
};
