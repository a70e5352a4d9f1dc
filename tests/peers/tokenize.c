// SPDX-License-Identifier: Apache-2.0
// tokenize FILE [MOST]: reads lines that are JSON strings from stdin, writes the tokens of each as a line of numbers.
// For tokenizers.py, which compares them with those of Hugging Face's tokenizers.
#include <stdio.h>

#include "backends/extractor/tokenizer.h"
#include "base/js.h"

int main(int argc, char **argv)
{
    struct error err = {0};
    _cleanup_tokenizer_ struct tokenizer *t = NULL;
    _cleanup_free_ char *line = NULL;
    size_t room = 0, most = argc > 2 ? strtoul(argv[2], NULL, 10) : TOKENIZER_TOKENS_MAX;
    ssize_t len;
    if (argc < 2 || tokenizer_read(argv[1], &t, &err) < 0) {
        fprintf(stderr, "tokenize: %s\n", argc < 2 ? "which tokenizer.json?" : err.message);
        return 2;
    }
    while ((len = getline(&line, &room, stdin)) >= 0) {
        int32_t ids[TOKENIZER_TOKENS_MAX];
        size_t count;
        _cleanup_json_ json_t *text = json_loadb(line, (size_t)len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        if (!json_is_string(text) ||
            tokenizer_encode(t, json_string_value(text), json_string_length(text), most, ids, &count, &err) < 0) {
            fprintf(stderr, "tokenize: %s\n", err.code ? err.message : "a line is no JSON string");
            return 1;
        }
        for (size_t i = 0; i < count; i++)
            printf("%s%d", i ? " " : "", ids[i]);
        putchar('\n');
    }
    return 0;
}
