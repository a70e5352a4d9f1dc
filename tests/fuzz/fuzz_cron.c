// SPDX-License-Identifier: Apache-2.0
// Fuzzing of schedules: any text is read as one; what is taken comes again and again, later each time.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cron.h"
#include "base/js.h"

enum { TIMES = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cron cron;
    struct error err = {0};
    char text[CRON_TEXT_MAX + 8];
    size_t len = size < sizeof text ? size : sizeof text - 1;
    memcpy(text, data, len);
    text[len] = 0;
    if (cron_parse(text, &cron, &err) < 0) {
        if (err.code != ERR_INVALID || !js_utf8_valid(err.message, strlen(err.message)))
            abort();
        return 0;
    }
    for (int64_t at = 0, i = 0; i < TIMES; i++) {
        int64_t next = cron_next(&cron, at);
        if (next <= at || next % 60000 != 0 || next == INT64_MAX || cron_next(&cron, next - 1) != next)
            abort();
        at = next;
    }
    return 0;
}
