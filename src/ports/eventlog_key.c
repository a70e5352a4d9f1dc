// SPDX-License-Identifier: Apache-2.0
// The partition of a key: murmur2 (Austin Appleby, public domain) with the seed and the details of Kafka's Java
// client, made positive by dropping the sign bit, modulo the number of partitions. Producers of both systems
// therefore put a key into the same partition.
#include <string.h>

#include "ports/eventlog.h"

static uint32_t murmur2(const unsigned char *data, size_t len)
{
    const uint32_t m = 0x5bd1e995, seed = 0x9747b28c;
    uint32_t h = seed ^ (uint32_t)len;
    for (; len >= 4; data += 4, len -= 4) {
        uint32_t k = (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
        k *= m;
        k ^= k >> 24;
        k *= m;
        h = h * m ^ k;
    }
    if (len > 2)
        h ^= (uint32_t)data[2] << 16;
    if (len > 1)
        h ^= (uint32_t)data[1] << 8;
    if (len > 0)
        h = (h ^ data[0]) * m;
    h ^= h >> 13;
    h *= m;
    return h ^ h >> 15;
}

int32_t elog_partition(const char *key, int32_t partitions)
{
    if (!key || partitions <= 1)
        return 0;
    return (int32_t)((murmur2((const unsigned char *)key, strlen(key)) & 0x7fffffff) % (uint32_t)partitions);
}
