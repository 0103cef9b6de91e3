/*
 * The parts of a queue: its handle, and the beds where a side sleeps that cannot go on.
 *
 * Sleeping and waking, for the side that sleeps on `bed` until `can_go_on`:
 *
 *     sleeper                                   other side, after its commit (Q1, Q2 or Q3)
 *     S1: flags |= SLEEPER                      fence F2
 *     fence F1                                  S2: if flags & SLEEPER: clear it, and if it was set: post
 *     look: can_go_on? then do not sleep
 *     wait for the semaphore, a slice at most
 *
 * Either the sleeper's look sees the commit or the other side sees the flag: both fences are sequentially consistent. Whoever clears the flag
 * posts once, so permits do not pile up. One permit wakes one sleeper, and the flag is down then: whoever leaves after having slept, with
 * whatever result, puts the flag up again for the others and looks, as in S1, on their behalf (shki_bed_leave()).
 *
 * Killed after S1 before sleeping, or asleep: a needless post. Killed in S2 between clearing and posting, or woken and then killed:
 * a sleeper finds out at the end of its slice.
 */
#ifndef SHKI_QUEUE_H
#define SHKI_QUEUE_H

#include "object/object.h"

#include <shmkit/queue.h>

struct shk_queue {
    struct shki_object object;
    struct shki_queue_shared *shared;

    /* Validated copies. */
    uint64_t capacity, mask, stride;
    size_t item_size;
    unsigned char *slots;

    struct shki_spinner put_gate_spinner, get_gate_spinner, full_spinner, empty_spinner;
};

/* A wait of one call on one side. */
struct shki_bed_wait {
    struct shk_queue *queue;
    struct shki_membership *member;
    struct shki_bed *bed;
    struct shki_spinner *spinner;
    bool (*can_go_on)(const void *queue); /* loads only; also true when there is nothing to wait for any more: shut down, unlinked */
    uint32_t waits_for;
    int64_t timeout;
    struct shki_patience patience;
    bool begun, slept;
};

/* Wait until it is worth another try: 0, or the end of patience. */
int shki_bed_wait(struct shki_bed_wait *);

/* To be called when the call ends, with whatever result. */
void shki_bed_leave(struct shki_bed_wait *);

/* S2, after a commit. */
void shki_bed_wake_slow(struct shki_bed *);
static inline void shki_bed_wake(struct shki_bed *bed)
{
    atomic_thread_fence(memory_order_seq_cst); /* F2: the commit before this read; pairs with F1 */
    if (__builtin_expect(atomic_load_explicit(&bed->flags, memory_order_relaxed) != 0, 0))
        shki_bed_wake_slow(bed);
}

/* queue_fifo.c */
int shki_fifo_put(struct shk_queue *, struct shki_membership *, const void *item, size_t len, int64_t timeout);
ssize_t shki_fifo_get(struct shk_queue *, struct shki_membership *, void *buf, size_t size, int64_t timeout);

#endif
