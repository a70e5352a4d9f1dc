// SPDX-License-Identifier: Apache-2.0
// Records as rows (key and headers as bytes: name NUL value NUL …) and as blocks of memory.
#include <string.h>

#include "backends/eventlog/embedded_int.h"

static int encode_headers(const struct elog_record *record, struct el_encoded *out, struct error *err)
{
    size_t len = 0;
    for (size_t i = 0; i < record->header_count; i++) {
        const struct elog_header *header = &record->headers[i];
        if (!header->name || !header->value)
            return error_set(err, ERR_INVALID, "A header of a record has no name or no value");
        len += strlen(header->name) + strlen(header->value) + 2;
    }
    char *p = out->headers_block = el_alloc(len, 1);
    for (size_t i = 0; i < record->header_count; i++) {
        p = stpcpy(p, record->headers[i].name) + 1;
        p = stpcpy(p, record->headers[i].value) + 1;
    }
    out->headers = sq_blob(out->headers_block, len);
    return 0;
}

int el_encode(const struct elog_record *record, struct el_encoded *out, struct error *err)
{
    *out = (struct el_encoded){
        .key = record->key ? sq_blob(record->key, strlen(record->key)) : sq_text(NULL),
        .headers = sq_text(NULL),
        .value = sq_blob(record->value, record->value_len),
    };
    if (record->header_count > ELOG_HEADERS_MAX)
        return error_set(err, ERR_INVALID, "A record has more than %d headers", ELOG_HEADERS_MAX);
    if (record->header_count && encode_headers(record, out, err) < 0)
        return -1;
    out->bytes = out->value.number + out->key.number + out->headers.number;
    return 0;
}

enum { ID, TIMESTAMP, KEY, HEADERS, VALUE };

size_t el_row_bytes(sqlite3_stmt *stmt)
{
    return (size_t)sqlite3_column_bytes(stmt, KEY) + (size_t)sqlite3_column_bytes(stmt, HEADERS) +
           (size_t)sqlite3_column_bytes(stmt, VALUE);
}

static size_t count_headers(const char *bytes, size_t len)
{
    size_t ends = 0;
    for (size_t i = 0; i < len; i++)
        ends += !bytes[i];
    return ends / 2;
}

static char *put(char **at, const void *data, size_t len)
{
    char *start = *at;
    if (len)
        memcpy(start, data, len);
    start[len] = 0;
    *at = start + len + 1;
    return start;
}

// Layout: the record, the array of headers, then the texts and the value, each with a NUL behind.
struct elog_record *el_decode(struct arena *arena, sqlite3_stmt *stmt, const char *topic, int32_t partition,
                              int32_t epoch)
{
    const void *key = sqlite3_column_blob(stmt, KEY), *value = sqlite3_column_blob(stmt, VALUE);
    const char *packed = sqlite3_column_blob(stmt, HEADERS);
    bool has_key = sqlite3_column_type(stmt, KEY) != SQLITE_NULL;
    size_t key_len = (size_t)sqlite3_column_bytes(stmt, KEY), value_len = (size_t)sqlite3_column_bytes(stmt, VALUE);
    size_t packed_len = (size_t)sqlite3_column_bytes(stmt, HEADERS), topic_len = strlen(topic);
    size_t header_count = count_headers(packed, packed_len);

    size_t fixed = sizeof(struct elog_record) + header_count * sizeof(struct elog_header);
    size_t total = fixed + topic_len + key_len + packed_len + value_len + 4;
    char *block = arena ? arena_alloc(arena, total) : malloc(total);
    if (!block)
        abort();
    struct elog_record *record = (struct elog_record *)block;
    struct elog_header *headers = (struct elog_header *)(record + 1);
    char *at = block + fixed;
    *record = (struct elog_record){
        .topic = put(&at, topic, topic_len),
        .partition = partition,
        .offset = el_offset(sq_col_int(stmt, ID)),
        .timestamp_ms = sq_col_int(stmt, TIMESTAMP),
        .key = has_key ? put(&at, key, key_len) : NULL,
        .value = put(&at, value, value_len),
        .value_len = value_len,
        .headers = headers,
        .header_count = header_count,
        .epoch = epoch,
    };
    const char *text = put(&at, packed, packed_len);
    for (size_t i = 0; i < header_count; i++) {
        headers[i].name = text;
        headers[i].value = text + strlen(text) + 1;
        text = headers[i].value + strlen(headers[i].value) + 1;
    }
    return record;
}
