// SPDX-License-Identifier: Apache-2.0
// Reading descriptions of models: see model_spec.h.
#include "backends/extractor/model_spec.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/extractor/model_spec_int.h"
#include "base/js.h"

enum { DESCRIPTION_MAX = 1 << 20 };

const char *model_precision_name(enum model_precision precision)
{
    static const char *const names[] = {[MODEL_F32] = "f32", [MODEL_BF16] = "bf16", [MODEL_INT8] = "int8"};
    return names[precision];
}

bool model_same_collection(const char *a, const char *b)
{
    while (true) {
        a += strspn(a, "._-");
        b += strspn(b, "._-");
        if (*a != *b)
            return false;
        if (!*a)
            return true;
        a++;
        b++;
    }
}

// The name of a folder is the model's when its description has none.
static const char *base_name(const char *folder)
{
    const char *slash = strrchr(folder, '/');
    return slash && slash[1] ? slash + 1 : folder;
}

int spec_refuse(const struct model_spec *s, struct error *err, const char *what)
{
    return error_set(err, ERR_CONFIG, "Model %s: %s", *s->name ? s->name : base_name(s->folder), what);
}

int spec_join(const struct model_spec *s, const char *name, char out[MODEL_PATH_MAX], struct error *err)
{
    if (*name == '/' || strstr(name, ".."))
        return spec_refuse(s, err, "its files must be inside its folder");
    if (snprintf(out, MODEL_PATH_MAX, "%s/%s", s->folder, name) >= MODEL_PATH_MAX)
        return spec_refuse(s, err, "the path of its folder is too long");
    return 0;
}

int spec_json(const struct model_spec *s, const char *name, json_t **out, struct error *err)
{
    char path[MODEL_PATH_MAX];
    if (spec_join(s, name, path, err) < 0)
        return -1;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        *out = NULL;
        return errno == ENOENT || errno == ENOTDIR ? 0
                                                   : error_errno(err, ERR_CONFIG, errno, "%.200s cannot be read", path);
    }
    _cleanup_free_ char *text = malloc(DESCRIPTION_MAX);
    ssize_t got = text ? read(fd, text, DESCRIPTION_MAX) : -1;
    if (got < 0 || got == DESCRIPTION_MAX)
        return error_set(err, ERR_CONFIG, "%.200s cannot be read", path);
    json_t *value = js_parse(text, (size_t)got, err);
    if (!json_is_object(value)) {
        json_decref(value);
        if (value)
            error_set(err, ERR_CONFIG, "it is no object");
        error_prefix(err, "%.200s", path);
        if (err)
            err->code = ERR_CONFIG;
        return -1;
    }
    *out = value;
    return 0;
}

void spec_copy(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from ? from : "");
}

static bool valid_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len < MODEL_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == len &&
           isalnum((unsigned char)name[0]);
}

static bool read_three(json_t *array, float out[3])
{
    if (!json_is_array(array) || json_array_size(array) != 3)
        return false;
    for (size_t i = 0; i < 3; i++) {
        double value = json_number_value(json_array_get(array, i));
        if (!isfinite(value) || fabs(value) > 1000)
            return false;
        out[i] = (float)value;
    }
    return true;
}

int spec_check(const struct model_spec *s, struct error *err)
{
    if (!valid_name(s->name))
        return spec_refuse(s, err,
                           "a name has at most 63 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit");
    if (!*s->version)
        return spec_refuse(s, err, "it has no version");
    if (s->dimension > MODEL_DIMENSION_MAX)
        return spec_refuse(s, err, "its dimension is above 65536");
    if (s->width < 1 || s->height < 1 || s->width > MODEL_EDGE_MAX || s->height > MODEL_EDGE_MAX)
        return spec_refuse(s, err, "its input must be 1 to 2048 pixels wide and high");
    if (s->fit == FIT_CROP && (s->resize < s->width || s->resize < s->height || s->resize > 2 * MODEL_EDGE_MAX))
        return spec_refuse(s, err, "`resize` must be at least what is cropped from it, and at most 4096");
    if (!(s->mix_builtin >= 0 && s->mix_builtin <= 10))
        return spec_refuse(s, err, "`mix.builtin` must be from 0 to 10");
    if (!(s->duplicate_score >= 0 && s->duplicate_score <= 1))
        return spec_refuse(s, err, "`duplicates.score` must be from 0 to 1");
    for (int i = 0; i < 3; i++)
        if (s->std[i] <= 0)
            return spec_refuse(s, err, "`std` must be above 0");
    return 0;
}

// --- model.json

int spec_input(struct model_spec *s, const json_t *input, struct error *err)
{
    const char *fit = js_str(input, "fit", "squash"), *layout = js_str(input, "layout", "NCHW"),
               *channels = js_str(input, "channels", "RGB");
    s->width = (int)js_int(input, "width", 0);
    s->height = (int)js_int(input, "height", s->width);
    int shorter = s->width < s->height ? s->width : s->height;
    s->resize = (int)js_int(input, "resize", shorter);
    if (strcmp(fit, "squash") != 0 && strcmp(fit, "crop") != 0 && strcmp(fit, "pad") != 0)
        return spec_refuse(s, err, "`input.fit` must be squash, crop or pad");
    s->fit = *fit == 's' ? FIT_SQUASH : *fit == 'c' ? FIT_CROP : FIT_PAD;
    if (strcmp(layout, "NCHW") != 0 && strcmp(layout, "NHWC") != 0)
        return spec_refuse(s, err, "`input.layout` must be NCHW or NHWC");
    s->nhwc = strcmp(layout, "NHWC") == 0;
    if (strcmp(channels, "RGB") != 0 && strcmp(channels, "BGR") != 0)
        return spec_refuse(s, err, "`input.channels` must be RGB or BGR");
    s->bgr = *channels == 'B';
    if (!read_three(js_arr(input, "mean"), s->mean) || !read_three(js_arr(input, "std"), s->std))
        return spec_refuse(s, err, "`input.mean` and `input.std` must be three numbers each");
    return 0;
}

static int choose_file(struct model_spec *s, const json_t *files, const char *precision, struct error *err)
{
    s->precision = strcmp(precision, "int8") == 0   ? MODEL_INT8
                   : strcmp(precision, "bf16") == 0 ? MODEL_BF16
                                                    : MODEL_F32;
    const json_t *file = js_obj(files, model_precision_name(s->precision));
    if (!file && s->precision == MODEL_INT8)
        s->precision = MODEL_F32;
    if (!file)
        file = js_obj(files, "f32");
    const char *path = js_str(file, "path", NULL);
    if (!path)
        return spec_refuse(s, err, "`files.f32.path` is missing");
    spec_copy(s->sha256, sizeof s->sha256, js_str(file, "sha256", ""));
    return spec_join(s, path, s->file, err);
}

int spec_own(struct model_spec *s, const json_t *description, const json_t *part, struct error *err)
{
    const char *name = js_str(description, "name", "");
    if (!valid_name(name))
        return spec_refuse(s, err,
                           "`name` has 1 to 63 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit");
    spec_copy(s->name, sizeof s->name, name);
    int64_t dimension = js_int(description, "dimension", 0);
    if (dimension < 0 || dimension > MODEL_DIMENSION_MAX)
        return spec_refuse(s, err, "`dimension` must be 1 to 65536");
    s->dimension = (size_t)dimension;
    spec_copy(s->output, sizeof s->output, js_str(part, "output", ""));
    spec_copy(s->licence, sizeof s->licence, js_str(description, "licence", ""));
    spec_copy(s->source, sizeof s->source, js_str(description, "source", ""));
    return 0;
}

int spec_own_file(struct model_spec *s, const json_t *description, const json_t *part, const char *precision,
                  struct error *err)
{
    if (strcmp(precision, "auto") == 0)
        precision = js_str(description, "precision", "f32");
    if (choose_file(s, js_obj(part, "files"), precision, err) < 0)
        return -1;
    snprintf(s->version, sizeof s->version, "%.50s%s%s", js_str(description, "version", "1.0"),
             s->precision == MODEL_F32 ? "" : "-", s->precision == MODEL_F32 ? "" : model_precision_name(s->precision));
    return 0;
}

static int read_own(struct model_spec *s, const json_t *description, const char *precision, struct error *err)
{
    s->mix_builtin = (float)js_num(js_obj(description, "mix"), "builtin", 0);
    s->duplicate_score = js_num(js_obj(description, "duplicates"), "score", 0);
    if (spec_own(s, description, description, err) < 0 || spec_input(s, js_obj(description, "input"), err) < 0 ||
        spec_own_file(s, description, description, precision, err) < 0)
        return -1;
    return spec_read_labels(s, js_obj(description, "labels"), err);
}

// --- Immich's layout

int spec_published(struct model_spec *s, const char *precision, const char *model, json_t **config, struct error *err)
{
    const char *from = base_name(s->folder);
    for (size_t i = 0; from[i] && i < MODEL_NAME_MAX - 1; i++)
        s->name[i] = (char)tolower((unsigned char)from[i]);
    s->precision = strcmp(precision, "bf16") == 0 ? MODEL_BF16 : MODEL_F32;
    spec_copy(s->version, sizeof s->version, s->precision == MODEL_BF16 ? "1.0-bf16" : "1.0");
    if (spec_json(s, "config.json", config, err) < 0)
        return -1;
    int64_t dimension = js_int(*config, "embed_dim", 0);
    s->dimension = dimension > 0 && dimension <= MODEL_DIMENSION_MAX ? (size_t)dimension : 0;
    return spec_join(s, model, s->file, err);
}

static int read_published(struct model_spec *s, const json_t *cfg, const char *precision, struct error *err)
{
    _cleanup_json_ json_t *config = NULL;
    const json_t *size = json_object_get(cfg, "size");
    if (json_is_array(size)) {
        s->height = (int)json_integer_value(json_array_get(size, 0));
        s->width = (int)json_integer_value(json_array_get(size, 1));
    } else {
        s->height = s->width = (int)json_integer_value(size);
    }
    const char *mode = js_str(cfg, "resize_mode", "shortest");
    s->fit = strcmp(mode, "squash") == 0 ? FIT_SQUASH : strcmp(mode, "longest") == 0 ? FIT_PAD : FIT_CROP;
    s->resize = s->width > s->height ? s->width : s->height;
    if (spec_published(s, precision, "visual/model.onnx", &config, err) < 0)
        return -1;
    if (!read_three(js_arr(cfg, "mean"), s->mean) || !read_three(js_arr(cfg, "std"), s->std))
        return spec_refuse(s, err, "preprocess_cfg.json has no `mean` and `std` of three numbers");
    return 0;
}

int spec_folder(struct model_spec *s, const char *folder, json_t **own, struct error *err)
{
    size_t len = strlen(folder);
    while (len > 1 && folder[len - 1] == '/')
        len--;
    if (len >= MODEL_PATH_MAX)
        return error_set(err, ERR_CONFIG, "The path of a model's folder is too long");
    memcpy(s->folder, folder, len);
    return spec_json(s, "model.json", own, err);
}

int spec_begin(struct model_spec *s, const char *folder, json_t **own, struct error *err)
{
    if (spec_folder(s, folder, own, err) < 0)
        return -1;
    return js_obj(*own, "remote") ? error_set(err, ERR_NOT_FOUND, "%.200s holds a model that a service runs", s->folder)
                                  : 0;
}

int model_spec_read(const char *folder, const char *precision, struct model_spec *out, struct error *err)
{
    struct model_spec s = {0};
    _cleanup_json_ json_t *own = NULL, *published = NULL;
    if (spec_begin(&s, folder, &own, err) < 0 || spec_json(&s, "visual/preprocess_cfg.json", &published, err) < 0)
        return -1;
    if (!own && !published)
        return error_set(err, ERR_NOT_FOUND, "%.200s holds no model: neither model.json nor visual/preprocess_cfg.json",
                         s.folder);
    if (own && js_obj(own, "text") && !js_obj(own, "input"))
        return error_set(err, ERR_NOT_FOUND, "%.200s holds a model of text alone", s.folder);
    int rc = own ? read_own(&s, own, precision, err) : read_published(&s, published, precision, err);
    if (rc < 0 || spec_check(&s, err) < 0)
        return -1;
    *out = s;
    return 0;
}

// --- The file itself

static int hash_file(const struct model_spec *s, const char *file, char hex[65], struct error *err)
{
    _cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, ERR_CONFIG, errno, "Model %s: %.200s cannot be read", s->name, file);
    crypto_hash_sha256_state state;
    unsigned char digest[crypto_hash_sha256_BYTES];
    _cleanup_free_ unsigned char *piece = malloc(1 << 20);
    ssize_t got = -1;
    crypto_hash_sha256_init(&state);
    while (piece && (got = read(fd, piece, 1 << 20)) > 0)
        crypto_hash_sha256_update(&state, piece, (unsigned long long)got);
    if (got < 0)
        return error_errno(err, ERR_CONFIG, errno, "Model %s: %.200s cannot be read", s->name, file);
    crypto_hash_sha256_final(&state, digest);
    sodium_bin2hex(hex, 65, digest, sizeof digest);
    return 0;
}

int spec_verify_file(const struct model_spec *s, const char *file, const char *sha256, struct error *err)
{
    char hex[65];
    if (!*sha256)
        return 0;
    if (hash_file(s, file, hex, err) < 0)
        return -1;
    if (strcmp(hex, sha256) != 0)
        return error_set(err, ERR_CONFIG,
                         "Model %s: %.150s is not what model.json describes (SHA-256 %.16s… instead of %.16s…): it is "
                         "truncated or was changed",
                         s->name, file, hex, sha256);
    return 0;
}

int model_spec_verify(const struct model_spec *s, struct error *err)
{
    struct stat st;
    size_t len = strlen(s->file);
    bool known = len > 5 && (strcmp(s->file + len - 5, ".onnx") == 0 || strcmp(s->file + len - 4, ".xml") == 0);
    if (!known)
        return spec_refuse(s, err, "its file must be an .onnx, or an OpenVINO .xml with its .bin beside it");
    if (stat(s->file, &st) < 0)
        return error_errno(err, ERR_CONFIG, errno, "Model %s: %.200s cannot be read", s->name, s->file);
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return spec_refuse(s, err, "its file is empty or no file");
    return spec_verify_file(s, s->file, s->sha256, err);
}
