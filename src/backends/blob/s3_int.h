// SPDX-License-Identifier: Apache-2.0
// What the files of the S3 blob back end share.
#ifndef DEEPLENS_BACKENDS_BLOB_S3_INT_H
#define DEEPLENS_BACKENDS_BLOB_S3_INT_H

#include <curl/curl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "ports/blob.h"

// Names of our own in the bucket: '~' is in no key, so nothing of ours and nothing of the callers' ever meet.
#define S3_OWNER "~deeplens/owner"
#define S3_TMP "~deeplens/tmp/"

enum {
    S3_NAME_MAX = BLOB_KEY_MAX + 64, // of a key, or of one of our own
    S3_SLOTS = 16,                   // names below S3_TMP
    S3_IDLE_MAX = 64,                // connections that are kept for the next request
    S3_TAG_MAX = 128,
    S3_SHA256_HEX = crypto_hash_sha256_BYTES * 2 + 1,
    S3_TEXT_MAX = 8 << 20, // of an answer in XML
    S3_HEADERS_MAX = 6,
};

struct s3_config { // texts are the config's own
    char *endpoint, *bucket, *region, *prefix, *style, *access_key, *secret_key, *session_token, *ca_file, *owner;
    int64_t attempts, timeout_ms, memory, part;
};

// Reads and checks a location. ERR_CONFIG says what is missing or wrong. What it filled is freed by s3_config_free,
// also on failure.
int s3_config_read(const char *location, struct s3_config *out, struct error *err);
void s3_config_free(struct s3_config *config);
// "https://host/bucket/" or "https://bucket.host/".
char *s3_config_url(const struct s3_config *config);

struct s3 {
    struct s3_config config;
    char *url;    // of the bucket, with the last slash
    char *scheme; // how libcurl signs: "aws:amz:REGION:s3"

    pthread_mutex_t lock;
    CURL *idle[S3_IDLE_MAX]; // under lock
    size_t idle_count;       // under lock
    int64_t down_until_us;   // under lock: until then requests fail at once with `down`
    bool is_down;            // under lock: the last request found nobody
    struct error down;       // under lock

    _Atomic int64_t memory; // bytes held by puts and readers
    _Atomic uint64_t next_slot;
    pthread_mutex_t slots[S3_SLOTS]; // held while the object of that name in S3_TMP is made and moved

    pthread_mutex_t claiming;
    _Atomic bool claimed; // the prefix is known to be ours, and cleared of what a killed process left
};

// ---- Requests (s3_http.c)

struct s3_request {
    const char *method;
    const char *name;                    // a key or one of our own names; NULL: the bucket itself
    const char *query;                   // as it is signed: sorted, encoded, each with '='; NULL: none
    const char *headers[S3_HEADERS_MAX]; // x-amz-… and conditions, "name:value"
    const void *body;
    size_t body_len;
    const char *sha256; // of the body, in hex; NULL: computed
    void *into;         // where the body of a 2xx goes; NULL: to the answer's text
    size_t into_len;
    bool slow; // the service may be silent for long
    bool once; // no second attempt
};

struct s3_answer {
    long status;
    struct buf text;
    size_t got;                  // bytes in `into`
    uint64_t size;               // Content-Length, or what Content-Range says of the whole
    bool has_range;              // Content-Range was there
    int64_t modified;            // by our clock, ms
    char tag[S3_TAG_MAX];        // ETag, in its quotes
    char sha256[S3_SHA256_HEX];  // what the put said of its bytes; "" when nobody did
    int64_t last_modified, date; // by the service's clock, ms; 0: not said
    int64_t retry_after;         // ms
    char request_id[S3_TAG_MAX];
};

// Sends and, where that can help, sends again. 0 when there is an answer that the caller has to look at: 2xx, 404 (the
// object, never the bucket), 412 and 416. All else is an error: an outage for what is no fault of this request,
// ERR_UNAVAILABLE when the service is away or busy, ERR_CONFIG when it refuses us. The answer is freed by the caller,
// also on failure.
int s3_send(struct s3 *s3, const struct s3_request *request, struct s3_answer *out, struct error *err);
void s3_answer_free(struct s3_answer *answer);
#define _cleanup_answer_ _cleanup_(s3_answer_free)

// What readiness and uploads ask: 0, or why the service could not be reached a moment ago.
int s3_health(struct s3 *s3, struct error *err);
void s3_idle_free(struct s3 *s3);

void s3_sha256_hex(const unsigned char hash[crypto_hash_sha256_BYTES], char out[S3_SHA256_HEX]);

// ---- Memory (s3.c)

// ERR_OVERLOADED, as an outage, when that much more is not to be held.
int s3_hold(struct s3 *s3, int64_t bytes, struct error *err);
void s3_let_go(struct s3 *s3, int64_t bytes);

// ---- The prefix is ours (s3_claim.c)

// To be called before anything else is asked of the bucket. ERR_CONFIG when it is somebody else's.
int s3_claim(struct s3 *s3, struct error *err);

// ---- XML (s3_xml.c)

struct s3_text { // a piece of a larger text
    const char *at;
    size_t len;
};
// The content of the next element of that name in `*rest`, which moves behind it; false when there is none.
bool s3_xml_next(struct s3_text *rest, const char *name, struct s3_text *out);
// The same for the first one, as text without entities, cut to the room there is. Returns `out`, "" when it is missing.
const char *s3_xml_text(struct s3_text in, const char *name, char *out, size_t room);
void s3_xml_plain(struct s3_text raw, char *out, size_t room);
struct s3_text s3_answer_text(const struct s3_answer *answer);
// Adds `text` to a query, percent-encoded.
void s3_query_encode(struct buf *query, const char *text);

// ---- The port's functions

char *s3_presign(void *state, const char *key, const struct blob_presign *what);
int s3_put_begin(void *state, uint64_t expected, struct blob_put **out, struct error *err);
int s3_put_write(struct blob_put *put, const void *data, size_t len, struct error *err);
int s3_put_commit(struct blob_put *put, const char *key, struct error *err);
void s3_put_abort(struct blob_put *put);
// The name of a slot, in `out`.
const char *s3_slot_name(const struct s3 *s3, size_t slot, char out[S3_NAME_MAX]);

int s3_open_read(void *state, const char *key, struct blob_reader **out, struct error *err);
uint64_t s3_reader_size(const struct blob_reader *reader);
int s3_read(struct blob_reader *reader, uint64_t offset, void *buf, size_t len, struct error *err);
int s3_reader_fd(const struct blob_reader *reader);
void s3_reader_close(struct blob_reader *reader);

int s3_list(void *state, const char *prefix, int (*each)(void *arg, const char *key, const struct blob_info *info),
            void *arg, struct error *err);
// Lists names of any kind below the prefix, ours and foreign ones too.
int s3_list_names(struct s3 *s3, const char *prefix,
                  int (*each)(void *arg, const char *name, const struct blob_info *info), void *arg, struct error *err);

#endif
