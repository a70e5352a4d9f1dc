// SPDX-License-Identifier: Apache-2.0
// Messages: how they are taken and read, and the step that works on them. See message.h.
#include "flow/message_int.h"

#include <string.h>

#include "base/clock.h"
#include "base/js.h"
#include "flow/reply.h"
#include "flow/workflow.h"

// --- What a message may be

static int too_long(const char *what, int most, struct error *err)
{
    return error_set(err, ERR_EVENT_INVALID, "%s is longer than %d bytes", what, most);
}

// Types that change another message.
bool message_changes_another(const char *type)
{
    static const char *const types[] = {"reaction", "edit", "deletion", "delivery"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

static const char *target_of(const struct event_message *m)
{
    const char *target = js_str(m->metadata, MESSAGE_TARGET, NULL);
    return target && *target ? target : NULL;
}

const char *message_sender(const struct event *event)
{
    const struct event_message *m = &event->message;
    const char *sender = js_str(m->metadata, "sender", NULL);
    if (m->from_me)
        return "me";
    if (!sender && js_bool(m->metadata, "isGroup", false))
        sender = js_str(m->metadata, "senderName", NULL);
    return sender ? sender : event->media_id;
}

static int check_with(const struct event *event, const char *metadata, struct error *err)
{
    const struct event_message *m = &event->message;
    const char *target = target_of(m);
    if (!*m->id || !*event->media_id)
        return error_set(err, ERR_EVENT_INVALID, "messageId and chatJid may not be empty");
    if (strlen(event->media_id) > MESSAGE_ID_MAX)
        return too_long("chatJid", MESSAGE_ID_MAX, err);
    if (strlen(m->id) > MESSAGE_ID_MAX || (target && strlen(target) > MESSAGE_ID_MAX))
        return too_long("The id of a message", MESSAGE_ID_MAX, err);
    if (!*m->type || strlen(m->type) > MESSAGE_TYPE_MAX)
        return error_set(err, ERR_EVENT_INVALID, "messageType has 1 to %d bytes", MESSAGE_TYPE_MAX);
    if (m->content && strlen(m->content) > MESSAGE_TEXT_MAX)
        return too_long("content", MESSAGE_TEXT_MAX, err);
    if (strcmp(m->type, "reaction") == 0 && m->content && strlen(m->content) > MESSAGE_EMOJI_MAX)
        return too_long("The content of a reaction", MESSAGE_EMOJI_MAX, err);
    if (strlen(message_sender(event)) > MESSAGE_ID_MAX)
        return too_long("metadata.sender", MESSAGE_ID_MAX, err);
    if (strlen(metadata) > MESSAGE_METADATA_MAX)
        return too_long("metadata", MESSAGE_METADATA_MAX, err);
    if (message_changes_another(m->type) && !target)
        return error_set(err, ERR_EVENT_INVALID, "A message of type %s must name the one that it changes: metadata.%s",
                         m->type, MESSAGE_TARGET);
    if (target && strcmp(target, m->id) == 0)
        return error_set(err, ERR_EVENT_INVALID, "metadata.%s names the message itself", MESSAGE_TARGET);
    return 0;
}

// The same, and its metadata as text, in the arena.
static int check(const struct event *event, struct arena *arena, const char **metadata, struct error *err)
{
    const json_t *given = event->message.metadata;
    _cleanup_free_ char *text = given ? js_dumps(given) : NULL;
    if (given && !text)
        return error_set(err, ERR_NO_MEMORY, "No memory for a message");
    if (check_with(event, text ? text : "{}", err) < 0)
        return -1;
    *metadata = text ? arena_strdup(arena, text) : "{}";
    return 0;
}

int message_check(const struct event *event, struct error *err)
{
    const char *metadata;
    _cleanup_arena_ struct arena arena = {0};
    return check(event, &arena, &metadata, err);
}

// --- Rows

static struct meta_message make_row(const struct event *event, const char *metadata)
{
    const struct event_message *m = &event->message;
    int64_t now = clock_now_ms();
    return (struct meta_message){.id = m->id,
                                 .tenant = event->tenant,
                                 .chat = event->media_id,
                                 .sender = m->from_me ? NULL : message_sender(event),
                                 .from_me = m->from_me,
                                 .type = m->type,
                                 .state = MESSAGE_READY,
                                 .content = m->content,
                                 .metadata = metadata,
                                 .event_id = event->id,
                                 .target = message_changes_another(m->type) ? target_of(m) : NULL,
                                 .sent_ms = event->timestamp_ms > 0 ? event->timestamp_ms : now,
                                 .received_ms = now,
                                 .updated_ms = now};
}

// 1: there is a row; 0: there is none.
static int find(struct flow *f, struct meta_tx *tx, struct arena *arena, const char *tenant, const char *id,
                struct meta_message *out, struct error *err)
{
    struct error why = {0};
    if (f->meta.ops->message_get(tx, arena, tenant, id, out, &why) == 0)
        return 1;
    return why.code == ERR_NOT_FOUND ? 0 : error_copy(err, &why);
}

// What others said of it before it came. Only those of its own chat had a say.
static void inherit(struct meta_message *row, const struct meta_message *pending)
{
    if (strcmp(row->chat, pending->chat) != 0)
        return;
    row->reactions = pending->reactions;
    row->delivery = pending->delivery;
    row->edited_ms = pending->edited_ms;
    row->deleted_ms = pending->deleted_ms;
    if (row->edited_ms)
        row->content = pending->content;
    if (!row->deleted_ms)
        return;
    row->content = NULL;
    row->metadata = "{}";
    row->reactions = NULL;
}

int message_said_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct meta_message *said,
                    struct error *err)
{
    struct meta_message there, row = *said;
    int found = find(f, tx, arena, said->tenant, said->id, &there, err);
    if (found < 0)
        return -1;
    if (found && there.state != MESSAGE_PENDING)
        return 0;
    if (found)
        inherit(&row, &there);
    return f->meta.ops->message_put(tx, &row, err);
}

// The row of an event's message: the one that is there, else (`*added`) one made from the event, which is not stored
// yet.
static int row_of(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct event *event,
                  struct meta_message *out, bool *added, struct error *err)
{
    const char *metadata;
    struct meta_message there;
    int found = find(f, tx, arena, event->tenant, event->message.id, &there, err);
    if (found < 0)
        return -1;
    *added = !found || there.state == MESSAGE_PENDING;
    *out = there;
    if (!*added)
        return 0;
    if (check(event, arena, &metadata, err) < 0)
        return -1;
    *out = make_row(event, metadata);
    if (found)
        inherit(out, &there);
    return 0;
}

// --- Taking

struct take {
    struct flow *flow;
    struct arena *arena;
    const char *tenant;
    bool add_tenant;
    const struct event *events;
    struct emit *emits;
    struct message_taken *out;
    size_t count;
};

// Or the one that it changes: nothing is kept of either.
static int was_erased(struct take *t, struct meta_tx *tx, const struct event *event, bool *out, struct error *err)
{
    const char *target = message_changes_another(event->message.type) ? target_of(&event->message) : NULL;
    if (message_erased(t->flow, tx, t->arena, t->tenant, event->message.id, out, err) < 0)
        return -1;
    return !*out && target ? message_erased(t->flow, tx, t->arena, t->tenant, target, out, err) : 0;
}

static int take_one(struct take *t, struct meta_tx *tx, size_t i, struct error *err)
{
    bool added, erased;
    struct meta_message row;
    if (row_of(t->flow, tx, t->arena, &t->events[i], &row, &added, err) < 0)
        return -1;
    t->out[i] = (struct message_taken){.id = row.id, .state = row.state, .duplicate = !added};
    if (!added)
        return 0;
    if (was_erased(t, tx, &t->events[i], &erased, err) < 0)
        return -1;
    if (erased) {
        t->out[i] = (struct message_taken){.id = row.id, .state = MESSAGE_PROCESSED, .duplicate = true};
        return 0;
    }
    if (t->flow->meta.ops->message_put(tx, &row, err) < 0)
        return -1;
    return flow_publish_tx(t->flow, tx, &t->emits[i], err);
}

static int take_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct take *t = arg;
    if (t->add_tenant && t->flow->meta.ops->tenant_add(tx, t->tenant, err) < 0)
        return -1;
    for (size_t i = 0; i < t->count; i++)
        if (take_one(t, tx, i, err) < 0)
            return -1;
    return 0;
}

// The event's id is the message's: whatever brings it again, brings the same event.
static int prepare(struct take *t, struct event *event, struct emit *out, struct error *err)
{
    char id[ID_MAX];
    const char *metadata;
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
    if (check(event, t->arena, &metadata, err) < 0)
        return -1;
    event->tenant = t->tenant;
    id_derive("evt", arena_printf(t->arena, "%s/message/%s", t->tenant, event->message.id), NULL, id);
    event->id = arena_strdup(t->arena, id);
    if (event->timestamp_ms <= 0)
        event->timestamp_ms = clock_now_ms();
    if (event_encode(event, t->flow->settings.format, &text, err) < 0)
        return -1;
    *out = (struct emit){.event = *event,
                         .topic = TOPIC_MESSAGES,
                         .key = event->media_id,
                         .event_id = event->id,
                         .value = arena_memdup(t->arena, text.data, text.len),
                         .value_len = text.len};
    return 0;
}

static int check_tenant(struct take *t, struct error *err)
{
    struct meta_tenant tenant;
    struct error why = {0};
    if (flow_tenant(t->flow, t->arena, t->tenant, &tenant, &why) == 0)
        return tenant.leaving_ms ? error_set(err, ERR_TENANT_UNKNOWN, "The tenant %.80s is being removed", t->tenant)
                                 : 0;
    t->add_tenant = why.code == ERR_TENANT_UNKNOWN && t->flow->settings.tenants_auto_create;
    return t->add_tenant ? 0 : error_copy(err, &why);
}

int message_take(struct flow *f, const char *tenant, struct event *events, size_t count, struct arena *arena,
                 struct message_taken *out, struct error *err)
{
    struct take t = {.flow = f, .arena = arena, .tenant = tenant, .events = events, .out = out, .count = count};
    if (count > MESSAGE_BATCH_MAX)
        return error_set(err, ERR_INVALID, "At most %d messages are taken at once", MESSAGE_BATCH_MAX);
    if (check_tenant(&t, err) < 0 || flow_check_outbox(f, err) < 0)
        return -1;
    t.emits = arena_alloc(arena, (count + 1) * sizeof *t.emits);
    for (size_t i = 0; i < count; i++) {
        struct error why = {0};
        if (prepare(&t, &events[i], &t.emits[i], &why) == 0)
            continue;
        return why.code == ERR_EVENT_INVALID ? error_set(err, ERR_INVALID, "Message %zu: %s", i, why.message)
                                             : error_copy(err, &why);
    }
    return f->meta.ops->write(f->meta.state, META_SYNCED, take_tx, &t, err);
}

// --- Reading

struct read_call {
    struct flow *flow;
    struct arena *arena;
    const char *tenant, *id;
    const struct message_query *query;
    struct meta_message one, *list;
    size_t count;
};

static int get_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct read_call *call = arg;
    return call->flow->meta.ops->message_get(tx, call->arena, call->tenant, call->id, &call->one, err);
}

static int list_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    struct read_call *call = arg;
    return call->flow->meta.ops->message_list(tx, call->arena, call->query, &call->list, &call->count, err);
}

int message_get(struct flow *f, struct arena *arena, const char *tenant, const char *id, struct meta_message *out,
                struct error *err)
{
    struct meta_tenant known;
    struct read_call call = {.flow = f, .arena = arena, .tenant = tenant, .id = id};
    if (flow_tenant(f, arena, tenant, &known, err) < 0 || f->meta.ops->read(f->meta.state, get_tx, &call, err) < 0)
        return -1;
    *out = call.one;
    return 0;
}

int message_list(struct flow *f, struct arena *arena, const struct message_query *query, struct meta_message **out,
                 size_t *count, struct error *err)
{
    struct meta_tenant known;
    struct read_call call = {.flow = f, .arena = arena, .query = query};
    if (flow_tenant(f, arena, query->tenant, &known, err) < 0 ||
        f->meta.ops->read(f->meta.state, list_tx, &call, err) < 0)
        return -1;
    *out = call.list;
    *count = call.count;
    return 0;
}

// --- What changes another message

// One reaction a sender, the last one; an empty one takes it back, and is kept so that an older one stays away.
static int react(struct arena *arena, const struct event *event, const struct meta_message *by,
                 struct meta_message *target, struct error *err)
{
    const char *who = message_sender(event);
    _cleanup_json_ json_t *all =
        target->reactions ? js_parse(target->reactions, strlen(target->reactions), err) : json_object();
    if (!all)
        return -1;
    const json_t *before = json_object_get(all, who);
    if (target->deleted_ms || (before && js_int(before, "ms", 0) > by->sent_ms))
        return 0;
    if (!before && json_object_size(all) >= MESSAGE_REACTIONS_MAX)
        return error_set(err, ERR_EVENT_INVALID, "More than %d have reacted to message %.80s", MESSAGE_REACTIONS_MAX,
                         target->id);
    json_object_set_new(all, who,
                        json_pack("{s:s,s:I}", "emoji", by->content ? by->content : "", "ms", (json_int_t)by->sent_ms));
    _cleanup_free_ char *text = js_dumps(all);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for a reaction");
    target->reactions = arena_strdup(arena, text);
    return 0;
}

static void edit(const struct meta_message *by, struct meta_message *target)
{
    if (target->deleted_ms || by->sent_ms < target->edited_ms)
        return;
    target->content = by->content;
    target->edited_ms = by->sent_ms;
}

// The item goes with its message, also when the message failed after it was made, and names none.
int message_remove_media_tx(struct flow *f, struct meta_tx *tx, struct arena *arena, struct meta_message *row,
                            struct error *err)
{
    struct error why = {0};
    struct emit event;
    const char *id = row->media_id ? row->media_id : message_item_id(arena, row->tenant, row->type, row->id);
    if (!id)
        return 0;
    if ((item_delete_event(f, arena, row->tenant, id, &event, &why) < 0 ||
         item_delete_tx(f, tx, arena, row->tenant, id, &event, &why) < 0) &&
        why.code != ERR_NOT_FOUND)
        return error_copy(err, &why);
    row->media_id = NULL;
    return 0;
}

static int remove_content(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct meta_message *by,
                          struct meta_message *target, struct error *err)
{
    target->deleted_ms = by->sent_ms;
    target->content = NULL;
    target->metadata = "{}";
    target->reactions = NULL;
    return message_remove_media_tx(f, tx, arena, target, err);
}

// News come in any order: what was read was delivered.
static void deliver(const struct meta_message *by, struct meta_message *target)
{
    static const char *const order[] = {"sent", "failed", "delivered", "read"};
    size_t old = 0, now = 0;
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        if (target->delivery && strcmp(target->delivery, order[i]) == 0)
            old = i + 1;
        if (by->content && strcmp(by->content, order[i]) == 0)
            now = i + 1;
    }
    if (now > old)
        target->delivery = order[now - 1];
}

static int change_target(struct flow *f, struct meta_tx *tx, struct arena *arena, const struct event *event,
                         const struct meta_message *by, struct error *err)
{
    int rc = 0;
    struct meta_message target;
    int found = find(f, tx, arena, by->tenant, by->target, &target, err);
    if (found < 0)
        return -1;
    if (!found)
        target = (struct meta_message){.id = by->target,
                                       .tenant = by->tenant,
                                       .chat = by->chat,
                                       .from_me = strcmp(by->type, "delivery") == 0,
                                       .type = "unknown",
                                       .state = MESSAGE_PENDING,
                                       .metadata = "{}",
                                       .event_id = by->event_id,
                                       .sent_ms = by->sent_ms,
                                       .received_ms = clock_now_ms()};
    if (strcmp(target.chat, by->chat) != 0)
        return error_set(err, ERR_EVENT_INVALID, "Message %.80s, which it names, is in another chat", by->target);
    if (strcmp(by->type, "reaction") == 0)
        rc = react(arena, event, by, &target, err);
    else if (strcmp(by->type, "edit") == 0)
        edit(by, &target);
    else if (strcmp(by->type, "deletion") == 0)
        rc = remove_content(f, tx, arena, by, &target, err);
    else {
        deliver(by, &target);
        rc = reply_heard_tx(f, tx, arena, event->message.metadata, by, &target, err);
    }
    target.updated_ms = clock_now_ms();
    return rc < 0 ? -1 : f->meta.ops->message_put(tx, &target, err);
}

// --- The step

const char *step_message_shown(const struct job *job, const char **model)
{
    (void)job, (void)model;
    return NULL; // message_show_tx
}

void step_message_work(struct flow *f, struct job *const *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct job *job = jobs[i];
        const char *metadata, *media_id = NULL;
        if (check(&job->event, &job->arena, &metadata, &job->error) == 0 &&
            message_ingest(f, job, &media_id, &job->error) == 0)
            job->state = (void *)media_id;
    }
}

// An event may name a tenant that is not there, and ends then without a row: ours had one, which was removed with its
// messages; one from elsewhere may make it, where that is allowed.
static int has_tenant(struct flow *f, struct meta_tx *tx, struct job *job, bool *out, struct error *err)
{
    struct meta_tenant tenant;
    struct error why = {0};
    *out = f->meta.ops->tenant_get(tx, &job->arena, job->event.tenant, &tenant, &why) == 0;
    if (*out || why.code != ERR_TENANT_UNKNOWN)
        return *out ? 0 : error_copy(err, &why);
    *out = job->foreign && f->settings.tenants_auto_create;
    return *out ? f->meta.ops->tenant_add(tx, job->event.tenant, err) : 0;
}

int step_message_apply(struct flow *f, struct meta_tx *tx, struct job *job, struct error *err)
{
    bool added, tenant, erased = false;
    struct meta_message row;
    if (has_tenant(f, tx, job, &tenant, err) < 0)
        return STEP_FAILED;
    if (!tenant)
        return STEP_OK;
    if (row_of(f, tx, &job->arena, &job->event, &row, &added, err) < 0)
        return STEP_FAILED;
    if (added && message_erased(f, tx, &job->arena, row.tenant, row.id, &erased, err) < 0)
        return STEP_FAILED;
    if (erased) // meanwhile, while its item was being made, or it comes again
        return message_remove_media_tx(f, tx, &job->arena, &row, err) < 0 ? STEP_FAILED : STEP_OK;
    if (added && !job->foreign) // its row was made when it was taken, and went with its tenant
        return STEP_OK;
    if (row.state == MESSAGE_PROCESSED) // it came before, under another event
        return STEP_OK;
    if (row.target && change_target(f, tx, &job->arena, &job->event, &row, err) < 0)
        return STEP_FAILED;
    if (strcmp(row.type, "edit") == 0) // the text is where it belongs, and goes when that is deleted
        row.content = NULL;
    row.media_id = job->state;
    if (row.deleted_ms && message_remove_media_tx(f, tx, &job->arena, &row, err) < 0) // meanwhile
        return STEP_FAILED;
    row.state = MESSAGE_PROCESSED;
    row.error_code = row.error_message = NULL;
    row.updated_ms = clock_now_ms();
    if (workflow_apply_tx(f, tx, job, &row, err) < 0)
        return STEP_FAILED;
    return f->meta.ops->message_put(tx, &row, err);
}

int message_show_tx(struct flow *f, struct meta_tx *tx, struct job *job, const char *status, struct error *err)
{
    static const struct {
        const char *status;
        enum message_state state;
    } known[] = {{"running", MESSAGE_PROCESSING}, {"retrying", MESSAGE_QUEUED}, {"failed", MESSAGE_FAILED}};
    bool added, tenant, erased = false;
    struct meta_message row;
    struct error why = {0};
    size_t i = 0;
    while (i < ARRAY_LEN(known) && strcmp(known[i].status, status) != 0)
        i++;
    if (i == ARRAY_LEN(known)) // the effects of the step say it
        return 0;
    if (has_tenant(f, tx, job, &tenant, err) < 0)
        return -1;
    if (!tenant)
        return 0;
    if (row_of(f, tx, &job->arena, &job->event, &row, &added, &why) < 0)
        return why.code == ERR_EVENT_INVALID ? 0 : error_copy(err, &why); // its work says it
    if (row.state == MESSAGE_PROCESSED || (added && !job->foreign))       // as in step_message_apply
        return 0;
    if (added && message_erased(f, tx, &job->arena, row.tenant, row.id, &erased, err) < 0)
        return -1;
    if (erased)
        return 0;
    row.state = known[i].state;
    row.updated_ms = clock_now_ms();
    if (job->error.code) {
        row.error_code = error_code_name(job->error.code);
        row.error_message = job->error.message;
    }
    return f->meta.ops->message_put(tx, &row, err);
}
