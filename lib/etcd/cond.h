/*
 * A condition on etcd. Its lock is a lock on etcd: another object, or its own, whose keys are among
 * the condition's; see lock.h.
 *
 *     wait/T     a thread that waits, with its process's lease
 *     mark/T     it has been notified; stays if its process dies
 *     all        written by each notify of all: what waits since before it has been notified
 *     notified   nonce of the last notify
 *
 *     wait                                       notify, with the lock held
 *     compare the lock's holder is mine          compare the lock's holder is mine
 *     delete holder, held; put wait/T            compare no wait/ has been written since
 *     sleep until mark/T, or all                 compare the first n of wait/ are there, unmarked
 *     acquire the lock                           put mark/T of each, or all; put notified
 *     delete wait/T, mark/T: was it marked?
 *
 * The waiter is in the line with the same transaction that gives up the lock, so no notifier misses
 * it. It leaves the line with the lock held. If it dies before, its mark is left without it, and
 * the next one that waited when the notifier came takes it over: it compares that the other's key
 * is gone and its own is there, and puts its own mark in place of the other's.
 *
 * Twice, or late: a wait compares the holder's create_revision, a notify too, and the wait keys and
 * marks of which it makes use; `notified` tells a notifier that its request has been carried out,
 * and how many it has marked. A wait whose reply was lost finds its wait/T. A leave is asked for
 * with the lock held, when no mark comes any more: one that does not know of its own asks for that
 * first. So what it deletes is known, also when its reply is lost.
 */
#ifndef SHKE_COND_H
#define SHKE_COND_H

#include "etcd/line.h"
#include "etcd/lock.h"

struct shke_cond {
    struct shke_lock lock;        /* the object, and its own lock */
    char given[SHK_NAME_MAX + 1]; /* name of a lock that was given; "": it has its own */
    int64_t given_created;

    /* ---- With the object's lock ---- */
    struct shke_line line;  /* wait/ */
    struct shke_line marks; /* mark/; the numbers: the revision of the notify, 0: the mark's own */
    int64_t all, all_known; /* mod_revision */
};

/* Ask the servers, and note what they say: the revision, or an error. Without the object's lock. */
int64_t shke_cond_look(struct shke_cond *, const struct shke_trial *);

/* What the watch tells of its waiters. With the object's lock. */
void shke_cond_event(struct shke_cond *, const struct shke_kv *, bool deleted);

/* With the object's lock: whether the waiter has been notified, as far as is known. */
bool shke_cond_is_marked(const struct shke_cond *, const char *name, int64_t created);
/* … the next waiter that a mark has to go to, and the mark of a dead one; NULL: none. */
const struct shke_spot *shke_cond_next(const struct shke_cond *, const struct shke_spot **mark);

/*
 * Take that mark over, as that waiter: 0, or as shke_call(). With the lock, which is not held over
 * the request.
 */
int shke_cond_take_over(struct shke_cond *, const struct shke_spot *mark,
                        const struct shke_ticket *, const struct shke_trial *);

/*
 * Without locks. Enter the line and give up the lock of that token: 0; 1: it is not held so any
 * more, or a sending that was refused may give it up yet; -ESTALE: the condition is gone; or as
 * shke_call(). *revision of the reply.
 */
int shke_cond_enter(struct shke_cond *, struct shke_lock *, int64_t token, struct shke_ticket *,
                    const struct shke_trial *, int64_t *revision);
/* Leave it: *marked. 0, or as shke_call(). With the object's lock, which is not held over it. */
int shke_cond_leave(struct shke_cond *, const struct shke_ticket *, bool *marked,
                    const struct shke_trial *);
/*
 * Notify up to n, UINT32_MAX: all. How many; -EAGAIN: as things were known, it could not be;
 * -ESTALE; or as shke_call(). *nonce: "" at first, the same each time. *holds: whether the lock is
 * held so. With the object's lock, which is not held over the request.
 */
int shke_cond_mark(struct shke_cond *, const struct shke_lock *, int64_t token, unsigned n,
                   const char *nonce, bool *holds, const struct shke_trial *);

/* ---- cond_txn.c: see sight.h ---- */

void shke_cond_sight_look(struct shke_txn *, const char *prefix);
int shke_cond_sight_tell(struct shke_sight *, struct shk_object_info *);

#endif
