// SPDX-License-Identifier: Apache-2.0
#include "backends/meta/slug.h"

#include <ctype.h>
#include <string.h>

int tenant_name_check(const char *name, struct error *err)
{
    static const char more[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = name ? strlen(name) : 0;
    if (len >= 1 && len <= TENANT_NAME_MAX && strspn(name, more) == len && !strchr("._-", name[0]))
        return 0;
    return error_set(
        err, ERR_INVALID_TENANT,
        "A tenant's name has 1 to 63 letters, digits, '.', '_' and '-', and starts with a letter or digit");
}

bool slug_candidate(const char *name, int attempt, char slug[SLUG_MAX])
{
    char hash[HASH_HEX];
    struct hash_state state;
    hash_init(&state);
    hash_update(&state, name, strlen(name));
    hash_final(&state, hash);

    size_t base = 0;
    for (const char *p = name; *p; p++)
        if (isalnum((unsigned char)*p))
            slug[base++] = (char)tolower((unsigned char)*p);
    size_t digits = (size_t)(attempt + !base) * 8;
    if (digits >= HASH_HEX)
        return false;
    memcpy(slug + base, hash, digits);
    slug[base + digits] = 0;
    return true;
}
