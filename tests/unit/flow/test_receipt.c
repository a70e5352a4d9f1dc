// SPDX-License-Identifier: Apache-2.0
// Receipts: what is signed, that any change is seen, and what they say of a deletion that failed in the middle.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/js.h"
#include "flow/receipt.h"
#include "rig.h"

static struct receipt_key key_of(const char *seed)
{
    struct receipt_key key;
    must(receipt_key_read(seed, &key, err));
    return key;
}

static struct receipt_key new_key(void)
{
    char seed[RECEIPT_KEY_MAX];
    receipt_key_new(seed);
    return key_of(seed);
}

static json_t *sign(const struct receipt_key *key, const char *receipt)
{
    char signature[RECEIPT_SIGNATURE_MAX], id[RECEIPT_KEY_ID_MAX];
    json_t *json = json_loads(receipt, 0, NULL);
    char *text = receipt_canonical(json);
    receipt_sign(key, text, signature);
    receipt_key_id(&key->open, id);
    free(text);
    return json_pack("{s:o,s:s,s:s}", "receipt", json, "signature", signature, "keyId", id);
}

static void test_the_canonical_text_has_no_choice(void **state)
{
    (void)state;
    json_t *json = json_loads("{ \"b\": [2, {\"d\": \"\\u00e9/\\\"\", \"c\": 1}], \"a\": {} }", 0, NULL);
    char *text = receipt_canonical(json);
    assert_string_equal(text, "{\"a\":{},\"b\":[2,{\"c\":1,\"d\":\"\xc3\xa9/\\\"\"}]}");
    free(text);
    json_decref(json);
}

// RFC 8032, 7.1, test 1: the key of a seed.
static void test_a_seed_gives_its_key(void **state)
{
    (void)state;
    struct receipt_key key = key_of("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=");
    char text[RECEIPT_KEY_MAX], pem[RECEIPT_PEM_MAX];
    receipt_public_text(&key.open, text);
    assert_string_equal(text, "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    receipt_public_pem(&key.open, pem);
    assert_string_equal(pem, "-----BEGIN PUBLIC KEY-----\n"
                             "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
                             "-----END PUBLIC KEY-----\n");
    struct receipt_key none;
    must_fail(ERR_DATA_CORRUPT, receipt_key_read("", &none, err));
    must_fail(ERR_DATA_CORRUPT, receipt_key_read("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=AAAA", &none, err));
}

static void test_a_public_key_is_read_in_each_form(void **state)
{
    (void)state;
    struct receipt_key key = new_key();
    char text[RECEIPT_KEY_MAX], pem[RECEIPT_PEM_MAX], json[128], spaced[RECEIPT_KEY_MAX + 8];
    receipt_public_text(&key.open, text);
    receipt_public_pem(&key.open, pem);
    snprintf(json, sizeof json, "{\"publicKey\":\"%s\"}", text);
    snprintf(spaced, sizeof spaced, "%s\r\n", text);
    const char *const forms[] = {text, pem, json, spaced};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct receipt_public read = {{0}};
        must(receipt_public_read(forms[i], &read, err));
        assert_memory_equal(&read, &key.open, sizeof read);
    }
    const char *const wrong[] = {"",
                                 "none",
                                 "{}",
                                 "{",
                                 "AAAA",
                                 "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                                 "-----END PUBLIC KEY----------BEGIN PUBLIC KEY-----"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct receipt_public untouched = key.open;
        must_fail(ERR_INVALID, receipt_public_read(wrong[i], &untouched, err));
        assert_memory_equal(&untouched, &key.open, sizeof untouched);
    }
}

static void test_g9_tampering_is_refused(void **state)
{
    (void)state;
    struct receipt_key key = new_key(), other = new_key();
    json_t *one = sign(&key, "{\"itemId\":\"img_1\",\"removed\":{\"rows\":1}}");
    must(receipt_verify(&key.open, one, err));
    must_fail(ERR_SIGNATURE, receipt_verify(&other.open, one, err));
    json_object_del(one, "keyId"); // which is but a hint
    must(receipt_verify(&key.open, one, err));
    must_fail(ERR_SIGNATURE, receipt_verify(&other.open, one, err));

    json_t *receipt = js_obj(one, "receipt");
    json_object_set_new(receipt, "itemId", json_string("img_2"));
    must_fail(ERR_SIGNATURE, receipt_verify(&key.open, one, err));
    json_object_set_new(receipt, "itemId", json_string("img_1"));
    must(receipt_verify(&key.open, one, err));
    json_object_set_new(receipt, "more", json_null());
    must_fail(ERR_SIGNATURE, receipt_verify(&key.open, one, err));
    json_object_del(receipt, "more");
    json_object_set_new(js_obj(receipt, "removed"), "rows", json_integer(0));
    must_fail(ERR_SIGNATURE, receipt_verify(&key.open, one, err));
    json_object_del(js_obj(receipt, "removed"), "rows");
    must_fail(ERR_SIGNATURE, receipt_verify(&key.open, one, err));

    const char *const signatures[] = {"", "AAAA", "no base64"};
    for (size_t i = 0; i < ARRAY_LEN(signatures); i++) {
        json_object_set_new(one, "signature", json_string(signatures[i]));
        must_fail(ERR_SIGNATURE, receipt_verify(&key.open, one, err));
    }
    json_object_del(one, "signature");
    must_fail(ERR_INVALID, receipt_verify(&key.open, one, err));
    must_fail(ERR_INVALID, receipt_verify(&key.open, NULL, err));
    json_decref(one);
}

// --- The saga

static json_t *the_receipt(struct rig *rig, const char *id)
{
    json_t *list;
    must(receipt_list(&rig->flow, "default", id, NULL, 10, &list, err));
    assert_int_equal(json_array_size(js_arr(list, "receipts")), 1);
    json_t *one = json_incref(json_array_get(js_arr(list, "receipts"), 0));
    json_decref(list);
    return one;
}

static void is_whole(struct rig *rig, const char *id)
{
    json_t *one = the_receipt(rig, id), *key;
    struct receipt_public open;
    must(receipt_public_key(&rig->flow, &key, err));
    must(receipt_public_read(js_str(key, "pem", ""), &open, err));
    must(receipt_verify(&open, one, err));
    char *removed = receipt_canonical(js_obj(js_obj(one, "receipt"), "removed"));
    assert_string_equal(removed, "{\"frames\":0,\"originals\":1,\"rows\":1,\"thumbnails\":1,\"vectors\":{"
                                 "\"tenant_default_fake_vectors\":1,\"tenant_default_second_vectors\":1}}");
    free(removed);
    json_decref(key);
    json_decref(one);
}

// What an attempt removed that failed then is in the receipt all the same, wherever it failed.
static void test_g9_failed_anywhere_the_receipt_is_whole(void **state)
{
    static const char *const faults[] = {
        "blob.head:IO_ERROR@1",         "meta.receipt_put:IO_ERROR@1", "blob.remove:IO_ERROR@2",
        "index.remove:IO_ERROR@1",      "index.remove:IO_ERROR@2",     "index.flush:UNAVAILABLE@2",
        "meta.media_delete:IO_ERROR@1", "meta.setting_put:IO_ERROR@1", "meta.receipt_put:IO_ERROR@2",
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        struct rig *rig = rig_new(NULL);
        char id[ID_MAX], canonical[ID_MAX];
        rig_upload(rig, 1, "{\"models\":[\"fake\",\"second\"]}", id);
        rig_start(rig);
        rig_wait_idle(rig);
        rig_stop(rig);
        rig_reopen(rig, faults[i]);
        rig_start(rig);
        must(item_delete(&rig->flow, "default", id, canonical, err));
        rig_wait_idle(rig);
        assert_int_equal(rig_ledger(rig).deleted, 1);
        is_whole(rig, id);
        rig_free(rig);
    }
}

static void test_what_is_not_there_has_no_receipt(void **state)
{
    struct rig *rig = rig_new(NULL);
    json_t *list;
    rig_start(rig);
    rig_publish(rig, TOPIC_IMAGES_MAINTENANCE, "img_1",
                "{\"imageId\":\"img_1\",\"tenantId\":\"default\",\"maintenanceType\":\"delete\",\"actions\":[]}");
    rig_wait_idle(rig);
    must(receipt_list(&rig->flow, "default", NULL, NULL, 10, &list, err));
    assert_int_equal(json_array_size(js_arr(list, "receipts")), 0);
    json_decref(list);
    must_fail(ERR_NOT_FOUND, receipt_get(&rig->flow, "default", "rcp_none", &list, err));
    must_fail(ERR_INVALID_ID, receipt_get(&rig->flow, "default", "", &list, err));
    must_fail(ERR_INVALID_CURSOR, receipt_list(&rig->flow, "default", NULL, "1.", 10, &list, err));
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_canonical_text_has_no_choice),
        cmocka_unit_test(test_a_seed_gives_its_key),
        cmocka_unit_test(test_a_public_key_is_read_in_each_form),
        cmocka_unit_test(test_g9_tampering_is_refused),
        cmocka_unit_test(test_g9_failed_anywhere_the_receipt_is_whole),
        cmocka_unit_test(test_what_is_not_there_has_no_receipt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
