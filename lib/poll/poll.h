/*
 * Waiting for any of several objects. A thread that does it is a watcher, and stands in one line
 * that the segment has for all watchers:
 *
 *     watcher                                  waker, after a commit that makes an object ready
 *     A2: watched |= WATCHERS, at each object  fence A4
 *     fence A3                                 A5: if watched & WATCHERS: clear it, and
 *     lock; A1: enter the line                     if it was set: ask the line to release all
 *     A6: all marks still there? else A2, A3
 *     look: any ready? then leave the line
 *     unlock; sleep, a slice at most
 *
 * Either the watcher's look sees the commit, or the waker sees the mark: A4 is sequentially
 * consistent, or, of a queue, F2, which is light; A3 is a heavy fence, and long: it comes before
 * the mutex. A mark that a waker clears between A2 and A1 does not release the watcher, which is
 * not in the line yet; so it looks for its marks once it is. A mark that is cleared after A6 is one
 * whose waker comes to the line after the watcher. The waker does not wait for the mutex: a request
 * that it cannot carry out itself is carried out by the one that has the mutex, see
 * shki_waitlist_request(). So a mark that has been taken down is always answered, and only a death
 * can make it late.
 *
 * All watchers of the segment look again then, whatever they wait for: the price of having one line
 * and no lists at each object, where the dead would have to be looked for. When they have all gone
 * a mark may stay behind, and costs one needless look at the line.
 *
 * A queue has the mark in the word that it reads anyway after a commit, one for each side:
 * shki_bed.flags, and F2 is A4.
 *
 * Edges. An event that is set and cleared at once has released its waiters, and so has a
 * queue that is shut down and opened again: `since` is their count when the wait began.
 *
 * Killed anywhere, or stopped with the mutex: the watchers look again at the end of their slice.
 * Nothing but they depends on the line.
 */
#ifndef SHKI_READY_H
#define SHKI_READY_H

#include "object/object.h"

#include <shmkit/ready.h>

struct shk_event;
struct shk_reader;
struct shk_semaphore;

/* One object of a set, and the side of it that is waited for. */
struct shki_watch {
    struct shki_object *object;
    _Atomic unsigned *refs; /* of the handle */
    _Atomic uint32_t *watched;
    void *handle;
    /* what note() noted: how often it had been set, or shut down, when the wait began */
    uint64_t since;
    void (*note)(struct shki_watch *); /* or NULL */
    /* loads only; whether it has been unlinked is another question */
    bool (*is_ready)(const struct shki_watch *);
    void (*look_after)(void *handle); /* repair what keeps it from being ready; or NULL */
    void (*unref)(void *handle);      /* close a handle that has been kept */
};

struct shki_set {
    struct shki_watch watches[SHK_READY_MAX];
    unsigned n;
    unsigned first; /* where to look first */
    bool waits;     /* a wait has begun that has not been told anything yet */
};

void shki_event_watch(struct shk_event *, struct shki_watch *);
void shki_semaphore_watch(struct shk_semaphore *, struct shki_watch *);
void shki_reader_watch(struct shk_reader *, struct shki_watch *);

/* Check what a caller wants, and enter its segment: 0 or an error. */
int shki_set_open(struct shki_set *, const struct shk_ready *wanted, unsigned n,
                  struct shki_member **);

/*
 * Wait until one is ready: its index, or the end of deadline, -ESTALE, -EBADF. After -ETIMEDOUT the
 * next call is the same wait.
 */
int shki_set_wait(struct shki_set *, struct shki_member *, const struct shki_deadline *);

/*
 * This process's view of the line of all watchers; NULL: no memory for it, which no segment that
 * has been opened needs.
 */
struct shki_waitlist *shki_watchers(struct shk_segment *);

/* Release all watchers of the segment; take the dead out of their line. */
void shki_watchers_wake(struct shk_segment *);
void shki_watchers_reap(struct shk_segment *);

/* A5, after a commit and A4. */
static inline void shki_watched_wake(struct shk_segment *s, _Atomic uint32_t *watched)
{
    if (unlikely(load_relaxed(watched) != 0) && exchange_relaxed(watched, 0))
        shki_watchers_wake(s);
}

#endif
