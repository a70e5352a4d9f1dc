// SPDX-License-Identifier: Apache-2.0
// Searching with a video: see search_video.h.
#include "flow/search_video.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/closer.h"
#include "flow/video_file.h"
#include "flow/words.h"

enum { AT_ONCE = 2, INTERVAL_MS = 500, FRAMES_MAX = 240, TIME_MS = 120000, NEAREST = 48 };
#define APPROXIMATE 0.9F // of a query's accuracy (ports/index.h)

struct pair { // a frame of the query and a stored one
    const char *frame;
    int query;
    float score;
    const char *video; // of the stored one; NULL: it is not there for readers
    int64_t at_ms;
};

struct searching {
    struct flow *flow;
    const struct video_query *query;
    const struct flow_model *model;
    const char *collection;
    const char *self;
    struct filter *filter;
    float *vector;
    struct arena *arena;
    struct pair *pairs;
    size_t count;
    int64_t at_ms[FRAMES_MAX];
    struct align_query times;
    bool complete;
};

// --- What looks like a frame of the query

static int vector_of(struct searching *s, const struct pixels *px, struct error *err)
{
    const struct extractor *x = s->model->extractor;
    return s->model->model->only_texts ? words_of_picture(s->flow, px, s->vector, err)
                                       : x->ops->extract(x->state, s->model->model, px, 1, s->vector, NULL, err);
}

static int look_closer(struct searching *s, struct arena *arena, const struct pixels *px, struct index_hit *hits,
                       size_t count, struct error *err)
{
    struct closer *closer = arena_alloc(arena, sizeof *closer);
    if (!s->flow->settings.search_closer || !count)
        return 0;
    return closer_of_picture(px, closer, err) < 0
               ? -1
               : closer_look(s->flow, arena, s->query->tenant, closer, hits, count, err);
}

static int add_pairs(struct searching *s, struct arena *arena, const struct pixels *px, struct error *err)
{
    struct flow *f = s->flow;
    const struct index_query query = {.vector = s->vector,
                                      .dimension = s->model->model->dimension,
                                      .k = NEAREST,
                                      .min_score = -1,
                                      .filter = s->filter,
                                      .accuracy = f->settings.search_approximate ? APPROXIMATE : 1};
    struct index_hit *hits;
    size_t count;
    if (vector_of(s, px, err) < 0 ||
        f->index.ops->search(f->index.state, s->collection, &query, arena, &hits, &count, err) < 0 ||
        look_closer(s, arena, px, hits, count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        s->pairs[s->count++] =
            (struct pair){.frame = arena_strdup(s->arena, hits[i].id), .query = s->times.count, .score = hits[i].score};
    return 0;
}

static int take_frame(struct searching *s, const struct video_message *m, struct error *err)
{
    if (s->times.count == FRAMES_MAX)
        return 0;
    _cleanup_arena_ struct arena arena = {0};
    if (add_pairs(s, &arena, &m->pixels, err) < 0)
        return -1;
    s->at_ms[s->times.count++] = m->time_ms;
    return 0;
}

static int watch(struct searching *s, struct video *video, struct error *err)
{
    for (;;) {
        struct video_message m;
        if (s->flow->stopping)
            return video_stopped(err);
        if (video_next(video, &m, err) < 0 || (m.step == VIDEO_FRAME && take_frame(s, &m, err) < 0))
            return -1;
        if (m.step == VIDEO_INFO)
            s->times.duration_ms = m.info.duration_ms;
        if (m.step != VIDEO_END)
            continue;
        if (m.duration_ms)
            s->times.duration_ms = m.duration_ms;
        s->complete = m.complete;
        return 0;
    }
}

// What a decoder leaves that dies or takes too long is searched with.
static int look_at_query(struct searching *s, int fd, struct error *err)
{
    struct video_limits limits = s->flow->settings.video;
    struct video *video;
    struct error why = {0};
    limits.time_ms = limits.time_ms < TIME_MS ? limits.time_ms : TIME_MS;
    limits.rules = (struct choice_rules){
        .interval_ms = INTERVAL_MS, .per_minute = 60000 / INTERVAL_MS * 2, .max_frames = FRAMES_MAX};
    if (video_open(fd, &limits, NULL, &video, err) < 0)
        return -1;
    int rc = watch(s, video, &why);
    video_close(video);
    if (rc < 0 && (!s->times.count || (why.code != ERR_DECODER_TIMEOUT && why.code != ERR_DECODER_DIED)))
        return error_copy(err, &why);
    if (rc < 0)
        s->times.duration_ms = s->at_ms[s->times.count - 1];
    return 0;
}

// --- Which videos these are

static int by_frame(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int order = strcmp(x->frame, y->frame);
    return order ? order : (x->query > y->query) - (x->query < y->query);
}

static int by_video(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (!x->video || !y->video)
        return !x->video - !y->video;
    int order = strcmp(x->video, y->video);
    return order ? order : (x->query > y->query) - (x->query < y->query);
}

static int look_up(struct searching *s, struct meta_tx *tx, const char *id, struct media *out, bool *there,
                   struct error *err)
{
    struct error why = {0};
    if (s->flow->meta.ops->media_get(tx, s->arena, s->query->tenant, id, out, &why) < 0) {
        *there = false;
        return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
    }
    *there = out->status != MEDIA_DELETING;
    return 0;
}

static int parents_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct searching *s = arg;
    for (size_t i = 0; i < s->count; i++) {
        struct pair *pair = &s->pairs[i];
        struct media frame;
        bool there;
        pair->video = NULL;
        if (i && strcmp(pair->frame, pair[-1].frame) == 0) {
            pair->video = pair[-1].video;
            pair->at_ms = pair[-1].at_ms;
            continue;
        }
        if (look_up(s, tx, pair->frame, &frame, &there, err) < 0)
            return -1;
        if (there && frame.parent && !(s->self && strcmp(frame.parent, s->self) == 0)) {
            pair->video = frame.parent;
            pair->at_ms = frame.time_ms;
        }
    }
    return 0;
}

// --- Bringing them into line

struct lining {
    struct searching *search;
    struct video_hit *hits;
    size_t count;
};

static bool line_up(struct searching *s, const struct pair *pairs, size_t count, struct align_match *out)
{
    struct align_pair *aligned = calloc(count, sizeof *aligned);
    if (!aligned)
        return false;
    for (size_t i = 0; i < count; i++)
        aligned[i] = (struct align_pair){pairs[i].query, pairs[i].at_ms, pairs[i].score};
    bool found = align_find(&s->times, aligned, count, s->query->min_score, out);
    free(aligned);
    return found;
}

static int hits_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct lining *l = arg;
    struct searching *s = l->search;
    l->count = 0;
    for (size_t from = 0, to; from < s->count && s->pairs[from].video; from = to) {
        struct video_hit hit;
        bool there;
        for (to = from; to < s->count && s->pairs[to].video && strcmp(s->pairs[to].video, s->pairs[from].video) == 0;)
            to++;
        if (!line_up(s, &s->pairs[from], to - from, &hit.match))
            continue;
        if (look_up(s, tx, s->pairs[from].video, &hit.video, &there, err) < 0)
            return -1;
        if (there)
            l->hits[l->count++] = hit;
    }
    return 0;
}

static int by_score(const void *a, const void *b)
{
    const struct video_hit *x = a, *y = b;
    float left = x->match.score * (float)x->match.frames, right = y->match.score * (float)y->match.frames;
    return left != right ? (left < right) - (left > right) : strcmp(x->video.id, y->video.id);
}

static int line_all_up(struct searching *s, struct video_result *out, struct error *err)
{
    const struct meta *meta = &s->flow->meta;
    struct lining l = {.search = s, .hits = arena_alloc(s->arena, (s->count + 1) * sizeof *l.hits)};
    if (s->count)
        qsort(s->pairs, s->count, sizeof *s->pairs, by_frame);
    if (meta->ops->read(meta->state, parents_tx, s, err) < 0)
        return -1;
    if (s->count)
        qsort(s->pairs, s->count, sizeof *s->pairs, by_video);
    if (meta->ops->read(meta->state, hits_tx, &l, err) < 0)
        return -1;
    if (l.count)
        qsort(l.hits, l.count, sizeof *l.hits, by_score);
    size_t k = s->query->k ? s->query->k : s->flow->settings.search_k;
    out->hits = l.hits;
    out->count = l.count < k ? l.count : k;
    return 0;
}

// --- All of it

static int make_filter(struct searching *s, struct error *err)
{
    _cleanup_json_ json_t *frames = json_pack("{s:s}", "kind", "frame");
    _cleanup_json_ json_t *both = json_pack("{s:[O,O]}", "and", frames, s->query->filter ? s->query->filter : frames);
    struct filter *own = NULL; // so that what is wrong is told in the words of who asked
    if (s->query->filter && filter_parse(s->query->filter, &own, err) < 0)
        return -1;
    filter_free(own);
    return filter_parse(both, &s->filter, err);
}

static int open_query(struct searching *s, int *out, struct error *err)
{
    struct item item;
    char id[ID_MAX];
    if (item_id(s->query->id, "vid", id, err) < 0 || item_get(s->flow, s->arena, s->query->tenant, id, &item, err) < 0)
        return -1;
    if (strcmp(item.media.kind, "video") != 0)
        return error_set(err, ERR_INVALID_ID, "\"%.64s\" is not the id of a video", s->query->id);
    s->self = item.media.id;
    return video_file_open(s->flow, item.media.blob_key, 0, out, err);
}

static int run(struct searching *s, struct video_result *out, struct error *err)
{
    struct flow *f = s->flow;
    const struct video_query *q = s->query;
    struct meta_tenant tenant;
    _cleanup_close_ int own = -1;
    if (flow_tenant(f, s->arena, q->tenant, &tenant, err) < 0 ||
        flow_model_for(f, q->tenant, q->model, &s->model, err) < 0 || make_filter(s, err) < 0 ||
        (q->fd < 0 && open_query(s, &own, err) < 0))
        return -1;
    s->collection = flow_collection(s->arena, tenant.slug, s->model->model->name);
    s->vector = arena_alloc(s->arena, s->model->model->dimension * sizeof *s->vector);
    s->pairs = arena_alloc(s->arena, (size_t)FRAMES_MAX * NEAREST * sizeof *s->pairs);
    s->times.at_ms = s->at_ms;
    s->times.slack_ms = f->settings.video.rules.interval_ms + INTERVAL_MS;
    return look_at_query(s, q->fd < 0 ? own : q->fd, err) < 0 ? -1 : line_all_up(s, out, err);
}

int search_video(struct flow *f, const struct video_query *query, struct arena *arena, struct video_result *out,
                 struct error *err)
{
    int64_t start = clock_mono_us();
    struct searching s = {.flow = f, .query = query, .arena = arena};
    if (query->k > f->settings.search_max_k)
        return error_set(err, ERR_INVALID, "`topK` may be at most %zu", f->settings.search_max_k);
    if (f->film_searches++ >= AT_ONCE) {
        f->film_searches--;
        return error_set(err, ERR_OVERLOADED, "Other searches with videos are at work: try again in a moment");
    }
    struct video_result result = {0};
    int rc = run(&s, &result, err);
    f->film_searches--;
    filter_free(s.filter);
    if (rc < 0)
        return -1;
    result.model = s.model->model->name;
    result.duration_ms = s.times.duration_ms;
    result.frames = s.times.count;
    result.complete = s.complete;
    result.took_us = clock_mono_us() - start;
    *out = result;
    return 0;
}
