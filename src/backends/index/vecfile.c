// SPDX-License-Identifier: Apache-2.0
// The file of one collection: writing frames, and reading them all at open.
#include "backends/index/vecfile.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/index/crc32c.h"

enum {
    RECORD_HEADER = 4,
    RECORD_TERM = 17,
    NAME_MAX_LEN = 256,
    REWRITE_FRAME = 1 << 20, // body of a frame when a file is rewritten
    WINDOW = 1 << 20,        // of reading
};

enum { OP_UPSERT = 1, OP_REMOVE = 2 };

static const char magic[8] = {'D', 'L', 'V', 'E', 'C', 'T', 'O', 'R'};
static const char frame_magic[4] = {'F', 'R', 'A', 'M'};

// ---- Numbers ----

static void put16(void *at, uint16_t value)
{
    value = htole16(value);
    memcpy(at, &value, sizeof value);
}

static void put32(void *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof value);
}

static void put64(void *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof value);
}

static uint16_t get16(const void *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return le16toh(value);
}

static uint32_t get32(const void *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return le32toh(value);
}

static uint64_t get64(const void *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return le64toh(value);
}

// In place: the same function writes and reads.
static void floats_le(void *floats, size_t count)
{
#if __BYTE_ORDER != __LITTLE_ENDIAN
    for (size_t i = 0; i < count; i++)
        put32((char *)floats + 4 * i, get32((char *)floats + 4 * i));
#else
    (void)floats, (void)count;
#endif
}

// ---- Frames ----

uint64_t vecfile_record_size(size_t dimension, size_t id_len, size_t terms)
{
    return RECORD_HEADER + id_len + terms * RECORD_TERM + dimension * sizeof(float);
}

void frame_begin(struct buf *frame)
{
    static const char blank[VECFILE_FRAME_HEADER];
    buf_clear(frame);
    buf_append(frame, blank, sizeof blank);
}

static void put_record(struct buf *frame, uint8_t op, const char *id, size_t id_len, size_t terms)
{
    char header[RECORD_HEADER] = {(char)op, (char)id_len};
    put16(header + 2, (uint16_t)terms);
    buf_append(frame, header, sizeof header);
    buf_append(frame, id, id_len);
}

void frame_upsert(struct buf *frame, const char *id, size_t id_len, const struct term *terms, size_t term_count,
                  const float *vector, size_t dimension)
{
    put_record(frame, OP_UPSERT, id, id_len, term_count);
    for (size_t i = 0; i < term_count; i++) {
        char packed[RECORD_TERM];
        put64(packed, terms[i].path);
        put64(packed + 8, terms[i].value);
        packed[16] = (char)terms[i].kind;
        buf_append(frame, packed, sizeof packed);
    }
    if (buf_append(frame, vector, dimension * sizeof *vector) == 0)
        floats_le(frame->data + frame->len - dimension * sizeof *vector, dimension);
}

void frame_remove(struct buf *frame, const char *id, size_t id_len)
{
    put_record(frame, OP_REMOVE, id, id_len, 0);
}

int frame_seal(struct buf *frame, size_t operations, struct error *err)
{
    static const char zeros[8];
    size_t body = frame->len - VECFILE_FRAME_HEADER;
    if (frame->failed || body > VECFILE_BODY_MAX)
        return error_set(err, ERR_INVALID, "A batch takes at most %d MiB", VECFILE_BODY_MAX >> 20);
    if (buf_append(frame, zeros, -body & 7) < 0)
        return error_set(err, ERR_NO_MEMORY, "There is no memory for the batch");
    memcpy(frame->data, frame_magic, sizeof frame_magic);
    put32(frame->data + 4, (uint32_t)operations);
    put64(frame->data + 8, body);
    put32(frame->data + 24, crc32c(frame->data + VECFILE_FRAME_HEADER, frame->len - VECFILE_FRAME_HEADER));
    return 0;
}

// ---- Writing ----

static int write_all(int fd, const char *data, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            return -1;
        }
        data += n;
        len -= (size_t)n;
        offset += (size_t)n;
    }
    return 0;
}

int vecfile_append(struct vecfile *file, struct buf *frame, struct error *err)
{
    put64(frame->data + 16, file->synced);
    put32(frame->data + 28, crc32c(frame->data, 28));
    if (write_all(file->fd, frame->data, frame->len, file->length) < 0) {
        error_errno(err, ERR_IO, errno, "Vectors cannot be written");
        // Should cutting fail too, the rest of a frame stays behind the end: the next frame is written over it, and
        // what then remains is cut off at the next open.
        int cut = ftruncate(file->fd, (off_t)file->length);
        (void)cut;
        return -1;
    }
    file->length += frame->len;
    return 0;
}

void vecfile_mark(struct vecfile *file, uint64_t length)
{
    bool nothing_since = file->length == length;
    _cleanup_buf_ struct buf mark = FRAME_INIT;
    file->synced = length;
    frame_begin(&mark);
    if (frame_seal(&mark, 0, NULL) == 0)
        vecfile_append(file, &mark, NULL);
    if (nothing_since)
        file->clean = file->length;
}

static int write_header(struct vecfile *file, size_t dimension)
{
    char header[VECFILE_HEADER] = {0};
    memcpy(header, magic, sizeof magic);
    put32(header + 8, VECFILE_VERSION);
    put32(header + 12, (uint32_t)dimension);
    put32(header + 28, crc32c(header, 28));
    file->length = sizeof header;
    return write_all(file->fd, header, sizeof header, 0);
}

static int write_rows(struct vecfile *file, const struct rows *rows, struct error *err)
{
    _cleanup_buf_ struct buf frame = FRAME_INIT;
    size_t operations = 0;
    frame_begin(&frame);
    for (uint32_t row = 0; row < rows->count; row++) {
        const struct item *item = rows_item(rows, row);
        if (atomic_load_explicit(&item->died, memory_order_relaxed) == ROW_ALIVE) {
            frame_upsert(&frame, item_id(item), item->id_len, item->term, item->terms, rows_vector(rows, row),
                         rows->dimension);
            operations++;
        }
        if (operations && (frame.len >= REWRITE_FRAME || row + 1 == rows->count)) {
            if (frame_seal(&frame, operations, err) < 0 || vecfile_append(file, &frame, err) < 0)
                return -1;
            frame_begin(&frame);
            operations = 0;
        }
    }
    return 0;
}

static void file_name(char out[NAME_MAX_LEN], const char *collection, const char *suffix)
{
    snprintf(out, NAME_MAX_LEN, "%s%s", collection, suffix);
}

int vecfile_create(int dir, const char *collection, const struct rows *rows, struct vecfile *out, struct error *err)
{
    char name[NAME_MAX_LEN];
    file_name(name, collection, VECFILE_TEMPORARY);
    _cleanup_close_ int fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, ERR_IO, errno, "%s cannot be made", name);
    struct vecfile file = {.fd = fd};
    int written = write_header(&file, rows->dimension);
    if (written < 0)
        error_errno(err, ERR_IO, errno, "%s cannot be written", name);
    else
        written = write_rows(&file, rows, err);
    if (written == 0 && fdatasync(fd) < 0)
        written = error_errno(err, ERR_IO, errno, "%s cannot be made durable", name);
    if (written < 0) {
        vecfile_discard(dir, collection);
        return -1;
    }
    vecfile_mark(&file, file.length);
    take_fd(fd);
    *out = file;
    return 0;
}

int vecfile_rename(int dir, const char *collection, struct error *err)
{
    char from[NAME_MAX_LEN], to[NAME_MAX_LEN];
    file_name(from, collection, VECFILE_TEMPORARY);
    file_name(to, collection, VECFILE_SUFFIX);
    if (renameat(dir, from, dir, to) < 0)
        return error_errno(err, ERR_IO, errno, "%s cannot be renamed to %s", from, to);
    return 0;
}

void vecfile_discard(int dir, const char *collection)
{
    char name[NAME_MAX_LEN];
    file_name(name, collection, VECFILE_TEMPORARY);
    unlinkat(dir, name, 0);
}

// ---- Reading ----

// A window on the file; `at` is where the next frame begins.
struct reader {
    const char *name;
    int fd;
    uint64_t size;
    uint64_t at;
    uint64_t window_at;
    size_t window_len;
    struct buf window;
    uint64_t synced; // the highest that a good frame has claimed
    uint64_t clean;  // the end of the last frame when that is a mark of all before it
};

struct frame_info {
    uint32_t operations;
    uint32_t body_crc;
    uint64_t body;
    uint64_t synced;
};

static int corrupt(const struct reader *r, uint64_t at, const char *what, struct error *err)
{
    return error_set(err, ERR_DATA_CORRUPT, "%s is damaged at byte %llu: %s", r->name, (unsigned long long)at, what);
}

static int read_all(struct reader *r, char *into, size_t len, uint64_t offset, struct error *err)
{
    while (len > 0) {
        ssize_t n = pread(r->fd, into, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_errno(err, ERR_IO, n < 0 ? errno : EIO, "%s cannot be read at byte %llu", r->name,
                               (unsigned long long)offset);
        into += n;
        len -= (size_t)n;
        offset += (size_t)n;
    }
    return 0;
}

// Gives `len` bytes at `offset`, which must lie within the file; they hold until the next call.
static const char *look(struct reader *r, uint64_t offset, size_t len, struct error *err)
{
    if (offset >= r->window_at && offset + len <= r->window_at + r->window_len)
        return r->window.data + (offset - r->window_at);
    size_t want = len > WINDOW ? len : WINDOW;
    if (want > r->size - offset)
        want = (size_t)(r->size - offset);
    r->window_len = 0;
    r->window.len = 0;
    if (buf_reserve(&r->window, want) < 0) {
        error_set(err, ERR_NO_MEMORY, "There is no memory to read %s", r->name);
        return NULL;
    }
    if (read_all(r, r->window.data, want, offset, err) < 0)
        return NULL;
    r->window_at = offset;
    r->window_len = want;
    return r->window.data;
}

// With the zeros behind the body.
static uint64_t padded(uint64_t body)
{
    return (body + 7) / 8 * 8;
}

static bool frame_header_read(const char *header, struct frame_info *out)
{
    if (memcmp(header, frame_magic, sizeof frame_magic) != 0 || get32(header + 28) != crc32c(header, 28))
        return false;
    *out = (struct frame_info){
        .operations = get32(header + 4),
        .body = get64(header + 8),
        .synced = get64(header + 16),
        .body_crc = get32(header + 24),
    };
    return out->body <= VECFILE_BODY_MAX;
}

// 1 and the body when a whole frame stands at r->at, 0 when none does, -1 on failure.
static int frame_read(struct reader *r, struct frame_info *info, const char **body, struct error *err)
{
    if (r->size - r->at < VECFILE_FRAME_HEADER)
        return 0;
    const char *header = look(r, r->at, VECFILE_FRAME_HEADER, err);
    if (!header)
        return -1;
    if (!frame_header_read(header, info))
        return 0;
    if (r->size - r->at - VECFILE_FRAME_HEADER < padded(info->body))
        return 0;
    const char *frame = look(r, r->at, VECFILE_FRAME_HEADER + padded(info->body), err);
    if (!frame)
        return -1;
    *body = frame + VECFILE_FRAME_HEADER;
    return crc32c(*body, padded(info->body)) == info->body_crc;
}

// Whether a frame behind r->at claims that more than what lies before r->at was durable: 1, 0, or -1.
static int find_witness(struct reader *r, struct error *err)
{
    struct frame_info info;
    for (uint64_t at = r->at + 8; at + VECFILE_FRAME_HEADER <= r->size; at += 8) {
        const char *header = look(r, at, VECFILE_FRAME_HEADER, err);
        if (!header)
            return -1;
        if (frame_header_read(header, &info) && info.synced > r->at)
            return 1;
    }
    return 0;
}

struct record {
    uint8_t op;
    const char *id;
    size_t id_len;
    const char *terms;
    size_t term_count;
    const char *vector;
};

// Reads one record and returns what stands behind it; NULL when it does not fit the body.
static const char *record_read(const char *p, const char *end, size_t dimension, struct record *out)
{
    if (end - p < RECORD_HEADER)
        return NULL;
    *out = (struct record){
        .op = (uint8_t)p[0], .id_len = (uint8_t)p[1], .term_count = get16(p + 2), .id = p + RECORD_HEADER};
    if ((out->op != OP_UPSERT && out->op != OP_REMOVE) || out->id_len == 0 || out->id_len > ROW_ID_MAX)
        return NULL;
    size_t need = out->op == OP_UPSERT ? vecfile_record_size(dimension, out->id_len, out->term_count)
                                       : RECORD_HEADER + out->id_len;
    if ((size_t)(end - p) < need || out->term_count > TERMS_MAX)
        return NULL;
    out->terms = out->id + out->id_len;
    out->vector = out->terms + out->term_count * RECORD_TERM;
    return p + need;
}

static int record_upsert(const struct record *record, struct rows *rows, struct error *err)
{
    struct term terms[TERMS_MAX];
    for (size_t i = 0; i < record->term_count; i++) {
        const char *packed = record->terms + i * RECORD_TERM;
        terms[i] = (struct term){get64(packed), get64(packed + 8), (uint8_t)packed[16]};
    }
    float *vector = rows_reserve(rows, 1, NULL, err) < 0
                        ? NULL
                        : rows_stage(rows, 0, record->id, record->id_len, terms, record->term_count);
    if (!vector)
        return error_set(err, ERR_NO_MEMORY, "There is no memory for the vectors");
    memcpy(vector, record->vector, rows->dimension * sizeof *vector);
    floats_le(vector, rows->dimension);
    rows_filled(rows, 0);
    rows_publish(rows, 1);
    return 0;
}

static int frame_apply(struct reader *r, const struct frame_info *info, const char *body, struct rows *rows,
                       struct error *err)
{
    const char *p = body, *end = body + info->body;
    for (uint32_t i = 0; i < info->operations; i++) {
        struct record record;
        p = record_read(p, end, rows->dimension, &record);
        if (!p)
            return corrupt(r, r->at, "an operation that is none", err);
        if (record.op == OP_UPSERT) {
            if (record_upsert(&record, rows, err) < 0)
                return error_prefix(err, "%s", r->name);
            continue;
        }
        int64_t row = rows_find(rows, record.id, record.id_len);
        if (row >= 0)
            rows_kill(rows, &(uint32_t){(uint32_t)row}, 1);
    }
    if (p != end)
        return corrupt(r, r->at, "a batch with more than its operations", err);
    r->synced = info->synced > r->synced ? info->synced : r->synced;
    bool mark = info->operations == 0 && info->synced == r->at;
    r->at += VECFILE_FRAME_HEADER + padded(info->body);
    r->clean = mark ? r->at : 0;
    return 0;
}

static int header_read(struct reader *r, size_t *dimension, struct error *err)
{
    if (r->size < VECFILE_HEADER)
        return corrupt(r, 0, "it is shorter than its header", err);
    const char *header = look(r, 0, VECFILE_HEADER, err);
    if (!header)
        return -1;
    if (memcmp(header, magic, sizeof magic) != 0)
        return corrupt(r, 0, "it is not a file of vectors", err);
    if (get32(header + 8) > VECFILE_VERSION)
        return error_set(err, ERR_DATA_DIR_NEWER, "%s has format %u, and this version reads up to %d", r->name,
                         get32(header + 8), VECFILE_VERSION);
    if (get32(header + 28) != crc32c(header, 28) || get32(header + 8) != VECFILE_VERSION || get32(header + 12) == 0)
        return corrupt(r, 0, "its header is not what was written", err);
    *dimension = get32(header + 12);
    r->at = VECFILE_HEADER;
    return 0;
}

// Applies frames up to the first that is not whole, and says what to make of that one.
static int frames_read(struct reader *r, struct rows *rows, struct error *err)
{
    struct frame_info info;
    const char *body;
    int found;
    while ((found = frame_read(r, &info, &body, err)) == 1)
        if (frame_apply(r, &info, body, rows, err) < 0)
            return -1;
    if (found < 0 || r->at == r->size)
        return found;
    int witness = find_witness(r, err);
    if (witness != 0)
        return witness < 0 ? -1 : corrupt(r, r->at, "what was durable there is not what was written", err);
    if (ftruncate(r->fd, (off_t)r->at) < 0)
        return error_errno(err, ERR_IO, errno, "The torn end of %s cannot be cut off", r->name);
    return 0;
}

static int load(struct reader *r, struct rows **out, struct error *err)
{
    size_t dimension = 0;
    if (header_read(r, &dimension, err) < 0)
        return -1;
    _cleanup_rows_ struct rows *rows = rows_new(dimension);
    if (!rows)
        return error_set(err, ERR_NO_MEMORY, "There is no memory for %s", r->name);
    if (frames_read(r, rows, err) < 0)
        return -1;
    *out = take_ptr(rows);
    return 0;
}

int vecfile_load(int dir, const char *collection, struct vecfile *out, struct rows **rows, struct error *err)
{
    char name[NAME_MAX_LEN];
    struct stat st;
    file_name(name, collection, VECFILE_SUFFIX);
    _cleanup_close_ int fd = openat(dir, name, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, ERR_IO, errno, "%s cannot be opened", name);
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    struct reader r = {.name = name, .fd = fd, .size = (uint64_t)st.st_size, .window = FRAME_INIT};
    int loaded = load(&r, rows, err);
    buf_free(&r.window);
    if (loaded < 0)
        return -1;
    // What a process that was killed wrote is there, but perhaps not yet durable: only a mark says so.
    *out = (struct vecfile){.fd = take_fd(fd), .length = r.at, .synced = r.synced, .clean = r.clean};
    return 0;
}
