// SPDX-License-Identifier: Apache-2.0
// The contract of the blob port, run on every back end: plain, under the tracing wrapper, and under the failing one;
// what is special to files; and faults below and above the port, after which nothing may be left behind.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
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
#include <curl/curl.h>

#include "backends/blob/blob_fs.h"
#include "backends/blob/blob_s3.h"
#include "backends/fault.h"
#include "backends/trace.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

// Faults below the port: these take the place of the C library's functions in this program. Call number `fail_at`
// of them, counted from 1, fails with `fail_errno`; 0 for none. The calls are noted in `calls_made`.
static _Atomic int calls_seen, fail_at;
static int fail_errno;
static bool noting;
static char calls_made[256];

static bool fails_now(char letter)
{
    size_t used = strlen(calls_made);
    if (noting && used + 1 < sizeof calls_made)
        memcpy(calls_made + used, (char[]){letter, 0}, 2);
    if (!fail_at || ++calls_seen != fail_at)
        return false;
    errno = fail_errno;
    return true;
}

ssize_t write(int fd, const void *data, size_t len)
{
    return fails_now('w') ? -1 : syscall(SYS_write, fd, data, len);
}

int fsync(int fd)
{
    return fails_now('s') ? -1 : (int)syscall(SYS_fsync, fd);
}

int mkdirat(int fd, const char *path, mode_t mode)
{
    return fails_now('m') ? -1 : (int)syscall(SYS_mkdirat, fd, path, mode);
}

int renameat(int from, const char *old, int to, const char *name)
{
    return fails_now('r') ? -1 : (int)syscall(SYS_renameat2, from, old, to, name, 0);
}

enum variant { PLAIN, TRACED, FAULTY };
static enum variant variant;

static const struct backend {
    const struct blob_ops *ops;
    const char *server; // the variable that says where its server is; NULL: it needs none
} backends[] = {
    {&blob_fs, NULL},
    {&blob_s3, "DEEPLENS_TEST_S3"},
};
static const struct backend *backend = &backends[0]; // under test

struct fixture {
    struct blob blob;
    char folder[64];
    char location[1024];
};

// Those whose server is given; without one, those that need none.
static bool wanted(void)
{
    bool given = false;
    for (size_t i = 0; i < ARRAY_LEN(backends); i++)
        given |= backends[i].server && getenv(backends[i].server);
    return backend->server ? getenv(backend->server) != NULL : !given;
}

// A place of this fixture's own: its folder, or a prefix of that name.
static void locate(struct fixture *f)
{
    if (!backend->server) {
        snprintf(f->location, sizeof f->location, "%s", f->folder);
        return;
    }
    const char *access = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");
    snprintf(f->location, sizeof f->location,
             "endpoint=%s\nbucket=deeplens\nprefix=%s/\naccess_key=%s\nsecret_key=%s\nowner=contract\n"
             "part=5242880\n",
             getenv(backend->server), strrchr(f->folder, '/') + 1, access ? access : "", secret ? secret : "");
}

static void open_blobs(struct fixture *f)
{
    struct error err;
    f->blob.ops = backend->ops;
    if (backend->ops->open(f->location, &f->blob.state, &err) < 0)
        fail_msg("%s", err.message);
}

static struct blob wrap(struct blob blob)
{
    struct error err;
    assert_int_equal(trace_setup(variant == TRACED ? "blob" : "", &err), 0);
    // Rules that never come to pass, so that the wrapper's functions are in the way.
    assert_int_equal(fault_setup(variant == FAULTY ? "blob.head:IO_ERROR@1000000000" : "", &err), 0);
    return trace_wrap_blob(fault_wrap_blob(blob));
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    return remove(path);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");
    assert_non_null(f);
    snprintf(f->folder, sizeof f->folder, "%s/deeplens-blob-XXXXXX", tmp && strlen(tmp) < 32 ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    locate(f);
    open_blobs(f);
    f->blob = wrap(f->blob);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    f->blob.ops->close(f->blob.state);
    nftw(f->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static int put(struct blob b, const char *key, const void *data, size_t len, struct error *err)
{
    struct blob_put *p;
    if (b.ops->put_begin(b.state, 0, &p, err) < 0)
        return -1;
    if (b.ops->put_write(p, data, len, err) < 0) {
        b.ops->put_abort(p);
        return -1;
    }
    return b.ops->put_commit(p, key, err);
}

static void must_put(struct blob b, const char *key, const void *data, size_t len)
{
    struct error err = {0};
    if (put(b, key, data, len, &err) < 0)
        fail_msg("%s: %s", key, err.message);
}

static void must_be(struct blob b, const char *key, const void *data, size_t len)
{
    struct error err = {0};
    struct blob_reader *r;
    if (b.ops->open_read(b.state, key, &r, &err) < 0)
        fail_msg("%s: %s", key, err.message);
    assert_int_equal(b.ops->reader_size(r), len);
    _cleanup_free_ char *got = malloc(len + 1);
    assert_int_equal(b.ops->read(r, 0, got, len, &err), 0);
    assert_memory_equal(got, data, len);
    b.ops->reader_close(r);
}

static void must_be_absent(struct blob b, const char *key)
{
    struct error err = {0};
    struct blob_info info = {.size = 77};
    struct blob_reader *r = NULL;
    assert_int_equal(b.ops->head(b.state, key, &info, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(info.size, 77);
    err.code = ERR_NONE;
    assert_int_equal(b.ops->open_read(b.state, key, &r, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_null(r);
}

static int join_key(void *arg, const char *key, const struct blob_info *info)
{
    struct buf *out = arg;
    return buf_printf(out, "%s%s=%d", out->len ? " " : "", key, (int)info->size);
}

static void must_list(struct blob b, const char *prefix, const char *expected)
{
    struct error err = {0};
    _cleanup_buf_ struct buf got = BUF_INIT(65536);
    buf_puts(&got, "");
    assert_int_equal(b.ops->list(b.state, prefix, join_key, &got, &err), 0);
    assert_string_equal(got.data, expected);
}

static void stores_and_gives_back(void **state)
{
    struct blob b = ((struct fixture *)*state)->blob;
    struct error err = {0};
    struct blob_info info;
    int64_t before = clock_now_ms();
    must_put(b, "tenant-a/images/one.jpg", "hello", 5);
    must_put(b, "tenant-a/empty", "", 0);
    must_be(b, "tenant-a/images/one.jpg", "hello", 5);
    must_be(b, "tenant-a/empty", "", 0);
    assert_int_equal(b.ops->head(b.state, "tenant-a/images/one.jpg", &info, &err), 0);
    assert_int_equal(info.size, 5);
    assert_in_range(info.modified_ms, before - 5000, clock_now_ms() + 5000);
}

static void reads_ranges(void **state)
{
    struct blob b = ((struct fixture *)*state)->blob;
    struct error err = {0};
    struct blob_reader *r;
    char got[8] = "???????";
    must_put(b, "k", "0123456789", 10);
    assert_int_equal(b.ops->open_read(b.state, "k", &r, &err), 0);
    assert_int_equal(b.ops->read(r, 3, got, 4, &err), 0);
    assert_memory_equal(got, "3456", 4);
    assert_int_equal(b.ops->read(r, 10, got, 0, &err), 0);
    static const struct {
        uint64_t offset;
        size_t len;
    } beyond[] = {{7, 4}, {10, 1}, {11, 0}, {UINT64_MAX, 1}, {1, SIZE_MAX}};
    for (size_t i = 0; i < ARRAY_LEN(beyond); i++) {
        err.code = ERR_NONE;
        assert_int_equal(b.ops->read(r, beyond[i].offset, got, beyond[i].len, &err), -1);
        assert_int_equal(err.code, ERR_RANGE);
    }
    int fd = b.ops->reader_fd(r);
    if (fd >= 0) {
        assert_int_equal(pread(fd, got, 2, 8), 2);
        assert_memory_equal(got, "89", 2);
    }
    b.ops->reader_close(r);
    b.ops->reader_close(NULL);
}

static void shows_a_put_only_after_its_commit(void **state)
{
    struct blob b = ((struct fixture *)*state)->blob;
    struct error err = {0};
    struct blob_put *p;
    assert_int_equal(b.ops->put_begin(b.state, 10, &p, &err), 0);
    assert_int_equal(b.ops->put_write(p, "half", 4, &err), 0);
    must_be_absent(b, "a/b");
    must_list(b, "", "");
    assert_int_equal(b.ops->put_commit(p, "a/b", &err), 0);
    must_be(b, "a/b", "half", 4);
    assert_int_equal(b.ops->put_begin(b.state, 0, &p, &err), 0);
    assert_int_equal(b.ops->put_write(p, "gone", 4, &err), 0);
    b.ops->put_abort(p);
    b.ops->put_abort(NULL);
    must_list(b, "", "a/b=4");
}

static void replaces_in_one_step(void **state)
{
    struct blob b = ((struct fixture *)*state)->blob;
    struct error err = {0};
    struct blob_reader *r;
    char got[4] = "";
    must_put(b, "a/k", "old", 3);
    assert_int_equal(b.ops->open_read(b.state, "a/k", &r, &err), 0);
    must_put(b, "a/k", "newer", 5);
    must_be(b, "a/k", "newer", 5);
    assert_int_equal(b.ops->read(r, 0, got, 3, &err), 0);
    assert_string_equal(got, "old");
    b.ops->reader_close(r);
    must_list(b, "", "a/k=5");
}

static void removes(void **state)
{
    struct blob b = ((struct fixture *)*state)->blob;
    struct error err = {0};
    struct blob_reader *r;
    char got[4] = "";
    must_put(b, "a/b/k", "old", 3);
    must_put(b, "a/b/l", "stays", 5);
    assert_int_equal(b.ops->open_read(b.state, "a/b/k", &r, &err), 0);
    assert_int_equal(b.ops->remove(b.state, "a/b/k", &err), 0);
    must_be_absent(b, "a/b/k");
    assert_int_equal(b.ops->read(r, 0, got, 3, &err), 0);
    assert_string_equal(got, "old");
    b.ops->reader_close(r);
    assert_int_equal(b.ops->remove(b.state, "a/b/k", &err), 0);
    assert_int_equal(b.ops->remove(b.state, "a/b", &err), 0);
    assert_int_equal(b.ops->remove(b.state, "no/such/folder", &err), 0);
    must_list(b, "", "a/b/l=5");
}

static void g7_refuses_keys_that_lead_elsewhere(void **state)
{
    struct blob b = ((struct fixture *)*state)->blob;
    char longest[514], part[300];
    memset(longest, 'a', 513);
    for (int i = 100; i < 513; i += 100)
        longest[i] = '/';
    longest[513] = 0;
    memset(part, 'p', 256);
    part[256] = 0;
    const char *const bad[] = {"",    "/",    "/a",  "a/",   "a//b", ".",        "..",  "../a", "a/../b", "a/./b",
                               "a/.", "a/..", "a b", "a\nb", "a\\b", "\xc3\xa4", "a:b", "a*",   longest,  part};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {0};
        struct blob_info info;
        struct blob_reader *r;
        assert_int_equal(put(b, bad[i], "x", 1, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        err.code = ERR_NONE;
        assert_int_equal(b.ops->head(b.state, bad[i], &info, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        err.code = ERR_NONE;
        assert_int_equal(b.ops->open_read(b.state, bad[i], &r, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        err.code = ERR_NONE;
        assert_int_equal(b.ops->remove(b.state, bad[i], &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
    must_list(b, "", "");
    longest[512] = 0;
    must_put(b, longest, "x", 1);
    must_be(b, longest, "x", 1);
    must_put(b, ".a/..b/c..", "y", 1);
    must_be(b, ".a/..b/c..", "y", 1);
}

// Files refuse it. Objects lie beside each other, though MinIO does not list what is below another.
static void a_key_below_another_is_refused_or_beside_it(void **state)
{
    struct blob b = ((struct fixture *)*state)->blob;
    struct error err = {0};
    must_put(b, "a/b", "x", 1);
    bool flat = put(b, "a/b/c", "yy", 2, &err) == 0;
    assert_true(flat || err.code == ERR_CONFLICT);
    err.code = ERR_NONE;
    assert_int_equal(put(b, "a", "zzz", 3, &err), flat ? 0 : -1);
    assert_true(flat || err.code == ERR_CONFLICT);
    must_be(b, "a/b", "x", 1);
    if (flat) {
        must_be(b, "a/b/c", "yy", 2);
        must_be(b, "a", "zzz", 3);
        assert_int_equal(b.ops->remove(b.state, "a/b", &err), 0);
        must_be_absent(b, "a/b");
        must_be(b, "a/b/c", "yy", 2);
        return;
    }
    must_be_absent(b, "a");
    must_be_absent(b, "a/b/c");
    must_list(b, "", "a/b=1");
}

static void lists_in_byte_order(void **state)
{
    struct blob b = ((struct fixture *)*state)->blob;
    static const char *const keys[] = {"t/a/x", "u", "t/a0", "t/a-b", "t/a/b/c", "t/a.b", "t/A", "t-1/z"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        must_put(b, keys[i], "1234567", i);
    must_list(b, "", "t-1/z=7 t/A=6 t/a-b=3 t/a.b=5 t/a/b/c=4 t/a/x=0 t/a0=2 u=1");
    must_list(b, "t", "t-1/z=7 t/A=6 t/a-b=3 t/a.b=5 t/a/b/c=4 t/a/x=0 t/a0=2");
    must_list(b, "t/", "t/A=6 t/a-b=3 t/a.b=5 t/a/b/c=4 t/a/x=0 t/a0=2");
    must_list(b, "t/a/", "t/a/b/c=4 t/a/x=0");
    must_list(b, "t/a/b", "t/a/b/c=4");
    must_list(b, "t/a/b/c", "t/a/b/c=4");
    must_list(b, "t/a/b/c/", "");
    must_list(b, "u", "u=1");
    static const char *const none[] = {"v", "../", "/", "t//", "."};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        must_list(b, none[i], "");
}

struct sweep {
    struct blob blob;
    int seen;
};

static int remove_each(void *arg, const char *key, const struct blob_info *info)
{
    struct sweep *s = arg;
    struct error err;
    assert_int_equal(s->blob.ops->remove(s->blob.state, key, &err), 0);
    return ++s->seen == 3 ? 42 : 0;
}

static void listing_may_remove_and_stop(void **state)
{
    struct blob b = ((struct fixture *)*state)->blob;
    struct error err = {0};
    struct sweep s = {.blob = b};
    static const char *const keys[] = {"a", "b/c", "b/d", "e", "f"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        must_put(b, keys[i], "x", 1);
    assert_int_equal(b.ops->list(b.state, "", remove_each, &s, &err), 42);
    must_list(b, "", "e=1 f=1");
    s.seen = 10;
    assert_int_equal(b.ops->list(b.state, "", remove_each, &s, &err), 0);
    must_list(b, "", "");
}

static void g8_large_blobs_stream_through(void **state)
{
    struct blob b = ((struct fixture *)*state)->blob;
    struct error err = {0};
    struct blob_put *p;
    struct blob_reader *r;
    enum { PIECE = 65536, PIECES = 400 }; // 25 MiB: several times what starts write-back
    static unsigned char piece[PIECE], got[PIECE];
    assert_int_equal(b.ops->put_begin(b.state, (uint64_t)PIECE * PIECES, &p, &err), 0);
    for (int i = 0; i < PIECES; i++) {
        memset(piece, i % 251, sizeof piece);
        assert_int_equal(b.ops->put_write(p, piece, sizeof piece, &err), 0);
    }
    assert_int_equal(b.ops->put_commit(p, "large", &err), 0);
    assert_int_equal(b.ops->open_read(b.state, "large", &r, &err), 0);
    assert_int_equal(b.ops->reader_size(r), (uint64_t)PIECE * PIECES);
    for (int i = 0; i < PIECES; i++) {
        memset(piece, i % 251, sizeof piece);
        assert_int_equal(b.ops->read(r, (uint64_t)i * PIECE, got, sizeof got, &err), 0);
        assert_memory_equal(got, piece, sizeof got);
    }
    b.ops->reader_close(r);
}

static void g8_refuses_what_cannot_fit(void **state)
{
    struct blob b = ((struct fixture *)*state)->blob;
    struct error err = {0};
    struct blob_put *p = NULL;
    uint64_t room = 0;
    assert_int_equal(b.ops->free_space(b.state, &room, &err), 0);
    assert_true(room > 0);
    if (room == UINT64_MAX) // a back end that does not know cannot refuse early
        return;
    assert_int_equal(b.ops->put_begin(b.state, UINT64_MAX / 2, &p, &err), -1);
    assert_int_equal(err.code, ERR_DISK_FULL);
    assert_null(p);
}

struct worker {
    struct blob blob;
    int number;
    int failures;
};

// Puts, reads and removes its own keys, and fights with the others over one that all share.
static void *work(void *arg)
{
    struct worker *w = arg;
    struct error err;
    struct blob_info info;
    char key[64];
    for (int i = 0; i < 25; i++) {
        snprintf(key, sizeof key, "t/%d/%d/own-%d", i % 5, i, w->number);
        w->failures += put(w->blob, key, key, strlen(key), &err) < 0;
        w->failures += put(w->blob, "t/shared", "12345", 5, &err) < 0;
        w->failures += w->blob.ops->head(w->blob.state, "t/shared", &info, &err) < 0 || info.size != 5;
        w->failures += w->blob.ops->head(w->blob.state, key, &info, &err) < 0 || info.size != strlen(key);
        w->failures += w->blob.ops->remove(w->blob.state, key, &err) < 0;
    }
    return NULL;
}

static void serves_many_threads(void **state)
{
    struct blob b = ((struct fixture *)*state)->blob;
    struct worker workers[4];
    pthread_t threads[ARRAY_LEN(workers)];
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        workers[i] = (struct worker){.blob = b, .number = (int)i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].failures, 0);
    }
    must_list(b, "", "t/shared=5");
}

static void reopens(void **state)
{
    struct fixture *f = *state;
    must_put(f->blob, "a/b", "kept", 4);
    f->blob.ops->close(f->blob.state);
    open_blobs(f);
    must_be(f->blob, "a/b", "kept", 4);
}

// The number of entries in the fixture's tmp/.
static int leftovers(const struct fixture *f)
{
    char path[128];
    snprintf(path, sizeof path, "%s/tmp", f->folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    int count = 0;
    for (const struct dirent *e; (e = readdir(dir));)
        count += e->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void g1_bytes_are_durable_before_their_name(void **state)
{
    struct fixture *f = *state;
    noting = true;
    calls_made[0] = 0;
    must_put(f->blob, "t/one", "x", 1);
    assert_string_equal(calls_made, "wmssrs"); // make t, sync the root; sync the file, rename, sync t
    calls_made[0] = 0;
    must_put(f->blob, "t/two", "x", 1);
    noting = false;
    assert_string_equal(calls_made, "wsrs");
}

static void g1_folders_of_a_former_life_are_made_durable(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    must_put(f->blob, "t/u/one", "x", 1);
    f->blob.ops->close(f->blob.state);
    assert_int_equal(blob_fs.open(f->folder, &f->blob.state, &err), 0);
    noting = true;
    calls_made[0] = 0;
    must_put(f->blob, "t/u/two", "x", 1);
    noting = false;
    assert_string_equal(calls_made, "wsssrs"); // nobody knows whether t and u were synced before
}

// Fails each system call of a put in turn. Each time the put says why, leaves nothing, and the next one works.
static void a_put_that_fails_leaves_nothing(void **state)
{
    static const struct {
        int number;
        enum error_code code;
    } causes[] = {{ENOSPC, ERR_DISK_FULL}, {EDQUOT, ERR_DISK_FULL}, {EIO, ERR_IO}};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(causes); i++) {
        int failed = 0;
        for (int rc = -1; rc < 0; failed++) {
            struct error err = {0};
            char key[32];
            snprintf(key, sizeof key, "t%zu-%d/u/k", i, failed);
            fail_errno = causes[i].number;
            calls_seen = 0;
            fail_at = failed + 1;
            rc = put(f->blob, key, "data", 4, &err);
            fail_at = 0;
            assert_int_equal(leftovers(f), 0);
            if (rc < 0) {
                assert_int_equal(err.code, causes[i].code);
                assert_non_null(strstr(err.message, strerror(causes[i].number)));
                must_be_absent(f->blob, key);
                must_put(f->blob, key, "again", 5);
                must_be(f->blob, key, "again", 5);
            }
        }
        assert_int_equal(failed, 9); // write, 2 × (mkdir, fsync), fsync, rename, fsync: 8 calls, then a good put
    }
}

static void a_replacement_that_fails_keeps_what_was_there(void **state)
{
    struct fixture *f = *state;
    must_put(f->blob, "t/k", "old", 3);
    for (int call = 1; call <= 3; call++) { // write, fsync, rename
        struct error err = {0};
        fail_errno = EIO;
        calls_seen = 0;
        fail_at = call;
        assert_int_equal(put(f->blob, "t/k", "newer", 5, &err), -1);
        fail_at = 0;
        must_be(f->blob, "t/k", "old", 3);
        assert_int_equal(leftovers(f), 0);
    }
}

static void a_put_stays_failed_after_a_failed_write(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct blob_put *p;
    assert_int_equal(f->blob.ops->put_begin(f->blob.state, 0, &p, &err), 0);
    fail_errno = ENOSPC;
    calls_seen = 0;
    fail_at = 1;
    assert_int_equal(f->blob.ops->put_write(p, "x", 1, &err), -1);
    fail_at = 0;
    assert_int_equal(err.code, ERR_DISK_FULL);
    assert_int_equal(f->blob.ops->put_write(p, "x", 1, &err), -1);
    assert_int_equal(f->blob.ops->put_commit(p, "t/k", &err), -1);
    must_be_absent(f->blob, "t/k");
    assert_int_equal(leftovers(f), 0);
}

static void a_removal_that_is_not_durable_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    must_put(f->blob, "t/k", "x", 1);
    fail_errno = EIO;
    calls_seen = 0;
    fail_at = 1;
    assert_int_equal(f->blob.ops->remove(f->blob.state, "t/k", &err), -1);
    fail_at = 0;
    assert_int_equal(err.code, ERR_IO);
    noting = true;
    calls_made[0] = 0;
    assert_int_equal(f->blob.ops->remove(f->blob.state, "t/k", &err), 0);
    noting = false;
    assert_string_equal(calls_made, "s"); // the second time makes good what the first one owed
}

static void g7_does_not_follow_links(void **state)
{
    struct fixture *f = *state;
    char root[128], outside[128];
    struct error err = {0};
    struct stat st;
    snprintf(outside, sizeof outside, "%s-outside", f->folder);
    assert_int_equal(mkdir(outside, 0700), 0);
    snprintf(root, sizeof root, "%s/folder", f->folder);
    assert_int_equal(symlink(outside, root), 0);
    snprintf(root, sizeof root, "%s/file", f->folder);
    assert_int_equal(symlink("/etc/passwd", root), 0);
    must_be_absent(f->blob, "file");
    must_be_absent(f->blob, "folder/x");
    assert_int_equal(put(f->blob, "folder/x", "y", 1, &err), -1);
    must_list(f->blob, "", "");
    must_put(f->blob, "file", "mine", 4); // takes the place of the link
    must_be(f->blob, "file", "mine", 4);
    assert_true(lstat(root, &st) == 0 && S_ISREG(st.st_mode));
    assert_int_equal(rmdir(outside), 0); // nothing got in
}

static void tmp_is_not_for_keys(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    assert_int_equal(put(f->blob, "tmp/x", "y", 1, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    err.code = ERR_NONE;
    assert_int_equal(put(f->blob, "tmp", "y", 1, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    must_put(f->blob, "tmp2/tmp", "y", 1);
    must_list(f->blob, "", "tmp2/tmp=1");
}

struct order {
    int count;
    char last[32];
};

static int check_order(void *arg, const char *key, const struct blob_info *info)
{
    struct order *o = arg;
    assert_true(strcmp(o->last, key) < 0);
    snprintf(o->last, sizeof o->last, "%s", key);
    o->count++;
    return 0;
}

static void g8_lists_folders_larger_than_a_batch(void **state)
{
    enum { FILES = 70000 }; // more than twice what is held in memory
    struct fixture *f = *state;
    struct error err = {0};
    struct order o = {0};
    char path[128];
    snprintf(path, sizeof path, "%s/t", f->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    _cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "n%d", i);
        int fd = openat(dir, path, O_CREAT | O_WRONLY, 0600);
        assert_true(fd >= 0);
        close(fd);
    }
    assert_int_equal(f->blob.ops->list(f->blob.state, "", check_order, &o, &err), 0);
    assert_int_equal(o.count, FILES);
}

static void says_why_it_cannot_open(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    void *opened = NULL;
    char path[128];
    must_put(f->blob, "plain", "x", 1);
    snprintf(path, sizeof path, "%s/plain/sub", f->folder);
    assert_int_equal(blob_fs.open(path, &opened, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(blob_fs.open("", &opened, &err), -1);
    assert_null(opened);
    snprintf(path, sizeof path, "%s/new/deep/er/", f->folder);
    assert_int_equal(blob_fs.open(path, &opened, &err), 0);
    blob_fs.close(opened);
}

// Content that can be checked by its key's number: a size and a byte that follow from it.
static size_t content(int number, int version, unsigned char out[100000])
{
    size_t len = 1 + (size_t)(number * 7919 + version * 104729) % 100000;
    memset(out, (number + version) % 255 + 1, len);
    return len;
}

enum { KILL_KEYS = 40, KILL_THREADS = 4 };

struct putter {
    struct blob blob;
    int number; // its keys are this one and every KILL_THREADS-th behind it
    int told;
};

// Puts for ever, telling each key whose put was reported as committed.
static void *put_for_ever(void *arg)
{
    const struct putter *p = arg;
    struct error err;
    unsigned char *data = malloc(100000);
    for (int i = p->number;; i += KILL_THREADS) {
        char key[32];
        int number = i % KILL_KEYS;
        snprintf(key, sizeof key, "t/%d/k%d", number % 7, number);
        size_t len = content(number, i / KILL_KEYS % 2, data);
        if (put(p->blob, key, data, len, &err) < 0 || write(p->told, &number, sizeof number) != sizeof number)
            _exit(2);
    }
}

static void put_until_killed(const char *folder, int fd)
{
    struct putter putters[KILL_THREADS];
    struct blob b = {.ops = &blob_fs};
    struct error err;
    if (blob_fs.open(folder, &b.state, &err) < 0)
        _exit(1);
    for (int i = 0; i < KILL_THREADS; i++) {
        pthread_t thread;
        putters[i] = (struct putter){b, i, fd};
        if (pthread_create(&thread, NULL, put_for_ever, &putters[i]) != 0)
            _exit(3);
    }
    for (;;)
        pause();
}

static int check_whole(void *arg, const char *key, const struct blob_info *info)
{
    struct blob *b = arg;
    static unsigned char data[100000], got[100000];
    struct error err;
    struct blob_reader *r;
    int number = atoi(strrchr(key, 'k') + 1);
    assert_int_equal(b->ops->open_read(b->state, key, &r, &err), 0);
    size_t len = b->ops->reader_size(r);
    assert_true(len <= sizeof got);
    assert_int_equal(b->ops->read(r, 0, got, len, &err), 0);
    b->ops->reader_close(r);
    bool whole = false;
    for (int version = 0; version < 2; version++)
        whole |= content(number, version, data) == len && memcmp(got, data, len) == 0;
    assert_true(whole);
    return 0;
}

static void g1_killed_while_putting(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    bool told[KILL_KEYS] = {0};
    unsigned seed = 1;
    f->blob.ops->close(f->blob.state);
    f->blob.state = NULL;
    for (int round = 0; round < 12; round++) {
        int ends[2], number;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(ends[0]);
            put_until_killed(f->folder, ends[1]);
        }
        close(ends[1]);
        assert_int_equal(read(ends[0], &number, sizeof number), (int)sizeof number);
        told[number] = true;
        clock_sleep_ms((int)(rand_r(&seed) % 40));
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        while (read(ends[0], &number, sizeof number) == (int)sizeof number)
            told[number] = true;
        close(ends[0]);
    }
    assert_int_equal(blob_fs.open(f->folder, &f->blob.state, &err), 0);
    assert_int_equal(leftovers(f), 0);
    struct blob b = f->blob;
    assert_int_equal(b.ops->list(b.state, "", check_whole, &b, &err), 0);
    for (int i = 0; i < KILL_KEYS; i++) {
        char key[32];
        struct blob_info info;
        snprintf(key, sizeof key, "t/%d/k%d", i % 7, i);
        if (told[i])
            assert_int_equal(b.ops->head(b.state, key, &info, &err), 0);
    }
}

static struct blob with_faults(struct fixture *f, const char *plan)
{
    struct error err = {0};
    if (fault_setup(plan, &err) < 0)
        fail_msg("%s", err.message);
    return fault_wrap_blob((struct blob){.ops = &blob_fs, .state = f->blob.state});
}

static void injected_faults_leave_nothing(void **state)
{
    static const struct {
        const char *plan;
        enum error_code code;
    } plans[] = {
        {"blob.put_begin:IO_ERROR@1", ERR_IO},
        {"blob.put_write:DISK_FULL@1", ERR_DISK_FULL},
        {"blob.put_commit:UNAVAILABLE@1", ERR_UNAVAILABLE},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        struct error err = {0};
        struct blob b = with_faults(f, plans[i].plan);
        assert_int_equal(put(b, "t/k", "data", 4, &err), -1);
        assert_int_equal(err.code, plans[i].code);
        assert_int_equal(leftovers(f), 0);
        must_be_absent(b, "t/k");
        must_put(b, "t/k", "data", 4);
        must_be(b, "t/k", "data", 4);
        assert_int_equal(b.ops->remove(b.state, "t/k", &err), 0);
    }
}

static void injected_faults_come_when_planned(void **state)
{
    struct error err = {0};
    struct blob_info info;
    struct blob b = with_faults(*state, "blob.remove:after:IO_ERROR@2,blob.head:NOT_FOUND@%3");
    must_put(b, "k", "x", 1);
    for (int i = 1; i <= 9; i++)
        assert_int_equal(b.ops->head(b.state, "k", &info, &err), i % 3 ? 0 : -1);
    assert_int_equal(b.ops->remove(b.state, "other", &err), 0);
    assert_int_equal(b.ops->remove(b.state, "k", &err), -1);
    assert_int_equal(err.code, ERR_IO);
    must_list(b, "", ""); // the work was done all the same
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest contract[] = {
        EACH(stores_and_gives_back),
        EACH(reads_ranges),
        EACH(shows_a_put_only_after_its_commit),
        EACH(replaces_in_one_step),
        EACH(removes),
        EACH(g7_refuses_keys_that_lead_elsewhere),
        EACH(a_key_below_another_is_refused_or_beside_it),
        EACH(lists_in_byte_order),
        EACH(listing_may_remove_and_stop),
        EACH(g8_large_blobs_stream_through),
        EACH(g8_refuses_what_cannot_fit),
        EACH(serves_many_threads),
        EACH(reopens),
    };
    const struct CMUnitTest files[] = {
        EACH(g1_bytes_are_durable_before_their_name),
        EACH(g1_folders_of_a_former_life_are_made_durable),
        EACH(a_put_that_fails_leaves_nothing),
        EACH(a_replacement_that_fails_keeps_what_was_there),
        EACH(a_put_stays_failed_after_a_failed_write),
        EACH(a_removal_that_is_not_durable_is_an_error),
        EACH(g7_does_not_follow_links),
        EACH(tmp_is_not_for_keys),
        EACH(g8_lists_folders_larger_than_a_batch),
        EACH(says_why_it_cannot_open),
        EACH(g1_killed_while_putting),
        EACH(injected_faults_leave_nothing),
        EACH(injected_faults_come_when_planned),
    };
    static const char *const names[] = {"plain", "traced", "under the failing wrapper"};
    log_setup(LOG_OFF, false);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(backends); i++) {
        backend = &backends[i];
        for (variant = PLAIN; wanted() && variant <= FAULTY; variant++) {
            char title[64];
            snprintf(title, sizeof title, "blob on %s, %s", backend->ops->name, names[variant]);
            failed += cmocka_run_group_tests_name(title, contract, NULL, NULL);
        }
    }
    backend = &backends[0];
    variant = PLAIN;
    if (wanted())
        failed += cmocka_run_group_tests_name("what only files promise", files, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
