/*
 * Watchers: threads that wait until any of several objects is ready (shk_wait_any(), lib/poll).
 *
 * The protocol is an eventcount (Reed and Kanodia) whose waiters are all watchers of the segment,
 * with a mark at each object that has watchers. All watchers of a segment wait in one waitlist.
 *
 *     watcher                                  notifier, after a commit that makes an object ready
 *     PW2: mark each object of the set         PW4: fence
 *     PW3: heavy fence                         PW5: if the object is marked: clear the mark,
 *     lock the waitlist; PW1: enter it              and if it was set: request the release of
 *     PW6: all marks still set? else PW2, PW3       all watchers
 *     check all objects: leave if one is ready
 *     unlock; sleep for a recheck interval at most
 *     … and once more from the top, until an object is ready
 *
 * Either the watcher's check sees the commit, or the notifier sees the mark: PW4 is sequentially
 * consistent, or, of a queue, the light fence EC1. PW3 is heavy and slow, so it stands before the
 * mutex.
 *
 * PW6: a mark that a notifier clears between PW2 and PW1 does not release the watcher, which is not
 * in the waitlist yet. Without the second check of the marks that watcher would sleep unmarked. A
 * mark that is cleared after PW6 is one whose notifier comes to the waitlist after the watcher.
 *
 * PW5: the notifier does not wait for the waitlist's mutex. A request that it cannot carry out
 * itself is carried out by the holder of the mutex: see shki_waitlist_request(). So a mark that has
 * been cleared is always answered, and only a death can make the answer late.
 *
 * All watchers of the segment check their objects then. That is the price of one waitlist. The
 * alternative, lists at each object, would have to be searched for dead watchers at each. A mark
 * that is left behind by the last watcher costs one needless request.
 *
 * A queue has the mark in the word that it reads anyway after a commit, one for each side: the
 * flags of an eventcount; there EC1 is PW4.
 *
 * Edges: an event that is set and cleared has released its waiters, and so has a queue that is shut
 * down and opened again. shki_watch.since is their count when the wait began.
 *
 * Killed anywhere, or stopped with the mutex: the watchers check at the end of their recheck
 * interval. Only watchers depend on the waitlist.
 */
#ifndef SHKI_WATCH_H
#define SHKI_WATCH_H

#include "object/object.h"

#include <shmkit/ready.h>

/*
 * The mark: threads watch the object, or did so not long ago. A notifier clears it. In the flags of
 * an eventcount it is the bit that is the object's.
 */
enum { SHKI_WATCHERS = 2 };

/* One object of a set, and the side of it that is waited for. */
struct shki_watch {
    struct shki_object *object;
    _Atomic unsigned *refs;    /* of the handle */
    _Atomic uint32_t *watched; /* where the mark is: SHKI_WATCHERS */
    void *handle;
    /* what note() noted: how often it had been set, or shut down, when the wait began */
    uint64_t since;
    void (*note)(struct shki_watch *); /* or NULL */
    /* loads only; whether it has been unlinked is another question */
    bool (*is_ready)(const struct shki_watch *);
    /* of an object that lies elsewhere: 0, or why it cannot be waited for any more */
    int (*is_gone)(const struct shki_watch *);
    /* CLOCK_MONOTONIC, ns: when it becomes ready by itself, SHKI_NEVER; or NULL */
    int64_t (*ready_at)(const struct shki_watch *);
    void (*repair)(void *handle); /* repair what keeps it from being ready; or NULL */
    /* not 0: only a repair finds that it is ready, so no recheck interval grows; NULL: as 0 */
    const _Atomic uint64_t *prompt;
    void (*unref)(void *handle); /* close a handle that has been referenced */
    /* a queue on etcd: as struct shki_roles has it, of the line that is heeded; UINT64_MAX: none */
    uint64_t ended_before;
};

/*
 * This process's view of the waitlist of all watchers; NULL: no memory for it. A segment that has
 * been opened can do without it until a thread watches.
 */
struct shki_waitlist *shki_watchers(struct shk_segment *);

/* Release all watchers of the segment; take the dead out of their waitlist. */
void shki_watchers_wake(struct shk_segment *);
void shki_watchers_reap(struct shk_segment *);

/* PW5, after a commit and PW4. */
static inline void shki_watched_wake(struct shk_segment *s, _Atomic uint32_t *watched)
{
    if (unlikely(load_relaxed(watched) != 0) && exchange_relaxed(watched, 0))
        shki_watchers_wake(s);
}

#endif
