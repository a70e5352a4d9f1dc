// SPDX-License-Identifier: Apache-2.0
// The side of text of a model's description, and the names of what it finds in pictures: see model_spec.h.
#include <stdio.h>
#include <string.h>

#include "backends/extractor/model_spec_int.h"
#include "base/buf.h"
#include "base/js.h"

enum { LABELS_FILE_MAX = 4 << 20, LABEL_MAX = 255 };

// --- Text

static int check_text(const struct model_spec *s, struct error *err)
{
    if (s->tokens < 2 || s->tokens > MODEL_TOKENS_MAX)
        return spec_refuse(s, err, "a text must have 2 to 512 tokens at most");
    return 0;
}

// "text": {"files": …, "output": …, "tokenizer": {"path", "sha256"}, "tokens": 128, "fill": false, "padding": 0}
static int read_own_text(struct model_spec *s, const json_t *description, const char *precision, struct error *err)
{
    const json_t *text = js_obj(description, "text"), *tokenizer = js_obj(text, "tokenizer");
    if (spec_own(s, description, text, err) < 0 || spec_own_file(s, description, text, precision, err) < 0)
        return -1;
    s->tokens = (int)js_int(text, "tokens", 0);
    s->fill = js_bool(text, "fill", false);
    s->filling = (int)js_int(text, "padding", 0);
    s->plain = js_bool(text, "plain", false);
    spec_copy(s->tokenizer_sha256, sizeof s->tokenizer_sha256, js_str(tokenizer, "sha256", ""));
    return spec_join(s, js_str(tokenizer, "path", "tokenizer.json"), s->tokenizer, err);
}

// How short texts are filled up stands beside the tokenizer, by its name or with its properties.
static int read_filling(struct model_spec *s, struct error *err)
{
    _cleanup_json_ json_t *config = NULL;
    if (spec_json(s, "textual/tokenizer_config.json", &config, err) < 0)
        return -1;
    const json_t *token = json_object_get(config, "pad_token");
    const char *name = json_is_object(token) ? js_str(token, "content", NULL) : json_string_value(token);
    s->filling = name ? -1 : 0;
    spec_copy(s->filling_token, sizeof s->filling_token, name);
    return 0;
}

static int read_published_text(struct model_spec *s, const char *precision, struct error *err)
{
    _cleanup_json_ json_t *config = NULL;
    if (spec_published(s, precision, "textual/model.onnx", &config, err) < 0 || read_filling(s, err) < 0)
        return -1;
    const json_t *text = js_obj(config, "text_cfg");
    s->tokens = (int)js_int(text, "context_length", 77);
    s->fill = true;
    s->plain = strcmp(js_str(js_obj(text, "tokenizer_kwargs"), "clean", ""), "canonicalize") == 0;
    return spec_join(s, "textual/tokenizer.json", s->tokenizer, err);
}

int model_spec_read_text(const char *folder, const char *precision, struct model_spec *out, struct error *err)
{
    struct model_spec s = {0};
    _cleanup_json_ json_t *own = NULL;
    if (spec_begin(&s, folder, &own, err) < 0)
        return -1;
    bool published = false;
    if (!own) {
        char path[MODEL_PATH_MAX];
        if (spec_join(&s, "textual/model.onnx", path, err) < 0)
            return -1;
        published = access(path, F_OK) == 0;
    }
    if (!published && !js_obj(own, "text"))
        return error_set(err, ERR_NOT_FOUND, "%.200s holds no model of text", s.folder);
    int rc = own ? read_own_text(&s, own, precision, err) : read_published_text(&s, precision, err);
    if (rc < 0 || check_text(&s, err) < 0)
        return -1;
    *out = s;
    return 0;
}

// --- Labels

// Reads the whole file: the strings are its lines. `*out` keeps the bytes.
static int read_lines(const struct model_spec *s, struct buf *out, size_t *count, struct error *err)
{
    FILE *file = fopen(s->labels_file, "re");
    char piece[4096];
    size_t got;
    if (!file)
        return error_set(err, ERR_CONFIG, "Model %s: %.200s cannot be read", s->name, s->labels_file);
    while ((got = fread(piece, 1, sizeof piece, file)) > 0)
        buf_append(out, piece, got);
    fclose(file);
    if (out->failed || !out->len || out->data[out->len - 1] != '\n' || !js_utf8_valid(out->data, out->len))
        return spec_refuse(s, err, "its file of labels must hold lines of UTF-8, at most 4 MiB of them");
    *count = 0;
    for (char *line = out->data; *line; line = strchr(line, '\n') + 1) {
        size_t len = strcspn(line, "\n");
        if (len < 1 || len > LABEL_MAX)
            return spec_refuse(s, err, "each label must have 1 to 255 bytes");
        ++*count;
    }
    return *count <= MODEL_LABELS_MAX ? 0 : spec_refuse(s, err, "it has more than 32768 labels");
}

int spec_read_labels(struct model_spec *s, const json_t *labels, struct error *err)
{
    _cleanup_buf_ struct buf lines = BUF_INIT(LABELS_FILE_MAX);
    if (!labels)
        return 0;
    const char *file = js_str(labels, "file", NULL), *output = js_str(labels, "output", NULL);
    if (!file || !output)
        return spec_refuse(s, err, "`labels` needs `output` and `file`");
    spec_copy(s->labels_output, sizeof s->labels_output, output);
    return spec_join(s, file, s->labels_file, err) < 0 ? -1 : read_lines(s, &lines, &s->label_count, err);
}

int model_labels_read(const struct model_spec *s, char ***out, struct error *err)
{
    _cleanup_buf_ struct buf lines = BUF_INIT(LABELS_FILE_MAX);
    size_t count = 0;
    if (read_lines(s, &lines, &count, err) < 0)
        return -1;
    if (count != s->label_count)
        return spec_refuse(s, err, "its file of labels was changed");
    char **names = malloc(count * sizeof *names + lines.len + 1);
    if (!names)
        return error_set(err, ERR_NO_MEMORY, "No memory for labels");
    char *bytes = memcpy(names + count, lines.data, lines.len + 1);
    for (size_t i = 0; i < count; i++) {
        names[i] = bytes;
        bytes += strcspn(bytes, "\n");
        *bytes++ = 0;
    }
    *out = names;
    return 0;
}
