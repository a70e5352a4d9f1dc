// SPDX-License-Identifier: Apache-2.0
// The uploading threads. Each takes the next file by a counter and owns that file's struct until it is done; the main
// thread draws the progress and reads the structs after they have ended.
#include "cli/uploader.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/js.h"
#include "cli/client.h"
#include "cli/progress.h"
#include "media/video/kind.h"

enum { BACK_OFF_FIRST_MS = 200, BACK_OFF_MOST_MS = 5000, ASKED_MOST_MS = 30000, NAP_MS = 50, JOBS_MAX = 64 };

static atomic_bool interrupted; // lock-free: set by the handler, read by every thread

static void on_signal(int number)
{
    interrupted = true;
}

void upload_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool upload_interrupted(void)
{
    return interrupted;
}

bool upload_worth_retrying(const struct client *client, const struct error *err)
{
    int status = client_status(client);
    bool no_answer = status == 0 && (err->code == ERR_UNAVAILABLE || err->code == ERR_TIMEOUT);
    return no_answer || status == 503 || status == 429;
}

int64_t upload_back_off_ms(unsigned attempt, int64_t asked_ms, unsigned *seed)
{
    int64_t wait = BACK_OFF_FIRST_MS;
    for (unsigned i = 0; i < attempt && wait < BACK_OFF_MOST_MS; i++)
        wait *= 2;
    if (wait > BACK_OFF_MOST_MS)
        wait = BACK_OFF_MOST_MS;
    wait = wait / 2 + rand_r(seed) % (wait / 2 + 1);
    if (asked_ms > ASKED_MOST_MS)
        asked_ms = ASKED_MOST_MS;
    return asked_ms > wait ? asked_ms : wait;
}

static bool stopping(const struct upload *u)
{
    return interrupted || u->stop;
}

static void nap(const struct upload *u, int64_t ms)
{
    for (; ms > 0 && !stopping(u); ms -= NAP_MS)
        clock_sleep_ms(ms < NAP_MS ? ms : NAP_MS);
}

struct worker {
    struct upload *upload;
    struct client *client;
    unsigned seed;
    pthread_t thread;
};

static int64_t mtime_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

// 1 when the server still has what the journal says, 0 when it has not, -1 when it does not answer.
static int still_there(struct client *client, const char *id, struct error *err)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    buf_puts(&path, "/api/v1/images/");
    client_segment(&path, id);
    buf_puts(&path, "/status");
    if (client_get(client, path.data, NULL, err) == 0)
        return 1;
    return client_status(client) == 404 ? 0 : -1;
}

static int try_resume(struct worker *w, struct upload_file *file, const struct stat *st, struct error *err)
{
    const char *id =
        file->journal ? journal_find(file->journal, file->inside, (uint64_t)st->st_size, mtime_ns(st)) : NULL;
    int there = id ? still_there(w->client, id, err) : 0;
    if (there == 1) {
        snprintf(file->id, sizeof file->id, "%s", id);
        file->outcome = UPLOAD_RESUMED;
    }
    return there;
}

static int accept_answer(struct upload_file *file, const json_t *answer, struct error *err)
{
    const char *id = js_str(answer, "imageId", js_str(answer, "videoId", NULL));
    if (!id || strlen(id) >= sizeof file->id)
        return error_set(err, ERR_INTERNAL, "The server's answer names no item");
    snprintf(file->id, sizeof file->id, "%s", id);
    file->outcome = js_bool(answer, "duplicate", false) ? UPLOAD_DUPLICATE : UPLOAD_NEW;
    return 0;
}

// By its first bytes, as the server sees it.
static bool is_video(int fd)
{
    uint8_t head[VIDEO_KIND_BYTES];
    const struct video_kind *kind;
    ssize_t got = pread(fd, head, sizeof head, 0);
    return got > 0 && video_kind_find(head, (size_t)got, &kind, NULL) == 0;
}

static int try_once(struct worker *w, struct upload_file *file, int fd, struct error *err)
{
    _cleanup_buf_ struct buf path = CLIENT_PATH;
    _cleanup_json_ json_t *answer = NULL;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_errno(err, ERR_IO, errno, "It cannot be read");
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERR_IO, "It is no file");
    int there = try_resume(w, file, &st, err);
    if (there)
        return there == 1 ? 0 : -1;
    buf_puts(&path, is_video(fd) ? "/api/v1/videos/upload" : "/api/v1/images/upload");
    client_query(&path, "fileName", file->name);
    buf_puts(&path, w->upload->query);
    if (path.failed)
        return error_set(err, ERR_USAGE, "Its name and metadata are too long together");
    if (client_post_file(w->client, path.data, fd, (uint64_t)st.st_size, &answer, err) < 0 ||
        accept_answer(file, answer, err) < 0)
        return -1;
    if (file->journal &&
        journal_add(file->journal, file->inside, (uint64_t)st.st_size, mtime_ns(&st), file->id, NULL) < 0)
        w->upload->journal_lost = true;
    return 0;
}

static void refuse(struct upload_file *file, const struct error *err)
{
    file->outcome = UPLOAD_REFUSED;
    file->error = malloc(sizeof *file->error);
    error_copy(file->error, err);
}

// True when trying the next file makes no sense, as the server is away or will not take more.
static bool is_hopeless(const struct client *client, const struct error *err)
{
    return upload_worth_retrying(client, err) && (err->code == ERR_UNAVAILABLE || err->code == ERR_TIMEOUT ||
                                                  err->code == ERR_OVERLOADED || err->code == ERR_DRAINING);
}

static void upload_one(struct worker *w, struct upload_file *file)
{
    struct error err;
    _cleanup_close_ int opened = file->fd >= 0 ? -1 : open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int fd = file->fd >= 0 ? file->fd : opened;
    if (fd < 0) {
        error_errno(&err, ERR_IO, errno, "It cannot be read");
        refuse(file, &err);
        return;
    }
    for (unsigned attempt = 0;; attempt++) {
        if (try_once(w, file, fd, &err) == 0)
            return;
        if (!upload_worth_retrying(w->client, &err) || attempt >= w->upload->retries || stopping(w->upload))
            break;
        nap(w->upload, upload_back_off_ms(attempt, client_retry_after_ms(w->client), &w->seed));
    }
    if (is_hopeless(w->client, &err)) {
        w->upload->gave_up = w->upload->gave_up || !interrupted;
        w->upload->stop = true;
    }
    refuse(file, &err);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct upload *u = w->upload;
    while (!stopping(u)) {
        size_t at = atomic_fetch_add(&u->next, 1);
        if (at >= u->count)
            break;
        if (u->files[at].outcome == UPLOAD_NOT_TRIED)
            upload_one(w, &u->files[at]);
        u->done++;
        u->done_bytes += u->files[at].size;
    }
    u->running--;
    return NULL;
}

static int start_workers(struct upload *u, struct worker *workers, struct error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before); // signals are the main thread's
    unsigned started = 0;
    int rc = 0;
    for (; started < u->jobs && rc == 0; started++) {
        struct worker *w = &workers[started];
        *w = (struct worker){.upload = u, .seed = (unsigned)clock_mono_us() + started * 7919};
        if (client_new(u->server, u->tenant, &w->client, err) < 0) {
            rc = -1;
            break;
        }
        u->running++;
        int failed = pthread_create(&w->thread, NULL, work, w);
        if (failed) {
            u->running--;
            client_free(w->client);
            rc = error_errno(err, ERR_NO_MEMORY, failed, "A thread cannot be started");
            break;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    u->jobs = started;
    return rc;
}

int upload_run(struct upload *u, struct error *err)
{
    struct worker workers[JOBS_MAX];
    struct progress progress;
    int64_t begin = clock_mono_us();
    if (u->jobs > JOBS_MAX)
        u->jobs = JOBS_MAX;
    if (u->jobs > u->count)
        u->jobs = u->count ? (unsigned)u->count : 1;
    progress_start(&progress, "Uploading", u->count, u->bytes, u->quiet);
    int rc = start_workers(u, workers, err);
    if (rc < 0)
        u->stop = true;
    while (u->running) {
        progress_show(&progress, u->done, u->done_bytes);
        clock_sleep_ms(u->done < 100 ? 5 : NAP_MS);
    }
    for (unsigned i = 0; i < u->jobs; i++) {
        pthread_join(workers[i].thread, NULL);
        client_free(workers[i].client);
    }
    progress_end(&progress);
    u->seconds = (double)(clock_mono_us() - begin) / 1e6;
    return rc;
}
