/*
 * Waiting for any of several objects. Whoever does it is a watcher, and stands in one line that the segment has for all watchers:
 *
 *     watcher                                          who makes an object ready, after its commit
 *     A1: enter the line                               fence A4
 *     A2: watched |= WATCHERS, at each object          A5: if watched & WATCHERS: clear it, and if it was set:
 *     fence A3                                             release all who are in the line
 *     look: any ready? then leave the line
 *     sleep, a slice at most
 *
 * Either the watcher's look sees the commit, or the other sees the flag: A4 is sequentially consistent, or, of a queue, F2, which is light; A3 is a heavy fence. A1 to the look happen with the line's
 * mutex, and so does the release: who is in the line when the flag is cleared is released, who comes later sets it anew. All watchers of the segment look
 * again then, whatever they wait for: the price of having one line and no lists at each object, where the dead would have to be looked for.
 * When they have all gone a flag may stay behind, and costs one needless look at the line.
 *
 * A queue has the flag in the word that it reads anyway after a commit, one for each side: shki_bed.flags, and F2 is A4.
 *
 * Killed anywhere, or stopped with the mutex: the watchers look again at the end of their slice. Nobody but they depends on the line.
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
    _Atomic unsigned *keepers; /* of the handle */
    _Atomic uint32_t *watched;
    void *handle;
    bool (*is_ready)(const void *handle); /* loads only */
    void (*look_after)(void *handle);     /* repair what keeps it from being ready; or NULL */
    void (*let_go)(void *handle);         /* close a handle that has been kept */
};

struct shki_set {
    struct shki_watch watches[SHK_READY_MAX];
    unsigned n;
    unsigned first; /* where to look first */
};

void shki_event_watch(struct shk_event *, struct shki_watch *);
void shki_semaphore_watch(struct shk_semaphore *, struct shki_watch *);
void shki_reader_watch(struct shk_reader *, struct shki_watch *);

/* Check what a caller wants, and enter its segment: 0 or an error. */
int shki_set_open(struct shki_set *, const struct shk_ready *wanted, unsigned n, struct shki_membership **);

/* Wait until one is ready: its index, or the end of patience, -ESTALE, -EBADF. */
int shki_set_wait(const struct shki_set *, struct shki_membership *, const struct shki_patience *);

/* Release all watchers of the segment; take the dead out of their line. */
void shki_watchers_wake(struct shk_segment *);
void shki_watchers_bury(struct shk_segment *);

/* A5, after a commit and A4. */
static inline void shki_watched_wake(struct shk_segment *s, _Atomic uint32_t *watched)
{
    if (__builtin_expect(atomic_load_explicit(watched, memory_order_relaxed) != 0, 0) && atomic_exchange_explicit(watched, 0, memory_order_relaxed))
        shki_watchers_wake(s);
}

#endif
