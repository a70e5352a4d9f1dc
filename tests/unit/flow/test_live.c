// SPDX-License-Identifier: Apache-2.0
// Following changes: in order, once, from where one was; whoever has no room is passed over and misses nothing.
#include <stdio.h>
#include <string.h>

#include "base/js.h"
#include "flow/live.h"
#include "rig.h"

enum { SEEN_MAX = 4096, DAY_MS = 86400000 };

struct follower {
    struct live_follower *handle;
    pthread_mutex_t lock; // guards what follows
    size_t room;
    size_t refused;
    size_t count;
    int64_t seqs[SEEN_MAX];
    char ids[SEEN_MAX][ID_MAX];
    int statuses[SEEN_MAX];
    json_t *last, *event;
    int64_t beat;
};

struct told {
    struct rig *rig;
    struct live *live;
    struct follower one, two;
};

static bool take(void *arg, const struct live_change *change)
{
    struct follower *x = arg;
    pthread_mutex_lock(&x->lock);
    bool room = x->room > 0 && x->count < SEEN_MAX;
    if (room) {
        x->room--;
        x->seqs[x->count] = change->seq;
        snprintf(x->ids[x->count], ID_MAX, "%s", change->id);
        x->statuses[x->count++] = change->status;
        json_decref(x->last);
        x->last = js_parse(change->json, strlen(change->json), NULL);
        json_decref(x->event);
        x->event = change->event ? js_parse(change->event, strlen(change->event), NULL) : NULL;
    } else {
        x->refused++;
    }
    pthread_mutex_unlock(&x->lock);
    return room;
}

static void beat(void *arg, int64_t seq)
{
    struct follower *x = arg;
    pthread_mutex_lock(&x->lock);
    x->beat = seq;
    pthread_mutex_unlock(&x->lock);
}

#define LOCKED(name, type, field)                                                                                      \
    static type name(struct follower *x)                                                                               \
    {                                                                                                                  \
        pthread_mutex_lock(&x->lock);                                                                                  \
        type value = x->field;                                                                                         \
        pthread_mutex_unlock(&x->lock);                                                                                \
        return value;                                                                                                  \
    }
LOCKED(seen, size_t, count)
LOCKED(refused, size_t, refused)
LOCKED(beaten, int64_t, beat)

static void give_room(struct told *t, struct follower *x, size_t room)
{
    pthread_mutex_lock(&x->lock);
    x->room = room;
    pthread_mutex_unlock(&x->lock);
    live_more(t->live);
}

static const struct live_ops ops = {.take = take, .beat = beat};

static bool follow(struct told *t, struct follower *x, const char *tenant, int64_t since, int64_t *seq)
{
    bool gap = false;
    int64_t begin = -1;
    must(live_follow(t->live, tenant, since, &ops, x, &x->handle, &begin, &gap, err));
    if (seq)
        *seq = begin;
    return gap;
}

static int setup(void **state)
{
    struct told *t = calloc(1, sizeof *t);
    pthread_mutex_init(&t->one.lock, NULL);
    pthread_mutex_init(&t->two.lock, NULL);
    t->rig = rig_new(NULL);
    must(live_start(&t->rig->flow, DAY_MS, &t->live, err));
    *state = t;
    return 0;
}

static void leave(struct follower *x)
{
    live_leave(take_ptr(x->handle));
}

static int teardown(void **state)
{
    struct told *t = *state;
    leave(&t->one);
    leave(&t->two);
    live_stop(t->live);
    rig_free(t->rig);
    json_decref(t->one.last);
    json_decref(t->one.event);
    json_decref(t->two.last);
    json_decref(t->two.event);
    pthread_mutex_destroy(&t->one.lock);
    pthread_mutex_destroy(&t->two.lock);
    free(t);
    return 0;
}

struct change { // one that a transaction makes
    struct rig *rig;
    const char *tenant, *id;
    struct media_patch patch;
};

static int update_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct change *c = arg;
    return c->rig->meta.ops->media_update(tx, c->tenant, c->id, &c->patch, err);
}

static void set_status(struct told *t, const char *tenant, const char *id, enum media_status status)
{
    struct change c = {t->rig, tenant, id, {.set_status = true, .status = status}};
    if (status == MEDIA_FAILED)
        c.patch.error_code = "IMAGE_CORRUPT", c.patch.error_message = "It cannot be decoded";
    must(t->rig->meta.ops->write(t->rig->meta.state, META_RELAXED, update_tx, &c, err));
}

static void assert_seen(struct follower *x, size_t at, const char *id, int status)
{
    assert_true(at < x->count);
    assert_string_equal(x->ids[at], id);
    assert_int_equal(x->statuses[at], status);
    if (at)
        assert_true(x->seqs[at] > x->seqs[at - 1]);
}

static void test_what_comes_is_told_in_order_and_once(void **state)
{
    struct told *t = *state;
    char id[ID_MAX];
    follow(t, &t->one, "default", -1, NULL);
    give_room(t, &t->one, 100);
    rig_item(t->rig, 1, id);
    set_status(t, "default", id, MEDIA_PROCESSING);
    set_status(t, "default", id, MEDIA_PROCESSING); // no change
    set_status(t, "default", id, MEDIA_FAILED);
    wait_for(seen(&t->one) == 3);
    assert_seen(&t->one, 0, id, MEDIA_UPLOADED);
    assert_seen(&t->one, 1, id, MEDIA_PROCESSING);
    assert_seen(&t->one, 2, id, MEDIA_FAILED);
    assert_string_equal(js_str(t->one.last, "status", ""), "failed");
    assert_string_equal(js_str(t->one.last, "errorCode", ""), "IMAGE_CORRUPT");
    assert_string_equal(js_str(t->one.event, "eventType", ""), "processing.failed");
    assert_int_equal(js_int(t->one.last, "seq", 0), t->one.seqs[2]);
}

static void test_who_comes_back_gets_what_was_missed(void **state)
{
    struct told *t = *state;
    char a[ID_MAX], b[ID_MAX];
    follow(t, &t->one, "default", -1, NULL);
    give_room(t, &t->one, 100);
    rig_item(t->rig, 1, a);
    wait_for(seen(&t->one) == 1);
    leave(&t->one);
    assert_int_equal(live_followers(t->live), 0);
    set_status(t, "default", a, MEDIA_PROCESSING);
    rig_item(t->rig, 2, b);
    assert_false(follow(t, &t->one, "default", t->one.seqs[0], NULL));
    live_more(t->live);
    wait_for(seen(&t->one) == 3);
    assert_seen(&t->one, 1, a, MEDIA_PROCESSING);
    assert_seen(&t->one, 2, b, MEDIA_UPLOADED);
    wait_for(beaten(&t->one) == t->one.seqs[2]); // it is told that this was all
}

static void test_who_has_no_room_is_passed_over_and_misses_nothing(void **state)
{
    enum { ITEMS = 600 }; // more than is read at once
    struct told *t = *state;
    static char ids[ITEMS][ID_MAX];
    follow(t, &t->one, "default", -1, NULL);
    follow(t, &t->two, "default", -1, NULL);
    give_room(t, &t->one, 2);
    give_room(t, &t->two, SEEN_MAX);
    for (int i = 0; i < ITEMS; i++)
        rig_item(t->rig, i, ids[i]);
    wait_for(seen(&t->two) == ITEMS); // whatever the other one does
    wait_for(refused(&t->one) > 0);
    size_t tries = refused(&t->one);
    assert_int_equal(seen(&t->one), 2);
    give_room(t, &t->one, 1);
    wait_for(refused(&t->one) > tries);
    assert_int_equal(seen(&t->one), 3);
    give_room(t, &t->one, SEEN_MAX);
    wait_for(seen(&t->one) == ITEMS);
    for (size_t i = 0; i < ITEMS; i++) {
        assert_seen(&t->one, i, ids[i], MEDIA_UPLOADED);
        assert_seen(&t->two, i, ids[i], MEDIA_UPLOADED);
    }
}

static int add_tenant_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    return ((struct rig *)arg)->meta.ops->tenant_add(tx, "other", err);
}

static void test_g7_a_follower_hears_of_its_tenant_alone(void **state)
{
    struct told *t = *state;
    char mine[ID_MAX], theirs[ID_MAX];
    must(t->rig->meta.ops->write(t->rig->meta.state, META_RELAXED, add_tenant_tx, t->rig, err));
    follow(t, &t->one, "default", -1, NULL);
    follow(t, &t->two, "other", -1, NULL);
    give_room(t, &t->one, 100);
    give_room(t, &t->two, 100);
    rig_item_of(t->rig, "other", 1, NULL, theirs);
    rig_item(t->rig, 2, mine);
    wait_for(seen(&t->one) == 1 && seen(&t->two) == 1);
    assert_seen(&t->one, 0, mine, MEDIA_UPLOADED);
    assert_seen(&t->two, 0, theirs, MEDIA_UPLOADED);
    int64_t seq;
    bool gap;
    struct live_follower *nobody = NULL;
    must_fail(ERR_TENANT_UNKNOWN, live_follow(t->live, "nobody", -1, &ops, t, &nobody, &seq, &gap, err));
    struct live_change now;
    _cleanup_arena_ struct arena arena = {0};
    must_fail(ERR_NOT_FOUND, live_now(t->live, &arena, "default", theirs, &now, err));
    must(live_now(t->live, &arena, "other", theirs, &now, err));
    assert_int_equal(now.status, MEDIA_UPLOADED);
}

static int prune_tx(struct meta_tx *tx, void *arg, struct error *err)
{
    return ((struct rig *)arg)->meta.ops->change_prune(tx, INT64_MAX, INT64_MAX, 1000, err);
}

static void test_a_gap_is_said(void **state)
{
    struct told *t = *state;
    char id[ID_MAX];
    int64_t seq, last;
    assert_false(follow(t, &t->one, "default", 0, &seq)); // nothing was ever there
    leave(&t->one);
    for (int i = 0; i < 5; i++)
        rig_item(t->rig, i, id);
    follow(t, &t->one, "default", -1, &last);
    leave(&t->one);
    assert_false(follow(t, &t->one, "default", 0, &seq)); // everything is kept
    assert_int_equal(seq, 0);
    leave(&t->one);
    must(t->rig->meta.ops->write(t->rig->meta.state, META_RELAXED, prune_tx, t->rig, err));
    assert_true(follow(t, &t->one, "default", 0, &seq));
    assert_int_equal(seq, last - 1); // the last one stays
    leave(&t->one);
    assert_true(follow(t, &t->one, "default", last + 1, &seq)); // never given
    assert_int_equal(seq, last);
    leave(&t->one);
    assert_false(follow(t, &t->one, "default", last, &seq));
}

static void test_numbers_go_on_after_a_restart(void **state)
{
    struct told *t = *state;
    char a[ID_MAX], b[ID_MAX];
    follow(t, &t->one, "default", -1, NULL);
    give_room(t, &t->one, 100);
    rig_item(t->rig, 1, a);
    wait_for(seen(&t->one) == 1);
    leave(&t->one);
    live_stop(t->live);
    rig_reopen(t->rig, NULL);
    must(live_start(&t->rig->flow, DAY_MS, &t->live, err));
    assert_false(follow(t, &t->one, "default", t->one.seqs[0], NULL));
    live_more(t->live);
    wait_for(beaten(&t->one) > t->one.seqs[0]); // nothing happened meanwhile, and that is said, too
    rig_item(t->rig, 2, b);
    wait_for(seen(&t->one) == 2);
    assert_seen(&t->one, 1, b, MEDIA_UPLOADED);
    assert_true(t->one.seqs[1] > beaten(&t->one));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_what_comes_is_told_in_order_and_once),
        T(test_who_comes_back_gets_what_was_missed),
        T(test_who_has_no_room_is_passed_over_and_misses_nothing),
        T(test_g7_a_follower_hears_of_its_tenant_alone),
        T(test_a_gap_is_said),
        T(test_numbers_go_on_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
