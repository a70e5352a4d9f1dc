// SPDX-License-Identifier: Apache-2.0
// Copy detection by votes for lines: see align.h.
#include "flow/align.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum { BIN_MS = 1000, NEAR_MS = 1200, FIT_MIN_MS = 4000, FRAMES_MIN = 3, ROUNDS = 3 };

static const double sharpness = 100; // 0.01 of a score less: a third of the weight
static const float much_less = 0.2F;
static const float lookalike = 0.5F; // what any two pictures may have in common: no vote
static const double even = 1.03;     // another speed must explain that much more than the speed 1
static const double speeds[] = {1,    0.8,  0.82, 0.84, 0.86, 0.88, 0.9,  0.92, 0.94, 0.96, 0.98, 1.02,
                                1.04, 1.06, 1.08, 1.1,  1.12, 1.14, 1.16, 1.18, 1.2,  1.22, 1.25};

struct line {
    double speed, offset; // ms
    double weight;
};

struct votes {
    const struct align_query *query;
    const struct align_pair *pairs;
    size_t count;
    int64_t *bins; // of the pairs, under one speed
    size_t *order; // the pairs by their bins
    float *best;   // of each frame of the query, in one bin
};

static double weight_of(const struct align_pair *pair)
{
    return pair->score > lookalike ? (pair->score - lookalike) / (1 - lookalike) : 0;
}

static double offset_of(const struct votes *v, const struct align_pair *pair, double speed)
{
    return (double)pair->at_ms - speed * (double)v->query->at_ms[pair->query];
}

static int by_bin(const void *a, const void *b, void *arg)
{
    const int64_t *bins = arg;
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return bins[x] != bins[y] ? (bins[x] > bins[y]) - (bins[x] < bins[y]) : (x > y) - (x < y);
}

// What is in two bins side by side, each frame of the query counted once.
static double weigh(struct votes *v, size_t from, size_t to)
{
    double sum = 0;
    for (size_t i = from; i < to; i++) {
        const struct align_pair *pair = &v->pairs[v->order[i]];
        float weight = (float)weight_of(pair), *best = &v->best[pair->query];
        if (weight > *best) {
            sum += (double)(weight - *best);
            *best = weight;
        }
    }
    for (size_t i = from; i < to; i++)
        v->best[v->pairs[v->order[i]].query] = 0;
    return sum;
}

static void vote(struct votes *v, double speed, struct line *best)
{
    for (size_t i = 0; i < v->count; i++) {
        v->bins[i] = (int64_t)floor(offset_of(v, &v->pairs[i], speed) / BIN_MS);
        v->order[i] = i;
    }
    qsort_r(v->order, v->count, sizeof *v->order, by_bin, v->bins);
    for (size_t from = 0, next; from < v->count; from = next) {
        int64_t bin = v->bins[v->order[from]];
        for (next = from; next < v->count && v->bins[v->order[next]] == bin; next++)
            ;
        size_t to = next;
        while (to < v->count && v->bins[v->order[to]] == bin + 1)
            to++;
        double weight = weigh(v, from, to);
        if (weight > best->weight * (speed == best->speed ? 1 : even))
            *best = (struct line){speed, (double)((bin + 1) * BIN_MS), weight};
    }
}

// The pair of each frame of the query that is nearest to the line, of those that are near; -1: none is.
static int choose(const struct votes *v, const struct line *line, double near, int *chosen)
{
    int found = 0;
    for (int q = 0; q < v->query->count; q++)
        chosen[q] = -1;
    for (size_t i = 0; i < v->count; i++) {
        const struct align_pair *pair = &v->pairs[i];
        int *now = &chosen[pair->query];
        double away = fabs(offset_of(v, pair, line->speed) - line->offset);
        if (away > near || weight_of(pair) <= 0)
            continue;
        found += *now < 0;
        if (*now < 0 || pair->score > v->pairs[*now].score)
            *now = (int)i;
    }
    return found;
}

// How much of a stored frame's weight is this pair's: the query has several frames for each, of which the ones that
// look most like it are the nearest in time.
static double share_of(const struct votes *v, const int *chosen, int query)
{
    const struct align_pair *pair = &v->pairs[chosen[query]];
    double sum = 0;
    for (int q = 0; q < v->query->count; q++)
        if (chosen[q] >= 0 && v->pairs[chosen[q]].at_ms == pair->at_ms)
            sum += exp((double)(v->pairs[chosen[q]].score - pair->score) * sharpness);
    return 1 / sum;
}

struct sums { // of the chosen pairs: times of the query (x) and of the video (y), in ms
    double n, x, y, xx, xy, yy, first, last;
};

static struct sums add_up(const struct votes *v, const int *chosen)
{
    struct sums s = {.first = -1};
    for (int q = 0; q < v->query->count; q++) {
        if (chosen[q] < 0)
            continue;
        double w = weight_of(&v->pairs[chosen[q]]) * share_of(v, chosen, q), x = (double)v->query->at_ms[q],
               y = (double)v->pairs[chosen[q]].at_ms;
        s.n += w;
        s.x += w * x;
        s.y += w * y;
        s.xx += w * x * x;
        s.xy += w * x * y;
        s.yy += w * y * y;
        s.first = s.first < 0 ? x : s.first;
        s.last = x;
    }
    return s;
}

// Through the chosen pairs, by weighted least squares; the speed stays where they are too close together to tell it,
// and is 1 where it is nearly that, or where another one leaves not much less unexplained.
static void fit(const struct votes *v, const int *chosen, struct line *line)
{
    const struct sums s = add_up(v, chosen);
    double xx = s.xx - s.x * s.x / s.n, xy = s.xy - s.x * s.y / s.n, yy = s.yy - s.y * s.y / s.n;
    if (s.last - s.first >= FIT_MIN_MS && xx > 0) {
        double speed = xy / xx, left = yy - xy * speed, left_at_one = yy - 2 * xy + xx;
        bool one = fabs(speed - 1) < 0.025 || left > left_at_one * 0.6;
        if (one || (speed > 0.75 && speed < 1.34))
            line->speed = one ? 1 : speed;
    }
    line->offset = (s.y - line->speed * s.x) / s.n;
}

static int rising(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

// Leaves out the pairs that are much less alike than a quarter of them: what is before and behind the copy looks
// somewhat like it, too. Returns how many are left.
static int drop_lookalikes(struct votes *v, int *chosen)
{
    float *scores = v->best;
    size_t count = 0;
    int left = 0;
    for (int q = 0; q < v->query->count; q++)
        if (chosen[q] >= 0)
            scores[count++] = v->pairs[chosen[q]].score;
    if (count)
        qsort(scores, count, sizeof *scores, rising);
    float bar = count ? scores[count * 3 / 4] - much_less : 0;
    for (int q = 0; q < v->query->count; q++) {
        if (chosen[q] >= 0 && v->pairs[chosen[q]].score < bar)
            chosen[q] = -1;
        left += chosen[q] >= 0;
    }
    return left;
}

static void measure(const struct votes *v, const struct line *line, const int *chosen, struct align_match *out)
{
    const struct align_query *query = v->query;
    int first = 0, last = query->count - 1;
    double sum = 0;
    while (chosen[first] < 0)
        first++;
    while (chosen[last] < 0)
        last--;
    for (int q = first; q <= last; q++)
        sum += chosen[q] >= 0 ? (double)v->pairs[chosen[q]].score : 0;
    // What is outside of the first and the last frame of the query was not looked at: it goes with them.
    out->query_from_ms = first == 0 ? 0 : query->at_ms[first];
    out->query_to_ms =
        last == query->count - 1 && query->duration_ms > query->at_ms[last] ? query->duration_ms : query->at_ms[last];
    double from = line->speed * (double)out->query_from_ms + line->offset,
           to = line->speed * (double)out->query_to_ms + line->offset;
    out->from_ms = from > 0 ? llround(from) : 0;
    out->to_ms = to > 0 ? llround(to) : 0;
    out->speed = line->speed;
    out->score = (float)(sum / (last - first + 1));
}

static bool decide(struct votes *v, int *chosen, float least, struct align_match *out)
{
    struct line line = {.speed = 1};
    for (size_t i = 0; i < ARRAY_LEN(speeds); i++)
        vote(v, speeds[i], &line);
    int wanted = v->query->count < FRAMES_MIN ? v->query->count : FRAMES_MIN, found = 0;
    for (int i = 0; i < ROUNDS && line.weight > 0; i++) {
        if (choose(v, &line, NEAR_MS, chosen) < wanted)
            return false;
        fit(v, chosen, &line);
    }
    if (line.weight > 0) {
        choose(v, &line, (double)v->query->slack_ms, chosen);
        found = drop_lookalikes(v, chosen);
    }
    if (found < wanted || found == 0)
        return false;
    measure(v, &line, chosen, out);
    out->frames = found;
    return out->score >= least;
}

bool align_find(const struct align_query *query, const struct align_pair *pairs, size_t count, float least,
                struct align_match *out)
{
    if (!count || query->count < 1)
        return false;
    struct votes v = {.query = query, .pairs = pairs, .count = count};
    struct align_match match;
    _cleanup_free_ int64_t *bins = v.bins = calloc(count, sizeof *v.bins);
    _cleanup_free_ size_t *order = v.order = calloc(count, sizeof *v.order);
    _cleanup_free_ float *best = v.best = calloc((size_t)query->count, sizeof *v.best);
    _cleanup_free_ int *chosen = calloc((size_t)query->count, sizeof *chosen);
    if (!bins || !order || !best || !chosen || !decide(&v, chosen, least, &match))
        return false;
    *out = match;
    return true;
}
