// SPDX-License-Identifier: Apache-2.0
// Records, read where they stand without disturbing anybody, and published by hand.
//
// Partitions are gone through one after the other, and what was found is put in the order of time. Without a filter as
// many records of each are read as are asked for; with one, chunk by chunk, from the end when the last ones are
// wanted. The cursor of an answer holds for each partition the offset behind what the answer took into account.
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "flow/admin_int.h"

enum { SCAN_CHUNK = 500, FOUND_BYTES = 64 << 20 };

static void set_value(json_t *json, const void *value, size_t len)
{
    json_t *parsed = js_parse(value, len, NULL);
    if (parsed) {
        json_object_set_new(json, "value", parsed);
        return;
    }
    size_t room = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);
    _cleanup_free_ char *text = malloc(room);
    if (text)
        js_set_str(json, "valueBase64", sodium_bin2base64(text, room, value, len, sodium_base64_VARIANT_ORIGINAL));
}

// Keys and headers are any bytes; NULL stays NULL.
json_t *admin_text_json(const char *text)
{
    _cleanup_free_ char *utf8 = text ? js_utf8(text, strlen(text)) : NULL;
    return utf8 ? json_string(utf8) : NULL;
}

json_t *admin_record_json(const struct elog_record *r)
{
    json_t *headers = json_object();
    for (size_t i = 0; i < r->header_count; i++) {
        _cleanup_free_ char *name = js_utf8(r->headers[i].name, strlen(r->headers[i].name));
        json_object_set_new(headers, name, admin_text_json(r->headers[i].value));
    }
    json_t *json = json_pack("{s:s,s:i,s:I,s:o?,s:o}", "topic", r->topic, "partition", r->partition, "offset",
                             (json_int_t)r->offset, "key", admin_text_json(r->key), "headers", headers);
    js_set_time(json, "timestamp", r->timestamp_ms);
    set_value(json, r->value, r->value_len);
    return json;
}

// --- Finding

struct found {
    json_t *json;
    int64_t timestamp_ms, offset;
    int32_t partition;
};

struct scan {
    struct flow *flow;
    const char *topic;
    const struct records_query *query;
    struct found *found;
    size_t count, room, bytes;
    int64_t *next; // by partition
};

static void cleanup_scan(struct scan *scan)
{
    for (size_t i = 0; i < scan->count; i++)
        json_decref(scan->found[i].json);
    free(scan->found);
    free(scan->next);
}

static bool filtered(const struct records_query *q)
{
    return q->tenant || q->key;
}

// Messages of both forms name the tenant at the top; those that do not are the default's.
static bool wanted(const struct records_query *q, const struct elog_record *r)
{
    if (q->key && (!r->key || strcmp(r->key, q->key) != 0))
        return false;
    if (!q->tenant)
        return true;
    _cleanup_json_ json_t *root = js_parse(r->value, r->value_len, NULL);
    return root && strcmp(js_str(root, "tenantId", "default"), q->tenant) == 0;
}

static void keep(struct scan *scan, const struct elog_record *r)
{
    if (scan->count == scan->room) {
        scan->room = scan->room ? scan->room * 2 : 64;
        struct found *found = realloc(scan->found, scan->room * sizeof *found);
        if (!found)
            abort();
        scan->found = found;
    }
    scan->found[scan->count++] = (struct found){admin_record_json(r), r->timestamp_ms, r->offset, r->partition};
    scan->bytes += r->value_len;
}

static bool is_full(const struct scan *scan, size_t most)
{
    return scan->count >= most || scan->bytes >= FOUND_BYTES;
}

// Looks at up to `count` records from *offset on, below `until`, and moves *offset behind them, until `most` are found
// in all. Returns how many it looked at, or -1.
static int look(struct scan *scan, int32_t partition, int64_t *offset, int64_t until, size_t count, size_t most,
                struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_record *records;
    const struct elog_ops *log = scan->flow->log.ops;
    size_t got, seen = 0;
    if (log->peek(scan->flow->log.state, &arena, scan->topic, partition, *offset, count, &records, &got, err) < 0)
        return -1;
    for (; seen < got && records[seen].offset < until && !is_full(scan, most); seen++) {
        *offset = records[seen].offset + 1;
        if (wanted(scan->query, &records[seen]))
            keep(scan, &records[seen]);
    }
    return (int)seen;
}

static int scan_forward(struct scan *scan, const struct elog_partition_info *p, int64_t from, struct error *err)
{
    size_t scanned = 0, most = scan->count + scan->query->limit;
    int64_t offset = from;
    while (offset < p->end && !is_full(scan, most) && scanned < RECORDS_SCAN) {
        size_t count = filtered(scan->query) ? SCAN_CHUNK : most - scan->count;
        int seen = look(scan, p->partition, &offset, p->end, count, most, err);
        if (seen < 0)
            return -1;
        if (!seen)
            break;
        scanned += (size_t)seen;
    }
    scan->next[p->partition] = offset;
    return 0;
}

// From the end, until there are enough. What a chunk has too much is cut off with the rest, by time.
static int scan_backward(struct scan *scan, const struct elog_partition_info *p, struct error *err)
{
    size_t limit = scan->query->limit, before = scan->count;
    size_t step = filtered(scan->query) ? SCAN_CHUNK : limit;
    int64_t until = p->end;
    while (until > p->begin && scan->count - before < limit && p->end - until < RECORDS_SCAN &&
           scan->bytes < FOUND_BYTES) {
        int64_t low = until - (int64_t)step > p->begin ? until - (int64_t)step : p->begin;
        for (int64_t offset = low; offset < until && !is_full(scan, SIZE_MAX);) {
            int seen = look(scan, p->partition, &offset, until, (size_t)(until - offset), SIZE_MAX, err);
            if (seen < 0)
                return -1;
            if (!seen)
                break;
        }
        until = low;
    }
    scan->next[p->partition] = p->end;
    return 0;
}

// --- Where to begin

// "0:12,1:4": the offset of a partition; 0 for one that is not named.
static int cursor_offset(const char *cursor, int32_t partition, int64_t *out, struct error *err)
{
    *out = 0;
    for (const char *p = cursor; *p;) {
        int number, used = 0;
        long long offset;
        if (sscanf(p, "%d:%lld%n", &number, &offset, &used) != 2 || offset < 0 || (p[used] && p[used] != ','))
            return error_set(err, ERR_INVALID_CURSOR, "\"%.64s\" is no cursor of records", cursor);
        if (number == partition)
            *out = offset;
        p += used + (p[used] == ',');
    }
    return 0;
}

static int scan_partition(struct scan *scan, const struct elog_partition_info *p, struct error *err)
{
    const struct records_query *q = scan->query;
    int64_t from = q->offset;
    if (q->cursor) {
        if (cursor_offset(q->cursor, p->partition, &from, err) < 0)
            return -1;
    } else if (q->from_ms) {
        const struct elog_ops *log = scan->flow->log.ops;
        if (log->offset_at(scan->flow->log.state, scan->topic, p->partition, q->from_ms, &from, err) < 0)
            return -1;
    } else if (q->offset == -1) {
        return scan_backward(scan, p, err);
    }
    return scan_forward(scan, p, from > p->begin ? from : p->begin, err);
}

// --- Answering

static int by_time(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->timestamp_ms != y->timestamp_ms)
        return x->timestamp_ms < y->timestamp_ms ? -1 : 1;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static json_t *answer(struct scan *scan, int32_t partitions)
{
    const struct records_query *q = scan->query;
    bool latest = q->offset == -1 && !q->cursor && !q->from_ms;
    if (scan->count)
        qsort(scan->found, scan->count, sizeof *scan->found, by_time);
    size_t first = latest && scan->count > q->limit ? scan->count - q->limit : 0;
    size_t end = scan->count - first > q->limit ? first + q->limit : scan->count;
    json_t *list = json_array();
    for (size_t i = first; i < end; i++)
        json_array_append(list, scan->found[i].json);
    for (size_t i = end; i < scan->count; i++) // comes with the next answer
        if (scan->found[i].offset < scan->next[scan->found[i].partition])
            scan->next[scan->found[i].partition] = scan->found[i].offset;
    _cleanup_buf_ struct buf cursor = BUF_INIT(65536);
    for (int32_t p = 0; p < partitions; p++)
        buf_printf(&cursor, "%s%d:%lld", p ? "," : "", p, (long long)scan->next[p]);
    return json_pack("{s:o,s:s}", "records", list, "cursor", cursor.data ? cursor.data : "");
}

int admin_records(struct flow *f, const char *topic, const struct records_query *query, json_t **out, struct error *err)
{
    _cleanup_arena_ struct arena arena = {0};
    struct elog_topic_info info;
    struct records_query q = *query;
    q.limit = q.limit < RECORDS_MAX ? q.limit : RECORDS_MAX;
    if (f->log.ops->topic_describe(f->log.state, &arena, topic, &info, err) < 0)
        return -1;
    if (q.partition >= info.config.partitions)
        return error_set(err, ERR_NOT_FOUND, "Topic %s has no partition %d", topic, q.partition);
    _cleanup_(cleanup_scan) struct scan scan = {.flow = f, .topic = topic, .query = &q};
    if (!(scan.next = calloc((size_t)info.config.partitions, sizeof *scan.next)))
        abort();
    for (int32_t p = 0; p < info.config.partitions; p++)
        if ((q.partition < 0 || p == q.partition) && scan_partition(&scan, &info.partitions[p], err) < 0)
            return -1;
    *out = answer(&scan, info.config.partitions);
    return 0;
}

// --- Publishing

int admin_produce(struct flow *f, const char *topic, const struct produce *produce, struct error *err)
{
    struct elog_header headers[ELOG_HEADERS_MAX];
    size_t count = 0;
    const char *name;
    json_t *value;
    if (produce->value_len > PRODUCE_MAX)
        return error_set(err, ERR_BODY_TOO_LARGE, "A record of more than %d bytes is not published by hand",
                         PRODUCE_MAX);
    json_object_foreach((json_t *)produce->headers, name, value)
    {
        if (!json_is_string(value))
            return error_set(err, ERR_INVALID, "The header `%.60s` must be a string", name);
        if (count == ELOG_HEADERS_MAX)
            return error_set(err, ERR_INVALID, "A record has at most %d headers", ELOG_HEADERS_MAX);
        headers[count++] = (struct elog_header){name, json_string_value(value)};
    }
    const struct elog_record record = {.topic = topic,
                                       .key = produce->key,
                                       .value = produce->value,
                                       .value_len = produce->value_len,
                                       .headers = headers,
                                       .header_count = count};
    return f->log.ops->publish(f->log.state, &record, 1, err);
}
