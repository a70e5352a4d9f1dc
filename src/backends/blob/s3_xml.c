// SPDX-License-Identifier: Apache-2.0
// Just enough of XML to read what S3 answers: elements are found by name, in the order in which they come, and their
// texts freed of entities. Nothing is kept, nothing recurses, and what is malformed is simply not found.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "backends/blob/s3_int.h"

static const char *find_tag(struct s3_text in, const char *open, const char *name)
{
    size_t open_len = strlen(open), name_len = strlen(name);
    for (const char *p = in.at, *end = in.at + in.len; p < end;) {
        const char *hit = memmem(p, (size_t)(end - p), open, open_len);
        if (!hit)
            return NULL;
        const char *behind = hit + open_len;
        if ((size_t)(end - behind) > name_len && memcmp(behind, name, name_len) == 0 && behind[name_len] == '>')
            return hit;
        p = behind;
    }
    return NULL;
}

bool s3_xml_next(struct s3_text *rest, const char *name, struct s3_text *out)
{
    const char *open = find_tag(*rest, "<", name), *end = rest->at + rest->len;
    if (!open)
        return false;
    const char *from = open + strlen(name) + 2;
    const char *close = find_tag((struct s3_text){from, (size_t)(end - from)}, "</", name);
    if (!close)
        return false;
    *out = (struct s3_text){from, (size_t)(close - from)};
    const char *behind = close + strlen(name) + 3;
    *rest = (struct s3_text){behind, (size_t)(end - behind)};
    return true;
}

// The character that an entity stands for, and its length in `*used`; 0 when it is none that we know.
static unsigned long entity(const char *p, size_t len, size_t *used)
{
    static const struct {
        const char *name;
        char means;
    } known[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        size_t name = strlen(known[i].name);
        if (len >= name && memcmp(p, known[i].name, name) == 0) {
            *used = name;
            return (unsigned char)known[i].means;
        }
    }
    if (len < 4 || p[1] != '#')
        return 0;
    bool hex = p[2] == 'x';
    unsigned long code = 0;
    size_t i = hex ? 3 : 2;
    for (; i < len && i < 10 && isxdigit((unsigned char)p[i]) && (hex || isdigit((unsigned char)p[i])); i++)
        code = code * (hex ? 16 : 10) +
               (unsigned long)(isdigit((unsigned char)p[i]) ? p[i] - '0' : tolower((unsigned char)p[i]) - 'a' + 10);
    if (i >= len || p[i] != ';' || code > 0x10ffff)
        return 0;
    *used = i + 1;
    return code;
}

static size_t put_utf8(unsigned long code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(lead[more] | code >> (6 * more));
    for (size_t i = 1; i <= more; i++)
        out[i] = (char)(0x80 | ((code >> (6 * (more - i))) & 0x3f));
    return more + 1;
}

void s3_xml_plain(struct s3_text raw, char *out, size_t room)
{
    size_t used = 0;
    for (size_t i = 0; i < raw.len;) {
        char bytes[4] = {raw.at[i]};
        size_t count = 1, step = 1;
        unsigned long code = raw.at[i] == '&' ? entity(raw.at + i, raw.len - i, &step) : 0;
        if (code)
            count = put_utf8(code, bytes);
        else
            step = 1;
        if (used + count + 1 > room)
            break;
        memcpy(out + used, bytes, count);
        used += count;
        i += step;
    }
    out[used] = 0;
}

const char *s3_xml_text(struct s3_text in, const char *name, char *out, size_t room)
{
    struct s3_text raw = {0};
    out[0] = 0;
    if (s3_xml_next(&in, name, &raw))
        s3_xml_plain(raw, out, room);
    return out;
}

struct s3_text s3_answer_text(const struct s3_answer *answer)
{
    return (struct s3_text){answer->text.len ? answer->text.data : "", answer->text.len};
}

void s3_query_encode(struct buf *query, const char *text)
{
    for (const char *p = text; *p; p++)
        if (isalnum((unsigned char)*p) || strchr("-._~", *p))
            buf_append(query, p, 1);
        else
            buf_printf(query, "%%%02X", (unsigned char)*p);
}
