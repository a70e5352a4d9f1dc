// SPDX-License-Identifier: Apache-2.0
// The API's description (schemas/openapi.yaml) as JSON, built into the program by tools/embed_openapi.py.
#ifndef DEEPLENS_API_OPENAPI_H
#define DEEPLENS_API_OPENAPI_H

#include <stddef.h>

extern const char api_openapi_json[]; // NUL-terminated
extern const size_t api_openapi_json_len;

#endif
