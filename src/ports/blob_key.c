// SPDX-License-Identifier: Apache-2.0
// What a key of a blob may look like.
#include <ctype.h>
#include <string.h>

#include "ports/blob.h"

bool blob_part_valid(const char *name, size_t len)
{
    if (len < 1 || len > BLOB_PART_MAX || (len <= 2 && strncmp(name, "..", len) == 0))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
            return false;
    return true;
}

bool blob_key_valid(const char *key)
{
    if (strnlen(key, BLOB_KEY_MAX + 1) > BLOB_KEY_MAX)
        return false;
    for (const char *part = key;; part++) {
        size_t len = strcspn(part, "/");
        if (!blob_part_valid(part, len))
            return false;
        part += len;
        if (!*part)
            return true;
    }
}
