// SPDX-License-Identifier: Apache-2.0
// Fuzzes the form parser (libFuzzer: clang -fsanitize=fuzzer,address,undefined). Whatever the bytes are, the way in
// which they are cut must not matter: whole, byte by byte, and in odd steps, the same parts and the same verdict come
// out.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/multipart.h"

struct heard {
    uint64_t sum; // of names and content
    uint64_t next;
    unsigned parts;
};

static void mix(struct heard *h, const void *data, size_t len)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++)
        h->sum = (h->sum ^ p[i]) * 1099511628211u;
}

static void mix_text(struct heard *h, const char *text)
{
    mix(h, text ? text : "\1", strlen(text ? text : "\1") + 1);
}

static int piece(void *arg, const char *field, const char *file_name, const char *content_type, const char *data,
                 uint64_t offset, size_t len, struct error *err)
{
    struct heard *h = arg;
    if (offset == 0) {
        h->parts++;
        h->next = 0;
        mix_text(h, field);
        mix_text(h, file_name);
        mix_text(h, content_type);
    }
    if (offset != h->next)
        abort();
    h->next += len;
    mix(h, data, len);
    return 0;
}

static enum error_code parse(const uint8_t *data, size_t len, size_t step, struct heard *h)
{
    struct error err = {0};
    struct multipart *mp;
    *h = (struct heard){.sum = 14695981039346656037u};
    if (multipart_new("multipart/form-data; boundary=-x", piece, h, &mp, &err) != 0)
        abort();
    int rc = 0;
    for (size_t at = 0; at < len && rc == 0; at += step) {
        // A copy of exactly this size lets AddressSanitizer see a read beyond the piece.
        size_t n = at + step < len ? step : len - at;
        char *copy = malloc(n);
        if (!copy)
            abort();
        memcpy(copy, data + at, n);
        rc = multipart_feed(mp, copy, n, &err);
        free(copy);
    }
    if (rc == 0)
        rc = multipart_end(mp, &err);
    multipart_free(mp);
    return rc == 0 ? ERR_NONE : err.code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const size_t steps[] = {1, 3, 7, 64};
    struct heard whole, cut;
    enum error_code verdict = parse(data, len, len ? len : 1, &whole);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (parse(data, len, steps[i], &cut) != verdict || cut.sum != whole.sum || cut.parts != whole.parts)
            abort();
    return 0;
}
