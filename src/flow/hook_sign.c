// SPDX-License-Identifier: Apache-2.0
// Standard Webhooks' symmetric signature: HMAC-SHA-256 over "id.time.body", with the bytes behind "whsec_".
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "flow/hook_int.h"

#define PREFIX "whsec_"

enum { KEY_LEAST = 24, KEY_MOST = 64, KEY_NEW = 32 };

static int decode(const char *secret, unsigned char key[KEY_MOST], size_t *len)
{
    const char *end;
    if (strncmp(secret, PREFIX, strlen(PREFIX)) != 0)
        return -1;
    secret += strlen(PREFIX);
    if (sodium_base642bin(key, KEY_MOST, secret, strlen(secret), NULL, len, &end, sodium_base64_VARIANT_ORIGINAL) != 0)
        return -1;
    return *end || *len < KEY_LEAST ? -1 : 0;
}

void hook_secret_new(char out[HOOK_SECRET_MAX])
{
    unsigned char key[KEY_NEW];
    randombytes_buf(key, sizeof key);
    memcpy(out, PREFIX, sizeof PREFIX);
    sodium_bin2base64(out + strlen(PREFIX), HOOK_SECRET_MAX - strlen(PREFIX), key, sizeof key,
                      sodium_base64_VARIANT_ORIGINAL);
    sodium_memzero(key, sizeof key);
}

int hook_secret_check(const char *secret, struct error *err)
{
    unsigned char key[KEY_MOST];
    size_t len;
    int rc = decode(secret, key, &len);
    sodium_memzero(key, sizeof key);
    return rc == 0 ? 0
                   : error_set(err, ERR_INVALID, "A secret is " PREFIX " and the base64 of %d to %d bytes", KEY_LEAST,
                               KEY_MOST);
}

void hook_sign(const char *secret, const char *id, int64_t time_s, const char *body, char out[HOOK_SIGNATURE_MAX])
{
    unsigned char key[KEY_MOST], mac[crypto_auth_hmacsha256_BYTES];
    size_t len = 0;
    char head[128];
    crypto_auth_hmacsha256_state state;
    decode(secret, key, &len); // what is stored was checked
    int head_len = snprintf(head, sizeof head, "%.64s.%" PRId64 ".", id, time_s);
    crypto_auth_hmacsha256_init(&state, key, len);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)head, (size_t)head_len);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)body, strlen(body));
    crypto_auth_hmacsha256_final(&state, mac);
    memcpy(out, "v1,", 3);
    sodium_bin2base64(out + 3, HOOK_SIGNATURE_MAX - 3, mac, sizeof mac, sodium_base64_VARIANT_ORIGINAL);
    sodium_memzero(key, sizeof key);
    sodium_memzero(&state, sizeof state);
}
