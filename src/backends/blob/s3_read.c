// SPDX-License-Identifier: Apache-2.0
// Reading through a window: a piece of the object in memory. Opening fetches the first one, which for most blobs is the
// whole, in one request. Later ones are asked for on the condition that the object is the same still. While pieces come
// in their order their SHA-256 is taken along, and compared with what the put said once the end is reached.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backends/blob/s3_int.h"

enum { WINDOW = 4 << 20 };

struct blob_reader {
    struct s3 *s3;
    char *window;
    uint64_t at;      // where the window begins
    size_t len, room; // in it; counted as held
    uint64_t size;
    uint64_t hashed; // bytes from the start that the sum has seen
    crypto_hash_sha256_state hash;
    char tag[S3_TAG_MAX];
    char sha256[S3_SHA256_HEX]; // "": nothing to compare with
    char key[BLOB_KEY_MAX + 1];
};

DEFINE_CLEANUP(struct blob_reader *, reader, s3_reader_close)

static int absent(const char *key, struct error *err)
{
    return error_set(err, ERR_NOT_FOUND, "There is no blob \"%s\"", key);
}

static int check_bytes(struct blob_reader *r, const void *bytes, uint64_t at, size_t len, struct error *err)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    char sha256[S3_SHA256_HEX];
    if (!*r->sha256 || at != r->hashed)
        return 0;
    crypto_hash_sha256_update(&r->hash, bytes, len);
    r->hashed += len;
    if (r->hashed < r->size)
        return 0;
    crypto_hash_sha256_final(&r->hash, hash);
    s3_sha256_hex(hash, sha256);
    if (strcmp(sha256, r->sha256) != 0)
        return error_set(err, ERR_DATA_CORRUPT, "The blob \"%s\" is not what was stored: its SHA-256 is another",
                         r->key);
    r->sha256[0] = 0; // once is enough
    return 0;
}

// Fetches exactly these bytes, which are within the object.
static int fetch(struct blob_reader *r, uint64_t at, void *into, size_t len, struct error *err)
{
    char range[80], same[S3_TAG_MAX + 16];
    snprintf(range, sizeof range, "Range:bytes=%" PRIu64 "-%" PRIu64, at, at + len - 1);
    snprintf(same, sizeof same, "If-Match:%s", r->tag);
    _cleanup_answer_ struct s3_answer answer;
    const struct s3_request request = {
        .method = "GET", .name = r->key, .headers = {range, same}, .into = into, .into_len = len};
    if (s3_send(r->s3, &request, &answer, err) < 0)
        return -1;
    if (answer.status >= 300)
        return error_set(err, ERR_NOT_FOUND, "The blob \"%s\" was deleted or replaced while it was read", r->key);
    if (answer.got != len)
        return error_set(err, ERR_DATA_CORRUPT, "S3 sent %zu bytes of \"%s\" where %zu were asked for", answer.got,
                         r->key, len);
    return check_bytes(r, into, at, len, err);
}

static int open_window(struct blob_reader *r, size_t room, struct error *err)
{
    if (room <= r->room)
        return 0;
    if (s3_hold(r->s3, (int64_t)(room - r->room), err) < 0)
        return -1;
    char *window = realloc(r->window, room);
    if (!window) {
        s3_let_go(r->s3, (int64_t)(room - r->room));
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    }
    r->window = window;
    r->room = room;
    return 0;
}

static void shrink_window(struct blob_reader *r)
{
    char *window = realloc(r->window, r->len ? r->len : 1);
    s3_let_go(r->s3, (int64_t)(r->room - r->len));
    r->window = window ? window : r->window;
    r->room = r->len;
}

static int fetch_first(struct blob_reader *r, struct error *err)
{
    char range[64];
    if (open_window(r, WINDOW, err) < 0)
        return -1;
    snprintf(range, sizeof range, "Range:bytes=0-%d", WINDOW - 1);
    _cleanup_answer_ struct s3_answer answer;
    const struct s3_request request = {
        .method = "GET", .name = r->key, .headers = {range}, .into = r->window, .into_len = WINDOW};
    if (s3_send(r->s3, &request, &answer, err) < 0)
        return -1;
    if (answer.status == 404)
        return absent(r->key, err);
    // An empty object has no range: it is answered with 416.
    r->size = answer.status == 416 ? 0 : answer.size;
    r->len = answer.got;
    if (r->len != (r->size < WINDOW ? r->size : WINDOW))
        return error_set(err, ERR_DATA_CORRUPT, "S3 sent %zu bytes of \"%s\", which has %" PRIu64, r->len, r->key,
                         r->size);
    memcpy(r->tag, answer.tag, sizeof r->tag);
    memcpy(r->sha256, answer.sha256, sizeof r->sha256);
    shrink_window(r);
    return r->size ? check_bytes(r, r->window, 0, r->len, err) : 0;
}

int s3_open_read(void *state, const char *key, struct blob_reader **out, struct error *err)
{
    if (!blob_key_valid(key))
        return error_set(err, ERR_INVALID, "\"%.64s\" cannot be the key of a blob", key);
    if (s3_claim(state, err) < 0)
        return -1;
    _cleanup_(cleanup_reader) struct blob_reader *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    r->s3 = state;
    snprintf(r->key, sizeof r->key, "%s", key);
    crypto_hash_sha256_init(&r->hash);
    if (fetch_first(r, err) < 0)
        return -1;
    *out = take_ptr(r);
    return 0;
}

uint64_t s3_reader_size(const struct blob_reader *reader)
{
    return reader->size;
}

static int move_window(struct blob_reader *r, uint64_t offset, struct error *err)
{
    uint64_t left = r->size - offset;
    size_t len = left < WINDOW ? (size_t)left : WINDOW;
    if (open_window(r, len, err) < 0)
        return -1;
    r->len = 0;
    if (fetch(r, offset, r->window, len, err) < 0)
        return -1;
    r->at = offset;
    r->len = len;
    return 0;
}

int s3_read(struct blob_reader *r, uint64_t offset, void *buf, size_t len, struct error *err)
{
    if (offset > r->size || len > r->size - offset)
        return error_set(err, ERR_RANGE, "Bytes %" PRIu64 " to %" PRIu64 " of a blob of %" PRIu64 " were asked for",
                         offset, offset + len, r->size);
    for (char *to = buf; len;) {
        size_t step = len;
        if (offset >= r->at && offset < r->at + r->len) {
            size_t there = (size_t)(r->at + r->len - offset);
            step = there < len ? there : len;
            memcpy(to, r->window + (offset - r->at), step);
        } else if (len >= WINDOW) {
            if (fetch(r, offset, to, len, err) < 0)
                return -1;
        } else {
            if (move_window(r, offset, err) < 0)
                return -1;
            continue;
        }
        to += step;
        offset += step;
        len -= step;
    }
    return 0;
}

int s3_reader_fd(const struct blob_reader *reader)
{
    (void)reader;
    return -1;
}

void s3_reader_close(struct blob_reader *reader)
{
    if (!reader)
        return;
    free(reader->window);
    s3_let_go(reader->s3, (int64_t)reader->room);
    free(reader);
}
