// SPDX-License-Identifier: Apache-2.0
// Addresses of others, and whether we let ourselves be sent there: a server that calls whatever it is told to could be
// used to reach what only it can reach (its own machine, the network around it, a cloud's metadata).
#ifndef DEEPLENS_NET_ADDRESS_H
#define DEEPLENS_NET_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/error.h"

enum { NET_RANGES_MAX = 32 };

struct net_range {
    unsigned char bits[16]; // IPv6; IPv4 as ::ffff:a.b.c.d
    int length;             // of the prefix, of 128
};

struct net_ranges {
    struct net_range list[NET_RANGES_MAX];
    int count;
};

// "10.0.0.0/8,fd00::/8,127.0.0.1": ranges and single addresses; "" and NULL: none. ERR_CONFIG says what is wrong.
int net_ranges_parse(const char *text, struct net_ranges *out, struct error *err);

// Anywhere on the public internet: neither private nor of this machine or link, nor for another special purpose (the
// registries of IANA); of addresses that carry an IPv4 address in them (mapped, NAT64, 6to4), that one, too.
bool net_is_public(const struct sockaddr *address);

// Public, or in one of the ranges.
bool net_may_call(const struct sockaddr *address, const struct net_ranges *allowed);

#endif
