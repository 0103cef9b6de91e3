/*
 * A call on one side of a queue that may have to wait: the slow loop.
 *
 *     enter the lock                (SHK_NOWAIT waits for an operation in it, not for a member
 *                                   that keeps it)
 *     act                           moved? leave, notify the other side, done
 *     leave                         full, or empty:
 *     wait                          give way, spin, sleep on the side's eventcount
 *     again
 *     has waited? notify the next sleeper of this side (cascading wake-up)
 *
 * A wait begins once: a shutdown that comes after that is told to the call, though the queue may be
 * open again when its thread runs.
 */
#ifndef SHKI_QUEUE_CALL_H
#define SHKI_QUEUE_CALL_H

#include "queue/side.h"

/*
 * How long SHK_NOWAIT waits for a lock that no member keeps, and that is held for one copy. SPIN:
 * awake, which is enough unless the holder waits for a CPU. NAP: asleep between two checks. LIMIT:
 * in all, the longest that a scheduler was seen to keep a holder waiting.
 */
#define SHKI_BUSY_SPIN  SHK_MS(2)
#define SHKI_BUSY_NAP   SHK_MS(10)
#define SHKI_BUSY_LIMIT SHK_MS(900)

struct shki_call {
    struct shk_queue *queue;
    struct shki_member *member;
    struct shki_side_lock *lock;
    const struct shki_biased *biased; /* that lock, as this process sees it */
    struct shki_spinner *lock_spinner;
    /* where this side sleeps, and the side that it wakes */
    struct shki_eventcount_shared *eventcount, *other;
    struct shki_spinner *spinner;
    struct shki_adaptive *adaptive;
    /* stores nothing; also true when there is nothing to wait for any more: shut down, unlinked */
    bool (*can_go_on)(const void *queue);
    uint32_t waits_for;
    int64_t timeout;
    struct shki_deadline deadline;
    uint32_t shutdowns; /* shut_down without its state, when the wait began */
    bool heeds_shutdown;
    uint32_t lease_changes; /* when the earliest due time was found: LS5 */
    bool heeds_lines;       /* of producers and consumers: segment/presence.h */
    bool begun, has_waited;
    bool puts, gets;
    bool has_tried;  /* the first round only waits: the caller has had the lock, in vain */
    bool keep;       /* the lock, after a success */
    bool bias_owner; /* is in the lock by its bias */
};

struct shki_call shki_put_call(struct shk_queue *, struct shki_member *, int64_t timeout);
struct shki_call shki_get_call(struct shk_queue *, struct shki_member *, int64_t timeout);

/* Before the first try of a put: the death of the last consumer is found, if the producer minds. */
static inline void shki_put_begins(struct shk_queue *q)
{
    if (unlikely(q->roles.minds))
        shki_roles_check(&q->object, &q->roles, SHKI_CONSUMERS);
}

/*
 * A whole call: what the act returned; the end of the deadline; -EBUSY, -EPIPE, -ESTALE, -EDEADLK.
 * With `keep`, and a success, it returns in the lock, and shki_call_end() is the caller's.
 */
int shki_call_run(struct shki_call *, shki_act *, struct shki_work *);

/* Wait until it is worth another try: 0, or the end of the deadline. */
int shki_call_wait(struct shki_call *);
/* To be called when a call ends that may have waited, with whatever result. */
void shki_call_end(struct shki_call *);

/*
 * Lock the mutex, however long it takes: 0; the end of the deadline; or what `recheck`, if it is
 * not NULL, returns at the end of a recheck interval, unless that is 0.
 */
int shki_call_lock(struct shki_call *, int (*recheck)(void *), void *arg);

#endif
