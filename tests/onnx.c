// SPDX-License-Identifier: Apache-2.0
// Protocol buffers by hand, as far as an ONNX model of a few nodes needs them: see onnx.h. Field numbers are those of
// onnx.proto.
#include "onnx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"

enum { FLOAT = 1, ATTRIBUTE_INT = 2, ATTRIBUTE_INTS = 7 };

static void varint(struct buf *b, unsigned long long value)
{
    do {
        unsigned char byte = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        buf_append(b, &byte, 1);
        value >>= 7;
    } while (value);
}

static void number(struct buf *b, int field, unsigned long long value)
{
    varint(b, (unsigned long long)field << 3);
    varint(b, value);
}

static void bytes(struct buf *b, int field, const void *data, size_t len)
{
    varint(b, (unsigned long long)field << 3 | 2);
    varint(b, len);
    buf_append(b, data, len);
}

static void text(struct buf *b, int field, const char *value)
{
    bytes(b, field, value, strlen(value));
}

static void message(struct buf *b, int field, struct buf *inner)
{
    bytes(b, field, inner->data ? inner->data : "", inner->len);
    buf_free(inner);
}

// A node of one output and one or two inputs; `attribute` may be NULL, and is a list of two numbers, or one number.
static void node(struct buf *graph, const char *kind, const char *in, const char *also, const char *out,
                 const char *attribute, int value, bool list)
{
    struct buf n = BUF_INIT(4096), a = BUF_INIT(4096);
    text(&n, 1, in);
    if (also)
        text(&n, 1, also);
    text(&n, 2, out);
    text(&n, 3, out);
    text(&n, 4, kind);
    if (attribute) {
        text(&a, 1, attribute);
        number(&a, list ? 8 : 3, (unsigned long long)value);
        if (list)
            number(&a, 8, (unsigned long long)value);
        number(&a, 20, list ? ATTRIBUTE_INTS : ATTRIBUTE_INT);
        message(&n, 5, &a);
    }
    message(graph, 1, &n);
}

// An input (field 11) or output (12) with these axes; 0 is any.
static void value(struct buf *graph, int field, const char *name, const int *dims, int rank)
{
    struct buf v = BUF_INIT(4096), type = BUF_INIT(4096), tensor = BUF_INIT(4096), shape = BUF_INIT(4096);
    for (int i = 0; i < rank; i++) {
        struct buf dim = BUF_INIT(64);
        if (dims[i])
            number(&dim, 1, (unsigned long long)dims[i]);
        else
            text(&dim, 2, "batch");
        message(&shape, 1, &dim);
    }
    number(&tensor, 1, FLOAT);
    message(&tensor, 2, &shape);
    message(&type, 1, &tensor);
    text(&v, 1, name);
    message(&v, 2, &type);
    message(graph, field, &v);
}

static void make_graph(struct buf *g, enum onnx_kind kind, int edge, int batch)
{
    int half = edge / 2;
    const int image[] = {batch, 3, edge, edge}, row[] = {batch, 3 * half * half}, map[] = {batch, 3, half, half};
    struct buf pool = BUF_INIT(4096), attribute = BUF_INIT(4096);
    text(&pool, 1, "image");
    text(&pool, 2, "pooled");
    text(&pool, 4, "AveragePool");
    static const char *const names[] = {"kernel_shape", "strides"};
    for (int i = 0; i < 2; i++) {
        text(&attribute, 1, names[i]);
        number(&attribute, 8, 2);
        number(&attribute, 8, 2);
        number(&attribute, 20, ATTRIBUTE_INTS);
        message(&pool, 5, &attribute);
        attribute = BUF_INIT(4096);
    }
    message(g, 1, &pool);
    node(g, "Flatten", "pooled", NULL, kind == ONNX_POOL || kind == ONNX_TWO_INPUTS ? "row" : "flat", "axis", 1, false);
    if (kind == ONNX_ZERO)
        node(g, "Sub", "flat", "flat", "row", NULL, 0, false);
    if (kind == ONNX_NAN) { // -|x| - e^x is below zero wherever x is
        node(g, "Exp", "flat", NULL, "power", NULL, 0, false);
        node(g, "Neg", "power", NULL, "below", NULL, 0, false);
        node(g, "Log", "below", NULL, "row", NULL, 0, false);
    }
    text(g, 2, "small");
    value(g, 11, "image", image, 4);
    if (kind == ONNX_TWO_INPUTS) {
        value(g, 11, "other", row, 2);
        node(g, "Add", "row", "other", "sum", NULL, 0, false);
        value(g, 12, "sum", row, 2);
    } else if (kind == ONNX_NO_ROW) {
        value(g, 12, "pooled", map, 4);
    } else {
        value(g, 12, "row", row, 2);
    }
}

static void write_file(const char *dir, const char *name, const char *data, size_t len)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, len, file) != len || fclose(file) != 0)
        abort();
}

void onnx_write(const char *dir, const char *name, enum onnx_kind kind, int edge, int batch, size_t dimension,
                const char *sha256)
{
    struct buf model = BUF_INIT(1 << 20), graph = BUF_INIT(1 << 20), opset = BUF_INIT(64), json = BUF_INIT(4096);
    number(&model, 1, 8); // IR version
    make_graph(&graph, kind, edge, batch);
    message(&model, 7, &graph);
    text(&opset, 1, "");
    number(&opset, 2, 13);
    message(&model, 8, &opset);
    mkdir(dir, 0755);
    write_file(dir, "model.onnx", model.data, model.len);
    buf_printf(&json,
               "{\"name\":\"%s\",\"version\":\"2.1\",\"dimension\":%zu,\"licence\":\"none\",\"input\":{\"width\":%d,"
               "\"mean\":[0.4,0.4,0.4],\"std\":[0.5,0.5,0.5]},\"files\":{\"f32\":{\"path\":\"model.onnx\"%s%s%s}}}",
               name, dimension ? dimension : (size_t)(3 * (edge / 2) * (edge / 2)), edge,
               sha256 ? ",\"sha256\":\"" : "", sha256 ? sha256 : "", sha256 ? "\"" : "");
    write_file(dir, "model.json", json.data, json.len);
    buf_free(&model);
    buf_free(&json);
}
