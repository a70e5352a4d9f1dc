// SPDX-License-Identifier: Apache-2.0
// Content hashes.
#include "base/hash.h"

#include <string.h>

void hash_init(struct hash_state *h)
{
    crypto_generichash_init(&h->state, NULL, 0, 32);
}

void hash_update(struct hash_state *h, const void *data, size_t len)
{
    crypto_generichash_update(&h->state, data, len);
}

void hash_final(struct hash_state *h, char hex[HASH_HEX])
{
    unsigned char sum[32];
    crypto_generichash_final(&h->state, sum, sizeof sum);
    sodium_bin2hex(hex, HASH_HEX, sum, sizeof sum);
}

uint64_t hash64(const void *data, size_t len)
{
    static const unsigned char key[crypto_shorthash_KEYBYTES] = "DeepLens tables";
    unsigned char out[8];
    crypto_shorthash(out, data, len, key);
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | out[i];
    return value;
}
