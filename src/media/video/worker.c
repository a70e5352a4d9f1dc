// SPDX-License-Identifier: Apache-2.0
// The process that decodes one video: enters the cage, then reads, chooses, shrinks and hands over, until the video or
// the other side ends. See wire.h for what is said.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "media/video/cage.h"
#include "media/video/look.h"
#include "media/video/shrink.h"
#include "media/video/source.h"
#include "media/video/wire.h"

enum { TELL_US = 500000 }; // how long it goes on without a word

struct worker {
    struct video_order order;
    struct source source;
    struct video_info info;
    struct choice choice;
    struct shrink shrink;
    uint8_t *memory;
    bool mine[VIDEO_ROOMS];
    AVFrame *frame, *held, *spare;
    int64_t held_ms, spare_ms, told_us, at_ms;
};

// --- The other side; when it is gone, so is this process

static void tell(struct worker *w, struct video_report *report)
{
    if (send(VIDEO_SOCKET, report, sizeof *report, MSG_NOSIGNAL) != sizeof *report)
        _exit(0);
    w->told_us = clock_mono_us();
}

static void take_back(struct worker *w, int flags)
{
    struct video_room room;
    ssize_t got;
    while ((got = recv(VIDEO_SOCKET, &room, sizeof room, flags)) < 0 && errno == EINTR)
        ;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    if (got != sizeof room || room.room < 0 || room.room >= VIDEO_ROOMS)
        _exit(0);
    w->mine[room.room] = true;
}

static int free_room(struct worker *w)
{
    for (;;) {
        for (int i = 0; i < VIDEO_ROOMS; i++)
            if (w->mine[i])
                return i;
        take_back(w, 0);
    }
}

static void fail(struct worker *w, const struct error *why)
{
    struct video_report report = {.kind = REPORT_FAILED, .error = *why};
    tell(w, &report);
}

// --- Frames

static int hand_over(struct worker *w, const AVFrame *frame, int64_t ms, struct error *err)
{
    struct pixels px;
    int room = free_room(w);
    size_t bytes = video_room_bytes(&w->order.limits);
    if (shrink_frame(&w->shrink, frame, w->source.sar_num, w->source.sar_den, w->info.rotation,
                     w->order.limits.frame_edge, &px, err) < 0)
        return -1;
    memcpy(w->memory + (size_t)room * bytes, px.data, pixels_bytes(&px));
    struct video_report report = {
        .kind = REPORT_FRAME, .room = room, .width = px.width, .height = px.height, .time_ms = ms};
    pixels_free(&px);
    w->mine[room] = false;
    tell(w, &report);
    return 0;
}

static int hold(AVFrame *to, int64_t *to_ms, const AVFrame *from, int64_t ms, struct error *err)
{
    av_frame_unref(to);
    *to_ms = ms;
    return av_frame_ref(to, from) < 0 ? error_set(err, ERR_NO_MEMORY, "No memory for a picture") : 0;
}

static void mark(struct worker *w)
{
    struct video_report report = {.kind = REPORT_MARK, .time_ms = w->at_ms, .mark = w->choice.mark};
    tell(w, &report);
}

// A decoder that was asked for one picture may give one of another size in the middle.
static bool fits(const struct worker *w, const AVFrame *frame)
{
    const struct video_limits *l = &w->order.limits;
    return frame->width > 0 && frame->height > 0 && frame->width <= l->max_edge && frame->height <= l->max_edge &&
           (uint64_t)frame->width * (uint64_t)frame->height <= l->max_pixels && !(frame->flags & AV_FRAME_FLAG_CORRUPT);
}

static int consider(struct worker *w, int64_t ms, struct error *err)
{
    struct look look = {.time_ms = ms};
    w->at_ms = ms;
    if (ms < w->order.from.at_ms || !fits(w, w->frame) || look_take(w->frame, &look) < 0)
        return 0;
    unsigned what = choice_feed(&w->choice, &look);
    if (what & CHOICE_KEEP && hand_over(w, w->held, w->held_ms, err) < 0)
        return -1;
    if (what & CHOICE_MARK && (what & CHOICE_KEEP || clock_mono_us() - w->told_us > TELL_US))
        mark(w);
    if (what & CHOICE_HOLD && hold(w->held, &w->held_ms, w->frame, ms, err) < 0)
        return -1;
    return what & CHOICE_HOLD_SPARE ? hold(w->spare, &w->spare_ms, w->frame, ms, err) : 0;
}

static int finish(struct worker *w, struct error *err)
{
    if (choice_end(&w->choice) & CHOICE_KEEP && hand_over(w, w->held, w->held_ms, err) < 0)
        return -1;
    bool none = w->choice.now.kept == 0;
    if (none && !w->spare->buf[0] && w->source.starved)
        return error_set(err, ERR_VIDEO_TOO_LARGE, "The video needs more memory than its decoder may take");
    if (none && !w->spare->buf[0])
        return error_set(err, ERR_VIDEO_EMPTY, "No picture of the video can be decoded");
    if (none && hand_over(w, w->spare, w->spare_ms, err) < 0)
        return -1;
    int64_t last = w->info.fps > 1 ? (int64_t)(1000 / w->info.fps) : 0;
    struct video_report report = {.kind = REPORT_END,
                                  .time_ms = w->at_ms,
                                  .mark = w->choice.mark,
                                  .duration_ms = w->source.draining ? w->at_ms + last : 0,
                                  .complete = w->source.draining && !w->source.broken};
    tell(w, &report);
    return 0;
}

static int decode(struct worker *w, struct error *err)
{
    int64_t ms;
    int rc;
    while (!choice_full(&w->choice) && (rc = source_next(&w->source, w->frame, &ms, err)) != 0) {
        if (rc < 0 || consider(w, ms, err) < 0)
            return -1;
        av_frame_unref(w->frame);
        if (clock_mono_us() - w->told_us > TELL_US)
            mark(w);
        take_back(w, MSG_DONTWAIT); // also finds out whether anybody still listens
    }
    return finish(w, err);
}

// --- Pictures at given times

// The picture at the time or behind it, held: 1. 0: the video ended before; its last one is held, if there is any.
static int reach(struct worker *w, int64_t ms, struct error *err)
{
    int rc = 1;
    while (!w->held->buf[0] || w->held_ms < ms) {
        if ((rc = source_next(&w->source, w->frame, &w->at_ms, err)) <= 0)
            return rc;
        if (fits(w, w->frame) && hold(w->held, &w->held_ms, w->frame, w->at_ms, err) < 0)
            return -1;
        av_frame_unref(w->frame);
        if (clock_mono_us() - w->told_us > TELL_US)
            mark(w);
        take_back(w, MSG_DONTWAIT);
    }
    return rc;
}

static int end_wishes(struct worker *w, bool any, struct error *err)
{
    if (!any && w->source.starved)
        return error_set(err, ERR_VIDEO_TOO_LARGE, "The video needs more memory than its decoder may take");
    if (!any)
        return error_set(err, ERR_VIDEO_EMPTY, "No picture of the video can be decoded");
    struct video_report report = {.kind = REPORT_END, .time_ms = w->at_ms, .complete = !w->source.broken};
    tell(w, &report);
    return 0;
}

static int grant(struct worker *w, struct error *err)
{
    const struct video_wishes *wishes = &w->order.wishes;
    bool any = false;
    int rc = 1;
    for (int i = 0; rc > 0 && i < wishes->count && i < VIDEO_WISHES_MAX; i++) {
        int64_t ms = wishes->at_ms[i];
        source_leap(&w->source, ms);
        if ((rc = reach(w, ms, err)) < 0 || (w->held->buf[0] && hand_over(w, w->held, w->held_ms, err) < 0))
            return -1;
        any |= w->held->buf[0] != NULL;
    }
    return end_wishes(w, any, err);
}

// --- All of it

// A long video gets the same number of frames, further apart. How long it is, the container says; more than its bytes
// can hold at 4 kbit/s is not believed.
static void spread(struct worker *w)
{
    struct choice_rules *rules = &w->order.limits.rules;
    int64_t most = w->source.size * 2, duration = w->info.duration_ms < most ? w->info.duration_ms : most;
    int64_t apart = rules->max_frames > 0 ? duration / rules->max_frames * 5 / 4 : 0;
    if (apart > rules->interval_ms)
        rules->interval_ms = apart;
}

static int run(struct worker *w, struct error *err)
{
    const struct video_limits *limits = &w->order.limits;
    struct stat st;
    const struct cage_limits cage = {.memory = limits->memory + video_room_bytes(limits) * VIDEO_ROOMS,
                                     .cpu_s = limits->time_ms / 1000 * (limits->threads + 1) + 1};
    w->memory = mmap(NULL, video_room_bytes(limits) * VIDEO_ROOMS, PROT_READ | PROT_WRITE, MAP_SHARED, VIDEO_MEMORY, 0);
    if (w->memory == MAP_FAILED)
        return error_errno(err, ERR_NO_MEMORY, errno, "No memory for the frames of a video");
    w->frame = av_frame_alloc();
    w->held = av_frame_alloc();
    w->spare = av_frame_alloc();
    if (!w->frame || !w->held || !w->spare)
        return error_set(err, ERR_NO_MEMORY, "No memory for the pictures of a video");
    if (fstat(VIDEO_FILE, &st) < 0) // no more than the descriptor is known in the cage
        return error_errno(err, ERR_IO, errno, "The video's file cannot be read");
    if (cage_enter(&cage, VIDEO_FREE, err) < 0 ||
        source_open(&w->source, VIDEO_FILE, st.st_size, limits, &w->info, err) < 0)
        return -1;
    struct video_report report = {.kind = REPORT_INFO, .info = w->info};
    tell(w, &report);
    if (w->order.wishes.count) {
        if (w->order.wishes.about_ms)
            source_skip_to_keys(&w->source, w->order.wishes.about_ms);
        return grant(w, err);
    }
    spread(w);
    source_skip_to_keys(&w->source, w->order.limits.rules.interval_ms);
    choice_begin(&w->choice, &w->order.limits.rules, w->order.has_from ? &w->order.from : NULL);
    source_seek(&w->source, w->order.from.at_ms);
    return decode(w, err);
}

int video_worker(void)
{
    static struct worker w; // zeroed, and large
    struct error err = {0};
    if (recv(VIDEO_SOCKET, &w.order, sizeof w.order, 0) != sizeof w.order || w.order.magic != VIDEO_MAGIC)
        return 1;
    for (int i = 0; i < VIDEO_ROOMS; i++)
        w.mine[i] = true;
    if (run(&w, &err) < 0)
        fail(&w, &err);
    _exit(0); // nothing is torn down: the kernel does that better
}
