// SPDX-License-Identifier: Apache-2.0
// Files of video: see source.h. What is damaged is passed over as long as something comes of the rest.
#include "media/video/source.h"

#include <errno.h>
#include <libavutil/display.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { IO_BUFFER = 64 * 1024, PROBE_BYTES = 8 << 20, PROBE_US = 5000000, DAMAGED_MAX = 500 };
enum { LEAP_MS = 500, UNINDEXED_MS = 10000 }; // what a jump must spare to be worth it; how far key frames may be apart

static const char formats[] = "mov,matroska,avi,mpegts,mpeg";
static const char codecs[] = "h264,hevc,vp8,vp9,libdav1d,mpeg4,mpeg2video,mpeg1video,mjpeg,h263,msmpeg4,prores,"
                             // of sound only the name is wanted, for which no decoder is opened
                             "none";

// --- The descriptor

static int read_piece(void *arg, uint8_t *to, int len)
{
    struct source *s = arg;
    ssize_t got;
    while ((got = pread(s->fd, to, (size_t)len, s->at)) < 0 && errno == EINTR)
        ;
    if (got <= 0)
        return got == 0 ? AVERROR_EOF : AVERROR(EIO);
    s->at += got;
    return (int)got;
}

static int64_t seek_to(void *arg, int64_t offset, int whence)
{
    struct source *s = arg;
    int64_t at = offset;
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
        return s->size;
    case SEEK_CUR:
        at = s->at + offset;
        break;
    case SEEK_END:
        at = s->size + offset;
        break;
    default:
        break;
    }
    if (at < 0)
        return AVERROR(EINVAL);
    return s->at = at;
}

static int refuse_open(AVFormatContext *format, AVIOContext **io, const char *url, int flags, AVDictionary **options)
{
    (void)format, (void)io, (void)url, (void)flags, (void)options;
    return AVERROR(EACCES); // what a file names stays closed
}

static int open_io(struct source *s, struct error *err)
{
    uint8_t *buffer = av_malloc(IO_BUFFER);
    s->io = buffer ? avio_alloc_context(buffer, IO_BUFFER, 0, s, read_piece, NULL, seek_to) : NULL;
    s->format = avformat_alloc_context();
    s->packet = av_packet_alloc();
    if (!s->io)
        av_free(buffer);
    return s->io && s->format && s->packet ? 0 : error_set(err, ERR_NO_MEMORY, "No memory to open a video");
}

// --- The container

static int corrupt(struct error *err, int rc, const char *what)
{
    char why[AV_ERROR_MAX_STRING_SIZE];
    if (rc == AVERROR(ENOMEM))
        return error_set(err, ERR_VIDEO_TOO_LARGE, "The video needs more memory than its decoder may take");
    if (av_strerror(rc, why, sizeof why) < 0)
        snprintf(why, sizeof why, "error %d", rc);
    return error_set(err, ERR_VIDEO_CORRUPT, "%s: %s", what, why);
}

static int open_container(struct source *s, struct error *err)
{
    AVFormatContext *f = s->format;
    AVDictionary *options = NULL;
    f->pb = s->io;
    f->io_open = refuse_open;
    f->flags |= AVFMT_FLAG_CUSTOM_IO;
    f->probesize = PROBE_BYTES;
    f->max_analyze_duration = PROBE_US;
    f->max_streams = 64;
    av_dict_set(&options, "format_whitelist", formats, 0);
    av_dict_set(&options, "codec_whitelist", codecs, 0);
    av_dict_set(&options, "protocol_whitelist", "none", 0);
    int rc = avformat_open_input(&s->format, NULL, NULL, &options); // frees the context when it fails
    av_dict_free(&options);
    if (rc < 0)
        return corrupt(err, rc, "The video's container cannot be read");
    rc = avformat_find_stream_info(s->format, NULL);
    return rc < 0 ? corrupt(err, rc, "The video's streams cannot be read") : 0;
}

static int find_stream(struct source *s, struct error *err)
{
    int at = av_find_best_stream(s->format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (at < 0 || s->format->streams[at]->disposition & AV_DISPOSITION_ATTACHED_PIC)
        return error_set(err, ERR_VIDEO_EMPTY, "The file holds no video, as far as can be told");
    s->stream = s->format->streams[at];
    for (unsigned i = 0; i < s->format->nb_streams; i++)
        if ((int)i != at)
            s->format->streams[i]->discard = AVDISCARD_ALL;
    return 0;
}

// --- The decoder

static const AVCodec *find_decoder(const AVCodecParameters *params)
{
    const AVCodec *found;
    void *next = NULL;
    while ((found = av_codec_iterate(&next))) {
        char name[64];
        snprintf(name, sizeof name, ",%s,", found->name);
        bool listed = av_codec_is_decoder(found) && found->id == params->codec_id;
        if (listed && (strstr(codecs, name) ||
                       (strncmp(codecs, found->name, strlen(found->name)) == 0 && codecs[strlen(found->name)] == ',')))
            return found;
    }
    return NULL;
}

static int check_size(int64_t width, int64_t height, const struct video_limits *limits, struct error *err)
{
    if (width < 1 || height < 1)
        return error_set(err, ERR_VIDEO_EMPTY, "The video does not say how large its pictures are");
    if ((uint64_t)width * (uint64_t)height <= limits->max_pixels && width <= limits->max_edge &&
        height <= limits->max_edge)
        return 0;
    return error_set(err, ERR_VIDEO_TOO_LARGE,
                     "The video's pictures are %lld x %lld pixels large; %llu pixels are accepted, and an edge of %d",
                     (long long)width, (long long)height, (unsigned long long)limits->max_pixels, limits->max_edge);
}

static int open_decoder(struct source *s, const struct video_limits *limits, struct error *err)
{
    const AVCodecParameters *params = s->stream->codecpar;
    const AVCodec *decoder = find_decoder(params);
    if (!decoder)
        return error_set(err, ERR_UNSUPPORTED_MEDIA, "The video's codec (%s) is none of those that are decoded here",
                         avcodec_get_name(params->codec_id));
    if (check_size(params->width, params->height, limits, err) < 0)
        return -1;
    s->codec = avcodec_alloc_context3(decoder);
    int rc = s->codec ? avcodec_parameters_to_context(s->codec, params) : AVERROR(ENOMEM);
    if (rc == 0) {
        s->codec->thread_count = limits->threads;
        s->codec->max_pixels = (int64_t)limits->max_pixels;
        s->codec->pkt_timebase = s->stream->time_base;
        rc = avcodec_open2(s->codec, decoder, NULL);
    }
    return rc < 0 ? corrupt(err, rc, "The video's decoder cannot be opened") : 0;
}

// --- What is known of it

// Clockwise, 0, 90, 180 or 270; what is between is rounded.
static int rotation_of(const AVStream *stream)
{
    const int32_t *matrix = NULL;
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
    const AVPacketSideData *side = av_packet_side_data_get(
        stream->codecpar->coded_side_data, stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    if (side && side->size >= 9 * sizeof *matrix)
        matrix = (const int32_t *)(const void *)side->data;
#else
    size_t size = 0;
    const uint8_t *side = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    if (side && size >= 9 * sizeof *matrix)
        matrix = (const int32_t *)(const void *)side;
#endif
    double angle = matrix ? -av_display_rotation_get(matrix) : 0;
    if (!isfinite(angle))
        return 0;
    int quarters = (int)lround(angle / 90) % 4;
    return (quarters < 0 ? quarters + 4 : quarters) * 90;
}

static double rate_of(AVRational rate)
{
    return rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
}

static void put_name(char to[VIDEO_NAME], const char *name)
{
    snprintf(to, VIDEO_NAME, "%s", name ? name : "");
}

static void fill_info(struct source *s, struct video_info *info)
{
    const AVCodecParameters *params = s->stream->codecpar;
    AVRational sar = av_guess_sample_aspect_ratio(s->format, s->stream, NULL);
    bool odd = sar.num > 0 && sar.den > 0 && sar.num != sar.den && sar.num / 8 < sar.den && sar.den / 8 < sar.num;
    s->sar_num = odd ? sar.num : 1;
    s->sar_den = odd ? sar.den : 1;
    info->rotation = rotation_of(s->stream);
    bool turned = info->rotation % 180 != 0;
    int width = (int)((int64_t)params->width * s->sar_num / s->sar_den);
    info->width = turned ? params->height : width;
    info->height = turned ? width : params->height;
    info->fps =
        rate_of(s->stream->avg_frame_rate) > 0 ? rate_of(s->stream->avg_frame_rate) : rate_of(s->stream->r_frame_rate);
    int64_t duration = s->stream->duration > 0 ? av_rescale_q(s->stream->duration, s->stream->time_base, AV_TIME_BASE_Q)
                                               : s->format->duration;
    info->duration_ms = duration > 0 && duration != AV_NOPTS_VALUE ? duration / 1000 : 0;
    put_name(info->codec, avcodec_get_name(params->codec_id));
    put_name(info->audio, NULL);
    for (unsigned i = 0; i < s->format->nb_streams && !*info->audio; i++)
        if (s->format->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO)
            put_name(info->audio, avcodec_get_name(s->format->streams[i]->codecpar->codec_id));
}

int source_open(struct source *s, int fd, int64_t size, const struct video_limits *limits, struct video_info *info,
                struct error *err)
{
    *s = (struct source){.fd = fd, .size = size};
    av_log_set_level(AV_LOG_QUIET);
    if (open_io(s, err) < 0 || open_container(s, err) < 0 || find_stream(s, err) < 0 ||
        open_decoder(s, limits, err) < 0)
        return -1;
    fill_info(s, info);
    return 0;
}

void source_close(struct source *s)
{
    avcodec_free_context(&s->codec);
    av_packet_free(&s->packet);
    if (s->format)
        avformat_close_input(&s->format);
    if (s->io)
        av_freep((void *)&s->io->buffer);
    avio_context_free(&s->io);
}

// --- Moving about

void source_skip_to_keys(struct source *s, int64_t interval_ms)
{
    int count = avformat_index_get_entries_count(s->stream), keys = 0;
    const AVIndexEntry *first = NULL, *last = NULL;
    for (int i = 0; i < count; i++) {
        const AVIndexEntry *entry = avformat_index_get_entry(s->stream, i);
        if (!(entry->flags & AVINDEX_KEYFRAME))
            continue;
        first = first ? first : entry;
        last = entry;
        keys++;
    }
    if (keys < 3)
        return;
    int64_t apart = av_rescale_q(last->timestamp - first->timestamp, s->stream->time_base, (AVRational){1, 1000});
    if (apart / (keys - 1) > interval_ms / 2)
        return;
    s->codec->skip_frame = AVDISCARD_NONKEY;
    s->stream->discard = AVDISCARD_NONKEY;
}

static int64_t start_of(const struct source *s)
{
    return s->stream->start_time != AV_NOPTS_VALUE ? s->stream->start_time : 0;
}

void source_seek(struct source *s, int64_t ms)
{
    int64_t at = start_of(s) + av_rescale_q(ms, (AVRational){1, 1000}, s->stream->time_base);
    if (ms <= 0 || av_seek_frame(s->format, s->stream->index, at, AVSEEK_FLAG_BACKWARD) < 0)
        return;
    avcodec_flush_buffers(s->codec);
    s->last_ms = 0; // it may well be before
}

void source_leap(struct source *s, int64_t ms)
{
    int64_t at = start_of(s) + av_rescale_q(ms, (AVRational){1, 1000}, s->stream->time_base);
    int key = av_index_search_timestamp(s->stream, at, AVSEEK_FLAG_BACKWARD);
    const AVIndexEntry *entry = key >= 0 ? avformat_index_get_entry(s->stream, key) : NULL;
    int64_t from = entry ? av_rescale_q(entry->timestamp - start_of(s), s->stream->time_base, (AVRational){1, 1000})
                         : ms - UNINDEXED_MS;
    if (from > s->last_ms + LEAP_MS)
        source_seek(s, ms);
}

// --- Decoding

static int64_t time_of(struct source *s, const AVFrame *frame)
{
    int64_t ms = s->last_ms;
    double rate = rate_of(s->stream->avg_frame_rate);
    if (frame->best_effort_timestamp != AV_NOPTS_VALUE)
        ms = av_rescale_q(frame->best_effort_timestamp - start_of(s), s->stream->time_base, (AVRational){1, 1000});
    else if (rate > 0)
        ms = (int64_t)((double)s->counted * 1000 / rate);
    s->counted++;
    if (ms < s->last_ms || ms > VIDEO_MS_MAX) // times never go back, nor beyond what any video lasts
        ms = s->last_ms;
    return s->last_ms = ms;
}

// Gives the decoder the next packet of the stream. False when there was none to give.
static bool feed(struct source *s)
{
    for (int damaged = 0; !s->draining; damaged++) {
        int rc = av_read_frame(s->format, s->packet);
        if (rc == AVERROR(EAGAIN) && damaged < DAMAGED_MAX)
            continue;
        if (rc < 0) {
            s->broken = rc != AVERROR_EOF || (s->io->error != 0);
            s->draining = true;
            return avcodec_send_packet(s->codec, NULL) == 0;
        }
        bool ours = s->packet->stream_index == s->stream->index;
        rc = ours ? avcodec_send_packet(s->codec, s->packet) : AVERROR_INVALIDDATA;
        av_packet_unref(s->packet);
        damaged -= !ours;
        if (rc == 0)
            return true;
        if (damaged >= DAMAGED_MAX || rc == AVERROR(ENOMEM)) {
            s->starved = rc == AVERROR(ENOMEM);
            s->broken = true;
            s->draining = true;
        }
    }
    return false;
}

int source_next(struct source *s, AVFrame *frame, int64_t *ms, struct error *err)
{
    for (int damaged = 0;; damaged++) {
        int rc = avcodec_receive_frame(s->codec, frame);
        if (rc == 0) {
            *ms = time_of(s, frame);
            return 1;
        }
        if (rc == AVERROR(ENOMEM))
            return corrupt(err, rc, "The video cannot be decoded");
        if (rc == AVERROR(EAGAIN) ? !feed(s) : rc == AVERROR_EOF || damaged >= DAMAGED_MAX)
            return 0;
    }
}
