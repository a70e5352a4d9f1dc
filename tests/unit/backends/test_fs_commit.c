// SPDX-License-Identifier: Apache-2.0
// Puts that are committed together: they share their flushes, each gets its own outcome, and a kill in the middle
// leaves what was told whole.
//
// A group forms while its predecessor is at work. So here the first put is held in its fsync until all others wait
// for it: this program's fsync and sem_wait take the place of the C library's.
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "backends/blob/blob_fs.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

enum { FOLLOWERS = 8, KILL_THREADS = 6, KILL_KEYS = 10 };

static _Atomic int waiting, awaited; // threads in sem_wait; how many the next fsync waits for
static _Atomic int syncs;            // by fsync
static _Atomic uint64_t failing_inode;

int sem_wait(sem_t *sem)
{
    waiting++;
    while (sem_trywait(sem) < 0)
        clock_sleep_ms(1);
    waiting--;
    return 0;
}

int fsync(int fd)
{
    struct stat st;
    int wanted = atomic_exchange(&awaited, 0);
    while (waiting < wanted)
        clock_sleep_ms(1);
    syncs++;
    if (failing_inode && fstat(fd, &st) == 0 && st.st_ino == failing_inode) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

struct fixture {
    struct blob blob;
    char folder[64];
};

struct member {
    struct blob blob;
    struct blob_put *put;
    char key[32];
    int rc;
    struct error err;
    pthread_t thread;
};

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct error err;
    strcpy(f->folder, "/tmp/deeplens-commit-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->blob.ops = &blob_fs;
    assert_int_equal(blob_fs.open(f->folder, &f->blob.state, &err), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    blob_fs.close(f->blob.state);
    nftw(f->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static void begin(struct blob b, const char *key, struct member *m)
{
    *m = (struct member){.blob = b};
    snprintf(m->key, sizeof m->key, "%s", key);
    assert_int_equal(b.ops->put_begin(b.state, 0, &m->put, &m->err), 0);
    assert_int_equal(b.ops->put_write(m->put, key, strlen(key), &m->err), 0);
}

static void *commit(void *arg)
{
    struct member *m = arg;
    m->rc = m->blob.ops->put_commit(m->put, m->key, &m->err);
    return NULL;
}

static void start(struct member *m)
{
    assert_int_equal(pthread_create(&m->thread, NULL, commit, m), 0);
}

// Commits a put that is held until all of `members` wait, and then those. Their folders are there.
static void commit_together(struct blob b, struct member *members, size_t count)
{
    struct member first;
    begin(b, "a/first", &first);
    awaited = (int)count;
    start(&first);
    while (awaited) // until it leads
        clock_sleep_ms(1);
    syncs = 0;
    for (size_t i = 0; i < count; i++)
        start(&members[i]);
    pthread_join(first.thread, NULL);
    assert_int_equal(first.rc, 0);
    for (size_t i = 0; i < count; i++)
        pthread_join(members[i].thread, NULL);
}

static void make_folders(struct blob b)
{
    static const char *const keys[] = {"a/known", "b/known"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct member m;
        begin(b, keys[i], &m);
        commit(&m);
        assert_int_equal(m.rc, 0);
    }
}

static void begin_all(struct blob b, struct member members[FOLLOWERS])
{
    for (int i = 0; i < FOLLOWERS; i++) {
        char key[32];
        snprintf(key, sizeof key, "%c/%d", i < FOLLOWERS / 2 ? 'a' : 'b', i);
        begin(b, key, &members[i]);
    }
}

static bool is_whole(struct blob b, const char *key)
{
    struct blob_reader *r;
    struct error err;
    char got[32] = "";
    if (b.ops->open_read(b.state, key, &r, &err) < 0)
        return false;
    size_t len = b.ops->reader_size(r);
    assert_true(len < sizeof got);
    assert_int_equal(b.ops->read(r, 0, got, len, &err), 0);
    b.ops->reader_close(r);
    assert_string_equal(got, key);
    return true;
}

static int count_one(void *arg, const char *key, const struct blob_info *info)
{
    ++*(int *)arg;
    return 0;
}

static int count_all(const struct fixture *f)
{
    struct error err;
    int count = 0;
    assert_int_equal(f->blob.ops->list(f->blob.state, "", count_one, &count, &err), 0);
    return count;
}

static int temporary_files(const struct fixture *f)
{
    char path[128];
    int found = 0;
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "%s/tmp/%d", f->folder, i);
        found += access(path, F_OK) == 0;
    }
    return found;
}

static void a_group_syncs_a_folder_once(void **state)
{
    struct fixture *f = *state;
    struct member members[FOLLOWERS];
    make_folders(f->blob);
    begin_all(f->blob, members);
    commit_together(f->blob, members, FOLLOWERS);
    for (int i = 0; i < FOLLOWERS; i++) {
        assert_int_equal(members[i].rc, 0);
        assert_true(is_whole(f->blob, members[i].key));
    }
    // The first's file and folder; two folders; and the files, where the kernel does not take them all at once.
    assert_in_range(syncs, 4, 4 + FOLLOWERS);
    assert_int_equal(temporary_files(f), 0);
    assert_int_equal(count_all(f), FOLLOWERS + 3);
}

// The descriptor of a temporary file becomes one that cannot be synced.
static void spoil_file(const struct fixture *f, int number)
{
    char path[128], wanted[128];
    int ends[2];
    snprintf(wanted, sizeof wanted, "%s/tmp/%d", f->folder, number);
    assert_int_equal(pipe(ends), 0);
    bool found = false;
    for (int fd = 3; fd < 256 && !found; fd++) {
        char link[32];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t len = readlink(link, path, sizeof path - 1);
        path[len > 0 ? len : 0] = 0;
        found = strcmp(path, wanted) == 0;
        if (found)
            assert_int_equal(dup2(ends[1], fd), fd);
    }
    assert_true(found);
    close(ends[0]);
    close(ends[1]);
}

static void who_cannot_be_synced_fails_alone(void **state)
{
    struct fixture *f = *state;
    struct member members[FOLLOWERS];
    make_folders(f->blob); // the temporary files 0 and 1
    begin_all(f->blob, members);
    spoil_file(f, 2 + 3);
    commit_together(f->blob, members, FOLLOWERS);
    for (int i = 0; i < FOLLOWERS; i++) {
        assert_int_equal(members[i].rc, i == 3 ? -1 : 0);
        assert_int_equal(is_whole(f->blob, members[i].key), i != 3);
    }
    assert_int_equal(members[3].err.code, ERR_IO);
    assert_non_null(strstr(members[3].err.message, members[3].key));
    assert_int_equal(temporary_files(f), 0);
}

static void who_has_no_place_fails_alone(void **state)
{
    struct fixture *f = *state;
    struct member members[FOLLOWERS], below;
    make_folders(f->blob);
    begin(f->blob, "a/2/below", &below); // where "a/2" should be, a folder is
    commit(&below);
    assert_int_equal(below.rc, 0);
    begin_all(f->blob, members);
    commit_together(f->blob, members, FOLLOWERS);
    for (int i = 0; i < FOLLOWERS; i++)
        assert_int_equal(members[i].rc, i == 2 ? -1 : 0);
    assert_int_equal(members[2].err.code, ERR_CONFLICT);
    assert_int_equal(temporary_files(f), 0);
}

static void names_that_are_not_durable_fail_with_their_folder(void **state)
{
    struct fixture *f = *state;
    struct member members[FOLLOWERS];
    struct stat st;
    char path[128];
    make_folders(f->blob);
    snprintf(path, sizeof path, "%s/b", f->folder);
    assert_int_equal(stat(path, &st), 0);
    begin_all(f->blob, members);
    failing_inode = st.st_ino;
    commit_together(f->blob, members, FOLLOWERS);
    failing_inode = 0;
    for (int i = 0; i < FOLLOWERS; i++) {
        bool fails = i >= FOLLOWERS / 2;
        assert_int_equal(members[i].rc, fails ? -1 : 0);
        assert_int_equal(is_whole(f->blob, members[i].key), !fails);
    }
    assert_int_equal(members[FOLLOWERS - 1].err.code, ERR_IO);
    assert_int_equal(temporary_files(f), 0);
    assert_int_equal(count_all(f), 3 + FOLLOWERS / 2);
}

struct putter {
    struct blob blob;
    int number, told;
};

// Puts for ever, telling each key whose put was reported as committed.
static void *put_for_ever(void *arg)
{
    struct putter *p = arg;
    for (int i = 0;; i++) {
        struct member m;
        char key[32];
        int number = p->number * KILL_KEYS + i % KILL_KEYS;
        snprintf(key, sizeof key, "k/%d", number);
        begin(p->blob, key, &m);
        commit(&m);
        if (m.rc < 0 || write(p->told, &number, sizeof number) != sizeof number)
            _exit(2);
    }
}

static void put_until_killed(const char *folder, int told)
{
    struct putter putters[KILL_THREADS];
    struct blob b = {.ops = &blob_fs};
    struct error err;
    if (blob_fs.open(folder, &b.state, &err) < 0)
        _exit(1);
    for (int i = 0; i < KILL_THREADS; i++) {
        pthread_t thread;
        putters[i] = (struct putter){b, i, told};
        if (pthread_create(&thread, NULL, put_for_ever, &putters[i]) != 0)
            _exit(3);
    }
    for (;;)
        pause();
}

static void g1_a_group_that_is_killed_lost_nothing_that_was_told(void **state)
{
    struct fixture *f = *state;
    struct error err;
    bool told[KILL_THREADS * KILL_KEYS] = {0};
    unsigned seed = 3;
    blob_fs.close(f->blob.state);
    for (int round = 0; round < 8; round++) {
        int ends[2], number, status;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            put_until_killed(f->folder, ends[1]);
        close(ends[1]);
        assert_int_equal(read(ends[0], &number, sizeof number), (int)sizeof number);
        told[number] = true;
        clock_sleep_ms((int)(rand_r(&seed) % 30));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        while (read(ends[0], &number, sizeof number) == (int)sizeof number)
            told[number] = true;
        close(ends[0]);
    }
    assert_int_equal(blob_fs.open(f->folder, &f->blob.state, &err), 0);
    assert_int_equal(temporary_files(f), 0);
    for (int i = 0; i < KILL_THREADS * KILL_KEYS; i++) {
        char key[32];
        snprintf(key, sizeof key, "k/%d", i);
        bool there = is_whole(f->blob, key); // never half
        assert_true(there || !told[i]);
    }
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(a_group_syncs_a_folder_once),
        EACH(who_cannot_be_synced_fails_alone),
        EACH(who_has_no_place_fails_alone),
        EACH(names_that_are_not_durable_fail_with_their_folder),
        EACH(g1_a_group_that_is_killed_lost_nothing_that_was_told),
    };
    log_setup(LOG_OFF, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
