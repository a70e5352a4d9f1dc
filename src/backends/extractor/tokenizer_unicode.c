// SPDX-License-Identifier: Apache-2.0
// Properties of characters, by libutf8proc.
#include <utf8proc.h>

#include "backends/extractor/tokenizer_int.h"

size_t uni_next(const char *text, size_t len, int32_t *c)
{
    utf8proc_int32_t found;
    utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, &found);
    if (used < 1) { // only checked text comes here; should it not be, a byte is passed over
        *c = 0xfffd;
        return 1;
    }
    *c = found;
    return (size_t)used;
}

size_t uni_len(const char *text, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

void uni_put(struct buf *out, int32_t c)
{
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t len = utf8proc_encode_char(c, bytes);
    buf_append(out, bytes, (size_t)len);
}

bool uni_is_space(int32_t c)
{
    if ((c >= 9 && c <= 13) || c == ' ' || c == 0x85)
        return true;
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

static bool between(int32_t c, utf8proc_category_t first, utf8proc_category_t last)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category >= first && category <= last;
}

bool uni_is_letter(int32_t c)
{
    return between(c, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LO);
}

bool uni_is_number(int32_t c)
{
    return between(c, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO);
}

bool uni_is_mark(int32_t c)
{
    return between(c, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME);
}

bool uni_is_mark_nonspacing(int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_MN;
}

bool uni_is_punctuation(int32_t c)
{
    return between(c, UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PO);
}

bool uni_is_word(int32_t c)
{
    return uni_is_letter(c) || uni_is_mark(c) || utf8proc_category(c) == UTF8PROC_CATEGORY_ND ||
           utf8proc_category(c) == UTF8PROC_CATEGORY_PC;
}

bool uni_is_other(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CO;
}

bool uni_is_bert_punctuation(int32_t c)
{
    bool ascii = (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    return ascii || uni_is_punctuation(c);
}
