// SPDX-License-Identifier: Apache-2.0
// Width of UTF-8 in columns, without the locale: the same everywhere. Zero: combining marks and joiners; two: East
// Asian wide and full-width forms and emoji (Unicode Annex 11); all else one.
#include "cli/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct range {
    uint32_t first, last;
};

static const struct range zero[] = {
    {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x0610, 0x061a}, {0x064b, 0x065f},
    {0x0900, 0x0902}, {0x093a, 0x093a}, {0x093c, 0x093c}, {0x0941, 0x0948}, {0x094d, 0x094d},
    {0x0e31, 0x0e31}, {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e}, {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff},
    {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0x20d0, 0x20ff}, {0x302a, 0x302d},
    {0x3099, 0x309a}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}, {0xe0000, 0xe0fff},
};

static const struct range wide[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},   {0x2614, 0x2615},
    {0x26a1, 0x26a1},   {0x2705, 0x2705},   {0x274c, 0x274c},   {0x2753, 0x2755},   {0x2e80, 0x303e},
    {0x3041, 0x33ff},   {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xa000, 0xa4cf},   {0xa960, 0xa97f},
    {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},
    {0x1f004, 0x1f004}, {0x1f0cf, 0x1f0cf}, {0x1f18e, 0x1f19a}, {0x1f1e6, 0x1f202}, {0x1f210, 0x1f320},
    {0x1f32d, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f7e0, 0x1f7eb}, {0x1f900, 0x1f9ff}, {0x1fa70, 0x1faff},
    {0x20000, 0x3fffd},
};

static bool within(const struct range *ranges, size_t count, uint32_t point)
{
    for (size_t i = 0; i < count; i++)
        if (point >= ranges[i].first && point <= ranges[i].last)
            return true;
    return false;
}

// Reads one code point; returns how many bytes it has. Anything invalid, and control characters, is U+FFFD. So are
// the directional overrides, with which a name can pretend to be another.
static size_t decode(const char *text, uint32_t *point)
{
    const unsigned char *p = (const unsigned char *)text;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
    *point = 0xfffd;
    if (len == 0)
        return 1;
    uint32_t value = len == 1 ? p[0] : p[0] & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return i;
        value = value << 6 | (p[i] & 0x3f);
    }
    bool control = value < 0x20 || (value >= 0x7f && value < 0xa0);
    bool direction = (value >= 0x202a && value <= 0x202e) || (value >= 0x2066 && value <= 0x2069);
    bool invalid = value < least[len] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000);
    if (!control && !direction && !invalid)
        *point = value;
    return len;
}

static size_t point_width(uint32_t point)
{
    if (point < 0x300)
        return 1;
    if (within(zero, ARRAY_LEN(zero), point))
        return 0;
    return within(wide, ARRAY_LEN(wide), point) ? 2 : 1;
}

size_t text_width(const char *text)
{
    size_t width = 0;
    uint32_t point;
    for (size_t step; *text; text += step) {
        step = decode(text, &point);
        width += point_width(point);
    }
    return width;
}

size_t text_fit(struct buf *out, const char *text, size_t width)
{
    bool cut = width && text_width(text) > width;
    size_t room = cut ? width - 1 : SIZE_MAX;
    size_t used = 0;
    uint32_t point;
    for (size_t step; *text; text += step) {
        step = decode(text, &point);
        size_t columns = point_width(point);
        if (columns > room - used)
            break;
        used += columns;
        if (point == 0xfffd)
            buf_puts(out, "\xef\xbf\xbd");
        else
            buf_append(out, text, step);
    }
    if (cut) {
        buf_puts(out, "…");
        used++;
    }
    return used;
}

const char *text_bytes(uint64_t bytes, char out[TEXT_SHORT])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    if (bytes < 1000) {
        snprintf(out, TEXT_SHORT, "%u B", (unsigned)bytes);
        return out;
    }
    double value = (double)bytes / 1000;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < ARRAY_LEN(units)) {
        value /= 1000;
        unit++;
    }
    snprintf(out, TEXT_SHORT, value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return out;
}

const char *text_duration(double seconds, char out[TEXT_SHORT])
{
    if (!(seconds > 0))
        seconds = 0;
    if (seconds > 1e9)
        seconds = 1e9;
    if (seconds < 9.95) {
        snprintf(out, TEXT_SHORT, "%.1f s", seconds);
        return out;
    }
    unsigned whole = (unsigned)(seconds + 0.5);
    if (whole < 60)
        snprintf(out, TEXT_SHORT, "%u s", whole);
    else if (whole < 3600)
        snprintf(out, TEXT_SHORT, "%u min %02u s", whole / 60, whole % 60);
    else
        snprintf(out, TEXT_SHORT, "%u h %02u min", whole / 3600, whole / 60 % 60);
    return out;
}

const char *text_count(uint64_t count, char out[TEXT_SHORT])
{
    char digits[TEXT_SHORT];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)count);
    int at = 0;
    for (int i = 0; i < len && at < TEXT_SHORT - 2; i++) {
        if (i && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}

unsigned text_terminal_width(int fd)
{
    struct winsize size;
    if (!isatty(fd))
        return 0;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20 ? size.ws_col : 80;
}
