// SPDX-License-Identifier: Apache-2.0
// Fuzzing of tokenizers: what stands before the first NUL is read as a tokenizer.json, what follows is text for it.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backends/extractor/tokenizer.h"
#include "base/js.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 64, GUARD = -7 };

static void check_text(const struct tokenizer *t, const char *text, size_t len)
{
    struct error err = {0};
    int32_t ids[MOST + 1];
    size_t count = 0;
    ids[MOST] = GUARD;
    if (tokenizer_encode(t, text, len, MOST, ids, &count, &err) < 0) {
        if (err.code != ERR_INVALID || !js_utf8_valid(err.message, strlen(err.message)))
            abort();
        return;
    }
    if (count > MOST || ids[MOST] != GUARD)
        abort();
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {0};
    _cleanup_tokenizer_ struct tokenizer *t = NULL;
    const uint8_t *end = memchr(data, 0, size);
    size_t len = end ? (size_t)(end - data) : size;
    if (tokenizer_parse((const char *)data, len, &t, &err) < 0) {
        if (err.code != ERR_CONFIG || !js_utf8_valid(err.message, strlen(err.message)))
            abort();
        return 0;
    }
    check_text(t, "A photo of a dög, 3 o'clock \xe4\xbd\xa0\xe5\xa5\xbd", 29);
    if (end)
        check_text(t, (const char *)end + 1, size - len - 1);
    return 0;
}
