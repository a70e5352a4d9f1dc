// SPDX-License-Identifier: Apache-2.0
// The contract of the meta port (ports/meta.h), run on every back end, plain and under both wrappers. A new back end
// adds a line to `backends`. One that needs a server is run when its variable says where that is, and then alone.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "backends/fault.h"
#include "backends/meta/meta_postgres.h"
#include "backends/meta/meta_sqlite.h"
#include "backends/trace.h"
#include "base/clock.h"
#include "base/log.h"
#include "place.h"
#include "ports/meta.h"

static const struct backend {
    const struct meta_ops *ops;
    const char *server; // the variable that says where its server is; NULL: it needs none
} backends[] = {
    {&meta_sqlite, NULL},
    {&meta_postgres, "DEEPLENS_TEST_POSTGRES"},
};
static const struct backend *backend; // under test

static const struct variant {
    const char *name, *trace, *fault;
} variants[] = {
    {"plain", "", ""},
    {"traced", "meta", ""},
    // A rule that never comes to pass, so that the wrapper's functions are in the way.
    {"faulty", "", "meta.write:IO_ERROR@1000000000"},
};
static const struct variant *variant;

struct fixture {
    char dir[PLACE_MAX];
    char location[1024];
    struct meta meta;
    struct arena arena;
};

static void open_store(struct fixture *f)
{
    struct error err = {0};
    f->meta.ops = backend->ops;
    if (f->meta.ops->open(f->location, &f->meta.state, &err) < 0)
        fail_msg("open: %s", err.message);
    assert_int_equal(trace_setup(variant->trace, &err), 0);
    assert_int_equal(fault_setup(variant->fault, &err), 0);
    f->meta = trace_wrap_meta(fault_wrap_meta(f->meta));
}

static void close_store(struct fixture *f)
{
    f->meta.ops->close(f->meta.state);
    f->meta.state = NULL;
}

// A file in this fixture's folder, or a schema of its own.
static void locate(struct fixture *f)
{
    static int number;
    if (!backend->server)
        snprintf(f->location, sizeof f->location, "%s/meta.db", f->dir);
    else
        snprintf(f->location, sizeof f->location, "conninfo=%s\nschema=t%d_%d\n", getenv(backend->server),
                 (int)getpid(), number++);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (!f || place_make(f->dir) < 0)
        return -1;
    locate(f);
    open_store(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->meta.state)
        close_store(f);
    place_remove(f->dir);
    arena_free(&f->arena);
    free(f);
    return 0;
}

// ---- Transactions of one operation. `struct call` carries what the operation takes and gives.

struct call {
    struct fixture *f;
    const char *tenant;
    const char *id; // of an item or event; a name
    const char *text;
    const struct media *row;
    const struct media_patch *patch;
    const struct media_query *query;
    const struct media_step *step;
    const struct meta_retry *retry;
    const struct meta_outbox *outbox;
    int64_t first;
    int attempt;
    bool finished;
    int64_t ms, up_to;
    size_t limit;
    double score;
    const struct meta_webhook *hook;
    const struct meta_delivery *delivery;
    const struct meta_receipt *receipt;
    const struct meta_message *message;
    const struct message_query *asked;
    const struct meta_workflow *workflow;
    const struct meta_reply *reply;
    const struct reply_query *wanted;
    int state;
    const char *const *ids;
    size_t id_count;
    struct meta_details *details;

    struct media media, *list;
    struct meta_alike *groups;
    struct meta_alike_item *members;
    const char *model; // NULL: "m"
    int64_t group;
    size_t total;
    struct media_step *steps;
    struct meta_tenant who, *tenants;
    struct meta_retry *retries;
    struct meta_outbox *rows;
    struct meta_change *changes;
    struct meta_webhook *hooks;
    struct meta_delivery *deliveries, one;
    struct meta_receipt found, *receipts;
    const struct meta_run *run;
    struct meta_run ran, *runs;
    struct meta_message *messages, said;
    struct meta_workflow *workflows;
    struct meta_reply *replies, answer;
    struct meta_ledger ledger;
    struct meta_frames frames;
    bool waits;
    enum inbox_state inbox;
    int begun;
    const char *value;
    uint64_t number;
    size_t count;
};

#define OP(name, ...)                                                                                                  \
    static int name(struct meta_tx *tx, void *arg, struct error *err)                                                  \
    {                                                                                                                  \
        struct call *c = arg;                                                                                          \
        const struct meta_ops *ops = c->f->meta.ops;                                                                   \
        return ops->__VA_ARGS__;                                                                                       \
    }
OP(tenant_add, tenant_add(tx, c->tenant, err))
OP(tenant_get, tenant_get(tx, &c->f->arena, c->tenant, &c->who, err))
OP(tenant_list, tenant_list(tx, &c->f->arena, &c->tenants, &c->count, err))
OP(tenant_leave, tenant_leave(tx, c->tenant, c->ms, err))
OP(tenant_remove, tenant_remove(tx, c->tenant, err))
OP(insert, media_insert(tx, c->row, err))
OP(get, media_get(tx, &c->f->arena, c->tenant, c->id, &c->media, err))
OP(find_hash, media_find_hash(tx, &c->f->arena, c->tenant, c->text, &c->media, err))
OP(list, media_list(tx, &c->f->arena, c->query, &c->list, &c->count, err))
OP(update, media_update(tx, c->tenant, c->id, c->patch, err))
OP(delete, media_delete(tx, c->tenant, c->id, err))
OP(duplicate, media_duplicate(tx, c->tenant, err))
OP(frame_list, frame_list(tx, &c->f->arena, c->tenant, c->id, c->ms, c->limit, &c->list, &c->count, err))
OP(frame_waits, frame_waits(tx, c->tenant, c->id, &c->waits, err))
OP(frame_count, frame_count(tx, c->tenant, c->id, &c->frames, err))
#define MODEL(c) ((c)->model ? (c)->model : "m")
OP(alike_join, alike_join(tx, c->tenant, MODEL(c), c->id, c->text, c->score, err))
OP(alike_leave, alike_leave(tx, c->tenant, MODEL(c), c->id, c->ms, err))
OP(alike_find, alike_find(tx, c->tenant, MODEL(c), c->id, &c->group, err))
OP(alike_groups, alike_groups(tx, &c->f->arena, c->tenant, MODEL(c), c->first, c->limit, &c->groups, &c->count, err))
OP(alike_members,
   alike_members(tx, &c->f->arena, c->tenant, MODEL(c), c->first, c->limit, &c->members, &c->count, &c->total, err))
OP(alike_drop, alike_drop(tx, c->tenant, MODEL(c), c->limit, &c->count, err))
OP(details_put, details_put(tx, c->tenant, c->id, c->text, c->limit, err))
OP(details_get, details_get(tx, &c->f->arena, c->tenant, c->ids, c->id_count, &c->details, err))
OP(step_put, step_put(tx, c->tenant, c->id, c->step, err))
OP(step_list, step_list(tx, &c->f->arena, c->tenant, c->id, &c->steps, &c->count, err))
OP(inbox_begin, inbox_begin(tx, c->tenant, c->id, c->attempt, &c->inbox, &c->begun, err))
OP(inbox_end, inbox_end(tx, c->tenant, c->id, c->attempt, c->finished, err))
OP(inbox_release, inbox_release(tx, c->tenant, c->id, c->attempt, err))
OP(inbox_prune, inbox_prune(tx, c->ms, err))
OP(inbox_forget, inbox_forget(tx, c->tenant, c->id, c->finished, err))
OP(inbox_open, inbox_open(tx, &c->number, err))
OP(retry_put, retry_put(tx, c->retry, err))
OP(retry_take, retry_take(tx, &c->f->arena, c->ms, c->limit, &c->retries, &c->count, err))
OP(retry_next, retry_next(tx, &c->ms, err))
OP(retry_count, retry_count(tx, &c->number, err))
OP(webhook_put, webhook_put(tx, c->hook, err))
OP(webhook_list, webhook_list(tx, &c->f->arena, c->tenant, &c->hooks, &c->count, err))
OP(webhook_remove, webhook_remove(tx, c->tenant, c->id, err))
OP(delivery_put, delivery_put(tx, c->delivery, err))
OP(delivery_again, delivery_again(tx, c->tenant, "whk_1", c->id, c->ms, err))
OP(delivery_due, delivery_due(tx, &c->f->arena, c->tenant, "whk_1", c->ms, c->limit, &c->deliveries, &c->count, err))
OP(delivery_next, delivery_next(tx, c->tenant, "whk_1", &c->ms, err))
OP(delivery_settle, delivery_settle(tx, c->delivery, err))
OP(delivery_get, delivery_get(tx, &c->f->arena, c->tenant, "whk_1", c->id, &c->one, err))
OP(delivery_list,
   delivery_list(tx, &c->f->arena, &(struct delivery_query){c->tenant, "whk_1", c->state, c->first, c->limit},
                 &c->deliveries, &c->count, err))
OP(delivery_waiting, delivery_waiting(tx, c->tenant, "whk_1", &c->number, err))
OP(delivery_prune, delivery_prune(tx, c->ms, c->limit, err))
OP(receipt_put, receipt_put(tx, c->receipt, err))
OP(receipt_open, receipt_open(tx, &c->f->arena, c->tenant, c->id, &c->found, err))
OP(receipt_get, receipt_get(tx, &c->f->arena, c->tenant, c->id, &c->found, err))
OP(receipt_list, receipt_list(tx, &c->f->arena, &(struct receipt_query){c->tenant, c->text, c->first, c->id, c->limit},
                              &c->receipts, &c->count, err))
OP(run_put, run_put(tx, c->run, err))
OP(run_get, run_get(tx, &c->f->arena, c->id, &c->ran, err))
OP(run_open, run_open(tx, &c->f->arena, c->text, &c->ran, err))
OP(run_list,
   run_list(tx, &c->f->arena, &(struct run_query){c->text, c->first, c->id, c->limit}, &c->runs, &c->count, err))
OP(run_prune, run_prune(tx, c->ms, c->limit, err))
OP(message_put, message_put(tx, c->message, err))
OP(message_get, message_get(tx, &c->f->arena, c->tenant, c->id, &c->said, err))
OP(message_list, message_list(tx, &c->f->arena, c->asked, &c->messages, &c->count, err))
OP(workflow_put, workflow_put(tx, c->workflow, err))
OP(workflow_list, workflow_list(tx, &c->f->arena, c->tenant, &c->workflows, &c->count, err))
OP(workflow_remove, workflow_remove(tx, c->tenant, c->id, err))
OP(reply_put, reply_put(tx, c->reply, err))
OP(reply_get, reply_get(tx, &c->f->arena, c->tenant, c->id, &c->answer, err))
OP(reply_list, reply_list(tx, &c->f->arena, c->wanted, &c->replies, &c->count, err))
OP(reply_due, reply_due(tx, c->text, c->ms, &c->waits, err))
OP(reply_claim, reply_claim(tx, &c->f->arena, c->text, c->ms, c->up_to, &c->answer, &c->waits, err))
OP(reply_lost, reply_lost(tx, c->up_to, c->ms, c->text, err))
OP(reply_cancel, reply_cancel(tx, c->tenant, c->id, c->ms, c->text, err))
OP(optout_put, optout_put(tx, c->tenant, c->id, c->ms, err))
OP(optout_remove, optout_remove(tx, c->tenant, c->id, err))
OP(optout_get, optout_get(tx, c->tenant, c->id, &c->ms, err))
OP(message_remove, message_remove(tx, c->tenant, c->id, err))
OP(erased_put, erased_put(tx, c->tenant, c->text, c->ms, err))
OP(erased_get, erased_get(tx, c->tenant, c->text, &c->waits, err))
OP(reply_forget, reply_forget(tx, c->tenant, c->id, err))
OP(message_waiting, message_waiting(tx, &c->f->arena, c->tenant, &c->first, c->limit, &c->messages, &c->count, err))
OP(outbox_put, outbox_put(tx, c->outbox, err))
OP(outbox_read, outbox_read(tx, &c->f->arena, c->first, c->limit, 1 << 20, &c->rows, &c->count, err))
OP(outbox_remove, outbox_remove(tx, c->first, c->ms, err))
OP(outbox_depth, outbox_depth(tx, &c->number, err))
OP(change_list, change_list(tx, &c->f->arena, c->first, c->limit, &c->changes, &c->count, err))
OP(change_range, change_range(tx, &c->first, &c->ms, err))
OP(change_prune, change_prune(tx, c->ms, c->up_to ? c->up_to : INT64_MAX, c->limit, err))
OP(ledger, ledger(tx, c->tenant, &c->ledger, err))
OP(setting_get, setting_get(tx, &c->f->arena, c->id, &c->value, err))
OP(setting_put, setting_put(tx, c->id, c->text, err))

static enum error_code write_code(struct call *c, meta_tx_fn *fn)
{
    struct error err = {0};
    int rc = c->f->meta.ops->write(c->f->meta.state, META_RELAXED, fn, c, &err);
    assert_int_equal(rc < 0, err.code != ERR_NONE);
    return err.code;
}

static enum error_code read_code(struct call *c, meta_tx_fn *fn)
{
    struct error err = {0};
    int rc = c->f->meta.ops->read(c->f->meta.state, fn, c, &err);
    assert_int_equal(rc < 0, err.code != ERR_NONE);
    return err.code;
}

#define assert_writes(call, fn) assert_string_equal(error_code_name(write_code(call, fn)), "NONE")
#define assert_reads(call, fn) assert_string_equal(error_code_name(read_code(call, fn)), "NONE")
#define assert_write_fails(call, fn, code)                                                                             \
    assert_string_equal(error_code_name(write_code(call, fn)), error_code_name(code))
#define assert_read_fails(call, fn, code)                                                                              \
    assert_string_equal(error_code_name(read_code(call, fn)), error_code_name(code))

static void put_setting(struct fixture *f, const char *name, const char *value)
{
    struct call c = {.f = f, .id = name, .text = value};
    assert_writes(&c, setting_put);
}

static const char *setting(struct fixture *f, const char *name) // NULL when it is not there
{
    struct call c = {.f = f, .id = name};
    enum error_code code = read_code(&c, setting_get);
    assert_true(code == ERR_NONE || code == ERR_NOT_FOUND);
    return c.value;
}

static void add_tenant(struct fixture *f, const char *name)
{
    struct call c = {.f = f, .tenant = name};
    assert_writes(&c, tenant_add);
}

static struct media sample(const char *tenant, const char *id)
{
    return (struct media){.id = id,
                          .tenant = tenant,
                          .kind = "image",
                          .status = MEDIA_UPLOADED,
                          .priority = PRIORITY_NORMAL,
                          .file_name = "beach.jpg",
                          .content_type = "image/jpeg",
                          .format = "JPEG",
                          .hash = "00",
                          .blob_key = "k/1.jpg",
                          .metadata = "{}",
                          .tags = "[]",
                          .options = "{\"models\":[\"builtin\"]}",
                          .event_id = "evt_1",
                          .size = 10,
                          .uploaded_ms = 1000,
                          .updated_ms = 1000};
}

static void insert_row(struct fixture *f, const struct media *row)
{
    struct call c = {.f = f, .row = row};
    assert_writes(&c, insert);
}

static void insert_sample(struct fixture *f, const char *tenant, const char *id)
{
    struct media row = sample(tenant, id);
    insert_row(f, &row);
}

static struct media fetch(struct fixture *f, const char *tenant, const char *id)
{
    struct call c = {.f = f, .tenant = tenant, .id = id};
    assert_reads(&c, get);
    return c.media;
}

static void patch_row(struct fixture *f, const char *id, struct media_patch patch)
{
    struct call c = {.f = f, .tenant = "default", .id = id, .patch = &patch};
    assert_writes(&c, update);
}

static void set_status(struct fixture *f, const char *id, enum media_status status)
{
    patch_row(f, id, (struct media_patch){.set_status = true, .status = status});
}

static struct meta_ledger ledger_of(struct fixture *f, const char *tenant)
{
    struct call c = {.f = f, .tenant = tenant};
    assert_reads(&c, ledger);
    return c.ledger;
}

static void assert_closes(struct meta_ledger l)
{
    assert_int_equal(l.accepted, l.searchable + l.failed + l.deleted + l.in_flight);
}

// ---- Tenants.

static void the_default_tenant_is_always_there(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f, .tenant = "default"};
    assert_reads(&c, tenant_get);
    assert_string_equal(c.who.name, "default");
    assert_string_equal(c.who.slug, "default");
    assert_true(c.who.created_ms > INT64_C(1600000000000) && c.who.created_ms <= clock_now_ms() + 1000);
}

static void tenants_are_added_once_and_listed_by_name(void **state)
{
    struct fixture *f = *state;
    add_tenant(f, "zebra");
    add_tenant(f, "acme");
    add_tenant(f, "acme");
    struct call c = {.f = f};
    assert_reads(&c, tenant_list);
    assert_int_equal(c.count, 3);
    assert_string_equal(c.tenants[0].name, "acme");
    assert_string_equal(c.tenants[1].name, "default");
    assert_string_equal(c.tenants[2].name, "zebra");
}

static void a_tenant_leaves_and_is_no_more(void **state)
{
    struct fixture *f = *state;
    add_tenant(f, "shop");
    struct media row = sample("shop", "img_1"), late = sample("shop", "img_2"), frame = sample("shop", "frm_1");
    frame.parent = "img_1";
    struct call c = {.f = f, .tenant = "shop", .id = "img_1", .row = &row, .ms = 5};
    assert_writes(&c, insert);
    assert_writes(&c, tenant_leave);
    c.ms = 9; // the first time holds
    assert_writes(&c, tenant_leave);
    assert_reads(&c, tenant_get);
    assert_int_equal(c.who.leaving_ms, 5);
    assert_reads(&c, tenant_list);
    assert_int_equal(c.count, 2);
    assert_int_equal(c.tenants[0].leaving_ms, 0);
    assert_int_equal(c.tenants[1].leaving_ms, 5);
    c.row = &late;
    assert_write_fails(&c, insert, ERR_TENANT_UNKNOWN);
    c.row = &frame; // is part of what is there
    assert_writes(&c, insert);
    assert_write_fails(&c, tenant_remove, ERR_CONFLICT);
    assert_writes(&c, delete);
    assert_write_fails(&c, tenant_remove, ERR_CONFLICT);
    c.id = "frm_1";
    assert_writes(&c, delete);
    assert_reads(&c, ledger);
    assert_int_equal(c.ledger.accepted, 1);
    assert_int_equal(c.ledger.deleted, 1);
    assert_writes(&c, tenant_remove);
    assert_read_fails(&c, tenant_get, ERR_TENANT_UNKNOWN);
    assert_write_fails(&c, tenant_remove, ERR_TENANT_UNKNOWN);
    assert_write_fails(&c, tenant_leave, ERR_TENANT_UNKNOWN);
    add_tenant(f, "shop"); // another one
    assert_reads(&c, tenant_get);
    assert_int_equal(c.who.leaving_ms, 0);
    c.row = &late;
    assert_writes(&c, insert);
}

static void names_of_tenants_are_checked(void **state)
{
    struct fixture *f = *state;
    char longest[64], too_long[65];
    memset(longest, 'a', 63), longest[63] = 0;
    memset(too_long, 'a', 64), too_long[64] = 0;
    const char *const good[] = {"a", "7", "A.b_c-D", longest};
    const char *const bad[] = {"", ".a", "-a", "_a", "a b", "a/b", "a\n", "\xc3\xa4", too_long};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        add_tenant(f, good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct call c = {.f = f, .tenant = bad[i]};
        assert_write_fails(&c, tenant_add, ERR_INVALID_TENANT);
    }
    struct call c = {.f = f, .tenant = "nobody"};
    assert_read_fails(&c, tenant_get, ERR_TENANT_UNKNOWN);
}

static void slugs_are_short_and_unique(void **state)
{
    struct fixture *f = *state;
    const char *const names[] = {"Acme-Corp", "acme.corp", "ACMECORP", "0...", "0---"};
    const char *slugs[ARRAY_LEN(names)];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        add_tenant(f, names[i]);
        struct call c = {.f = f, .tenant = names[i]};
        assert_reads(&c, tenant_get);
        slugs[i] = c.who.slug;
        assert_int_equal(strspn(slugs[i], "abcdefghijklmnopqrstuvwxyz0123456789"), strlen(slugs[i]));
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(slugs[i], slugs[k]);
    }
    assert_string_equal(slugs[0], "acmecorp");
    assert_int_equal(strlen(slugs[1]), strlen("acmecorp") + 8);
    assert_string_equal(slugs[3], "0");
}

// ---- Media.

static void a_row_comes_back_as_it_went_in(void **state)
{
    struct fixture *f = *state;
    struct media row = sample("default", "img_1");
    row.kind = "video";
    row.priority = PRIORITY_HIGH;
    row.file_name = "p\xc3\xa4th 'quoted'.jpg";
    row.thumb_key = "t/1.webp";
    row.uploaded_by = "ann";
    row.metadata = "{\"a\":1}";
    row.tags = "[\"red\"]";
    row.size = UINT64_C(1) << 40;
    row.width = 640;
    row.height = 480;
    insert_row(f, &row);
    struct media got = fetch(f, "default", "img_1");
    assert_string_equal(got.id, row.id);
    assert_string_equal(got.tenant, row.tenant);
    assert_string_equal(got.kind, row.kind);
    assert_int_equal(got.status, row.status);
    assert_int_equal(got.priority, row.priority);
    assert_string_equal(got.file_name, row.file_name);
    assert_string_equal(got.content_type, row.content_type);
    assert_string_equal(got.format, row.format);
    assert_string_equal(got.hash, row.hash);
    assert_string_equal(got.blob_key, row.blob_key);
    assert_string_equal(got.thumb_key, row.thumb_key);
    assert_string_equal(got.uploaded_by, row.uploaded_by);
    assert_string_equal(got.metadata, row.metadata);
    assert_string_equal(got.tags, row.tags);
    assert_string_equal(got.options, row.options);
    assert_string_equal(got.event_id, row.event_id);
    assert_int_equal(got.size, row.size);
    assert_int_equal(got.width, row.width);
    assert_int_equal(got.height, row.height);
    assert_int_equal(got.uploaded_ms, row.uploaded_ms);
    assert_int_equal(got.updated_ms, row.updated_ms);
    assert_int_equal(got.completed_ms, 0);
    assert_null(got.error_code);
    assert_null(got.error_message);
    insert_sample(f, "default", "img_2");
    assert_null(fetch(f, "default", "img_2").thumb_key);
    assert_null(fetch(f, "default", "img_2").uploaded_by);
}

static void an_id_is_taken_once(void **state)
{
    struct fixture *f = *state;
    insert_sample(f, "default", "img_1");
    struct media row = sample("default", "img_1");
    struct call c = {.f = f, .row = &row};
    assert_write_fails(&c, insert, ERR_EXISTS);
    assert_int_equal(ledger_of(f, "default").accepted, 1);
    row = sample("nobody", "img_2");
    assert_write_fails(&c, insert, ERR_TENANT_UNKNOWN);
}

static void g7_tenants_are_walls(void **state)
{
    struct fixture *f = *state;
    add_tenant(f, "other");
    struct media row = sample("default", "img_1");
    row.hash = "aa";
    insert_row(f, &row);
    patch_row(f, "img_1", (struct media_patch){.set_status = true, .status = MEDIA_FAILED, .error_code = "X"});
    struct media_patch patch = {.width = 7};
    struct media_step step = {.step = "preprocessing", .model = "", .status = "running", .attempt = 1, .started_ms = 1};
    struct call mine = {.f = f, .tenant = "default", .id = "img_1", .step = &step};
    assert_writes(&mine, step_put);
    struct media_query query = {.tenant = "other", .limit = 10};
    struct call c = {.f = f, .tenant = "other", .id = "img_1", .text = "aa", .patch = &patch, .step = &step};
    c.query = &query;
    assert_read_fails(&c, get, ERR_NOT_FOUND);
    assert_read_fails(&c, find_hash, ERR_NOT_FOUND);
    assert_write_fails(&c, update, ERR_NOT_FOUND);
    assert_write_fails(&c, step_put, ERR_NOT_FOUND);
    assert_reads(&c, list);
    assert_int_equal(c.count, 0);
    assert_reads(&c, step_list);
    assert_int_equal(c.count, 0);
    assert_writes(&c, delete);
    assert_int_equal(ledger_of(f, "other").deleted, 0);
    struct media got = fetch(f, "default", "img_1");
    assert_int_equal(got.width, 0);
    assert_int_equal(got.status, MEDIA_FAILED);
    assert_reads(&mine, step_list);
    assert_int_equal(mine.count, 1);
    insert_sample(f, "other", "img_1"); // the same id is free there
    assert_int_equal(fetch(f, "other", "img_1").status, MEDIA_UPLOADED);
}

static void g3_a_status_only_moves_forward(void **state)
{
    struct fixture *f = *state;
    for (int from = MEDIA_UPLOADED; from <= MEDIA_DELETING; from++) {
        for (int to = MEDIA_UPLOADED; to <= MEDIA_DELETING; to++) {
            char id[32];
            snprintf(id, sizeof id, "img_%d-%d", from, to);
            insert_sample(f, "default", id);
            set_status(f, id, (enum media_status)from);
            set_status(f, id, (enum media_status)to);
            assert_int_equal(fetch(f, "default", id).status, from > to ? from : to);
        }
    }
}

static void an_update_changes_what_it_names(void **state)
{
    struct fixture *f = *state;
    insert_sample(f, "default", "img_1");
    int64_t before = clock_now_ms();
    patch_row(f, "img_1", (struct media_patch){.width = 3, .height = 4, .thumb_key = "t"});
    patch_row(f, "img_1", (struct media_patch){0});
    struct media got = fetch(f, "default", "img_1");
    assert_int_equal(got.status, MEDIA_UPLOADED);
    assert_int_equal(got.width, 3);
    assert_int_equal(got.height, 4);
    assert_string_equal(got.thumb_key, "t");
    assert_true(got.updated_ms >= before);
    assert_int_equal(got.uploaded_ms, 1000);
    struct media_patch failed = {
        .set_status = true, .status = MEDIA_FAILED, .error_code = "IO_ERROR", .error_message = "no luck"};
    patch_row(f, "img_1", failed);
    got = fetch(f, "default", "img_1");
    assert_string_equal(got.error_code, "IO_ERROR");
    assert_string_equal(got.error_message, "no luck");
    patch_row(f, "img_1", (struct media_patch){.set_status = true, .status = MEDIA_COMPLETED, .completed_ms = 77});
    patch_row(f, "img_1", failed); // comes too late: a completed item shows no error
    got = fetch(f, "default", "img_1");
    assert_int_equal(got.status, MEDIA_COMPLETED);
    assert_int_equal(got.completed_ms, 77);
    assert_null(got.error_code);
    assert_null(got.error_message);
    struct media_patch none = {0};
    struct call c = {.f = f, .tenant = "default", .id = "img_0", .patch = &none};
    assert_write_fails(&c, update, ERR_NOT_FOUND);
}

static void the_oldest_living_item_of_a_hash_is_found(void **state)
{
    struct fixture *f = *state;
    static const char *const ids[] = {"img_1", "img_2", "img_3", "img_4"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct media row = sample("default", ids[i]);
        row.hash = i < 3 ? "aa" : "bb";
        row.uploaded_ms = 100 + (int64_t)i;
        insert_row(f, &row);
    }
    struct call c = {.f = f, .tenant = "default", .text = "aa"};
    assert_reads(&c, find_hash);
    assert_string_equal(c.media.id, "img_1");
    set_status(f, "img_1", MEDIA_FAILED);
    assert_reads(&c, find_hash);
    assert_string_equal(c.media.id, "img_2");
    set_status(f, "img_2", MEDIA_DELETING);
    assert_reads(&c, find_hash);
    assert_string_equal(c.media.id, "img_3");
    set_status(f, "img_3", MEDIA_DELETING);
    assert_read_fails(&c, find_hash, ERR_NOT_FOUND);
}

// ---- Lists.

static void insert_many(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++) {
        char id[32], name[32];
        snprintf(id, sizeof id, "img_%03d", i);
        snprintf(name, sizeof name, "Photo%d%%.JPG", i % 10);
        struct media row = sample("default", id);
        row.file_name = name;
        row.tags = i % 3 == 0 ? "[\"red\",\"x\"]" : "[\"redder\"]";
        row.uploaded_ms = 1000 + i / 4; // four share each time
        insert_row(f, &row);
    }
}

static size_t list_count(struct fixture *f, struct media_query query)
{
    query.tenant = "default";
    query.limit = query.limit ? query.limit : 1000;
    struct call c = {.f = f, .query = &query};
    assert_reads(&c, list);
    return c.count;
}

static void a_list_is_newest_first_and_pages_without_gaps(void **state)
{
    struct fixture *f = *state;
    insert_many(f, 50);
    struct media_query query = {.tenant = "default", .limit = 7};
    struct call c = {.f = f, .query = &query};
    int expected = 49;
    for (;;) {
        assert_reads(&c, list);
        assert_true(c.count <= 7);
        if (!c.count)
            break;
        for (size_t i = 0; i < c.count; i++) {
            char id[32];
            snprintf(id, sizeof id, "img_%03d", expected--);
            assert_string_equal(c.list[i].id, id);
        }
        query.before_ms = c.list[c.count - 1].uploaded_ms;
        query.before_id = c.list[c.count - 1].id;
    }
    assert_int_equal(expected, -1);
}

static void a_list_is_filtered(void **state)
{
    struct fixture *f = *state;
    insert_many(f, 40);
    set_status(f, "img_007", MEDIA_COMPLETED);
    set_status(f, "img_008", MEDIA_DELETING);
    assert_int_equal(list_count(f, (struct media_query){0}), 39);
    assert_int_equal(list_count(f, (struct media_query){.by_status = true, .status = MEDIA_COMPLETED}), 1);
    assert_int_equal(list_count(f, (struct media_query){.by_status = true, .status = MEDIA_UPLOADED}), 38);
    assert_int_equal(list_count(f, (struct media_query){.by_status = true, .status = MEDIA_DELETING}), 1); // asked for
    assert_int_equal(list_count(f, (struct media_query){.tag = "red"}), 14);
    assert_int_equal(list_count(f, (struct media_query){.tag = "Red"}), 0);
    assert_int_equal(list_count(f, (struct media_query){.tag = "re"}), 0);
    assert_int_equal(list_count(f, (struct media_query){.file_name = "pHOTO3"}), 4);
    assert_int_equal(list_count(f, (struct media_query){.file_name = "%.jpg"}), 39);
    assert_int_equal(list_count(f, (struct media_query){.file_name = "_"}), 0);
    assert_int_equal(list_count(f, (struct media_query){.from_ms = 1009}), 4);
    assert_int_equal(list_count(f, (struct media_query){.to_ms = 1001}), 4);
    assert_int_equal(list_count(f, (struct media_query){.from_ms = 1001, .to_ms = 1003}), 7);
    assert_int_equal(list_count(f, (struct media_query){.to_ms = 1003, .before_ms = 1001, .before_id = "img_005"}), 5);
    assert_int_equal(list_count(f, (struct media_query){.to_ms = 1001, .before_ms = 1003, .before_id = "img_013"}), 4);
    assert_int_equal(list_count(f, (struct media_query){.limit = 3}), 3);
}

// ---- Details.

static void put_details(struct fixture *f, const char *tenant, const char *id, const char *text)
{
    struct call c = {.f = f, .tenant = tenant, .id = id, .text = text, .limit = strlen(text) + 1};
    assert_writes(&c, details_put);
}

static struct meta_details *details_of(struct fixture *f, const char *tenant, const char *const *ids, size_t count)
{
    struct call c = {.f = f, .tenant = tenant, .ids = ids, .id_count = count};
    assert_reads(&c, details_get);
    return c.details;
}

static void details_are_kept_with_their_item(void **state)
{
    struct fixture *f = *state;
    static const char *const ids[] = {"img_b", "img_none", "img_a\"}',", "img_a", "img_b"};
    struct media a = sample("default", "img_a"), b = sample("default", "img_b");
    insert_row(f, &a);
    insert_row(f, &b);
    put_details(f, "default", "img_a", "first");
    put_details(f, "default", "img_a", "the second\x01");
    put_details(f, "default", "img_b", "other");
    put_details(f, "default", "img_none", "of nobody");
    struct meta_details *d = details_of(f, "default", ids, 5);
    assert_int_equal(d[0].len, 6);
    assert_string_equal(d[0].bytes, "other");
    assert_int_equal(d[1].len, 0);
    assert_int_equal(d[2].len, 0);
    assert_int_equal(d[3].len, 12);
    assert_string_equal(d[3].bytes, "the second\x01");
    assert_string_equal(d[4].bytes, "other");
    details_of(f, "default", ids, 0);
    struct call c = {.f = f, .tenant = "default", .id = "img_b"};
    assert_writes(&c, delete);
    assert_int_equal(details_of(f, "default", ids, 1)[0].len, 0);
    insert_row(f, &b); // whatever row it gets, nothing of the old one is in it
    assert_int_equal(details_of(f, "default", ids, 1)[0].len, 0);
}

static void g7_details_of_another_tenant_do_not_exist(void **state)
{
    struct fixture *f = *state;
    static const char *const ids[] = {"img_a"};
    struct call c = {.f = f, .tenant = "other"};
    assert_writes(&c, tenant_add);
    struct media row = sample("other", "img_a");
    insert_row(f, &row);
    put_details(f, "other", "img_a", "theirs");
    put_details(f, "default", "img_a", "ours");
    assert_int_equal(details_of(f, "default", ids, 1)[0].len, 0);
    assert_string_equal(details_of(f, "other", ids, 1)[0].bytes, "theirs");
}

// ---- Steps.

static void join_by(struct fixture *f, const char *model, const char *id, const char *other, double score)
{
    struct call c = {.f = f, .tenant = "default", .model = model, .id = id, .text = other, .score = score};
    assert_writes(&c, alike_join);
}

static void join(struct fixture *f, const char *id, const char *other, double score)
{
    join_by(f, NULL, id, other, score);
}

static void leave(struct fixture *f, const char *id, int64_t before_ms)
{
    struct call c = {.f = f, .tenant = "default", .id = id, .ms = before_ms};
    assert_writes(&c, alike_leave);
}

static int64_t group_of(struct fixture *f, const char *id)
{
    struct call c = {.f = f, .tenant = "default", .id = id};
    assert_reads(&c, alike_find);
    return c.group;
}

static struct call members_of(struct fixture *f, int64_t group, size_t limit)
{
    struct call c = {.f = f, .tenant = "default", .first = group, .limit = limit};
    assert_reads(&c, alike_members);
    return c;
}

static size_t group_size(struct fixture *f, int64_t group)
{
    struct call c = members_of(f, group, 100);
    assert_int_equal(c.count, c.total);
    return c.total;
}

static struct call list_groups(struct fixture *f, const char *tenant, int64_t before, size_t limit)
{
    struct call c = {.f = f, .tenant = tenant, .first = before, .limit = limit};
    assert_reads(&c, alike_groups);
    return c;
}

static void insert_numbered(struct fixture *f, int count) // img_1 … the last one was uploaded first
{
    for (int i = 1; i <= count; i++) {
        char id[16];
        snprintf(id, sizeof id, "img_%d", i);
        struct media row = sample("default", id);
        row.uploaded_ms = 1000 - i;
        insert_row(f, &row);
    }
}

static void look_alikes_are_in_one_group(void **state)
{
    struct fixture *f = *state;
    insert_numbered(f, 5);
    assert_int_equal(list_groups(f, "default", 0, 10).count, 0);
    join(f, "img_2", "img_1", 0.97);
    join(f, "img_2", "img_1", 0.97); // again
    join(f, "img_3", "img_2", 0.95);
    join(f, "img_5", "img_4", 0.93);
    struct call c = list_groups(f, "default", 0, 10);
    assert_int_equal(c.count, 2);
    assert_int_equal(c.groups[0].group, 2);
    assert_int_equal(c.groups[0].count, 2);
    assert_int_equal(c.groups[1].count, 3);
    c = list_groups(f, "default", 2, 10);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.groups[0].group, 1);
    assert_int_equal(list_groups(f, "default", 0, 1).groups[0].group, 2);
    c = members_of(f, 1, 2);
    assert_int_equal(c.count, 2);
    assert_int_equal(c.total, 3);
    assert_string_equal(c.members[0].media.id, "img_3"); // the first upload
    assert_string_equal(c.members[0].nearest, "img_2");
    assert_string_equal(c.members[1].media.id, "img_2");
    assert_string_equal(c.members[1].nearest, "img_1");
    assert_true(c.members[1].score == 0.97);
    assert_int_equal(group_of(f, "img_3"), 1);
    assert_int_equal(group_of(f, "img_4"), 2);
}

static void groups_that_meet_become_one(void **state)
{
    struct fixture *f = *state;
    insert_numbered(f, 7);
    join(f, "img_1", "img_2", 0.9);
    join(f, "img_3", "img_4", 0.9);
    join(f, "img_5", "img_6", 0.9);
    join(f, "img_6", "img_1", 0.8); // the third into the first
    assert_int_equal(list_groups(f, "default", 0, 10).count, 2);
    assert_int_equal(group_of(f, "img_5"), 1);
    join(f, "img_2", "img_4", 0.95);
    assert_int_equal(group_size(f, 1), 6);
    assert_int_equal(group_of(f, "img_7"), 0);
    struct call c = members_of(f, 1, 100);
    assert_string_equal(c.members[4].media.id, "img_2");
    assert_string_equal(c.members[4].nearest, "img_4"); // closer than img_1
    assert_int_equal(list_groups(f, "default", 0, 10).count, 1);
}

static void each_model_has_its_groups(void **state)
{
    struct fixture *f = *state;
    insert_numbered(f, 4);
    join_by(f, "a", "img_1", "img_2", 0.9);
    join_by(f, "b", "img_2", "img_3", 0.9);
    join_by(f, "b", "img_3", "img_4", 0.9);
    struct call c = {.f = f, .tenant = "default", .model = "a", .limit = 10};
    assert_reads(&c, alike_groups);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.groups[0].count, 2);
    c.model = "b";
    c.limit = 2;
    assert_writes(&c, alike_drop);
    assert_int_equal(c.count, 2);
    assert_writes(&c, alike_drop);
    assert_int_equal(c.count, 1);
    assert_writes(&c, alike_drop);
    assert_int_equal(c.count, 0);
    assert_reads(&c, alike_groups);
    assert_int_equal(c.count, 0);
    c.model = "a";
    assert_reads(&c, alike_groups);
    assert_int_equal(c.count, 1);
}

static void an_item_leaves_unless_it_was_joined_since(void **state)
{
    struct fixture *f = *state;
    insert_numbered(f, 3);
    int64_t before = clock_now_ms();
    join(f, "img_1", "img_2", 0.9);
    join(f, "img_3", "img_2", 0.9);
    leave(f, "img_1", before);
    assert_int_equal(group_size(f, 1), 3);
    leave(f, "img_1", INT64_MAX);
    leave(f, "img_1", INT64_MAX); // it is not there
    assert_int_equal(group_size(f, 1), 2);
    assert_int_equal(group_of(f, "img_1"), 0);
    leave(f, "img_2", INT64_MAX);
    assert_int_equal(group_of(f, "img_3"), 0);
    assert_int_equal(list_groups(f, "default", 0, 10).count, 0);
}

static void g9_what_goes_leaves_its_group(void **state)
{
    struct fixture *f = *state;
    insert_numbered(f, 4);
    for (int i = 2; i <= 4; i++)
        join(f, (const char *[]){"img_2", "img_3", "img_4"}[i - 2], "img_1", 0.95);
    set_status(f, "img_1", MEDIA_DELETING);
    struct call c = members_of(f, 1, 10);
    assert_int_equal(c.total, 3);
    assert_null(c.members[0].nearest); // it was most like what is gone
    set_status(f, "img_2", MEDIA_FAILED);
    set_status(f, "img_3", MEDIA_COMPLETED);
    assert_int_equal(group_size(f, 1), 3);
    struct call gone = {.f = f, .tenant = "default", .id = "img_2"};
    assert_writes(&gone, delete);
    assert_int_equal(group_size(f, 1), 2);
    set_status(f, "img_3", MEDIA_DELETING);
    assert_int_equal(list_groups(f, "default", 0, 10).count, 0); // one alone is no group
    struct call late = {.f = f, .tenant = "default", .id = "img_4", .text = "img_3", .score = 0.9};
    assert_write_fails(&late, alike_join, ERR_NOT_FOUND);
    late.id = "img_3";
    late.text = "img_4";
    assert_write_fails(&late, alike_join, ERR_NOT_FOUND);
    insert_sample(f, "default", "img_5");
    join(f, "img_5", "img_4", 0.9); // and one again when another comes
    assert_int_equal(group_size(f, 1), 2);
}

static void g7_look_alikes_of_others_are_not_there(void **state)
{
    struct fixture *f = *state;
    add_tenant(f, "acme");
    insert_sample(f, "default", "img_1");
    insert_sample(f, "default", "img_2");
    insert_sample(f, "acme", "img_3");
    join(f, "img_2", "img_1", 0.95);
    struct call c = {.f = f, .tenant = "acme", .id = "img_3", .text = "img_1", .score = 0.9, .ms = INT64_MAX};
    assert_write_fails(&c, alike_join, ERR_NOT_FOUND);
    c.tenant = "default";
    assert_write_fails(&c, alike_join, ERR_NOT_FOUND);
    c = (struct call){.f = f, .tenant = "acme", .id = "img_1", .ms = INT64_MAX, .first = 1, .limit = 10};
    assert_writes(&c, alike_leave);
    assert_writes(&c, alike_drop);
    assert_int_equal(c.count, 0);
    assert_reads(&c, alike_find);
    assert_int_equal(c.group, 0);
    assert_reads(&c, alike_members);
    assert_int_equal(c.total, 0);
    assert_int_equal(list_groups(f, "acme", 0, 10).count, 0);
    assert_int_equal(list_groups(f, "default", 0, 10).count, 1);
}

static void an_update_says_what_an_item_resembles(void **state)
{
    struct fixture *f = *state;
    insert_sample(f, "default", "img_1");
    patch_row(f, "img_1", (struct media_patch){.alike_id = "img_0", .alike_score = 0.96});
    patch_row(f, "img_1", (struct media_patch){.width = 3});
    struct media got = fetch(f, "default", "img_1");
    assert_string_equal(got.alike_id, "img_0");
    assert_true(got.alike_score == 0.96);
}

static void steps_are_kept_by_step_and_model(void **state)
{
    struct fixture *f = *state;
    insert_sample(f, "default", "img_1");
    const struct media_step steps[] = {
        {.step = "feature_extraction", .model = "b", .status = "running", .attempt = 1, .started_ms = 30},
        {.step = "preprocessing", .model = "", .status = "running", .attempt = 1, .started_ms = 10},
        {.step = "feature_extraction", .model = "a", .status = "running", .attempt = 1, .started_ms = 30},
        {.step = "preprocessing",
         .model = "",
         .status = "completed",
         .attempt = 2,
         .started_ms = 50,
         .duration_ms = 5,
         .collection = "c",
         .error_message = "e"},
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct call c = {.f = f, .tenant = "default", .id = "img_1", .step = &steps[i]};
        assert_writes(&c, step_put);
    }
    struct call c = {.f = f, .tenant = "default", .id = "img_1"};
    assert_reads(&c, step_list);
    assert_int_equal(c.count, 3);
    assert_string_equal(c.steps[0].step, "preprocessing");
    assert_string_equal(c.steps[0].status, "completed");
    assert_int_equal(c.steps[0].attempt, 2);
    assert_int_equal(c.steps[0].started_ms, 10);
    assert_int_equal(c.steps[0].duration_ms, 5);
    assert_string_equal(c.steps[0].collection, "c");
    assert_string_equal(c.steps[0].error_message, "e");
    assert_string_equal(c.steps[1].model, "b");
    assert_string_equal(c.steps[2].model, "a");
    assert_null(c.steps[2].collection);
    assert_null(c.steps[2].error_message);
    assert_writes(&c, delete);
    insert_sample(f, "default", "img_1"); // the steps went with the item
    assert_reads(&c, step_list);
    assert_int_equal(c.count, 0);
}

// ---- The ledger.

static void g2_the_ledger_closes_whatever_happens(void **state)
{
    struct fixture *f = *state;
    add_tenant(f, "other");
    unsigned seed = 12345;
    for (int i = 0; i < 600; i++) {
        char id[32];
        seed = seed * 1103515245 + 12345;
        unsigned dice = seed >> 16;
        snprintf(id, sizeof id, "img_%u", dice % 50);
        struct media row = sample(dice & 64 ? "default" : "other", id);
        struct media_patch patch = {.set_status = true, .status = (enum media_status)(dice / 128 % 5)};
        struct call c = {.f = f, .tenant = row.tenant, .id = id, .row = &row, .patch = &patch};
        static meta_tx_fn *const what[] = {insert, update, update, delete, duplicate};
        enum error_code code = write_code(&c, what[dice / 1024 % ARRAY_LEN(what)]);
        assert_true(code == ERR_NONE || code == ERR_NOT_FOUND || code == ERR_EXISTS || code == ERR_CONFLICT);
        if (i % 20 == 0)
            assert_closes(ledger_of(f, NULL));
    }
    struct meta_ledger mine = ledger_of(f, "default"), others = ledger_of(f, "other"), all = ledger_of(f, NULL);
    assert_closes(mine);
    assert_closes(others);
    assert_closes(all);
    assert_true(mine.accepted && others.accepted && all.deleted && all.searchable && all.failed && all.in_flight);
    assert_int_equal(all.accepted, mine.accepted + others.accepted);
    assert_int_equal(all.duplicates, mine.duplicates + others.duplicates);
}

static void the_ledger_counts_each_state(void **state)
{
    struct fixture *f = *state;
    static const enum media_status statuses[] = {MEDIA_UPLOADED,  MEDIA_PROCESSING, MEDIA_FAILED,
                                                 MEDIA_COMPLETED, MEDIA_DELETING,   MEDIA_COMPLETED};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        char id[32];
        snprintf(id, sizeof id, "img_%zu", i);
        insert_sample(f, "default", id);
        set_status(f, id, statuses[i]);
    }
    struct call c = {.f = f, .tenant = "default", .id = "img_5"};
    assert_writes(&c, delete);
    assert_writes(&c, delete); // is gone: counted once
    assert_writes(&c, duplicate);
    struct meta_ledger l = ledger_of(f, "default");
    assert_int_equal(l.accepted, 6);
    assert_int_equal(l.searchable, 1);
    assert_int_equal(l.failed, 1);
    assert_int_equal(l.in_flight, 3);
    assert_int_equal(l.deleted, 1);
    assert_int_equal(l.duplicates, 1);
    c.tenant = "nobody";
    assert_read_fails(&c, ledger, ERR_TENANT_UNKNOWN);
    assert_write_fails(&c, duplicate, ERR_TENANT_UNKNOWN);
}

// ---- Frames of videos.

static void list_changes(struct call *c, int64_t after, size_t limit)
{
    c->first = after;
    c->limit = limit;
    assert_reads(c, change_list);
}

static void insert_frame(struct fixture *f, const char *tenant, const char *video, const char *id, int64_t time_ms)
{
    struct media row = sample(tenant, id);
    row.kind = "frame";
    row.status = MEDIA_PROCESSING;
    row.parent = video;
    row.time_ms = time_ms;
    insert_row(f, &row);
}

// A video of three frames, and another one's of the same times.
static void make_videos(struct fixture *f)
{
    struct media video = sample("default", "vid_1"), other = sample("default", "vid_2");
    video.kind = other.kind = "video";
    video.video = "{\"fps\":25}";
    insert_row(f, &video);
    insert_row(f, &other);
    insert_frame(f, "default", "vid_1", "frm_c", 3000);
    insert_frame(f, "default", "vid_1", "frm_a", 0);
    insert_frame(f, "default", "vid_1", "frm_b", 1500);
    insert_frame(f, "default", "vid_2", "frm_x", 1500);
}

static void frames_are_listed_by_their_times(void **state)
{
    struct fixture *f = *state;
    make_videos(f);
    struct call c = {.f = f, .tenant = "default", .id = "vid_1", .ms = -1, .limit = 10};
    assert_reads(&c, frame_list);
    assert_int_equal(c.count, 3);
    assert_string_equal(c.list[0].id, "frm_a");
    assert_string_equal(c.list[1].id, "frm_b");
    assert_string_equal(c.list[2].id, "frm_c");
    assert_string_equal(c.list[1].parent, "vid_1");
    assert_int_equal(c.list[1].time_ms, 1500);
    c.ms = 0;
    c.limit = 1;
    assert_reads(&c, frame_list);
    assert_int_equal(c.count, 1);
    assert_string_equal(c.list[0].id, "frm_b");
    c.id = "vid_3";
    assert_reads(&c, frame_list);
    assert_int_equal(c.count, 0);
}

static void g7_frames_of_others_are_not_there(void **state)
{
    struct fixture *f = *state;
    make_videos(f);
    add_tenant(f, "other");
    struct call c = {.f = f, .tenant = "other", .id = "vid_1", .ms = -1, .limit = 10};
    assert_reads(&c, frame_list);
    assert_int_equal(c.count, 0);
    assert_reads(&c, frame_waits);
    assert_false(c.waits);
    assert_reads(&c, frame_count);
    assert_int_equal(c.frames.waiting, 0);
}

static void frames_are_waited_for_until_the_last_has_ended(void **state)
{
    struct fixture *f = *state;
    make_videos(f);
    struct call c = {.f = f, .tenant = "default", .id = "vid_1"};
    static const char *const ids[] = {"frm_a", "frm_b", "frm_c"};
    static const enum media_status ends[] = {MEDIA_COMPLETED, MEDIA_FAILED, MEDIA_DELETING};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        assert_reads(&c, frame_waits);
        assert_true(c.waits);
        set_status(f, ids[i], ends[i]);
    }
    assert_reads(&c, frame_waits);
    assert_false(c.waits);
    assert_reads(&c, frame_count);
    assert_int_equal(c.frames.waiting, 0);
    assert_int_equal(c.frames.searchable, 1);
    assert_int_equal(c.frames.failed, 1);
    assert_int_equal(c.frames.deleting, 1);
}

static void g2_frames_are_part_of_their_video(void **state)
{
    struct fixture *f = *state;
    make_videos(f);
    set_status(f, "frm_a", MEDIA_COMPLETED);
    set_status(f, "vid_2", MEDIA_COMPLETED);
    struct meta_ledger l = ledger_of(f, "default"), all = ledger_of(f, NULL);
    assert_closes(l);
    assert_int_equal(l.accepted, 2);
    assert_int_equal(l.searchable, 1);
    assert_int_equal(l.in_flight, 1);
    assert_int_equal(all.accepted, 2);
    struct call c = {.f = f, .tenant = "default", .id = "frm_b", .text = "00"};
    assert_writes(&c, delete);
    assert_int_equal(ledger_of(f, "default").deleted, 0);
    assert_reads(&c, find_hash); // the oldest of these bytes is no frame
    assert_string_equal(c.media.id, "vid_1");
    list_changes(&c, 0, 100);
    for (size_t i = 0; i < c.count; i++)
        assert_int_equal(strncmp(c.changes[i].id, "vid_", 4), 0);
}

static void lists_are_of_uploads_unless_frames_are_asked_for(void **state)
{
    struct fixture *f = *state;
    make_videos(f);
    insert_sample(f, "default", "img_1");
    struct media_query query = {.tenant = "default", .limit = 100};
    struct call c = {.f = f, .query = &query};
    assert_reads(&c, list);
    assert_int_equal(c.count, 3);
    query.kind = "video";
    assert_reads(&c, list);
    assert_int_equal(c.count, 2);
    query.kind = NULL;
    query.frames = true;
    assert_reads(&c, list);
    assert_int_equal(c.count, 7);
    size_t seen = 0; // page by page, in one order
    char before[64] = "";
    for (query.limit = 2; seen < 7; query.before_id = before) {
        assert_reads(&c, list);
        assert_true(c.count > 0);
        for (size_t i = 0; i < c.count; i++) {
            assert_true(!*before || strcmp(c.list[i].id, before) < 0);
            snprintf(before, sizeof before, "%s", c.list[i].id);
        }
        seen += c.count;
        query.before_ms = 1000;
    }
    assert_int_equal(seen, 7);
    query = (struct media_query){
        .tenant = "default", .limit = 100, .frames = true, .by_status = true, .status = MEDIA_PROCESSING};
    assert_reads(&c, list);
    assert_int_equal(c.count, 4);
}

static void a_video_keeps_what_is_known_of_it(void **state)
{
    struct fixture *f = *state;
    make_videos(f);
    assert_string_equal(fetch(f, "default", "vid_1").video, "{\"fps\":25}");
    assert_null(fetch(f, "default", "vid_1").progress);
    patch_row(f, "vid_1", (struct media_patch){.video = "{}", .progress = "{\"done\":true}"});
    patch_row(f, "vid_1", (struct media_patch){.width = 4});
    assert_string_equal(fetch(f, "default", "vid_1").video, "{}");
    assert_string_equal(fetch(f, "default", "vid_1").progress, "{\"done\":true}");
}

// ---- The inbox.

static struct call event_call(struct fixture *f, int attempt)
{
    return (struct call){.f = f, .tenant = "prepare", .id = "evt_1", .attempt = attempt};
}

static void assert_begins(struct fixture *f, int attempt, enum inbox_state inbox, int begun)
{
    struct call c = event_call(f, attempt);
    assert_writes(&c, inbox_begin);
    assert_int_equal(c.inbox, inbox);
    if (inbox == INBOX_FRESH)
        assert_int_equal(c.begun, begun);
}

static void end_attempt(struct fixture *f, int attempt, bool finished)
{
    struct call c = event_call(f, attempt);
    c.finished = finished;
    assert_writes(&c, inbox_end);
}

static void assert_has_ended(struct fixture *f, int attempt)
{
    struct call c = event_call(f, attempt);
    c.finished = true;
    assert_write_fails(&c, inbox_end, ERR_EXISTS);
}

static uint64_t open_attempts(struct fixture *f)
{
    struct call c = {.f = f};
    assert_reads(&c, inbox_open);
    return c.number;
}

// What an outage interrupted was not an attempt.
static void g6_a_beginning_can_be_taken_back(void **state)
{
    struct fixture *f = *state;
    struct call c = event_call(f, 1);
    assert_writes(&c, inbox_release); // there is none: nothing happens
    assert_int_equal(open_attempts(f), 0);
    assert_begins(f, 1, INBOX_FRESH, 1);
    assert_writes(&c, inbox_release);
    assert_int_equal(open_attempts(f), 0);
    assert_begins(f, 1, INBOX_FRESH, 1);
    assert_begins(f, 1, INBOX_FRESH, 2); // a death counts
    assert_writes(&c, inbox_release);
    assert_int_equal(open_attempts(f), 1);
    assert_begins(f, 1, INBOX_FRESH, 2);
    end_attempt(f, 1, false);
    assert_writes(&c, inbox_release); // what ended stays ended
    assert_begins(f, 1, INBOX_DONE, 0);
    assert_begins(f, 2, INBOX_FRESH, 1);
}

static void g3_a_finished_event_is_done_for_ever(void **state)
{
    struct fixture *f = *state;
    assert_begins(f, 1, INBOX_FRESH, 1);
    end_attempt(f, 1, true);
    assert_has_ended(f, 1);
    assert_has_ended(f, 2);
    assert_begins(f, 1, INBOX_DONE, 0);
    assert_begins(f, 2, INBOX_DONE, 0);
    struct call c = event_call(f, 1);
    c.tenant = "extract"; // another consumer has its own inbox
    assert_writes(&c, inbox_begin);
    assert_int_equal(c.inbox, INBOX_FRESH);
}

static void g3_an_attempt_ends_once(void **state)
{
    struct fixture *f = *state;
    assert_begins(f, 1, INBOX_FRESH, 1);
    end_attempt(f, 1, false);
    assert_has_ended(f, 1);
    assert_begins(f, 1, INBOX_DONE, 0); // redelivered: was accounted for
    assert_begins(f, 2, INBOX_FRESH, 1);
    end_attempt(f, 2, false);
    assert_begins(f, 1, INBOX_DONE, 0);
    assert_begins(f, 3, INBOX_FRESH, 1);
    end_attempt(f, 3, true);
    assert_begins(f, 4, INBOX_DONE, 0);
}

static void g5_beginnings_without_end_are_counted_across_a_death(void **state)
{
    struct fixture *f = *state;
    assert_begins(f, 1, INBOX_FRESH, 1);
    assert_begins(f, 1, INBOX_FRESH, 2);
    close_store(f);
    open_store(f);
    assert_int_equal(open_attempts(f), 1);
    assert_begins(f, 1, INBOX_FRESH, 3);
    end_attempt(f, 1, false);
    assert_begins(f, 2, INBOX_FRESH, 1);
    assert_int_equal(open_attempts(f), 1);
    end_attempt(f, 2, true);
    assert_int_equal(open_attempts(f), 0);
}

static void a_later_end_closes_earlier_attempts(void **state)
{
    struct fixture *f = *state;
    assert_begins(f, 1, INBOX_FRESH, 1);
    assert_begins(f, 2, INBOX_FRESH, 1);
    end_attempt(f, 2, false);
    assert_begins(f, 1, INBOX_DONE, 0);
    assert_int_equal(open_attempts(f), 0);
}

static int begin_and_fail(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *c = arg;
    if (inbox_begin(tx, arg, err) < 0 || c->f->meta.ops->inbox_end(tx, c->tenant, c->id, c->attempt, true, err) < 0)
        return -1;
    return error_set(err, ERR_INJECTED, "on purpose");
}

static void an_end_that_is_rolled_back_has_not_happened(void **state)
{
    struct fixture *f = *state;
    struct call c = event_call(f, 1);
    assert_write_fails(&c, begin_and_fail, ERR_INJECTED);
    assert_begins(f, 1, INBOX_FRESH, 1);
}

static void an_event_can_be_forgotten(void **state)
{
    struct fixture *f = *state;
    struct call c = event_call(f, 1);
    assert_writes(&c, inbox_forget); // there is nothing
    assert_begins(f, 1, INBOX_FRESH, 1);
    end_attempt(f, 1, false);
    assert_begins(f, 2, INBOX_FRESH, 1);
    struct call other = {.f = f, .tenant = "extract", .id = "evt_1", .attempt = 1, .finished = true};
    assert_writes(&other, inbox_begin);
    assert_writes(&other, inbox_end);
    assert_writes(&c, inbox_forget);
    assert_begins(f, 1, INBOX_FRESH, 1);
    assert_writes(&other, inbox_begin); // another consumer knows what it knew
    assert_int_equal(other.inbox, INBOX_DONE);
    end_attempt(f, 1, false);
    assert_begins(f, 2, INBOX_FRESH, 1);
    end_attempt(f, 2, true);
    assert_writes(&c, inbox_forget); // finished: it stays whole
    assert_begins(f, 1, INBOX_DONE, 0);
    c.finished = true;
    assert_writes(&c, inbox_forget);
    assert_begins(f, 1, INBOX_FRESH, 1);
}

static void the_inbox_is_pruned_of_what_ended(void **state)
{
    struct fixture *f = *state;
    assert_begins(f, 1, INBOX_FRESH, 1);
    struct call c = {.f = f, .ms = clock_now_ms() + 1000};
    assert_writes(&c, inbox_prune);
    assert_begins(f, 1, INBOX_FRESH, 2);
    end_attempt(f, 1, true);
    c.ms = clock_now_ms() - 60000;
    assert_writes(&c, inbox_prune);
    assert_begins(f, 1, INBOX_DONE, 0);
    c.ms = clock_now_ms() + 1000;
    assert_writes(&c, inbox_prune);
    assert_begins(f, 1, INBOX_FRESH, 1);
}

// ---- Retries and settings.

static void retries_are_taken_when_due_and_once(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f};
    assert_reads(&c, retry_next);
    assert_true(c.ms == INT64_MAX);
    static const int64_t times[] = {300, 100, 200, 100};
    static const char values[][4] = {"a\0a", "b\0b", "c\0c", "d\0d"};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct meta_retry retry = {
            .not_before_ms = times[i], .topic = "t", .key = i ? "k" : NULL, .value = values[i], .value_len = 3};
        c.retry = &retry;
        assert_writes(&c, retry_put);
    }
    assert_reads(&c, retry_next);
    assert_int_equal(c.ms, 100);
    assert_reads(&c, retry_count);
    assert_int_equal(c.number, 4);
    c.ms = 99, c.limit = 10;
    assert_writes(&c, retry_take);
    assert_int_equal(c.count, 0);
    c.ms = 250, c.limit = 2;
    assert_writes(&c, retry_take);
    assert_int_equal(c.count, 2);
    assert_memory_equal(c.retries[0].value, "b\0b", 3);
    assert_memory_equal(c.retries[1].value, "d\0d", 3);
    assert_int_equal(c.retries[0].value_len, 3);
    assert_int_equal(c.retries[0].not_before_ms, 100);
    assert_string_equal(c.retries[0].topic, "t");
    assert_string_equal(c.retries[0].key, "k");
    assert_true(c.retries[0].id != c.retries[1].id);
    c.ms = 300, c.limit = 10;
    assert_writes(&c, retry_take);
    assert_int_equal(c.count, 2);
    assert_memory_equal(c.retries[0].value, "c\0c", 3);
    assert_null(c.retries[1].key);
    assert_writes(&c, retry_take);
    assert_int_equal(c.count, 0);
}

static int take_and_fail(struct meta_tx *tx, void *arg, struct error *err)
{
    return retry_take(tx, arg, err) < 0 ? -1 : error_set(err, ERR_INJECTED, "on purpose");
}

// ---- Outbox.

static void put_out(struct call *c, const char *value)
{
    const struct meta_outbox row = {.timestamp_ms = 7,
                                    .topic = "t",
                                    .key = "k",
                                    .headers = "a\0b",
                                    .headers_len = 4,
                                    .value = value,
                                    .value_len = strlen(value)};
    c->outbox = &row;
    assert_writes(c, outbox_put);
}

static void read_out(struct call *c, int64_t after, size_t limit)
{
    c->first = after;
    c->limit = limit;
    assert_reads(c, outbox_read);
}

static void the_outbox_is_read_in_order_and_removed(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f};
    assert_reads(&c, outbox_depth);
    assert_int_equal(c.number, 0);
    static const char *const values[] = {"1", "2", "3", "4", "5"};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        put_out(&c, values[i]);
    read_out(&c, 0, 3);
    assert_int_equal(c.count, 3);
    assert_string_equal(c.rows[0].topic, "t");
    assert_string_equal(c.rows[0].key, "k");
    assert_int_equal(c.rows[0].timestamp_ms, 7);
    assert_int_equal(c.rows[0].headers_len, 4);
    assert_memory_equal(c.rows[0].headers, "a\0b", 4);
    assert_memory_equal(c.rows[2].value, "3", 1);
    int64_t first = c.rows[0].id, third = c.rows[2].id;
    assert_true(first < c.rows[1].id && c.rows[1].id < third);
    read_out(&c, third, 100);
    assert_int_equal(c.count, 2);
    assert_memory_equal(c.rows[0].value, "4", 1);
    int64_t last = c.rows[1].id;
    c.first = first;
    c.ms = third;
    assert_writes(&c, outbox_remove);
    assert_reads(&c, outbox_depth);
    assert_true(c.number >= 2);
    read_out(&c, 0, 100);
    assert_int_equal(c.count, 2);
    c.first = first;
    c.ms = last;
    assert_writes(&c, outbox_remove);
    assert_reads(&c, outbox_depth);
    assert_int_equal(c.number, 0);
    put_out(&c, "6"); // though the table was empty, whoever went on behind the last one finds it
    read_out(&c, last, 100);
    assert_int_equal(c.count, 1);
    assert_memory_equal(c.rows[0].value, "6", 1);
}

static void the_outbox_goes_on_behind_what_was_read_since_it_was_opened(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f};
    put_out(&c, "old");
    close_store(f);
    open_store(f);
    read_out(&c, 0, 1);
    assert_int_equal(c.count, 1);
    int64_t id = c.rows[0].id;
    c.first = c.ms = id;
    assert_writes(&c, outbox_remove); // emptied before this process put anything
    put_out(&c, "new");
    read_out(&c, id, 1);
    assert_int_equal(c.count, 1);
}

static int put_and_fail(struct meta_tx *tx, void *arg, struct error *err)
{
    return outbox_put(tx, arg, err) < 0 ? -1 : error_set(err, ERR_INJECTED, "on purpose");
}

static void count_told(void *arg)
{
    ++*(atomic_int *)arg;
}

static void the_outbox_takes_part_in_transactions_and_tells(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f};
    const struct meta_outbox row = {.topic = "t", .value = "x", .value_len = 1};
    atomic_int told = 0;
    c.outbox = &row;
    assert_write_fails(&c, put_and_fail, ERR_INJECTED);
    assert_read_fails(&c, outbox_put, ERR_INTERNAL);
    read_out(&c, 0, 1);
    assert_int_equal(c.count, 0);
    f->meta.ops->outbox_watch(f->meta.state, count_told, &told);
    put_out(&c, "x");
    assert_int_equal(told, 1); // before the write returned
    read_out(&c, 0, 1);
    assert_int_equal(c.count, 1);
    f->meta.ops->outbox_watch(f->meta.state, NULL, NULL);
    put_out(&c, "y");
    assert_int_equal(told, 1);
}

// ---- Changes.

static void assert_change(const struct meta_change *change, const char *id, int status)
{
    assert_string_equal(change->tenant, "default");
    assert_string_equal(change->id, id);
    assert_int_equal(change->status, status);
    assert_true(change->at_ms > 0);
}

static void every_change_of_a_state_is_recorded_in_order(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f, .tenant = "default", .id = "a"};
    assert_reads(&c, change_range);
    assert_int_equal(c.ms, c.first - 1);
    insert_sample(f, "default", "a");
    set_status(f, "a", MEDIA_PROCESSING);
    set_status(f, "a", MEDIA_PROCESSING); // nothing changes
    patch_row(f, "a", (struct media_patch){.width = 5});
    insert_sample(f, "default", "b");
    set_status(f, "a", MEDIA_COMPLETED);
    assert_writes(&c, delete);
    list_changes(&c, 0, 100);
    assert_int_equal(c.count, 5);
    assert_change(&c.changes[0], "a", MEDIA_UPLOADED);
    assert_change(&c.changes[1], "a", MEDIA_PROCESSING);
    assert_change(&c.changes[2], "b", MEDIA_UPLOADED);
    assert_change(&c.changes[3], "a", MEDIA_COMPLETED);
    assert_change(&c.changes[4], "a", META_GONE);
    for (size_t i = 1; i < c.count; i++)
        assert_true(c.changes[i].seq > c.changes[i - 1].seq);
    int64_t third = c.changes[2].seq, last = c.changes[4].seq;
    list_changes(&c, third, 1);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.changes[0].status, MEDIA_COMPLETED);
    list_changes(&c, last, 100);
    assert_int_equal(c.count, 0);
    assert_reads(&c, change_range);
    assert_int_equal(c.ms, last);
}

static void old_changes_go_and_numbers_grow(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f, .ms = INT64_MAX, .limit = 2};
    insert_sample(f, "default", "a");
    set_status(f, "a", MEDIA_PROCESSING);
    set_status(f, "a", MEDIA_COMPLETED);
    list_changes(&c, 0, 100);
    int64_t last = c.changes[2].seq;
    c.ms = INT64_MAX, c.limit = 1;
    assert_writes(&c, change_prune);
    list_changes(&c, 0, 100);
    assert_int_equal(c.count, 2);
    c.limit = 100, c.up_to = c.changes[0].seq - 1;
    assert_writes(&c, change_prune); // nothing
    list_changes(&c, 0, 100);
    assert_int_equal(c.count, 2);
    c.ms = INT64_MAX, c.limit = 100, c.up_to = 0;
    assert_writes(&c, change_prune); // all but the last
    close_store(f);
    open_store(f);
    assert_reads(&c, change_range);
    assert_int_equal(c.first, last);
    assert_true(c.ms >= last);
    insert_sample(f, "default", "b");
    list_changes(&c, last, 100);
    size_t told = 0;
    for (size_t i = 0; i < c.count; i++) {
        assert_true(c.changes[i].seq > (i ? c.changes[i - 1].seq : last));
        told += *c.changes[i].tenant != 0;
    }
    assert_int_equal(told, 1);
}

// ---- Receipts

static void put_receipt(struct fixture *f, const char *tenant, const char *id, const char *item, int64_t ended_ms)
{
    const struct meta_receipt row = {.id = id,
                                     .tenant = tenant,
                                     .item = item,
                                     .ended_ms = ended_ms,
                                     .text = ended_ms ? "{\"ended\":1}" : "{\"found\":1}",
                                     .signature = ended_ms ? "signature" : NULL,
                                     .key_id = ended_ms ? "key" : NULL};
    struct call c = {.f = f, .receipt = &row};
    assert_writes(&c, receipt_put);
}

static void a_deletion_under_way_becomes_its_receipt(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f, .tenant = "default", .id = "img_1", .limit = 10};
    assert_read_fails(&c, receipt_open, ERR_NOT_FOUND);
    put_receipt(f, "default", "rcp_1", "img_1", 0);
    assert_reads(&c, receipt_open);
    assert_string_equal(c.found.id, "rcp_1");
    assert_string_equal(c.found.item, "img_1");
    assert_string_equal(c.found.text, "{\"found\":1}");
    assert_null(c.found.signature);
    c.id = "rcp_1"; // it is none yet
    assert_read_fails(&c, receipt_get, ERR_NOT_FOUND);
    c.id = NULL;
    assert_reads(&c, receipt_list);
    assert_int_equal(c.count, 0);
    put_receipt(f, "default", "rcp_1", "img_1", 7);
    c.id = "img_1";
    assert_read_fails(&c, receipt_open, ERR_NOT_FOUND);
    c.id = "rcp_1";
    assert_reads(&c, receipt_get);
    assert_string_equal(c.found.item, "img_1");
    assert_string_equal(c.found.text, "{\"ended\":1}");
    assert_string_equal(c.found.signature, "signature");
    assert_string_equal(c.found.key_id, "key");
    assert_int_equal(c.found.ended_ms, 7);
    put_receipt(f, "default", "rcp_2", "img_1", 0); // once more, of what was left
    c.id = "img_1";
    assert_reads(&c, receipt_open);
    assert_string_equal(c.found.id, "rcp_2");
}

static void receipts_are_listed_the_latest_first(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f, .tenant = "shop", .limit = 2};
    assert_writes(&c, tenant_add);
    put_receipt(f, "default", "rcp_1", "img_1", 5);
    put_receipt(f, "default", "rcp_2", "img_2", 9);
    put_receipt(f, "default", "rcp_3", "img_1", 9);
    put_receipt(f, "shop", "rcp_1", "img_1", 6);
    c.tenant = "default";
    assert_reads(&c, receipt_list);
    assert_int_equal(c.count, 2);
    assert_string_equal(c.receipts[0].id, "rcp_3");
    assert_string_equal(c.receipts[1].id, "rcp_2");
    c.first = 9, c.id = "rcp_2";
    assert_reads(&c, receipt_list);
    assert_int_equal(c.count, 1);
    assert_string_equal(c.receipts[0].id, "rcp_1");
    assert_int_equal(c.receipts[0].ended_ms, 5);
    c.first = 0, c.text = "img_1";
    assert_reads(&c, receipt_list);
    assert_int_equal(c.count, 2);
    assert_string_equal(c.receipts[0].id, "rcp_3");
    assert_string_equal(c.receipts[1].id, "rcp_1");
    c.tenant = "shop", c.text = NULL; // a wall
    assert_reads(&c, receipt_list);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.receipts[0].ended_ms, 6);
    c.id = "rcp_2";
    assert_read_fails(&c, receipt_get, ERR_NOT_FOUND);
}

// ---- Runs of maintenance

static enum error_code put_run(struct fixture *f, const char *id, const char *task, int64_t created_ms,
                               int64_t ended_ms)
{
    const struct meta_run row = {.id = id,
                                 .task = task,
                                 .state = ended_ms ? RUN_COMPLETED : RUN_RUNNING,
                                 .created_ms = created_ms,
                                 .ended_ms = ended_ms,
                                 .owner = ended_ms ? NULL : "me",
                                 .lease_ms = ended_ms ? 0 : 77,
                                 .text = ended_ms ? "{\"ended\":1}" : "{\"at\":1}"};
    struct call c = {.f = f, .run = &row};
    return write_code(&c, run_put);
}

static void a_run_is_open_until_it_ends(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f, .id = "run_1", .text = "scrub"};
    assert_read_fails(&c, run_open, ERR_NOT_FOUND);
    assert_read_fails(&c, run_get, ERR_NOT_FOUND);
    assert_int_equal(put_run(f, "run_1", "scrub", 5, 0), ERR_NONE);
    assert_int_equal(put_run(f, "run_2", "sweep", 5, 0), ERR_NONE);
    assert_int_not_equal(put_run(f, "run_3", "scrub", 6, 0), ERR_NONE); // one of a task at a time
    assert_reads(&c, run_open);
    assert_string_equal(c.ran.id, "run_1");
    assert_string_equal(c.ran.task, "scrub");
    assert_string_equal(c.ran.owner, "me");
    assert_string_equal(c.ran.text, "{\"at\":1}");
    assert_int_equal(c.ran.state, RUN_RUNNING);
    assert_int_equal(c.ran.created_ms, 5);
    assert_int_equal(c.ran.lease_ms, 77);
    assert_int_equal(put_run(f, "run_1", "scrub", 5, 9), ERR_NONE);
    assert_read_fails(&c, run_open, ERR_NOT_FOUND);
    assert_reads(&c, run_get);
    assert_int_equal(c.ran.state, RUN_COMPLETED);
    assert_int_equal(c.ran.ended_ms, 9);
    assert_null(c.ran.owner);
    assert_string_equal(c.ran.text, "{\"ended\":1}");
    assert_int_equal(put_run(f, "run_3", "scrub", 6, 0), ERR_NONE);
}

static void runs_are_listed_the_latest_first_and_go(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f, .limit = 2};
    put_run(f, "run_1", "scrub", 5, 20);
    put_run(f, "run_2", "sweep", 9, 10);
    put_run(f, "run_3", "scrub", 9, 30);
    put_run(f, "run_4", "scrub", 1, 0);
    assert_reads(&c, run_list);
    assert_int_equal(c.count, 2);
    assert_string_equal(c.runs[0].id, "run_3");
    assert_string_equal(c.runs[1].id, "run_2");
    c.first = 9, c.id = "run_2";
    assert_reads(&c, run_list);
    assert_int_equal(c.count, 2);
    assert_string_equal(c.runs[0].id, "run_1");
    assert_string_equal(c.runs[1].id, "run_4");
    c = (struct call){.f = f, .limit = 10, .text = "scrub"};
    assert_reads(&c, run_list);
    assert_int_equal(c.count, 3);
    assert_string_equal(c.runs[0].id, "run_3");
    c.ms = 30, c.limit = 1; // what ended first goes first, what has not ended never
    assert_writes(&c, run_prune);
    c.text = NULL, c.limit = 10;
    assert_reads(&c, run_list);
    assert_int_equal(c.count, 3);
    assert_writes(&c, run_prune);
    assert_reads(&c, run_list);
    assert_int_equal(c.count, 2);
    assert_string_equal(c.runs[0].id, "run_3");
    assert_string_equal(c.runs[1].id, "run_4");
}

// ---- Housekeeping

static void tidying_comes_to_its_end_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    int64_t piece = 0;
    uint64_t freed = 0;
    struct error err = {0};
    put_setting(f, "kept", "value");
    for (int dry = 1; dry >= 0; dry--) {
        piece = 0;
        for (int turns = 0; piece >= 0; turns++) {
            assert_true(turns < 1000);
            if (f->meta.ops->tidy(f->meta.state, dry, &piece, &freed, &err) < 0)
                fail_msg("tidy: %s", err.message);
        }
    }
    struct call c = {.f = f, .id = "kept"};
    assert_reads(&c, setting_get);
    assert_string_equal(c.value, "value");
}

// ---- Webhooks

static void webhooks_are_kept(void **state)
{
    struct fixture *f = *state;
    const struct meta_webhook one = {.id = "whk_1",
                                     .tenant = "default",
                                     .url = "https://a.example/hook",
                                     .statuses = 5,
                                     .secret = "whsec_a",
                                     .after_seq = 7,
                                     .created_ms = 1};
    struct meta_webhook again = one, other = one;
    struct call c = {.f = f, .tenant = "shop", .hook = &one};
    assert_writes(&c, tenant_add);
    assert_writes(&c, webhook_put);
    other.tenant = "shop", other.id = "whk_2", other.created_ms = 2;
    c.hook = &other;
    assert_writes(&c, webhook_put);
    again.secret = "whsec_b", again.secret_before = "whsec_a", again.before_until_ms = 99, again.after_seq = 0;
    c.hook = &again;
    assert_writes(&c, webhook_put);
    c.tenant = NULL;
    assert_reads(&c, webhook_list);
    assert_int_equal(c.count, 2);
    assert_string_equal(c.hooks[0].id, "whk_1");
    assert_string_equal(c.hooks[0].tenant, "default");
    assert_string_equal(c.hooks[0].url, "https://a.example/hook");
    assert_string_equal(c.hooks[0].secret, "whsec_b");
    assert_string_equal(c.hooks[0].secret_before, "whsec_a");
    assert_int_equal(c.hooks[0].before_until_ms, 99);
    assert_int_equal(c.hooks[0].statuses, 5);
    assert_int_equal(c.hooks[0].after_seq, 7); // where it began stays
    assert_null(c.hooks[1].secret_before);
    c.tenant = "shop";
    assert_reads(&c, webhook_list);
    assert_int_equal(c.count, 1);
    assert_string_equal(c.hooks[0].id, "whk_2");
    c.id = "whk_1"; // another tenant's
    assert_int_equal(write_code(&c, webhook_remove), ERR_NOT_FOUND);
    c.tenant = "default";
    assert_writes(&c, webhook_remove);
    assert_int_equal(write_code(&c, webhook_remove), ERR_NOT_FOUND);
    assert_reads(&c, webhook_list);
    assert_int_equal(c.count, 0);
}

static void put_delivery(struct fixture *f, const char *id, const char *item, int64_t not_before, int state)
{
    const struct meta_delivery row = {.id = id,
                                      .webhook = "whk_1",
                                      .tenant = "default",
                                      .item = item,
                                      .type = "t",
                                      .body = "{}",
                                      .state = (enum delivery_state)state,
                                      .not_before_ms = not_before,
                                      .created_ms = 1,
                                      .ended_ms = state >= DELIVERY_DELIVERED ? not_before : 0,
                                      .error = state == DELIVERY_DEAD ? "why" : NULL};
    struct call c = {.f = f, .delivery = &row};
    assert_writes(&c, delivery_put);
}

// What is due at `now`, as the ids one behind the other.
static const char *due(struct fixture *f, int64_t now)
{
    struct call c = {.f = f, .tenant = "default", .ms = now, .limit = 10};
    static char text[256];
    assert_reads(&c, delivery_due);
    text[0] = 0;
    for (size_t i = 0; i < c.count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", c.deliveries[i].id);
    return text;
}

static void end_delivery(struct fixture *f, const char *id, int state, int64_t at)
{
    struct call c = {.f = f, .tenant = "default", .id = id};
    assert_reads(&c, delivery_get);
    c.one.state = (enum delivery_state)state;
    c.one.attempts++;
    c.one.ended_ms = state >= DELIVERY_DELIVERED ? at : 0;
    c.one.not_before_ms = state >= DELIVERY_DELIVERED ? c.one.not_before_ms : at;
    c.one.status = 500;
    c.one.took_ms = 12;
    c.one.error = "no";
    c.delivery = &c.one;
    assert_writes(&c, delivery_settle);
}

static void deliveries_of_an_item_are_in_order(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f, .tenant = "default"};
    put_delivery(f, "m1", "a", 10, 0);
    put_delivery(f, "m2", "a", 10, 0);
    put_delivery(f, "m3", "b", 5, 0);
    put_delivery(f, "m4", "a", 10, 0);
    assert_string_equal(due(f, 4), "");
    assert_string_equal(due(f, 10), "m3 m1 ");
    assert_reads(&c, delivery_next);
    assert_int_equal(c.ms, 5);
    assert_reads(&c, delivery_waiting);
    assert_int_equal(c.number, 4);
    end_delivery(f, "m1", DELIVERY_WAITING, 30); // tried, and later again: the others of the item wait for it
    assert_string_equal(due(f, 10), "m3 ");
    assert_string_equal(due(f, 30), "m3 m1 ");
    end_delivery(f, "m1", DELIVERY_DELIVERED, 31);
    assert_string_equal(due(f, 31), "m3 m2 ");
    end_delivery(f, "m2", DELIVERY_DEAD, 32);
    assert_string_equal(due(f, 32), "m3 m4 ");
    c.id = "m1";
    assert_reads(&c, delivery_get);
    assert_int_equal(c.one.attempts, 2);
    assert_int_equal(c.one.state, DELIVERY_DELIVERED);
    assert_int_equal(c.one.status, 500);
    assert_int_equal(c.one.took_ms, 12);
    assert_string_equal(c.one.error, "no");
    c.tenant = "shop";
    assert_int_equal(read_code(&c, delivery_get), ERR_NOT_FOUND);
}

static void deliveries_begin_anew_and_go(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f, .tenant = "default", .state = -1, .limit = 2, .id = "m1", .ms = 50};
    put_delivery(f, "m1", "a", 10, 0);
    put_delivery(f, "m2", "a", 10, 0);
    put_delivery(f, "m3", "a", 10, DELIVERY_DEAD);
    assert_int_equal(write_code(&c, delivery_again), ERR_CONFLICT);
    end_delivery(f, "m1", DELIVERY_DEAD, 20);
    assert_writes(&c, delivery_again); // behind m2, which waits
    assert_string_equal(due(f, 100), "m2 ");
    end_delivery(f, "m2", DELIVERY_DELIVERED, 60);
    assert_string_equal(due(f, 100), "m1 ");
    assert_reads(&c, delivery_get);
    assert_int_equal(c.one.attempts, 0);
    assert_reads(&c, delivery_list);
    assert_int_equal(c.count, 2);
    assert_string_equal(c.deliveries[0].id, "m3");
    assert_string_equal(c.deliveries[0].error, "why");
    c.first = c.deliveries[1].num;
    assert_reads(&c, delivery_list);
    assert_int_equal(c.count, 1);
    assert_string_equal(c.deliveries[0].id, "m1");
    c.first = 0, c.state = DELIVERY_DEAD;
    assert_reads(&c, delivery_list);
    assert_int_equal(c.count, 1);
    c.ms = 60, c.limit = 10;
    assert_writes(&c, delivery_prune); // m3 ended at 10; m2 at 60, which is not before
    c.state = -1;
    assert_reads(&c, delivery_list);
    assert_int_equal(c.count, 2);
    c.id = "m9";
    assert_int_equal(write_code(&c, delivery_again), ERR_NOT_FOUND);
    const struct meta_webhook hook = {.id = "whk_1", .tenant = "default", .url = "u", .secret = "s"};
    c.hook = &hook, c.id = "whk_1";
    assert_writes(&c, webhook_put);
    assert_writes(&c, webhook_remove);
    assert_reads(&c, delivery_list);
    assert_int_equal(c.count, 0);
}

// ---- Messages

static struct meta_message text_message(const char *tenant, const char *id, const char *chat, int64_t sent_ms)
{
    return (struct meta_message){.id = id,
                                 .tenant = tenant,
                                 .chat = chat,
                                 .type = "text",
                                 .state = MESSAGE_READY,
                                 .content = "Hello",
                                 .metadata = "{}",
                                 .event_id = "evt_1",
                                 .sent_ms = sent_ms,
                                 .received_ms = 2,
                                 .updated_ms = 3};
}

static void put_message(struct fixture *f, const struct meta_message *row)
{
    struct call c = {.f = f, .message = row};
    assert_writes(&c, message_put);
}

static void messages_are_kept_and_replaced(void **state)
{
    struct fixture *f = *state;
    struct meta_message row = text_message("default", "m1", "a@s", 1000);
    put_message(f, &row);
    struct call c = {.f = f, .tenant = "default", .id = "m1"};
    assert_reads(&c, message_get);
    assert_string_equal(c.said.content, "Hello");
    assert_false(c.said.from_me);
    assert_null(c.said.target);
    assert_null(c.said.error_code);
    row.state = MESSAGE_FAILED, row.from_me = true, row.content = NULL, row.metadata = "{\"a\":1}", row.target = "m0";
    row.media_id = "img_1", row.reactions = "{\"b\":{}}", row.delivery = "read", row.edited_ms = 5, row.deleted_ms = 6;
    row.error_code = "TIMEOUT", row.error_message = "It took too long", row.event_id = "evt_2", row.chat = "b@s";
    row.sent_ms = 7, row.received_ms = 8, row.updated_ms = 9, row.type = "caf\xc3\xa9";
    put_message(f, &row);
    assert_reads(&c, message_get);
    const struct meta_message *m = &c.said;
    assert_int_equal(m->state, MESSAGE_FAILED);
    assert_true(m->from_me);
    assert_null(m->content);
    assert_string_equal(m->metadata, "{\"a\":1}");
    assert_string_equal(m->target, "m0");
    assert_string_equal(m->media_id, "img_1");
    assert_string_equal(m->reactions, "{\"b\":{}}");
    assert_string_equal(m->delivery, "read");
    assert_string_equal(m->error_code, "TIMEOUT");
    assert_string_equal(m->error_message, "It took too long");
    assert_string_equal(m->event_id, "evt_2");
    assert_string_equal(m->chat, "b@s");
    assert_string_equal(m->type, "caf\xc3\xa9");
    assert_int_equal(m->edited_ms, 5);
    assert_int_equal(m->deleted_ms, 6);
    assert_int_equal(m->sent_ms, 7);
    assert_int_equal(m->received_ms, 8);
    assert_int_equal(m->updated_ms, 9);
    c.id = "m2";
    assert_read_fails(&c, message_get, ERR_NOT_FOUND);
    c.id = "m1", c.tenant = "shop"; // another tenant's
    assert_read_fails(&c, message_get, ERR_NOT_FOUND);
    row.tenant = "shop", row.content = "theirs"; // the same id is another message there
    put_message(f, &row);
    c.tenant = "default";
    assert_reads(&c, message_get);
    assert_null(c.said.content);
}

static void assert_messages(struct fixture *f, const struct message_query *query, const char *ids)
{
    struct call c = {.f = f, .asked = query};
    char text[256] = "";
    assert_reads(&c, message_list);
    for (size_t i = 0; i < c.count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "", c.messages[i].id);
    assert_string_equal(text, ids);
}

static void g9_messages_go_with_their_tenant(void **state)
{
    struct fixture *f = *state;
    add_tenant(f, "shop");
    struct meta_message ours = text_message("default", "m1", "a@s", 1000),
                        theirs = text_message("shop", "m1", "a@s", 1000);
    put_message(f, &ours);
    put_message(f, &theirs);
    struct call c = {.f = f, .tenant = "shop", .id = "m1"};
    assert_reads(&c, message_get);
    assert_writes(&c, tenant_remove);
    add_tenant(f, "shop"); // another one
    assert_read_fails(&c, message_get, ERR_NOT_FOUND);
    c.tenant = "default";
    assert_reads(&c, message_get);
}

static void replies_to_somebody_are_forgotten(struct fixture *f);

static void g9_what_somebody_sent_is_found_and_removed(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *id, *chat, *sender;
    } rows[] = {
        {"m1", "a@s", "a@s"}, {"m2", "g@g", "a@s"}, {"m3", "g@g", "b@s"}, {"m4", "a@s", NULL}, {"m5", "b@s", "b@s"}};
    add_tenant(f, "shop");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct meta_message row = text_message("default", rows[i].id, rows[i].chat, (int64_t)i);
        row.sender = rows[i].sender;
        put_message(f, &row);
    }
    struct call c = {.f = f, .tenant = "default", .id = "m2", .text = "hash", .ms = 5};
    assert_reads(&c, message_get);
    assert_string_equal(c.said.sender, "a@s");
    assert_messages(f, &(struct message_query){.tenant = "default", .of = "a@s", .state = -1, .limit = 10}, "m4 m2 m1");
    assert_messages(f, &(struct message_query){.tenant = "default", .of = "a@s", .state = -1, .limit = 1}, "m4");
    assert_messages(f, &(struct message_query){.tenant = "shop", .of = "a@s", .state = -1, .limit = 10}, "");
    assert_writes(&c, message_remove);
    assert_writes(&c, message_remove);
    assert_messages(f, &(struct message_query){.tenant = "default", .of = "a@s", .state = -1, .limit = 10}, "m4 m1");
    assert_writes(&c, erased_put);
    assert_writes(&c, erased_put);
    assert_reads(&c, erased_get);
    assert_true(c.waits);
    c.tenant = "shop";
    assert_reads(&c, erased_get);
    assert_false(c.waits);
    c.tenant = "default", c.text = "other";
    assert_reads(&c, erased_get);
    assert_false(c.waits);
    replies_to_somebody_are_forgotten(f);
}

// ---- Workflows

static void put_workflow(struct fixture *f, const char *tenant, const char *id, const char *text)
{
    const struct meta_workflow row = {.id = id, .tenant = tenant, .text = text, .created_ms = 5};
    struct call c = {.f = f, .workflow = &row};
    assert_writes(&c, workflow_put);
}

static void workflows_are_kept_by_their_tenant(void **state)
{
    struct fixture *f = *state;
    add_tenant(f, "shop");
    put_workflow(f, "default", "wfl_2", "{}");
    put_workflow(f, "default", "wfl_1", "{\"name\":\"caf\xc3\xa9\"}");
    put_workflow(f, "shop", "wfl_1", "[]");
    put_workflow(f, "default", "wfl_2", "{\"a\":1}"); // replaced
    struct call c = {.f = f, .tenant = "default"};
    assert_reads(&c, workflow_list);
    assert_int_equal(c.count, 2);
    assert_string_equal(c.workflows[0].id, "wfl_1");
    assert_string_equal(c.workflows[0].text, "{\"name\":\"caf\xc3\xa9\"}");
    assert_string_equal(c.workflows[0].tenant, "default");
    assert_int_equal(c.workflows[0].created_ms, 5);
    assert_string_equal(c.workflows[1].text, "{\"a\":1}");
    c.id = "wfl_1";
    assert_writes(&c, workflow_remove);
    assert_write_fails(&c, workflow_remove, ERR_NOT_FOUND);
    assert_reads(&c, workflow_list);
    assert_int_equal(c.count, 1);
    c.tenant = "shop"; // its own is there still, until it goes
    assert_reads(&c, workflow_list);
    assert_int_equal(c.count, 1);
    assert_writes(&c, tenant_remove);
    add_tenant(f, "shop");
    assert_reads(&c, workflow_list);
    assert_int_equal(c.count, 0);
}

// ---- Replies

static struct meta_reply some_reply(const char *tenant, const char *id, int64_t not_before_ms)
{
    return (struct meta_reply){.id = id,
                               .tenant = tenant,
                               .channel = "whatsapp",
                               .message = "m1",
                               .chat = "a@s",
                               .sender = "a@s",
                               .what = "{}",
                               .not_before_ms = not_before_ms,
                               .created_ms = 5};
}

static void put_reply(struct fixture *f, const struct meta_reply *row)
{
    struct call c = {.f = f, .reply = row};
    assert_writes(&c, reply_put);
}

static struct meta_reply reply_of(struct fixture *f, const char *tenant, const char *id)
{
    struct call c = {.f = f, .tenant = tenant, .id = id};
    assert_reads(&c, reply_get);
    return c.answer;
}

static void replies_are_kept_and_replaced(void **state)
{
    struct fixture *f = *state;
    struct meta_reply row = some_reply("default", "rpl_1", 10);
    put_reply(f, &row);
    struct meta_reply found = reply_of(f, "default", "rpl_1");
    assert_null(found.item);
    assert_null(found.text);
    assert_null(found.workflow);
    assert_int_equal(found.state, REPLY_WAITING);
    row.workflow = "wfl_1", row.item = "img_1", row.state = REPLY_SENT, row.attempts = 3, row.begun_ms = 6;
    row.ended_ms = 7, row.text = "caf\xc3\xa9", row.sent_id = "wamid.1", row.error_code = "TIMEOUT", row.error = "why";
    row.what = "{\"a\":1}", row.chat = "b@g", row.channel = "email", row.message = "m2", row.sender = "c@s";
    put_reply(f, &row);
    found = reply_of(f, "default", "rpl_1");
    assert_string_equal(found.workflow, "wfl_1");
    assert_string_equal(found.item, "img_1");
    assert_string_equal(found.what, "{\"a\":1}");
    assert_string_equal(found.chat, "b@g");
    assert_string_equal(found.channel, "email");
    assert_string_equal(found.message, "m2");
    assert_string_equal(found.sender, "c@s");
    assert_string_equal(found.text, "caf\xc3\xa9");
    assert_string_equal(found.sent_id, "wamid.1");
    assert_string_equal(found.error_code, "TIMEOUT");
    assert_string_equal(found.error, "why");
    assert_int_equal(found.state, REPLY_SENT);
    assert_int_equal(found.attempts, 3);
    assert_int_equal(found.not_before_ms, 10);
    assert_int_equal(found.created_ms, 5);
    assert_int_equal(found.begun_ms, 6);
    assert_int_equal(found.ended_ms, 7);
    struct call c = {.f = f, .tenant = "shop", .id = "rpl_1"};
    assert_read_fails(&c, reply_get, ERR_NOT_FOUND);
}

static void assert_replies(struct fixture *f, const struct reply_query *query, const char *ids)
{
    struct call c = {.f = f, .wanted = query};
    char text[256] = "";
    assert_reads(&c, reply_list);
    for (size_t i = 0; i < c.count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "", c.replies[i].id);
    assert_string_equal(text, ids);
}

static void replies_are_listed_newest_first(void **state)
{
    struct fixture *f = *state;
    static const char *const ids[] = {"r1", "r2", "r3", "r4"};
    for (int i = 0; i < 4; i++) {
        struct meta_reply row = some_reply("default", ids[i], i);
        row.chat = i % 2 ? "b@s" : "a@s", row.message = i < 2 ? "m1" : "m2";
        row.state = i == 3 ? REPLY_DEAD : REPLY_WAITING;
        put_reply(f, &row);
    }
    struct meta_reply other = some_reply("shop", "r9", 0);
    put_reply(f, &other);
    struct reply_query q = {.tenant = "default", .state = -1, .limit = 10};
    assert_replies(f, &q, "r4 r3 r2 r1");
    q.limit = 2;
    assert_replies(f, &q, "r4 r3");
    q.before = reply_of(f, "default", "r3").num;
    assert_replies(f, &q, "r2 r1");
    q.before = 0, q.chat = "b@s";
    assert_replies(f, &q, "r4 r2");
    q.state = REPLY_DEAD;
    assert_replies(f, &q, "r4");
    q.state = -1, q.chat = NULL, q.message = "m1";
    assert_replies(f, &q, "r2 r1");
}

static void replies_to_somebody_are_forgotten(struct fixture *f)
{
    static const char *const ids[] = {"r1", "r2", "r3"};
    for (int i = 0; i < 3; i++) {
        struct meta_reply row = some_reply("default", ids[i], i);
        row.chat = i == 1 ? "g@g" : "a@s", row.sender = i == 2 ? "b@s" : "a@s";
        if (i == 2)
            row.chat = "g@g";
        put_reply(f, &row);
    }
    struct reply_query q = {.tenant = "default", .of = "a@s", .state = -1, .limit = 10};
    assert_replies(f, &q, "r2 r1");
    struct call c = {.f = f, .tenant = "default", .id = "a@s"};
    assert_writes(&c, reply_forget);
    assert_replies(f, &q, "");
    q.of = NULL;
    assert_replies(f, &q, "r3");
}

static bool claims(struct fixture *f, int64_t now_ms, const char *id)
{
    struct call due = {.f = f, .text = "whatsapp", .ms = now_ms},
                c = {.f = f, .text = "whatsapp", .ms = now_ms, .up_to = now_ms + 100};
    assert_reads(&due, reply_due);
    assert_writes(&c, reply_claim);
    assert_int_equal(c.waits, due.waits);
    if (c.waits)
        assert_string_equal(c.answer.id, id);
    return c.waits;
}

static void replies_are_claimed_when_they_are_due(void **state)
{
    struct fixture *f = *state;
    add_tenant(f, "shop");
    insert_sample(f, "default", "img_1");
    struct meta_reply late = some_reply("default", "r1", 50), early = some_reply("shop", "r2", 20),
                      item = some_reply("default", "r3", 10), mail = some_reply("default", "r4", 0);
    item.item = "img_1", mail.channel = "email";
    put_reply(f, &late);
    put_reply(f, &early);
    put_reply(f, &item);
    put_reply(f, &mail);
    assert_false(claims(f, 19, NULL)); // r3 waits for its item
    assert_true(claims(f, 50, "r2"));
    assert_true(claims(f, 50, "r1"));
    assert_false(claims(f, 51, NULL)); // they are claimed
    assert_true(claims(f, 150, "r1")); // … and so long only
    set_status(f, "img_1", MEDIA_PROCESSING);
    assert_true(claims(f, 151, "r2"));
    assert_false(claims(f, 152, NULL));
    set_status(f, "img_1", MEDIA_COMPLETED);
    assert_true(claims(f, 152, "r3"));
    item.item = "img_gone", item.id = "r5"; // there is none such
    put_reply(f, &item);
    assert_true(claims(f, 153, "r5"));
}

static void replies_are_lost_and_cancelled(void **state)
{
    struct fixture *f = *state;
    struct meta_reply sending = some_reply("default", "r1", 0), waiting = some_reply("default", "r2", 0),
                      other = some_reply("default", "r3", 0), mail = some_reply("default", "r4", 0);
    sending.state = REPLY_SENDING, sending.begun_ms = 30;
    other.sender = "b@s", mail.channel = "email";
    put_reply(f, &sending);
    put_reply(f, &waiting);
    put_reply(f, &other);
    put_reply(f, &mail);
    struct call c = {.f = f, .up_to = 30, .ms = 90, .text = "why"};
    assert_writes(&c, reply_lost);
    assert_int_equal(reply_of(f, "default", "r1").state, REPLY_SENDING);
    c.up_to = 31;
    assert_writes(&c, reply_lost);
    struct meta_reply lost = reply_of(f, "default", "r1");
    assert_int_equal(lost.state, REPLY_UNCERTAIN);
    assert_int_equal(lost.ended_ms, 90);
    assert_string_equal(lost.error, "why");
    c.tenant = "default", c.id = "a@s", c.ms = 95, c.text = "stopped";
    assert_writes(&c, reply_cancel);
    struct meta_reply dead = reply_of(f, "default", "r2");
    assert_int_equal(dead.state, REPLY_DEAD);
    assert_int_equal(dead.ended_ms, 95);
    assert_string_equal(dead.error, "stopped");
    assert_int_equal(reply_of(f, "default", "r1").state, REPLY_UNCERTAIN);
    assert_int_equal(reply_of(f, "default", "r3").state, REPLY_WAITING);
    assert_int_equal(reply_of(f, "default", "r4").state, REPLY_WAITING); // nobody who stopped gets that
}

static void optouts_hold_until_they_are_removed(void **state)
{
    struct fixture *f = *state;
    add_tenant(f, "shop");
    struct call c = {.f = f, .tenant = "default", .id = "a@s", .ms = 10};
    assert_writes(&c, optout_put);
    c.ms = 20;
    assert_writes(&c, optout_put); // since the first time
    assert_reads(&c, optout_get);
    assert_int_equal(c.ms, 10);
    c.tenant = "shop";
    assert_reads(&c, optout_get);
    assert_int_equal(c.ms, 0);
    c.ms = 30;
    assert_writes(&c, optout_put);
    struct meta_reply row = some_reply("shop", "r1", 0);
    put_reply(f, &row);
    assert_writes(&c, tenant_remove);
    add_tenant(f, "shop"); // another one
    assert_reads(&c, optout_get);
    assert_int_equal(c.ms, 0);
    c.id = "r1";
    assert_read_fails(&c, reply_get, ERR_NOT_FOUND);
    c.tenant = "default", c.id = "a@s";
    assert_writes(&c, optout_remove);
    assert_writes(&c, optout_remove);
    assert_reads(&c, optout_get);
    assert_int_equal(c.ms, 0);
}

static void assert_waiting(struct fixture *f, struct call *c, const char *ids)
{
    char text[200] = "";
    assert_reads(c, message_waiting);
    for (size_t i = 0; i < c->count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "", c->messages[i].id);
    assert_string_equal(text, ids);
}

static void messages_wait_in_the_order_in_which_they_came(void **state)
{
    struct fixture *f = *state;
    add_tenant(f, "shop");
    for (int i = 0; i < 6; i++) { // in each state; what was sent last came first
        char id[8];
        snprintf(id, sizeof id, "m%d", i);
        struct meta_message row = text_message("default", id, "a@s", 100 - i);
        row.state = (enum message_state)i;
        put_message(f, &row);
        row = text_message("shop", id, "a@s", 100 - i);
        put_message(f, &row);
    }
    struct call c = {.f = f, .tenant = "default", .limit = 2};
    assert_waiting(f, &c, "m1 m2");
    struct meta_message row = text_message("default", "m1", "a@s", 500); // keeps its place
    put_message(f, &row);
    assert_waiting(f, &c, "m3");
    assert_waiting(f, &c, "");
    c.first = 0;
    c.limit = 10;
    assert_waiting(f, &c, "m1 m2 m3");
}

static void messages_are_listed_newest_first(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *id, *chat, *type;
        enum message_state state;
        int64_t sent_ms;
    } rows[] = {{"m1", "a@s", "text", MESSAGE_PROCESSED, 10},
                {"m2", "b@s", "text", MESSAGE_FAILED, 30},
                {"m3", "a@s", "image", MESSAGE_PROCESSED, 20},
                {"m4", "a@s", "text", MESSAGE_READY, 20}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct meta_message row = text_message("default", rows[i].id, rows[i].chat, rows[i].sent_ms);
        row.type = rows[i].type, row.state = rows[i].state;
        put_message(f, &row);
    }
    struct meta_message other = text_message("shop", "m5", "a@s", 15);
    put_message(f, &other);
    struct message_query q = {.tenant = "default", .state = -1, .limit = 10};
    assert_messages(f, &q, "m2 m4 m3 m1");
    q.limit = 2;
    assert_messages(f, &q, "m2 m4");
    q.before_ms = 20, q.before_id = "m4", q.limit = 10;
    assert_messages(f, &q, "m3 m1");
    q = (struct message_query){.tenant = "default", .state = -1, .limit = 10, .chat = "a@s"};
    assert_messages(f, &q, "m4 m3 m1");
    q.before_ms = 20, q.before_id = "m3";
    assert_messages(f, &q, "m1");
    q = (struct message_query){.tenant = "default", .state = MESSAGE_PROCESSED, .limit = 10};
    assert_messages(f, &q, "m3 m1");
    q.type = "text";
    assert_messages(f, &q, "m1");
    q = (struct message_query){.tenant = "default", .state = -1, .limit = 10, .from_ms = 20, .to_ms = 30};
    assert_messages(f, &q, "m4 m3");
    q.tenant = "shop", q.from_ms = q.to_ms = 0;
    assert_messages(f, &q, "m5");
}

static int insert_and_fail(struct meta_tx *tx, void *arg, struct error *err)
{
    return insert(tx, arg, err) < 0 ? -1 : error_set(err, ERR_INJECTED, "on purpose");
}

static void changes_take_part_in_transactions_and_are_told(void **state)
{
    struct fixture *f = *state;
    struct media row = sample("default", "a");
    struct call c = {.f = f, .row = &row};
    atomic_int told = 0;
    assert_write_fails(&c, insert_and_fail, ERR_INJECTED);
    list_changes(&c, 0, 1);
    assert_int_equal(c.count, 0);
    f->meta.ops->change_watch(f->meta.state, count_told, &told);
    assert_writes(&c, insert);
    assert_int_equal(told, 1); // before the write returned
    put_setting(f, "other", "1");
    assert_int_equal(told, 1);
    f->meta.ops->change_watch(f->meta.state, NULL, NULL);
    set_status(f, "a", MEDIA_COMPLETED);
    assert_int_equal(told, 1);
}

static void a_retry_taken_in_vain_is_there_again(void **state)
{
    struct fixture *f = *state;
    struct meta_retry retry = {.not_before_ms = 1, .topic = "t", .key = "k", .value = "", .value_len = 0};
    struct call c = {.f = f, .retry = &retry};
    assert_writes(&c, retry_put);
    c.ms = 5, c.limit = 5;
    assert_write_fails(&c, take_and_fail, ERR_INJECTED);
    assert_writes(&c, retry_take);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.retries[0].value_len, 0);
}

static void settings_are_put_and_replaced(void **state)
{
    struct fixture *f = *state;
    assert_null(setting(f, "a"));
    put_setting(f, "a", "1");
    put_setting(f, "a", "2");
    put_setting(f, "b", "");
    assert_string_equal(setting(f, "a"), "2");
    assert_string_equal(setting(f, "b"), "");
    close_store(f);
    open_store(f);
    assert_string_equal(setting(f, "a"), "2");
}

// ---- Transactions.

static int fail_after_writing(struct meta_tx *tx, void *arg, struct error *err)
{
    if (setting_put(tx, arg, err) < 0)
        return -1;
    error_set(err, ERR_EXTRACTION_TIMEOUT, "my very own words");
    err->outage = true;
    return -1;
}

static void an_error_is_returned_as_it_is(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f, .id = "a", .text = "1"};
    struct error err = {0};
    assert_int_equal(f->meta.ops->write(f->meta.state, META_SYNCED, fail_after_writing, &c, &err), -1);
    assert_int_equal(err.code, ERR_EXTRACTION_TIMEOUT);
    assert_string_equal(err.message, "my very own words");
    assert_true(err.outage);
    assert_null(setting(f, "a"));
    assert_int_equal(f->meta.ops->write(f->meta.state, META_SYNCED, fail_after_writing, &c, NULL), -1);
}

static void writes_fail_in_a_read(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f, .id = "a", .text = "1"};
    assert_int_not_equal(read_code(&c, setting_put), ERR_NONE);
    assert_null(setting(f, "a"));
}

// Holds the writer until it is let go, so that what is submitted meanwhile makes one group.
struct gate {
    sem_t entered, go;
};

static int hold(struct meta_tx *tx, void *arg, struct error *err)
{
    struct gate *gate = arg;
    sem_post(&gate->entered);
    while (sem_wait(&gate->go) < 0)
        ;
    return 0;
}

struct tally {
    atomic_int ok, failed;
    enum error_code last;
};

static void count_done(void *arg, const struct error *err)
{
    struct tally *tally = arg;
    if (err)
        tally->last = err->code;
    atomic_fetch_add(err ? &tally->failed : &tally->ok, 1);
}

static void ignore_done(void *arg, const struct error *err)
{
}

static void gate_close(struct fixture *f, struct gate *gate)
{
    sem_init(&gate->entered, 0, 0);
    sem_init(&gate->go, 0, 0);
    f->meta.ops->write_async(f->meta.state, META_RELAXED, hold, gate, ignore_done, NULL);
    while (sem_wait(&gate->entered) < 0)
        ;
}

static void a_failing_function_does_not_touch_its_neighbours(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 100 };
    struct call calls[COUNT];
    char names[COUNT][16];
    struct tally good = {0}, bad = {0};
    struct gate gate;
    gate_close(f, &gate);
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "n%d", i);
        calls[i] = (struct call){.f = f, .id = names[i], .text = "1"};
        bool fails = i % 3 == 1;
        f->meta.ops->write_async(f->meta.state, i % 2 ? META_SYNCED : META_RELAXED,
                                 fails ? fail_after_writing : setting_put, &calls[i], count_done, fails ? &bad : &good);
    }
    sem_post(&gate.go);
    put_setting(f, "last", "1"); // in order: everything before it is done
    assert_int_equal(good.ok, 67);
    assert_int_equal(good.failed, 0);
    assert_int_equal(bad.ok, 0);
    assert_int_equal(bad.failed, 33);
    assert_int_equal(bad.last, ERR_EXTRACTION_TIMEOUT);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(setting(f, names[i]) != NULL, i % 3 != 1);
}

static void an_async_write_is_told_exactly_once_also_at_close(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 3000 }; // more than the queue holds
    struct tally tally = {0};
    struct call c = {.f = f, .id = "a", .text = "1"}, failing = {.f = f, .id = "b", .text = "1"};
    for (int i = 0; i < COUNT; i++)
        f->meta.ops->write_async(f->meta.state, META_RELAXED, i % 10 ? setting_put : fail_after_writing,
                                 i % 10 ? &c : &failing, count_done, &tally);
    close_store(f);
    assert_int_equal(tally.ok, COUNT - COUNT / 10);
    assert_int_equal(tally.failed, COUNT / 10);
    open_store(f);
    assert_string_equal(setting(f, "a"), "1");
    assert_null(setting(f, "b"));
}

struct chain {
    struct call call;
    struct tally *tally;
    int left;
};

static void submit_next(void *arg, const struct error *err)
{
    struct chain *chain = arg;
    count_done(chain->tally, err);
    if (chain->left-- > 0)
        chain->call.f->meta.ops->write_async(chain->call.f->meta.state, META_RELAXED, setting_put, &chain->call,
                                             submit_next, chain);
}

static void a_done_may_submit_the_next(void **state)
{
    struct fixture *f = *state;
    struct tally tally = {0};
    struct chain chain = {.call = {.f = f, .id = "a", .text = "1"}, .tally = &tally, .left = 50};
    submit_next(&chain, NULL);
    close_store(f);
    assert_int_equal(tally.ok, 51);
}

// ---- Threads.

enum { WRITERS = 8, WRITES = 250 };

struct worker {
    struct fixture *f;
    int number;
    int errors;
};

// Adds one to the setting "sum": a lost update would be seen.
static int add_one(struct meta_tx *tx, void *arg, struct error *err)
{
    struct worker *w = arg;
    const struct meta_ops *ops = w->f->meta.ops;
    _cleanup_arena_ struct arena arena = {0};
    const char *value = "0";
    char next[32];
    struct error missing;
    if (ops->setting_get(tx, &arena, "sum", &value, &missing) < 0 && missing.code != ERR_NOT_FOUND)
        return error_copy(err, &missing);
    snprintf(next, sizeof next, "%ld", atol(value) + 1);
    return ops->setting_put(tx, "sum", next, err);
}

static int read_own(struct meta_tx *tx, void *arg, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    const char *value;
    struct worker *w = arg;
    return w->f->meta.ops->setting_get(tx, &arena, "sum", &value, err);
}

static void *write_much(void *arg)
{
    struct worker *w = arg;
    const struct meta *meta = &w->f->meta;
    for (int i = 0; i < WRITES; i++) {
        enum meta_durability durability = i % 5 ? META_RELAXED : META_SYNCED;
        w->errors += meta->ops->write(meta->state, durability, add_one, w, NULL) != 0;
        if (i % 10 == 0)
            w->errors += meta->ops->read(meta->state, read_own, w, NULL) != 0;
    }
    return NULL;
}

static void many_threads_write_without_losing_an_update(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[WRITERS];
    struct worker workers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        workers[i] = (struct worker){.f = f, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_much, &workers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].errors, 0);
    }
    assert_int_equal(atol(setting(f, "sum")), WRITERS * WRITES);
}

static void a_read_sees_what_was_written_before_it(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 200; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        put_setting(f, "n", text);
        assert_string_equal(setting(f, "n"), text);
    }
}

static int read_twice(struct meta_tx *tx, void *arg, struct error *err)
{
    struct call *c = arg;
    if (setting_get(tx, arg, err) < 0)
        return -1;
    const char *before = c->value;
    struct call other = {.f = c->f, .id = c->id, .text = "new"};
    if (c->f->meta.ops->write(c->f->meta.state, META_RELAXED, setting_put, &other, err) < 0)
        return -1;
    if (setting_get(tx, arg, err) < 0)
        return -1;
    return strcmp(before, c->value) == 0 ? 0 : error_set(err, ERR_CONFLICT, "the snapshot moved");
}

static void a_read_is_one_snapshot(void **state)
{
    struct fixture *f = *state;
    put_setting(f, "a", "old");
    struct call c = {.f = f, .id = "a"};
    assert_reads(&c, read_twice);
    assert_string_equal(c.value, "old");
    assert_string_equal(setting(f, "a"), "new");
}

// ---- G1: what was answered survives the death of the process. The child is this program again.

static int put_number(struct meta_tx *tx, void *arg, struct error *err)
{
    char name[32];
    snprintf(name, sizeof name, "n%d", *(const int *)arg);
    return backend->ops->setting_put(tx, name, "1", err);
}

struct reporter {
    void *state;
    enum meta_durability durability;
    atomic_int *next;
};

static void *write_and_report(void *arg)
{
    struct reporter *r = arg;
    for (;;) {
        int number = atomic_fetch_add(r->next, 1);
        if (backend->ops->write(r->state, r->durability, put_number, &number, NULL) < 0 ||
            write(STDOUT_FILENO, &number, sizeof number) != sizeof number)
            _exit(1);
    }
}

static int child_main(const char *location, enum meta_durability durability, int from)
{
    void *state;
    atomic_int next = from;
    if (backend->ops->open(location, &state, NULL) < 0)
        return 1;
    struct reporter reporter = {state, durability, &next};
    pthread_t thread;
    for (int i = 0; i < 3; i++)
        if (pthread_create(&thread, NULL, write_and_report, &reporter) != 0)
            return 1;
    write_and_report(&reporter);
    return 0;
}

static pid_t start_child(const struct fixture *f, enum meta_durability durability, int from, int *out)
{
    int pipes[2];
    char which[16], synced[16], first[16];
    snprintf(which, sizeof which, "%d", (int)(backend - backends));
    snprintf(synced, sizeof synced, "%d", (int)durability);
    snprintf(first, sizeof first, "%d", from);
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        execl("/proc/self/exe", "child", "--child", which, f->location, synced, first, (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    *out = pipes[0];
    return pid;
}

// Lets a child write, kills it, and checks what it had reported. Returns the number after the highest.
static int kill_one(struct fixture *f, enum meta_durability durability, int from)
{
    static int reported[1 << 20];
    int out, count = 0, highest = from;
    unsigned char dice;
    assert_int_equal(getrandom(&dice, 1, 0), 1);
    pid_t pid = start_child(f, durability, from, &out);
    for (int number; count < 1 << 20 && read(out, &number, sizeof number) == sizeof number;) {
        reported[count++] = number;
        if (count == 1 + dice)
            kill(pid, SIGKILL); // and read on: what is in the pipe was answered
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(out);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_true(count > dice);
    open_store(f);
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%d", reported[i]);
        if (!setting(f, name))
            fail_msg("number %d was answered and is lost", reported[i]);
        highest = reported[i] > highest ? reported[i] : highest;
    }
    close_store(f);
    return highest + 16; // beyond those that were under way
}

static void g1_a_killed_process_loses_nothing_that_was_answered(void **state)
{
    struct fixture *f = *state;
    close_store(f);
    int from = 0;
    for (int round = 0; round < 6; round++)
        from = kill_one(f, META_SYNCED, from);
    for (int round = 0; round < 3; round++)
        from = kill_one(f, META_RELAXED, from);
}

// ----

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
    T(the_default_tenant_is_always_there),
    T(tenants_are_added_once_and_listed_by_name),
    T(a_tenant_leaves_and_is_no_more),
    T(names_of_tenants_are_checked),
    T(slugs_are_short_and_unique),
    T(a_row_comes_back_as_it_went_in),
    T(an_id_is_taken_once),
    T(g7_tenants_are_walls),
    T(g3_a_status_only_moves_forward),
    T(an_update_changes_what_it_names),
    T(the_oldest_living_item_of_a_hash_is_found),
    T(a_list_is_newest_first_and_pages_without_gaps),
    T(a_list_is_filtered),
    T(details_are_kept_with_their_item),
    T(g7_details_of_another_tenant_do_not_exist),
    T(look_alikes_are_in_one_group),
    T(groups_that_meet_become_one),
    T(each_model_has_its_groups),
    T(an_item_leaves_unless_it_was_joined_since),
    T(g9_what_goes_leaves_its_group),
    T(g7_look_alikes_of_others_are_not_there),
    T(an_update_says_what_an_item_resembles),
    T(steps_are_kept_by_step_and_model),
    T(g2_the_ledger_closes_whatever_happens),
    T(the_ledger_counts_each_state),
    T(frames_are_listed_by_their_times),
    T(g7_frames_of_others_are_not_there),
    T(frames_are_waited_for_until_the_last_has_ended),
    T(g2_frames_are_part_of_their_video),
    T(lists_are_of_uploads_unless_frames_are_asked_for),
    T(a_video_keeps_what_is_known_of_it),
    T(g6_a_beginning_can_be_taken_back),
    T(g3_a_finished_event_is_done_for_ever),
    T(g3_an_attempt_ends_once),
    T(g5_beginnings_without_end_are_counted_across_a_death),
    T(a_later_end_closes_earlier_attempts),
    T(an_end_that_is_rolled_back_has_not_happened),
    T(an_event_can_be_forgotten),
    T(the_inbox_is_pruned_of_what_ended),
    T(retries_are_taken_when_due_and_once),
    T(a_retry_taken_in_vain_is_there_again),
    T(the_outbox_is_read_in_order_and_removed),
    T(the_outbox_goes_on_behind_what_was_read_since_it_was_opened),
    T(the_outbox_takes_part_in_transactions_and_tells),
    T(every_change_of_a_state_is_recorded_in_order),
    T(old_changes_go_and_numbers_grow),
    T(changes_take_part_in_transactions_and_are_told),
    T(a_deletion_under_way_becomes_its_receipt),
    T(receipts_are_listed_the_latest_first),
    T(messages_are_kept_and_replaced),
    T(g9_messages_go_with_their_tenant),
    T(messages_are_listed_newest_first),
    T(g9_what_somebody_sent_is_found_and_removed),
    T(workflows_are_kept_by_their_tenant),
    T(a_run_is_open_until_it_ends),
    T(runs_are_listed_the_latest_first_and_go),
    T(tidying_comes_to_its_end_and_changes_nothing),
    T(replies_are_kept_and_replaced),
    T(replies_are_listed_newest_first),
    T(replies_are_claimed_when_they_are_due),
    T(replies_are_lost_and_cancelled),
    T(optouts_hold_until_they_are_removed),
    T(messages_wait_in_the_order_in_which_they_came),
    T(webhooks_are_kept),
    T(deliveries_of_an_item_are_in_order),
    T(deliveries_begin_anew_and_go),
    T(settings_are_put_and_replaced),
    T(an_error_is_returned_as_it_is),
    T(writes_fail_in_a_read),
    T(a_failing_function_does_not_touch_its_neighbours),
    T(an_async_write_is_told_exactly_once_also_at_close),
    T(a_done_may_submit_the_next),
    T(many_threads_write_without_losing_an_update),
    T(a_read_sees_what_was_written_before_it),
    T(a_read_is_one_snapshot),
    T(g1_a_killed_process_loses_nothing_that_was_answered),
};

static int run(void)
{
    char name[64];
    snprintf(name, sizeof name, "%s, %s", backend->ops->name, variant->name);
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

// Those whose server is given; without one, those that need none.
static bool wanted(const struct backend *which)
{
    bool given = false;
    for (size_t i = 0; i < ARRAY_LEN(backends); i++)
        given |= backends[i].server && getenv(backends[i].server);
    return which->server ? getenv(which->server) != NULL : !given;
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "--child") == 0) {
        backend = &backends[atoi(argv[2])];
        return child_main(argv[3], (enum meta_durability)atoi(argv[4]), atoi(argv[5]));
    }
    int failed = 0;
    log_setup(LOG_OFF, false);
    for (size_t i = 0; i < ARRAY_LEN(backends) * ARRAY_LEN(variants); i++) {
        backend = &backends[i / ARRAY_LEN(variants)];
        variant = &variants[i % ARRAY_LEN(variants)];
        if (wanted(backend))
            failed += run();
    }
    return failed != 0;
}
