// SPDX-License-Identifier: Apache-2.0
// A model in OpenVINO: see net.h.
#include "backends/extractor/net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backends/extractor/net_int.h"
#include "backends/extractor/openvino_api.h"
#include "backends/extractor/picture.h"
#include "base/cleanup.h"

static size_t picture_numbers(const struct net *n)
{
    return (size_t)n->spec.width * (size_t)n->spec.height * 3;
}

// Bytes of a picture or a text as it comes in.
static size_t item_bytes(const struct net *n)
{
    return n->spec.tokens ? sizeof(int32_t) * (1 + (size_t)n->spec.tokens) : picture_numbers(n);
}

// What OpenVINO says about its last failure, on one line and short.
int net_failed(const struct net *n, enum error_code code, const char *what, struct error *err)
{
    const char *said = n->ov->get_last_err_msg();
    char line[200];
    snprintf(line, sizeof line, "%s", said ? said : "no reason given");
    for (char *p = line; *p; p++)
        if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
            *p = ' ';
    if (said)
        n->ov->free(said);
    return error_set(err, code, "Model %s %s: %s", n->spec.name, what, line);
}

int net_unfit(const struct net *n, const char *what, struct error *err)
{
    return error_set(err, ERR_CONFIG, "Model %s: %s", n->spec.name, what);
}

// --- Loading

static int compile(struct net *n, const struct net_config *config, struct error *err)
{
    char threads[16], streams[16];
    snprintf(threads, sizeof threads, "%d", config->threads);
    snprintf(streams, sizeof streams, "%d", config->streams);
    const struct ov_property properties[] = {
        {"INFERENCE_PRECISION_HINT", n->spec.precision == MODEL_BF16 ? "bf16" : "f32"},
        {"NUM_STREAMS", streams},
        {"ENABLE_CPU_PINNING", "NO"}, // the processors are shared with decoding
        {"INFERENCE_NUM_THREADS", threads},
        {"CACHE_DIR", config->cache},
    };
    // A cache shortens the start of int8 models only. It is the last one, so that it can be left out.
    size_t count = ARRAY_LEN(properties) - !(*config->cache && n->spec.precision == MODEL_INT8);
    struct ov_model *model = NULL;
    if (n->ov->core_create(&n->core) != 0)
        return net_failed(n, ERR_UNAVAILABLE, "cannot be loaded, as OpenVINO does not start", err);
    if (n->ov->core_read_model(n->core, n->spec.file, NULL, &model) != 0)
        return net_failed(n, ERR_CONFIG, "cannot be read; its file may be truncated or no model", err);
    int rc = n->ov->core_compile_model_props(n->core, model, "CPU", count, properties, &n->compiled);
    n->ov->model_free(model);
    return rc != 0 ? net_failed(n, ERR_CONFIG, "cannot be compiled", err) : 0;
}

bool net_fits(const struct ov_dimension *d, int64_t value)
{
    return d->min <= value && (d->max == -1 || value <= d->max);
}

static int check_input_shape(struct net *n, const struct ov_partial_shape *shape, struct error *err)
{
    const struct model_spec *s = &n->spec;
    if (shape->rank.min != 4 || shape->rank.max != 4)
        return net_unfit(n, "its input must have four axes: pictures, channels, height and width", err);
    const int64_t wanted[] = {s->nhwc ? s->height : 3, s->nhwc ? s->width : s->height, s->nhwc ? 3 : s->width};
    for (int i = 0; i < 3; i++)
        if (!net_fits(&shape->dims[i + 1], wanted[i]))
            return error_set(
                err, ERR_CONFIG,
                "Model %s: the description says %s, %d x %d, which its input does not take (axis %d is %lld)", s->name,
                s->nhwc ? "NHWC" : "NCHW", s->width, s->height, i + 1, (long long)shape->dims[i + 1].max);
    n->one_by_one = !net_fits(&shape->dims[0], n->batch_max);
    return net_fits(&shape->dims[0], 1) ? 0 : net_unfit(n, "its input must take single pictures", err);
}

static int check_input(struct net *n, struct error *err)
{
    struct ov_port *port = NULL;
    struct ov_partial_shape shape;
    size_t inputs = 0;
    int type = 0;
    if (n->ov->compiled_model_inputs_size(n->compiled, &inputs) != 0 || inputs != 1)
        return net_unfit(n, "it must have exactly one input, the picture", err);
    if (n->ov->compiled_model_input_by_index(n->compiled, 0, &port) != 0)
        return net_failed(n, ERR_CONFIG, "has no input that can be used", err);
    int rc = -1;
    if (n->ov->port_get_element_type(port, &type) != 0 || type != OV_F32) {
        net_unfit(n, "its input must be 32-bit floats", err);
    } else if (n->ov->port_get_partial_shape(port, &shape) != 0) {
        net_failed(n, ERR_CONFIG, "does not say what its input looks like", err);
    } else {
        rc = check_input_shape(n, &shape, err);
        n->ov->partial_shape_free(&shape);
    }
    n->ov->output_const_port_free(port);
    return rc;
}

static int find_output(struct net *n, const char *name, struct ov_port **out, struct error *err)
{
    int type = 0;
    int rc = *name ? n->ov->compiled_model_output_by_name(n->compiled, name, out)
                   : n->ov->compiled_model_output_by_index(n->compiled, 0, out);
    if (rc != 0)
        return net_failed(n, ERR_CONFIG, "has no output of the name that model.json gives", err);
    if (n->ov->port_get_element_type(*out, &type) != 0 || type != OV_F32)
        return net_unfit(n, "its output must be 32-bit floats", err);
    return 0;
}

static int make_streams(struct net *n, struct error *err)
{
    for (int i = 0; i < n->streams; i++) {
        if (n->ov->compiled_model_create_infer_request(n->compiled, &n->requests[i]) != 0)
            return net_failed(n, ERR_CONFIG, "cannot be run", err);
        n->inputs[i] =
            malloc(n->spec.tokens ? net_text_room(n) : (size_t)n->batch_max * picture_numbers(n) * sizeof(float));
        if (!n->inputs[i])
            return error_set(err, ERR_NO_MEMORY, "Model %s: no memory for its input", n->spec.name);
    }
    return 0;
}

// --- Running

// The output must be count × its width, whatever axes of length 1 are around. `*width` 0 takes what comes.
static int read_output(struct net *n, const struct ov_port *port, int stream, size_t count, size_t *width,
                       const float **out, struct error *err)
{
    struct ov_tensor *tensor = NULL;
    struct ov_shape shape;
    void *data = NULL;
    if (n->ov->infer_request_get_tensor_by_const_port(n->requests[stream], port, &tensor) != 0)
        return net_failed(n, ERR_EXTRACTION_FAILED, "gave nothing that can be read", err);
    if (n->ov->tensor_get_shape(tensor, &shape) != 0 || n->ov->tensor_data(tensor, &data) != 0) {
        n->ov->tensor_free(tensor);
        return net_failed(n, ERR_EXTRACTION_FAILED, "gave nothing that can be read", err);
    }
    n->ov->tensor_free(tensor); // the request keeps what it points to until it runs again
    size_t longest = 0, all = 1;
    for (int64_t i = 0; i < shape.rank; i++) {
        size_t edge = shape.dims[i] > 0 ? (size_t)shape.dims[i] : 0;
        all = edge && all <= SIZE_MAX / edge ? all * edge : 0;
        longest = i > 0 && edge > longest ? edge : longest;
    }
    bool right = shape.rank >= 2 && shape.dims[0] == (int64_t)count && all == count * longest;
    n->ov->shape_free(&shape);
    if (!right || longest > MODEL_DIMENSION_MAX)
        return error_set(err, ERR_EXTRACTION_FAILED, "Model %s: its output is no single row of numbers a picture",
                         n->spec.name);
    if (*width && longest != *width)
        return error_set(err, ERR_EXTRACTION_FAILED, "Model %s gives %zu numbers, its description says %zu",
                         n->spec.name, longest, *width);
    if (!*width)
        *width = longest; // when it is first run, before there are threads
    *out = data;
    return 0;
}

// A row an item: the numbers of the output, and those of the labels behind them.
static int read_rows(struct net *n, int stream, size_t count, float *out, struct error *err)
{
    const float *numbers, *labels = NULL;
    size_t wide = n->spec.label_count;
    if (read_output(n, n->output, stream, count, &n->dimension, &numbers, err) < 0 ||
        (n->labels && read_output(n, n->labels, stream, count, &wide, &labels, err) < 0))
        return -1;
    for (size_t i = 0; i < count; i++, out += n->dimension + wide) {
        memcpy(out, numbers + i * n->dimension, n->dimension * sizeof *out);
        if (labels)
            memcpy(out + n->dimension, labels + i * wide, wide * sizeof *out);
    }
    return 0;
}

static int bind_pictures(struct net *n, int stream, const uint8_t *fitted, size_t count, struct ov_tensor **tensor,
                         struct error *err)
{
    const struct model_spec *s = &n->spec;
    size_t numbers = picture_numbers(n);
    int64_t dims[4] = {(int64_t)count, s->nhwc ? s->height : 3, s->nhwc ? s->width : s->height, s->nhwc ? 3 : s->width};
    for (size_t i = 0; i < count; i++)
        picture_floats(fitted + i * numbers, s, (float *)n->inputs[stream] + i * numbers);
    if (n->ov->tensor_create_from_host_ptr(OV_F32, (struct ov_shape){4, dims}, n->inputs[stream], tensor) != 0 ||
        n->ov->infer_request_set_input_tensor_by_index(n->requests[stream], 0, *tensor) != 0)
        return net_failed(n, ERR_EXTRACTION_FAILED, "does not take the picture", err);
    return 0;
}

static int infer(struct net *n, int stream, const uint8_t *items, size_t count, float *out, struct error *err)
{
    struct ov_tensor *inputs[INPUTS_MAX] = {NULL};
    int rc = n->spec.tokens ? net_text_bind(n, stream, items, count, inputs, err)
                            : bind_pictures(n, stream, items, count, inputs, err);
    if (rc == 0)
        rc = n->ov->infer_request_infer(n->requests[stream]) != 0 ? net_failed(n, ERR_EXTRACTION_FAILED, "failed", err)
                                                                  : read_rows(n, stream, count, out, err);
    for (size_t i = 0; i < INPUTS_MAX; i++)
        if (inputs[i])
            n->ov->tensor_free(inputs[i]);
    return rc;
}

int net_run(struct net *n, int stream, const uint8_t *items, size_t count, float *out, struct error *err)
{
    size_t step = n->one_by_one ? 1 : count;
    for (size_t done = 0; done < count; done += step)
        if (infer(n, stream, items + done * item_bytes(n), step, out + done * net_dimension(n), err) < 0)
            return -1;
    return 0;
}

size_t net_dimension(const struct net *n)
{
    return n->dimension + n->spec.label_count;
}

static void make_something(const struct net *n, uint8_t *items, size_t count)
{
    size_t bytes = item_bytes(n);
    for (size_t i = 0; i < count * bytes && !n->spec.tokens; i++)
        items[i] = (uint8_t)(i * 7 % 251);
    for (size_t i = 0; i < count && n->spec.tokens; i++) { // a token that every vocabulary has
        const int32_t text[] = {1, 1};
        memset(items + i * bytes, 0, bytes);
        memcpy(items + i * bytes, text, sizeof text);
    }
}

// A single one and a full batch on each stream: OpenVINO prepares itself for a shape when it first sees it.
static int warm_up(struct net *n, struct error *err)
{
    size_t biggest = n->one_by_one ? 1 : (size_t)n->batch_max;
    size_t row = (n->dimension ? n->dimension : MODEL_DIMENSION_MAX) + n->spec.label_count;
    _cleanup_free_ uint8_t *items = malloc(biggest * item_bytes(n));
    _cleanup_free_ float *out = calloc(biggest * row, sizeof(float));
    if (!items || !out)
        return error_set(err, ERR_NO_MEMORY, "Model %s: no memory to try it", n->spec.name);
    make_something(n, items, biggest);
    for (size_t count = 1; count <= biggest; count += biggest > 1 ? biggest - 1 : 1)
        for (int stream = 0; stream < n->streams; stream++)
            if (net_run(n, stream, items, count, out, err) < 0) {
                if (err)
                    err->code = ERR_CONFIG;
                return -1;
            }
    double sum = 0;
    for (size_t i = 0; i < net_dimension(n); i++)
        sum += (double)out[i] * out[i];
    return isfinite(sum) && sum > 0 ? 0 : net_unfit(n, "it gives vectors that are zero or no numbers", err);
}

int net_open(const struct model_spec *spec, const struct net_config *config, struct net **out, struct error *err)
{
    const struct ov_api *ov;
    if (config->streams < 1 || config->streams > STREAMS_MAX)
        return error_set(err, ERR_CONFIG, "Model %s: there may be 1 to %d streams", spec->name, STREAMS_MAX);
    if (model_spec_verify(spec, err) < 0 || ov_load(config->library, &ov, err) < 0)
        return -1;
    struct net *n = calloc(1, sizeof *n);
    if (!n)
        return error_set(err, ERR_NO_MEMORY, "No memory for model %s", spec->name);
    n->ov = ov;
    n->spec = *spec;
    n->streams = config->streams;
    n->batch_max = config->batch_max;
    n->dimension = spec->dimension;
    if (compile(n, config, err) < 0 || (spec->tokens ? net_text_check(n, err) : check_input(n, err)) < 0 ||
        find_output(n, spec->output, &n->output, err) < 0 ||
        (spec->label_count && find_output(n, spec->labels_output, &n->labels, err) < 0) || make_streams(n, err) < 0 ||
        warm_up(n, err) < 0) {
        net_close(n);
        return -1;
    }
    *out = n;
    return 0;
}

void net_close(struct net *n)
{
    if (!n)
        return;
    for (int i = 0; i < n->streams; i++) {
        if (n->requests[i])
            n->ov->infer_request_free(n->requests[i]);
        free(n->inputs[i]);
    }
    if (n->output)
        n->ov->output_const_port_free(n->output);
    if (n->labels)
        n->ov->output_const_port_free(n->labels);
    if (n->compiled)
        n->ov->compiled_model_free(n->compiled);
    if (n->core)
        n->ov->core_free(n->core);
    free(n);
}
