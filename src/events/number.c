// SPDX-License-Identifier: Apache-2.0
// Vectors are most of the bytes on the topics, so floats have a quick way in both directions.
//
// Writing: a float f stands for every decimal between the midpoints to its neighbours, lo and hi. Within [1e-13, 1e6)
// f's first p digits are n = round(f * 10^k), and n / 10^k is one division of two exactly held numbers (k <= 22), hence
// correctly rounded: when that lies strictly between lo and hi, so does the decimal itself, and it reads back as f
// whether a reader goes through double or not. 9 digits always pass; 8, 7 and 6 are tried downwards, and below 6
// only trailing zeros can be saved, because two decimals of 6 digits never share a float. Values outside of that
// range, and doubles, are printed and read back by the C library with rising precision.
//
// Reading: up to 2^53 and 10^±22, mantissa and power are exact doubles and one operation rounds correctly
// (Clinger, "How to read floating point numbers accurately", 1990); everything else goes to strtod.
#include "events/number.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLOAT_DIGITS = 9, DOUBLE_DIGITS = 17, POWERS = 23, NUMBER_LONGEST = 63 };

static const double power10[POWERS] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

// The decimal 0.d1d2d3… * 10^point.
struct decimal {
    char digits[DOUBLE_DIGITS + 1];
    int count;
    int point;
};

static void strip_zeros(struct decimal *d)
{
    while (d->count > 1 && d->digits[d->count - 1] == '0')
        d->count--;
}

static size_t put_exponent(const struct decimal *d, char *out)
{
    size_t used = 0;
    out[used++] = d->digits[0];
    if (d->count > 1) {
        out[used++] = '.';
        memcpy(out + used, d->digits + 1, (size_t)d->count - 1);
        used += (size_t)d->count - 1;
    }
    return used + (size_t)snprintf(out + used, 8, "e%d", d->point - 1);
}

static size_t put_decimal(const struct decimal *d, bool negative, char out[NUMBER_TEXT])
{
    size_t used = 0, count = (size_t)d->count;
    if (negative)
        out[used++] = '-';
    if (d->point < -4 || d->point > 15) {
        used += put_exponent(d, out + used);
    } else if (d->point <= 0) {
        memcpy(out + used, "0.0000", 6);
        used += 2 + (size_t)-d->point;
        memcpy(out + used, d->digits, count);
        used += count;
    } else {
        size_t whole = (size_t)d->point, shown = whole < count ? whole : count;
        memcpy(out + used, d->digits, shown);
        memset(out + used + shown, '0', whole - shown);
        used += whole;
        out[used++] = '.';
        memcpy(out + used, shown < count ? d->digits + shown : "0", shown < count ? count - shown : 1);
        used += shown < count ? count - shown : 1;
    }
    out[used] = 0;
    return used;
}

// Prints with `precision` digits and takes the digits out of it, whatever the locale's decimal point looks like.
static void print_decimal(double value, int precision, struct decimal *d, char text[64])
{
    snprintf(text, 64, "%.*e", precision - 1, value);
    const char *mark = strchr(text, 'e');
    d->count = precision;
    d->digits[0] = text[0];
    memcpy(d->digits + 1, mark - (precision - 1), (size_t)precision - 1);
    d->point = (int)strtol(mark + 1, NULL, 10) + 1;
}

// Normal numbers need 6 (15) digits or more, or fewer with zeros behind; below them one digit may do.
static void shortest_by_printing(double value, bool as_float, struct decimal *d)
{
    char text[64];
    int least = value < (as_float ? (double)FLT_MIN : DBL_MIN) ? 1 : as_float ? FLT_DIG : DBL_DIG;
    for (int precision = least; precision <= (as_float ? FLOAT_DIGITS : DOUBLE_DIGITS); precision++) {
        print_decimal(value, precision, d, text);
        double back = strtod(text, NULL);
        if (as_float ? (float)back == (float)value : back == value)
            break;
    }
    strip_zeros(d);
}

static float float_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

// floor(log10(value))
static int magnitude(double value)
{
    int binary;
    frexp(value, &binary);
    int e = (int)floor((binary - 1) * 0.30102999566398120), next = e + 1;
    bool beyond = next >= 0 ? value >= power10[next] : value * power10[-next] >= 1;
    return beyond ? next : e;
}

struct candidate {
    uint32_t n; // the decimal is n / 10^k
    int k;
};

// Whether `digits` digits are enough to stay strictly between lo and hi.
static bool enough(double value, double lo, double hi, int digits, int exponent, struct candidate *out)
{
    int k = digits - 1 - exponent;
    if (k < 0 || k >= POWERS)
        return false;
    double n = nearbyint(value * power10[k]), back = n / power10[k];
    if (!(back > lo && back < hi))
        return false;
    *out = (struct candidate){(uint32_t)n, k};
    return true;
}

static void digits_of(struct candidate c, struct decimal *d)
{
    char reversed[12];
    int count = 0;
    for (; c.n; c.n /= 10)
        reversed[count++] = (char)('0' + c.n % 10);
    for (int i = 0; i < count; i++)
        d->digits[i] = reversed[count - 1 - i];
    d->count = count;
    d->point = count - c.k;
    strip_zeros(d);
}

// The quick way; false when it does not apply. `value` is positive.
static bool shortest_float(float value, struct decimal *d)
{
    double v = value;
    if (!(v >= 1e-13 && v < 1e6))
        return false;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    double lo = (v + float_of_bits(bits - 1)) / 2, hi = (v + float_of_bits(bits + 1)) / 2;
    int e = magnitude(v), digits = FLOAT_DIGITS - 1;
    struct candidate c;
    if (!enough(v, lo, hi, digits, e, &c)) {
        if (!enough(v, lo, hi, FLOAT_DIGITS, e, &c))
            return false;
    } else {
        while (digits > 6 && enough(v, lo, hi, digits - 1, e, &c))
            digits--;
    }
    digits_of(c, d);
    return true;
}

size_t number_write_float(float value, char out[NUMBER_TEXT])
{
    struct decimal d = {.digits = "0", .count = 1, .point = 1};
    bool negative = signbit(value);
    float positive = fabsf(value);
    if (positive != 0 && !shortest_float(positive, &d))
        shortest_by_printing(positive, true, &d);
    return put_decimal(&d, negative, out);
}

size_t number_write_double(double value, char out[NUMBER_TEXT])
{
    struct decimal d = {.digits = "0", .count = 1, .point = 1};
    if (value != 0)
        shortest_by_printing(fabs(value), false, &d);
    return put_decimal(&d, signbit(value), out);
}

struct number_scan {
    const char *text;
    size_t len, at;
    uint64_t mantissa;
    int digits;   // significant ones seen
    int exponent; // of ten, for the mantissa
};

static char peek(const struct number_scan *s)
{
    return s->at < s->len ? s->text[s->at] : 0;
}

// Takes a run of digits; false when there is none.
static bool take_digits(struct number_scan *s, int exponent_step)
{
    size_t start = s->at;
    for (char c; (c = peek(s)) >= '0' && c <= '9'; s->at++) {
        if (s->digits || c != '0')
            s->digits++;
        if (s->digits <= 18)
            s->mantissa = s->mantissa * 10 + (uint64_t)(c - '0');
        s->exponent += exponent_step;
    }
    return s->at > start;
}

static bool take_exponent(struct number_scan *s)
{
    if (peek(s) != 'e' && peek(s) != 'E')
        return true;
    s->at++;
    bool negative = peek(s) == '-';
    if (negative || peek(s) == '+')
        s->at++;
    size_t start = s->at;
    int value = 0;
    for (char c; (c = peek(s)) >= '0' && c <= '9'; s->at++)
        value = value < 100000 ? value * 10 + (c - '0') : value;
    s->exponent += negative ? -value : value;
    return s->at > start;
}

static bool take_number(struct number_scan *s)
{
    bool zero = peek(s) == '0';
    size_t start = s->at;
    if (!take_digits(s, 0) || (zero && s->at - start > 1))
        return false;
    if (peek(s) == '.') {
        s->at++;
        if (!take_digits(s, -1))
            return false;
    }
    return take_exponent(s);
}

// strtod expects the locale's decimal point; jansson's own reader has the same trouble and the same cure.
static bool read_slowly(const char *text, size_t len, double *out)
{
    char copy[NUMBER_LONGEST + 1], sample[8];
    memcpy(copy, text, len);
    copy[len] = 0;
    snprintf(sample, sizeof sample, "%.1f", 0.5);
    char *point = strchr(copy, '.');
    if (point && sample[2] == '5')
        *point = sample[1];
    char *end;
    *out = strtod(copy, &end);
    return *end == 0 && isfinite(*out);
}

size_t number_read(const char *text, size_t len, double *out)
{
    struct number_scan s = {.text = text, .len = len < NUMBER_LONGEST + 1 ? len : NUMBER_LONGEST + 1};
    bool negative = peek(&s) == '-';
    s.at = negative;
    if (!take_number(&s) || s.at > NUMBER_LONGEST)
        return 0;
    if (s.digits <= 18 && s.mantissa <= (uint64_t)1 << 53 && s.exponent > -POWERS && s.exponent < POWERS) {
        double m = (double)s.mantissa;
        m = s.exponent < 0 ? m / power10[-s.exponent] : m * power10[s.exponent];
        *out = negative ? -m : m;
        return s.at;
    }
    return read_slowly(text, s.at, out) ? s.at : 0;
}
