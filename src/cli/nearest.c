// SPDX-License-Identifier: Apache-2.0
// The nearest name, for what was mistyped.
#include "cli/nearest.h"

#include <stddef.h>
#include <string.h>

enum { NEAR_MAX = 64 };

// The number of letters to change, add or take away (Levenshtein's distance), of words below NEAR_MAX bytes.
static size_t distance(const char *a, const char *b)
{
    size_t len_a = strnlen(a, NEAR_MAX), len_b = strnlen(b, NEAR_MAX);
    size_t row[NEAR_MAX + 1];
    for (size_t j = 0; j <= len_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= len_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            size_t cost = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < cost)
                cost = row[j] + 1;
            if (row[j - 1] + 1 < cost)
                cost = row[j - 1] + 1;
            row[j] = cost;
        }
    }
    return row[len_b];
}

const char *nearest_name(const char *word, const char *const *names)
{
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 2; // a third of the letters may be wrong, and one more
    for (; *names; names++) {
        size_t d = strlen(word) >= 3 && strncmp(*names, word, strlen(word)) == 0 ? 1 : distance(word, *names);
        if (d < least) {
            least = d;
            best = *names;
        }
    }
    return best;
}
