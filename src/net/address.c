// SPDX-License-Identifier: Apache-2.0
#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

// What is not for everybody: https://www.iana.org/assignments/iana-ipv4-special-registry and …ipv6-special-registry.
static const char special[] =
    "0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,169.254.0.0/16,172.16.0.0/12,192.0.0.0/24,"
    "192.0.2.0/24,192.88.99.0/24,192.168.0.0/16,198.18.0.0/15,198.51.100.0/24,"
    "203.0.113.0/24,224.0.0.0/4,240.0.0.0/4";
// Of IPv6 only 2000::/3 is given out, but for these.
static const char special6[] = "2001::/23,2001:db8::/32,3fff::/20";

static bool in_range(const unsigned char bits[16], const struct net_range *range)
{
    int whole = range->length / 8, rest = range->length % 8;
    if (memcmp(bits, range->bits, (size_t)whole) != 0)
        return false;
    return rest == 0 || (bits[whole] ^ range->bits[whole]) >> (8 - rest) == 0;
}

static bool in_ranges(const unsigned char bits[16], const struct net_ranges *ranges)
{
    for (int i = 0; i < ranges->count; i++)
        if (in_range(bits, &ranges->list[i]))
            return true;
    return false;
}

static void map4(const void *four, unsigned char bits[16])
{
    memset(bits, 0, 10);
    bits[10] = bits[11] = 0xff;
    memcpy(bits + 12, four, 4);
}

static bool parse_one(char *word, struct net_range *out)
{
    struct in_addr four;
    char *slash = strchr(word, '/'), *end = NULL;
    if (slash)
        *slash++ = 0;
    bool old = inet_pton(AF_INET, word, &four) == 1;
    if (old)
        map4(&four, out->bits);
    else if (inet_pton(AF_INET6, word, out->bits) != 1)
        return false;
    int most = old ? 32 : 128;
    long length = slash ? strtol(slash, &end, 10) : most;
    if (slash && (end == slash || *end))
        return false;
    out->length = (int)length + (old ? 96 : 0);
    return length >= 0 && length <= most;
}

int net_ranges_parse(const char *text, struct net_ranges *out, struct error *err)
{
    struct net_ranges ranges = {.count = 0};
    _cleanup_free_ char *copy = strdup(text ? text : "");
    if (!copy)
        return error_set(err, ERR_NO_MEMORY, "Out of memory");
    for (char *rest = copy, *word; (word = strsep(&rest, ","));) {
        char name[80];
        word += strspn(word, " ");
        word[strcspn(word, " ")] = 0;
        snprintf(name, sizeof name, "%s", word);
        if (!*word)
            continue;
        if (ranges.count == NET_RANGES_MAX)
            return error_set(err, ERR_CONFIG, "At most %d ranges of addresses can be named", NET_RANGES_MAX);
        if (!parse_one(word, &ranges.list[ranges.count++]))
            return error_set(err, ERR_CONFIG, "\"%s\" is no range of addresses such as 10.0.0.0/8 or fd00::/8", name);
    }
    *out = ranges;
    return 0;
}

static bool is_special(const char *list, const unsigned char bits[16])
{
    struct net_ranges ranges;
    return net_ranges_parse(list, &ranges, NULL) < 0 || in_ranges(bits, &ranges);
}

static bool is_public4(const void *four)
{
    unsigned char bits[16];
    map4(four, bits);
    return !is_special(special, bits);
}

static bool begins(const unsigned char bits[16], const char *prefix, size_t len)
{
    return memcmp(bits, prefix, len) == 0;
}

static bool is_public6(const unsigned char bits[16])
{
    if (begins(bits, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) || begins(bits, "\0\x64\xff\x9b\0\0\0\0\0\0\0\0", 12))
        return is_public4(bits + 12); // mapped, NAT64
    if (begins(bits, "\x20\x02", 2))
        return is_public4(bits + 2); // 6to4
    return (bits[0] & 0xe0) == 0x20 && !is_special(special6, bits);
}

static bool bits_of(const struct sockaddr *address, unsigned char bits[16])
{
    if (address->sa_family == AF_INET)
        map4(&((const struct sockaddr_in *)address)->sin_addr, bits);
    else if (address->sa_family == AF_INET6)
        memcpy(bits, &((const struct sockaddr_in6 *)address)->sin6_addr, 16);
    else
        return false;
    return true;
}

bool net_is_public(const struct sockaddr *address)
{
    unsigned char bits[16];
    return bits_of(address, bits) && is_public6(bits);
}

bool net_may_call(const struct sockaddr *address, const struct net_ranges *allowed)
{
    unsigned char bits[16];
    return bits_of(address, bits) && (is_public6(bits) || in_ranges(bits, allowed));
}
