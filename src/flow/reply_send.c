// SPDX-License-Identifier: Apache-2.0
// The threads that send replies: some for the Cloud API, one for e-mails, one for topics. Each claims a reply that is
// due, hands it over, and notes what came of it; none waits for another.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"
#include "flow/reply_int.h"
#include "obs/metrics.h"

enum {
    SENDERS_MAX = 64,
    LOOK_MS = 250,   // between two looks without being told
    LEASE_MS = 5000, // beside the time that a call may take: for which a claim holds
    PAUSE_MAX_MS = 60000,
    SETTLE_MS = 500, // between two tries of noting a result
    DAY_MS = 24 * 3600 * 1000
};

struct sender {
    struct replies *replies;
    const char *channel;
    pthread_t thread;
    bool troubled; // the store did not answer
};

struct replies {
    struct flow *flow;
    struct net_ranges allowed;
    struct sender senders[SENDERS_MAX];
    size_t count;
    _Atomic bool stopping;
    pthread_mutex_t lock;
    pthread_cond_t change;   // stopping
    int64_t next_us;         // under lock: when the next may be sent, by whatsapp.rate
    int64_t paused_until_us; // under lock: all of the Cloud API pause
    int64_t pause_ms;        // under lock: the last one; 0: the last call went well
    struct error why;        // under lock: of the pause
};

// ---- Waiting

static void wait_ms(struct replies *r, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    int64_t ns = until.tv_nsec + (ms % 1000) * 1000000;
    until.tv_sec += ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&r->lock);
    if (!r->stopping)
        pthread_cond_timedwait(&r->change, &r->lock, &until);
    pthread_mutex_unlock(&r->lock);
}

// Microseconds until the Cloud API may be called; 0: now, and that turn is taken.
static int64_t take_turn(struct replies *r)
{
    int64_t now = clock_mono_us(), wait = 0;
    pthread_mutex_lock(&r->lock);
    int64_t from = r->paused_until_us > r->next_us ? r->paused_until_us : r->next_us;
    if (from > now)
        wait = from - now;
    else
        r->next_us = now + 1000000 / r->flow->settings.whatsapp.rate;
    pthread_mutex_unlock(&r->lock);
    return wait;
}

static void note_pause(struct replies *r, const struct reply_result *result)
{
    bool begins = false;
    pthread_mutex_lock(&r->lock);
    if (result->outcome != OUTCOME_PAUSE) {
        if (result->outcome == OUTCOME_SENT)
            r->pause_ms = 0;
    } else if (r->paused_until_us <= clock_mono_us()) {
        begins = r->pause_ms == 0;
        r->pause_ms = r->pause_ms ? 2 * r->pause_ms : r->flow->settings.hook_retry_base_ms;
        if (r->pause_ms > PAUSE_MAX_MS)
            r->pause_ms = PAUSE_MAX_MS;
        r->paused_until_us = clock_mono_us() + r->pause_ms * 1000;
        r->why = result->error;
    }
    pthread_mutex_unlock(&r->lock);
    if (begins)
        log_warn("reply", "replies pause: %s", result->error.message);
}

int replies_health(struct replies *r, struct error *err)
{
    pthread_mutex_lock(&r->lock);
    int rc = r->pause_ms ? error_set(err, ERR_UNAVAILABLE, "replies pause: %.300s", r->why.message) : 0;
    pthread_mutex_unlock(&r->lock);
    return rc;
}

// ---- One reply

struct turn {
    struct sender *sender;
    struct flow *flow;
    struct arena arena;
    struct meta_reply row;
    bool found;
    const char *text;
    bool begun; // it is ours to be handed over
    struct reply_result result;
};

static int64_t lease_ms(const struct flow *f)
{
    return LEASE_MS + 2 * f->settings.whatsapp.send_timeout_ms;
}

static int due_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct turn *t = arg;
    return t->flow->meta.ops->reply_due(tx, t->sender->channel, clock_now_ms(), &t->found, err);
}

static int claim_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct turn *t = arg;
    int64_t now = clock_now_ms();
    return t->flow->meta.ops->reply_claim(tx, &t->arena, t->sender->channel, now, now + lease_ms(t->flow), &t->row,
                                          &t->found, err);
}

static int settle_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct turn *t = arg;
    struct meta_reply row;
    struct error why = {0};
    const struct meta_ops *meta = t->flow->meta.ops;
    if (meta->reply_get(tx, &t->arena, t->row.tenant, t->row.id, &row, &why) < 0)
        return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why); // it went with its tenant, or its sender
    if (row.state == REPLY_SENT || row.state == REPLY_DEAD)           // its status was quicker; it was cancelled
        return 0;
    if (!t->begun)
        row.attempts++;
    reply_end(t->flow, &row, &t->result);
    t->row = row;
    return reply_became_tx(t->flow, tx, &t->arena, &row, err) < 0 ? -1 : meta->reply_put(tx, &row, err);
}

// What came of it is noted, also through an outage of the store: it would be uncertain else.
static void settle(struct turn *t)
{
    static const char *const outcomes[OUTCOME_COUNT] = {"sent", "later", "later", "unsent", "uncertain"};
    struct replies *r = t->sender->replies;
    struct error why = {0};
    bool told = false;
    metric_add(M_REPLIES, outcomes[t->result.outcome], 1);
    while (t->flow->meta.ops->write(t->flow->meta.state, META_SYNCED, settle_tx, t, &why) < 0) {
        if (!told)
            log_warn("reply", "what became of %s cannot be noted: %s", t->row.id, why.message);
        told = true;
        if (r->stopping)
            return;
        wait_ms(r, SETTLE_MS);
    }
}

static void end_with(struct turn *t, enum reply_outcome outcome, const struct error *why)
{
    t->result = (struct reply_result){.outcome = outcome, .code = error_code_name(why->code), .error = *why};
    settle(t);
}

// Did anybody but us say something in the last day?
static int in_window(struct meta_tx *tx, struct turn *t, bool *out, struct error *err)
{
    size_t count;
    struct meta_message *rows;
    const struct message_query query = {
        .tenant = t->row.tenant, .chat = t->row.chat, .state = -1, .from_ms = clock_now_ms() - DAY_MS, .limit = 1000};
    if (t->flow->meta.ops->message_list(tx, &t->arena, &query, &rows, &count, err) < 0)
        return -1;
    *out = false;
    for (size_t i = 0; i < count && !*out; i++)
        *out = !rows[i].from_me;
    return 0;
}

// Why it is not to be sent any more; 0: it is.
static int refused(struct meta_tx *tx, struct turn *t, struct error *why, struct error *err)
{
    int64_t stopped;
    bool open;
    struct meta_message message;
    struct error none = {0};
    const struct meta_ops *meta = t->flow->meta.ops;
    if (meta->optout_get(tx, t->row.tenant, t->row.sender, &stopped, err) < 0 || in_window(tx, t, &open, err) < 0)
        return -1;
    if (meta->message_get(tx, &t->arena, t->row.tenant, t->row.message, &message, &none) < 0 &&
        none.code != ERR_NOT_FOUND)
        return error_copy(err, &none);
    *why = (struct error){0};
    if (stopped)
        error_set(why, ERR_FORBIDDEN, "The sender wants no answers: /stop");
    else if (none.code || message.deleted_ms)
        error_set(why, ERR_NOT_FOUND, "The message that it answers was deleted");
    else if (!open)
        error_set(why, ERR_FORBIDDEN,
                  "The last message of the chat is older than 24 hours: only a template would be taken");
    return 0;
}

// The last look before it is handed over, and the note that it is: from here on it is sent at most once.
static int begin_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct turn *t = arg;
    struct meta_reply row;
    struct error why = {0}, none = {0};
    const struct meta_ops *meta = t->flow->meta.ops;
    t->begun = false;
    if (meta->reply_get(tx, &t->arena, t->row.tenant, t->row.id, &row, &none) < 0)
        return none.code == ERR_NOT_FOUND ? 0 : error_copy(err, &none);
    if (row.state != REPLY_WAITING)
        return 0;
    if (refused(tx, t, &why, err) < 0)
        return -1;
    row.attempts++;
    if (why.code) {
        t->result = (struct reply_result){.outcome = OUTCOME_DEAD, .code = error_code_name(why.code), .error = why};
        reply_end(t->flow, &row, &t->result);
    } else {
        row.state = REPLY_SENDING;
        row.begun_ms = clock_now_ms();
        row.text = t->text;
        t->begun = true;
    }
    t->row = row;
    return meta->reply_put(tx, &row, err);
}

static int send_whatsapp(struct turn *t, const json_t *what, struct error *err)
{
    struct replies *r = t->sender->replies;
    struct error why = {0};
    if (reply_compose(t->flow, &t->arena, &t->row, what, &t->text, &why) < 0) {
        end_with(t, why.retryable || why.outage ? OUTCOME_LATER : OUTCOME_DEAD, &why);
        return 0;
    }
    for (int64_t wait; (wait = take_turn(r)) > 0;) {
        if (r->stopping || wait > LEASE_MS * 1000) // its claim ends, and somebody takes it up
            return 0;
        wait_ms(r, wait / 1000 + 1);
    }
    if (t->flow->meta.ops->write(t->flow->meta.state, META_SYNCED, begin_tx, t, err) < 0)
        return -1;
    if (!t->begun) {
        if (t->row.state == REPLY_DEAD)
            metric_add(M_REPLIES, "unsent", 1);
        return 0;
    }
    reply_call(t->flow, &t->arena, &r->allowed, &t->row, what, &t->result); // waited for also at a stop
    note_pause(r, &t->result);
    settle(t);
    return 0;
}

static int handle(struct turn *t, struct error *err)
{
    _cleanup_json_ json_t *what = js_parse(t->row.what, strlen(t->row.what), err);
    if (!what)
        return -1;
    if (strcmp(t->sender->channel, "whatsapp") == 0)
        return send_whatsapp(t, what, err);
    reply_tell(t->flow, &t->arena, &t->sender->replies->stopping, &t->row, what, &t->result);
    settle(t);
    return 0;
}

// ---- The threads

// What was begun so long ago that nobody can be at it any more.
static int lost_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct flow *f = ((struct replies *)arg)->flow;
    int64_t now = clock_now_ms();
    return f->meta.ops->reply_lost(tx, now - lease_ms(f), now,
                                   "Its sending was cut off: whether it was sent is not known, so it is not sent again",
                                   err);
}

static bool is_paused(struct replies *r)
{
    pthread_mutex_lock(&r->lock);
    bool paused = r->paused_until_us > clock_mono_us();
    pthread_mutex_unlock(&r->lock);
    return paused;
}

static int one_turn(struct sender *s, bool *did, struct error *err)
{
    struct flow *f = s->replies->flow;
    struct turn t = {.sender = s, .flow = f};
    bool pausing = strcmp(s->channel, "whatsapp") == 0 && is_paused(s->replies);
    int rc = pausing ? 0 : f->meta.ops->read(f->meta.state, due_tx, &t, err);
    if (rc == 0 && t.found)
        rc = f->meta.ops->write(f->meta.state, META_RELAXED, claim_tx, &t, err);
    if (rc == 0 && t.found)
        rc = handle(&t, err);
    *did = rc == 0 && t.found;
    arena_free(&t.arena);
    return rc;
}

// The first thread of all also looks for what was lost, now and then.
static int look_for_lost(struct sender *s, int64_t *next_us, struct error *err)
{
    struct replies *r = s->replies;
    if (s != r->senders || clock_mono_us() < *next_us)
        return 0;
    *next_us = clock_mono_us() + 4 * LOOK_MS * 1000;
    return r->flow->meta.ops->write(r->flow->meta.state, META_RELAXED, lost_tx, r, err);
}

static void *run(void *arg)
{
    struct sender *s = arg;
    struct replies *r = s->replies;
    int64_t next_us = 0;
    pthread_setname_np(pthread_self(), "replies");
    while (!r->stopping) {
        struct error why = {0};
        bool did = false;
        bool troubled = look_for_lost(s, &next_us, &why) < 0 || one_turn(s, &did, &why) < 0;
        if (troubled && !s->troubled)
            log_warn("reply", "replies wait: %s", why.message);
        s->troubled = troubled;
        if (!did)
            wait_ms(r, LOOK_MS);
    }
    return NULL;
}

static int add(struct replies *r, const char *channel, struct error *err)
{
    struct sender *s = &r->senders[r->count];
    *s = (struct sender){.replies = r, .channel = channel};
    if (pthread_create(&s->thread, NULL, run, s) != 0)
        return error_set(err, ERR_NO_MEMORY, "A thread of replies cannot be started");
    r->count++;
    return 0;
}

int replies_start(struct flow *f, struct replies **out, struct error *err)
{
    struct replies *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, ERR_NO_MEMORY, "No memory for replies");
    r->flow = f;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->change, NULL);
    int rc = net_ranges_parse(f->settings.hook_allow, &r->allowed, err) < 0 ? error_prefix(err, "webhook.allow") : 0;
    if (rc == 0)
        rc = add(r, "email", err);
    if (rc == 0)
        rc = add(r, "topic", err);
    bool can_send = f->settings.whatsapp.access_token && *f->settings.whatsapp.access_token; // else they wait
    for (int i = 0; rc == 0 && can_send && i < f->settings.whatsapp.senders; i++)
        rc = add(r, "whatsapp", err);
    if (rc < 0)
        replies_stop(r);
    else
        *out = r;
    return rc;
}

void replies_stop(struct replies *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_broadcast(&r->change);
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < r->count; i++)
        pthread_join(r->senders[i].thread, NULL);
    pthread_cond_destroy(&r->change);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
