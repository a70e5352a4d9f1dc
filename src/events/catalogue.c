// SPDX-License-Identifier: Apache-2.0
// The catalogue of topics: catalogue.def as lookups.
#include <string.h>

#include "base/cleanup.h"
#include "events/event.h"

static const struct {
    const char *name;
    const char *type;
    int partitions;
    int days;
} catalogue[] = {
#define TOPIC(symbol, topic, type, partitions, days) [TOPIC_##symbol] = {topic, type, partitions, days},
#include "events/catalogue.def"
#undef TOPIC
};
_Static_assert(ARRAY_LEN(catalogue) == TOPIC_COUNT, "one row a topic");

enum { NAME_MAX_BYTES = 249 };                        // as Kafka has it
static char renamed[TOPIC_COUNT][NAME_MAX_BYTES + 1]; // "": it was not

const char *event_topic_name(enum event_topic topic)
{
    return *renamed[topic] ? renamed[topic] : catalogue[topic].name;
}

const char *event_topic_catalogued(enum event_topic topic)
{
    return catalogue[topic].name;
}

const char *event_topic_type(enum event_topic topic)
{
    return catalogue[topic].type;
}

int event_topic_partitions(enum event_topic topic)
{
    return catalogue[topic].partitions;
}

int64_t event_topic_retention_ms(enum event_topic topic)
{
    return (int64_t)catalogue[topic].days * 24 * 60 * 60 * 1000;
}

int event_topic_parse(const char *name, enum event_topic *out)
{
    for (size_t i = 0; name && i < ARRAY_LEN(catalogue); i++) {
        if ((*renamed[i] && strcmp(renamed[i], name) == 0) || strcmp(catalogue[i].name, name) == 0) {
            *out = (enum event_topic)i;
            return 0;
        }
    }
    return -1;
}

int event_topic_rename(enum event_topic topic, const char *name, struct error *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(name);
    enum event_topic other;
    if (!len || len > NAME_MAX_BYTES || strspn(name, allowed) != len || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0)
        return error_set(err, ERR_CONFIG, "\"%.80s\" is no name of a topic: letters, digits, \".\", \"_\" and \"-\"",
                         name);
    if (event_topic_parse(name, &other) == 0 && other != topic)
        return error_set(err, ERR_CONFIG, "%.80s is another topic's name", name);
    memcpy(renamed[topic], name, len + 1);
    return 0;
}
