// SPDX-License-Identifier: Apache-2.0
// A topic made anew, and everything that was on its way put back (G2).
//
// What stood on the topic is gone, but every item has its row. An item that is neither completed nor failed begins its
// way again (again.h), from the steps before the topic on: one that was further than the topic is passed over at once,
// and one that stood on it goes through to the end.
//
// What is to be done is written down first, as a setting: cut off anywhere, the next process does it again.
#include <string.h>

#include "base/clock.h"
#include "flow/admin_int.h"
#include "flow/again.h"
#include "flow/message.h"

enum { PAGE = 100 };

#define NOTE "topic.recreate"

struct put_back {
    struct flow *flow;
    struct arena arena; // of the page
    enum event_topic topic;
    int64_t untouched_ms; // only what was not touched since; 0: whatever it is
    const struct media *rows;
    size_t count;
};

static bool is_kind(const struct media *row, const char *kind)
{
    return strcmp(row->kind, kind) == 0;
}

// --- Putting back, a page a transaction

// Topics of uploads carry one kind each; frames go with their video's deletion.
static bool is_meant(const struct put_back *call, const struct media *row)
{
    if ((call->topic == TOPIC_IMAGES_UPLOADED && !is_kind(row, "image")) ||
        (call->topic == TOPIC_VIDEOS_UPLOADED && !is_kind(row, "video")) ||
        (call->topic == TOPIC_IMAGES_MAINTENANCE && row->parent))
        return false;
    return !call->untouched_ms || row->updated_ms <= call->untouched_ms;
}

static int deletion(struct put_back *call, const struct media *row, struct emit **out, struct error *err)
{
    *out = arena_alloc(&call->arena, sizeof **out);
    return item_delete_event(call->flow, &call->arena, row->tenant, row->id, *out, err);
}

static int put_one_back(struct put_back *call, struct meta_tx *tx, const struct media *row, struct error *err)
{
    struct emit *emit = NULL;
    if (call->topic == TOPIC_IMAGES_MAINTENANCE
            ? deletion(call, row, &emit, err) < 0
            : again_events(call->flow, &call->arena, row, &emit, err) < 0 ||
                  again_forget_tx(call->flow, tx, &call->arena, row, call->topic, err) < 0)
        return -1;
    for (; emit; emit = emit->next)
        if (flow_publish_tx(call->flow, tx, emit, err) < 0)
            return -1;
    const struct media_patch touch = {0}; // so that it is left alone for as long again
    struct error why = {0};
    if (!call->untouched_ms || call->flow->meta.ops->media_update(tx, row->tenant, row->id, &touch, &why) == 0)
        return 0;
    return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
}

static int put_back_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct put_back *call = arg;
    for (size_t i = 0; i < call->count; i++)
        if (is_meant(call, &call->rows[i]) && put_one_back(call, tx, &call->rows[i], err) < 0)
            return -1;
    return 0;
}

struct page {
    struct flow *flow;
    struct arena *arena;
    struct media_query query;
    struct media *rows;
    size_t count;
    struct meta_tenant *tenants;
    size_t tenant_count;
};

static int read_page(struct meta_tx *tx, void *arg, struct error *err)
{
    struct page *page = arg;
    return page->flow->meta.ops->media_list(tx, page->arena, &page->query, &page->rows, &page->count, err);
}

static int read_tenants(struct meta_tx *tx, void *arg, struct error *err)
{
    struct page *page = arg;
    return page->flow->meta.ops->tenant_list(tx, page->arena, &page->tenants, &page->tenant_count, err);
}

// All items of a tenant in one state; counts them only when `dry_run`.
static int go_through(struct flow *f, const char *tenant, enum media_status status, enum event_topic topic,
                      int64_t untouched_ms, bool dry_run, uint64_t *items, struct error *err)
{
    char before_id[ID_MAX] = "";
    struct page page = {.flow = f,
                        .query = {.tenant = tenant,
                                  .by_status = true,
                                  .status = status,
                                  .frames = true,
                                  .to_ms = untouched_ms ? untouched_ms + 1 : 0,
                                  .limit = PAGE}};
    do {
        struct put_back call = {.flow = f, .topic = topic, .untouched_ms = untouched_ms};
        page.arena = &call.arena;
        int rc = f->meta.ops->read(f->meta.state, read_page, &page, err);
        call.rows = page.rows;
        call.count = page.count;
        if (rc == 0 && page.count && !dry_run)
            rc = f->meta.ops->write(f->meta.state, META_SYNCED, put_back_tx, &call, err);
        if (rc == 0 && page.count) {
            const struct media *last = &page.rows[page.count - 1];
            page.query.before_ms = last->uploaded_ms;
            memcpy(before_id, last->id, strlen(last->id) + 1);
            page.query.before_id = before_id;
            for (size_t i = 0; i < page.count; i++)
                *items += is_meant(&call, &page.rows[i]);
        }
        arena_free(&call.arena);
        if (rc < 0)
            return -1;
    } while (page.count == PAGE);
    return 0;
}

int admin_put_back(struct flow *f, enum event_topic topic, int64_t untouched_ms, bool dry_run, uint64_t *items,
                   struct error *err)
{
    // In this order an item that moves on meanwhile is met once more, and never missed.
    static const enum media_status on_the_way[] = {MEDIA_UPLOADED, MEDIA_PROCESSING}, leaving[] = {MEDIA_DELETING};
    bool maintenance = topic == TOPIC_IMAGES_MAINTENANCE;
    const enum media_status *states = maintenance ? leaving : on_the_way;
    _cleanup_arena_ struct arena arena = {0};
    struct page page = {.flow = f, .arena = &arena};
    *items = 0;
    if (topic == TOPIC_MESSAGES)
        return message_put_back(f, untouched_ms, dry_run, items, err);
    if (!maintenance && again_stages_before(topic) < 0)
        return 0;
    if (f->meta.ops->read(f->meta.state, read_tenants, &page, err) < 0)
        return -1;
    for (size_t i = 0; i < page.tenant_count; i++)
        for (size_t s = 0; s < (maintenance ? ARRAY_LEN(leaving) : ARRAY_LEN(on_the_way)); s++)
            if (go_through(f, page.tenants[i].name, states[s], topic, untouched_ms, dry_run, items, err) < 0)
                return -1;
    return 0;
}

// --- The note

struct note {
    struct flow *flow;
    struct arena *arena;
    const char *text;
};

static int note_put(struct meta_tx *tx, void *arg, struct error *err)
{
    struct note *note = arg;
    return note->flow->meta.ops->setting_put(tx, NOTE, note->text, err);
}

static int note_get(struct meta_tx *tx, void *arg, struct error *err)
{
    struct note *note = arg;
    struct error why = {0};
    if (note->flow->meta.ops->setting_get(tx, note->arena, NOTE, &note->text, &why) == 0)
        return 0;
    note->text = "";
    return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
}

static int write_note(struct flow *f, const char *text, struct error *err)
{
    struct note note = {.flow = f, .text = text};
    return f->meta.ops->write(f->meta.state, META_SYNCED, note_put, &note, err);
}

// `made`: the topic is there again, and only the items are left to be put back.
static int note_down(struct flow *f, const char *topic, const struct elog_topic_config *config, bool made,
                     struct error *err)
{
    if (!f->meta.ops)
        return 0;
    _cleanup_json_ json_t *json =
        json_pack("{s:s,s:i,s:I,s:I,s:i,s:b}", "topic", topic, "partitions", config->partitions, "retentionMs",
                  (json_int_t)config->retention_ms, "retentionBytes", (json_int_t)config->retention_bytes,
                  "replication", config->replication, "made", made);
    _cleanup_free_ char *text = js_dumps(json);
    return text ? write_note(f, text, err) : error_set(err, ERR_NO_MEMORY, "No memory for a note");
}

// --- Together

static int make_anew(struct flow *f, const char *topic, const struct elog_topic_config *config, struct error *err)
{
    struct error why = {0};
    if (f->log.ops->topic_delete(f->log.state, topic, &why) < 0 && why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    return f->log.ops->topic_create(f->log.state, topic, config, err);
}

static int finish(struct flow *f, const char *topic, uint64_t *items, struct error *err)
{
    enum event_topic known;
    *items = 0;
    if (!f->meta.ops)
        return 0;
    if (event_topic_parse(topic, &known) == 0 && admin_put_back(f, known, 0, false, items, err) < 0)
        return -1;
    return write_note(f, "", err);
}

static int recreate(struct flow *f, const char *topic, const struct elog_topic_config *config, uint64_t *items,
                    struct error *err)
{
    if (note_down(f, topic, config, false, err) < 0 || make_anew(f, topic, config, err) < 0 ||
        note_down(f, topic, config, true, err) < 0)
        return -1;
    return finish(f, topic, items, err);
}

int admin_recreate_resume(struct flow *f, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct note note = {.flow = f, .arena = &arena};
    uint64_t items;
    if (f->meta.ops->read(f->meta.state, note_get, &note, err) < 0)
        return -1;
    if (!*note.text)
        return 0;
    _cleanup_json_ json_t *json = js_parse(note.text, strlen(note.text), err);
    const char *topic = js_str(json, "topic", "");
    if (!json)
        return -1;
    const struct elog_topic_config config = {.partitions = (int32_t)js_int(json, "partitions", 1),
                                             .retention_ms = js_int(json, "retentionMs", -1),
                                             .retention_bytes = js_int(json, "retentionBytes", -1),
                                             .replication = (int32_t)js_int(json, "replication", 0)};
    return js_bool(json, "made", false) ? finish(f, topic, &items, err) : recreate(f, topic, &config, &items, err);
}

int admin_topic_recreate(struct flow *f, const char *topic, bool dry_run, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_topic_info info;
    enum event_topic known = TOPIC_COUNT;
    uint64_t items = 0;
    int64_t records = 0;
    bool ours = event_topic_parse(topic, &known) == 0;
    if (ours && !f->meta.ops &&
        (again_stages_before(known) >= 0 || known == TOPIC_IMAGES_MAINTENANCE || known == TOPIC_MESSAGES))
        return error_set(err, ERR_UNAVAILABLE,
                         "What is on its way on %.100s stands in the records of the items: ask the server, or name its "
                         "data directory",
                         topic);
    if (f->log.ops->topic_describe(f->log.state, &arena, topic, &info, err) < 0 ||
        (!dry_run && admin_check_unread(f, topic, err) < 0))
        return -1;
    for (int32_t p = 0; p < info.config.partitions; p++)
        records += info.partitions[p].end - info.partitions[p].begin;
    int rc = !dry_run              ? recreate(f, topic, &info.config, &items, err)
             : ours && f->meta.ops ? admin_put_back(f, known, 0, true, &items, err)
                                   : 0;
    if (rc < 0)
        return -1;
    *out = json_pack("{s:s,s:b,s:I,s:I}", "name", topic, "dryRun", dry_run, "recordsRemoved", (json_int_t)records,
                     "itemsPutBack", (json_int_t)items);
    return 0;
}
