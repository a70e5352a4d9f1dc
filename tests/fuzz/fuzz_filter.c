// SPDX-License-Identifier: Apache-2.0
// Fuzzing of filters: any JSON is read as a filter, and matched against the terms of the same JSON.
//
//   clang -std=gnu17 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -Isrc tests/fuzz/fuzz_filter.c
//         src/base/{arena,buf,clock,error,filter,hash,js}.c -ljansson -lsodium -lm
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/filter.h"
#include "base/js.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// What must hold of every filter: it and its opposite never agree, and it survives being read once more.
static void check_filter(const json_t *value, const struct filter *filter, const struct term *terms, size_t count)
{
    struct filter *opposite, *again;
    bool match = filter_match(filter, terms, count);
    if (filter_parse(filter_json(filter), &again, NULL) < 0 || filter_match(again, terms, count) != match)
        abort();
    filter_free(again);
    _cleanup_json_ json_t *negated = json_pack("{s:O}", "not", (json_t *)value);
    if (filter_parse(negated, &opposite, NULL) < 0)
        return; // one level or node too many
    if (filter_match(opposite, terms, count) == match)
        abort();
    filter_free(opposite);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct term terms[TERMS_MAX];
    struct error err = {0};
    struct filter *filter = NULL;
    _cleanup_json_ json_t *value = js_parse((const char *)data, size, NULL);
    if (!value)
        return 0;
    size_t count = terms_make(value, terms, TERMS_MAX);
    for (size_t i = 1; i < count; i++)
        if (terms[i - 1].path > terms[i].path)
            abort();
    if (filter_parse(value, &filter, &err) < 0) {
        if (err.code != ERR_INVALID_FILTER || !js_utf8_valid(err.message, strlen(err.message)))
            abort();
        return 0;
    }
    check_filter(value, filter, terms, count);
    filter_free(filter);
    return 0;
}
