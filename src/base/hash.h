// SPDX-License-Identifier: Apache-2.0
// Content hashes: BLAKE2b-256 (libsodium), as 64 hexadecimal digits. And a fast 64-bit keyless hash for tables.
#ifndef DEEPLENS_BASE_HASH_H
#define DEEPLENS_BASE_HASH_H

#include <sodium.h>
#include <stddef.h>
#include <stdint.h>

enum { HASH_HEX = 65 };

struct hash_state {
    crypto_generichash_state state;
};

void hash_init(struct hash_state *h);
void hash_update(struct hash_state *h, const void *data, size_t len);
void hash_final(struct hash_state *h, char hex[HASH_HEX]);

uint64_t hash64(const void *data, size_t len); // the same on every machine and in every version

#endif
