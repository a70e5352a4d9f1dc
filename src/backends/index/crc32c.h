// SPDX-License-Identifier: Apache-2.0
// CRC-32C (Castagnoli), by the processor's instruction where it has one.
#ifndef DEEPLENS_BACKENDS_INDEX_CRC32C_H
#define DEEPLENS_BACKENDS_INDEX_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *data, size_t len);
uint32_t crc32c_plain(const void *data, size_t len); // without the instruction: for tests

#endif
