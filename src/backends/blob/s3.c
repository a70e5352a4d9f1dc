// SPDX-License-Identifier: Apache-2.0
// Blobs as objects of a bucket: PREFIX/KEY, one object a blob.
//
//   put     bytes are gathered in memory up to the size of a part. A blob that fits is one PUT at its commit, which
//           makes it visible whole and replaces in one step. A larger one is sent in parts while it comes, under a name
//           of ours, as its key is known at the commit only: then the service puts the parts together, copies the
//           object to its key, in one step, and the first name is removed (s3_put.c)
//   read    the first 4 MiB come with the answer that opens; what lies behind in pieces of that size, which must be of
//   the
//           same object still (s3_read.c)
//   claim   the prefix has one owner (s3_claim.c)
//
// Bytes are checked at both ends: the service checks each request's SHA-256, and keeps the whole blob's with it, for
// readers to compare with what they got. When the service is away, everything fails as an outage (ERR_UNAVAILABLE), and
// opening does not: the server starts, says that it is not ready, and goes on when the service is back.
#include <stdio.h>
#include <string.h>

#include "backends/blob/blob_s3.h"
#include "backends/blob/s3_int.h"

static void s3_close(void *state)
{
    struct s3 *s3 = state;
    if (!s3)
        return;
    s3_idle_free(s3);
    for (size_t i = 0; i < S3_SLOTS; i++)
        pthread_mutex_destroy(&s3->slots[i]);
    pthread_mutex_destroy(&s3->claiming);
    pthread_mutex_destroy(&s3->lock);
    s3_config_free(&s3->config);
    free(s3->url);
    free(s3->scheme);
    free(s3);
}
DEFINE_CLEANUP(struct s3 *, s3, s3_close)

static int s3_open(const char *location, void **state, struct error *err)
{
    struct error why = {0};
    _cleanup_(cleanup_s3) struct s3 *s3 = calloc(1, sizeof *s3);
    if (!s3 || sodium_init() < 0)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    pthread_mutex_init(&s3->lock, NULL);
    pthread_mutex_init(&s3->claiming, NULL);
    for (size_t i = 0; i < S3_SLOTS; i++)
        pthread_mutex_init(&s3->slots[i], NULL);
    if (s3_config_read(location, &s3->config, err) < 0)
        return -1;
    s3->url = s3_config_url(&s3->config);
    if (!s3->url || asprintf(&s3->scheme, "aws:amz:%s:s3", s3->config.region) < 0)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    if (s3_claim(s3, &why) < 0 && (!why.outage || why.code == ERR_CONFIG))
        return error_copy(err, &why);
    *state = take_ptr(s3);
    return 0;
}

int s3_hold(struct s3 *s3, int64_t bytes, struct error *err)
{
    int64_t held = atomic_fetch_add(&s3->memory, bytes) + bytes;
    if (held <= s3->config.memory)
        return 0;
    s3_let_go(s3, bytes);
    error_set(err, ERR_OVERLOADED, "Blobs on their way to and from S3 fill the memory that they may have (s3.memory)");
    if (err)
        err->outage = true; // nothing is wrong with the one that came last
    return -1;
}

void s3_let_go(struct s3 *s3, int64_t bytes)
{
    atomic_fetch_sub(&s3->memory, bytes);
}

static int ask(struct s3 *s3, const char *method, const char *key, struct s3_answer *answer, struct error *err)
{
    const struct s3_request request = {.method = method, .name = key};
    *answer = (struct s3_answer){0};
    if (!blob_key_valid(key))
        return error_set(err, ERR_INVALID, "\"%.64s\" cannot be the key of a blob", key);
    return s3_claim(s3, err) < 0 ? -1 : s3_send(s3, &request, answer, err);
}

static int s3_head(void *state, const char *key, struct blob_info *out, struct error *err)
{
    _cleanup_answer_ struct s3_answer answer;
    if (ask(state, "HEAD", key, &answer, err) < 0)
        return -1;
    if (answer.status == 404)
        return error_set(err, ERR_NOT_FOUND, "There is no blob \"%s\"", key);
    *out = (struct blob_info){.size = answer.size, .modified_ms = answer.modified};
    return 0;
}

static int s3_remove(void *state, const char *key, struct error *err)
{
    _cleanup_answer_ struct s3_answer answer;
    return ask(state, "DELETE", key, &answer, err);
}

// Nobody knows; but whether it can be written at all is what is asked for, before an upload is taken.
static int s3_free_space(void *state, uint64_t *out, struct error *err)
{
    if (s3_health(state, err) < 0)
        return -1;
    *out = UINT64_MAX;
    return 0;
}

// As the other services of the system write it: by the name of the kind of service.
static void s3_address(void *state, const char *key, char out[BLOB_ADDRESS_MAX])
{
    const struct s3_config *c = &((const struct s3 *)state)->config;
    snprintf(out, BLOB_ADDRESS_MAX, "%s://%s/%s%s", strstr(c->endpoint, ".amazonaws.com") ? "s3" : "minio", c->bucket,
             c->prefix, key);
}

static bool s3_key_of(void *state, const char *address, char key[BLOB_KEY_MAX + 1])
{
    static const char *const schemes[] = {"s3://", "s3a://", "minio://"};
    const struct s3_config *c = &((const struct s3 *)state)->config;
    const char *rest = NULL;
    for (size_t i = 0; i < ARRAY_LEN(schemes) && !rest; i++)
        if (strncmp(address, schemes[i], strlen(schemes[i])) == 0)
            rest = address + strlen(schemes[i]);
    size_t bucket = strlen(c->bucket), prefix = strlen(c->prefix);
    if (!rest || strncmp(rest, c->bucket, bucket) != 0 || rest[bucket] != '/' ||
        strncmp(rest + bucket + 1, c->prefix, prefix) != 0 || !blob_key_valid(rest + bucket + 1 + prefix))
        return false;
    snprintf(key, BLOB_KEY_MAX + 1, "%s", rest + bucket + 1 + prefix);
    return true;
}

const struct blob_ops blob_s3 = {
    .name = "s3",
    .open = s3_open,
    .close = s3_close,
    .put_begin = s3_put_begin,
    .put_write = s3_put_write,
    .put_commit = s3_put_commit,
    .put_abort = s3_put_abort,
    .head = s3_head,
    .open_read = s3_open_read,
    .reader_size = s3_reader_size,
    .read = s3_read,
    .reader_fd = s3_reader_fd,
    .reader_close = s3_reader_close,
    .remove = s3_remove,
    .list = s3_list,
    .address = s3_address,
    .key_of = s3_key_of,
    .presign = s3_presign,
    .free_space = s3_free_space,
};
