// SPDX-License-Identifier: Apache-2.0
// CRC-32C: polynomial 0x1EDC6F41, reflected, as in RFC 3720. The plain version looks up eight bytes at a time.
#include "backends/index/crc32c.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

enum { REFLECTED = 0x82F63B78 };

static uint32_t tables[8][256];

static void make_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? (uint32_t)REFLECTED : 0);
        tables[0][byte] = crc;
    }
    for (int t = 1; t < 8; t++)
        for (uint32_t byte = 0; byte < 256; byte++)
            tables[t][byte] = tables[t - 1][byte] >> 8 ^ tables[0][tables[t - 1][byte] & 0xFF];
}

uint32_t crc32c_plain(const void *data, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_tables);
    const unsigned char *p = data;
    uint32_t crc = 0xFFFFFFFF;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        word = le64toh(word) ^ crc;
        crc = 0;
        for (int byte = 0; byte < 8; byte++)
            crc ^= tables[7 - byte][word >> (8 * byte) & 0xFF];
    }
    for (; len > 0; p++, len--)
        crc = crc >> 8 ^ tables[0][(crc ^ *p) & 0xFF];
    return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t crc = 0xFFFFFFFF;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        crc = _mm_crc32_u64(crc, word);
    }
    for (; len > 0; p++, len--)
        crc = _mm_crc32_u8((uint32_t)crc, *p);
    return ~(uint32_t)crc;
}

uint32_t crc32c(const void *data, size_t len)
{
    return __builtin_cpu_supports("sse4.2") ? crc32c_sse(data, len) : crc32c_plain(data, len);
}

#else

uint32_t crc32c(const void *data, size_t len)
{
    return crc32c_plain(data, len);
}

#endif
