// SPDX-License-Identifier: Apache-2.0
// The book under a lock, and the thread that takes one message after the other out of it and delivers it.
#include "obs/alert.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "obs/alert_book.h"
#include "obs/alert_send.h"
#include "obs/metrics.h"

enum { FIRST_WAIT_MS = 500, LOOK_MS = 20, IDLE_US = 60000000 };

struct alerts {
    struct alert_config config;
    pthread_t thread;
    bool started; // there is a channel, so there is a thread
    _Atomic bool stopping;

    pthread_mutex_t lock; // guards what follows
    pthread_cond_t wake;
    struct book book;
};

// --- The book

#define with_book(a, call)                                                                                             \
    do {                                                                                                               \
        if (!(a))                                                                                                      \
            break;                                                                                                     \
        pthread_mutex_lock(&(a)->lock);                                                                                \
        call;                                                                                                          \
        pthread_cond_signal(&(a)->wake);                                                                               \
        pthread_mutex_unlock(&(a)->lock);                                                                              \
    } while (0)

void alerts_raise(struct alerts *a, enum alert_kind kind, const char *subject, const char *message,
                  const struct alert_field *fields)
{
    with_book(a, book_raise(&a->book, kind, subject, message, fields));
}

void alerts_look_begin(struct alerts *a, enum alert_kind kind)
{
    with_book(a, book_look_begin(&a->book, kind));
}

void alerts_hold(struct alerts *a, enum alert_kind kind, const char *subject, const char *message,
                 const struct alert_field *fields)
{
    with_book(a, book_hold(&a->book, kind, subject, message, fields));
}

void alerts_look_end(struct alerts *a, enum alert_kind kind)
{
    with_book(a, book_look_end(&a->book, kind));
}

static void take_silences(struct book *b, const struct alert_silence *list, int count)
{
    b->silence_count = count < ALERT_SILENCES ? count : ALERT_SILENCES;
    memcpy(b->silences, list, (size_t)b->silence_count * sizeof *list);
}

void alerts_set_silences(struct alerts *a, const struct alert_silence *list, int count)
{
    with_book(a, take_silences(&a->book, list, count));
}

void alerts_restore(struct alerts *a, const json_t *firing)
{
    with_book(a, book_restore(&a->book, firing));
}

json_t *alerts_firing(struct alerts *a)
{
    json_t *list = NULL;
    with_book(a, list = book_firing(&a->book));
    return list ? list : json_array();
}

json_t *alerts_list(struct alerts *a)
{
    json_t *list = NULL, *channels = json_array(), *rules = json_array();
    with_book(a, list = book_list(&a->book));
    for (int c = 0; a && c < CHANNEL_COUNT; c++)
        if (alert_channel_used(&a->config, (enum alert_channel)c))
            json_array_append_new(channels, json_string(alert_channel_name((enum alert_channel)c)));
    for (int k = 0; k < ALERT_KINDS; k++)
        json_array_append_new(rules, json_pack("{s:s,s:s,s:b}", "alert", alert_kind_name((enum alert_kind)k), "text",
                                               alert_kind_text((enum alert_kind)k), "enabled", a && !a->book.off[k]));
    return json_pack("{s:o,s:o,s:o}", "alerts", list ? list : json_array(), "channels", channels, "rules", rules);
}

// --- Delivering

static void pause_before(struct alerts *a, int attempt)
{
    int64_t until = clock_mono_us() + (FIRST_WAIT_MS * 1000LL << (attempt - 1));
    while (!a->stopping && clock_mono_us() < until)
        clock_sleep_ms(LOOK_MS);
}

static void deliver(struct alerts *a, enum alert_channel channel, const json_t *message)
{
    struct error why = {0};
    for (int i = 0; i < ALERT_TRIES && !a->stopping; i++) {
        if (i)
            pause_before(a, i);
        if (alert_send(&a->config, channel, message, &a->stopping, &why) == 0) {
            metric_add(M_ALERTS, "sent", 1);
            return;
        }
    }
    metric_add(M_ALERTS, "lost", 1);
    log_warn("alert", "an alert was lost: %s", *why.message ? why.message : "the server stops");
}

json_t *alerts_test(struct alerts *a)
{
    json_t *results = json_array();
    _cleanup_json_ json_t *message =
        json_pack("{s:s,s:s,s:s,s:[{s:s,s:s,s:s}]}", "alert", "test", "status", "happened", "message",
                  "This is a test: nothing is wrong", "alerts", "subject", "test", "status", "happened", "message",
                  "This is a test: nothing is wrong");
    js_set_time(message, "time", clock_now_ms());
    for (int c = 0; a && c < CHANNEL_COUNT; c++) {
        struct error why = {0};
        if (!alert_channel_used(&a->config, (enum alert_channel)c))
            continue;
        int rc = alert_send(&a->config, (enum alert_channel)c, message, &a->stopping, &why);
        json_array_append_new(results, json_pack("{s:s,s:s?}", "channel", alert_channel_name((enum alert_channel)c),
                                                 "error", rc < 0 ? why.message : NULL));
    }
    return results;
}

// --- The thread

static void *run(void *arg)
{
    struct alerts *a = arg;
    pthread_setname_np(pthread_self(), "alerts");
    pthread_mutex_lock(&a->lock);
    while (!a->stopping) {
        int64_t look;
        _cleanup_json_ json_t *message = book_take(&a->book, &look);
        if (!message) {
            int64_t idle = clock_mono_us() + IDLE_US;
            if (look > idle)
                look = idle;
            struct timespec until = {.tv_sec = look / 1000000, .tv_nsec = look % 1000000 * 1000};
            pthread_cond_timedwait(&a->wake, &a->lock, &until);
            continue;
        }
        pthread_mutex_unlock(&a->lock);
        for (int c = 0; c < CHANNEL_COUNT; c++)
            if (alert_channel_used(&a->config, (enum alert_channel)c))
                deliver(a, (enum alert_channel)c, message);
        pthread_mutex_lock(&a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static int read_off(const char *words, bool off[ALERT_KINDS], struct error *err)
{
    for (const char *p = words + strspn(words, ", "); *p; p += strspn(p, ", ")) {
        size_t len = strcspn(p, ", ");
        char name[64];
        enum alert_kind kind;
        snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1), p);
        if (alert_kind_parse(name, &kind) < 0)
            return error_set(err, ERR_CONFIG, "alert.off: there is no alert \"%s\"; see `deeplens alerts rules`", name);
        off[kind] = true;
        p += len;
    }
    return 0;
}

static void alerts_free(struct alerts *a)
{
    book_free(&a->book);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

int alerts_start(const struct alert_config *config, struct alerts **out, struct error *err)
{
    bool used = false;
    if (alert_channels_check(config, err) < 0)
        return -1;
    for (int c = 0; c < CHANNEL_COUNT; c++)
        used |= alert_channel_used(config, (enum alert_channel)c);
    struct alerts *a = calloc(1, sizeof *a);
    if (!a)
        return error_set(err, ERR_NO_MEMORY, "No memory for alerts");
    a->config = *config;
    a->book.interval_ms = config->interval_ms;
    a->book.repeat_ms = config->repeat_ms;
    pthread_mutex_init(&a->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (read_off(config->off ? config->off : "", a->book.off, err) < 0) {
        alerts_free(a);
        return -1;
    }
    if (used && pthread_create(&a->thread, NULL, run, a) != 0) {
        alerts_free(a);
        return error_set(err, ERR_NO_MEMORY, "The thread for alerts cannot be started");
    }
    a->started = used;
    *out = a;
    return 0;
}

void alerts_stop(struct alerts *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
    if (a->started)
        pthread_join(a->thread, NULL);
    alerts_free(a);
}
