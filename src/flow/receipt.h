// SPDX-License-Identifier: Apache-2.0
// Receipts of deletions (G9): what was removed, when, and how many of each, signed by this installation.
//
// A deletion is a saga. Before anything of an item goes, what there is of it is counted and noted in a row of the store
// (receipt_begin); killed or failed anywhere, the next attempt counts again and keeps the larger numbers, so that what
// an earlier attempt removed is not forgotten. The transaction that ends the deletion turns the note into the receipt
// (receipt_end_tx): there is none of a deletion that has not ended, and each that has ended has one.
//
// A receipt is a JSON object. What is signed (Ed25519) is its canonical text: compact, members sorted by their names,
// UTF-8, whole numbers and strings alone, as `jq -cSj .receipt` prints it. The key is made at the first need, stands in
// the store beside the other secrets (so that all processes of an installation have the same), and never leaves it.
#ifndef DEEPLENS_FLOW_RECEIPT_H
#define DEEPLENS_FLOW_RECEIPT_H

#include <jansson.h>
#include <sodium.h>

#include "flow/flow.h"

// --- Signing (receipt_sign.c)

enum {
    RECEIPT_KEY_MAX = 48,       // base64 of a public key or a seed, with its NUL
    RECEIPT_SIGNATURE_MAX = 96, // … of a signature
    RECEIPT_KEY_ID_MAX = 17,    // the first 16 digits of the public key's hash
    RECEIPT_PEM_MAX = 160,
};

struct receipt_public {
    unsigned char bytes[crypto_sign_PUBLICKEYBYTES];
};

struct receipt_key {
    unsigned char secret[crypto_sign_SECRETKEYBYTES];
    struct receipt_public open;
};

// A new key, as text; and the key of that text: ERR_DATA_CORRUPT when it is none.
void receipt_key_new(char seed[RECEIPT_KEY_MAX]);
int receipt_key_read(const char *seed, struct receipt_key *out, struct error *err);

void receipt_key_id(const struct receipt_public *key, char out[RECEIPT_KEY_ID_MAX]);
void receipt_public_text(const struct receipt_public *key, char out[RECEIPT_KEY_MAX]); // base64
void receipt_public_pem(const struct receipt_public *key, char out[RECEIPT_PEM_MAX]);  // SubjectPublicKeyInfo
// Reads any of the two, or the answer of GET /api/v1/admin/receipts/key. ERR_INVALID.
int receipt_public_read(const char *text, struct receipt_public *out, struct error *err);

// The canonical text, malloc'ed; NULL: no memory.
char *receipt_canonical(const json_t *receipt);
void receipt_sign(const struct receipt_key *key, const char *canonical, char signature[RECEIPT_SIGNATURE_MAX]);
// `signed_receipt`: {"receipt", "signature", …} as the API gives it. ERR_SIGNATURE when it was not signed by that key,
// or was changed since; ERR_INVALID when it is no such thing at all.
int receipt_verify(const struct receipt_public *key, const json_t *signed_receipt, struct error *err);

// --- The saga (receipt.c)

enum { REMOVE_FILES = 1, REMOVE_VECTORS = 2, REMOVE_ROWS = 4, REMOVE_ALL = 7 };

struct job;

struct removal {         // a deletion under way; in the job's arena
    const char *receipt; // its id
    const json_t *found; // what there was of the item; the job's
};

// Counts what there is of the job's item and notes it. Nothing of it may have been removed by this attempt.
int receipt_begin(struct flow *f, struct job *job, const struct media *media, struct removal *out, struct error *err);
// Writes the receipt of what was removed, in the transaction that ends the deletion.
int receipt_end_tx(struct flow *f, struct meta_tx *tx, struct job *job, const struct media *media,
                   const struct removal *removal, unsigned actions, struct error *err);

// For who counts: adds to a number of what was found; how many of these items have a vector in a collection.
void receipt_count(json_t *found, const char *name, size_t more);
int receipt_count_vectors(struct flow *f, const char *collection, const struct media *rows, size_t count, json_t *found,
                          struct error *err);

// --- Asking. `cursor` NULL: from the start; `item` NULL: of any. A tenant's receipts outlive it.

int receipt_get(struct flow *f, const char *tenant, const char *id, json_t **out, struct error *err);
int receipt_list(struct flow *f, const char *tenant, const char *item, const char *cursor, size_t limit, json_t **out,
                 struct error *err);
int receipt_public_key(struct flow *f, json_t **out, struct error *err); // made when there is none yet

#endif
