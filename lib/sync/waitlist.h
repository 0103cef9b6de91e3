/*
 * A waitlist: the members that wait on an object, first come first served. Killed at any
 * instruction, a member leaves a list that the next holder of its mutex can put in order.
 *
 * Source: a queue of waiters with one semaphore each, as in nsync's condition variables; the state
 * from which links are made anew after a death is new here.
 *
 * What always holds. The nodes are the truth: each says in which list it is (WL1), with which
 * ticket, and whether it has been notified (WL2). A broadcast is one store to the list (WL3), which
 * releases all nodes with lower tickets. Links, first, last and count follow from that. They are
 * made anew from the nodes when a member has died with the mutex.
 *
 *              enter                 notify, or broadcast           resume (without the mutex)
 *     not in ----------> waiting, -------------------------> released, -----------> not in
 *                        linked                              not linked
 *                           |
 *                           +--- withdraw (with the mutex) -----------------------> not in
 *
 * The loop to write:
 *
 *     waiter                                   notifier
 *     lock                                     lock
 *     condition holds? then unlock, done       make the condition hold
 *     enter                                    notify, or notify_all with a verdict
 *     unlock                                   unlock (unparks those that were released)
 *     r = sleep; r < 0? it is not in the list
 *     use what it was released for
 *     resume
 *
 * A release has a verdict, which is stored in each node before the store that commits the release.
 * The waiter reads it there. What happens to the object between the release and the moment at which
 * the waiter runs (a new round, a reset, an unlink) does not change what it is told.
 *
 * Killed where:
 *   - A waiter before WL1, or after resume: it was not in the list, or is not any more.
 *   - A waiter that was not released: it is reaped, by the first living waiter or a leader (see
 *     leader.h) at a recheck interval, or by a notifier that comes to its node.
 *   - A waiter after its notification and before resume: the notification is forwarded to the next
 *     that was waiting at that time (notify_bound), so that a wake-up is not lost with a waiter.
 *   - A holder of the mutex: the next holder rebuilds the links, and unparks all that are released.
 *   - A notifier after the release and before it has unparked all: they see it at the end of a
 *     recheck interval.
 * If no waiter has checked for two recheck intervals (the first is stopped), any other does.
 *
 * What another order would cause:
 *   - resume before what the waiter was released for is in its hands: killed between the two, it
 *     takes a notification with it that is not forwarded.
 *   - `list` stored (WL1) before ticket and state: a rebuild links a node by an old ticket.
 *   - A node's fields read by a rebuild and not compared with `list` again (WL4): a released owner
 *     leaves without the mutex, enters another list, and is linked into both.
 *
 * The models: tests/model/waitlist.pml (notifications without a loss, and first come first served),
 * tests/model/waitlist_leave.pml (WL4), tests/model/poll.pml (requests: WL5, WL6).
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
    /* the object's, to see that it is stale; NULL: the list is the segment's, and stale with it */
    const struct shki_entry *entry;
    uint64_t serial;
    struct shki_repairs *repairs;
    /* What the object itself has to do, with the mutex; each may be NULL. */
    /* after the list has been rebuilt, or waiters that were not released have left it */
    void (*recover)(struct shki_waitlist *);
    /* whether recover() has anything to do: checked once a recheck interval; without the mutex */
    bool (*is_due)(const struct shki_waitlist *);
    /* before a waiter leaves that was not released: it gave up or died */
    void (*on_leave)(struct shki_waitlist *);
    bool takes_back;     /* see shki_waitlist_take_back() */
    bool takes_requests; /* see shki_waitlist_request() */
    struct shki_spinner spinner;
    uint32_t *order; /* room for one number a member; used with the mutex only */
    /* members to unpark after the unlock. Those beyond the array are unparked before it */
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
 * The mutex, held for moments only: 0; -EBUSY when another thread has had it for 10 s. Repairs what
 * a dead holder left.
 */
int shki_waitlist_lock(struct shki_waitlist *);
/*
 * By a waiter that must not leave things as they are: the same, and it waits on while a thread that
 * is stopped has the mutex. 0; or an error, if the mutex is damaged.
 */
int shki_waitlist_lock_again(struct shki_waitlist *);

void shki_waitlist_unlock(struct shki_waitlist *);
/*
 * The same for a notifier that holds a lock which the released waiters lock next: they are unparked
 * when it unlocks that, and so do not find it held. See shki_unpark_released().
 */
void shki_waitlist_unlock_quietly(struct shki_waitlist *, struct shki_member *);

/* With the mutex: put the calling thread at the end of the list. `wants`: how much it waits for. */
void shki_waitlist_enter_for(struct shki_waitlist *, struct shki_member *, uint32_t wants);
static inline void shki_waitlist_enter(struct shki_waitlist *l, struct shki_member *m)
{
    shki_waitlist_enter_for(l, m, 1);
}

/*
 * Without the mutex, having entered: wait to be released. Returns 0: released, with a verdict other
 * than SHKI_UNLINKED, and to be followed by shki_waitlist_resume(); -ETIMEDOUT, -EAGAIN, -EINTR,
 * -ESTALE: not released, or because the object was unlinked, and not in the list any more.
 */
int shki_waitlist_sleep(struct shki_waitlist *, struct shki_member *, const struct shki_deadline *);

/* Without the mutex, released and not resumed yet: what for. */
enum shki_verdict shki_waitlist_verdict(const struct shki_member *);

/*
 * Without the mutex: what the caller was released for is in its hands. Killed before: its
 * notification is forwarded.
 */
void shki_waitlist_resume(struct shki_member *);

/*
 * With the mutex: release the first n living, to go on. Returns how many. Where waiters want more
 * than one each: the first that want n together; a waiter that wants more than is left ends it, and
 * those behind it wait on. Returns how much was wanted.
 */
unsigned shki_waitlist_notify(struct shki_waitlist *, unsigned n);

/*
 * With the mutex: what the next waiter that can be notified wants; 0: there is none. One whose
 * notification has been taken back cannot.
 */
uint32_t shki_waitlist_next_wants(const struct shki_waitlist *);

/* With the mutex: release all. Returns how many are living. */
unsigned shki_waitlist_notify_all(struct shki_waitlist *, enum shki_verdict);

/*
 * Without the mutex, and without waiting for it: release all, to go on. A request is counted (WL5)
 * before the mutex is tried; a member that has the mutex reads the count after it has unlocked, and
 * answers the request then:
 *
 *     requester                            holder
 *     WL5: requested++                     unlock
 *     WL6: fence                           WL6: fence
 *     WL6: try the mutex                   WL6: requested != answered? then try the mutex
 *     answer, unlock, and check again      answer, unlock, and check again
 *
 * Either the requester gets the mutex or the holder sees the request. Killed in between, or the
 * holder is stopped: the waiters find what they wait for at the end of their recheck interval.
 */
void shki_waitlist_request(struct shki_waitlist *);

/*
 * Whether no member waits. With the mutex; or without it, by a caller that keeps others from
 * entering by a lock. It never says so wrongly, whichever member died where: the count is raised
 * before a waiter unlocks that lock, lowered only after a waiter has been released or has left, and
 * rebuilt with one store.
 */
static inline bool shki_waitlist_is_empty(const struct shki_waitlist *l)
{
    /*
     * Relaxed: that lock orders the caller after the entering of the waiters that it must not miss,
     * and no later value leaves out one of them that still waits.
     */
    return load_relaxed(&l->shared->count) == 0;
}

/* Whether what the list belongs to has been unlinked. Loads only. */
bool shki_waitlist_is_stale(const struct shki_waitlist *);

/*
 * With the mutex, of a list that takes back: the notifications that are older than a recheck
 * interval. Their waiters are stopped, or do not get a CPU. Each waits again, in its old place, but
 * is not notified until it runs. So it cannot keep from the others what it was to have.
 */
void shki_waitlist_take_back(struct shki_waitlist *);

/*
 * With the mutex, after shki_waitlist_sleep() has returned 0: true if the notification has been
 * taken back meanwhile. Then the caller waits again, and can be notified again.
 */
bool shki_waitlist_was_taken_back(struct shki_waitlist *, struct shki_member *);

/* With the mutex: how much those want that have been notified and have not resumed yet. */
uint32_t shki_waitlist_notified(struct shki_waitlist *);

/*
 * With the mutex: recover those of them that are dead and not marked by the kernel. A system call
 * each.
 */
void shki_waitlist_recover(struct shki_waitlist *);

/* With the mutex: take dead members out of the list and forward their notifications. */
void shki_waitlist_reap(struct shki_waitlist *);

#endif
