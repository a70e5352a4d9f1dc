// SPDX-License-Identifier: Apache-2.0
// The failing wrapper: what a plan may say, when its rules apply, and that a failed call never reached the back end.
// The blob wrapper is also tested with the blob contract; here are plans, the index, transactions and deaths.
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "backends/fault.h"
#include "base/cleanup.h"
#include "base/clock.h"

static _Atomic int reached; // calls that reached the back end

static int flush(void *state, const char *collection, struct error *err)
{
    reached++;
    return 0;
}
static const struct index_ops index_ops = {.name = "fake", .flush = flush};

// A metadata store that runs each transaction at once.
static int meta_write(void *state, enum meta_durability durability, meta_tx_fn *fn, void *arg, struct error *err)
{
    return fn(state, arg, err);
}
static void meta_write_async(void *state, enum meta_durability durability, meta_tx_fn *fn, void *arg,
                             meta_done_fn *done, void *done_arg)
{
    struct error err;
    done(done_arg, fn(state, arg, &err) < 0 ? &err : NULL);
}
static int media_duplicate(struct meta_tx *tx, const char *tenant, struct error *err)
{
    reached++;
    return 0;
}
static const struct meta_ops meta_ops = {
    .name = "fake", .write = meta_write, .write_async = meta_write_async, .media_duplicate = media_duplicate};

static void plan(const char *text)
{
    struct error err;
    if (fault_setup(text, &err) < 0)
        fail_msg("%s", err.message);
    reached = 0;
}

static struct index planned_index(const char *text)
{
    plan(text);
    return fault_wrap_index((struct index){.ops = &index_ops});
}

// Calls nine times; returns a letter for each: '.' for success, 'x' for failure.
static const char *nine_calls(struct index index)
{
    static char seen[10];
    struct error err;
    for (int i = 0; i < 9; i++)
        seen[i] = index.ops->flush(index.state, "c", &err) < 0 ? 'x' : '.';
    return seen;
}

static void applies_when_it_says(void **state)
{
    static const struct {
        const char *plan, *seen;
        int reached;
    } cases[] = {
        {"index.flush:IO_ERROR@1", "x........", 8},
        {"index.flush:IO_ERROR@3", "..x......", 8},
        {"index.flush:IO_ERROR@3+", "..xxxxxxx", 2},
        {"index.flush:IO_ERROR@%4", "...x...x.", 7},
        {"index.flush:IO_ERROR", "xxxxxxxxx", 0},
        {"index.flush:IO_ERROR@2,index.flush:DISK_FULL@5+", ".x..xxxxx", 3},
        {"index.flush:after:IO_ERROR@2", ".x.......", 9},
        {"index.upsert:IO_ERROR", ".........", 9},
        {"blob.head:IO_ERROR", ".........", 9},
        {"", ".........", 9},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct index index = planned_index(cases[i].plan);
        assert_string_equal(nine_calls(index), cases[i].seen);
        assert_int_equal(reached, cases[i].reached);
    }
}

static void names_the_call_and_the_code(void **state)
{
    struct index index = planned_index("index.flush:UNAVAILABLE");
    struct error err = {0};
    assert_int_equal(index.ops->flush(NULL, NULL, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_true(err.outage && err.retryable);
    assert_non_null(strstr(err.message, "index.flush"));
    assert_int_equal(index.ops->flush(NULL, NULL, NULL), -1);
}

static void refuses_plans_that_mean_nothing(void **state)
{
    static const struct {
        const char *plan, *says;
    } bad[] = {
        {"index.flush", "PORT.FUNCTION:ACTION"},
        {"index.flesh:IO_ERROR", "no call \"index.flesh\""},
        {"flush:IO_ERROR", "no call \"flush\""},
        {"index.flush:EXPLODE", "\"EXPLODE\" is no error code"},
        {"index.flush:", "\"\" is no error code"},
        {"index.flush:IO_ERROR@", "behind @"},
        {"index.flush:IO_ERROR@0", "behind @"},
        {"index.flush:IO_ERROR@-1", "behind @"},
        {"index.flush:IO_ERROR@x", "behind @"},
        {"index.flush:IO_ERROR@3-", "behind @"},
        {"index.flush:IO_ERROR@%", "behind @"},
        {"index.flush:sleep=", "sleep="},
        {"index.flush:sleep=soon", "sleep="},
        {"index.flush:sleep=99999999999", "sleep="},
        {"index.close:IO_ERROR", "index.close cannot fail"},
        {"index.flush:IO_ERROR@1,,index.flush:IO_ERROR", "PORT.FUNCTION:ACTION"},
    };
    plan("index.flush:IO_ERROR@1");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {0};
        if (fault_setup(bad[i].plan, &err) == 0)
            fail_msg("%s was taken", bad[i].plan);
        assert_int_equal(err.code, ERR_CONFIG);
        if (!strstr(err.message, bad[i].says))
            fail_msg("%s", err.message);
    }
    struct index index = fault_wrap_index((struct index){.ops = &index_ops});
    assert_string_equal(nine_calls(index), "x........"); // the old plan stayed
}

static void g8_plans_are_bounded(void **state)
{
    struct error err = {0};
    char text[4096] = "";
    for (int i = 0; i <= FAULT_RULES_MAX; i++)
        strcat(text, "index.flush:abort@9,");
    assert_int_equal(fault_setup(text, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    memset(text, 'x', 1000);
    text[1000] = 0;
    assert_int_equal(fault_setup(text, &err), -1);
}

static void wraps_only_what_is_planned_and_only_once(void **state)
{
    struct index plain = {.ops = &index_ops};
    plan("blob.head:IO_ERROR");
    assert_ptr_equal(fault_wrap_index(plain).ops, &index_ops);
    struct index once = planned_index("index.flush:IO_ERROR@2");
    struct index twice = fault_wrap_index(once);
    assert_ptr_not_equal(once.ops, &index_ops);
    assert_ptr_equal(twice.ops, once.ops);
    assert_string_equal(once.ops->name, "fake");
    assert_null(once.ops->upsert); // what the back end lacks stays away
    assert_string_equal(nine_calls(twice), ".x.......");
}

static void *call_many(void *arg)
{
    struct index *index = arg;
    struct error err;
    int failed = 0;
    for (int i = 0; i < 5000; i++)
        failed += index->ops->flush(index->state, "c", &err) < 0;
    return (void *)(intptr_t)failed;
}

static void counts_over_all_threads(void **state)
{
    struct index index = planned_index("index.flush:IO_ERROR@%10");
    pthread_t threads[4];
    intptr_t failed = 0;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_many, &index), 0);
    for (int i = 0; i < 4; i++) {
        void *part;
        pthread_join(threads[i], &part);
        failed += (intptr_t)part;
    }
    assert_int_equal(failed, 2000);
    assert_int_equal(reached, 18000);
}

static struct meta planned_meta(const char *text)
{
    plan(text);
    return fault_wrap_meta((struct meta){.ops = &meta_ops});
}

static int count_duplicate(struct meta_tx *tx, void *arg, struct error *err)
{
    const struct meta *meta = arg;
    return meta->ops->media_duplicate(tx, "t", err);
}

struct outcome {
    int runs;
    enum error_code code;
};

static void note(void *arg, const struct error *err)
{
    struct outcome *o = arg;
    o->runs++;
    o->code = err ? err->code : ERR_NONE;
}

static void transactions_fail_as_planned(void **state)
{
    static const struct {
        const char *plan;
        enum error_code sync, async;
        int reached; // by one of each
    } cases[] = {
        {"meta.write:IO_ERROR", ERR_IO, ERR_NONE, 1},
        {"meta.write_async:DISK_FULL", ERR_NONE, ERR_DISK_FULL, 1},
        {"meta.write:after:IO_ERROR,meta.write_async:after:TIMEOUT", ERR_IO, ERR_TIMEOUT, 2},
        {"meta.media_duplicate:CONFLICT", ERR_CONFLICT, ERR_CONFLICT, 0},
        {"meta.media_duplicate:CONFLICT@2", ERR_NONE, ERR_CONFLICT, 1},
        {"meta.read:IO_ERROR", ERR_NONE, ERR_NONE, 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err = {0};
        struct outcome o = {0};
        struct meta meta = planned_meta(cases[i].plan);
        int rc = meta.ops->write(meta.state, META_SYNCED, count_duplicate, &meta, &err);
        assert_int_equal(rc, cases[i].sync ? -1 : 0);
        assert_int_equal(err.code, cases[i].sync);
        meta.ops->write_async(meta.state, META_SYNCED, count_duplicate, &meta, note, &o);
        assert_int_equal(o.runs, 1);
        assert_int_equal(o.code, cases[i].async);
        assert_int_equal(reached, cases[i].reached);
    }
}

// Flushes twice in a child, which tells how far it came; returns how it ended.
static int status_of_child(const char *text, int *calls)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL); // cmocka catches it to fail the test
        struct index index = planned_index(text);
        struct error err;
        for (int i = 0; i < 2; i++) {
            index.ops->flush(NULL, "c", &err);
            if (write(ends[1], "x", 1) != 1)
                _exit(1);
        }
        _exit(0);
    }
    close(ends[1]);
    char byte;
    for (*calls = 0; read(ends[0], &byte, 1) == 1;)
        ++*calls;
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void kills_when_planned(void **state)
{
    int calls;
    int status = status_of_child("index.flush:kill@2", &calls);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(calls, 1);
    status = status_of_child("index.flush:after:kill@1", &calls);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(calls, 0);
    status = status_of_child("index.flush:abort@2", &calls);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_int_equal(calls, 1);
    status = status_of_child("index.flush:after:abort@3", &calls);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(calls, 2);
}

static void sleeps_when_planned(void **state)
{
    struct index index = planned_index("index.flush:sleep=20@1,index.flush:after:sleep=20@1");
    struct error err;
    int64_t began = clock_mono_us();
    assert_int_equal(index.ops->flush(NULL, "c", &err), 0);
    assert_true(clock_mono_us() - began >= 40000);
    assert_int_equal(reached, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(applies_when_it_says),
        cmocka_unit_test(names_the_call_and_the_code),
        cmocka_unit_test(refuses_plans_that_mean_nothing),
        cmocka_unit_test(g8_plans_are_bounded),
        cmocka_unit_test(wraps_only_what_is_planned_and_only_once),
        cmocka_unit_test(counts_over_all_threads),
        cmocka_unit_test(transactions_fail_as_planned),
        cmocka_unit_test(kills_when_planned),
        cmocka_unit_test(sleeps_when_planned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
