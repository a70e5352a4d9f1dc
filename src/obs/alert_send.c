// SPDX-License-Identifier: Apache-2.0
// The channels, and the webhook among them.
#include "obs/alert_send.h"

#include <string.h>

#include "base/cleanup.h"
#include "net/post.h"
#include "obs/alert_send_int.h"

DEFINE_CLEANUP(struct poster *, poster, poster_free)

enum { LOOK_MS = 50 };

const char *alert_channel_name(enum alert_channel channel)
{
    static const char *const names[CHANNEL_COUNT] = {"webhook", "email", "command"};
    return names[channel];
}

static bool given(const char *text)
{
    return text && *text;
}

bool alert_channel_used(const struct alert_config *config, enum alert_channel channel)
{
    switch (channel) {
    case CHANNEL_WEBHOOK:
        return given(config->webhook);
    case CHANNEL_EMAIL:
        return given(config->smtp);
    case CHANNEL_COMMAND:
        return given(config->command);
    default:
        return false;
    }
}

int alert_channels_check(const struct alert_config *config, struct error *err)
{
    if (given(config->webhook) && strncmp(config->webhook, "http://", 7) != 0 &&
        strncmp(config->webhook, "https://", 8) != 0)
        return error_set(err, ERR_CONFIG, "alert.webhook must be an http:// or https:// address");
    return alert_check_mail(config, err);
}

// --- The webhook

struct answer {
    bool came;
    struct post_result result;
};

static void take_answer(void *arg, const struct post_result *result)
{
    struct answer *answer = arg;
    answer->came = true;
    answer->result = *result;
}

// The operator chose the address: private ones are as good as any.
static int post(const struct alert_config *config, const json_t *message, const _Atomic bool *stopping,
                struct error *err)
{
    struct net_ranges anywhere;
    struct answer answer = {0};
    _cleanup_(cleanup_poster) struct poster *poster = NULL;
    _cleanup_free_ char *text = js_dumps(message);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for an alert");
    const struct post request = {
        .url = config->webhook, .headers = {"Content-Type: application/json"}, .body = text, .len = strlen(text)};
    if (net_ranges_parse("0.0.0.0/0,::/0", &anywhere, err) < 0 ||
        poster_new(&anywhere, config->timeout_ms, &poster, err) < 0 ||
        poster_send(poster, &request, take_answer, &answer, err) < 0)
        return -1;
    while (!answer.came && !*stopping)
        poster_run(poster, LOOK_MS);
    if (!answer.came)
        return error_set(err, ERR_UNAVAILABLE, "the server stops");
    if (answer.result.error.code != ERR_NONE)
        return error_set(err, answer.result.error.code, "alert.webhook: %.300s", answer.result.error.message);
    return 0;
}

int alert_send(const struct alert_config *config, enum alert_channel channel, const json_t *message,
               const _Atomic bool *stopping, struct error *err)
{
    switch (channel) {
    case CHANNEL_WEBHOOK:
        return post(config, message, stopping, err);
    case CHANNEL_EMAIL:
        return alert_send_mail(config, message, stopping, err);
    default:
        return alert_run_command(config, message, stopping, err);
    }
}
