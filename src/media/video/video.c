// SPDX-License-Identifier: Apache-2.0
// The side of a video that is safe to be on: see video.h. The shared memory cannot change its size under the reader
// (seals), and every number that comes is checked before it is used.
#include "media/video/video.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "media/video/wire.h"

enum { HIGH_FD = 64, END_MS = 1000 }; // above every number that a worker's descriptors get

struct video {
    struct video_limits limits;
    pid_t pid;
    int socket, memory_fd;
    uint8_t *memory;
    int lent; // the room whose pixels the caller has; -1: none
    bool told_info, over;
    int64_t deadline_us, time_ms;
    struct choice_mark mark;
};

static const char *program;

void video_set_worker(const char *path)
{
    program = path;
}

// --- The process

static int make_pair(int pair[2], struct error *err)
{
    int low[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, low) < 0)
        return error_errno(err, ERR_UNAVAILABLE, errno, "No socket for a decoder");
    for (int i = 0; i < 2; i++) {
        pair[i] = fcntl(low[i], F_DUPFD_CLOEXEC, HIGH_FD);
        close(low[i]);
    }
    return pair[0] >= 0 && pair[1] >= 0 ? 0 : error_errno(err, ERR_UNAVAILABLE, errno, "No socket for a decoder");
}

static int map_memory(struct video *v, struct error *err)
{
    size_t bytes = video_room_bytes(&v->limits) * VIDEO_ROOMS;
    _cleanup_close_ int fd = memfd_create("deeplens-video", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    v->memory_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
    if (v->memory_fd < 0 || ftruncate(v->memory_fd, (off_t)bytes) < 0 ||
        fcntl(v->memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return error_errno(err, ERR_NO_MEMORY, errno, "No memory for the frames of a video");
    void *memory = mmap(NULL, bytes, PROT_READ, MAP_SHARED, v->memory_fd, 0);
    if (memory == MAP_FAILED)
        return error_errno(err, ERR_NO_MEMORY, errno, "No memory for the frames of a video");
    v->memory = memory;
    return 0;
}

static int spawn(struct video *v, int theirs, int file, struct error *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, theirs, VIDEO_SOCKET);
    posix_spawn_file_actions_adddup2(&actions, v->memory_fd, VIDEO_MEMORY);
    posix_spawn_file_actions_adddup2(&actions, file, VIDEO_FILE);
    char *const argv[] = {(char *)program, (char *)"worker-video", NULL};
    int rc = posix_spawn(&v->pid, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rc == 0)
        return 0;
    v->pid = 0;
    return error_errno(err, ERR_UNAVAILABLE, rc, "The process that decodes videos cannot be started");
}

static int launch(struct video *v, int fd, const struct choice_mark *from, const struct video_wishes *wishes,
                  struct error *err)
{
    int pair[2] = {-1, -1};
    _cleanup_close_ int file = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);
    int rc = file < 0 ? error_errno(err, ERR_UNAVAILABLE, errno, "No descriptor for a decoder") : make_pair(pair, err);
    v->socket = pair[0];
    if (rc == 0)
        rc = spawn(v, pair[1], file, err);
    cleanup_close(&pair[1]);
    if (rc < 0)
        return -1;
    struct video_order order = {.magic = VIDEO_MAGIC, .limits = v->limits, .has_from = from != NULL};
    if (from)
        order.from = *from;
    if (wishes)
        order.wishes = *wishes;
    (void)send(v->socket, &order, sizeof order, MSG_NOSIGNAL); // should it be gone already, video_next finds out
    return 0;
}

static int start(int fd, const struct video_limits *limits, const struct choice_mark *from,
                 const struct video_wishes *wishes, struct video **out, struct error *err)
{
    if (!program)
        return error_set(err, ERR_UNSUPPORTED, "This program decodes no videos");
    struct video *v = calloc(1, sizeof *v);
    if (!v)
        return error_set(err, ERR_NO_MEMORY, "No memory for a video");
    v->limits = *limits;
    v->socket = v->memory_fd = v->lent = -1;
    v->deadline_us = clock_mono_us() + limits->time_ms * 1000;
    if (from) {
        v->mark = *from;
        v->time_ms = from->at_ms;
    }
    if (map_memory(v, err) < 0 || launch(v, fd, from, wishes, err) < 0) {
        video_close(v);
        return -1;
    }
    *out = v;
    return 0;
}

int video_open(int fd, const struct video_limits *limits, const struct choice_mark *from, struct video **out,
               struct error *err)
{
    return start(fd, limits, from, NULL, out, err);
}

int video_open_wishes(int fd, const struct video_limits *limits, const struct video_wishes *wishes, struct video **out,
                      struct error *err)
{
    if (wishes->count < 1 || wishes->count > VIDEO_WISHES_MAX)
        return error_set(err, ERR_INVALID, "1 to %d pictures of a video are taken at once", VIDEO_WISHES_MAX);
    return start(fd, limits, NULL, wishes, out, err);
}

// Waits a moment for it to end by itself; `how` says how it ended, for a person.
static void bury(struct video *v, int patience_ms, char how[64])
{
    int status = 0;
    pid_t ended = 0;
    snprintf(how, 64, "is gone");
    if (v->pid <= 0)
        return;
    for (int waited = 0; waited < patience_ms && (ended = waitpid(v->pid, &status, WNOHANG)) == 0; waited += 2)
        poll(NULL, 0, 2);
    if (ended == 0) {
        kill(v->pid, SIGKILL);
        while (waitpid(v->pid, &status, 0) < 0 && errno == EINTR)
            ;
        snprintf(how, 64, "was ended");
    } else if (WIFSIGNALED(status)) {
        snprintf(how, 64, "died of signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else {
        snprintf(how, 64, "ended with code %d", WEXITSTATUS(status));
    }
    v->pid = 0;
}

void video_close(struct video *v)
{
    if (!v)
        return;
    char how[64];
    bury(v, 0, how);
    cleanup_close(&v->socket);
    if (v->memory)
        munmap(v->memory, video_room_bytes(&v->limits) * VIDEO_ROOMS);
    cleanup_close(&v->memory_fd);
    free(v);
}

int video_pid(const struct video *v)
{
    return v->pid;
}

// --- What it says

static int receive(struct video *v, struct video_report *out, struct error *err)
{
    char how[64];
    int64_t left_ms = (v->deadline_us - clock_mono_us()) / 1000;
    int64_t wait_ms = left_ms < v->limits.silence_ms ? left_ms : v->limits.silence_ms;
    struct pollfd p = {.fd = v->socket, .events = POLLIN};
    int ready;
    while ((ready = poll(&p, 1, wait_ms > 0 ? (int)wait_ms : 0)) < 0 && errno == EINTR)
        ;
    if (ready == 0) {
        bury(v, 0, how);
        return error_set(err, ERR_DECODER_TIMEOUT, "Decoding the video %s within %lld s",
                         wait_ms == left_ms ? "did not end" : "got no further",
                         (long long)((wait_ms == left_ms ? v->limits.time_ms : v->limits.silence_ms) / 1000));
    }
    ssize_t got; // a reset comes, once, before what was said last, when the worker ended without reading our rooms
    while ((got = recv(v->socket, out, sizeof *out, 0)) < 0 && (errno == EINTR || errno == ECONNRESET))
        ;
    if (got == (ssize_t)sizeof *out)
        return 0;
    bury(v, END_MS, how);
    return error_set(err, ERR_DECODER_DIED, "The process that decodes the video %s at %.1f s", how,
                     (double)v->time_ms / 1000);
}

static int distrust(struct video *v, struct error *err)
{
    char how[64];
    bury(v, 0, how);
    return error_set(err, ERR_DECODER_DIED, "The process that decodes the video said what cannot be");
}

static bool mark_is_sound(const struct video *v, const struct choice_mark *m)
{
    return m->at_ms >= v->mark.at_ms && m->at_ms <= VIDEO_MS_MAX && m->kept >= v->mark.kept &&
           m->kept <= v->limits.rules.max_frames + 1 && m->minute >= 0 && m->kept_in_minute >= 0;
}

static bool report_is_sound(const struct video *v, const struct video_report *r)
{
    int edge = v->limits.frame_edge;
    bool timely = r->time_ms >= 0 && r->time_ms <= VIDEO_MS_MAX;
    switch (r->kind) {
    case REPORT_INFO:
        return !v->told_info && r->info.width >= 0 && r->info.height >= 0 && r->info.duration_ms >= 0;
    case REPORT_FRAME:
        return v->told_info && timely && r->room >= 0 && r->room < VIDEO_ROOMS && r->width > 0 && r->width <= edge &&
               r->height > 0 && r->height <= edge;
    case REPORT_MARK:
    case REPORT_END:
        return v->told_info && timely && mark_is_sound(v, &r->mark) && r->duration_ms >= 0 &&
               r->duration_ms <= 2 * VIDEO_MS_MAX;
    default:
        return r->kind == REPORT_FAILED && r->error.code > ERR_NONE && r->error.code < ERR_COUNT;
    }
}

static void end_text(char text[VIDEO_NAME])
{
    text[VIDEO_NAME - 1] = 0;
    for (char *p = text; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
}

static void read_info(struct video *v, struct video_report *r, struct video_message *out)
{
    v->told_info = true;
    out->step = VIDEO_INFO;
    out->info = r->info;
    out->info.rotation = r->info.rotation % 360;
    if (!(r->info.fps >= 0 && r->info.fps < 1e6))
        out->info.fps = 0;
    if (r->info.duration_ms > VIDEO_MS_MAX)
        out->info.duration_ms = VIDEO_MS_MAX;
    end_text(out->info.codec);
    end_text(out->info.audio);
}

static int read_report(struct video *v, struct video_report *r, struct video_message *out, struct error *err)
{
    struct error why;
    out->time_ms = v->time_ms = r->time_ms;
    switch ((enum report_kind)r->kind) {
    case REPORT_INFO:
        read_info(v, r, out);
        return 0;
    case REPORT_FRAME:
        out->step = VIDEO_FRAME;
        v->lent = r->room;
        out->pixels = (struct pixels){r->width, r->height, v->memory + (size_t)r->room * video_room_bytes(&v->limits)};
        return 0;
    case REPORT_MARK:
    case REPORT_END:
        v->over = r->kind == REPORT_END;
        out->step = v->over ? VIDEO_END : VIDEO_MARK;
        out->mark = v->mark = r->mark;
        out->duration_ms = r->duration_ms;
        out->complete = r->complete;
        return 0;
    default: // only the code and the words: what follows from them, the table says
        r->error.message[sizeof r->error.message - 1] = 0;
        for (char *p = r->error.message; *p; p++)
            if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
                *p = '?';
        error_set(&why, r->error.code, "%s", r->error.message);
        return error_copy(err, &why);
    }
}

int video_next(struct video *v, struct video_message *out, struct error *err)
{
    struct video_report report;
    if (v->lent >= 0) {
        const struct video_room room = {.room = v->lent};
        (void)send(v->socket, &room, sizeof room, MSG_NOSIGNAL);
        v->lent = -1;
    }
    if (receive(v, &report, err) < 0)
        return -1;
    if (!report_is_sound(v, &report))
        return distrust(v, err);
    *out = (struct video_message){0};
    return read_report(v, &report, out, err);
}
