// SPDX-License-Identifier: Apache-2.0
// When the SQLite store syncs its WAL, seen from below: a VFS that counts the syncs, and fails them on demand.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "../../contract/place.h"
#include "backends/meta/meta_sqlite.h"
#include "base/clock.h"

// ---- The VFS: SQLite's own, but for the syncs of WAL files.

static sqlite3_vfs *real_vfs, counting_vfs;
static sqlite3_io_methods wal_methods;
static int (*real_sync)(sqlite3_file *, int);
static atomic_int syncs;
static atomic_bool fails;

static int counting_sync(sqlite3_file *file, int flags)
{
    atomic_fetch_add(&syncs, 1);
    return fails ? SQLITE_IOERR_FSYNC : real_sync(file, flags);
}

static int counting_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    int rc = real_vfs->xOpen(real_vfs, name, file, flags, out);
    if (rc != SQLITE_OK || !(flags & SQLITE_OPEN_WAL))
        return rc;
    if (!real_sync) { // the first is the writer's, before there are threads
        real_sync = file->pMethods->xSync;
        wal_methods = *file->pMethods;
        wal_methods.xSync = counting_sync;
    }
    file->pMethods = &wal_methods;
    return rc;
}

static void install_vfs(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    counting_vfs = *real_vfs;
    counting_vfs.zName = "counting";
    counting_vfs.xOpen = counting_open;
    assert_int_equal(sqlite3_vfs_register(&counting_vfs, 1), SQLITE_OK);
}

// ----

struct fixture {
    char dir[PLACE_MAX];
    void *state;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char path[PLACE_MAX + 64];
    if (!f || place_make(f->dir) < 0)
        return -1;
    snprintf(path, sizeof path, "%s/meta.db", f->dir);
    fails = false;
    *state = f;
    return meta_sqlite.open(path, &f->state, NULL);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    meta_sqlite.close(f->state);
    place_remove(f->dir);
    free(f);
    return 0;
}

static int put(struct meta_tx *tx, void *arg, struct error *err)
{
    return meta_sqlite.setting_put(tx, "name", arg, err);
}

static int writes(struct fixture *f, enum meta_durability durability, const char *value, struct error *err)
{
    return meta_sqlite.write(f->state, durability, put, (void *)value, err);
}

static void a_synced_write_is_synced_when_it_returns(void **state)
{
    for (int i = 0; i < 5; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        syncs = 0;
        assert_int_equal(writes(*state, META_SYNCED, value, NULL), 0);
        assert_true(syncs >= 1);
    }
}

static void a_synced_write_that_changes_nothing_syncs_what_came_before(void **state)
{
    assert_int_equal(writes(*state, META_RELAXED, "1", NULL), 0);
    syncs = 0;
    assert_int_equal(writes(*state, META_SYNCED, "1", NULL), 0);
    assert_int_equal(syncs, 1);
    assert_int_equal(writes(*state, META_SYNCED, "1", NULL), 0); // there is nothing left to sync
    assert_int_equal(syncs, 1);
}

static void a_relaxed_write_is_synced_soon_without_being_asked(void **state)
{
    assert_int_equal(writes(*state, META_RELAXED, "1", NULL), 0);
    syncs = 0;
    assert_int_equal(writes(*state, META_RELAXED, "2", NULL), 0);
    while (!syncs) // or the suite's timeout
        clock_sleep_ms(10);
}

static void relaxed_writes_that_never_pause_are_synced_too(void **state)
{
    syncs = 0;
    for (int i = 0; !syncs; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        assert_int_equal(writes(*state, META_RELAXED, value, NULL), 0);
    }
}

static void a_failed_sync_fails_the_write_and_the_next_works(void **state)
{
    struct error err = {0};
    assert_int_equal(writes(*state, META_SYNCED, "1", NULL), 0);
    fails = true;
    assert_int_equal(writes(*state, META_SYNCED, "2", &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_true(err.retryable && err.outage);
    fails = false;
    assert_int_equal(writes(*state, META_SYNCED, "3", &err), 0);
    assert_int_equal(writes(*state, META_RELAXED, "4", &err), 0);
    fails = true; // nothing is written, but what was is not on the disk
    assert_int_equal(writes(*state, META_SYNCED, "4", &err), -1);
    fails = false;
    assert_int_equal(writes(*state, META_SYNCED, "4", &err), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_synced_write_is_synced_when_it_returns),
        T(a_synced_write_that_changes_nothing_syncs_what_came_before),
        T(a_relaxed_write_is_synced_soon_without_being_asked),
        T(relaxed_writes_that_never_pause_are_synced_too),
        T(a_failed_sync_fails_the_write_and_the_next_works),
    };
    install_vfs();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
