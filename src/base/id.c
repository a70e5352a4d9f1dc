// SPDX-License-Identifier: Apache-2.0
// UUIDv7 ids and their readers.
#include "base/id.h"

#include <ctype.h>
#include <pthread.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum { UUID_TEXT = 36 };

static void format_uuid(const char *prefix, const uint8_t b[16], char out[ID_MAX])
{
    snprintf(out, ID_MAX, "%.8s_%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", prefix, b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

// The 48-bit millisecond and the 12 bits behind it form one counter that never repeats or goes back, also
// when the clock does (RFC 9562, 6.2, method 3).
static uint64_t next_tick(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static uint64_t last;
    pthread_mutex_lock(&lock);
    uint64_t tick = (uint64_t)clock_now_ms() << 12;
    last = tick > last ? tick : last + 1;
    tick = last;
    pthread_mutex_unlock(&lock);
    return tick;
}

void id_new(const char *prefix, char out[ID_MAX])
{
    uint64_t tick = next_tick();
    uint8_t b[16];
    randombytes_buf(b + 8, 8);
    for (int i = 0; i < 6; i++)
        b[i] = (uint8_t)(tick >> (12 + 8 * (5 - i)));
    b[6] = (uint8_t)(0x70 | ((tick >> 8) & 0x0f));
    b[7] = (uint8_t)tick;
    b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
    format_uuid(prefix, b, out);
}

// Of a digit that isxdigit knows.
static unsigned hex(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : ((unsigned)c | 0x20U) - 'a' + 10U;
}

static bool is_uuid(const char *text)
{
    for (int i = 0; i < UUID_TEXT; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return false;
    }
    return text[UUID_TEXT] == 0;
}

void id_derive(const char *prefix, const char *name, const char *beside, char out[ID_MAX])
{
    uint8_t b[16];
    const char *uuid = beside ? id_bare(beside) : "";
    crypto_generichash(b, sizeof b, (const uint8_t *)name, strlen(name), NULL, 0);
    if (is_uuid(uuid)) {
        static const uint8_t digits[6] = {0, 2, 4, 6, 9, 11};
        for (int i = 0; i < 6; i++)
            b[i] = (uint8_t)(hex(uuid[digits[i]]) << 4 | hex(uuid[digits[i] + 1]));
    }
    b[6] = (uint8_t)(0x80 | (b[6] & 0x0f));
    b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
    format_uuid(prefix, b, out);
}

static bool is_foreign(const char *text)
{
    size_t len = strlen(text);
    if (len < 1 || len > 48)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '-')
            return false;
    return true;
}

int id_parse(const char *prefix, const char *text, char out[ID_MAX])
{
    if (!text)
        return -1;
    size_t plen = strlen(prefix);
    bool prefixed = strncmp(text, prefix, plen) == 0 && text[plen] == '_';
    const char *bare = prefixed ? text + plen + 1 : text;
    if (is_uuid(bare)) {
        size_t used = (size_t)snprintf(out, ID_MAX, "%.8s_", prefix);
        for (int i = 0; i <= UUID_TEXT; i++)
            out[used + (size_t)i] = (char)tolower((unsigned char)bare[i]);
        return 0;
    }
    if (!prefixed || !is_foreign(bare))
        return -1;
    snprintf(out, ID_MAX, "%s", text);
    return 0;
}

const char *id_bare(const char *id)
{
    const char *underscore = strchr(id, '_');
    return underscore ? underscore + 1 : id;
}
