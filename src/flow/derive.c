// SPDX-License-Identifier: Apache-2.0
// Making a video's poster, preview and sheet, and a picture at any time of it: see derived.h. The pictures come from a
// decoder in its cage, as the frames do; here they are only laid beside one another and encoded.
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/js.h"
#include "flow/derived.h"
#include "flow/step.h"
#include "flow/video_file.h"
#include "media/animation.h"
#include "media/fit.h"
#include "media/image.h"

enum { POSTER_EDGE = 1280, POSTER_MS = 1000 };
enum { PREVIEW_EDGE = 256, PREVIEW_MS = 3000, PREVIEW_APART_MS = 125, PREVIEW_QUALITY = 60 };
enum { TILE_EDGE = 160, TILES_MAX = 100, COLUMNS = 10, TILE_APART_MS = 1000, SHEET_QUALITY = 70 };
enum { DERIVE_MS = 300000, GLIMPSE_MS = 20000 }; // that one decoder may take, whatever a video may
enum { WEBP_MAX = 16 << 20 };

typedef int (*each_picture)(void *arg, const struct pixels *px, struct error *err);

// At least one, and no more than were wished for: the decoder is not to be believed.
static int take_pictures(struct flow *f, struct video *video, int most, each_picture each, void *arg, struct error *err)
{
    for (int count = 0;;) {
        struct video_message m;
        if (f->stopping)
            return video_stopped(err);
        if (video_next(video, &m, err) < 0)
            return -1;
        if (m.step == VIDEO_END && count)
            return 0;
        if (m.step == VIDEO_END || (m.step == VIDEO_FRAME && ++count > most))
            return error_set(err, ERR_DECODER_DIED,
                             "The process that decodes the video gave other pictures than asked");
        if (m.step == VIDEO_FRAME && each(arg, &m.pixels, err) < 0)
            return -1;
    }
}

static int for_pictures(struct flow *f, int fd, const struct video_limits *limits, const struct video_wishes *wishes,
                        each_picture each, void *arg, struct error *err)
{
    struct video *video;
    if (video_open_wishes(fd, limits, wishes, &video, err) < 0)
        return -1;
    int rc = take_pictures(f, video, wishes->count, each, arg, err);
    video_close(video);
    return rc;
}

static struct video_limits limits_of(const struct flow *f, int edge, int64_t most_ms)
{
    struct video_limits limits = f->settings.video;
    limits.frame_edge = edge;
    limits.time_ms = limits.time_ms < most_ms ? limits.time_ms : most_ms;
    return limits;
}

struct making { // of one video
    struct flow *flow;
    struct arena *arena;
    const struct media *video;
    int fd;
    int64_t duration_ms;
    bool last; // attempt
};

static int put_file(const struct making *m, enum derived what, const struct buf *bytes, struct error *err)
{
    return flow_put(m->flow, derived_key(m->arena, m->video->tenant, m->video->id, what), bytes, err);
}

// --- One picture

struct picture {
    int edge, quality;
    struct buf webp;
    bool empty; // black, or all of one colour
    int width, height;
};

static bool is_empty(const struct pixels *px)
{
    struct pixels cells;
    uint8_t luma[LOOK_SIZE];
    pixels_resize(px, LOOK_SIDE, LOOK_SIDE, &cells);
    for (int i = 0; i < LOOK_SIZE; i++)
        luma[i] =
            (uint8_t)((299 * cells.data[3 * i] + 587 * cells.data[3 * i + 1] + 114 * cells.data[3 * i + 2]) / 1000);
    pixels_free(&cells);
    return look_is_empty(luma);
}

static int take_one(void *arg, const struct pixels *px, struct error *err)
{
    struct picture *p = arg;
    buf_clear(&p->webp);
    p->empty = is_empty(px);
    p->width = px->width;
    p->height = px->height;
    return image_thumbnail(px, p->edge, p->quality, &p->webp, err);
}

static int picture_at(struct flow *f, int fd, const struct video_limits *limits, int64_t ms, struct picture *out,
                      struct error *err)
{
    const struct video_wishes one = {.count = 1, .at_ms = {ms}};
    return for_pictures(f, fd, limits, &one, take_one, out, err);
}

// --- The poster: a second in, or the first frame that was chosen, where there is nothing to see

static int first_frame(const struct making *m, int64_t *ms, struct error *err)
{
    struct media *frames;
    size_t count;
    if (item_frames(m->flow, m->arena, m->video->tenant, m->video->id, -1, 1, &frames, &count, err) < 0)
        return -1;
    *ms = count ? frames[0].time_ms : POSTER_MS;
    return 0;
}

static int make_poster(const struct making *m, json_t **out, struct error *err)
{
    const struct video_limits limits = limits_of(m->flow, POSTER_EDGE, DERIVE_MS);
    struct picture p = {
        .edge = POSTER_EDGE, .quality = m->flow->settings.thumbnail_quality, .webp = BUF_INIT(WEBP_MAX)};
    int64_t other;
    int rc = picture_at(m->flow, m->fd, &limits, POSTER_MS, &p, err);
    if (rc == 0 && p.empty)
        rc = first_frame(m, &other, err) < 0 ? -1 : picture_at(m->flow, m->fd, &limits, other, &p, err);
    if (rc == 0)
        rc = put_file(m, DERIVED_POSTER, &p.webp, err);
    buf_free(&p.webp);
    if (rc == 0)
        *out = json_pack("{s:i,s:i}", "width", p.width, "height", p.height);
    return rc;
}

// --- The preview: three seconds from a fifth on, or what there is

struct preview {
    struct animation *animation;
    int64_t shown_ms;
    int width, height, count;
};

// What is shown goes on evenly, whatever the rate of the video's pictures is.
static int take_preview(void *arg, const struct pixels *px, struct error *err)
{
    struct preview *p = arg;
    if (!p->animation && animation_begin(px->width, px->height, PREVIEW_QUALITY, &p->animation, err) < 0)
        return -1;
    if (!p->count++) {
        p->width = px->width;
        p->height = px->height;
    }
    if (animation_add(p->animation, px, p->shown_ms, err) < 0)
        return -1;
    p->shown_ms += PREVIEW_APART_MS;
    return 0;
}

static struct video_wishes preview_wishes(int64_t duration_ms)
{
    struct video_wishes wishes = {0};
    int64_t at = duration_ms / 5, latest = duration_ms > PREVIEW_MS ? duration_ms - PREVIEW_MS : 0;
    at = at < latest ? at : latest;
    for (int i = 0; i < PREVIEW_MS / PREVIEW_APART_MS; i++)
        wishes.at_ms[wishes.count++] = at + i * PREVIEW_APART_MS;
    return wishes;
}

static int make_preview(const struct making *m, json_t **out, struct error *err)
{
    const struct video_limits limits = limits_of(m->flow, PREVIEW_EDGE, DERIVE_MS);
    const struct video_wishes wishes = preview_wishes(m->duration_ms);
    struct preview p = {0};
    _cleanup_buf_ struct buf webp = BUF_INIT(WEBP_MAX);
    int rc = for_pictures(m->flow, m->fd, &limits, &wishes, take_preview, &p, err);
    if (rc == 0)
        rc = animation_end(p.animation, p.shown_ms, &webp, err);
    animation_free(p.animation);
    if (rc < 0 || put_file(m, DERIVED_PREVIEW, &webp, err) < 0)
        return -1;
    *out = json_pack("{s:i,s:i,s:i}", "width", p.width, "height", p.height, "count", p.count);
    return 0;
}

// --- The sheet

struct sheet {
    struct pixels px;
    int wanted, columns, count;
    int width, height; // of a tile
};

static int begin_sheet(struct sheet *s, const struct pixels *first, struct error *err)
{
    s->width = first->width;
    s->height = first->height;
    s->px.width = s->width * s->columns;
    s->px.height = s->height * ((s->wanted + s->columns - 1) / s->columns);
    s->px.data = calloc(1, pixels_bytes(&s->px));
    return s->px.data ? 0 : error_set(err, ERR_NO_MEMORY, "No memory for the sheet of a video");
}

static int take_tile(void *arg, const struct pixels *px, struct error *err)
{
    struct sheet *s = arg;
    struct pixels same = {0};
    if (!s->px.data && begin_sheet(s, px, err) < 0)
        return -1;
    if (px->width != s->width || px->height != s->height)
        pixels_resize(px, s->width, s->height, &same);
    const uint8_t *from = same.data ? same.data : px->data;
    size_t line = (size_t)s->width * 3, whole = (size_t)s->px.width * 3;
    uint8_t *to = s->px.data + (size_t)(s->count / s->columns) * (size_t)s->height * whole +
                  (size_t)(s->count % s->columns) * line;
    for (int y = 0; y < s->height; y++)
        memcpy(to + (size_t)y * whole, from + (size_t)y * line, line);
    pixels_free(&same);
    s->count++;
    return 0;
}

static int64_t apart_of(int64_t duration_ms)
{
    int64_t apart = (duration_ms + TILES_MAX - 1) / TILES_MAX;
    return apart > TILE_APART_MS ? apart : TILE_APART_MS;
}

static struct video_wishes tile_wishes(int64_t duration_ms)
{
    struct video_wishes wishes = {.about_ms = apart_of(duration_ms)};
    do
        wishes.at_ms[wishes.count] = wishes.count * wishes.about_ms;
    while (++wishes.count * wishes.about_ms < duration_ms && wishes.count < TILES_MAX);
    return wishes;
}

static int make_sprite(const struct making *m, json_t **out, struct error *err)
{
    const struct video_limits limits = limits_of(m->flow, TILE_EDGE, DERIVE_MS);
    const struct video_wishes wishes = tile_wishes(m->duration_ms);
    struct sheet s = {.wanted = wishes.count, .columns = wishes.count < COLUMNS ? wishes.count : COLUMNS};
    _cleanup_buf_ struct buf webp = BUF_INIT(WEBP_MAX);
    int rc = for_pictures(m->flow, m->fd, &limits, &wishes, take_tile, &s, err);
    if (rc == 0)
        rc = image_thumbnail(&s.px, TILE_EDGE * TILES_MAX, SHEET_QUALITY, &webp, err);
    pixels_free(&s.px);
    if (rc < 0 || put_file(m, DERIVED_SPRITE, &webp, err) < 0)
        return -1;
    int64_t end = s.count < wishes.count ? s.count * wishes.about_ms : m->duration_ms;
    *out = json_pack("{s:i,s:i,s:i,s:i,s:I,s:I}", "tileWidth", s.width, "tileHeight", s.height, "columns", s.columns,
                     "count", s.count, "intervalMs", (json_int_t)wishes.about_ms, "endMs",
                     (json_int_t)(end > 0 ? end : 1));
    return 0;
}

// --- All of them

// What the video itself is to blame for is no failure of the step: there is none of it then.
static bool is_its_own(enum error_code code, bool last)
{
    return code == ERR_VIDEO_EMPTY || code == ERR_VIDEO_CORRUPT || code == ERR_VIDEO_TOO_LARGE ||
           code == ERR_UNSUPPORTED_MEDIA || code == ERR_DECODER_TIMEOUT || (code == ERR_DECODER_DIED && last);
}

static int make_all(const struct making *m, json_t *derived, struct error *err)
{
    static const struct {
        const char *name;
        int (*make)(const struct making *m, json_t **out, struct error *err);
    } makers[] = {{"poster", make_poster}, {"preview", make_preview}, {"sprite", make_sprite}};
    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        struct error why = {0};
        json_t *made = NULL;
        if (json_object_get(derived, makers[i].name))
            continue;
        if (makers[i].make(m, &made, &why) == 0)
            json_object_set_new(derived, makers[i].name, made);
        else if (!is_its_own(why.code, m->last))
            return error_copy(err, &why);
    }
    return 0;
}

int derived_make(struct flow *f, struct arena *arena, const struct media *video, bool last, json_t **out,
                 struct error *err)
{
    _cleanup_json_ json_t *known = video->video ? js_parse(video->video, strlen(video->video), NULL) : NULL;
    _cleanup_json_ json_t *derived = json_object();
    _cleanup_close_ int fd = -1;
    json_object_update(derived, js_obj(known, "derived"));
    double seconds = json_number_value(json_object_get(known, "duration"));
    if (json_object_size(derived) < DERIVED_COUNT) {
        struct making m = {
            .flow = f, .arena = arena, .video = video, .duration_ms = (int64_t)(seconds * 1000), .last = last};
        if (video_file_open(f, video->blob_key, 0, &fd, err) < 0)
            return -1;
        m.fd = fd;
        if (make_all(&m, derived, err) < 0)
            return -1;
    }
    *out = take_ptr(derived);
    return 0;
}

// --- A picture at any time

static int glimpse(struct flow *f, const struct media *video, int64_t time_ms, int edge, struct buf *out,
                   struct error *err)
{
    int64_t until_us = clock_mono_us() + GLIMPSE_MS * 1000LL;
    struct picture p = {.edge = edge, .quality = f->settings.thumbnail_quality, .webp = BUF_INIT(WEBP_MAX)};
    _cleanup_close_ int fd = -1;
    if (video_file_open(f, video->blob_key, until_us, &fd, err) < 0)
        return -1;
    int64_t left_ms = (until_us - clock_mono_us()) / 1000;
    const struct video_limits limits = limits_of(f, edge, left_ms > 1 ? left_ms : 1);
    int rc = picture_at(f, fd, &limits, time_ms, &p, err);
    if (rc == 0 && buf_append(out, p.webp.data, p.webp.len) < 0)
        rc = error_set(err, ERR_NO_MEMORY, "No memory for a picture");
    buf_free(&p.webp);
    return rc;
}

// Few at once, so that uploads and searches have processors, too; one a tenant, so that nobody takes all.
static _Atomic uint64_t *take_place(struct flow *f, const char *tenant)
{
    uint64_t mine = hash64(tenant, strlen(tenant)) | 1;
    for (size_t i = 0; i < ARRAY_LEN(f->glimpses); i++)
        if (f->glimpses[i] == mine)
            return NULL;
    for (size_t i = 0; i < ARRAY_LEN(f->glimpses); i++) {
        uint64_t free_one = 0;
        if (atomic_compare_exchange_strong(&f->glimpses[i], &free_one, mine))
            return &f->glimpses[i];
    }
    return NULL;
}

int derived_glimpse(struct flow *f, struct arena *arena, const char *tenant, const char *id, int64_t time_ms, int edge,
                    struct buf *out, struct error *err)
{
    char key[ID_MAX];
    struct item item;
    if (item_id(id, "vid", key, err) < 0 || item_get(f, arena, tenant, key, &item, err) < 0)
        return -1;
    if (strcmp(item.media.kind, "video") != 0)
        return error_set(err, ERR_NOT_FOUND, "There is no video %.64s", id);
    _Atomic uint64_t *place = take_place(f, tenant);
    if (!place)
        return error_set(err, ERR_OVERLOADED, "Other pictures of videos are being decoded: try again in a moment");
    int rc = glimpse(f, &item.media, time_ms, edge, out, err);
    *place = 0;
    return rc;
}
