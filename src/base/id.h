// SPDX-License-Identifier: Apache-2.0
// Identifiers: a prefix of three letters, '_' and a UUIDv7 (RFC 9562, 5.7), so that ids sort by time.
// Ids are read with and without their prefix, in any case, and always written with it, in lower case.
// Ids of the system in the documents that carry no UUID ("img_123456") are accepted from events as they are.
#ifndef DEEPLENS_BASE_ID_H
#define DEEPLENS_BASE_ID_H

#include <stdbool.h>
#include <stddef.h>

enum { ID_MAX = 64 }; // room for any id that DeepLens accepts, with its NUL

// A new id such as "img_019…"; `prefix` without '_'. Strictly increasing within the process.
void id_new(const char *prefix, char out[ID_MAX]);

// Derives a deterministic id (UUIDv8 form) from a name: the same name gives the same id everywhere. It begins with the
// time of the id `beside` (NULL: it does not), so that what comes of one another lies together where ids are sorted.
void id_derive(const char *prefix, const char *name, const char *beside, char out[ID_MAX]);

// Writes the canonical form of `text` under `prefix` to `out`, or returns -1: a UUID with or without the
// prefix, or the prefix followed by 1 to 48 of [A-Za-z0-9-] (foreign ids).
int id_parse(const char *prefix, const char *text, char out[ID_MAX]);

// The part behind the prefix ("img_X" → "X"); `id` itself when there is none.
const char *id_bare(const char *id);

#endif
