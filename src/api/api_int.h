// SPDX-License-Identifier: Apache-2.0
// What the resources share.
#ifndef DEEPLENS_API_API_INT_H
#define DEEPLENS_API_API_INT_H

#include "api/api.h"
#include "base/js.h"
#include "flow/admin.h"

static inline struct flow *api_flow(void *ctx) // of a route
{
    return ((struct api *)ctx)->flow;
}

// Fields of a form, or of a raw body's query: names that a resource knows, values bounded.
enum { FORM_FIELDS = 12, FORM_VALUE_MAX = 65536 };

struct form {
    const char *const *names; // NULL-terminated
    struct buf values[FORM_FIELDS];
};

void form_init(struct form *form, const char *const *names);
void form_free(struct form *form);
// Takes a piece of a field's value. Unknown fields are refused, so that a misspelt one is noticed.
int form_data(struct form *form, const char *field, const char *data, uint64_t offset, size_t len, struct error *err);
// The field, else the query parameter of that name, else NULL.
const char *form_get(const struct form *form, const struct http_request *req, const char *name);

// A query parameter; NULL when it is not there or empty.
const char *api_given(const struct http_request *req, const char *name);

// The tenant of a request: the form's or query's tenantId, else X-Tenant-Id, else "default". Two that differ:
// ERR_INVALID.
int api_tenant(const struct http_request *req, const char *given, const char **out, struct error *err);

// A whole number in a query parameter; `otherwise` when it is not there.
int api_int(const struct http_request *req, const char *name, int64_t least, int64_t most, int64_t otherwise,
            int64_t *out, struct error *err);

// A time in a query parameter, 0 when it is not there; a flag, "true" or "false".
int api_time(const struct http_request *req, const char *name, int64_t *out, struct error *err);
int api_flag(const struct http_request *req, const char *name, bool otherwise, bool *out, struct error *err);

// The body as a JSON object, an empty one when there is no body; and its members.
int api_body(const struct http_request *req, json_t **out, struct error *err);
// The same, with no other members than these (ends with NULL), so that a misspelt one is noticed.
int api_body_known(const struct http_request *req, const char *const *known, json_t **out, struct error *err);
int api_member_text(const json_t *body, const char *name, const char **out, struct error *err); // NULL: it is not there
int api_member_int(const json_t *body, const char *name, int64_t otherwise, int64_t *out, struct error *err);
int api_member_flag(const json_t *body, const char *name, bool otherwise, bool *out, struct error *err);

// The answer `body` (taken), or what went wrong when `rc` < 0.
void api_reply(struct http_request *req, int status, int rc, json_t *body, const struct error *err);

int api_live(const struct api *api, struct error *err); // can changes be followed?

json_t *api_media_json(const struct media *media);
// Answers with a blob, which is closed afterwards, as `content` says (its bytes and its caching are filled in).
int api_send_blob(struct http_request *req, struct api *api, struct blob_reader *reader, struct http_content content,
                  struct error *err);
void api_set_duplicate(json_t *json, const struct media *media); // what it is a near-duplicate of

// What ids without a prefix are on this route: "vid" below /api/v1/videos, else "img"; and the id of the route, in
// full.
const char *api_kind(const struct http_request *req);
int api_id(struct http_request *req, const char **out, struct error *err);

#define API_HANDLER(name) void name(struct http_request *req, void *ctx, void *sink)
API_HANDLER(api_upload);
API_HANDLER(api_image_import);
API_HANDLER(api_image_list);
API_HANDLER(api_image_get);
API_HANDLER(api_image_status);
API_HANDLER(api_image_original);
API_HANDLER(api_image_thumbnail);
API_HANDLER(api_image_motion);
API_HANDLER(api_image_delete);
API_HANDLER(api_items_delete);
API_HANDLER(api_video_frames);
API_HANDLER(api_video_thumbnail);
API_HANDLER(api_video_poster);
API_HANDLER(api_video_preview);
API_HANDLER(api_video_sprite);
API_HANDLER(api_video_sprite_map);
API_HANDLER(api_duplicates);
API_HANDLER(api_message_take);
API_HANDLER(api_message_get);
API_HANDLER(api_messages);
API_HANDLER(api_messages_erase);
API_HANDLER(api_messages_export);
API_HANDLER(api_whatsapp_verify);
API_HANDLER(api_whatsapp_notify);
API_HANDLER(api_replies);
API_HANDLER(api_workflows);
API_HANDLER(api_workflow_add);
API_HANDLER(api_workflow_remove);
API_HANDLER(api_workflow_test);
API_HANDLER(api_search);
API_HANDLER(api_search_get);
API_HANDLER(api_search_video);
API_HANDLER(api_events);
API_HANDLER(api_hub);
API_HANDLER(api_hub_negotiate);
API_HANDLER(api_hub_send);
API_HANDLER(api_hub_close);
API_HANDLER(api_admin_ledger);
API_HANDLER(api_admin_topics);
API_HANDLER(api_admin_topic);
API_HANDLER(api_admin_topic_create);
API_HANDLER(api_admin_topic_alter);
API_HANDLER(api_admin_topic_delete);
API_HANDLER(api_admin_topic_recreate);
API_HANDLER(api_admin_topics_ensure);
API_HANDLER(api_admin_records);
API_HANDLER(api_admin_produce);
API_HANDLER(api_admin_groups);
API_HANDLER(api_admin_group);
API_HANDLER(api_admin_group_reset);
API_HANDLER(api_admin_group_delete);
API_HANDLER(api_admin_lag);
API_HANDLER(api_jobs);
API_HANDLER(api_job_alter);
API_HANDLER(api_job_failed);
API_HANDLER(api_job_retry);
API_HANDLER(api_admin_deadletters);
API_HANDLER(api_admin_purge);
API_HANDLER(api_admin_deadletter);
API_HANDLER(api_admin_replay);
API_HANDLER(api_admin_tenants);
API_HANDLER(api_admin_tenant_add);
API_HANDLER(api_admin_tenant_alter);
API_HANDLER(api_admin_tenant_remove);
API_HANDLER(api_admin_models);
API_HANDLER(api_admin_model_use);
API_HANDLER(api_admin_model_drop);
API_HANDLER(api_admin_model_compare);
API_HANDLER(api_admin_rebuilds);
API_HANDLER(api_admin_reindex);
API_HANDLER(api_admin_rebuild_cancel);
API_HANDLER(api_alerts);
API_HANDLER(api_alerts_test);
API_HANDLER(api_alerts_silence);
API_HANDLER(api_alerts_unsilence);
API_HANDLER(api_webhooks);
API_HANDLER(api_webhook_add);
API_HANDLER(api_webhook_remove);
API_HANDLER(api_webhook_rotate);
API_HANDLER(api_webhook_test);
API_HANDLER(api_webhook_deliveries);
API_HANDLER(api_webhook_delivery);
API_HANDLER(api_webhook_replay);
API_HANDLER(api_upkeep_tasks);
API_HANDLER(api_upkeep_set);
API_HANDLER(api_upkeep_begin);
API_HANDLER(api_upkeep_runs);
API_HANDLER(api_upkeep_get);
API_HANDLER(api_upkeep_pause);
API_HANDLER(api_upkeep_resume);
API_HANDLER(api_upkeep_cancel);
API_HANDLER(api_receipts);
API_HANDLER(api_receipt);
API_HANDLER(api_receipt_key);
API_HANDLER(api_root);
API_HANDLER(api_healthz);
API_HANDLER(api_readyz);
API_HANDLER(api_metrics);
API_HANDLER(api_openapi);
API_HANDLER(api_version);

extern const struct http_sink_ops api_upload_sink, api_video_sink;
extern const struct http_sink_ops api_search_sink, api_search_video_sink;

#endif
