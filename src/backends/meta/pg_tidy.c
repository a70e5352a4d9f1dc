// SPDX-License-Identifier: Apache-2.0
// Housekeeping: statistics for the planner, a table at a time. Space is the server's autovacuum's.
#include "backends/meta/meta_postgres.h"
#include "backends/meta/pg_int.h"

static const char *const statements[] = {
    "ANALYZE tenant",  "ANALYZE media",  "ANALYZE step",    "ANALYZE inbox",    "ANALYZE retry",
    "ANALYZE outbox",  "ANALYZE change", "ANALYZE webhook", "ANALYZE delivery", "ANALYZE receipt",
    "ANALYZE message", "ANALYZE alike",  "ANALYZE details", "ANALYZE run",      "ANALYZE setting",
};

static int analyze(struct meta_tx *tx, void *arg, struct error *err)
{
    const int64_t *piece = arg;
    return pg_later(tx, statements[*piece], PG_NO_ARGS, err);
}

int pg_tidy(void *state, bool dry_run, int64_t *piece, uint64_t *freed, struct error *err)
{
    int64_t at = *piece;
    if (!dry_run && at < (int64_t)ARRAY_LEN(statements) &&
        meta_postgres.write(state, META_RELAXED, analyze, &at, err) < 0)
        return -1;
    *piece = !dry_run && at + 1 < (int64_t)ARRAY_LEN(statements) ? at + 1 : -1;
    *freed = 0;
    return 0;
}
