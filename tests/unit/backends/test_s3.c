// SPDX-License-Identifier: Apache-2.0
// What of the S3 back end needs no server: locations, addresses, and what is made of XML that it was sent.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backends/blob/blob_s3.h"
#include "backends/blob/s3_int.h"

#define KEYS "access_key=AK\nsecret_key=the-secret\nowner=me\n"

static void refused(const char *location, const char *says)
{
    struct s3_config config;
    struct error err = {0};
    assert_int_equal(s3_config_read(location, &config, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    if (!strstr(err.message, says))
        fail_msg("\"%s\" does not say \"%s\"", err.message, says);
    assert_null(strstr(err.message, "the-secret"));
    s3_config_free(&config);
}

static void locations_are_checked(void **state)
{
    static const struct {
        const char *location, *says;
    } bad[] = {
        {KEYS "bucket=A\n", "s3.bucket"},
        {KEYS "bucket=ab\n", "s3.bucket"},
        {KEYS, "s3.bucket"},
        {KEYS "bucket=abc\nendpoint=127.0.0.1:9000\n", "s3.endpoint"},
        {KEYS "bucket=abc\nendpoint=http://\n", "s3.endpoint"},
        {KEYS "bucket=abc\nendpoint=http://a/b\n", "s3.endpoint"},
        {KEYS "bucket=abc\nendpoint=http://user@a\n", "s3.endpoint"},
        {KEYS "bucket=abc\nprefix=a\n", "s3.prefix"},
        {KEYS "bucket=abc\nprefix=/\n", "s3.prefix"},
        {KEYS "bucket=abc\nprefix=../\n", "s3.prefix"},
        {KEYS "bucket=abc\nprefix=a b/\n", "s3.prefix"},
        {KEYS "bucket=abc\nstyle=other\n", "s3.style"},
        {KEYS "bucket=abc\nregion=a:b\n", "s3.region"},
        {KEYS "bucket=abc\nattempts=0\n", "s3.attempts"},
        {KEYS "bucket=abc\nattempts=9x\n", "s3.attempts"},
        {KEYS "bucket=abc\npart=1000\n", "5 MiB"},
        {KEYS "bucket=abc\nmemory=1000\n", "s3.memory"},
        {KEYS "bucket=abc\nowner=a/b\n", "s3.owner"},
        {KEYS "bucket=abc\nsecret_key=the-secret \n", "characters"},
        {KEYS "bucket=abc\nthe_secret=the-secret\n", "the_secret"},
        {KEYS "bucket=abc\nthe-secret\n", "is nothing"},
        {"bucket=abc\nowner=me\n", "AWS_ACCESS_KEY_ID"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        refused(bad[i].location, bad[i].says);
}

static void buckets_stand_before_the_host_or_behind_it(void **state)
{
    static const struct {
        const char *location, *url;
    } good[] = {
        {"bucket=abc\n", "https://abc.s3.us-east-1.amazonaws.com/"},
        {"bucket=abc\nregion=eu-west-1\n", "https://abc.s3.eu-west-1.amazonaws.com/"},
        {"bucket=a.bc\n", "https://s3.us-east-1.amazonaws.com/a.bc/"},
        {"bucket=abc\nstyle=path\n", "https://s3.us-east-1.amazonaws.com/abc/"},
        {"bucket=abc\nendpoint=http://127.0.0.1:9000\n", "http://127.0.0.1:9000/abc/"},
        {"bucket=abc\nendpoint=http://[::1]:9000/\n", "http://[::1]:9000/abc/"},
        {"bucket=abc\nendpoint=https://minio.example\nstyle=virtual\n", "https://abc.minio.example/"},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct s3_config config;
        struct error err = {0};
        char location[512];
        snprintf(location, sizeof location, "%s" KEYS, good[i].location);
        if (s3_config_read(location, &config, &err) < 0)
            fail_msg("%s: %s", good[i].location, err.message);
        _cleanup_free_ char *url = s3_config_url(&config);
        assert_string_equal(url, good[i].url);
        s3_config_free(&config);
    }
}

static void g7_addresses_lead_to_keys_below_the_prefix_alone(void **state)
{
    struct s3 s3 = {.config = {.endpoint = "http://127.0.0.1:9000", .bucket = "abc", .prefix = "team/"}};
    char address[BLOB_ADDRESS_MAX], key[BLOB_KEY_MAX + 1];
    blob_s3.address(&s3, "tenant-a/x.jpg", address);
    assert_string_equal(address, "minio://abc/team/tenant-a/x.jpg");
    static const char *const ours[] = {"minio://abc/team/t/x", "s3://abc/team/t/x", "s3a://abc/team/t/x"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        assert_true(blob_s3.key_of(&s3, ours[i], key));
        assert_string_equal(key, "t/x");
    }
    static const char *const others[] = {"minio://abcd/team/t/x",
                                         "minio://abc/other/t/x",
                                         "minio://abc/team/../t/x",
                                         "http://abc/team/t/x",
                                         "minio://abc/team/",
                                         "minio://abc/team",
                                         "minio://",
                                         "",
                                         "minio://abc/team/~deeplens/owner"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(blob_s3.key_of(&s3, others[i], key));
}

static struct s3_text text(const char *xml)
{
    return (struct s3_text){xml, strlen(xml)};
}

static void elements_are_found_in_their_order(void **state)
{
    struct s3_text rest = text(
                       "<L><Key>no</Keys><C><Key>a</Key></C><Cs/><C></C><C><Key>b&amp;&#65;&#x20ac;</Key></C></L>"),
                   c;
    char key[32];
    static const char *const keys[] = {"a", "", "b&A\xe2\x82\xac"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_true(s3_xml_next(&rest, "C", &c));
        assert_string_equal(s3_xml_text(c, "Key", key, sizeof key), keys[i]);
    }
    assert_false(s3_xml_next(&rest, "C", &c));
}

static void malformed_xml_is_harmless(void **state)
{
    static const char whole[] = "<A><B>&#x10ffff;&amp;&quot;&#9999999999;&bogus;&#;&#x;</B></A>";
    for (size_t len = 0; len < sizeof whole; len++) {
        _cleanup_free_ char *exact = malloc(len ? len : 1); // so that a read beyond its end is found
        memcpy(exact, whole, len);
        struct s3_text rest = {exact, len}, out;
        char small[5], large[128];
        bool complete = len >= sizeof whole - 1 - strlen("</A>");
        assert_int_equal(s3_xml_next(&rest, "B", &out), complete);
        s3_xml_text((struct s3_text){exact, len}, "B", small, sizeof small);
        assert_true(strlen(small) < sizeof small);
        s3_xml_plain((struct s3_text){exact, len}, large, sizeof large);
    }
}

// The example of Amazon's "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
static void presigned_addresses_are_as_documented(void **state)
{
    struct s3 s3 = {0};
    struct error err = {0};
    assert_int_equal(s3_config_read("access_key=AKIAIOSFODNN7EXAMPLE\n"
                                    "secret_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\nowner=me\n"
                                    "bucket=examplebucket\nendpoint=https://s3.amazonaws.com\nregion=us-east-1\n",
                                    &s3.config, &err),
                     0);
    s3.url = s3_config_url(&s3.config);
    const struct blob_presign what = {.now_ms = INT64_C(1369353600000), .expires_s = 86400};
    _cleanup_free_ char *url = s3_presign(&s3, "test.txt", &what);
    assert_string_equal(url,
                        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
                        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
                        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
                        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
    free(s3.url);
    s3_config_free(&s3.config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presigned_addresses_are_as_documented),
        cmocka_unit_test(locations_are_checked),
        cmocka_unit_test(buckets_stand_before_the_host_or_behind_it),
        cmocka_unit_test(g7_addresses_lead_to_keys_below_the_prefix_alone),
        cmocka_unit_test(elements_are_found_in_their_order),
        cmocka_unit_test(malformed_xml_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
