/*
 * A semaphore on etcd.
 *
 *     value     without owners: the permits that are there
 *     did/P     …: what process P did last: how many it took, with a nonce
 *     held/P    with owners: how many permits process P has, likewise; with its lease
 *     wait/T    a thread that waits, and for how many permits; with its process's lease
 *
 *     take n, and no thread waits                 give n
 *     compare there is no wait/                   (without owners)
 *     (without owners)                            compare value is as it was seen
 *     compare value is as it was seen             put value + n, did/P
 *     put value - n, did/P                        (with owners)
 *     (with owners)                               compare held/P is as this process left it
 *     compare no held/ has been written since     put held/P - n
 *     put held/P + n
 *
 * A thread that waits enters the line: it puts wait/T. The first of the line takes as above, but
 * compares that its key is there and no older one is, and deletes it. So it is first come, first
 * served, also for a thread that wants more than there are.
 *
 * With owners, what is free follows from what processes hold. A held/ that has gone since it was
 * seen leaves more than was thought; one that has been written is found by the comparison. So the
 * permits of a process come back when its lease ends, and none is given twice.
 *
 * Twice, or late: what is compared has been written by the first, and never comes back. The second
 * finds the nonce of the first in did/P or held/P, which no other process writes. An acquire that
 * was given up, or refused because threads wait or a held/ was there, may be carried out late, when
 * those have gone: it leaves a nonce that no thread knows. Its permits are given back, by the
 * watch, or before the next call of this process writes that key. did/P is written before `value`:
 * the watch never tells of the permits before it tells of the nonce.
 */
#ifndef SHKE_SEMAPHORE_H
#define SHKE_SEMAPHORE_H

#include "etcd/line.h"

struct shke_semaphore {
    struct shke_object object;
    struct shke_watch *watch;
    uint32_t max;
    bool owners;
    int64_t initial; /* value, while there is no such key */

    /* ---- With the object's lock ---- */
    struct shke_line line; /* wait/ */
    struct shke_line held; /* held/ */
    int64_t value;         /* without owners, as of value_known */
    int64_t value_mod, value_known;
    /* This process's own key: did/P or held/P. */
    int64_t own_mod, own_known;       /* as it is */
    int64_t own_lease;                /* … */
    int64_t own_took, own_n;          /* what it says */
    char own_nonce[SHKE_NONCE_SIZE];  /* … */
    char last_nonce[SHKE_NONCE_SIZE]; /* of the last call that has been told its success */
    bool is_trying;                   /* a thread of this process is in a transaction */
    int64_t mine, lost;               /* permits with the lease; with one that has ended */
    int64_t lease;
    bool is_pinned; /* one reference more, because the process has permits */
};

/* A change of permits by this process. */
struct shke_permits {
    int64_t take;                     /* negative: give */
    const struct shke_ticket *ticket; /* of the line; NULL: it has not entered that */
    int64_t n;                        /* with owners: what the process has then */
    int64_t lease;                    /* … */
    char nonce[SHKE_NONCE_SIZE];
};

/*
 * Try it, and note what there is: 0; 1: it cannot be done as things were known; or as shke_call().
 * With the object's lock, which is not held over the request, and is_trying.
 */
int shke_permits_try(struct shke_semaphore *, const struct shke_permits *,
                     const struct shke_trial *);

/* Ask the servers, and note what they say: the revision, or an error. Without the lock. */
int64_t shke_semaphore_look(struct shke_semaphore *, const struct shke_trial *);

/* With the object's lock: permits that are there, as far as is known. */
int64_t shke_semaphore_free(const struct shke_semaphore *);
/* … whether the lease is good with which the process has its permits. */
bool shke_semaphore_has_lease(struct shke_semaphore *);
/* … whether the own key tells of an acquire that no thread knows of. */
bool shke_semaphore_has_stray(const struct shke_semaphore *);
/* Give that back: 0, 1, or an error; as shke_permits_try(). */
int shke_semaphore_give_back_stray(struct shke_semaphore *, const struct shke_trial *);

/* What the watch tells of value and of the own key; false: it is another key. */
bool shke_semaphore_event(struct shke_semaphore *, const struct shke_kv *, bool deleted);
/* Delete the key of what this process did, or holds: 0, or as shke_call(). Without the lock. */
int shke_semaphore_forget(struct shke_semaphore *, const struct shke_trial *);

/* ---- semaphore_ready.c: in a set ---- */

int shke_semaphore_begin_watch(struct shke_object *, void *handle, uint32_t want,
                               struct shki_watch *);

/* ---- semaphore_sight.c: see sight.h ---- */

void shke_semaphore_sight_look(struct shke_txn *, const char *prefix);
int shke_semaphore_sight_tell(struct shke_sight *, struct shk_object_info *);

#endif
