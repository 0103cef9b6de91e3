/*
 * A broadcast: a word that any number of waiters sleep on (futex), and that a sender changes for
 * all of them at once. An event and a value have one.
 *
 *     waiter                                       sender
 *     EV1: read the state                          EV1: state += ONCE, &= ~NEED_WAKEUP
 *     state |= NEED_WAKEUP                         was NEED_WAKEUP set? then wake all
 *     sleep while the state is as it was,          PW4, PW5: watchers
 *       for a recheck interval at most
 *     EV1: count another? then done
 *
 * A waiter is released by a count that is another than when its wait began, whatever came after.
 *
 * NEED_WAKEUP is in the word that the kernel compares before it puts a waiter to sleep, and that a
 * sender changes. In a word of its own it could be cleared between the waiter's check and its
 * sleep, and the waiter would sleep through the broadcast. A waiter that is killed or gives up
 * leaves the flag, which costs the next sender one needless system call.
 *
 * Each change of the word is one atomic operation of any thread, so there is nothing to repair. A
 * sender that is killed before it has woken the waiters: they find out at the end of their recheck
 * interval.
 *
 * The model: tests/model/event.pml.
 */
#ifndef SHKI_BROADCAST_H
#define SHKI_BROADCAST_H

#include "object/object.h"

/*
 *      63                                             3          2             1           0
 *     +-------------------------------------------------+----------+-------------+--------------+
 *     | how often it has been sent                      | UNLINKED | NEED_WAKEUP | the object's |
 *     +-------------------------------------------------+----------+-------------+--------------+
 */
enum {
    SHKI_BROADCAST_OBJECT = 1, /* set: nothing to wait for */
    /* A waiter sleeps, or did. Set by a waiter before it sleeps, cleared by a sender. */
    SHKI_BROADCAST_NEED_WAKEUP = 2,
    /*
     * For ever. Wakes the waiters without counting, so that a waiter can tell a broadcast from an
     * unlink.
     */
    SHKI_BROADCAST_UNLINKED = 4,
    SHKI_BROADCAST_ONCE = 8 /* one more */
};

struct shki_broadcast_shared {
    /* EV1. A waiter has been released when the count is another than when its wait began. */
    alignas(64) _Atomic uint64_t state;
    _Atomic uint32_t watched;    /* SHKI_WATCHERS or 0: see watch.h */
    _Atomic uint32_t followers;  /* changed by waiters: see sync/leader.h */
    _Atomic uint64_t leaders[2]; /* likewise */
};

/*
 * EV1: acquire; pairs with the release in shki_broadcast_count(): a thread that sees the count, or
 * the object's bit, sees what the sender did before.
 */
static inline uint64_t shki_broadcast_state(const struct shki_broadcast_shared *b)
{
    return load_acquire(&b->state);
}

/* How often it has been sent. */
static inline uint64_t shki_broadcast_sent(uint64_t state)
{
    return state / SHKI_BROADCAST_ONCE;
}

/* Whether it has been sent since the state `since`, or the object's bit is set. */
static inline bool shki_broadcast_has_come(uint64_t state, uint64_t since)
{
    /* the bit with the same count is seen only where the word is damaged */
    return (state ^ since) >= SHKI_BROADCAST_ONCE || state & SHKI_BROADCAST_OBJECT;
}

/*
 * Send: count, which commits, and then wake with what count returned, the state before. `object`:
 * 0, or SHKI_BROADCAST_OBJECT to set the bit; if it is set already, nothing is counted.
 */
uint64_t shki_broadcast_count(struct shki_broadcast_shared *, uint64_t object);
void shki_broadcast_wake(struct shk_segment *, struct shki_broadcast_shared *, uint64_t before);

/*
 * Wait until it has come since the state `since`: 0, -ESTALE, and what ends the deadline. `spinner`
 * is the handle's.
 */
int shki_broadcast_wait(struct shki_object *, struct shki_broadcast_shared *, struct shki_spinner *,
                        const struct shki_member *, uint32_t waits_for, uint64_t since,
                        const struct shki_deadline *);

/* For the kind: the object has been unlinked; wake all, for whatever reason. */
void shki_broadcast_unlink(struct shki_broadcast_shared *);
void shki_broadcast_wake_all(struct shki_broadcast_shared *);

#endif
