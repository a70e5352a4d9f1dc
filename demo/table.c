// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "report.h"

// At most `width` characters, padded to as many; printf would count bytes.
static void put_cell(const char *text, int width)
{
    glong len = g_utf8_strlen(text, -1);
    if (len > width)
        printf("%.*s… ", (int)(g_utf8_offset_to_pointer(text, width - 1) - text), text);
    else
        printf("%s%*s ", text, width - (int)len, "");
}

// Without the author, for whom a page has room and a line has not.
static void put_title(const char *title, int width)
{
    const char *author = strstr(title, " by ");
    char *work = g_strndup(title, author ? (gsize)(author - title) : strlen(title));
    put_cell(work, width);
    g_free(work);
}

void table_print(const struct answers *a)
{
    printf("\n%-37s %-24s %-24s SCORE         MS\n", "WHAT WAS DONE", "TO THIS PHOTO", "BEST HIT");
    for (size_t i = 0; i < a->count; i++) {
        const struct answer *answer = &a->list[i];
        const struct hit *hit = &answer->hits[0];
        put_cell(answer->label, 37);
        put_title(answer->title, 24);
        put_title(answer->hit_count == 0 ? "none" : hit->right ? hit->form : hit->title, 24);
        printf("%5.3f  %-5s %4.0f\n", hit->score, answer_found(answer) ? "right" : "WRONG", answer->ms);
    }
    printf("\nFound first: %zu of %zu. Uploaded at %.0f/s; %.0f items/s searchable; median search %.0f ms.\n", a->found,
           a->count, a->acks, a->rate, a->ms);
}
