// SPDX-License-Identifier: Apache-2.0
// Compares two pictures by their details: those that look alike are paired, each pair says how the one picture would
// lie in the other (moved, scaled, turned), and the motion that most pairs agree with is what the pictures have in
// common. By chance, a few agree; from one picture to an altered copy, many do.
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/simd.h"
#include "media/details/details_int.h"

enum {
    FAR = 128,      // as different as two details can be
    PLACE_BITS = 7, // of a detail among those kept
    BITS_MOST = 32, // between two that are one pair
    RATIO = 218,    // 256ths: the best must be so much nearer than the next
    FIRST = 12,     // pairs whose motions are tried, the nearest ones
    REFITS = 2,
    CHANCE = 4, // pairs that agree by chance
};
static const float NEAR = 3;           // how far from where it should be a detail may lie, as a multiple of its size
static const float STRAY = 0.2f;       // and of its distance from the pair that the motion is taken from
static const float TURN_COSINE = 0.8f; // of the angle between two pairs' turns
static const float GROWTH = 1.7f;      // between two pairs' scales
static const float HALF = 6;           // pairs above chance that are half of the evidence there can be

struct pair {
    float ax, ay, kx, ky; // where it is in the one and in the other
    float size;           // in the other
    float mx, my;         // turn and growth, as a complex number
    unsigned bits;
};

struct motion { // p → m p + t, in complex numbers
    float mx, my, tx, ty;
};

// --- Pairs

struct nearest {
    unsigned bits, next; // of the nearest, and of the one after it
    size_t at;
};

// Among all details from `from` on. Bits and place are in one number, so that the least is found without a branch.
static inline __attribute__((always_inline)) struct nearest
nearest_of(const struct details *asked, size_t one, const struct details *kept, size_t from, size_t count)
{
    _Static_assert((FAR << PLACE_BITS) < UINT16_MAX && DETAILS_KEPT <= 1 << PLACE_BITS, "both must fit");
    _Static_assert(DETAIL_WORDS == 2, "all words are looked at");
    uint16_t measured[DETAILS_KEPT], least = FAR << PLACE_BITS, next = FAR << PLACE_BITS;
    uint64_t first = asked->bits[0][one], second = asked->bits[1][one];
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = (uint64_t)__builtin_popcountll(first ^ kept->bits[0][from + i]) +
                        (uint64_t)__builtin_popcountll(second ^ kept->bits[1][from + i]);
        measured[i] = (uint16_t)(bits << PLACE_BITS | i);
    }
    for (size_t i = 0; i < count; i++)
        least = measured[i] < least ? measured[i] : least;
    struct nearest n = {.bits = least >> PLACE_BITS, .next = FAR, .at = from + least % (1 << PLACE_BITS)};
    if (n.bits > BITS_MOST)
        return n;
    measured[n.at - from] = UINT16_MAX;
    for (size_t i = 0; i < count; i++)
        next = measured[i] < next ? measured[i] : next;
    n.next = next >> PLACE_BITS;
    return n;
}

SIMD_CLONES static void find_nearest(const struct details *asked, size_t one, size_t end, const struct details *kept,
                                     size_t from, size_t count, struct nearest *out)
{
    for (; one < end; one++)
        *out++ = nearest_of(asked, one, kept, from, count);
}

#ifdef SIMD_POPCOUNT
SIMD_POPCOUNT static void find_nearest_popcount(const struct details *asked, size_t one, size_t end,
                                                const struct details *kept, size_t from, size_t count,
                                                struct nearest *out)
{
    for (; one < end; one++)
        *out++ = nearest_of(asked, one, kept, from, count);
}
#endif

static struct pair pair_of(const struct detail *a, const struct detail *k, unsigned bits)
{
    float growth = k->size / a->size, turn = k->angle - a->angle;
    return (struct pair){.ax = a->x,
                         .ay = a->y,
                         .kx = k->x,
                         .ky = k->y,
                         .size = k->size,
                         .mx = growth * cosf(turn),
                         .my = growth * sinf(turn),
                         .bits = bits};
}

// Keeps them in the order of their bits.
static void add_pair(struct pair *pairs, size_t *count, struct pair p)
{
    size_t at = (*count)++;
    for (; at > 0 && pairs[at - 1].bits > p.bits; at--)
        pairs[at] = pairs[at - 1];
    pairs[at] = p;
}

static size_t find_pairs(const struct details *asked, const struct details *kept, struct pair *out)
{
    struct nearest nearest[DETAILS_ASKED];
    size_t count = 0;
    for (int kind = 0; kind < DETAIL_KINDS; kind++) {
        size_t first = kind ? asked->ends[kind - 1] : 0, from = kind ? kept->ends[kind - 1] : 0;
        size_t end = asked->ends[kind], among = kept->ends[kind] - from;
#ifdef SIMD_POPCOUNT
        if (__builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512bw"))
            find_nearest_popcount(asked, first, end, kept, from, among, nearest + first);
        else
#endif
            find_nearest(asked, first, end, kept, from, among, nearest + first);
    }
    for (size_t i = 0; i < asked->count; i++)
        if (nearest[i].bits <= BITS_MOST && nearest[i].bits * 256 <= nearest[i].next * RATIO)
            add_pair(out, &count, pair_of(&asked->of[i], &kept->of[nearest[i].at], nearest[i].bits));
    return count;
}

// --- Motions

static struct motion motion_of(const struct pair *p)
{
    return (struct motion){p->mx, p->my, p->kx - (p->mx * p->ax - p->my * p->ay),
                           p->ky - (p->mx * p->ay + p->my * p->ax)};
}

static bool agrees(const struct motion *m, const struct pair *p, float tolerance)
{
    float dx = m->mx * p->ax - m->my * p->ay + m->tx - p->kx, dy = m->mx * p->ay + m->my * p->ax + m->ty - p->ky;
    if (dx * dx + dy * dy > tolerance * tolerance)
        return false;
    float one = m->mx * m->mx + m->my * m->my, other = p->mx * p->mx + p->my * p->my;
    float along = m->mx * p->mx + m->my * p->my;
    return one < other * GROWTH * GROWTH && other < one * GROWTH * GROWTH && along > TURN_COSINE * sqrtf(one * other);
}

static float tolerance_from(const struct pair *origin, const struct pair *p)
{
    float dx = p->kx - origin->kx, dy = p->ky - origin->ky;
    return NEAR * p->size + STRAY * sqrtf(dx * dx + dy * dy);
}

// The best of the nearest pairs' motions; marks those that agree with it.
static size_t vote(const struct pair *pairs, size_t count, bool *in)
{
    size_t most = 0, best = 0;
    for (size_t i = 0; i < count && i < FIRST; i++) {
        struct motion m = motion_of(&pairs[i]);
        size_t agree = 0;
        for (size_t j = 0; j < count; j++)
            agree += agrees(&m, &pairs[j], tolerance_from(&pairs[i], &pairs[j]));
        if (agree > most) {
            most = agree;
            best = i;
        }
    }
    struct motion m = motion_of(&pairs[best]);
    for (size_t j = 0; j < count; j++)
        in[j] = agrees(&m, &pairs[j], tolerance_from(&pairs[best], &pairs[j]));
    return most;
}

// The motion with the least squares of what it misses the marked pairs by.
static bool fit(const struct pair *pairs, size_t count, const bool *in, struct motion *out)
{
    double n = 0, ax = 0, ay = 0, kx = 0, ky = 0, re = 0, im = 0, square = 0;
    for (size_t i = 0; i < count; i++)
        if (in[i]) {
            n++;
            ax += pairs[i].ax, ay += pairs[i].ay, kx += pairs[i].kx, ky += pairs[i].ky;
        }
    ax /= n, ay /= n, kx /= n, ky /= n;
    for (size_t i = 0; i < count; i++)
        if (in[i]) {
            double px = pairs[i].ax - ax, py = pairs[i].ay - ay, qx = pairs[i].kx - kx, qy = pairs[i].ky - ky;
            re += px * qx + py * qy;
            im += px * qy - py * qx;
            square += px * px + py * py;
        }
    if (n < 2 || square < 1)
        return false;
    re /= square, im /= square;
    *out = (struct motion){(float)re, (float)im, (float)(kx - (re * ax - im * ay)), (float)(ky - (re * ay + im * ax))};
    return true;
}

float details_compare(const struct details *asked, const struct details *kept)
{
    struct pair pairs[DETAILS_ASKED];
    bool in[DETAILS_ASKED];
    size_t count = find_pairs(asked, kept, pairs);
    if (count <= CHANCE || vote(pairs, count, in) <= CHANCE)
        return 0;
    size_t agree = 0;
    for (int i = 0; i < REFITS; i++) {
        struct motion m;
        if (!fit(pairs, count, in, &m))
            return 0;
        agree = 0;
        for (size_t j = 0; j < count; j++)
            agree += in[j] = agrees(&m, &pairs[j], NEAR * pairs[j].size);
    }
    return agree > CHANCE ? (float)(agree - CHANCE) / ((float)(agree - CHANCE) + HALF) : 0;
}
