/* What several workloads need: a segment of the run's own, POSIX objects in shared memory. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include "bench.h"

#include <pthread.h>
#include <shmkit.h>

/* The role gives up, with shmkit's own words, unless a call has succeeded. */
void must(long long result);

/* The segment of the run, opened and created; options may be NULL. */
struct shk_segment *common_segment(const struct shk_segment_options *);
/* For in_child(). */
void common_unlink(void *unused);

/* Process-shared. */
void shared_mutex(pthread_mutex_t *, bool robust);
void shared_cond(pthread_cond_t *);
/* Zeroed, for all processes forked after this; NULL: see team_trouble(). */
void *shared_memory(size_t size);

/* xorshift64 */
static inline uint64_t random_number(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
