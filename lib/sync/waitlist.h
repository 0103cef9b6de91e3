/*
 * A waitlist: the members that wait on an object, first come first served, proof against deaths.
 *
 * The nodes are the truth: each says in which list it is (L1), with which ticket, and whether it
 * has been notified (L2). A broadcast is one store to the list (L3). Links, first, last and count
 * follow from that, and are rebuilt from it when a process has died while changing them.
 *
 *              enter                    notify, or broadcast               resume (owner, without the mutex)
 *     not in ------> waiting, linked -----------------------> released,
 *     ------------------------------------> not in
 *                         |                                   not linked
 *                         +--- withdraw (owner, with the mutex)
 *                         ------------------------------------------------^
 *
 * A release has a verdict, which is stored in each node before the store that commits the release.
 * The waiter reads it there: what happens to the object between the release and the moment at which
 * the waiter runs (a new round, a reset, an unlink) does not change what it is told.
 *
 * A wake-up that a notify gave to a member which dies before it resumes is passed on to the next
 * that was waiting then. The first living waiter and the leaders (see leader.h) look for that at
 * each of their slices; if none has for two, any other does.
 */
#ifndef SHKI_WAITLIST_H
#define SHKI_WAITLIST_H

#include "base/spin.h"
#include "segment/directory.h"
#include "segment/member.h"

/* One process's view of a waitlist: part of the handle of the object that it belongs to. */
struct shki_waitlist {
    struct shk_segment *segment;
    struct shki_waitlist_shared *shared;
    uint64_t offset; /* of the shared part */
    /* the object's, to see that it is stale; NULL: the line is the segment's, and stale with it */
    const struct shki_entry *entry;
    uint64_t serial;
    struct shki_repairs *repairs;
    /* What the object itself has to do, with the mutex; each may be NULL. */
    /* after the line has been rebuilt, or dead waiters taken out of it */
    void (*finish)(struct shki_waitlist *);
    /* a notification that its waiter does not make use of for a slice goes to the next */
    bool takes_back;
    bool asks; /* it is released by shki_waitlist_request(), too */
    /* before a waiter leaves it that was not released: it gave up or died */
    void (*left)(struct shki_waitlist *);
    struct shki_spinner spinner;
    uint32_t *order; /* room for one number a member; used with the mutex only */
    /* members, as soon as the mutex is unlocked; likewise. More are unparked with it held */
    uint32_t to_unpark[SHKI_UNPARK_LATER], n_to_unpark;
    uint32_t leaders[2], n_leaders; /* … after all others */
};

/* Initialise the shared part, in zeroed memory. 0 or -errno. */
int shki_waitlist_init(struct shki_waitlist_shared *);

/*
 * Prepare a view; the other members are the caller's to set first. 0, -ENOMEM. close() frees what
 * it allocated.
 */
int shki_waitlist_open(struct shki_waitlist *);
void shki_waitlist_close(struct shki_waitlist *);

/*
 * The mutex, held for moments only: 0; -EBUSY when somebody has had it for 10 s. Repairs what a
 * dead holder left.
 */
int shki_waitlist_lock(struct shki_waitlist *);

void shki_waitlist_unlock(struct shki_waitlist *);
/*
 * The same for one who has a lock that those want whom it has released: they are woken when it
 * gives that up, and not to find it held. See shki_unpark_released().
 */
void shki_waitlist_unlock_quietly(struct shki_waitlist *, struct shki_member *);

/* With the mutex: put the calling thread at the end of the line. */
void shki_waitlist_enter(struct shki_waitlist *, struct shki_member *);

/*
 * Without the mutex, having entered: wait to be released. Returns 0: released, with a verdict other
 * than SHKI_UNLINKED, and to be followed by shki_waitlist_resume(); -ETIMEDOUT, -EAGAIN, -EINTR,
 * -ESTALE: not released, or because the object was unlinked, and not in the line any more.
 */
int shki_waitlist_sleep(struct shki_waitlist *, struct shki_member *, const struct shki_deadline *);

/* Without the mutex, released and not resumed yet: what for. */
enum shki_verdict shki_waitlist_verdict(const struct shki_member *);

/*
 * Without the mutex: what the caller was released for is safe now. Killed before: its wake-up is
 * passed on.
 */
void shki_waitlist_resume(struct shki_member *);

/* With the mutex: release the first n living, to go on. Returns how many. */
unsigned shki_waitlist_notify(struct shki_waitlist *, unsigned n);

/* With the mutex: release all. Returns how many are living. */
unsigned shki_waitlist_notify_all(struct shki_waitlist *, enum shki_verdict);

/*
 * Without the mutex, and without waiting for it: release all, to go on. A request is counted (L5)
 * before the mutex is tried; a member that has it sees the count when it unlocks, and does it then:
 *
 *     asker                                holder
 *     L5: asked++                          unlock
 *     fence                                fence
 *     L6: try the mutex                    L6: asked != answered? then try the mutex
 *     answer, unlock, and look again       answer, unlock, and look again
 *
 * Either the asker gets the mutex or the holder sees the request. Killed in between: the waiters
 * find what they wait for at the end of their slice; likewise if the holder is stopped.
 */
void shki_waitlist_request(struct shki_waitlist *);

/*
 * Whether nobody waits. With the mutex; or without it, by a caller who keeps others from entering:
 * the count is raised before the one who enters lets go of what that is, lowered only after one has
 * been released or has gone, and rebuilt with one store. So it never is too low, whoever died
 * where.
 */
static inline bool shki_waitlist_is_empty(const struct shki_waitlist *l)
{
    /*
     * Relaxed: the caller is ordered after the entering of those whom it must not miss, and no
     * later value leaves out any of them who still waits.
     */
    return load_relaxed(&l->shared->count) == 0;
}

/* Whether what the line belongs to has been unlinked. Loads only. */
bool shki_waitlist_is_stale(const struct shki_waitlist *);

/*
 * With the mutex, of a line that takes back: the notifications that are older than a slice. Their
 * waiters are stopped, or do not get a CPU. Each waits again, in its old place, but is passed over
 * until it runs; so it cannot keep from the others what it was to have.
 */
void shki_waitlist_take_back(struct shki_waitlist *);

/*
 * With the mutex, after shki_waitlist_sleep() has returned 0: true if the notification has been
 * taken back meanwhile. Then the caller waits again, and is not passed over any more.
 */
bool shki_waitlist_has_lost_it(struct shki_waitlist *, struct shki_member *);

/* With the mutex: how many have been notified and have not resumed yet. */
uint32_t shki_waitlist_notified(struct shki_waitlist *);

/*
 * With the mutex: have those of them recovered that are dead without the kernel's having said so. A
 * system call each.
 */
void shki_waitlist_recover(struct shki_waitlist *);

/* With the mutex: take the dead out of the line and pass on what they were given. */
void shki_waitlist_reap(struct shki_waitlist *);

#endif
