// SPDX-License-Identifier: Apache-2.0
// What we use of OpenVINO's C API, declared by ourselves and found at run time: DeepLens builds and starts without it.
// The types and signatures are those of OpenVINO 2023.1 to 2026.4; the library's major interface has not moved since.
#ifndef DEEPLENS_BACKENDS_EXTRACTOR_OPENVINO_API_H
#define DEEPLENS_BACKENDS_EXTRACTOR_OPENVINO_API_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct ov_core;
struct ov_model;
struct ov_compiled;
struct ov_request;
struct ov_port;
struct ov_tensor;

struct ov_dimension { // from … to; to -1: no bound
    int64_t min, max;
};

struct ov_partial_shape {
    struct ov_dimension rank;
    struct ov_dimension *dims;
};

struct ov_shape {
    int64_t rank;
    int64_t *dims;
};

struct ov_property {
    const char *key;
    const void *value;
};

enum { OV_F32 = 4, OV_I32 = 9, OV_I64 = 10 }; // ov_element_type_e

// All return 0 when they succeed; what cannot fail returns nothing.
#define OV_FUNCTIONS(X)                                                                                                \
    X(int, core_create, (struct ov_core **))                                                                           \
    X(void, core_free, (struct ov_core *))                                                                             \
    X(int, core_read_model, (const struct ov_core *, const char *, const char *, struct ov_model **))                  \
    X(void, model_free, (struct ov_model *))                                                                           \
    X(int, core_compile_model_props,                                                                                   \
      (const struct ov_core *, const struct ov_model *, const char *, size_t, const struct ov_property *,              \
       struct ov_compiled **))                                                                                         \
    X(void, compiled_model_free, (struct ov_compiled *))                                                               \
    X(int, compiled_model_inputs_size, (const struct ov_compiled *, size_t *))                                         \
    X(int, compiled_model_input_by_index, (const struct ov_compiled *, size_t, struct ov_port **))                     \
    X(int, compiled_model_output_by_index, (const struct ov_compiled *, size_t, struct ov_port **))                    \
    X(int, compiled_model_output_by_name, (const struct ov_compiled *, const char *, struct ov_port **))               \
    X(int, port_get_partial_shape, (const struct ov_port *, struct ov_partial_shape *))                                \
    X(void, partial_shape_free, (struct ov_partial_shape *))                                                           \
    X(int, port_get_element_type, (const struct ov_port *, int *))                                                     \
    X(int, port_get_any_name, (const struct ov_port *, char **))                                                       \
    X(void, output_const_port_free, (struct ov_port *))                                                                \
    X(int, compiled_model_create_infer_request, (const struct ov_compiled *, struct ov_request **))                    \
    X(int, infer_request_set_input_tensor_by_index, (struct ov_request *, size_t, const struct ov_tensor *))           \
    X(int, infer_request_infer, (struct ov_request *))                                                                 \
    X(int, infer_request_get_tensor_by_const_port,                                                                     \
      (const struct ov_request *, const struct ov_port *, struct ov_tensor **))                                        \
    X(void, infer_request_free, (struct ov_request *))                                                                 \
    X(int, tensor_create_from_host_ptr, (int, struct ov_shape, void *, struct ov_tensor **))                           \
    X(int, tensor_get_shape, (const struct ov_tensor *, struct ov_shape *))                                            \
    X(int, tensor_data, (const struct ov_tensor *, void **))                                                           \
    X(void, tensor_free, (struct ov_tensor *))                                                                         \
    X(int, shape_free, (struct ov_shape *))                                                                            \
    X(const char *, get_last_err_msg, (void))                                                                          \
    X(void, free, (const char *))

struct ov_api {
#define OV_MEMBER(type, name, parameters) type(*name) parameters;
    OV_FUNCTIONS(OV_MEMBER)
#undef OV_MEMBER
};

// The library's newest version in the folder `dir`, else what the system's loader finds. Loaded once a process, and
// never unloaded (its threads may outlive us). ERR_UNAVAILABLE says what is missing and the command that gets it.
int ov_load(const char *dir, const struct ov_api **out, struct error *err);

#endif
