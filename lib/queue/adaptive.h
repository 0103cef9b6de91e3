/*
 * What the two sides of a queue learn from how calls went, and the constants that were measured for
 * it. All of it is private to the process and a guess: threads race on it harmlessly, and nothing
 * but speed and fairness depends on it.
 *
 *   - Turns. A side that stays awake takes every item before a consumer that was woken for it runs.
 *     That is what makes it fast; after a turn it lets the sleepers have one (eventual fairness).
 *   - Spared wake-ups. A wake-up costs 5 to 50 us of system call and scheduling. A notifier waits a
 *     moment whether a thread that is awake uses the change, so that no sleeper need be woken.
 */
#ifndef SHKI_ADAPTIVE_H
#define SHKI_ADAPTIVE_H

#include "base/atomic.h"
#include "base/spin.h"

#include <stdbool.h>
#include <stdint.h>

/* Every 16th wait reads the clock, to see whether the turn is over: bench row W2. */
#define SHKI_LOOK_AT_CLOCK 16u

/* One side: of the eventcount that it notifies, and of its turns. */
struct shki_adaptive {
    _Atomic uint32_t quiet_commits; /* see sync/eventcount.h */
    _Atomic uint32_t misses;        /* turns in a row that no sleeper has made use of */
    _Atomic uint32_t waits;         /* that have not been long */
    _Atomic int64_t since;          /* ns: when the side's turn began; 0: not yet */
    _Atomic uint32_t spared;        /* wake-ups */
    struct shki_spinner others;     /* whether threads of the other side are awake */
};

/* Before a wait: whether the side has had its turn and should let sleepers have one. */
bool shki_turn_is_over(struct shki_adaptive *);
/* It has woken a sleeper: let it run. */
void shki_turn_pause(void);
/* Whether the side has moved items meanwhile, by another thread than the caller. */
void shki_turn_was_used(struct shki_adaptive *, bool used);
/* The side has slept: its next turn begins when it waits again. */
void shki_turn_ends(struct shki_adaptive *);

/*
 * Whether a wake-up may be spared: a thread that is awake has made is_used_up(arg) true within a
 * moment.
 */
bool shki_spare_wakeup(struct shki_adaptive *, bool (*is_used_up)(const void *arg),
                       const void *arg);

#endif
