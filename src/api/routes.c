// SPDX-License-Identifier: Apache-2.0
// The routes in one table; described in schemas/openapi.yaml, which a test holds against it.
#include <stdio.h>
#include <string.h>

#include "api/api_int.h"
#include "obs/metrics.h"

enum {
    JSON_BODY_MAX = 65536,
    HUB_BODY_MAX = 1 << 20,
    MESSAGES_BODY_MAX = 4 << 20,
    FORM_ROOM = 1 << 20,
    RECORD_BODY_MAX = PRODUCE_MAX * 2
};

static const struct http_route table[] = {
    {.method = "POST",
     .pattern = "/api/v1/images/upload",
     .handle = api_upload,
     .body = HTTP_BODY_SINK,
     .sink = &api_upload_sink,
     .waits = true},
    {.method = "POST",
     .pattern = "/api/v1/images/import",
     .handle = api_image_import,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX,
     .waits = true},
    {.method = "GET", .pattern = "/api/v1/images", .handle = api_image_list},
    {.method = "POST",
     .pattern = "/api/v1/images/delete",
     .handle = api_items_delete,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX,
     .waits = true},
    {.method = "GET", .pattern = "/api/v1/images/{id}", .handle = api_image_get},
    {.method = "DELETE", .pattern = "/api/v1/images/{id}", .handle = api_image_delete},
    {.method = "GET", .pattern = "/api/v1/images/{id}/status", .handle = api_image_status},
    {.method = "GET", .pattern = "/api/v1/images/{id}/original", .handle = api_image_original},
    {.method = "GET", .pattern = "/api/v1/images/{id}/thumbnail", .handle = api_image_thumbnail},
    {.method = "POST",
     .pattern = "/api/v1/videos/upload",
     .handle = api_upload,
     .body = HTTP_BODY_SINK,
     .sink = &api_video_sink,
     .waits = true},
    {.method = "GET", .pattern = "/api/v1/videos", .handle = api_image_list},
    {.method = "POST",
     .pattern = "/api/v1/videos/delete",
     .handle = api_items_delete,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX,
     .waits = true},
    {.method = "GET", .pattern = "/api/v1/videos/{id}", .handle = api_image_get},
    {.method = "DELETE", .pattern = "/api/v1/videos/{id}", .handle = api_image_delete},
    {.method = "GET", .pattern = "/api/v1/videos/{id}/status", .handle = api_image_status},
    {.method = "GET", .pattern = "/api/v1/videos/{id}/original", .handle = api_image_original},
    {.method = "GET", .pattern = "/api/v1/videos/{id}/thumbnail", .handle = api_video_thumbnail},
    {.method = "GET", .pattern = "/api/v1/videos/{id}/poster", .handle = api_video_poster},
    {.method = "GET", .pattern = "/api/v1/videos/{id}/preview", .handle = api_video_preview},
    {.method = "GET", .pattern = "/api/v1/videos/{id}/sprite", .handle = api_video_sprite},
    {.method = "GET", .pattern = "/api/v1/videos/{id}/sprite.vtt", .handle = api_video_sprite_map},
    {.method = "GET", .pattern = "/api/v1/videos/{id}/frames", .handle = api_video_frames},
    {.method = "POST",
     .pattern = "/api/v1/search",
     .handle = api_search,
     .body = HTTP_BODY_SINK,
     .sink = &api_search_sink},
    {.method = "GET", .pattern = "/api/v1/search", .handle = api_search_get},
    {.method = "GET", .pattern = "/api/v1/duplicates", .handle = api_duplicates},
    {.method = "GET", .pattern = "/api/v1/receipts", .handle = api_receipts},
    {.method = "GET", .pattern = "/api/v1/receipts/{id}", .handle = api_receipt},
    {.method = "POST",
     .pattern = "/api/v1/messages",
     .handle = api_message_take,
     .body = HTTP_BODY_BUFFER,
     .max_body = MESSAGES_BODY_MAX,
     .waits = true},
    {.method = "GET", .pattern = "/api/v1/messages", .handle = api_messages},
    {.method = "GET", .pattern = "/api/v1/messages/{id}", .handle = api_message_get},
    {.method = "GET", .pattern = "/webhooks/whatsapp", .handle = api_whatsapp_verify},
    {.method = "POST",
     .pattern = "/webhooks/whatsapp",
     .handle = api_whatsapp_notify,
     .body = HTTP_BODY_BUFFER,
     .max_body = MESSAGES_BODY_MAX,
     .waits = true},
    {.method = "GET", .pattern = "/api/v1/events", .handle = api_events},
    {.method = "POST",
     .pattern = "/hubs/processing-status/negotiate",
     .handle = api_hub_negotiate,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX},
    {.method = "GET", .pattern = "/hubs/processing-status", .handle = api_hub},
    {.method = "POST",
     .pattern = "/hubs/processing-status",
     .handle = api_hub_send,
     .body = HTTP_BODY_BUFFER,
     .max_body = HUB_BODY_MAX},
    {.method = "DELETE", .pattern = "/hubs/processing-status", .handle = api_hub_close},
    {.method = "GET", .pattern = "/api/v1/admin/ledger", .handle = api_admin_ledger},
    {.method = "GET", .pattern = "/api/v1/admin/tenants", .handle = api_admin_tenants},
    {.method = "POST",
     .pattern = "/api/v1/admin/tenants",
     .handle = api_admin_tenant_add,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX},
    {.method = "PATCH",
     .pattern = "/api/v1/admin/tenants/{tenant}",
     .handle = api_admin_tenant_alter,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX},
    {.method = "DELETE", .pattern = "/api/v1/admin/tenants/{tenant}", .handle = api_admin_tenant_remove, .waits = true},
    {.method = "GET", .pattern = "/api/v1/admin/models", .handle = api_admin_models},
    {.method = "PUT",
     .pattern = "/api/v1/admin/models/default",
     .handle = api_admin_model_use,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX},
    {.method = "GET", .pattern = "/api/v1/admin/models/compare", .handle = api_admin_model_compare},
    {.method = "DELETE", .pattern = "/api/v1/admin/models/{model}/vectors", .handle = api_admin_model_drop},
    {.method = "GET", .pattern = "/api/v1/admin/rebuilds", .handle = api_admin_rebuilds},
    {.method = "POST",
     .pattern = "/api/v1/admin/rebuilds",
     .handle = api_admin_reindex,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX},
    {.method = "DELETE", .pattern = "/api/v1/admin/rebuilds", .handle = api_admin_rebuild_cancel},
    {.method = "GET", .pattern = "/api/v1/admin/topics", .handle = api_admin_topics},
    {.method = "POST",
     .pattern = "/api/v1/admin/topics",
     .handle = api_admin_topic_create,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX},
    {.method = "POST",
     .pattern = "/api/v1/admin/topics/ensure",
     .handle = api_admin_topics_ensure,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX},
    {.method = "GET", .pattern = "/api/v1/admin/topics/{topic}", .handle = api_admin_topic},
    {.method = "PATCH",
     .pattern = "/api/v1/admin/topics/{topic}",
     .handle = api_admin_topic_alter,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX},
    {.method = "DELETE", .pattern = "/api/v1/admin/topics/{topic}", .handle = api_admin_topic_delete},
    {.method = "POST",
     .pattern = "/api/v1/admin/topics/{topic}/recreate",
     .handle = api_admin_topic_recreate,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX},
    {.method = "GET", .pattern = "/api/v1/admin/topics/{topic}/records", .handle = api_admin_records},
    {.method = "POST",
     .pattern = "/api/v1/admin/topics/{topic}/records",
     .handle = api_admin_produce,
     .body = HTTP_BODY_BUFFER,
     .max_body = RECORD_BODY_MAX},
    {.method = "GET", .pattern = "/api/v1/admin/groups", .handle = api_admin_groups},
    {.method = "GET", .pattern = "/api/v1/admin/groups/{group}", .handle = api_admin_group},
    {.method = "DELETE", .pattern = "/api/v1/admin/groups/{group}", .handle = api_admin_group_delete},
    {.method = "POST",
     .pattern = "/api/v1/admin/groups/{group}/reset",
     .handle = api_admin_group_reset,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX},
    {.method = "GET", .pattern = "/api/v1/admin/lag", .handle = api_admin_lag},
    {.method = "GET", .pattern = "/api/v1/admin/jobs", .handle = api_jobs},
    {.method = "PATCH",
     .pattern = "/api/v1/admin/jobs/{step}",
     .handle = api_job_alter,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX},
    {.method = "GET", .pattern = "/api/v1/admin/jobs/{step}/failed", .handle = api_job_failed},
    {.method = "POST",
     .pattern = "/api/v1/admin/jobs/{step}/retry",
     .handle = api_job_retry,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX,
     .waits = true},
    {.method = "GET", .pattern = "/api/v1/admin/deadletters", .handle = api_admin_deadletters},
    {.method = "DELETE", .pattern = "/api/v1/admin/deadletters", .handle = api_admin_purge},
    {.method = "GET", .pattern = "/api/v1/admin/deadletters/{id}", .handle = api_admin_deadletter},
    {.method = "POST", .pattern = "/api/v1/admin/deadletters/{id}/replay", .handle = api_admin_replay},
    {.method = "GET", .pattern = "/api/v1/admin/receipts/key", .handle = api_receipt_key},
    {.method = "GET", .pattern = "/api/v1/admin/alerts", .handle = api_alerts},
    {.method = "POST", .pattern = "/api/v1/admin/alerts/test", .handle = api_alerts_test},
    {.method = "POST",
     .pattern = "/api/v1/admin/alerts/silences",
     .handle = api_alerts_silence,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX},
    {.method = "DELETE", .pattern = "/api/v1/admin/alerts/silences/{id}", .handle = api_alerts_unsilence},
    {.method = "GET", .pattern = "/api/v1/admin/webhooks", .handle = api_webhooks},
    {.method = "POST",
     .pattern = "/api/v1/admin/webhooks",
     .handle = api_webhook_add,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX},
    {.method = "DELETE", .pattern = "/api/v1/admin/webhooks/{id}", .handle = api_webhook_remove},
    {.method = "POST",
     .pattern = "/api/v1/admin/webhooks/{id}/rotate",
     .handle = api_webhook_rotate,
     .body = HTTP_BODY_BUFFER,
     .max_body = JSON_BODY_MAX},
    {.method = "POST", .pattern = "/api/v1/admin/webhooks/{id}/test", .handle = api_webhook_test},
    {.method = "GET", .pattern = "/api/v1/admin/webhooks/{id}/deliveries", .handle = api_webhook_deliveries},
    {.method = "GET", .pattern = "/api/v1/admin/webhooks/{id}/deliveries/{delivery}", .handle = api_webhook_delivery},
    {.method = "POST",
     .pattern = "/api/v1/admin/webhooks/{id}/deliveries/{delivery}/replay",
     .handle = api_webhook_replay},
    {.method = "GET", .pattern = "/api/v1/version", .handle = api_version, .quick = true},
    {.method = "GET", .pattern = "/openapi.json", .handle = api_openapi, .quick = true},
    {.method = "GET", .pattern = "/healthz", .handle = api_healthz, .quick = true, .always = true},
    {.method = "GET", .pattern = "/readyz", .handle = api_readyz, .always = true},
    {.method = "GET", .pattern = "/metrics", .handle = api_metrics, .always = true},
    {.method = "GET", .pattern = "/", .handle = api_root, .quick = true},
};

_Static_assert(ARRAY_LEN(table) < API_ROUTES_MAX, "the table has grown out of its array");

void api_routes(const struct flow *flow, struct http_route routes[API_ROUTES_MAX])
{
    memcpy(routes, table, sizeof table);
    routes[ARRAY_LEN(table)] = (struct http_route){0};
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (routes[i].body == HTTP_BODY_SINK)
            routes[i].max_body = flow->settings.upload_max_bytes + FORM_ROOM;
}

static bool needs_log_alone(const char *pattern)
{
    static const char *const begins[] = {"/api/v1/admin/topics", "/api/v1/admin/groups", "/api/v1/admin/lag",
                                         "/api/v1/admin/deadletters", "/api/v1/version"};
    for (size_t i = 0; i < ARRAY_LEN(begins); i++)
        if (strncmp(pattern, begins[i], strlen(begins[i])) == 0)
            return true;
    return false;
}

void api_routes_log(struct http_route routes[API_ROUTES_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (needs_log_alone(table[i].pattern))
            routes[count++] = table[i];
    routes[count] = (struct http_route){0};
}

void api_on_done(void *ctx, const char *method, const char *pattern, int status, int64_t duration_us)
{
    (void)ctx, (void)method, (void)pattern;
    char text[8];
    snprintf(text, sizeof text, "%d", status);
    metric_add(M_HTTP_REQUESTS, text, 1);
    metric_observe(M_HTTP_SECONDS, NULL, (double)duration_us / 1e6);
}
