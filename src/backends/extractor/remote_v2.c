// SPDX-License-Identifier: Apache-2.0
// The Open Inference Protocol, version 2, in JSON: a batch is one tensor. A byte has 256 values, so the text of each
// number is made once.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backends/extractor/remote_wire.h"
#include "base/js.h"

enum { NESTING_MAX = 8 };

void tensor_text_make(const struct remote_spec *spec, struct tensor_text *out)
{
    const struct model_spec *m = &spec->model;
    for (size_t c = 0; c < 3; c++)
        for (int value = 0; value < 256; value++) {
            char text[32];
            if (spec->uint8)
                snprintf(text, sizeof text, "%d", value);
            else
                snprintf(text, sizeof text, "%.7g", ((double)value / 255 - m->mean[c]) / m->std[c]);
            size_t len = strnlen(text, sizeof out->of[c][value].text);
            memcpy(out->of[c][value].text, text, len);
            out->of[c][value].len = (unsigned char)len;
        }
}

void tensor_path(const struct remote_spec *spec, char *out, size_t size)
{
    snprintf(out, size, "/v2/models/%s%s%s/infer", spec->name, *spec->version ? "/versions/" : "", spec->version);
}

static void put(const struct tensor_text *text, size_t channel, uint8_t value, struct buf *out)
{
    buf_append(out, text->of[channel][value].text, text->of[channel][value].len);
    buf_append(out, ",", 1);
}

static void write_picture(const struct model_spec *m, const struct tensor_text *text, const uint8_t *fitted,
                          struct buf *out)
{
    size_t area = (size_t)m->width * (size_t)m->height;
    if (m->nhwc)
        for (size_t i = 0; i < area; i++)
            for (size_t c = 0; c < 3; c++)
                put(text, c, fitted[i * 3 + (m->bgr ? 2 - c : c)], out);
    else
        for (size_t c = 0; c < 3; c++)
            for (size_t i = 0; i < area; i++)
                put(text, c, fitted[i * 3 + (m->bgr ? 2 - c : c)], out);
}

void tensor_write(const struct remote_spec *spec, const struct tensor_text *text, const uint8_t *fitted, size_t count,
                  struct buf *out)
{
    const struct model_spec *m = &spec->model;
    size_t picture = (size_t)m->width * (size_t)m->height * 3;
    buf_printf(out, "{\"inputs\":[{\"name\":\"%s\",\"datatype\":\"%s\",\"shape\":", spec->input,
               spec->uint8 ? "UINT8" : "FP32");
    if (m->nhwc)
        buf_printf(out, "[%zu,%d,%d,3]", count, m->height, m->width);
    else
        buf_printf(out, "[%zu,3,%d,%d]", count, m->height, m->width);
    buf_puts(out, ",\"data\":[");
    for (size_t i = 0; i < count; i++)
        write_picture(m, text, fitted + i * picture, out);
    if (!out->failed)
        out->len--; // the last comma
    buf_puts(out, "]}]");
    if (*m->output)
        buf_printf(out, ",\"outputs\":[{\"name\":\"%s\"}]", m->output);
    buf_puts(out, "}");
}

// ---- The answer

struct reading {
    float *out;
    size_t room, count; // numbers
    bool odd;           // there is something that is no number
};

// Numbers in a row, or in rows of rows.
static void read_numbers(const json_t *data, int depth, struct reading *r)
{
    size_t i;
    json_t *value;
    json_array_foreach(data, i, value)
    {
        if (json_is_array(value) && depth < NESTING_MAX) {
            read_numbers(value, depth + 1, r);
            continue;
        }
        float number = json_is_number(value) ? (float)json_number_value(value) : NAN;
        r->odd |= !isfinite(number);
        if (r->count < r->room)
            r->out[r->count] = number;
        r->count++;
    }
}

static const json_t *find_output(const json_t *json, const char *name)
{
    const json_t *outputs = js_arr(json, "outputs");
    for (size_t i = 0; i < json_array_size(outputs); i++) {
        const json_t *output = json_array_get(outputs, i);
        if (!*name || strcmp(js_str(output, "name", ""), name) == 0)
            return output;
    }
    return NULL;
}

int tensor_read(const struct remote_spec *spec, const struct buf *answer, size_t count, float *vectors,
                struct error *err)
{
    const struct model_spec *m = &spec->model;
    _cleanup_json_ json_t *json = answer->len ? js_parse(answer->data, answer->len, NULL) : NULL;
    const json_t *data = js_arr(find_output(json, m->output), "data");
    struct reading r = {.out = vectors, .room = count * m->dimension};
    if (!data)
        return error_set(err, ERR_EXTRACTION_FAILED,
                         "Model %s: the answer of its service cannot be read: it is no JSON with the output %s",
                         m->name, *m->output ? m->output : "of a tensor");
    read_numbers(data, 0, &r);
    if (r.count != r.room)
        return error_set(err, ERR_EXTRACTION_FAILED, "Model %s: its service gave %zu numbers instead of %zu x %zu",
                         m->name, r.count, count, m->dimension);
    return r.odd ? error_set(err, ERR_EXTRACTION_FAILED, "Model %s: its service gave something that is no number",
                             m->name)
                 : 0;
}
