// SPDX-License-Identifier: Apache-2.0
// Listing: pages of up to 1000 names, in byte order, as the service gives them. A page is read whole before it is
// handed out, so `each` may remove what it is shown. Names that are no keys (ours, and what others put there) are
// passed over.
#include <stdio.h>
#include <string.h>

#include "backends/blob/s3_int.h"
#include "base/clock.h"

struct lister {
    struct s3 *s3;
    size_t cut; // length of the bucket's prefix
    int (*each)(void *arg, const char *name, const struct blob_info *info);
    void *arg;
};

static int each_name(const struct lister *l, const struct s3_answer *page)
{
    struct s3_text rest = s3_answer_text(page), entry;
    int64_t ahead = page->date ? clock_now_ms() - page->date : 0;
    while (s3_xml_next(&rest, "Contents", &entry)) {
        char name[2048], size[32], time[64];
        struct blob_info info = {0};
        s3_xml_text(entry, "Key", name, sizeof name);
        info.size = strtoull(s3_xml_text(entry, "Size", size, sizeof size), NULL, 10);
        if (strlen(name) < l->cut ||
            clock_parse(s3_xml_text(entry, "LastModified", time, sizeof time), &info.modified_ms) < 0)
            continue;
        info.modified_ms += ahead;
        int rc = l->each(l->arg, name + l->cut, &info);
        if (rc)
            return rc;
    }
    return 0;
}

int s3_list_names(struct s3 *s3, const char *prefix,
                  int (*each)(void *arg, const char *name, const struct blob_info *info), void *arg, struct error *err)
{
    const struct lister l = {s3, strlen(s3->config.prefix), each, arg};
    char token[2048] = "", more[8];
    do {
        _cleanup_buf_ struct buf query = BUF_INIT(16384);
        if (*token) {
            buf_puts(&query, "continuation-token=");
            s3_query_encode(&query, token);
            buf_puts(&query, "&");
        }
        buf_puts(&query, "list-type=2&prefix=");
        s3_query_encode(&query, s3->config.prefix);
        s3_query_encode(&query, prefix);
        _cleanup_answer_ struct s3_answer page = {0};
        const struct s3_request request = {.method = "GET", .query = query.data};
        if (query.failed)
            return error_set(err, ERR_NO_MEMORY, "Out of memory");
        if (s3_send(s3, &request, &page, err) < 0)
            return -1;
        int rc = each_name(&l, &page);
        if (rc)
            return rc;
        s3_xml_text(s3_answer_text(&page), "IsTruncated", more, sizeof more);
        s3_xml_text(s3_answer_text(&page), "NextContinuationToken", token, sizeof token);
    } while (strcmp(more, "true") == 0 && *token);
    return 0;
}

struct keys {
    const char *prefix;
    int (*each)(void *arg, const char *key, const struct blob_info *info);
    void *arg;
};

static int if_key(void *arg, const char *name, const struct blob_info *info)
{
    const struct keys *keys = arg;
    bool wanted = blob_key_valid(name) && strncmp(name, keys->prefix, strlen(keys->prefix)) == 0;
    return wanted ? keys->each(keys->arg, name, info) : 0;
}

// What to ask the service for; false when no key starts so. MinIO takes a last part "." or ".." for an attempt to leave
// the bucket, though ".x" is a name: then the folder is asked for.
static bool prefix_to_ask(const char *prefix, char out[BLOB_KEY_MAX + 2])
{
    size_t len = strlen(prefix);
    if (len >= BLOB_KEY_MAX)
        return false;
    snprintf(out, BLOB_KEY_MAX + 2, "%sx", prefix);
    if (!blob_key_valid(out))
        return false;
    while (len && prefix[len - 1] == '.')
        len--;
    if (len && prefix[len - 1] != '/')
        len = strlen(prefix);
    out[len] = 0;
    return true;
}

int s3_list(void *state, const char *prefix, int (*each)(void *arg, const char *key, const struct blob_info *info),
            void *arg, struct error *err)
{
    char asked[BLOB_KEY_MAX + 2];
    struct keys keys = {prefix, each, arg};
    if (!prefix_to_ask(prefix, asked))
        return 0;
    return s3_claim(state, err) < 0 ? -1 : s3_list_names(state, asked, if_key, &keys, err);
}
