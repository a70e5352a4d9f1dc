// SPDX-License-Identifier: Apache-2.0
#include "flow/letter.h"

#include <stdio.h>

int letter_put(struct flow *f, struct meta_tx *tx, const struct letter *letter, struct error *err)
{
    const struct elog_record *from = letter->record;
    char partition[16], offset[24], count[16];
    snprintf(partition, sizeof partition, "%d", from->partition);
    snprintf(offset, sizeof offset, "%lld", (long long)from->offset);
    snprintf(count, sizeof count, "%d", letter->attempts);
    struct elog_header headers[ELOG_HEADERS_MAX] = {
        {"__dlq.errors.topic", from->topic},    {"__dlq.errors.partition", partition},
        {"__dlq.errors.offset", offset},        {"__dlq.errors.group", letter->group},
        {"__dlq.errors.delivery.count", count}, {"__dlq.errors.stage", letter->stage},
        {"__dlq.errors.code", letter->code},    {"__dlq.errors.message", letter->message},
    };
    size_t n = 8;
    for (size_t i = 0; i < from->header_count && n < ELOG_HEADERS_MAX; i++)
        headers[n++] = from->headers[i];
    const struct elog_record record = {.topic = event_topic_name(TOPIC_DEADLETTER),
                                       .key = from->key,
                                       .value = from->value,
                                       .value_len = from->value_len,
                                       .headers = headers,
                                       .header_count = n};
    struct elog_place place;
    return flow_put_tx(f, tx, &record, &place, err);
}
