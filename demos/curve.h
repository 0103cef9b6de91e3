/* A curve in the dots of a terminal's braille characters, and its axis. It prints nothing. */
#ifndef DEMOS_CURVE_H
#define DEMOS_CURVE_H

#include <stddef.h>

/* The dots of a cell. */
enum { DOTS_X = 2, DOTS_Y = 4, PATTERNS = 1 << DOTS_X * DOTS_Y };

/* What an axis shows: from low to high, with a number at each multiple of step. */
struct axis {
    double low, high, step;
};

/* The dots of one column, of rows that are counted from below; none if high < low. */
struct span {
    double low, high;
};

/* The step of 1, 2 or 5 times a power of ten by which at most `most` numbers cover the range. */
double nice_step(double range, int most);

/* Change the axis if the samples have left it, or fill less than half of it: not at every frame. */
void adjust(struct axis *, const double *samples, size_t count, int numbers);

/* The number at a step, with as many digits as the step needs. */
void print_number(char *text, size_t size, double number, double step);

/*
 * The spans of all columns of dots. The newest sample is at the right end, where the window is not
 * full yet, too.
 */
void trace_curve(struct span *, int columns, int rows, const struct axis *, const double *samples,
                 size_t count, size_t window);

/*
 * The dots of a cell that belong to the curve, as an offset in Unicode's braille block. above: the
 * highest row of dots of the cell.
 */
unsigned pattern_of(const struct span *, int cell, int above);

#endif
