// SPDX-License-Identifier: Apache-2.0
// Normalizers: what happens to a text before it is split.
#include <string.h>
#include <utf8proc.h>

#include "backends/extractor/tokenizer_int.h"

enum { NORMALIZERS_MAX = 32, DEPTH_MAX = 8 };

struct normalizer {
    size_t count;
    struct one {
        enum {
            FORM, // a Unicode form
            LOWERCASE,
            STRIP_ACCENTS,
            STRIP_NONSPACING,
            STRIP,
            REPLACE,
            PREPEND,
            CHARSMAP,
            CLEAN_TEXT,
            SPACE_CHINESE
        } kind;
        utf8proc_option_t form;
        bool left, right;
        struct pattern *pattern;
        char *content;
        struct charsmap *map;
    } at[NORMALIZERS_MAX];
};

void normalizer_free(struct normalizer *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->count; i++) {
        pattern_free(n->at[i].pattern);
        free(n->at[i].content);
        charsmap_free(n->at[i].map);
    }
    free(n);
}

// --- Reading

static int read_one(struct normalizer *n, const json_t *json, int depth, struct error *err);

static struct one *add(struct normalizer *n, struct error *err)
{
    if (n->count < NORMALIZERS_MAX)
        return &n->at[n->count++];
    tokenizer_refuse(err, "it has more than %d normalizers", NORMALIZERS_MAX);
    return NULL;
}

static int add_kind(struct normalizer *n, int kind, struct error *err)
{
    struct one *one = add(n, err);
    if (one)
        one->kind = kind;
    return one ? 0 : -1;
}

static int add_form(struct normalizer *n, utf8proc_option_t form, struct error *err)
{
    struct one *one = add(n, err);
    if (one)
        *one = (struct one){.kind = FORM, .form = form | UTF8PROC_STABLE};
    return one ? 0 : -1;
}

static int read_bert(struct normalizer *n, const json_t *json, struct error *err)
{
    bool lowercase = js_bool(json, "lowercase", true);
    if (js_bool(json, "clean_text", true) && add_kind(n, CLEAN_TEXT, err) < 0)
        return -1;
    if (js_bool(json, "handle_chinese_chars", true) && add_kind(n, SPACE_CHINESE, err) < 0)
        return -1;
    if (js_bool(json, "strip_accents", lowercase) &&
        (add_form(n, UTF8PROC_DECOMPOSE, err) < 0 || add_kind(n, STRIP_NONSPACING, err) < 0))
        return -1;
    return lowercase ? add_kind(n, LOWERCASE, err) : 0;
}

static int read_replace(struct normalizer *n, const json_t *json, struct error *err)
{
    const char *content = js_str(json, "content", NULL);
    struct one *one = content ? add(n, err) : NULL;
    if (!content)
        return tokenizer_refuse(err, "a Replace says not by what");
    if (!one)
        return -1;
    one->kind = REPLACE;
    one->content = strdup(content);
    return pattern_parse(json_object_get(json, "pattern"), &one->pattern, err);
}

static int read_prepend(struct normalizer *n, const json_t *json, struct error *err)
{
    struct one *one = add(n, err);
    if (!one)
        return -1;
    one->kind = PREPEND;
    one->content = strdup(js_str(json, "prepend", ""));
    return 0;
}

static int read_strip(struct normalizer *n, const json_t *json, struct error *err)
{
    struct one *one = add(n, err);
    if (!one)
        return -1;
    *one = (struct one){
        .kind = STRIP, .left = js_bool(json, "strip_left", true), .right = js_bool(json, "strip_right", true)};
    return 0;
}

static int read_charsmap(struct normalizer *n, const json_t *json, struct error *err)
{
    const char *base64 = js_str(json, "precompiled_charsmap", NULL);
    struct one *one = base64 && *base64 ? add(n, err) : NULL;
    if (!one) // an empty one leaves everything as it is
        return base64 || json_is_null(json_object_get(json, "precompiled_charsmap")) ? 0 : -1;
    one->kind = CHARSMAP;
    return charsmap_parse(base64, &one->map, err);
}

static int read_sequence(struct normalizer *n, const json_t *json, int depth, struct error *err)
{
    size_t i;
    json_t *part;
    if (depth == DEPTH_MAX)
        return tokenizer_refuse(err, "its normalizers are nested too deeply");
    json_array_foreach(js_arr(json, "normalizers"), i, part)
    {
        if (read_one(n, part, depth + 1, err) < 0)
            return -1;
    }
    return 0;
}

static int read_one(struct normalizer *n, const json_t *json, int depth, struct error *err)
{
    static const struct {
        const char *type;
        utf8proc_option_t form;
    } forms[] = {{"NFC", UTF8PROC_COMPOSE},
                 {"NFD", UTF8PROC_DECOMPOSE},
                 {"NFKC", UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
                 {"NFKD", UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT}};
    const char *type = js_str(json, "type", "");
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        if (strcmp(type, forms[i].type) == 0)
            return add_form(n, forms[i].form, err);
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(n, json, depth, err);
    if (strcmp(type, "BertNormalizer") == 0)
        return read_bert(n, json, err);
    if (strcmp(type, "Lowercase") == 0)
        return add_kind(n, LOWERCASE, err);
    if (strcmp(type, "StripAccents") == 0)
        return add_kind(n, STRIP_ACCENTS, err);
    if (strcmp(type, "Strip") == 0)
        return read_strip(n, json, err);
    if (strcmp(type, "Replace") == 0)
        return read_replace(n, json, err);
    if (strcmp(type, "Prepend") == 0)
        return read_prepend(n, json, err);
    if (strcmp(type, "Precompiled") == 0)
        return read_charsmap(n, json, err);
    return tokenizer_refuse(err, "the normalizer \"%.60s\" is not known", type);
}

int normalizer_parse(const json_t *json, struct normalizer **out, struct error *err)
{
    struct normalizer *n = calloc(1, sizeof *n);
    if (!n)
        abort();
    if (json && !json_is_null(json) && read_one(n, json, 0, err) < 0) {
        normalizer_free(n);
        return -1;
    }
    *out = n;
    return 0;
}

bool normalizer_is_none(const struct normalizer *n)
{
    return n->count == 0;
}

// --- Running

static int to_form(utf8proc_option_t form, const struct buf *in, struct buf *out)
{
    const utf8proc_uint8_t *text = (const utf8proc_uint8_t *)in->data;
    utf8proc_ssize_t most = utf8proc_decompose(text, (utf8proc_ssize_t)in->len, NULL, 0, form);
    _cleanup_free_ utf8proc_int32_t *chars = most > 0 ? malloc(((size_t)most + 1) * sizeof *chars) : NULL;
    if (!chars)
        return most == 0 ? 0 : -1;
    utf8proc_ssize_t count = utf8proc_decompose(text, (utf8proc_ssize_t)in->len, chars, most, form);
    if (count > 0)
        count = utf8proc_normalize_utf32(chars, count, form);
    for (utf8proc_ssize_t i = 0; i < count; i++)
        uni_put(out, chars[i]);
    return count < 0 ? -1 : 0;
}

static bool is_chinese(int32_t c)
{
    static const int32_t ranges[][2] = {{0x4e00, 0x9fff},   {0x3400, 0x4dbf},   {0x20000, 0x2a6df}, {0x2a700, 0x2b73f},
                                        {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0xf900, 0xfaff},   {0x2f800, 0x2fa1f}};
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
        if (ranges[i][0] <= c && c <= ranges[i][1])
            return true;
    return false;
}

static void put_lower(struct buf *out, int32_t c)
{
    uni_put(out, c == 0x130 ? 'i' : utf8proc_tolower(c));
    if (c == 0x130) // the one capital whose small letter is two characters
        uni_put(out, 0x307);
}

static void put_clean(struct buf *out, int32_t c)
{
    bool blank = c == '\t' || c == '\n' || c == '\r';
    if (!blank && (c == 0 || c == 0xfffd || uni_is_other(c)))
        return;
    uni_put(out, blank || uni_is_space(c) ? ' ' : c);
}

static void put_char(const struct one *one, struct buf *out, int32_t c)
{
    switch (one->kind) {
    case LOWERCASE:
        put_lower(out, c);
        break;
    case STRIP_ACCENTS:
        if (!uni_is_mark(c))
            uni_put(out, c);
        break;
    case STRIP_NONSPACING:
        if (!uni_is_mark_nonspacing(c))
            uni_put(out, c);
        break;
    case CLEAN_TEXT:
        put_clean(out, c);
        break;
    default: // SPACE_CHINESE
        if (is_chinese(c))
            buf_puts(out, " ");
        uni_put(out, c);
        if (is_chinese(c))
            buf_puts(out, " ");
    }
}

static void strip(const struct one *one, const struct buf *in, struct buf *out)
{
    size_t begin = 0, end = in->len;
    int32_t c;
    while (one->left && begin < end) {
        size_t step = uni_next(in->data + begin, end - begin, &c);
        if (!uni_is_space(c))
            break;
        begin += step;
    }
    while (one->right && end > begin) {
        size_t last = end - 1;
        while (last > begin && ((unsigned char)in->data[last] & 0xc0) == 0x80)
            last--;
        uni_next(in->data + last, end - last, &c);
        if (!uni_is_space(c))
            break;
        end = last;
    }
    buf_append(out, in->data + begin, end - begin);
}

static void replace(const struct one *one, const struct buf *in, struct buf *out)
{
    size_t done = 0, begin, end;
    while (pattern_find(one->pattern, in->data, in->len, done, &begin, &end)) {
        buf_append(out, in->data + done, begin - done);
        buf_puts(out, one->content);
        done = end;
    }
    buf_append(out, in->data + done, in->len - done);
}

static int run_one(const struct one *one, const struct buf *in, struct buf *out)
{
    switch (one->kind) {
    case FORM:
        return to_form(one->form, in, out);
    case STRIP:
        strip(one, in, out);
        return 0;
    case REPLACE:
        replace(one, in, out);
        return 0;
    case PREPEND:
        buf_puts(out, one->content);
        return buf_append(out, in->data, in->len);
    case CHARSMAP:
        charsmap_run(one->map, in->data, in->len, out);
        return 0;
    default: // character by character
        for (size_t i = 0; i < in->len;) {
            int32_t c;
            i += uni_next(in->data + i, in->len - i, &c);
            put_char(one, out, c);
        }
        return 0;
    }
}

int normalizer_run(const struct normalizer *n, struct buf *text, struct buf *scratch, struct error *err)
{
    for (size_t i = 0; i < n->count && text->len; i++) {
        buf_clear(scratch);
        if (run_one(&n->at[i], text, scratch) < 0 || scratch->failed)
            return error_set(err, ERR_INVALID, "The text is too long");
        struct buf done = *scratch;
        *scratch = *text;
        *text = done;
    }
    return 0;
}
