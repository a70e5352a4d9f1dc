// SPDX-License-Identifier: Apache-2.0
// What only the flat index has: its kernels, its file (torn, damaged, newer, rewritten), and its rows. Every
// system call that writes is also made to fail, one after the other.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/index/collection.h"
#include "backends/index/crc32c.h"
#include "backends/index/index_flat.h"
#include "base/cleanup.h"

// ---- System calls that fail when told to ----

static atomic_int calls_until_fault; // 0: none fails
static atomic_int fault_errno;
static const char *fault_call; // of this function only; NULL: of all

static bool fault_now(const char *call)
{
    if (calls_until_fault == 0 || (fault_call && strcmp(call, fault_call) != 0) || --calls_until_fault > 0)
        return false;
    errno = fault_errno;
    return true;
}

static void arm_call(const char *call, int nth, int number)
{
    fault_call = call;
    fault_errno = number;
    calls_until_fault = nth;
}

static void arm(int nth, int number)
{
    arm_call(NULL, nth, number);
}

// These stand before the C library's. What fails in the middle of writing has written half.
ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    bool fault = fault_now(__func__);
    ssize_t written = syscall(SYS_pwrite64, fd, data, fault ? len / 2 : len, offset);
    if (fault)
        errno = fault_errno;
    return fault ? -1 : written;
}

int fdatasync(int fd)
{
    return fault_now(__func__) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return fault_now(__func__) ? -1 : (int)syscall(SYS_fsync, fd);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return fault_now(__func__) ? -1 : (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

int unlinkat(int dir, const char *name, int flags)
{
    return fault_now(__func__) ? -1 : (int)syscall(SYS_unlinkat, dir, name, flags);
}

int ftruncate(int fd, off_t length)
{
    return fault_now(__func__) ? -1 : (int)syscall(SYS_ftruncate, fd, length);
}

// ---- Fixture ----

enum { DIMENSION = 5, LARGE = 512 };

struct fixture {
    void *index;
    char folder[64];
    char path[80]; // of the file of "c"
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");
    snprintf(f->folder, sizeof f->folder, "%.40s/flat.XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/c.vec", f->folder);
    *state = f;
    return 0;
}

static int delete_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static void empty_folder(struct fixture *f)
{
    assert_int_equal(nftw(f->folder, delete_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arm(0, 0);
    if (f->index)
        index_flat.close(f->index);
    empty_folder(f);
    free(f);
    return 0;
}

static void open_index(struct fixture *f)
{
    struct error err = {0};
    if (index_flat.open(f->folder, &f->index, &err) < 0)
        fail_msg("%s", err.message);
}

static void close_index(struct fixture *f)
{
    index_flat.close(take_ptr(f->index));
}

static void expect_open_fails(struct fixture *f, struct error *err)
{
    void *index = NULL;
    if (index_flat.open(f->folder, &index, err) == 0) {
        index_flat.close(index);
        fail_msg("a damaged index was opened");
    }
    assert_null(index);
}

static int try_put(struct fixture *f, const char *id, size_t dimension, size_t which, struct error *err)
{
    _cleanup_free_ float *vector = calloc(dimension, sizeof *vector);
    vector[which % dimension] = 1;
    return index_flat.upsert(f->index, "c", &(struct index_point){.id = id, .vector = vector}, 1, err);
}

static void put(struct fixture *f, const char *id, size_t dimension, size_t which)
{
    struct error err = {0};
    if (try_put(f, id, dimension, which, &err) < 0)
        fail_msg("%s", err.message);
}

static void flush(struct fixture *f)
{
    struct error err = {0};
    if (index_flat.flush(f->index, "c", &err) < 0)
        fail_msg("%s", err.message);
}

static size_t count(struct fixture *f)
{
    size_t n = 12345;
    assert_int_equal(index_flat.count(f->index, "c", &n, NULL), 0);
    return n;
}

// Which component of the stored vector is 1; -1 when the id is not there.
static int stored(struct fixture *f, const char *id)
{
    _cleanup_arena_ struct arena arena = {0};
    float *vector = NULL;
    size_t dimension = 0;
    if (index_flat.get(f->index, "c", id, &arena, &vector, &dimension, NULL) < 0)
        return -1;
    int which = 0;
    while (vector[which] != 1)
        which++;
    return which;
}

// ---- Files ----

struct bytes {
    size_t len;
    char *data;
};

static struct bytes read_file(const char *path)
{
    struct bytes b = {0};
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    b.len = (size_t)ftell(file);
    rewind(file);
    b.data = malloc(b.len + 1);
    assert_int_equal(fread(b.data, 1, b.len, file), b.len);
    fclose(file);
    return b;
}

static void write_file(const char *path, const char *data, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static size_t file_size(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (size_t)st.st_size;
}

static size_t files_in(const char *path)
{
    size_t found = 0;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        found += entry->d_name[0] != '.';
    closedir(folder);
    return found;
}

// ---- Kernels ----

static void fill(float *out, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (float)(int)(seed >> 8) / (1 << 23) - 1;
    }
}

static void expect_kernel(const struct kernel *kernel, size_t length, size_t rows)
{
    _cleanup_free_ float *query = aligned_alloc(KERNEL_ALIGN, length * sizeof *query);
    _cleanup_free_ float *matrix = aligned_alloc(KERNEL_ALIGN, (rows + 1) * length * sizeof *matrix);
    float out[9] = {0}, plain[9] = {0};
    const struct kernel *const *last = kernels;
    while (last[1])
        last++;
    fill(query, length, (unsigned)length);
    fill(matrix, rows * length, (unsigned)(length + rows));
    out[rows] = 77;
    kernel->dots(query, matrix, length, rows, out);
    (*last)->dots(query, matrix, length, rows, plain);
    for (size_t i = 0; i < rows; i++) {
        double exact = 0;
        for (size_t j = 0; j < length; j++)
            exact += (double)query[j] * matrix[i * length + j];
        assert_float_equal(plain[i], exact, 1e-6 * (double)length);
        assert_float_equal(out[i], plain[i], 1e-6 * (double)length);
    }
    assert_true(out[rows] == 77);
}

static void test_kernels(void **state)
{
    bool best_seen = false;
    for (size_t k = 0; kernels[k]; k++) {
        if (!kernels[k]->supported()) {
            print_message("this processor lacks %s\n", kernels[k]->name);
            continue;
        }
        if (!best_seen)
            assert_ptr_equal(kernel_best(), kernels[k]);
        best_seen = true;
        for (size_t length = KERNEL_STEP; length <= 1040; length += KERNEL_STEP)
            for (size_t rows = 0; rows <= 8; rows++)
                expect_kernel(kernels[k], length, rows);
    }
    assert_true(best_seen);
}

// Of 512 bits, about angle / pi differ, whatever the dimension; every kernel counts them the same.
static void test_sketches_tell_angles(void **state)
{
    (void)state;
    const size_t dimensions[] = {1, 3, 40, 512, 513, 1792};
    srandom(3);
    for (size_t d = 0; d < ARRAY_LEN(dimensions); d++) {
        size_t n = dimensions[d];
        float a[1792], b[1792];
        uint64_t of_a[SKETCH_WORDS], of_b[2][SKETCH_WORDS];
        double ab = 0, aa = 0, bb = 0;
        for (size_t i = 0; i < n; i++) {
            a[i] = (float)random() / (float)RAND_MAX - 0.5F;
            b[i] = a[i] + ((float)random() / (float)RAND_MAX - 0.5F) * (float)(d % 3) / 2;
            ab += (double)a[i] * b[i], aa += (double)a[i] * a[i], bb += (double)b[i] * b[i];
        }
        sketch_make(a, n, of_a);
        sketch_make(b, n, of_b[0]);
        memcpy(of_b[1], of_a, sizeof of_a);
        double cosine = ab / sqrt(aa * bb), expected = acos(cosine < 1 ? cosine : 1) / M_PI * SKETCH_BITS;
        for (size_t k = 0; kernels[k]; k++) {
            unsigned bits[2];
            if (!kernels[k]->supported())
                continue;
            kernels[k]->bits(of_a, (const uint64_t(*)[SKETCH_WORDS])of_b, 2, bits);
            assert_true(fabs(bits[0] - expected) < 60); // five standard deviations at most
            assert_int_equal(bits[1], 0);
            assert_true(n < 40 || bits[0] <= sketch_limit((float)cosine - 1e-3F, 1));
        }
    }
    assert_true(sketch_limit(0.9F, 0.5F) < sketch_limit(0.8F, 0.5F));
    assert_true(sketch_limit(0.8F, 0) < sketch_limit(0.8F, 0.9F));
}

// Ties are broken by id, which takes that equal rows score alike wherever they lie.
static void test_kernels_rank_alike(void **state)
{
    enum { LENGTH = 528, ROWS = 67 };
    _cleanup_free_ float *query = aligned_alloc(KERNEL_ALIGN, LENGTH * sizeof *query);
    _cleanup_free_ float *matrix = aligned_alloc(KERNEL_ALIGN, ROWS * LENGTH * sizeof *matrix);
    fill(query, LENGTH, 1);
    for (size_t i = 0; i < ROWS; i++)
        fill(matrix + i * LENGTH, LENGTH, 2);
    for (size_t k = 0; kernels[k]; k++) {
        float out[ROWS];
        if (!kernels[k]->supported())
            continue;
        kernels[k]->dots(query, matrix, LENGTH, ROWS, out);
        for (size_t i = 1; i < ROWS; i++)
            assert_true(out[i] == out[0]);
    }
}

static void test_crc32c(void **state)
{
    char data[300];
    assert_int_equal(crc32c("123456789", 9), 0xE3069283);
    assert_int_equal(crc32c_plain("123456789", 9), 0xE3069283);
    memset(data, 0, sizeof data);
    assert_int_equal(crc32c(data, 32), 0x8A9136AA); // RFC 3720, B.4
    memset(data, 0xFF, sizeof data);
    assert_int_equal(crc32c(data, 32), 0x62A8AB43);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 37 + 11);
    for (size_t begin = 0; begin < 9; begin++)
        for (size_t len = 0; begin + len < sizeof data; len++)
            assert_int_equal(crc32c(data + begin, len), crc32c_plain(data + begin, len));
}

// ---- The end of the file ----

// A file with "first" (flushed, with its mark) and then "second"; `*first_end` is where the former ends.
static struct bytes two_batches(struct fixture *f, size_t *first_end, size_t *second_end)
{
    open_index(f);
    assert_int_equal(index_flat.ensure(f->index, "c", DIMENSION, NULL), 0);
    put(f, "first", DIMENSION, 1);
    flush(f);
    *first_end = file_size(f->path);
    put(f, "second", DIMENSION, 2);
    *second_end = file_size(f->path);
    close_index(f);
    assert_true(file_size(f->path) > *second_end); // its mark
    return read_file(f->path);
}

static void expect_opens(struct fixture *f, bool second)
{
    open_index(f);
    assert_int_equal(count(f), second ? 2 : 1);
    assert_int_equal(stored(f, "first"), 1);
    assert_int_equal(stored(f, "second"), second ? 2 : -1);
    put(f, "third", DIMENSION, 3); // what is appended now is found
    close_index(f);
    open_index(f);
    assert_int_equal(stored(f, "first"), 1);
    assert_int_equal(stored(f, "second"), second ? 2 : -1);
    assert_int_equal(stored(f, "third"), 3);
    close_index(f);
}

static void test_torn_tail(void **state)
{
    struct fixture *f = *state;
    size_t first_end, second_end;
    struct bytes whole = two_batches(f, &first_end, &second_end);
    for (size_t len = first_end; len <= whole.len; len++) {
        write_file(f->path, whole.data, len);
        open_index(f);
        assert_int_equal(file_size(f->path), len < second_end ? first_end : len < whole.len ? second_end : whole.len);
        close_index(f);
        write_file(f->path, whole.data, len);
        expect_opens(f, len >= second_end);
    }
    free(whole.data);
}

// After a power cut a file may have its length, but not all of its bytes.
static void test_zeros_at_the_end(void **state)
{
    struct fixture *f = *state;
    size_t first_end, second_end;
    struct bytes whole = two_batches(f, &first_end, &second_end);
    char *torn = calloc(1, second_end + 4096);
    for (size_t len = first_end; len < second_end; len++) {
        memset(torn, 0, second_end + 4096);
        memcpy(torn, whole.data, len);
        bool second = memcmp(torn, whole.data, second_end) == 0; // zeros that should be zeros
        write_file(f->path, torn, second_end);
        expect_opens(f, second);
        write_file(f->path, torn, second_end + 4096);
        expect_opens(f, second);
    }
    free(torn);
    free(whole.data);
}

// A frame that was never promised may be lost in the middle, when what follows was not promised either.
static void test_damage_in_what_was_not_promised(void **state)
{
    struct fixture *f = *state;
    open_index(f);
    assert_int_equal(index_flat.ensure(f->index, "c", DIMENSION, NULL), 0);
    put(f, "first", DIMENSION, 1);
    flush(f);
    size_t second_at = file_size(f->path);
    put(f, "second", DIMENSION, 2);
    put(f, "after", DIMENSION, 4);
    struct bytes unsynced = read_file(f->path);
    close_index(f);
    unsynced.data[second_at + VECFILE_FRAME_HEADER + 2] ^= 1;
    write_file(f->path, unsynced.data, unsynced.len);
    expect_opens(f, false);
    free(unsynced.data);
}

static void test_batch_is_whole_or_absent(void **state)
{
    struct fixture *f = *state;
    size_t first_end, second_end;
    struct bytes before = two_batches(f, &first_end, &second_end);
    open_index(f);
    float v[3][DIMENSION] = {{1}, {0, 1}, {0, 0, 1}};
    struct index_point points[] = {{"x", v[0], NULL}, {"first", v[2], NULL}, {"y", v[1], NULL}};
    assert_int_equal(index_flat.upsert(f->index, "c", points, 3, NULL), 0);
    size_t end = file_size(f->path);
    close_index(f);
    struct bytes whole = read_file(f->path);
    for (size_t len = before.len; len <= end; len++) {
        write_file(f->path, whole.data, len);
        open_index(f);
        bool there = len == end;
        assert_int_equal(count(f), there ? 4 : 2);
        assert_int_equal(stored(f, "x"), there ? 0 : -1);
        assert_int_equal(stored(f, "y"), there ? 1 : -1);
        assert_int_equal(stored(f, "first"), there ? 2 : 1);
        close_index(f);
    }
    free(before.data);
    free(whole.data);
}

// ---- Damage ----

static void test_damage_is_named(void **state)
{
    struct fixture *f = *state;
    size_t first_end, second_end;
    struct bytes whole = two_batches(f, &first_end, &second_end);
    for (size_t at = 0; at < second_end; at++) {
        struct error err = {0};
        whole.data[at] ^= 0x40;
        write_file(f->path, whole.data, whole.len);
        expect_open_fails(f, &err);
        bool version = at >= 8 && at < 12;
        assert_int_equal(err.code, version ? ERR_DATA_DIR_NEWER : ERR_DATA_CORRUPT);
        assert_non_null(strstr(err.message, "c.vec"));
        if (!version) {
            unsigned long long offset = 0;
            assert_non_null(strstr(err.message, "at byte "));
            assert_int_equal(sscanf(strstr(err.message, "at byte "), "at byte %llu", &offset), 1);
            assert_true(offset <= at);
        }
        assert_int_equal(file_size(f->path), whole.len); // nothing is touched
        whole.data[at] ^= 0x40;
    }
    write_file(f->path, whole.data, whole.len);
    expect_opens(f, true);
    free(whole.data);
}

static void test_newer_version(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    size_t first_end, second_end;
    struct bytes whole = two_batches(f, &first_end, &second_end);
    whole.data[8] = VECFILE_VERSION + 1;
    write_file(f->path, whole.data, whole.len);
    expect_open_fails(f, &err);
    assert_int_equal(err.code, ERR_DATA_DIR_NEWER);
    assert_non_null(strstr(err.message, "c.vec has format 2"));
    struct bytes after = read_file(f->path);
    assert_int_equal(after.len, whole.len);
    assert_memory_equal(after.data, whole.data, whole.len);
    free(whole.data);
    free(after.data);
}

static void test_foreign_files(void **state)
{
    struct fixture *f = *state;
    char path[128];
    size_t first_end, second_end;
    struct bytes whole = two_batches(f, &first_end, &second_end);
    const char *const names[] = {"README", "c.vec.bak", "UPPER.vec", ".vec", "c.d.vec"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", f->folder, names[i]);
        write_file(path, "mine", 4);
    }
    snprintf(path, sizeof path, "%s/c" VECFILE_TEMPORARY, f->folder); // what a killed rewrite leaves
    write_file(path, whole.data, first_end);
    expect_opens(f, true);
    assert_int_equal(files_in(f->folder), 1 + ARRAY_LEN(names) - 1); // one of them has a dot in front
    snprintf(path, sizeof path, "%s/empty.vec", f->folder);
    write_file(path, "", 0);
    struct error err = {0};
    expect_open_fails(f, &err);
    assert_int_equal(err.code, ERR_DATA_CORRUPT);
    assert_non_null(strstr(err.message, "empty.vec"));
    free(whole.data);
}

// ---- Rewriting ----

static void churn(struct fixture *f, int rounds, int ids)
{
    for (int round = 0; round < rounds; round++) {
        char id[16];
        snprintf(id, sizeof id, "id%d", round % ids);
        put(f, id, LARGE, (size_t)round);
    }
}

static void expect_churned(struct fixture *f, int rounds, int ids)
{
    assert_int_equal(count(f), ids);
    for (int round = rounds - ids; round < rounds; round++) {
        char id[16];
        snprintf(id, sizeof id, "id%d", round % ids);
        assert_int_equal(stored(f, id), round % LARGE);
    }
}

static void test_flush_rewrites(void **state)
{
    struct fixture *f = *state;
    enum { ROUNDS = 400, IDS = 10 };
    open_index(f);
    assert_int_equal(index_flat.ensure(f->index, "c", LARGE, NULL), 0);
    churn(f, ROUNDS, IDS);
    size_t before = file_size(f->path);
    assert_true(before > ROUNDS * LARGE * sizeof(float));
    flush(f);
    assert_true(file_size(f->path) < 2 * IDS * (LARGE * sizeof(float) + 100));
    assert_int_equal(files_in(f->folder), 1);
    for (int pass = 0; pass < 2; pass++) {
        expect_churned(f, ROUNDS, IDS);
        put(f, "more", LARGE, 5);
        assert_int_equal(index_flat.remove(f->index, "c", (const char *[]){"more"}, 1, NULL, NULL), 0);
        close_index(f);
        open_index(f);
    }
}

static void test_nothing_is_left_of_nothing(void **state)
{
    struct fixture *f = *state;
    open_index(f);
    assert_int_equal(index_flat.ensure(f->index, "c", LARGE, NULL), 0);
    churn(f, 300, 300);
    for (int i = 0; i < 300; i++) {
        char id[16];
        snprintf(id, sizeof id, "id%d", i);
        assert_int_equal(index_flat.remove(f->index, "c", (const char *[]){id}, 1, NULL, NULL), 0);
    }
    flush(f);
    assert_true(file_size(f->path) < 200);
    close_index(f);
    open_index(f);
    assert_int_equal(count(f), 0);
    put(f, "new", LARGE, 1);
    assert_int_equal(stored(f, "new"), 1);
}

static void test_open_rewrites(void **state)
{
    struct fixture *f = *state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) { // ends without a flush
        open_index(f);
        index_flat.ensure(f->index, "c", LARGE, NULL);
        churn(f, 400, 10);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(file_size(f->path) > 400 * LARGE * sizeof(float));
    open_index(f);
    assert_true(file_size(f->path) < 20 * (LARGE * sizeof(float) + 100));
    expect_churned(f, 400, 10);
}

// A view outlives the rewriting of what it looks at.
static void test_views_outlive_rewriting(void **state)
{
    struct fixture *f = *state;
    int dir = open(f->folder, O_RDONLY | O_DIRECTORY);
    struct collection *c;
    assert_int_equal(collection_create(dir, kernel_best(), "c", LARGE, &c, NULL), 0);
    float vector[LARGE] = {1};
    struct index_point point = {.id = "x", .vector = vector};
    assert_int_equal(collection_upsert(c, &point, 1, NULL), 0);
    struct view view = collection_view(c);
    for (int i = 0; i < 400; i++)
        assert_int_equal(collection_upsert(c, &point, 1, NULL), 0);
    assert_ptr_equal(c->rows, view.rows);
    assert_int_equal(collection_flush(c, NULL), 0);
    assert_ptr_not_equal(c->rows, view.rows);
    assert_int_equal(c->rows->count, 1);
    assert_int_equal(view.count, 1);
    const struct item *item = view.chunks[0]->items[0];
    assert_string_equal(item_id(item), "x");
    assert_true(item->died > view.version); // alive for who took the view before the second write
    assert_true(view.chunks[0]->vectors[0] == 1);
    collection_release(c, &view);
    collection_unref(c);
    close(dir);
}

// ---- Faults ----

static void test_full_disk(void **state)
{
    struct fixture *f = *state;
    open_index(f);
    assert_int_equal(index_flat.ensure(f->index, "c", DIMENSION, NULL), 0);
    put(f, "first", DIMENSION, 1);
    size_t before = file_size(f->path);
    for (int i = 0; i < 50; i++) {
        struct error err = {0};
        arm(1, ENOSPC);
        assert_int_equal(try_put(f, "second", DIMENSION, 2, &err), -1);
        assert_int_equal(err.code, ERR_DISK_FULL);
        assert_true(err.retryable);
        assert_int_equal(file_size(f->path), before);
        assert_int_equal(stored(f, "second"), -1);
        arm(1, ENOSPC);
        assert_int_equal(index_flat.remove(f->index, "c", (const char *[]){"first"}, 1, NULL, &err), -1);
        assert_int_equal(stored(f, "first"), 1);
        assert_int_equal(count(f), 1);
    }
    put(f, "second", DIMENSION, 2);
    close_index(f);
    expect_opens(f, true);
}

// A rewrite that fails costs nothing but the space that it would have freed.
static void test_rewriting_on_a_full_disk(void **state)
{
    struct fixture *f = *state;
    open_index(f);
    assert_int_equal(index_flat.ensure(f->index, "c", LARGE, NULL), 0);
    churn(f, 400, 10);
    size_t before = file_size(f->path);
    arm(4, ENOSPC); // sync, mark, header, and then the rows
    flush(f);
    assert_int_equal(calls_until_fault, 0);
    assert_true(file_size(f->path) >= before);
    assert_int_equal(files_in(f->folder), 1);
    expect_churned(f, 400, 10);
    put(f, "id0", LARGE, 390);
    arm(100, ENOSPC);
    flush(f);
    assert_int_equal(calls_until_fault, 98); // sync and mark: it is not tried at each flush
    arm(0, 0);
    close_index(f);
    open_index(f);
    expect_churned(f, 400, 10);
    assert_true(file_size(f->path) < before);
}

// A sync that failed is not simply tried again: the kernel may have forgotten what it could not write.
static void test_failed_sync(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct stat before, after;
    open_index(f);
    assert_int_equal(index_flat.ensure(f->index, "c", DIMENSION, NULL), 0);
    put(f, "first", DIMENSION, 1);
    assert_int_equal(stat(f->path, &before), 0);
    arm(1, EIO);
    assert_int_equal(index_flat.flush(f->index, "c", &err), -1);
    assert_int_equal(err.code, ERR_IO);
    put(f, "second", DIMENSION, 2);
    flush(f);
    assert_int_equal(stat(f->path, &after), 0);
    assert_true(before.st_ino != after.st_ino);
    close_index(f);
    expect_opens(f, true);
}

// As long as the new file's name may be lost in a power cut, a flush of that file promises nothing.
static void test_failed_sync_of_the_folder(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    open_index(f);
    assert_int_equal(index_flat.ensure(f->index, "c", LARGE, NULL), 0);
    churn(f, 400, 10);
    arm_call("fsync", 1, EIO);
    flush(f); // the old file was synced before: that promise holds whichever file is found
    assert_int_equal(calls_until_fault, 0);
    put(f, "more", LARGE, 5);
    arm_call("fsync", 1, EIO);
    assert_int_equal(index_flat.flush(f->index, "c", &err), -1);
    assert_int_equal(err.code, ERR_IO);
    flush(f);
    assert_int_equal(stored(f, "more"), 5);
    assert_int_equal(index_flat.remove(f->index, "c", (const char *[]){"more"}, 1, NULL, NULL), 0);
    close_index(f);
    open_index(f);
    expect_churned(f, 400, 10);
}

static void test_failed_writes_take_no_memory(void **state)
{
    struct fixture *f = *state;
    int dir = open(f->folder, O_RDONLY | O_DIRECTORY);
    struct collection *c;
    assert_int_equal(collection_create(dir, kernel_best(), "c", DIMENSION, &c, NULL), 0);
    float vector[DIMENSION] = {1};
    struct index_point point = {.id = "x", .vector = vector};
    assert_int_equal(collection_upsert(c, &point, 1, NULL), 0);
    const struct slab *slabs = c->rows->slabs;
    for (int i = 0; i < 1000; i++) {
        arm(1, ENOSPC);
        assert_int_equal(collection_upsert(c, &point, 1, NULL), -1);
    }
    assert_ptr_equal(c->rows->slabs, slabs);
    assert_int_equal(c->rows->count, 1);
    collection_unref(c);
    close(dir);
}

// One run of everything that writes. What was reported as done must be there at the end, what failed must not.
struct run {
    bool made, second, removed, flushed, dropped;
};

static struct run run_writes(struct fixture *f)
{
    struct run r = {0};
    r.made = index_flat.ensure(f->index, "other", DIMENSION, NULL) == 0;
    r.second = try_put(f, "second", LARGE, 2, NULL) == 0;
    r.removed = index_flat.remove(f->index, "c", (const char *[]){"first"}, 1, NULL, NULL) == 0;
    r.flushed = index_flat.flush(f->index, NULL, NULL) == 0; // rewrites, too
    r.dropped = index_flat.drop(f->index, "other", NULL) == 0;
    return r;
}

static void expect_run(struct fixture *f, const struct run *r)
{
    assert_int_equal(stored(f, "second"), r->second ? 2 : -1);
    assert_int_equal(stored(f, "first"), r->removed ? -1 : 1);
    for (int i = 0; i < 10; i++) {
        char id[16];
        snprintf(id, sizeof id, "id%d", i);
        assert_int_equal(stored(f, id), 190 + i);
    }
    assert_int_equal(count(f), 10 + r->second + !r->removed);
}

static void test_each_call_fails_once(void **state)
{
    struct fixture *f = *state;
    bool finished = false;
    int nth = 1;
    for (; !finished; nth++) {
        empty_folder(f);
        open_index(f);
        assert_int_equal(index_flat.ensure(f->index, "c", LARGE, NULL), 0);
        put(f, "first", LARGE, 1);
        churn(f, 200, 10);
        arm(nth, EIO);
        struct run r = run_writes(f);
        finished = calls_until_fault > 0;
        arm(0, 0);
        expect_run(f, &r);
        if (r.dropped)
            assert_int_equal(files_in(f->folder), 1);
        if (finished)
            assert_true(r.made && r.second && r.removed && r.flushed && r.dropped);
        flush(f); // the outage is over: everything works again
        assert_int_equal(index_flat.ensure(f->index, "other", DIMENSION, NULL), 0);
        assert_int_equal(index_flat.drop(f->index, "other", NULL), 0);
        close_index(f);
        open_index(f);
        expect_run(f, &r);
        assert_int_equal(files_in(f->folder), 1);
        close_index(f);
    }
    assert_true(nth > 12);
}

static void test_batch_limit(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    enum { COUNT = 1100 };
    _cleanup_free_ float *vector = calloc(DIMENSION_MAX, sizeof *vector);
    _cleanup_free_ struct index_point *points = calloc(COUNT, sizeof *points);
    vector[7] = 1;
    for (size_t i = 0; i < COUNT; i++)
        points[i] = (struct index_point){.id = "x", .vector = vector};
    open_index(f);
    assert_int_equal(index_flat.ensure(f->index, "c", DIMENSION_MAX, NULL), 0);
    assert_int_equal(index_flat.upsert(f->index, "c", points, COUNT, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(count(f), 0);
    assert_int_equal(index_flat.upsert(f->index, "c", points, 20, &err), 0);
    assert_int_equal(stored(f, "x"), 7);
}

static void test_folder_that_cannot_be(void **state)
{
    struct fixture *f = *state;
    char path[128];
    const char *const bad[] = {"file", "file/below", "missing/below"};
    snprintf(path, sizeof path, "%s/file", f->folder);
    write_file(path, "x", 1);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        void *index = NULL;
        struct error err = {0};
        snprintf(path, sizeof path, "%s/%s", f->folder, bad[i]);
        assert_int_equal(index_flat.open(path, &index, &err), -1);
        assert_int_equal(err.code, ERR_IO);
        assert_non_null(strstr(err.message, bad[i]));
        assert_null(index);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_kernels_rank_alike),
        cmocka_unit_test(test_sketches_tell_angles),
        cmocka_unit_test(test_crc32c),
        CASE(test_torn_tail),
        CASE(test_zeros_at_the_end),
        CASE(test_damage_in_what_was_not_promised),
        CASE(test_batch_is_whole_or_absent),
        CASE(test_damage_is_named),
        CASE(test_newer_version),
        CASE(test_foreign_files),
        CASE(test_flush_rewrites),
        CASE(test_nothing_is_left_of_nothing),
        CASE(test_open_rewrites),
        CASE(test_views_outlive_rewriting),
        CASE(test_full_disk),
        CASE(test_rewriting_on_a_full_disk),
        CASE(test_failed_sync),
        CASE(test_failed_sync_of_the_folder),
        CASE(test_failed_writes_take_no_memory),
        CASE(test_each_call_fails_once),
        CASE(test_batch_limit),
        CASE(test_folder_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
