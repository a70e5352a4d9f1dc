// SPDX-License-Identifier: Apache-2.0
// Putting. See s3.c for the way; here is what happens when it breaks off.
//
// A slot is a name below S3_TMP. Many uploads in parts may be under way for one slot; putting the parts together and
// moving the object to its key is done by one at a time. Killed before the parts are together: an upload in parts
// stays; after that: an object in the slot. The next claim removes both. Killed during the copy: it is there whole or
// not at all. Parts that were put together though the answer was lost are found by looking: the slot was empty before.
#include <stdio.h>
#include <string.h>

#include "backends/blob/s3_int.h"

enum { FIRST_BYTES = 64 * 1024, PARTS_MAX = 10000 };
static const uint64_t COPY_MAX = 5ULL << 30; // what the service copies in one step

struct blob_put {
    struct s3 *s3;
    char *bytes; // of the part that is being gathered
    size_t len, room;
    uint64_t size;
    crypto_hash_sha256_state hash;
    bool broken;

    size_t slot;  // the rest when it comes in parts
    char *upload; // its id, percent-encoded; NULL: it does not
    int part_count;
    struct buf parts; // "<Part>…" of those that were sent
};

DEFINE_CLEANUP(struct blob_put *, put, s3_put_abort)

const char *s3_slot_name(const struct s3 *s3, size_t slot, char out[S3_NAME_MAX])
{
    snprintf(out, S3_NAME_MAX, S3_TMP "%s-%zu", s3->config.owner, slot);
    return out;
}

static int too_large(struct error *err)
{
    return error_set(err, ERR_BODY_TOO_LARGE, "A blob on S3 may have 5 GiB at most");
}

// Room for `room` bytes, counted.
static int grow(struct blob_put *put, size_t room, struct error *err)
{
    if (s3_hold(put->s3, (int64_t)(room - put->room), err) < 0)
        return -1;
    char *bytes = realloc(put->bytes, room);
    if (!bytes) {
        s3_let_go(put->s3, (int64_t)(room - put->room));
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    }
    put->bytes = bytes;
    put->room = room;
    return 0;
}

static void drop_bytes(struct blob_put *put)
{
    free(take_ptr(put->bytes));
    s3_let_go(put->s3, (int64_t)put->room);
    put->room = put->len = 0;
}

int s3_put_begin(void *state, uint64_t expected, struct blob_put **out, struct error *err)
{
    struct s3 *s3 = state;
    if (expected > COPY_MAX)
        return too_large(err);
    _cleanup_(cleanup_put) struct blob_put *put = calloc(1, sizeof *put);
    if (!put)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    put->s3 = s3;
    put->parts = BUF_INIT(PARTS_MAX * 256);
    crypto_hash_sha256_init(&put->hash);
    size_t part = (size_t)s3->config.part;
    if (expected && grow(put, expected < part ? (size_t)expected : part, err) < 0)
        return -1;
    *out = take_ptr(put);
    return 0;
}

// ---- In parts

static int begin_parts(struct blob_put *put, struct error *err)
{
    struct s3 *s3 = put->s3;
    char name[S3_NAME_MAX], id[1024];
    size_t slot = atomic_fetch_add(&s3->next_slot, 1) % S3_SLOTS;
    _cleanup_answer_ struct s3_answer answer = {0};
    const struct s3_request request = {.method = "POST", .name = s3_slot_name(s3, slot, name), .query = "uploads="};
    if (s3_claim(s3, err) < 0 || s3_send(s3, &request, &answer, err) < 0)
        return -1;
    s3_xml_text(s3_answer_text(&answer), "UploadId", id, sizeof id);
    struct buf encoded = BUF_INIT(4096);
    s3_query_encode(&encoded, id);
    if (!encoded.len)
        return error_set(err, ERR_IO, "S3 at %s gave no name for an upload in parts", s3->config.endpoint);
    put->slot = slot;
    put->upload = buf_steal(&encoded);
    return 0;
}

static int send_part(struct blob_put *put, struct error *err)
{
    char name[S3_NAME_MAX];
    if (!put->upload && begin_parts(put, err) < 0)
        return -1;
    if (put->part_count == PARTS_MAX)
        return too_large(err);
    _cleanup_buf_ struct buf query = BUF_INIT(4096);
    buf_printf(&query, "partNumber=%d&uploadId=%s", put->part_count + 1, put->upload);
    _cleanup_answer_ struct s3_answer answer = {0};
    const struct s3_request request = {.method = "PUT",
                                       .name = s3_slot_name(put->s3, put->slot, name),
                                       .query = query.data,
                                       .body = put->bytes,
                                       .body_len = put->len};
    if (s3_send(put->s3, &request, &answer, err) < 0)
        return -1;
    if (answer.status >= 300)
        return error_set(err, ERR_IO, "The upload in parts is gone from S3 at %s", put->s3->config.endpoint);
    put->part_count++;
    put->len = 0;
    if (buf_printf(&put->parts, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", put->part_count,
                   answer.tag) < 0)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    return 0;
}

static int take_bytes(struct blob_put *put, const char *data, size_t len, struct error *err)
{
    size_t part = (size_t)put->s3->config.part;
    if (put->size + len > COPY_MAX)
        return too_large(err);
    while (len) {
        if (put->len == part && send_part(put, err) < 0)
            return -1;
        size_t want = put->len + len < part ? put->len + len : part, room = put->room ? put->room : FIRST_BYTES;
        while (room < want)
            room *= 2;
        room = room < part ? room : part;
        if (room > put->room && grow(put, room, err) < 0)
            return -1;
        size_t step = put->room - put->len < len ? put->room - put->len : len;
        memcpy(put->bytes + put->len, data, step);
        crypto_hash_sha256_update(&put->hash, (const unsigned char *)data, step);
        put->len += step;
        put->size += step;
        data += step;
        len -= step;
    }
    return 0;
}

int s3_put_write(struct blob_put *put, const void *data, size_t len, struct error *err)
{
    if (put->broken)
        return error_set(err, ERR_IO, "A blob cannot be written: an earlier write of it failed");
    put->broken = take_bytes(put, data, len, err) < 0;
    return put->broken ? -1 : 0;
}

void s3_put_abort(struct blob_put *put)
{
    char name[S3_NAME_MAX];
    if (!put)
        return;
    if (put->upload) { // what this does not reach, the next claim does
        _cleanup_buf_ struct buf query = BUF_INIT(4096);
        buf_printf(&query, "uploadId=%s", put->upload);
        _cleanup_answer_ struct s3_answer answer;
        const struct s3_request request = {
            .method = "DELETE", .name = s3_slot_name(put->s3, put->slot, name), .query = query.data};
        s3_send(put->s3, &request, &answer, NULL);
    }
    drop_bytes(put);
    buf_free(&put->parts);
    free(put->upload);
    free(put);
}

// ---- The commit

static int empty_slot(struct s3 *s3, const char *name, struct error *err)
{
    _cleanup_answer_ struct s3_answer answer;
    const struct s3_request request = {.method = "DELETE", .name = name};
    return s3_send(s3, &request, &answer, err);
}

// Whether the slot, which was empty, holds the whole now.
static int look_for_whole(struct blob_put *put, const char *name, struct error *err)
{
    _cleanup_answer_ struct s3_answer answer;
    const struct s3_request request = {.method = "HEAD", .name = name};
    if (s3_send(put->s3, &request, &answer, err) < 0)
        return -1;
    return answer.status == 200 && answer.size == put->size
               ? 0
               : error_set(err, ERR_IO, "The parts of a blob were lost by S3 at %s", put->s3->config.endpoint);
}

static int join_parts(struct blob_put *put, const char *name, struct error *err)
{
    _cleanup_buf_ struct buf query = BUF_INIT(4096), body = BUF_INIT(put->parts.max + 128);
    buf_printf(&query, "uploadId=%s", put->upload);
    buf_puts(&body, "<CompleteMultipartUpload>");
    buf_append(&body, put->parts.data, put->parts.len);
    buf_puts(&body, "</CompleteMultipartUpload>");
    if (body.failed || query.failed)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    _cleanup_answer_ struct s3_answer answer;
    const struct s3_request request = {
        .method = "POST", .name = name, .query = query.data, .body = body.data, .body_len = body.len, .slow = true};
    if (s3_send(put->s3, &request, &answer, err) < 0)
        return -1;
    free(take_ptr(put->upload)); // nothing to abort any more
    return answer.status == 404 ? look_for_whole(put, name, err) : 0;
}

static int copy_to_key(struct blob_put *put, const char *name, const char *key, const char *sha256, struct error *err)
{
    const struct s3_config *c = &put->s3->config;
    char source[S3_NAME_MAX * 2], sum[128];
    snprintf(source, sizeof source, "x-amz-copy-source:/%s/%s%s", c->bucket, c->prefix, name);
    snprintf(sum, sizeof sum, "x-amz-meta-sha256:%s", sha256);
    _cleanup_answer_ struct s3_answer answer;
    const struct s3_request request = {
        .method = "PUT", .name = key, .headers = {source, sum, "x-amz-metadata-directive:REPLACE"}, .slow = true};
    if (s3_send(put->s3, &request, &answer, err) < 0)
        return -1;
    return answer.status < 300 ? 0 : error_set(err, ERR_IO, "S3 at %s lost a blob before it was moved", c->endpoint);
}

static int commit_parts(struct blob_put *put, const char *key, const char *sha256, struct error *err)
{
    struct s3 *s3 = put->s3;
    char name[S3_NAME_MAX];
    if (put->len && send_part(put, err) < 0)
        return -1;
    drop_bytes(put);
    s3_slot_name(s3, put->slot, name);
    pthread_mutex_lock(&s3->slots[put->slot]);
    int rc =
        empty_slot(s3, name, err) < 0 || join_parts(put, name, err) < 0 || copy_to_key(put, name, key, sha256, err) < 0
            ? -1
            : 0;
    empty_slot(s3, name, NULL); // if this fails, the next one in this slot, or the next claim, does it
    pthread_mutex_unlock(&s3->slots[put->slot]);
    return rc;
}

static int commit_whole(struct blob_put *put, const char *key, const char *sha256,
                        const unsigned char hash[crypto_hash_sha256_BYTES], struct error *err)
{
    char sum[128], kept[128], base64[64];
    sodium_bin2base64(base64, sizeof base64, hash, crypto_hash_sha256_BYTES, sodium_base64_VARIANT_ORIGINAL);
    snprintf(sum, sizeof sum, "x-amz-checksum-sha256:%s", base64);
    snprintf(kept, sizeof kept, "x-amz-meta-sha256:%s", sha256);
    _cleanup_answer_ struct s3_answer answer;
    const struct s3_request request = {.method = "PUT",
                                       .name = key,
                                       .headers = {sum, kept},
                                       .body = put->bytes,
                                       .body_len = put->len,
                                       .sha256 = sha256};
    return s3_send(put->s3, &request, &answer, err);
}

int s3_put_commit(struct blob_put *ended, const char *key, struct error *err)
{
    _cleanup_(cleanup_put) struct blob_put *put = ended;
    unsigned char hash[crypto_hash_sha256_BYTES];
    char sha256[S3_SHA256_HEX];
    if (put->broken)
        return error_set(err, ERR_IO, "A blob cannot be stored: a write of it failed");
    if (!blob_key_valid(key))
        return error_set(err, ERR_INVALID, "\"%.64s\" cannot be the key of a blob", key);
    if (s3_claim(put->s3, err) < 0)
        return -1;
    crypto_hash_sha256_final(&put->hash, hash);
    s3_sha256_hex(hash, sha256);
    return put->upload ? commit_parts(put, key, sha256, err) : commit_whole(put, key, sha256, hash, err);
}
