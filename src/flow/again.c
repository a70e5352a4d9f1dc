// SPDX-License-Identifier: Apache-2.0
#include "flow/again.h"

#include <string.h>

#include "flow/frame.h"

enum { STAGES = 4 };

int again_stages_before(enum event_topic topic)
{
    switch (topic) {
    case TOPIC_IMAGES_UPLOADED:
    case TOPIC_VIDEOS_UPLOADED:
        return 0;
    case TOPIC_FEATURES_EXTRACTION:
        return 1;
    case TOPIC_VECTORS_INDEXING:
        return 2;
    case TOPIC_PROCESSING_COMPLETED:
    case TOPIC_PROCESSING_FAILED: // of which step is not known: all of them
        return 3;
    default:
        return -1;
    }
}

struct forgetting {
    struct flow *flow;
    struct meta_tx *tx;
    struct arena *arena;
    const struct media *row;
    bool video;
    int before; // stages
};

static enum step_id of_video(enum step_id step)
{
    return step == STEP_PREPARE ? STEP_VIDEO : step == STEP_THUMBNAIL ? STEP_DERIVE : step;
}

static int forget_stage(const struct forgetting *call, int stage, const char *event_id, struct error *err)
{
    static const enum step_id steps_of[STAGES][2] = {{STEP_PREPARE, STEP_COUNT},
                                                     {STEP_EXTRACT, STEP_COUNT},
                                                     {STEP_INDEX, STEP_COUNT},
                                                     {STEP_STATUS, STEP_THUMBNAIL}};
    for (int i = 0; i < 2 && stage <= call->before && steps_of[stage][i] != STEP_COUNT; i++) {
        enum step_id step = call->video ? of_video(steps_of[stage][i]) : steps_of[stage][i];
        if (call->flow->meta.ops->inbox_forget(call->tx, steps[step].group, event_id, stage < call->before, err) < 0)
            return -1;
    }
    return 0;
}

// A video ends by its frames.
static int forget_ends(const struct forgetting *call, struct error *err)
{
    static const enum event_topic ends[] = {TOPIC_PROCESSING_COMPLETED, TOPIC_PROCESSING_FAILED};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        const char *id = event_next_id(call->arena, call->row->tenant, call->row->event_id, ends[i], "frames");
        if (forget_stage(call, 3, id, err) < 0)
            return -1;
    }
    return 0;
}

static int forget_model(const struct forgetting *call, const char *model, struct error *err)
{
    static const enum event_topic topics[] = {TOPIC_FEATURES_EXTRACTION, TOPIC_VECTORS_INDEXING,
                                              TOPIC_PROCESSING_COMPLETED};
    const char *id = call->row->event_id;
    for (int stage = 1; stage < STAGES; stage++) {
        id = event_next_id(call->arena, call->row->tenant, id, topics[stage - 1], stage < 3 ? model : "");
        if (forget_stage(call, stage, id, err) < 0)
            return -1;
    }
    return 0;
}

int again_forget_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct media *row,
                    enum event_topic topic, struct error *err)
{
    const struct forgetting call = {.flow = f,
                                    .tx = tx,
                                    .arena = arena,
                                    .row = row,
                                    .video = strcmp(row->kind, "video") == 0,
                                    .before = again_stages_before(topic)};
    const char *models[FLOW_MODELS_MAX];
    if (!row->parent && forget_stage(&call, 0, row->event_id, err) < 0)
        return -1;
    if (call.video)
        return forget_ends(&call, err);
    size_t count = media_models(arena, row, models);
    for (size_t i = 0; i < count; i++)
        if (forget_model(&call, models[i], err) < 0)
            return -1;
    return 0;
}

int again_events(struct flow *f, struct arena *arena, const struct media *row, struct emit **out, struct error *err)
{
    if (row->parent)
        return frame_requests(f, arena, row, out, err);
    struct emit *emit = arena_alloc(arena, sizeof *emit);
    if (upload_event(f, arena, row, emit, err) < 0)
        return -1;
    *out = emit;
    return 0;
}
