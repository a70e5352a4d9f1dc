// SPDX-License-Identifier: Apache-2.0
// Filters on metadata, and the compact form of metadata ("terms") that they are matched against.
//
// A filter is a JSON object; all its members must hold:
//   {"category": "shoes"}                    equality (string, number, boolean)
//   {"category": ["shoes", "boots"]}         any of
//   {"price": {"gte": 10, "lt": 50}}         range: gt gte lt lte, on numbers or RFC 3339 times
//   {"tags": "red"}  {"tags": ["red", "blue"]}   an array in the metadata matches when any element does
//   {"tags": {"all": ["red", "summer"]}}     every one of
//   {"color": {"not": "red"}}  {"color": {"not": ["red", "blue"]}}   none of
//   {"category": {"exists": true}}
//   {"and": [F, …]} {"or": [F, …]} {"not": F}
// Nested members are named by a dotted path ("size.width"). A field named exactly "and", "or" or "not" cannot
// be asked for. At most FILTER_MAX_NODES nodes and FILTER_MAX_DEPTH levels.
//
// Terms are made once when an item is indexed, from its payload object. Strings are matched by 64-bit
// hashes of path and value; strings that read as RFC 3339 times also match ranges.
#ifndef DEEPLENS_BASE_FILTER_H
#define DEEPLENS_BASE_FILTER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { FILTER_MAX_NODES = 256, FILTER_MAX_DEPTH = 16, TERMS_MAX = 512 };

struct filter; // immutable after parsing: any number of threads may match with one

// ERR_INVALID_FILTER names the member that is wrong. NULL or {} gives a filter that everything passes.
int filter_parse(const json_t *json, struct filter **out, struct error *err);
void filter_free(struct filter *f);
const json_t *filter_json(const struct filter *f); // as parsed (borrowed): for back ends that translate it
bool filter_is_empty(const struct filter *f);

struct term {
    uint64_t path;  // hash of the dotted path
    uint64_t value; // hash of the string; bits of the double; 0 or 1
    uint8_t kind;   // TERM_*
};
enum { TERM_STRING, TERM_NUMBER, TERM_BOOL, TERM_TIME }; // a time's value: milliseconds as a double's bits

// Fills at most `max` terms, sorted by path, from a JSON object; returns their number. Members beyond the
// limit are left out (they cannot be filtered on), as are nulls, and strings above 1 KiB.
size_t terms_make(const json_t *payload, struct term *out, size_t max);

// The same, value by value, in the order of the object: the dotted path of a string, number or boolean that terms are
// made of, and its milliseconds where it reads as a time (else NULL). `max`: terms.
typedef void terms_fn(void *arg, const char *path, const json_t *value, const double *time_ms);
void terms_walk(const json_t *payload, size_t max, terms_fn *each, void *arg);

// Whether a bound or a value is a string that reads as an RFC 3339 time: then its milliseconds.
bool filter_time(const json_t *json, double *ms);

bool filter_match(const struct filter *f, const struct term *terms, size_t count);

#endif
