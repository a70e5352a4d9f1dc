// SPDX-License-Identifier: Apache-2.0
#include "obs/alert_book.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define NEVER INT64_MAX

static const struct {
    const char *name, *text;
    int looks;
} kinds[ALERT_KINDS] = {
#define ALERT(id, kind, looks, text) {kind, text, looks},
#include "obs/alerts.def"
#undef ALERT
};

const char *alert_kind_name(enum alert_kind kind)
{
    return kinds[kind].name;
}

const char *alert_kind_text(enum alert_kind kind)
{
    return kinds[kind].text;
}

int alert_kind_parse(const char *name, enum alert_kind *out)
{
    for (int k = 0; k < ALERT_KINDS; k++)
        if (strcmp(kinds[k].name, name) == 0) {
            *out = (enum alert_kind)k;
            return 0;
        }
    return -1;
}

// --- Entries

static void forget(struct book_entry *e)
{
    free(e->message);
    json_decref(e->details);
    *e = (struct book_entry){0};
}

static bool is_quiet(const struct book_entry *e, int64_t now)
{
    return !e->pending && !e->looks && !e->told && !e->over && e->not_before_us <= now;
}

static struct book_entry *find(struct book *b, enum alert_kind kind, const char *subject)
{
    for (size_t i = 1; i < ALERT_SUBJECTS; i++) {
        struct book_entry *e = &b->entries[i];
        if (e->used && e->kind == kind && strcmp(e->subject, subject) == 0)
            return e;
    }
    return NULL;
}

// A free place: a new one, or that of a subject that has been quiet for its interval.
static struct book_entry *place(struct book *b)
{
    int64_t now = clock_mono_us();
    for (size_t i = 1; i < ALERT_SUBJECTS; i++)
        if (!b->entries[i].used)
            return &b->entries[i];
    for (size_t i = 1; i < ALERT_SUBJECTS; i++)
        if (is_quiet(&b->entries[i], now)) {
            forget(&b->entries[i]);
            return &b->entries[i];
        }
    return NULL;
}

// NULL: there is no place for it.
static struct book_entry *entry_of(struct book *b, enum alert_kind kind, const char *subject)
{
    char name[ALERT_NAME_MAX];
    snprintf(name, sizeof name, "%s", subject);
    struct book_entry *e = find(b, kind, name);
    if (e || !(e = place(b)))
        return e;
    e->used = true;
    e->kind = kind;
    memcpy(e->subject, name, sizeof name);
    return e;
}

static void fill(struct book_entry *e, const char *message, const struct alert_field *fields)
{
    free(e->message);
    json_decref(e->details);
    e->message = js_utf8(message, strnlen(message, ALERT_TEXT_MAX));
    e->details = json_object();
    for (int i = 0; i < ALERT_FIELDS && fields && fields[i].name; i++) {
        if (!fields[i].value)
            continue;
        _cleanup_free_ char *text = js_utf8(fields[i].value, strnlen(fields[i].value, ALERT_TEXT_MAX));
        js_set_str(e->details, fields[i].name, text);
    }
}

static void begin_news(struct book_entry *e, const char *message, const struct alert_field *fields)
{
    fill(e, message, fields);
    e->since_ms = clock_now_ms();
    e->ready_us = clock_mono_us() + BOOK_GATHER_MS * 1000LL;
}

// --- What happened

static void raise_in(struct book_entry *e, const char *message, const struct alert_field *fields)
{
    if (e->pending++ == 0)
        begin_news(e, message, fields);
}

// There is no place for it: told with all others that find none, as something that happened.
static void raise_other(struct book *b, enum alert_kind kind, const char *message, const struct alert_field *fields)
{
    struct book_entry *e = &b->entries[0];
    if (!e->pending)
        e->kind = kind;
    e->used = true;
    snprintf(e->subject, sizeof e->subject, "other");
    raise_in(e, message, fields);
}

// --- Silences

// When the silence over it ends; 0: there is none.
static int64_t silenced_until(const struct book *b, const struct book_entry *e)
{
    int64_t now = clock_now_ms(), until = 0;
    for (int i = 0; i < b->silence_count; i++) {
        const struct alert_silence *s = &b->silences[i];
        bool covers = (s->kind < 0 || s->kind == (int)e->kind) && (!*s->subject || strcmp(s->subject, e->subject) == 0);
        if (covers && s->until_ms > now && s->until_ms > until)
            until = s->until_ms;
    }
    return until;
}

void book_raise(struct book *b, enum alert_kind kind, const char *subject, const char *message,
                const struct alert_field *fields)
{
    if (b->off[kind])
        return;
    struct book_entry *e = entry_of(b, kind, subject);
    if (!e)
        raise_other(b, kind, message, fields);
    else if (!silenced_until(b, e))
        raise_in(e, message, fields);
}

// --- Conditions

void book_look_begin(struct book *b, enum alert_kind kind)
{
    for (size_t i = 1; i < ALERT_SUBJECTS; i++)
        if (b->entries[i].used && b->entries[i].kind == kind)
            b->entries[i].seen = false;
}

void book_hold(struct book *b, enum alert_kind kind, const char *subject, const char *message,
               const struct alert_field *fields)
{
    if (b->off[kind])
        return;
    struct book_entry *e = entry_of(b, kind, subject);
    if (!e) {
        raise_other(b, kind, message, fields);
        return;
    }
    if (!e->looks && !e->told)
        begin_news(e, message, fields);
    else
        fill(e, message, fields);
    e->seen = true;
    e->over = false;
    if (e->looks < kinds[kind].looks)
        e->looks++;
    if (!e->holds && e->looks >= kinds[kind].looks) {
        e->holds = true;
        e->ready_us = clock_mono_us() + BOOK_GATHER_MS * 1000LL;
    }
}

void book_look_end(struct book *b, enum alert_kind kind)
{
    for (size_t i = 1; i < ALERT_SUBJECTS; i++) {
        struct book_entry *e = &b->entries[i];
        if (!e->used || e->kind != kind || e->seen)
            continue;
        e->holds = false;
        e->looks = 0;
        e->over = e->told;
        if (is_quiet(e, clock_mono_us()))
            forget(e);
    }
}

// --- Taking

enum news { NO_NEWS, HAPPENED, BEGAN, LASTS, OVER };

// What there is to tell of it, from `*when_us` on.
static enum news news_of(const struct book *b, const struct book_entry *e, int64_t *when_us)
{
    if (e->over) {
        *when_us = 0;
        return OVER;
    }
    if (!e->used || (!e->pending && !e->holds))
        return NO_NEWS;
    int64_t silent_ms = silenced_until(b, e);
    int64_t soonest = silent_ms ? clock_mono_us() + (silent_ms - clock_now_ms() + 1) * 1000 : e->ready_us;
    *when_us = soonest > e->not_before_us ? soonest : e->not_before_us;
    return e->pending ? HAPPENED : e->told ? LASTS : BEGAN;
}

static json_t *describe(const struct book_entry *e, enum news news)
{
    static const char *const states[] = {"pending", "happened", "firing", "firing", "resolved"};
    json_t *json = json_pack("{s:s,s:s,s:s?,s:o?}", "subject", e->subject, "status", states[news], "message",
                             e->message, "details", json_deep_copy(e->details)); // it goes to another thread
    if (e->pending)
        json_object_set_new(json, "count", json_integer((json_int_t)e->pending));
    js_set_time(json, "since", e->since_ms);
    return json;
}

static void settle(const struct book *b, struct book_entry *e, enum news news)
{
    int64_t now = clock_mono_us();
    e->pending = 0;
    e->over = false;
    e->told = news == BEGAN || news == LASTS;
    e->not_before_us = now + (e->told ? b->repeat_ms : b->interval_ms) * 1000;
    e->told_ms = clock_now_ms();
}

// "firing" when any of them is, so that a reader need not look into the list to know whether to get up.
static void add_up(json_t *message, const json_t *list)
{
    size_t i, firing = 0, happened = 0, over = 0;
    json_t *one;
    char text[ALERT_TEXT_MAX];
    const char *kind = js_str(message, "alert", "");
    json_array_foreach((json_t *)list, i, one)
    {
        const char *status = js_str(one, "status", "");
        firing += strcmp(status, "firing") == 0;
        happened += strcmp(status, "happened") == 0;
        over += strcmp(status, "resolved") == 0;
    }
    if (json_array_size(list) == 1)
        snprintf(text, sizeof text, "%s", js_str(json_array_get(list, 0), "message", ""));
    else
        snprintf(text, sizeof text, "%s of %zu subjects%s", kind, json_array_size(list), over ? ", some resolved" : "");
    js_set_str(message, "status", firing ? "firing" : happened ? "happened" : "resolved");
    js_set_str(message, "message", text);
}

// The entry that is due and has waited longest; otherwise `*look_us` becomes the time when one is.
static const struct book_entry *first_due(const struct book *b, int64_t *look_us)
{
    int64_t now = clock_mono_us(), best = NEVER, when;
    const struct book_entry *found = NULL;
    *look_us = NEVER;
    for (size_t i = 0; i < ALERT_SUBJECTS; i++) {
        if (news_of(b, &b->entries[i], &when) == NO_NEWS)
            continue;
        if (when <= now && when < best) {
            best = when;
            found = &b->entries[i];
        }
        if (when < *look_us)
            *look_us = when;
    }
    return found;
}

// What is only waiting for company goes, too.
static bool goes_along(const struct book *b, const struct book_entry *e, enum alert_kind kind, enum news *news)
{
    int64_t when, now = clock_mono_us();
    *news = news_of(b, e, &when);
    return *news != NO_NEWS && e->kind == kind && (when <= now || (when == e->ready_us && e->not_before_us <= now));
}

json_t *book_take(struct book *b, int64_t *look_us)
{
    const struct book_entry *due = first_due(b, look_us);
    if (!due)
        return NULL;
    enum alert_kind kind = due->kind;
    json_t *list = json_array(), *message = json_pack("{s:s}", "alert", due == b->entries ? "other" : kinds[kind].name);
    // What found no place goes alone: it may be of any kind.
    size_t first = due == b->entries ? 0 : 1, end = due == b->entries ? 1 : ALERT_SUBJECTS;
    for (size_t i = first; i < end && json_array_size(list) < BOOK_MESSAGE_MAX; i++) {
        struct book_entry *e = &b->entries[i];
        enum news news;
        if (!goes_along(b, e, kind, &news))
            continue;
        json_array_append_new(list, describe(e, news));
        settle(b, e, news);
    }
    add_up(message, list);
    json_object_set_new(message, "alerts", list);
    js_set_time(message, "time", clock_now_ms());
    return message;
}

// --- Listing, saving

json_t *book_list(const struct book *b)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ALERT_SUBJECTS; i++) {
        const struct book_entry *e = &b->entries[i];
        int64_t when;
        if (!e->used)
            continue;
        enum news news = news_of(b, e, &when);
        if (news == NO_NEWS) // told, or a condition that has not held for long enough
            news = e->told_ms && !e->looks ? HAPPENED : NO_NEWS;
        json_t *one = describe(e, news);
        json_object_set_new(one, "alert", json_string(i ? kinds[e->kind].name : "other"));
        json_object_set_new(one, "silenced", json_boolean(silenced_until(b, e) != 0));
        js_set_time(one, "toldAt", e->told_ms);
        json_array_append_new(list, one);
    }
    return list;
}

json_t *book_firing(const struct book *b)
{
    json_t *list = json_array();
    for (size_t i = 1; i < ALERT_SUBJECTS; i++) {
        const struct book_entry *e = &b->entries[i];
        if (e->used && (e->told || e->over))
            json_array_append_new(list, json_pack("{s:s,s:s,s:s?,s:I,s:I}", "alert", kinds[e->kind].name, "subject",
                                                  e->subject, "message", e->message, "since", (json_int_t)e->since_ms,
                                                  "told", (json_int_t)e->told_ms));
    }
    return list;
}

// Until a first look says otherwise, it holds.
void book_restore(struct book *b, const json_t *firing)
{
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)firing, i, one)
    {
        enum alert_kind kind;
        struct book_entry *e;
        const char *subject = js_str(one, "subject", NULL);
        if (!subject || alert_kind_parse(js_str(one, "alert", ""), &kind) < 0 || !kinds[kind].looks || b->off[kind] ||
            !(e = entry_of(b, kind, subject)))
            continue;
        fill(e, js_str(one, "message", ""), NULL);
        e->since_ms = js_int(one, "since", 0);
        e->told_ms = js_int(one, "told", 0);
        e->looks = kinds[kind].looks;
        e->holds = e->told = true;
        int64_t past = clock_now_ms() - e->told_ms, left = b->repeat_ms - (past > 0 ? past : 0);
        e->not_before_us = clock_mono_us() + (left > 0 ? left : 0) * 1000;
    }
}

void book_free(struct book *b)
{
    for (size_t i = 0; i < ALERT_SUBJECTS; i++)
        forget(&b->entries[i]);
}
