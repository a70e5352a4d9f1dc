// SPDX-License-Identifier: Apache-2.0
// Choosing labels: see labels.h.
#include "backends/extractor/labels.h"

#include <float.h>
#include <math.h>

// Keeps `best` (numbers of labels) sorted, the largest first, of equals the one that is named first.
static void offer(const float *numbers, size_t *best, size_t *count, size_t candidate)
{
    size_t place = *count;
    while (place > 0 && numbers[candidate] > numbers[best[place - 1]])
        place--;
    if (place == EXTRACTOR_LABELS)
        return;
    *count += *count < EXTRACTOR_LABELS;
    for (size_t i = *count - 1; i > place; i--)
        best[i] = best[i - 1];
    best[place] = candidate;
}

int labels_choose(const struct model_spec *spec, char *const *names, const float *numbers, struct extractor_labels *out,
                  struct error *err)
{
    size_t best[EXTRACTOR_LABELS], count = 0;
    double sum = 0;
    for (size_t i = 0; i < spec->label_count; i++) {
        if (!isfinite(numbers[i]))
            return error_set(err, ERR_EXTRACTION_FAILED, "Model %s gave no numbers for its labels", spec->name);
        offer(numbers, best, &count, i);
    }
    for (size_t i = 0; i < spec->label_count; i++)
        sum += exp((double)numbers[i] - numbers[best[0]]);
    *out = (struct extractor_labels){.count = count};
    for (size_t i = 0; i < count; i++) {
        float share = (float)(exp((double)numbers[best[i]] - numbers[best[0]]) / sum);
        out->at[i] = (struct extractor_label){names[best[i]], share > FLT_MIN ? share : FLT_MIN};
    }
    return 0;
}
