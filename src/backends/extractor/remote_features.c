// SPDX-License-Identifier: Apache-2.0
// POST /extract-features: a form with the picture as a file; the answer is JSON with the numbers. Names of members are
// as Python's service writes them, and as C# does.
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "backends/extractor/remote_wire.h"
#include "base/js.h"

enum { NUMBER_MAX = 64, ENVELOPE_MAX = 64 << 10 };

size_t remote_answer_max(const struct remote_spec *spec, size_t count)
{
    return count * spec->model.dimension * NUMBER_MAX + ENVELOPE_MAX;
}

static void field(struct buf *out, const char *boundary, const char *name, const char *value)
{
    if (*value)
        buf_printf(out, "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n", boundary, name, value);
}

static void write_file(const struct remote_spec *spec, const struct pixels *picture, struct buf *out)
{
    int longer = picture->width > picture->height ? picture->width : picture->height;
    if (longer <= spec->edge) {
        remote_png(picture, out);
        return;
    }
    struct pixels small;
    int width = (int)((int64_t)picture->width * spec->edge / longer),
        height = (int)((int64_t)picture->height * spec->edge / longer);
    pixels_resize(picture, width > 0 ? width : 1, height > 0 ? height : 1, &small);
    remote_png(&small, out);
    pixels_free(&small);
}

void features_write(const struct remote_spec *spec, const struct pixels *picture, struct buf *out,
                    char type[REMOTE_TYPE_MAX])
{
    unsigned char random[16];
    char boundary[sizeof random * 2 + 1];
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(boundary, sizeof boundary, random, sizeof random);
    snprintf(type, REMOTE_TYPE_MAX, "multipart/form-data; boundary=%s", boundary);
    field(out, boundary, "model_name", spec->name);
    buf_printf(out,
               "--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"picture.png\"\r\n"
               "Content-Type: image/png\r\n\r\n",
               boundary);
    write_file(spec, picture, out);
    buf_printf(out, "\r\n--%s--\r\n", boundary);
}

int features_read(const struct remote_spec *spec, const struct buf *answer, float *vector, struct features_said *said,
                  struct error *err)
{
    const char *name = spec->model.name;
    _cleanup_json_ json_t *json = answer->len ? js_parse(answer->data, answer->len, NULL) : NULL;
    const json_t *features = js_arr(json, "features");
    size_t i;
    json_t *value;
    if (!features)
        return error_set(err, ERR_EXTRACTION_FAILED,
                         "Model %s: the answer of its service cannot be read: it is no JSON with `features`", name);
    if (json_array_size(features) != spec->model.dimension)
        return error_set(err, ERR_EXTRACTION_FAILED, "Model %s: its service gave %zu numbers instead of %zu", name,
                         json_array_size(features), spec->model.dimension);
    json_array_foreach(features, i, value)
    {
        float number = json_is_number(value) ? (float)json_number_value(value) : NAN;
        if (!isfinite(number))
            return error_set(err, ERR_EXTRACTION_FAILED, "Model %s: its service gave something that is no number",
                             name);
        vector[i] = number;
    }
    snprintf(said->name, sizeof said->name, "%s", js_str(json, "model_name", js_str(json, "modelName", "")));
    snprintf(said->version, sizeof said->version, "%s",
             js_str(json, "model_version", js_str(json, "modelVersion", "")));
    return 0;
}
