// SPDX-License-Identifier: Apache-2.0
// The table by which SentencePiece normalizes ("Precompiled"): a double array, whose values are places in a list of
// replacements, each ended by a NUL. As in `tokenizers`, whole graphemes of up to 5 bytes are looked up first, then
// their characters, and of several entries that a text begins with the shortest one counts.
#include <sodium.h>
#include <string.h>
#include <utf8proc.h>

#include "backends/extractor/tokenizer_int.h"

struct charsmap {
    unsigned char *bytes;
    uint32_t *units;
    size_t unit_count;
    const char *replacements; // ends with a NUL
    size_t replacements_len;
};

void charsmap_free(struct charsmap *m)
{
    if (!m)
        return;
    free(m->bytes);
    free(m->units);
    free(m);
}

static uint32_t little_endian(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int decode(struct charsmap *m, const char *base64, struct error *err)
{
    size_t room = strlen(base64) / 4 * 3 + 4, len = 0;
    m->bytes = calloc(1, room + 1); // a NUL behind the last replacement
    if (!m->bytes)
        abort();
    if (sodium_base642bin(m->bytes, room, base64, strlen(base64), NULL, &len, NULL, sodium_base64_VARIANT_ORIGINAL) <
            0 ||
        len < 8)
        return tokenizer_refuse(err, "`precompiled_charsmap` cannot be read");
    size_t trie = little_endian(m->bytes);
    if (trie % 4 || trie < 4 || trie > len - 4)
        return tokenizer_refuse(err, "`precompiled_charsmap` ends too early");
    m->replacements = (const char *)m->bytes + 4 + trie;
    m->replacements_len = len - 4 - trie;
    if (!js_utf8_valid(m->replacements, m->replacements_len))
        return tokenizer_refuse(err, "`precompiled_charsmap` holds no UTF-8");
    m->unit_count = trie / 4;
    m->units = malloc(trie);
    if (!m->units)
        abort();
    for (size_t i = 0; i < m->unit_count; i++)
        m->units[i] = little_endian(m->bytes + 4 + i * 4);
    return 0;
}

int charsmap_parse(const char *base64, struct charsmap **out, struct error *err)
{
    struct charsmap *m = calloc(1, sizeof *m);
    if (!m)
        abort();
    if (decode(m, base64, err) < 0) {
        charsmap_free(m);
        return -1;
    }
    *out = m;
    return 0;
}

static size_t offset_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

// What stands for text; NULL: nothing does.
static const char *find(const struct charsmap *m, const char *text, size_t len)
{
    size_t node = offset_of(m->units[0]);
    for (size_t i = 0; i < len && text[i]; i++) {
        unsigned char byte = (unsigned char)text[i];
        node ^= byte;
        if (node >= m->unit_count || (m->units[node] & (1u << 31 | 0xff)) != byte)
            return NULL;
        uint32_t unit = m->units[node];
        node ^= offset_of(unit);
        if (node >= m->unit_count)
            return NULL;
        size_t value = m->units[node] & ~(1u << 31);
        if (unit >> 8 & 1)
            return value <= m->replacements_len ? m->replacements + value : NULL;
    }
    return NULL;
}

static size_t grapheme(const char *text, size_t len)
{
    int32_t before, c, state = 0;
    size_t used = uni_next(text, len, &before);
    while (used < len) {
        size_t step = uni_next(text + used, len - used, &c);
        if (utf8proc_grapheme_break_stateful(before, c, &state))
            break;
        before = c;
        used += step;
    }
    return used;
}

void charsmap_run(const struct charsmap *m, const char *text, size_t len, struct buf *out)
{
    for (size_t at = 0; at < len;) {
        size_t end = at + grapheme(text + at, len - at);
        const char *found = end - at < 6 ? find(m, text + at, end - at) : NULL;
        if (found) {
            buf_puts(out, found);
            at = end;
        }
        while (at < end) {
            int32_t c;
            size_t step = uni_next(text + at, end - at, &c);
            found = find(m, text + at, step);
            buf_append(out, found ? found : text + at, found ? strlen(found) : step);
            at += step;
        }
    }
}
