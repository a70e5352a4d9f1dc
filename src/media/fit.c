// SPDX-License-Identifier: Apache-2.0
// Fitting decoded pixels: see fit.h.
#include "media/fit.h"

#include <stdlib.h>
#include <string.h>

int fit_edge(int edge, int longer, int max_edge)
{
    if (longer <= max_edge)
        return edge;
    int64_t scaled = ((int64_t)edge * max_edge * 2 + longer) / (2 * (int64_t)longer);
    return scaled > 0 ? (int)scaled : 1;
}

void fit_box(struct pixels *px, int width, int height, int max_edge)
{
    int longer = width > height ? width : height;
    width = fit_edge(width, longer, max_edge);
    height = fit_edge(height, longer, max_edge);
    if (px->width == width && px->height == height)
        return;
    struct pixels scaled;
    pixels_resize(px, width, height, &scaled);
    pixels_free(px);
    *px = scaled;
}

// Each of the eight is a walk over the input from one of its corners, across or down first.
void orient(struct pixels *px, int orientation)
{
    static const struct {
        int from_right, from_bottom, turned;
    } moves[9] = {[2] = {1, 0, 0}, [3] = {1, 1, 0}, [4] = {0, 1, 0}, [5] = {0, 0, 1},
                  [6] = {0, 1, 1}, [7] = {1, 1, 1}, [8] = {1, 0, 1}};
    if (orientation < 2 || orientation > 8)
        return;
    int w = px->width, h = px->height, turned = moves[orientation].turned;
    struct pixels made = {.width = turned ? h : w, .height = turned ? w : h};
    if (!(made.data = malloc(pixels_bytes(&made))))
        abort();
    const uint8_t *origin = px->data;
    ptrdiff_t right = 3, down = (ptrdiff_t)w * 3;
    if (moves[orientation].from_right) {
        origin += (ptrdiff_t)(w - 1) * right;
        right = -right;
    }
    if (moves[orientation].from_bottom) {
        origin += (ptrdiff_t)(h - 1) * down;
        down = -down;
    }
    ptrdiff_t step_x = turned ? down : right, step_y = turned ? right : down;
    uint8_t *to = made.data;
    for (int y = 0; y < made.height; y++)
        for (int x = 0; x < made.width; x++, to += 3)
            memcpy(to, origin + x * step_x + y * step_y, 3);
    pixels_free(px);
    *px = made;
}
