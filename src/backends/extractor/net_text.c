// SPDX-License-Identifier: Apache-2.0
// Texts as a model's input: the tokens, as 32 or 64-bit whole numbers, in rows of one length. A second input may ask
// which of them are there (attention_mask), a third of which kind they are (token_type_ids, always 0).
#include <string.h>

#include "backends/extractor/net_int.h"
#include "base/cleanup.h"

enum { LENGTH_STEP = 8 }; // rows have lengths of so many tokens: fewer shapes that OpenVINO has to prepare for

static int check_shape(struct net *n, const struct ov_port *port, struct error *err)
{
    struct ov_partial_shape shape;
    if (n->ov->port_get_partial_shape(port, &shape) != 0)
        return net_failed(n, ERR_CONFIG, "does not say what its input looks like", err);
    bool flat = shape.rank.min == 2 && shape.rank.max == 2;
    bool right = flat && net_fits(&shape.dims[0], 1) && net_fits(&shape.dims[1], n->spec.tokens);
    n->one_by_one |= flat && !net_fits(&shape.dims[0], n->batch_max);
    n->spec.fill |= flat && shape.dims[1].min == shape.dims[1].max;
    n->ov->partial_shape_free(&shape);
    return right ? 0
                 : error_set(err, ERR_CONFIG, "Model %s: its input must be texts of %d tokens", n->spec.name,
                             n->spec.tokens);
}

static int check_port(struct net *n, const struct ov_port *port, struct net_text_input *input, struct error *err)
{
    char *name = NULL;
    if (n->ov->port_get_element_type(port, &input->type) != 0 || (input->type != OV_I32 && input->type != OV_I64))
        return net_unfit(n, "its input must be whole numbers of 32 or 64 bits, the tokens", err);
    if (n->ov->port_get_any_name(port, &name) == 0 && name) {
        input->kind = strstr(name, "mask") ? TEXT_MASK : strstr(name, "type") ? TEXT_TYPES : TEXT_IDS;
        n->ov->free(name);
    }
    return check_shape(n, port, err);
}

int net_text_check(struct net *n, struct error *err)
{
    size_t ids = 0;
    if (n->ov->compiled_model_inputs_size(n->compiled, &n->text_count) != 0 || n->text_count < 1 ||
        n->text_count > INPUTS_MAX)
        return net_unfit(n, "it must have one to three inputs: tokens, attention_mask, token_type_ids", err);
    for (size_t i = 0; i < n->text_count; i++) {
        struct ov_port *port = NULL;
        if (n->ov->compiled_model_input_by_index(n->compiled, i, &port) != 0)
            return net_failed(n, ERR_CONFIG, "has no input that can be used", err);
        int rc = check_port(n, port, &n->text[i], err);
        n->ov->output_const_port_free(port);
        if (rc < 0)
            return -1;
        ids += n->text[i].kind == TEXT_IDS;
    }
    return ids == 1 ? 0 : net_unfit(n, "it must have exactly one input of tokens", err);
}

size_t net_text_room(const struct net *n)
{
    return INPUTS_MAX * (size_t)n->batch_max * (size_t)n->spec.tokens * sizeof(int64_t);
}

static size_t token_count(const struct net *n, const uint8_t *text)
{
    int32_t count;
    memcpy(&count, text, sizeof count);
    return count < 1 ? 1 : count > n->spec.tokens ? (size_t)n->spec.tokens : (size_t)count;
}

static int64_t value_at(const struct net *n, int kind, const uint8_t *text, size_t place)
{
    int32_t token;
    bool there = place < token_count(n, text);
    if (kind != TEXT_IDS)
        return kind == TEXT_MASK && there;
    memcpy(&token, text + (1 + place) * sizeof token, sizeof token);
    return there ? token : n->spec.filling;
}

static void fill_input(const struct net *n, const struct net_text_input *input, void *room, const uint8_t *texts,
                       size_t count, size_t length)
{
    size_t bytes = sizeof(int32_t) * (1 + (size_t)n->spec.tokens);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < length; j++) {
            int64_t value = value_at(n, (int)input->kind, texts + i * bytes, j);
            if (input->type == OV_I64)
                ((int64_t *)room)[i * length + j] = value;
            else
                ((int32_t *)room)[i * length + j] = (int32_t)value;
        }
}

int net_text_bind(struct net *n, int stream, const uint8_t *texts, size_t count, struct ov_tensor **tensors,
                  struct error *err)
{
    size_t bytes = sizeof(int32_t) * (1 + (size_t)n->spec.tokens), most = (size_t)n->spec.tokens, length = 1;
    for (size_t i = 0; i < count; i++)
        length = token_count(n, texts + i * bytes) > length ? token_count(n, texts + i * bytes) : length;
    length = (length + LENGTH_STEP - 1) / LENGTH_STEP * LENGTH_STEP;
    length = n->spec.fill || length > most ? most : length;
    int64_t dims[2] = {(int64_t)count, (int64_t)length};
    for (size_t i = 0; i < n->text_count; i++) {
        uint8_t *room = (uint8_t *)n->inputs[stream] + i * (net_text_room(n) / INPUTS_MAX);
        fill_input(n, &n->text[i], room, texts, count, length);
        if (n->ov->tensor_create_from_host_ptr(n->text[i].type, (struct ov_shape){2, dims}, room, &tensors[i]) != 0 ||
            n->ov->infer_request_set_input_tensor_by_index(n->requests[stream], i, tensors[i]) != 0)
            return net_failed(n, ERR_EXTRACTION_FAILED, "does not take the text", err);
    }
    return 0;
}
