// SPDX-License-Identifier: Apache-2.0
// Ed25519 over the canonical text of a receipt: see receipt.h. Needs no store, so that anybody may verify.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/js.h"
#include "flow/receipt.h"

// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
static const unsigned char spki[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

static int from_base64(const char *text, size_t len, unsigned char *out, size_t wanted)
{
    size_t got = 0;
    const char *end = NULL;
    if (sodium_base642bin(out, wanted, text, len, " \t\r\n", &got, &end, sodium_base64_VARIANT_ORIGINAL) != 0)
        return -1;
    return got == wanted && end == text + len ? 0 : -1;
}

void receipt_key_new(char seed[RECEIPT_KEY_MAX])
{
    unsigned char bytes[crypto_sign_SEEDBYTES];
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2base64(seed, RECEIPT_KEY_MAX, bytes, sizeof bytes, sodium_base64_VARIANT_ORIGINAL);
    sodium_memzero(bytes, sizeof bytes);
}

int receipt_key_read(const char *seed, struct receipt_key *out, struct error *err)
{
    unsigned char bytes[crypto_sign_SEEDBYTES];
    int rc = from_base64(seed, strlen(seed), bytes, sizeof bytes);
    if (rc == 0)
        rc = crypto_sign_seed_keypair(out->open.bytes, out->secret, bytes);
    sodium_memzero(bytes, sizeof bytes);
    return rc == 0 ? 0 : error_set(err, ERR_DATA_CORRUPT, "The key that signs receipts cannot be read");
}

void receipt_key_id(const struct receipt_public *key, char out[RECEIPT_KEY_ID_MAX])
{
    char hex[HASH_HEX];
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, key->bytes, sizeof key->bytes);
    hash_final(&state, hex);
    memcpy(out, hex, RECEIPT_KEY_ID_MAX - 1);
    out[RECEIPT_KEY_ID_MAX - 1] = 0;
}

void receipt_public_text(const struct receipt_public *key, char out[RECEIPT_KEY_MAX])
{
    sodium_bin2base64(out, RECEIPT_KEY_MAX, key->bytes, sizeof key->bytes, sodium_base64_VARIANT_ORIGINAL);
}

#define PEM_BEGIN "-----BEGIN PUBLIC KEY-----"
#define PEM_END "-----END PUBLIC KEY-----"

void receipt_public_pem(const struct receipt_public *key, char out[RECEIPT_PEM_MAX])
{
    unsigned char der[sizeof spki + sizeof key->bytes];
    char text[sodium_base64_ENCODED_LEN(sizeof der, sodium_base64_VARIANT_ORIGINAL)];
    memcpy(der, spki, sizeof spki);
    memcpy(der + sizeof spki, key->bytes, sizeof key->bytes);
    sodium_bin2base64(text, sizeof text, der, sizeof der, sodium_base64_VARIANT_ORIGINAL);
    snprintf(out, RECEIPT_PEM_MAX, PEM_BEGIN "\n%s\n" PEM_END "\n", text);
}

static int read_pem(const char *text, struct receipt_public *out)
{
    unsigned char der[sizeof spki + sizeof out->bytes];
    const char *begin = strstr(text, PEM_BEGIN), *end = strstr(text, PEM_END);
    if (!begin || !end || end < begin)
        return -1;
    begin += strlen(PEM_BEGIN);
    if (from_base64(begin, (size_t)(end - begin), der, sizeof der) < 0 || memcmp(der, spki, sizeof spki) != 0)
        return -1;
    memcpy(out->bytes, der + sizeof spki, sizeof out->bytes);
    return 0;
}

int receipt_public_read(const char *text, struct receipt_public *out, struct error *err)
{
    struct receipt_public key;
    _cleanup_json_ json_t *json = *text == '{' ? js_parse(text, strlen(text), NULL) : NULL;
    const char *bare = js_str(json, "publicKey", text);
    if (read_pem(text, &key) < 0 && from_base64(bare, strlen(bare), key.bytes, sizeof key.bytes) < 0)
        return error_set(err, ERR_INVALID,
                         "That is no public key: it is the base64 of 32 bytes, or a PEM file of Ed25519");
    *out = key;
    return 0;
}

char *receipt_canonical(const json_t *receipt)
{
    return json_dumps(receipt, JSON_COMPACT | JSON_SORT_KEYS);
}

void receipt_sign(const struct receipt_key *key, const char *canonical, char signature[RECEIPT_SIGNATURE_MAX])
{
    unsigned char bytes[crypto_sign_BYTES];
    crypto_sign_detached(bytes, NULL, (const unsigned char *)canonical, strlen(canonical), key->secret);
    sodium_bin2base64(signature, RECEIPT_SIGNATURE_MAX, bytes, sizeof bytes, sodium_base64_VARIANT_ORIGINAL);
}

int receipt_verify(const struct receipt_public *key, const json_t *signed_receipt, struct error *err)
{
    unsigned char bytes[crypto_sign_BYTES];
    const json_t *receipt = js_obj(signed_receipt, "receipt");
    const char *signature = js_str(signed_receipt, "signature", NULL);
    if (!receipt || !signature)
        return error_set(err, ERR_INVALID, "That is no receipt: it has no members \"receipt\" and \"signature\"");
    _cleanup_free_ char *text = receipt_canonical(receipt);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for a receipt");
    char id[RECEIPT_KEY_ID_MAX];
    receipt_key_id(key, id);
    const char *said = js_str(signed_receipt, "keyId", id);
    if (strcmp(said, id) != 0)
        return error_set(err, ERR_SIGNATURE, "The receipt says that the key %.16s signed it, and this is %s", said, id);
    if (from_base64(signature, strlen(signature), bytes, sizeof bytes) < 0 ||
        crypto_sign_verify_detached(bytes, (const unsigned char *)text, strlen(text), key->bytes) != 0)
        return error_set(err, ERR_SIGNATURE, "The receipt was changed, or another key signed it");
    return 0;
}
