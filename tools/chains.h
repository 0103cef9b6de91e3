/* What blocked members wait for, and what that waits for, in sentences. */
#ifndef SHMCTL_CHAINS_H
#define SHMCTL_CHAINS_H

#include "verdict.h"

/* By enum verdict: "waiting", "deadlocked" */
extern const char *const verdict_names[];

/* "waits to put into bank/jobs, for 3.0s" */
void print_wait(FILE *to, const struct thread *);

/*
 * Each thread that is wanted, with the holder of what it waits for, what that one waits for, and so
 * on: the worst first, and a circle once.
 */
void print_chains(FILE *to, const struct world *,
                  bool (*is_wanted)(const struct world *, const struct thread *, const void *),
                  const void *arg);

#endif
