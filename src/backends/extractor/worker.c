// SPDX-License-Identifier: Apache-2.0
// Starting, asking and replacing a worker: see worker.h.
//
// `alive` is held for reading by calls and for writing by who replaces a worker that died. The first to find it dead
// kills what is left and starts another; `generation` tells the others that this was done.
#include "backends/extractor/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/extractor/worker_wire.h"
#include "base/cleanup.h"

enum {
    LOAD_TIMEOUT_MS = 120000,
    RUN_TIMEOUT_MS = 60000,
    END_TIMEOUT_MS = 5000,
    HIGH_FD = 64 // above every number that a worker's descriptors get
};

struct worker {
    struct worker_order order;
    char *program;
    int memory_fd;
    uint8_t *memory;
    size_t dimension;
    pthread_rwlock_t alive;
    pthread_mutex_t lock; // of what is below, for worker_pid
    unsigned generation;
    pid_t pid; // 0: none
    int control;
    int streams[WORKER_STREAMS_MAX];
};

static const char *name_of(const struct worker *w)
{
    return w->order.spec.name;
}

// --- The process

// `[0]` stays here, `[1]` is the worker's; both with numbers that no worker's descriptor has.
static int make_pair(int pair[2], struct error *err)
{
    int low[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, low) < 0)
        return error_errno(err, ERR_NO_MEMORY, errno, "No socket for a worker");
    for (int i = 0; i < 2; i++) {
        pair[i] = fcntl(low[i], F_DUPFD_CLOEXEC, HIGH_FD);
        close(low[i]);
    }
    return pair[0] >= 0 && pair[1] >= 0 ? 0 : error_errno(err, ERR_NO_MEMORY, errno, "No socket for a worker");
}

static void close_all(int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        cleanup_close(&fds[i]);
        fds[i] = -1;
    }
}

// Starts the program with `theirs` as its descriptors 3, 5, 6 … and the memory as 4.
static int spawn(struct worker *w, const int *theirs, int count, pid_t *pid, struct error *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, theirs[0], WORKER_CONTROL);
    posix_spawn_file_actions_adddup2(&actions, w->memory_fd, WORKER_MEMORY);
    for (int i = 1; i < count; i++)
        posix_spawn_file_actions_adddup2(&actions, theirs[i], WORKER_STREAMS + i - 1);
    char *const argv[] = {w->program, (char *)"worker-extract", NULL};
    int rc = posix_spawn(pid, w->program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc ? error_errno(err, ERR_UNAVAILABLE, rc, "Model %s: its worker %.200s cannot be started", name_of(w),
                            w->program)
              : 0;
}

static int launch(struct worker *w, struct error *err)
{
    int count = 1 + w->order.config.streams, ours[1 + WORKER_STREAMS_MAX], theirs[1 + WORKER_STREAMS_MAX], rc = 0;
    memset(ours, -1, sizeof ours);
    memset(theirs, -1, sizeof theirs);
    for (int i = 0; i < count && rc == 0; i++) {
        int pair[2] = {-1, -1};
        rc = make_pair(pair, err);
        ours[i] = pair[0];
        theirs[i] = pair[1];
    }
    pid_t pid = 0;
    if (rc == 0)
        rc = spawn(w, theirs, count, &pid, err);
    close_all(theirs, count);
    if (rc < 0) {
        close_all(ours, count);
        return -1;
    }
    pthread_mutex_lock(&w->lock);
    w->pid = pid;
    w->control = ours[0];
    memcpy(w->streams, ours + 1, sizeof w->streams);
    pthread_mutex_unlock(&w->lock);
    (void)send(w->control, &w->order, sizeof w->order,
               MSG_NOSIGNAL); // should it be gone already, worker_ready finds out
    return 0;
}

// Ends what is left of it. `how` says how it ended, for a person.
static void bury(struct worker *w, int patience_ms, char how[64])
{
    int status = 0;
    pid_t pid = w->pid;
    pthread_mutex_lock(&w->lock);
    close_all(&w->control, 1);
    close_all(w->streams, WORKER_STREAMS_MAX);
    w->pid = 0;
    pthread_mutex_unlock(&w->lock);
    snprintf(how, 64, "is gone");
    if (pid <= 0)
        return;
    pid_t ended = 0;
    for (int waited = 0; waited < patience_ms && (ended = waitpid(pid, &status, WNOHANG)) == 0; waited += 5)
        poll(NULL, 0, 5);
    if (ended == 0) {
        kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        snprintf(how, 64, "did not answer and was ended");
    } else if (WIFSIGNALED(status)) {
        snprintf(how, 64, "died of signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else {
        snprintf(how, 64, "ended with code %d", WEXITSTATUS(status));
    }
}

// --- Asking

// Waits for one message of exactly `size` bytes: 0, -1 when the worker is gone, -2 when the time is over.
static int receive(int fd, void *into, size_t size, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int ready;
    while ((ready = poll(&p, 1, timeout_ms)) < 0 && errno == EINTR)
        ;
    if (ready == 0)
        return -2;
    ssize_t got;
    while ((got = recv(fd, into, size, 0)) < 0 && errno == EINTR)
        ;
    return got == (ssize_t)size ? 0 : -1;
}

int worker_ready(struct worker *w, struct error *err)
{
    struct worker_report report;
    char how[64];
    int rc = w->pid ? receive(w->control, &report, sizeof report, LOAD_TIMEOUT_MS) : -1;
    if (rc < 0) {
        bury(w, rc == -1 ? 1000 : 0, how);
        return error_set(err, ERR_CONFIG, "Model %s: the process that loads it %s", name_of(w), how);
    }
    if (report.rc < 0) {
        bury(w, END_TIMEOUT_MS, how);
        return error_copy(err, &report.error);
    }
    if (w->dimension && report.dimension != w->dimension) {
        bury(w, END_TIMEOUT_MS, how);
        return error_set(err, ERR_CONFIG, "Model %s gave %zu numbers a vector before, and now gives %zu", name_of(w),
                         w->dimension, report.dimension);
    }
    if (!w->dimension) // afterwards it is only read, by whoever asks
        w->dimension = report.dimension;
    return 0;
}

enum outcome { DONE, REFUSED, DIED, TIMED_OUT };

static enum outcome ask(struct worker *w, int stream, size_t count, struct error *err)
{
    const struct worker_request request = {.count = count};
    struct worker_answer answer;
    int fd = w->streams[stream];
    if (fd < 0 || send(fd, &request, sizeof request, MSG_NOSIGNAL) != sizeof request)
        return DIED;
    int rc = receive(fd, &answer, sizeof answer, RUN_TIMEOUT_MS);
    if (rc < 0)
        return rc == -1 ? DIED : TIMED_OUT;
    if (answer.rc < 0)
        error_copy(err, &answer.error);
    return answer.rc < 0 ? REFUSED : DONE;
}

// A fresh worker in place of a dead one; with `alive` held for writing. That it cannot be had now does not say that the
// model is no good: it was.
static int replace(struct worker *w, char how[64], int patience_ms, struct error *err)
{
    struct error why = {0};
    bury(w, patience_ms, how);
    w->generation++;
    if (launch(w, &why) < 0 || worker_ready(w, &why) < 0)
        return error_set(err, ERR_EXTRACTION_FAILED, "%s", why.message);
    return 0;
}

// Once more, with nothing else in flight, on a worker that nobody else has killed yet: what kills it now has done it
// alone.
static int run_alone(struct worker *w, int stream, size_t count, unsigned generation, struct error *err)
{
    char how[64] = "died";
    enum outcome outcome = DIED;
    pthread_rwlock_wrlock(&w->alive);
    if (w->generation != generation) // another caller replaced it; a third may have killed that one, too
        outcome = ask(w, stream, count, err);
    int rc = outcome == DIED ? replace(w, how, 1000, err) : 0;
    if (rc == 0 && outcome == DIED)
        outcome = ask(w, stream, count, err);
    if (rc == 0 && (outcome == DIED || outcome == TIMED_OUT)) {
        struct error again = {0};
        (void)replace(w, how, outcome == DIED ? 1000 : 0, &again); // should that fail, the next call tries again
        error_set(err, ERR_EXTRACTION_FAILED, "The process that runs model %s %s at work on it", name_of(w), how);
    }
    pthread_rwlock_unlock(&w->alive);
    return rc == 0 && outcome == DONE ? 0 : -1;
}

static int replace_stuck(struct worker *w, unsigned generation, struct error *err)
{
    char how[64];
    struct error again = {0};
    pthread_rwlock_wrlock(&w->alive);
    if (w->generation == generation)
        (void)replace(w, how, 0, &again);
    pthread_rwlock_unlock(&w->alive);
    return error_set(err, ERR_EXTRACTION_TIMEOUT, "Model %s gave no answer within %d s", name_of(w),
                     RUN_TIMEOUT_MS / 1000);
}

int worker_run(struct worker *w, int stream, size_t count, struct error *err)
{
    pthread_rwlock_rdlock(&w->alive);
    unsigned generation = w->generation;
    enum outcome outcome = ask(w, stream, count, err);
    pthread_rwlock_unlock(&w->alive);
    if (outcome == DIED)
        return run_alone(w, stream, count, generation, err);
    if (outcome == TIMED_OUT)
        return replace_stuck(w, generation, err);
    return outcome == DONE ? 0 : -1;
}

// --- Life

static int map_memory(struct worker *w, struct error *err)
{
    size_t all = worker_room_bytes(&w->order.spec, &w->order.config) * (size_t)w->order.config.streams;
    int fd = memfd_create("deeplens-extract", MFD_CLOEXEC);
    w->memory_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
    cleanup_close(&fd);
    if (w->memory_fd < 0 || ftruncate(w->memory_fd, (off_t)all) < 0)
        return error_errno(err, ERR_NO_MEMORY, errno, "Model %s: no memory for its pictures", name_of(w));
    void *memory = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED, w->memory_fd, 0);
    if (memory == MAP_FAILED)
        return error_errno(err, ERR_NO_MEMORY, errno, "Model %s: no memory for its pictures", name_of(w));
    w->memory = memory;
    return 0;
}

int worker_start(const struct model_spec *spec, const struct net_config *config, const char *program,
                 struct worker **out, struct error *err)
{
    if (config->streams < 1 || config->streams > WORKER_STREAMS_MAX)
        return error_set(err, ERR_CONFIG, "A model may have 1 to %d streams", WORKER_STREAMS_MAX);
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return error_set(err, ERR_NO_MEMORY, "No memory for model %s", spec->name);
    w->order.magic = WORKER_MAGIC;
    w->order.spec = *spec;
    w->order.config = *config;
    w->memory_fd = w->control = -1;
    memset(w->streams, -1, sizeof w->streams);
    pthread_rwlock_init(&w->alive, NULL);
    pthread_mutex_init(&w->lock, NULL);
    w->program = strdup(program);
    if (!w->program || map_memory(w, err) < 0 || launch(w, err) < 0) {
        worker_stop(w);
        return -1;
    }
    *out = w;
    return 0;
}

void worker_stop(struct worker *w)
{
    if (!w)
        return;
    char how[64];
    bury(w, END_TIMEOUT_MS, how);
    if (w->memory)
        munmap(w->memory, worker_room_bytes(&w->order.spec, &w->order.config) * (size_t)w->order.config.streams);
    cleanup_close(&w->memory_fd);
    pthread_rwlock_destroy(&w->alive);
    pthread_mutex_destroy(&w->lock);
    free(w->program);
    free(w);
}

size_t worker_dimension(const struct worker *w)
{
    return w->dimension;
}

uint8_t *worker_pictures(struct worker *w, int stream)
{
    return w->memory + worker_room_bytes(&w->order.spec, &w->order.config) * (size_t)stream;
}

const float *worker_vectors(struct worker *w, int stream)
{
    return (const float *)(const void *)(worker_pictures(w, stream) +
                                         worker_vectors_at(&w->order.spec, &w->order.config));
}

int worker_pid(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    pid_t pid = w->pid;
    pthread_mutex_unlock(&w->lock);
    return pid;
}
