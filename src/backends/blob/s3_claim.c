// SPDX-License-Identifier: Apache-2.0
// Whose the blobs are.
//
// Files without an item are swept (flow/upkeep_sweep.c): two installations that kept their blobs under one prefix would
// take each other's for such files. So the first one writes its name under the prefix, by a put on the condition that
// nothing is there, and whoever finds another name refuses to start. Who has the prefix is the only one to put, and
// what it finds in its slots when it starts was left by its own former life.
#include <string.h>

#include "backends/blob/s3_int.h"

static int refuse(const struct s3 *s3, const char *owner, struct error *err)
{
    return error_set(err, ERR_CONFIG,
                     "The bucket %s%s%s holds the blobs of the installation %.64s, and this one is %s: give each a "
                     "prefix (s3.prefix) or a bucket of its own, or say s3.owner if it is the same one",
                     s3->config.bucket, *s3->config.prefix ? ", prefix " : "", s3->config.prefix, owner,
                     s3->config.owner);
}

// 1 when nobody owns it.
static int look_up(struct s3 *s3, struct error *err)
{
    char owner[S3_TAG_MAX + 1] = "";
    _cleanup_answer_ struct s3_answer answer;
    const struct s3_request request = {.method = "GET", .name = S3_OWNER, .into = owner, .into_len = sizeof owner - 1};
    if (s3_send(s3, &request, &answer, err) < 0)
        return -1;
    if (answer.status == 404)
        return 1;
    return strcmp(owner, s3->config.owner) == 0 ? 0 : refuse(s3, owner, err);
}

static int take_it(struct s3 *s3, struct error *err)
{
    int free_for_all = look_up(s3, err);
    if (free_for_all <= 0)
        return free_for_all;
    _cleanup_answer_ struct s3_answer answer;
    const struct s3_request request = {.method = "PUT",
                                       .name = S3_OWNER,
                                       .headers = {"If-None-Match:*"},
                                       .body = s3->config.owner,
                                       .body_len = strlen(s3->config.owner)};
    if (s3_send(s3, &request, &answer, err) < 0)
        return -1;
    int rc = look_up(s3, err); // ours, or whose was quicker
    return rc == 1 ? error_set(err, ERR_IO, "S3 at %s does not keep what it was given", s3->config.endpoint) : rc;
}

// A bucket that keeps versions keeps what is deleted (G9). Who may not ask, or cannot be asked, is believed.
static int check_versions(struct s3 *s3, struct error *err)
{
    char status[16];
    struct error why = {0};
    _cleanup_answer_ struct s3_answer answer;
    const struct s3_request request = {.method = "GET", .query = "versioning="};
    if (s3_send(s3, &request, &answer, &why) < 0)
        return why.code == ERR_UNAVAILABLE ? error_copy(err, &why) : 0;
    if (strcmp(s3_xml_text(s3_answer_text(&answer), "Status", status, sizeof status), "Enabled") != 0)
        return 0;
    return error_set(err, ERR_CONFIG,
                     "The bucket %s keeps versions of what is deleted, so that deleting would not delete: suspend its "
                     "versioning, or take another bucket",
                     s3->config.bucket);
}

static int abort_uploads(struct s3 *s3, const char *name, struct error *err)
{
    char listed[S3_NAME_MAX * 2], id[1024], full[S3_NAME_MAX * 2];
    snprintf(full, sizeof full, "%s%s", s3->config.prefix, name);
    _cleanup_buf_ struct buf query = BUF_INIT(4096);
    buf_puts(&query, "prefix=");
    s3_query_encode(&query, full);
    buf_puts(&query, "&uploads=");
    _cleanup_answer_ struct s3_answer answer;
    const struct s3_request request = {.method = "GET", .query = query.data};
    if (s3_send(s3, &request, &answer, err) < 0)
        return -1;
    struct s3_text rest = s3_answer_text(&answer), upload;
    while (s3_xml_next(&rest, "Upload", &upload)) {
        if (strcmp(s3_xml_text(upload, "Key", listed, sizeof listed), full) != 0)
            continue;
        _cleanup_buf_ struct buf which = BUF_INIT(4096);
        buf_puts(&which, "uploadId=");
        s3_query_encode(&which, s3_xml_text(upload, "UploadId", id, sizeof id));
        _cleanup_answer_ struct s3_answer gone;
        const struct s3_request abort = {.method = "DELETE", .name = name, .query = which.data};
        if (s3_send(s3, &abort, &gone, err) < 0)
            return -1;
    }
    return 0;
}

// Slot by slot, as MinIO lists the uploads of a full name only.
static int clear_slots(struct s3 *s3, struct error *err)
{
    char name[S3_NAME_MAX];
    for (size_t i = 0; i < S3_SLOTS; i++) {
        _cleanup_answer_ struct s3_answer answer = {0};
        const struct s3_request request = {.method = "DELETE", .name = s3_slot_name(s3, i, name)};
        if (abort_uploads(s3, name, err) < 0 || s3_send(s3, &request, &answer, err) < 0)
            return -1;
    }
    return 0;
}

int s3_claim(struct s3 *s3, struct error *err)
{
    if (s3->claimed)
        return 0;
    pthread_mutex_lock(&s3->claiming);
    int rc = 0;
    if (!s3->claimed && (take_it(s3, err) < 0 || check_versions(s3, err) < 0 || clear_slots(s3, err) < 0))
        rc = -1;
    if (rc == 0)
        s3->claimed = true;
    pthread_mutex_unlock(&s3->claiming);
    return rc;
}
