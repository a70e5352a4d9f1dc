// SPDX-License-Identifier: Apache-2.0
// The thread of webhooks: makes deliveries of what is new, sends what is due, and notes what became of it.
//
// A lane is what the thread knows of a webhook: which deliveries are under way, and how it went lately. While it fails
// (no answer, or one that says that the server has trouble) it is tried with one request at a time, and pauses: a dead
// endpoint costs next to nothing, and its deliveries do not use up their attempts all at once. What an endpoint refuses
// (4xx) is the delivery's own trouble, and holds up nothing but its item.
//
// A result is kept until it is noted, also through an outage of the store; its delivery is not sent meanwhile.
#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "flow/hook_int.h"
#include "net/post.h"
#include "obs/alert.h"
#include "obs/metrics.h"

enum {
    AT_ONCE = 8,                 // requests under way to one webhook
    LOOK_MS = 1000,              // between two looks without being told
    PAUSE_MAX_MS = 60000,        // between two tries of a webhook that fails
    PRUNE_US = 60 * 1000 * 1000, //
    PRUNE_MAX = 10000,           // rows at once
    GONE = 410                   // "do not ask again"
};

struct lane {
    char id[ID_MAX];
    int64_t flying[AT_ONCE]; // numbers of the deliveries under way, or whose result is not noted yet
    int count;
    int failures; // in a row
    int64_t paused_until_us;
    bool seen; // by the look under way
};

struct flight {
    struct flight *next; // of those that have ended
    struct hooks *hooks;
    struct lane *lane; // NULL: the webhook is gone
    struct arena arena;
    struct meta_delivery row;
};

struct hooks {
    struct flow *flow;
    struct live *live;
    struct poster *poster;
    pthread_t thread;
    _Atomic bool stopping;
    // The thread's own.
    struct lane *lanes[HOOKS_MAX];
    size_t lane_count;
    struct flight *ended; // results that are not noted yet
    struct flight *flights[HOOKS_MAX * AT_ONCE];
    size_t flight_count;
    int64_t prune_us;
    bool troubled; // the store did not answer
};

// ---- Lanes

static struct lane *lane_of(struct hooks *h, const char *id)
{
    for (size_t i = 0; i < h->lane_count; i++)
        if (strcmp(h->lanes[i]->id, id) == 0)
            return h->lanes[i];
    if (h->lane_count == HOOKS_MAX)
        return NULL;
    struct lane *lane = calloc(1, sizeof *lane);
    if (!lane)
        return NULL;
    snprintf(lane->id, sizeof lane->id, "%s", id);
    return h->lanes[h->lane_count++] = lane;
}

// Webhooks that are gone.
static void forget_lanes(struct hooks *h)
{
    for (size_t i = h->lane_count; i-- > 0;) {
        struct lane *lane = h->lanes[i];
        if (lane->seen)
            continue;
        for (size_t n = 0; n < h->flight_count; n++)
            if (h->flights[n]->lane == lane)
                h->flights[n]->lane = NULL;
        free(lane);
        h->lanes[i] = h->lanes[--h->lane_count];
    }
}

static bool is_flying(const struct lane *lane, int64_t num)
{
    for (int i = 0; i < lane->count; i++)
        if (lane->flying[i] == num)
            return true;
    return false;
}

static int room(const struct lane *lane, int64_t now_us)
{
    if (lane->paused_until_us > now_us)
        return 0;
    int most = lane->failures ? 1 : AT_ONCE;
    return most > lane->count ? most - lane->count : 0;
}

static void note_health(const struct flow *f, struct lane *lane, const struct post_result *result)
{
    if (result->status && result->status < 500 && result->status != 429) {
        lane->failures = 0;
        lane->paused_until_us = 0;
        return;
    }
    int64_t pause = f->settings.hook_retry_base_ms;
    for (int i = 0; i < lane->failures && pause < PAUSE_MAX_MS; i++)
        pause *= 2;
    if (pause > PAUSE_MAX_MS)
        pause = PAUSE_MAX_MS;
    lane->failures++;
    lane->paused_until_us = clock_mono_us() + pause * 1000;
}

// ---- What becomes of a delivery

// As settle.c does with events.
static int64_t retry_delay(const struct flow *f, int attempts, int64_t asked_ms)
{
    int64_t delay = f->settings.hook_retry_base_ms, most = f->settings.hook_retry_max_ms;
    for (int i = 1; i < attempts && delay < most; i++)
        delay *= 2;
    if (delay > most)
        delay = most;
    delay = delay / 2 + (int64_t)randombytes_uniform((uint32_t)(delay / 2 + 1));
    return asked_ms > delay ? (asked_ms < most ? asked_ms : most) : delay;
}

static bool is_old(const struct flow *f, const struct meta_delivery *row, int64_t now)
{
    return now - row->created_ms > f->settings.hook_keep_ms;
}

static void decide(const struct flow *f, struct meta_delivery *row, const struct post_result *result)
{
    int64_t now = clock_now_ms();
    row->attempts++;
    row->status = result->status;
    row->took_ms = result->took_ms;
    bool well = result->error.code == ERR_NONE;
    bool last = strcmp(row->type, HOOK_TEST) == 0 || row->attempts >= f->settings.hook_attempts ||
                result->status == GONE || is_old(f, row, now);
    row->state = well ? DELIVERY_DELIVERED : last ? DELIVERY_DEAD : DELIVERY_WAITING;
    if (row->state == DELIVERY_WAITING)
        row->not_before_ms = now + retry_delay(f, row->attempts, result->retry_after_ms);
    else
        row->ended_ms = now;
}

static void tell(struct hooks *h, const struct meta_delivery *row)
{
    static const char *const outcomes[] = {"failed", "failed", "delivered", "dead"};
    metric_add(M_WEBHOOKS, outcomes[row->state], 1);
    if (row->state != DELIVERY_DEAD || strcmp(row->type, HOOK_TEST) == 0)
        return;
    char message[ALERT_TEXT_MAX];
    snprintf(message, sizeof message, "A delivery to the webhook %s was given up: %s", row->webhook,
             row->error ? row->error : "");
    const struct alert_field fields[] = {{"tenantId", row->tenant},
                                         {"webhookId", row->webhook},
                                         {"deliveryId", row->id},
                                         {"itemId", row->item},
                                         {"type", row->type},
                                         {"error", row->error},
                                         {NULL}};
    alerts_raise(h->flow->alerts, ALERT_WEBHOOK_DEAD, row->webhook, message, fields);
}

static void end_flight(struct flight *x)
{
    x->next = x->hooks->ended;
    x->hooks->ended = x;
}

static void on_result(void *arg, const struct post_result *result)
{
    struct flight *x = arg;
    decide(x->hooks->flow, &x->row, result);
    x->row.error = result->error.code ? arena_strdup(&x->arena, result->error.message) : NULL;
    if (x->lane)
        note_health(x->hooks->flow, x->lane, result);
    end_flight(x);
}

// ---- Noting

static int settle_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct hooks *h = arg;
    for (struct flight *x = h->ended; x; x = x->next)
        if (h->flow->meta.ops->delivery_settle(tx, &x->row, err) < 0)
            return -1;
    return 0;
}

static void flight_free(struct flight *x)
{
    struct hooks *h = x->hooks;
    for (size_t i = 0; i < h->flight_count; i++)
        if (h->flights[i] == x)
            h->flights[i--] = h->flights[--h->flight_count];
    for (int i = 0; x->lane && i < x->lane->count; i++)
        if (x->lane->flying[i] == x->row.num)
            x->lane->flying[i--] = x->lane->flying[--x->lane->count];
    arena_free(&x->arena);
    free(x);
}

static int settle(struct hooks *h, struct error *err)
{
    if (!h->ended)
        return 0;
    if (h->flow->meta.ops->write(h->flow->meta.state, META_RELAXED, settle_tx, h, err) < 0)
        return -1;
    while (h->ended) {
        struct flight *x = h->ended;
        h->ended = x->next;
        tell(h, &x->row);
        flight_free(x);
    }
    return 0;
}

// ---- Sending

static struct meta_delivery copy_row(struct arena *arena, const struct meta_delivery *row)
{
    struct meta_delivery copy = *row;
    copy.id = arena_strdup(arena, row->id);
    copy.webhook = arena_strdup(arena, row->webhook);
    copy.tenant = arena_strdup(arena, row->tenant);
    copy.item = arena_strdup(arena, row->item);
    copy.type = arena_strdup(arena, row->type);
    copy.body = arena_strdup(arena, row->body);
    copy.error = arena_strdup(arena, row->error);
    return copy;
}

static struct flight *new_flight(struct hooks *h, struct lane *lane, const struct meta_delivery *row)
{
    struct flight *x = calloc(1, sizeof *x);
    if (!x || h->flight_count == ARRAY_LEN(h->flights)) {
        free(x);
        return NULL;
    }
    x->hooks = h;
    x->lane = lane;
    x->row = copy_row(&x->arena, row);
    h->flights[h->flight_count++] = x;
    lane->flying[lane->count++] = row->num;
    return x;
}

// One that waited for longer than deliveries are kept: it is not sent any more.
static void give_up(struct flight *x, int64_t now)
{
    x->row.state = DELIVERY_DEAD;
    x->row.ended_ms = now;
    if (!x->row.error)
        x->row.error = "It waited for longer than webhook.keep";
    end_flight(x);
}

static int post(struct hooks *h, struct flight *x, const struct meta_webhook *hook, struct error *err)
{
    char id[ID_MAX + 16], time[64], signature[2 * HOOK_SIGNATURE_MAX + 32], now[HOOK_SIGNATURE_MAX],
        before[HOOK_SIGNATURE_MAX];
    int64_t now_ms = clock_now_ms(), now_s = now_ms / 1000;
    bool rotating = hook->secret_before && hook->before_until_ms > now_ms;
    hook_sign(hook->secret, x->row.id, now_s, x->row.body, now);
    if (rotating)
        hook_sign(hook->secret_before, x->row.id, now_s, x->row.body, before);
    snprintf(id, sizeof id, "webhook-id: %s", x->row.id);
    snprintf(time, sizeof time, "webhook-timestamp: %" PRId64, now_s);
    snprintf(signature, sizeof signature, "webhook-signature: %s%s%s", now, rotating ? " " : "",
             rotating ? before : "");
    const struct post request = {.url = hook->url,
                                 .headers = {"Content-Type: application/json", id, time, signature},
                                 .body = x->row.body,
                                 .len = strlen(x->row.body)};
    return poster_send(h->poster, &request, on_result, x, err);
}

static void send_rows(struct hooks *h, struct lane *lane, const struct meta_webhook *hook,
                      const struct meta_delivery *rows, size_t count)
{
    struct error why = {0};
    int64_t now = clock_now_ms(), now_us = clock_mono_us();
    for (size_t i = 0; i < count && lane->count < AT_ONCE; i++) {
        bool old = is_old(h->flow, &rows[i], now);
        if (is_flying(lane, rows[i].num) || (!old && room(lane, now_us) == 0))
            continue;
        struct flight *x = new_flight(h, lane, &rows[i]);
        if (!x)
            return;
        if (old) {
            give_up(x, now);
        } else if (post(h, x, hook, &why) < 0) {
            log_warn("webhook", "a delivery has to wait: %s", why.message);
            flight_free(x);
            return;
        }
    }
}

// ---- Looking

struct sight {
    struct hooks *hooks;
    struct arena arena;
    struct meta_webhook *rows;
    size_t count;
    struct {
        struct meta_delivery *rows;
        size_t count;
        int64_t next_ms;
    } due[HOOKS_MAX];
};

static int look_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct sight *l = arg;
    const struct meta_ops *meta = l->hooks->flow->meta.ops;
    int64_t now = clock_now_ms();
    arena_free(&l->arena);
    if (meta->webhook_list(tx, &l->arena, NULL, &l->rows, &l->count, err) < 0)
        return -1;
    for (size_t i = 0; i < l->count && i < HOOKS_MAX; i++)
        if (meta->delivery_due(tx, &l->arena, l->rows[i].tenant, l->rows[i].id, now, 2 * AT_ONCE, &l->due[i].rows,
                               &l->due[i].count, err) < 0 ||
            (l->due[i].count == 0 &&
             meta->delivery_next(tx, l->rows[i].tenant, l->rows[i].id, &l->due[i].next_ms, err) < 0))
            return -1;
    return 0;
}

static void sooner(int64_t *wait_ms, int64_t than_ms)
{
    if (than_ms < *wait_ms)
        *wait_ms = than_ms > 0 ? than_ms : 0;
}

// Sends what is due and has room; *wait_ms is when there may be more to send.
static void send_due(struct hooks *h, struct sight *l, int64_t *wait_ms)
{
    int64_t now = clock_now_ms();
    for (size_t i = 0; i < h->lane_count; i++)
        h->lanes[i]->seen = false;
    for (size_t i = 0; i < l->count && i < HOOKS_MAX; i++) {
        struct lane *lane = lane_of(h, l->rows[i].id);
        if (!lane)
            continue;
        lane->seen = true;
        send_rows(h, lane, &l->rows[i], l->due[i].rows, l->due[i].count);
        if (l->due[i].count == 0)
            sooner(wait_ms, l->due[i].next_ms == INT64_MAX ? LOOK_MS : l->due[i].next_ms - now);
        else if (lane->count == 0)
            sooner(wait_ms, (lane->paused_until_us - clock_mono_us()) / 1000 + 1);
    }
    forget_lanes(h);
    if (h->ended) // given up without a request
        *wait_ms = 0;
}

static int look(struct hooks *h, int64_t *wait_ms, struct error *err)
{
    struct sight *l = calloc(1, sizeof *l);
    if (!l)
        return error_set(err, ERR_NO_MEMORY, "No memory to look for deliveries");
    l->hooks = h;
    int rc = h->flow->meta.ops->read(h->flow->meta.state, look_tx, l, err);
    if (rc == 0)
        send_due(h, l, wait_ms);
    arena_free(&l->arena);
    free(l);
    return rc;
}

// ---- The thread

static int prune_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct flow *f = ((struct hooks *)arg)->flow;
    return f->meta.ops->delivery_prune(tx, clock_now_ms() - f->settings.hook_keep_ms, PRUNE_MAX, err);
}

static int prune(struct hooks *h, struct error *err)
{
    int64_t now = clock_mono_us();
    if (now < h->prune_us)
        return 0;
    h->prune_us = now + PRUNE_US;
    return h->flow->meta.ops->write(h->flow->meta.state, META_RELAXED, prune_tx, h, err);
}

static int go_on(struct hooks *h, int64_t *wait_ms, struct error *err)
{
    bool more = true;
    if (settle(h, err) < 0)
        return -1;
    while (more && !h->stopping)
        if (hook_birth(h->flow, &more, err) < 0)
            return -1;
    return look(h, wait_ms, err) < 0 ? -1 : prune(h, err);
}

static void *run(void *arg)
{
    struct hooks *h = arg;
    pthread_setname_np(pthread_self(), "webhooks");
    while (!h->stopping) {
        struct error why = {0};
        int64_t wait_ms = LOOK_MS;
        bool troubled = go_on(h, &wait_ms, &why) < 0;
        if (troubled && !h->troubled)
            log_warn("webhook", "deliveries wait: %s", why.message);
        h->troubled = troubled;
        if (!h->stopping)
            poster_run(h->poster, wait_ms);
    }
    return NULL;
}

void hooks_wake(struct hooks *h)
{
    if (h)
        poster_wake(h->poster);
}

static void told(void *arg) // on the store's thread
{
    hooks_wake(arg);
}

static void hooks_free(struct hooks *h)
{
    poster_free(h->poster);
    while (h->flight_count)
        flight_free(h->flights[0]);
    for (size_t i = 0; i < h->lane_count; i++)
        free(h->lanes[i]);
    free(h);
}

int hooks_start(struct flow *f, struct live *live, struct hooks **out, struct error *err)
{
    struct net_ranges allowed;
    if (net_ranges_parse(f->settings.hook_allow, &allowed, err) < 0)
        return error_prefix(err, "webhook.allow");
    struct hooks *h = calloc(1, sizeof *h);
    if (!h)
        return error_set(err, ERR_NO_MEMORY, "No memory for webhooks");
    h->flow = f;
    h->live = live;
    if (poster_new(&allowed, f->settings.hook_timeout_ms, &h->poster, err) < 0) {
        hooks_free(h);
        return -1;
    }
    if (pthread_create(&h->thread, NULL, run, h) != 0) {
        hooks_free(h);
        return error_set(err, ERR_NO_MEMORY, "The thread of webhooks cannot be started");
    }
    live_also(live, told, h);
    *out = h;
    return 0;
}

void hooks_stop(struct hooks *h)
{
    if (!h)
        return;
    live_also(h->live, NULL, NULL);
    h->stopping = true;
    hooks_wake(h);
    pthread_join(h->thread, NULL);
    struct error why = {0};
    if (settle(h, &why) < 0)
        log_warn("webhook", "what was sent last is sent again: %s", why.message);
    hooks_free(h);
}
