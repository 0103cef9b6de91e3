#ifndef BENCH_EMPTY_H
#define BENCH_EMPTY_H

#include <stdatomic.h>
#include <stdint.h>

__attribute__((visibility("default"))) int bench_empty(const _Atomic uint32_t *word);

#endif
