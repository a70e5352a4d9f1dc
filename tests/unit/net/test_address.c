// SPDX-License-Identifier: Apache-2.0
// Which addresses are anybody's, and which are ours alone.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "net/address.h"
#include "net/post.h"

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage out = {0};
    struct sockaddr_in *four = (struct sockaddr_in *)&out;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&out;
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        out.ss_family = AF_INET;
    } else {
        out.ss_family = AF_INET6;
        assert_int_equal(inet_pton(AF_INET6, text, &six->sin6_addr), 1);
    }
    return out;
}

static bool is_public(const char *text)
{
    struct sockaddr_storage a = address(text);
    return net_is_public((struct sockaddr *)&a);
}

static void public_ones(void **state)
{
    static const char *const texts[] = {"1.1.1.1",        "9.255.255.255",    "11.0.0.0",       "100.63.255.255",
                                        "100.128.0.0",    "172.15.255.255",   "172.32.0.0",     "192.167.255.255",
                                        "198.17.0.1",     "223.255.255.255",  "2606:4700::1",   "2a00::1",
                                        "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (!is_public(texts[i]))
            fail_msg("%s is public", texts[i]);
}

static void special_ones(void **state)
{
    static const char *const texts[] = {"0.0.0.0",
                                        "10.0.0.1",
                                        "100.64.0.1",
                                        "127.0.0.1",
                                        "127.255.255.255",
                                        "169.254.169.254",
                                        "172.16.0.1",
                                        "172.31.255.255",
                                        "192.0.0.1",
                                        "192.0.2.1",
                                        "192.88.99.1",
                                        "192.168.0.1",
                                        "198.18.0.1",
                                        "198.19.255.255",
                                        "198.51.100.1",
                                        "203.0.113.1",
                                        "224.0.0.1",
                                        "240.0.0.1",
                                        "255.255.255.255",
                                        "::",
                                        "::1",
                                        "::ffff:127.0.0.1",
                                        "::ffff:10.0.0.1",
                                        "::7f00:1",
                                        "fe80::1",
                                        "fc00::1",
                                        "fd12::1",
                                        "ff02::1",
                                        "2001:db8::1",
                                        "2001::1",
                                        "64:ff9b::7f00:1",
                                        "64:ff9b:1::1",
                                        "2002:7f00:1::1",
                                        "2002:a00:1::",
                                        "100::1",
                                        "3fff::1",
                                        "5f00::1",
                                        "fec0::1"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (is_public(texts[i]))
            fail_msg("%s is not public", texts[i]);
}

static bool may(const char *ranges, const char *text)
{
    struct net_ranges allowed;
    struct sockaddr_storage a = address(text);
    assert_int_equal(net_ranges_parse(ranges, &allowed, NULL), 0);
    return net_may_call((struct sockaddr *)&a, &allowed);
}

static void exceptions_are_as_wide_as_they_say(void **state)
{
    assert_true(may("", "1.1.1.1"));
    assert_false(may("", "10.1.2.3"));
    assert_true(may("10.0.0.0/8", "10.1.2.3"));
    assert_true(may("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_false(may("10.1.0.0/17", "10.1.128.0"));
    assert_true(may("10.1.0.0/17", "10.1.127.255"));
    assert_true(may("127.0.0.1, ::1", "::1"));
    assert_false(may("127.0.0.1", "127.0.0.2"));
    assert_true(may("fd00::/8", "fd12::1"));
    assert_false(may("fd00::/8", "fc00::1"));
    assert_true(may("0.0.0.0/0", "192.168.1.1"));
    assert_false(may("0.0.0.0/0", "fe80::1"));
    assert_true(may("::/0", "127.0.0.1"));
}

static void ranges_that_are_none(void **state)
{
    static const char *const texts[] = {"10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8",    "localhost",
                                        "10.0.0.0/",   "::/129",      "10.0.0.0/8x", "1.1.1.1,nonsense"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct net_ranges out = {.count = 7};
        struct error err = {0};
        assert_int_equal(net_ranges_parse(texts[i], &out, &err), -1);
        assert_int_equal(err.code, ERR_CONFIG);
        assert_int_equal(out.count, 7);
    }
}

static void urls(void **state)
{
    static const struct {
        const char *url;
        bool good;
    } cases[] = {
        {"https://example.com/hook?x=1", true},
        {"http://1.1.1.1:8080/", true},
        {"HTTP://example.com", true},
        {"http://127.0.0.1/", false},
        {"http://2130706433/", false},
        {"http://0x7f.1/", false},
        {"http://[::1]/", false},
        {"http://[fe80::1%25lo]/", false},
        {"ftp://example.com/", false},
        {"example.com", false},
        {"http://a:b@example.com/", false},
        {"http://example.com/#x", false},
        {"", false},
        {"http://", false},
        {"gopher://1.1.1.1/", false},
    };
    struct net_ranges none = {.count = 0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if ((post_check_url(cases[i].url, &none, NULL) == 0) != cases[i].good)
            fail_msg("%s", cases[i].url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_ones),
        cmocka_unit_test(special_ones),
        cmocka_unit_test(exceptions_are_as_wide_as_they_say),
        cmocka_unit_test(ranges_that_are_none),
        cmocka_unit_test(urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
