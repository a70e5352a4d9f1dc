// SPDX-License-Identifier: Apache-2.0
// Health, readiness, metrics, the API's description, the version.
#include <string.h>

#include "api/api_int.h"
#include "api/openapi.h"
#include "flow/health.h"
#include "obs/metrics.h"

void api_healthz(struct http_request *req, void *ctx, void *sink)
{
    (void)ctx, (void)sink;
    http_reply_json(req, 200, json_pack("{s:s}", "status", "ok"));
}

void api_version(struct http_request *req, void *ctx, void *sink)
{
    (void)ctx, (void)sink;
    http_reply_json(req, 200, json_pack("{s:s,s:s}", "name", "DeepLens", "version", DEEPLENS_VERSION));
}

void api_openapi(struct http_request *req, void *ctx, void *sink)
{
    (void)ctx, (void)sink;
    http_reply_text(req, 200, "application/json", api_openapi_json);
}

void api_root(struct http_request *req, void *ctx, void *sink)
{
    (void)ctx, (void)sink;
    http_reply_json(req, 200,
                    json_pack("{s:s,s:s,s:s,s:s,s:s}", "name", "DeepLens", "version", DEEPLENS_VERSION, "api",
                              "/openapi.json", "upload", "POST /api/v1/images/upload", "search",
                              "POST /api/v1/search"));
}

static void note_check(void *arg, const char *name, const struct error *why)
{
    json_object_set_new(arg, name, json_string(why ? why->message : "ok"));
}

void api_readyz(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct api *api = ctx;
    json_t *checks = json_object();
    bool ok = health_look(api->flow, api->runner, note_check, checks) && !api->draining;
    const char *status = api->draining ? "draining" : ok ? "ready" : "not ready";
    http_reply_json(req, ok ? 200 : 503, json_pack("{s:s,s:o}", "status", status, "checks", checks));
}

// --- Metrics: gauges are taken when they are asked for

static void take_ledger(struct flow *f)
{
    struct meta_ledger l;
    if (admin_ledger(f, NULL, &l, NULL) < 0)
        return;
    metric_set(M_LEDGER, "accepted", (int64_t)l.accepted);
    metric_set(M_LEDGER, "searchable", (int64_t)l.searchable);
    metric_set(M_LEDGER, "failed", (int64_t)l.failed);
    metric_set(M_LEDGER, "deleted", (int64_t)l.deleted);
    metric_set(M_LEDGER, "in_flight", (int64_t)l.in_flight);
}

static size_t take_partitions(const json_t *group, struct metric_sample *samples, size_t count, struct arena *arena)
{
    size_t i;
    json_t *p;
    json_array_foreach(js_arr(group, "partitions"), i, p)
    {
        if (count == METRIC_SAMPLES_MAX)
            break;
        samples[count++] = (struct metric_sample){{js_str(group, "name", ""), js_str(p, "topic", ""),
                                                   arena_printf(arena, "%d", (int)js_int(p, "partition", 0))},
                                                  js_int(p, "lag", 0)};
    }
    return count;
}

static void take_lag(struct flow *f, struct buf *out)
{
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_json_ json_t *lag = NULL;
    struct metric_sample *partitions = arena_alloc(&arena, METRIC_SAMPLES_MAX * sizeof *partitions),
                         *groups = arena_alloc(&arena, METRIC_SAMPLES_MAX * sizeof *groups);
    size_t i, count = 0, group_count = 0;
    json_t *group;
    if (admin_lag(f, &lag, NULL) < 0)
        return;
    json_array_foreach(js_arr(lag, "groups"), i, group)
    {
        if (group_count < METRIC_SAMPLES_MAX)
            groups[group_count++] = (struct metric_sample){{js_str(group, "name", "")}, js_int(group, "lag", 0)};
        count = take_partitions(group, partitions, count, &arena);
    }
    metrics_write_samples(M_GROUP_LAG, groups, group_count, out);
    metrics_write_samples(M_PARTITION_LAG, partitions, count, out);
}

struct retries_call {
    struct flow *flow;
    uint64_t count;
};

static int retries_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct retries_call *call = arg;
    return call->flow->meta.ops->retry_count(tx, &call->count, err);
}

static void take_queues(struct api *api)
{
    struct runner_step_health health[STEP_COUNT];
    struct retries_call retries = {.flow = api->flow};
    if (api->flow->meta.ops->read(api->flow->meta.state, retries_tx, &retries, NULL) == 0)
        metric_set(M_RETRIES_WAITING, NULL, (int64_t)retries.count);
    if (!api->runner)
        return;
    runner_health(api->runner, health);
    for (int s = 0; s < STEP_COUNT; s++)
        if (health[s].name)
            metric_set(M_QUEUE_EVENTS, health[s].name, (int64_t)health[s].held);
}

void api_metrics(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct api *api = ctx;
    _cleanup_buf_ struct buf text = BUF_INIT(4 << 20);
    take_ledger(api->flow);
    take_lag(api->flow, &text);
    take_queues(api);
    if (metrics_write(&text) < 0) {
        struct error err = {0};
        error_set(&err, ERR_INTERNAL, "The metrics do not fit into %zu bytes", text.max);
        http_reply_error(req, &err);
        return;
    }
    http_reply_text(req, 200, "text/plain; version=0.0.4; charset=utf-8", text.data);
}
