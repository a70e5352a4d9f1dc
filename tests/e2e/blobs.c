// SPDX-License-Identifier: Apache-2.0
// The S3 blob back end by hand, for test_s3.py: blobs reads a location (blob_s3.h) from the variable
// DEEPLENS_TEST_LOCATION, opens it, and does what the lines of its standard input say, one answer a line ("ok …" or
// "error CODE message"):
//
//   put KEY SIZE SEED      SIZE bytes made from SEED
//   begin SIZE SEED        the same without the commit (memory as it comes); abort | commit KEY end it
//   check KEY SIZE SEED    whether the blob is those bytes
//   open KEY / read OFFSET LEN SEED / close          a reader that stays open
//   head KEY               size, and how many ms ago it was written
//   remove KEY / list PREFIX / space
#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/blob/blob_s3.h"
#include "base/clock.h"
#include "base/log.h"

enum { PIECE = 60000 };

struct tool {
    void *state;
    struct blob_put *put;
    struct blob_reader *reader;
    struct error err;
};

static char made(uint64_t at, unsigned seed)
{
    return (char)((at * 2654435761u + (at >> 13) + seed * 97) >> 5);
}

static void fill(char *to, uint64_t at, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        to[i] = made(at + i, seed);
}

static int begin(struct tool *t, uint64_t size, unsigned seed, bool told)
{
    char piece[PIECE];
    if (blob_s3.put_begin(t->state, told ? size : 0, &t->put, &t->err) < 0)
        return -1;
    for (uint64_t at = 0; at < size; at += PIECE) {
        size_t len = size - at < PIECE ? (size_t)(size - at) : PIECE;
        fill(piece, at, len, seed);
        if (blob_s3.put_write(t->put, piece, len, &t->err) < 0) {
            blob_s3.put_abort(t->put);
            t->put = NULL;
            return -1;
        }
    }
    return 0;
}

static int commit(struct tool *t, const char *key)
{
    struct blob_put *put = t->put;
    t->put = NULL;
    return blob_s3.put_commit(put, key, &t->err);
}

static int check_range(struct tool *t, struct blob_reader *r, uint64_t at, uint64_t end, size_t step, unsigned seed)
{
    char *got = malloc(step), *want = malloc(step);
    int rc = 0;
    for (; rc == 0 && at < end; at += step) {
        size_t len = end - at < step ? (size_t)(end - at) : step;
        fill(want, at, len, seed);
        rc = blob_s3.read(r, at, got, len, &t->err);
        if (rc == 0 && memcmp(got, want, len) != 0)
            rc = error_set(&t->err, ERR_DATA_CORRUPT, "other bytes than were put");
    }
    free(got);
    free(want);
    return rc;
}

static int check(struct tool *t, const char *key, uint64_t size, unsigned seed)
{
    struct blob_reader *r;
    if (blob_s3.open_read(t->state, key, &r, &t->err) < 0)
        return -1;
    int rc = blob_s3.reader_size(r) == size ? 0 : error_set(&t->err, ERR_DATA_CORRUPT, "another size than was put");
    if (rc == 0)
        rc = check_range(t, r, 0, size, 128 * 1024, seed);
    if (rc == 0 && size)
        rc = check_range(t, r, 0, size, size, seed);
    blob_s3.reader_close(r);
    return rc;
}

static int show(void *arg, const char *key, const struct blob_info *info)
{
    printf(" %s=%" PRIu64, key, info->size);
    return 0;
}

// Does one line; whatever it prints stands behind "ok".
static int act(struct tool *t, const char *verb, const char *name, uint64_t a, uint64_t b)
{
    struct blob_info info;
    uint64_t room;
    int rc = 0;
    if (strcmp(verb, "put") == 0) {
        rc = begin(t, a, (unsigned)b, true) < 0 ? -1 : commit(t, name);
    } else if (strcmp(verb, "begin") == 0) {
        rc = begin(t, strtoull(name, NULL, 10), (unsigned)a, false);
    } else if (strcmp(verb, "commit") == 0) {
        rc = commit(t, name);
    } else if (strcmp(verb, "abort") == 0) {
        blob_s3.put_abort(t->put);
        t->put = NULL;
    } else if (strcmp(verb, "check") == 0) {
        rc = check(t, name, a, (unsigned)b);
    } else if (strcmp(verb, "open") == 0) {
        rc = blob_s3.open_read(t->state, name, &t->reader, &t->err);
    } else if (strcmp(verb, "read") == 0) {
        uint64_t from = strtoull(name, NULL, 10);
        rc = check_range(t, t->reader, from, from + a, (size_t)a, (unsigned)b);
    } else if (strcmp(verb, "close") == 0) {
        blob_s3.reader_close(t->reader);
        t->reader = NULL;
    } else if (strcmp(verb, "head") == 0) {
        rc = blob_s3.head(t->state, name, &info, &t->err);
        if (rc == 0)
            printf("ok %" PRIu64 " %" PRId64, info.size, clock_now_ms() - info.modified_ms);
        return rc;
    } else if (strcmp(verb, "remove") == 0) {
        rc = blob_s3.remove(t->state, name, &t->err);
    } else if (strcmp(verb, "list") == 0) {
        printf("ok");
        return blob_s3.list(t->state, strcmp(name, "-") == 0 ? "" : name, show, NULL, &t->err);
    } else if (strcmp(verb, "space") == 0) {
        rc = blob_s3.free_space(t->state, &room, &t->err);
    } else {
        rc = error_set(&t->err, ERR_USAGE, "%s?", verb);
    }
    if (rc == 0)
        printf("ok");
    return rc;
}

static void tell(int rc, const struct error *err)
{
    if (rc < 0)
        printf("error %s%s %s", error_code_name(err->code), err->outage ? " (outage)" : "", err->message);
    printf("\n");
    fflush(stdout);
}

int main(void)
{
    struct tool t = {0};
    char line[2048], verb[16], name[1024];
    const char *location = getenv("DEEPLENS_TEST_LOCATION");
    log_setup(LOG_OFF, false);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int rc = blob_s3.open(location ? location : "", &t.state, &t.err);
    if (rc == 0)
        printf("ok");
    tell(rc, &t.err);
    while (rc == 0 && fgets(line, sizeof line, stdin)) {
        uint64_t a = 0, b = 0;
        name[0] = 0;
        if (sscanf(line, "%15s %1023s %" SCNu64 " %" SCNu64, verb, name, &a, &b) < 1)
            break;
        t.err = (struct error){0};
        tell(act(&t, verb, name, a, b), &t.err);
    }
    blob_s3.reader_close(t.reader);
    blob_s3.put_abort(t.put);
    if (rc == 0)
        blob_s3.close(t.state);
    curl_global_cleanup();
    return 0;
}
