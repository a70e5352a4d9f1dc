// SPDX-License-Identifier: Apache-2.0
// The table of subjects is the queue: raising marks an entry, the thread takes one after the other and delivers it.
#include "obs/alert.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/js.h"
#include "base/log.h"
#include "obs/metrics.h"

enum { SUBJECT_MAX = 192, FIRST_WAIT_MS = 500, CHILD_LOOK_MS = 20 };

struct entry {
    char kind[64], subject[SUBJECT_MAX];
    uint64_t pending; // raised and not yet told
    int64_t first_ms;
    int64_t not_before_us;
    json_t *details; // of the first that is pending
    char *message;
};

struct alerts {
    struct alert_config config;
    pthread_t thread;
    _Atomic bool stopping;

    pthread_mutex_t lock; // guards what follows
    pthread_cond_t wake;
    struct entry entries[ALERT_SUBJECTS]; // the first is for all that have no entry of their own
    size_t count;
};

// --- Raising

static struct entry *find(struct alerts *a, const char *kind, const char *subject)
{
    for (size_t i = 1; i < a->count; i++)
        if (strcmp(a->entries[i].kind, kind) == 0 && strcmp(a->entries[i].subject, subject) == 0)
            return &a->entries[i];
    return NULL;
}

// A free place: a new one, or that of a subject that has been quiet for its interval.
static struct entry *place(struct alerts *a)
{
    if (a->count < ALERT_SUBJECTS)
        return &a->entries[a->count++];
    int64_t now = clock_mono_us();
    for (size_t i = 1; i < a->count; i++)
        if (!a->entries[i].pending && a->entries[i].not_before_us <= now)
            return &a->entries[i];
    return NULL;
}

static struct entry *entry_of(struct alerts *a, const char *kind, const char *subject)
{
    struct entry *e = find(a, kind, subject);
    if (e)
        return e;
    e = place(a);
    if (!e)
        return &a->entries[0];
    *e = (struct entry){0};
    snprintf(e->kind, sizeof e->kind, "%s", kind);
    snprintf(e->subject, sizeof e->subject, "%s", subject);
    return e;
}

static void fill(struct entry *e, const char *message, const struct alert_field *fields)
{
    e->first_ms = clock_now_ms();
    e->message = js_utf8(message, strnlen(message, ALERT_TEXT_MAX));
    e->details = json_object();
    for (int i = 0; i < ALERT_FIELDS && fields && fields[i].name; i++) {
        if (!fields[i].value)
            continue;
        _cleanup_free_ char *text = js_utf8(fields[i].value, strnlen(fields[i].value, ALERT_TEXT_MAX));
        js_set_str(e->details, fields[i].name, text);
    }
}

void alerts_raise(struct alerts *a, const char *kind, const char *subject, const char *message,
                  const struct alert_field *fields)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    struct entry *e = entry_of(a, kind, subject);
    if (e->pending++ == 0) {
        fill(e, message, fields);
        pthread_cond_signal(&a->wake);
    }
    pthread_mutex_unlock(&a->lock);
}

// --- Delivering

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    return ((struct alerts *)arg)->stopping;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    return size * count; // nobody reads it
}

static int post(struct alerts *a, const char *text, struct error *err)
{
    CURL *curl = curl_easy_init();
    if (!curl)
        return error_set(err, ERR_NO_MEMORY, "No memory for a request");
    char why[CURL_ERROR_SIZE] = "";
    long status = 0;
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_setopt(curl, CURLOPT_URL, a->config.webhook);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "DeepLens/" DEEPLENS_VERSION);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)a->config.timeout_ms);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, a);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    CURLcode rc = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    if (rc != CURLE_OK)
        return error_set(err, ERR_UNAVAILABLE, "alert.webhook: %.200s", *why ? why : curl_easy_strerror(rc));
    if (status < 200 || status > 299)
        return error_set(err, ERR_UNAVAILABLE, "alert.webhook answered with status %ld", status);
    return 0;
}

// The command gets signals as a shell does, none of our descriptors, and our log as its output.
static int spawn(const char *command, int input, pid_t *pid, struct error *err)
{
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t actions;
    sigset_t none, all;
    char *argv[] = {"sh", "-c", (char *)command, NULL};
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    int rc = posix_spawn(pid, "/bin/sh", &actions, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return rc ? error_errno(err, ERR_UNAVAILABLE, rc, "alert.command cannot be started") : 0;
}

static int wait_child(struct alerts *a, pid_t pid, struct error *err)
{
    int64_t until = clock_mono_us() + a->config.timeout_ms * 1000;
    int status;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (a->stopping || clock_mono_us() > until) {
            kill(-pid, SIGKILL);
            waitpid(pid, &status, 0);
            return error_set(err, ERR_TIMEOUT, "alert.command did not end in time, and was killed");
        }
        clock_sleep_ms(CHILD_LOOK_MS);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return error_set(err, ERR_UNAVAILABLE, "alert.command failed: %s %d", WIFEXITED(status) ? "exit code" : "signal",
                     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

// The text is far smaller than a pipe holds, so writing it never waits, and fails at worst.
static int run(struct alerts *a, const char *text, struct error *err)
{
    int pipes[2];
    pid_t pid;
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return error_errno(err, ERR_UNAVAILABLE, errno, "alert.command cannot be started");
    _cleanup_close_ int input = pipes[0];
    size_t len = strlen(text);
    bool written = write(pipes[1], text, len) == (ssize_t)len;
    close(pipes[1]);
    if (!written)
        return error_set(err, ERR_UNAVAILABLE, "alert.command cannot be told");
    return spawn(a->config.command, input, &pid, err) < 0 ? -1 : wait_child(a, pid, err);
}

typedef int deliver_fn(struct alerts *a, const char *text, struct error *err);

static void deliver(struct alerts *a, deliver_fn *fn, const char *text)
{
    struct error why = {0};
    for (int i = 0; i < ALERT_TRIES && !a->stopping; i++) {
        if (i) {
            int64_t until = clock_mono_us() + (FIRST_WAIT_MS * 1000LL << (i - 1));
            while (!a->stopping && clock_mono_us() < until)
                clock_sleep_ms(CHILD_LOOK_MS);
        }
        if (fn(a, text, &why) == 0) {
            metric_add(M_ALERTS, "sent", 1);
            return;
        }
    }
    metric_add(M_ALERTS, "lost", 1);
    log_warn("alert", "an alert was lost: %s", *why.message ? why.message : "the server stops");
}

// --- The thread

static char *take_text(struct entry *e)
{
    json_t *json = json_pack("{s:s,s:s,s:s?,s:I,s:o?}", "alert", *e->kind ? e->kind : "other", "subject",
                             *e->subject ? e->subject : "other", "message", e->message, "count", (json_int_t)e->pending,
                             "details", e->details);
    js_set_time(json, "since", e->first_ms);
    js_set_time(json, "time", clock_now_ms());
    char *text = js_dumps(json);
    json_decref(json);
    free(e->message);
    e->message = NULL;
    e->details = NULL;
    e->pending = 0;
    return text;
}

// The entry that has waited longest for its turn; NULL when none is due. `*look` is when to look again.
static struct entry *due(struct alerts *a, int64_t *look)
{
    int64_t now = clock_mono_us();
    struct entry *found = NULL;
    *look = now + 60000000;
    for (size_t i = 0; i < a->count; i++) {
        struct entry *e = &a->entries[i];
        if (!e->pending)
            continue;
        if (e->not_before_us <= now && (!found || e->first_ms < found->first_ms))
            found = e;
        else if (e->not_before_us > now && e->not_before_us < *look)
            *look = e->not_before_us;
    }
    return found;
}

static void *sender(void *arg)
{
    struct alerts *a = arg;
    pthread_mutex_lock(&a->lock);
    while (!a->stopping) {
        int64_t look;
        struct entry *e = due(a, &look);
        if (!e) {
            struct timespec until = {.tv_sec = look / 1000000, .tv_nsec = look % 1000000 * 1000};
            pthread_cond_timedwait(&a->wake, &a->lock, &until);
            continue;
        }
        _cleanup_free_ char *text = take_text(e);
        e->not_before_us = clock_mono_us() + a->config.interval_ms * 1000;
        pthread_mutex_unlock(&a->lock);
        if (text && a->config.webhook)
            deliver(a, post, text);
        if (text && a->config.command)
            deliver(a, run, text);
        pthread_mutex_lock(&a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static const char *given(const char *text)
{
    return text && *text ? text : NULL;
}

static void alerts_free(struct alerts *a)
{
    for (size_t i = 0; i < a->count; i++) {
        free(a->entries[i].message);
        json_decref(a->entries[i].details);
    }
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

int alerts_start(const struct alert_config *config, struct alerts **out, struct error *err)
{
    const char *webhook = given(config->webhook), *command = given(config->command);
    if (webhook && strncmp(webhook, "http://", 7) != 0 && strncmp(webhook, "https://", 8) != 0)
        return error_set(err, ERR_CONFIG, "alert.webhook must be an http:// or https:// address");
    if (!webhook && !command) {
        *out = NULL;
        return 0;
    }
    struct alerts *a = calloc(1, sizeof *a);
    if (!a)
        return error_set(err, ERR_NO_MEMORY, "No memory for alerts");
    a->config = *config;
    a->config.webhook = webhook;
    a->config.command = command;
    a->count = 1;
    pthread_mutex_init(&a->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&a->thread, NULL, sender, a) != 0) {
        alerts_free(a);
        return error_set(err, ERR_NO_MEMORY, "The thread for alerts cannot be started");
    }
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
    pthread_join(a->thread, NULL);
    alerts_free(a);
}
