/* An event in shared memory. */
#ifndef SHKI_EVENT_H
#define SHKI_EVENT_H

#include "object/object.h"

/*
 * An event has no waitlist, since a set releases all waiters: they sleep on one word. Each change
 * of the word is one atomic operation of any thread, so there is nothing to repair.
 *
 *      63                                             3          2             1        0
 *     +-------------------------------------------------+----------+-------------+-------+
 *     | how often it has been set, having been clear    | UNLINKED | NEED_WAKEUP |  SET  |
 *     +-------------------------------------------------+----------+-------------+-------+
 */
enum {
    SHKI_EVENT_SET = 1,
    /*
     * Clear, and a waiter sleeps, or did. Set by a waiter before it sleeps, cleared by a set. Never
     * together with SET.
     */
    SHKI_EVENT_NEED_WAKEUP = 2,
    /*
     * For ever. Wakes the waiters without counting as a set, so that a waiter can tell a set from
     * an unlink.
     */
    SHKI_EVENT_UNLINKED = 4,
    SHKI_EVENT_ONCE = 8 /* one more set */
};

struct shki_event_shared {
    struct shki_repairs repairs;
    /* EV1. A waiter has been released when the count is another than when its wait began. */
    alignas(64) _Atomic uint64_t state;
    _Atomic uint32_t watched;    /* SHKI_WATCHERS or 0: see watch.h */
    _Atomic uint32_t followers;  /* changed by waiters: see sync/leader.h */
    _Atomic uint64_t leaders[2]; /* likewise */
};

extern const struct shki_kind shki_event_kind;

#endif
