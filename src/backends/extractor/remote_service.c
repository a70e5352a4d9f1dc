// SPDX-License-Identifier: Apache-2.0
// Sending requests to a service, and judging what became of them: see remote_service.h.
#include "backends/extractor/remote_service.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/js.h"

enum {
    ATTEMPTS = 3,
    REST_MS = 100,
    REST_MAX_MS = 2000,
    OPEN_MIN_US = 1000000,
    OPEN_MAX_US = 15000000,
    LOOK_US = 1000000,
    HEALTH_MS = 5000,
    HEALTH_ANSWER_MAX = 64 << 10,
    SUSPECTS = 128,
    STRIKES = 3,
    SAID_MAX = 200
};

struct service {
    const struct remote_spec *spec;
    struct caller *caller;
    int64_t timeout_ms;
    char health[600]; // path

    pthread_rwlock_t at_work; // held for writing by a picture under suspicion, which is alone

    pthread_mutex_t lock;
    bool down, asking;   // [lock] fails at once; somebody asks whether it is well again
    int64_t open_us;     // [lock] how long it fails at once
    int64_t open_until;  // [lock]
    struct error why;    // [lock] it is down
    int64_t looked_at;   // [lock] when service_health last asked
    struct error unwell; // [lock] what that gave; code 0: well
    struct {
        uint64_t picture;
        int strikes;      // times that the service broke down while it was at work
    } suspects[SUSPECTS]; // [lock]
    size_t next_suspect;  // [lock]
};

int service_new(const struct remote_spec *spec, const struct service_config *config, struct service **out,
                struct error *err)
{
    struct service *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    s->spec = spec;
    s->timeout_ms = spec->timeout_ms ? spec->timeout_ms : config->timeout_ms;
    if (spec->protocol == REMOTE_FEATURES)
        snprintf(s->health, sizeof s->health, "/health");
    else
        snprintf(s->health, sizeof s->health, "/v2/models/%s%s%s/ready", spec->name, *spec->version ? "/versions/" : "",
                 spec->version);
    pthread_mutex_init(&s->lock, NULL);
    pthread_rwlockattr_t fair; // what is under suspicion has its turn though others keep coming
    pthread_rwlockattr_init(&fair);
    pthread_rwlockattr_setkind_np(&fair, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&s->at_work, &fair);
    pthread_rwlockattr_destroy(&fair);
    if (caller_new(spec->url, config->token, config->ca_file, &s->caller, err) < 0) {
        service_free(s);
        return -1;
    }
    *out = s;
    return 0;
}

void service_free(struct service *s)
{
    if (!s)
        return;
    caller_free(s->caller);
    pthread_rwlock_destroy(&s->at_work);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

// ---- What it says

// {"detail": "…"} of FastAPI, {"error": "…"} of the Open Inference Protocol, or plain text; cut to a line.
static const char *said(const struct call *call, char out[SAID_MAX])
{
    _cleanup_json_ json_t *json = call->answer.len ? js_parse(call->answer.data, call->answer.len, NULL) : NULL;
    const char *text = js_str(json, "detail", js_str(json, "error", NULL));
    if (!text)
        text = !json && call->answer.len && js_utf8_valid(call->answer.data, call->answer.len) ? call->answer.data : "";
    snprintf(out, SAID_MAX, "%s", text);
    out[strcspn(out, "\r\n")] = 0;
    return out;
}

static int say(const struct service *s, const struct call *call, enum error_code code, struct error *err)
{
    char text[SAID_MAX];
    if (call->end != CALL_ANSWERED)
        error_set(err, code, "Model %s: the service at %.100s: %.200s", s->spec->model.name, s->spec->url, call->why);
    else if (call->status == 401 || call->status == 403)
        error_set(err, code, "Model %s: the service at %.100s does not take the token (extractor.token): %s",
                  s->spec->model.name, s->spec->url, said(call, text));
    else
        error_set(err, code, "Model %s: the service at %.100s answered %.80s with %ld%s%s", s->spec->model.name,
                  s->spec->url, call->path, call->status, *said(call, text) ? ": " : "", text);
    return -1;
}

// ---- Is it well?

// FastAPI's service says whether it has its model; that it answers is enough for others.
static bool says_it_is_well(const struct service *s, const struct call *call)
{
    if (call->end != CALL_ANSWERED || call->status != 200)
        return false;
    if (s->spec->protocol != REMOTE_FEATURES)
        return true;
    _cleanup_json_ json_t *json = call->answer.len ? js_parse(call->answer.data, call->answer.len, NULL) : NULL;
    return js_bool(json, "model_loaded", true);
}

static int ask(struct service *s, struct error *err)
{
    struct call call = {.path = s->health,
                        .answer_max = HEALTH_ANSWER_MAX,
                        .timeout_ms = s->timeout_ms < HEALTH_MS ? s->timeout_ms : HEALTH_MS};
    caller_run(s->caller, (struct call *[]){&call}, 1);
    int rc = says_it_is_well(s, &call) ? 0 : -1;
    if (rc < 0 && call.status == 200)
        error_set(err, ERR_UNAVAILABLE, "Model %s: the service at %.100s has not loaded its model", s->spec->model.name,
                  s->spec->url);
    else if (rc < 0)
        say(s, &call, ERR_UNAVAILABLE, err);
    buf_free(&call.answer);
    return rc;
}

static void note_down(struct service *s, const struct error *why)
{
    int64_t now = clock_mono_us();
    pthread_mutex_lock(&s->lock);
    if (!s->down || now >= s->open_until) {
        s->open_us = s->down ? s->open_us * 2 : OPEN_MIN_US;
        s->open_us = s->open_us < OPEN_MAX_US ? s->open_us : OPEN_MAX_US;
        s->open_until = now + s->open_us;
    }
    s->down = true;
    s->why = *why;
    pthread_mutex_unlock(&s->lock);
}

static void note_up(struct service *s)
{
    pthread_mutex_lock(&s->lock);
    s->down = false;
    pthread_mutex_unlock(&s->lock);
}

// The breaker: may a request be made?
static int admit(struct service *s, struct error *err)
{
    pthread_mutex_lock(&s->lock);
    bool closed = !s->down, mine = !closed && !s->asking && clock_mono_us() >= s->open_until;
    int rc = closed || mine ? 0 : error_copy(err, &s->why);
    s->asking |= mine;
    pthread_mutex_unlock(&s->lock);
    if (!mine)
        return rc;
    struct error why = {0};
    rc = ask(s, &why);
    if (rc < 0)
        note_down(s, &why);
    else
        note_up(s);
    pthread_mutex_lock(&s->lock);
    s->asking = false;
    pthread_mutex_unlock(&s->lock);
    return rc < 0 ? error_copy(err, &why) : 0;
}

int service_health(struct service *s, struct error *err)
{
    int64_t now = clock_mono_us();
    pthread_mutex_lock(&s->lock);
    bool mine = !s->looked_at || now - s->looked_at >= LOOK_US;
    int rc = !mine && s->unwell.code ? error_copy(err, &s->unwell) : 0;
    if (mine) // nobody else asks meanwhile
        s->looked_at = now;
    pthread_mutex_unlock(&s->lock);
    if (!mine)
        return rc;
    struct error why = {0};
    rc = ask(s, &why);
    pthread_mutex_lock(&s->lock);
    s->unwell = why;
    pthread_mutex_unlock(&s->lock);
    return rc < 0 ? error_copy(err, &why) : 0;
}

// ---- Whose fault it is

static int *strikes_of(struct service *s, uint64_t picture, bool make)
{
    for (size_t i = 0; i < SUSPECTS; i++)
        if (s->suspects[i].strikes && s->suspects[i].picture == picture)
            return &s->suspects[i].strikes;
    if (!make)
        return NULL;
    size_t at = s->next_suspect++ % SUSPECTS;
    s->suspects[at].picture = picture;
    s->suspects[at].strikes = 0;
    return &s->suspects[at].strikes;
}

// How many pictures these are, and whether one of them was at work when the service broke down.
static size_t look_at(struct service *s, const struct service_work *work, size_t count, bool *suspected)
{
    size_t pictures = 0;
    *suspected = false;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < count; i++) {
        pictures += work[i].count;
        for (size_t p = 0; p < work[i].count; p++)
            *suspected |= strikes_of(s, work[i].pictures[p], false) != NULL;
    }
    pthread_mutex_unlock(&s->lock);
    return pictures;
}

// The service broke down over this. True when a picture was there too often to be innocent: all but the first time, it
// was alone.
static bool suspect(struct service *s, const struct service_work *work)
{
    bool guilty = false;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < work->count; i++)
        guilty |= ++*strikes_of(s, work->pictures[i], true) >= STRIKES;
    pthread_mutex_unlock(&s->lock);
    return guilty;
}

static void acquit(struct service *s, const struct service_work *work)
{
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < work->count; i++) {
        int *strikes = strikes_of(s, work->pictures[i], false);
        if (strikes)
            *strikes = 0;
    }
    pthread_mutex_unlock(&s->lock);
}

static bool refused_for_now(const struct call *call)
{
    return call->end == CALL_ANSWERED &&
           (call->status == 429 || call->status == 502 || call->status == 503 || call->status == 504);
}

// No picture makes a service answer this.
static bool is_setup(const struct call *call)
{
    return call->status < 400 || call->status == 401 || call->status == 403 || call->status == 404 ||
           call->status == 405 || call->status == 507;
}

static int judge(struct service *s, const struct call *call, const struct service_work *work, struct error *err)
{
    struct error down = {0};
    if (call->end == CALL_ANSWERED && call->status == 200) {
        acquit(s, work);
        return 0;
    }
    if (call->end == CALL_NO_MEMORY)
        return error_set(err, ERR_NO_MEMORY, "Model %s: out of memory", s->spec->model.name);
    if (call->end == CALL_TOO_LARGE)
        return say(s, call, ERR_EXTRACTION_FAILED, err);
    if (call->end == CALL_UNREACHED || refused_for_now(call) || (call->end == CALL_ANSWERED && is_setup(call)))
        return say(s, call, ERR_UNAVAILABLE, err);
    bool broken = ask(s, &down) < 0;
    if (broken && call->end != CALL_ANSWERED && suspect(s, work))
        return error_set(err, ERR_EXTRACTION_FAILED,
                         "Model %s: the service at %.100s broke down %d times with it: %.200s", s->spec->model.name,
                         s->spec->url, STRIKES, call->why);
    if (broken)
        return say(s, call, ERR_UNAVAILABLE, err);
    return say(s, call, call->end == CALL_SILENT ? ERR_EXTRACTION_TIMEOUT : ERR_EXTRACTION_FAILED, err);
}

// ---- Sending

static void rest(int tried, int64_t asked_ms)
{
    int64_t wait = (int64_t)REST_MS << (2 * (tried - 1));
    wait = asked_ms > wait ? asked_ms : wait;
    wait = wait < REST_MAX_MS ? wait : REST_MAX_MS;
    clock_sleep_ms(wait / 2 + randombytes_uniform((uint32_t)(wait / 2)));
}

// Those that the service has not begun with, and the longest rest that it asked for.
static size_t left_over(struct call *calls, size_t count, struct call **left, int64_t *asked_ms)
{
    size_t found = 0;
    *asked_ms = 0;
    for (size_t i = 0; i < count; i++)
        if (calls[i].end == CALL_UNREACHED || refused_for_now(&calls[i])) {
            left[found++] = &calls[i];
            *asked_ms = calls[i].retry_after_ms > *asked_ms ? calls[i].retry_after_ms : *asked_ms;
        }
    return found;
}

static void send_all(struct service *s, struct call *calls, size_t count)
{
    struct call *left[REMOTE_BATCH_MAX];
    size_t to_send = count;
    int64_t asked_ms;
    for (size_t i = 0; i < count; i++) {
        calls[i].timeout_ms = s->timeout_ms;
        left[i] = &calls[i];
    }
    for (int tried = 1; to_send; tried++) {
        caller_run(s->caller, left, to_send);
        to_send = tried < ATTEMPTS ? left_over(calls, count, left, &asked_ms) : 0;
        if (to_send)
            rest(tried, asked_ms);
    }
}

// An outage stands above what else went wrong.
static int send_and_judge(struct service *s, struct call *calls, const struct service_work *work, size_t count,
                          struct error *err)
{
    struct error first = {0};
    send_all(s, calls, count);
    for (size_t i = 0; i < count; i++) {
        struct error why = {0};
        if (judge(s, &calls[i], &work[i], &why) < 0 && (!first.code || (why.outage && !first.outage)))
            first = why;
    }
    if (first.outage)
        note_down(s, &first);
    return first.code ? error_copy(err, &first) : 0;
}

int service_send(struct service *s, struct call *calls, const struct service_work *work, size_t count,
                 struct error *err)
{
    bool suspected;
    if (admit(s, err) < 0)
        return -1;
    if (look_at(s, work, count, &suspected) > 1 && suspected)
        return error_set(
            err, ERR_EXTRACTION_FAILED,
            "Model %s: its service broke down with one of these pictures, which are to be tried one by one",
            s->spec->model.name);
    if (suspected)
        pthread_rwlock_wrlock(&s->at_work);
    else
        pthread_rwlock_rdlock(&s->at_work);
    int rc = send_and_judge(s, calls, work, count, err);
    pthread_rwlock_unlock(&s->at_work);
    return rc;
}

int service_unlike(struct service *s, const char *what, const char *there, const char *here, struct error *err)
{
    struct error why;
    error_set(&why, ERR_UNAVAILABLE, "Model %s: the service at %.100s has %s %.60s, its model.json says %.60s",
              s->spec->model.name, s->spec->url, what, there, here);
    note_down(s, &why);
    return error_copy(err, &why);
}
