/*
 * What the two sides of a queue learn from how calls went, and the constants that were measured for
 * it. All of it is private to the process and a guess: threads race on it harmlessly, and nothing
 * but speed and fairness depends on it.
 *
 *   - Turns. A side that stays awake takes every item before a consumer that was woken for it runs.
 *     That is what makes it fast; after a turn it lets the sleepers have one (eventual fairness).
 *   - Spared wake-ups. A wake-up costs 5 to 50 us of system call and scheduling. A notifier waits a
 *     moment: a thread that is awake may use the change, and then no sleeper need be woken.
 *   - Slip. A consumer one item behind its producer moves a cache line between processors for each
 *     item. It backs off for a moment, and then finds many (temporal slipping: Giacomoni, Moseley
 *     and Vachharajani, "FastForward", PPoPP 2008).
 *   - Hybrid poll. A consumer whose latest wait was a short one checks the slot of the next item
 *     itself, without the slow loop's lock and accounts. It pauses until the item is about to come:
 *     each poll before that takes the line from the producer that is going to write it (the hybrid
 *     polling of Linux's block layer).
 */
#ifndef SHKI_ADAPTIVE_H
#define SHKI_ADAPTIVE_H

#include "base/atomic.h"
#include "base/hooks.h"
#include "base/spin.h"

#include <stdbool.h>
#include <stdint.h>

/* Every 16th wait reads the clock, to see whether the turn is over: bench row W2. */
#define SHKI_CLOCK_EVERY 16u

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

/* ---- Slip: one for each side of a ring, with the side's lock ---- */

struct shki_slip {
    uint32_t close; /* checks in a row that have found hardly anything */
    /* in a row; each doubles how often it must have been close to back off again */
    uint32_t failed_backoffs;
};

/* Checks: so often in a row a side must have been close to back off. Bench row W1/8. */
#define SHKI_SLIP_CLOSE 4u
/*
 * A pause instruction, times so many, is how long a side backs off at least: bench row W1/8. A ring
 * with fewer slots is full before that, and its sides do not back off.
 */
#define SHKI_SLIP_PAUSES 64

static inline __attribute__((always_inline)) bool shki_slip_is_too_close(const struct shki_slip *s,
                                                                         uint64_t capacity)
{
    return s->close >= SHKI_SLIP_CLOSE << s->failed_backoffs && capacity >= SHKI_SLIP_PAUSES;
}

/*
 * A side that finds its items without the other side's count: whether it should read that count, to
 * learn how close it is. When it is known to be close it does so seldom, since that is the line
 * which the words in the slots spare.
 */
static inline __attribute__((always_inline)) bool shki_slip_should_measure(struct shki_slip *s,
                                                                           uint64_t capacity)
{
    if (s->close < SHKI_SLIP_CLOSE || shki_slip_is_too_close(s, capacity))
        return true;
    s->close++;
    return false;
}

/* `stride`: bytes of a slot. */
void shki_slip_back_off(uint64_t stride);

/* The side has checked, after it backed off or not, and found n items, or n free slots. */
void shki_slip_learn(struct shki_slip *, uint64_t capacity, bool backed_off, uint64_t n);

/* ---- Hybrid poll: of the consumers of a ring ---- */

struct shki_poll_estimate {
    /* How many pauses until the next item is there, in sixteenths of a pause. */
    _Atomic uint32_t sixteenths;
};

#define SHKI_POLLS 64u /* polls: then the consumer goes to sleep; about 2 us: bench row W3 */

/*
 * Whether a consumer may poll for the next item. Every 16th time it may not: the slow loop sees to
 * it that other threads get a turn.
 */
bool shki_adaptive_may_poll(struct shki_adaptive *);

/* Pauses before the first poll; 0: the next item is there as a rule, or nothing is known. */
static inline unsigned shki_poll_pauses(const struct shki_poll_estimate *e)
{
    return load_relaxed(&e->sixteenths) / 16;
}

/* After those pauses the item was found by so many polls that missed; or not, with SHKI_POLLS. */
void shki_poll_learn(struct shki_poll_estimate *, unsigned misses);

#endif
