/*
 * What each heuristic of the library brings: its rows are measured with it and without it, turn by
 * turn. Only the program that is built with the library's test hooks can switch one off:
 * tests/bench/without, "make bench-without".
 */
#ifndef BENCH_WITHOUT_H
#define BENCH_WITHOUT_H

#include "bench.h"

#define VARIANTS_MAX 64

/* Read "slip,poll", or "all"; false: no such heuristic, or it cannot be switched off here. */
bool without_parse(const char *names);
void without_list(void);

/* The subjects that a row is to be measured with, 0: the row shows nothing of what is asked for. */
size_t without_variants(const struct contest *, const struct subject *subjects, size_t number,
                        struct subject variants[VARIANTS_MAX]);

/* Around each measurement: the processes that start meanwhile go without it. */
void without_begin(const struct subject *);
void without_end(void);

void report_without(void);

#endif
