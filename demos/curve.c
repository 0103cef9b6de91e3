#include "curve.h"

#include <math.h>
#include <stdio.h>

/* ---- axes ---- */

double nice_step(double range, int most)
{
    double power = pow(10, floor(log10(range / most))), rest = range / most / power;

    return power * (rest <= 1 ? 1 : rest <= 2 ? 2 : rest <= 5 ? 5 : 10);
}

void adjust(struct axis *axis, const double *samples, size_t count, int numbers)
{
    double low = INFINITY, high = -INFINITY, margin;

    for (size_t i = 0; i < count; i++) {
        if (isfinite(samples[i])) {
            low = fmin(low, samples[i]);
            high = fmax(high, samples[i]);
        }
    }
    if (low > high)
        low = high = 0;
    if (axis->step > 0 && low >= axis->low && high <= axis->high &&
        high - low >= (axis->high - axis->low) / 2) {
        axis->step = nice_step(axis->high - axis->low, numbers);
        return;
    }
    margin = fmax(fabs(low), fabs(high)) * 1e-9; /* what a constant may seem to vary by */
    if (high - low <= margin) {
        margin = margin > 0 ? 0.1 * fabs(high) : 1;
        low -= margin;
        high += margin;
    }
    axis->step = nice_step(high - low, numbers);
    axis->low = floor(low / axis->step) * axis->step;
    axis->high = ceil(high / axis->step) * axis->step;
}

void print_number(char *text, size_t size, double number, double step)
{
    int digits = -(int)floor(log10(step) + 1e-9);

    if (fabs(number) < step / 2)
        number = 0;
    if (digits > 6 || fabs(number) >= 1e7)
        snprintf(text, size, "%.4g", number);
    else
        snprintf(text, size, "%.*f", digits > 0 ? digits : 0, number);
}

/* ---- the curve ---- */

static void extend(struct span *span, double y)
{
    span->low = fmin(span->low, y);
    span->high = fmax(span->high, y);
}

/* The line between two samples, as the piece of it in each column of dots. */
static void add_line(struct span *spans, double x0, double y0, double x1, double y1)
{
    int first = lround(x0), last = lround(x1);

    for (int x = first; x <= last; x++) {
        double from = fmax(x0, x - 0.5), to = fmin(x1, x + 0.5);
        double slope = x1 > x0 ? (y1 - y0) / (x1 - x0) : 0;

        extend(&spans[x], y0 + (from - x0) * slope);
        extend(&spans[x], to < x1 ? y0 + (to - x0) * slope : y1);
    }
}

void trace_curve(struct span *spans, int columns, int rows, const struct axis *axis,
                 const double *samples, size_t count, size_t window)
{
    double across = (columns - 1.0) / (window - 1), up = (rows - 1) / (axis->high - axis->low);
    double last_x = 0, last_y = NAN;

    for (int x = 0; x < columns; x++)
        spans[x] = (struct span){INFINITY, -INFINITY};
    for (size_t i = 0; i < count; i++) {
        double x = (window - count + i) * across, y = (samples[i] - axis->low) * up;

        if (isfinite(y) && isfinite(last_y))
            add_line(spans, last_x, last_y, x, y);
        else if (isfinite(y))
            extend(&spans[lround(x)], y);
        last_x = x;
        last_y = y;
    }
    for (int x = 0; x < columns; x++)
        spans[x] = (struct span){round(spans[x].low), round(spans[x].high)};
}

/*
 * The bit of a dot in the patterns of Unicode's braille block, by its column and its row from
 * above.
 */
static const unsigned char dot_bits[DOTS_X][DOTS_Y] = {{0x01, 0x02, 0x04, 0x40},
                                                       {0x08, 0x10, 0x20, 0x80}};

unsigned pattern_of(const struct span *spans, int cell, int above)
{
    unsigned pattern = 0;

    for (int dx = 0; dx < DOTS_X; dx++) {
        const struct span *span = &spans[cell * DOTS_X + dx];

        for (int dy = 0; dy < DOTS_Y && span->low <= span->high; dy++) {
            if (above - dy >= span->low && above - dy <= span->high)
                pattern |= dot_bits[dx][dy];
        }
    }
    return pattern;
}
