// SPDX-License-Identifier: Apache-2.0
// /webhooks/whatsapp: what the WhatsApp Business Cloud API calls. It is answered as soon as what came is recorded.
#include <sodium.h>
#include <string.h>

#include "api/api_int.h"
#include "base/log.h"
#include "flow/message.h"
#include "flow/whatsapp.h"

enum { CHALLENGE_MAX = 256 };

static bool same(const char *a, const char *b)
{
    size_t len = strlen(a);
    return len == strlen(b) && sodium_memcmp(a, b, len) == 0;
}

// The handshake: whoever knows the token may name this address.
void api_whatsapp_verify(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    const char *token = api_flow(ctx)->settings.whatsapp.verify_token;
    const char *mode = api_given(req, "hub.mode"), *given = api_given(req, "hub.verify_token"),
               *challenge = api_given(req, "hub.challenge");
    struct error err = {0};
    if (!*token)
        error_set(&err, ERR_NOT_FOUND, "There is no such webhook here: whatsapp.verify_token is not set");
    else if (!mode || strcmp(mode, "subscribe") != 0 || !challenge || strlen(challenge) > CHALLENGE_MAX)
        error_set(&err, ERR_INVALID, "A handshake has hub.mode=subscribe, hub.verify_token and hub.challenge");
    else if (!given || !same(given, token))
        error_set(&err, ERR_FORBIDDEN, "hub.verify_token is not the one of this webhook");
    if (err.code)
        http_reply_error(req, &err);
    else
        http_reply_text(req, 200, "text/plain; charset=utf-8", challenge);
}

static int check_signed(const struct http_request *req, const struct whatsapp_settings *settings, struct error *err)
{
    size_t len;
    const char *body = http_body(req, &len);
    if (!*settings->app_secret)
        return error_set(err, ERR_NOT_FOUND, "There is no such webhook here: whatsapp.app_secret is not set");
    if (!whatsapp_signed(settings->app_secret, http_header(req, "X-Hub-Signature-256"), body, len))
        return error_set(err, ERR_UNAUTHORIZED, "X-Hub-Signature-256 is not that of this body by the app's secret");
    return 0;
}

// All that a notification holds, in as many transactions as it needs: what was taken when one fails is known when it
// comes again.
static int take_all(struct flow *f, struct arena *arena, const struct whatsapp_read *read, size_t *fresh,
                    struct error *err)
{
    struct message_taken *taken = arena_alloc(arena, MESSAGE_BATCH_MAX * sizeof *taken);
    for (size_t at = 0; at < read->count; at += MESSAGE_BATCH_MAX) {
        size_t count = read->count - at < MESSAGE_BATCH_MAX ? read->count - at : MESSAGE_BATCH_MAX;
        if (message_take(f, f->settings.whatsapp.tenant, read->events + at, count, arena, taken, err) < 0)
            return -1;
        for (size_t i = 0; i < count; i++)
            *fresh += !taken[i].duplicate;
    }
    return 0;
}

void api_whatsapp_notify(struct http_request *req, void *ctx, void *sink)
{
    (void)sink;
    struct flow *f = api_flow(ctx);
    const struct whatsapp_settings *settings = &f->settings.whatsapp;
    struct whatsapp_read read = {0};
    size_t fresh = 0;
    struct error err = {0};
    json_t *answer = NULL;
    _cleanup_json_ json_t *body = NULL, *held = json_array();
    int rc = check_signed(req, settings, &err) < 0 ? -1 : api_body(req, &body, &err);
    if (rc == 0) {
        whatsapp_read(body, *settings->phone_number_id ? settings->phone_number_id : NULL, http_arena(req), held,
                      &read);
        rc = take_all(f, http_arena(req), &read, &fresh, &err);
    }
    if (rc == 0 && read.passed)
        log_warn("whatsapp", "%zu messages of a notification were passed over", read.passed);
    if (rc == 0)
        answer = json_pack("{s:I,s:I,s:I}", "taken", (json_int_t)fresh, "duplicates", (json_int_t)(read.count - fresh),
                           "passedOver", (json_int_t)read.passed);
    api_reply(req, 200, rc, answer, &err);
}
