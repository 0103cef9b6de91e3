/*
 * The sides of a queue: the lock that a side's threads take turns at, and the eventcounts.
 *
 * Locks. A FIFO queue has two, one for each side; LIFO and PRIORITY have one, the put lock, for
 * both. They are biased locks: see sync/biased.h. A lock is held for one operation, or kept:
 * claimed, or with a reservation or a peek open. The member that keeps it is written in
 * mutex.holder, which has no meaning unless that member is alive; ids never repeat.
 *
 * Eventcounts. Consumers sleep on `not_empty`, producers on `not_full`, members in join on `tasks`:
 * see sync/eventcount.h. The changes that end in a notify are the commits (layout.h has the list of
 * their labels). SHKI_WATCHERS is a bit of the same word, for threads that wait for any of several
 * objects.
 */
#ifndef SHKI_SIDE_H
#define SHKI_SIDE_H

#include "queue/order.h"
#include "sync/eventcount.h"

/* ---- The lock ---- */

/* When a queue is opened. */
void shki_side_init(struct shk_queue *);

static inline struct shki_side_lock *shki_get_lock(const struct shk_queue *q)
{
    return q->order == SHK_FIFO ? &q->shared->get_lock : &q->shared->put_lock;
}

static inline const struct shki_biased *shki_side_biased(const struct shk_queue *q,
                                                         const struct shki_side_lock *lock)
{
    return lock == &q->shared->put_lock ? &q->put_biased : &q->get_biased;
}

/* Whether the member keeps it: has claimed it, or has a reservation or a peek open. */
static inline bool shki_side_is_kept_by(const struct shki_side_lock *lock,
                                        const struct shki_member *m)
{
    /* Relaxed: only the caller writes its own id there. */
    return m && load_relaxed(&lock->mutex.holder) == m->id;
}

/* Whether a living member keeps it. Loads only. */
bool shki_side_is_kept(const struct shk_queue *, const struct shki_side_lock *);

/* The value of biased_in while a member is in that lock. */
static SHKI_INLINE uint64_t shki_side_offset(const struct shk_queue *q,
                                             const struct shki_side_lock *lock)
{
    return q->object.offset + (uint64_t)((const char *)lock - (const char *)q->shared);
}

/* Enter as the bias owner, if the caller is. */
static SHKI_INLINE bool shki_side_enter(const struct shk_queue *q, const struct shki_member *m,
                                        struct shki_side_lock *lock)
{
    return shki_biased_enter(m, &lock->bias, shki_side_offset(q, lock), q->asymmetric);
}

/* Try to enter by the mutex: 0; 1: another member is in the lock; or an error. */
int shki_side_trylock_slow(struct shk_queue *, struct shki_member *, struct shki_side_lock *);
/* The same; also 1 if items are leased, so that the slow loop handles them. */
int shki_side_trylock_unleased(struct shk_queue *, struct shki_member *, struct shki_side_lock *);
/* Leave a lock that was entered by the mutex. */
void shki_side_unlock_slow(struct shk_queue *, struct shki_member *, struct shki_side_lock *);

/* Try to enter: 0; SHKI_LOCK_BUSY; or an error. */
static SHKI_INLINE int shki_side_trylock(struct shk_queue *q, struct shki_member *m,
                                         struct shki_side_lock *lock, bool *bias_owner)
{
    int r;

    *bias_owner = shki_side_enter(q, m, lock);
    if (likely(*bias_owner))
        return 0;
    r = shki_side_trylock_unleased(q, m, lock);
    return r > 0 ? SHKI_LOCK_BUSY : r;
}

static SHKI_INLINE void shki_side_unlock(struct shk_queue *q, struct shki_member *m,
                                         struct shki_side_lock *lock, bool bias_owner)
{
    if (likely(bias_owner))
        shki_biased_leave(m);
    else
        shki_side_unlock_slow(q, m, lock);
}

/*
 * Keep the lock beyond the operation: the caller has the mutex and goes on holding it. unkeep ends
 * that, and unlocks the mutex.
 */
void shki_side_keep(struct shki_side_lock *, const struct shki_member *, uint32_t claimed,
                    uint32_t open);
void shki_side_unkeep(struct shki_side_lock *);

/* ---- The eventcounts ---- */

/* After a commit. `adaptive`: of the side that has committed. */
void shki_queue_notify_slow(struct shk_queue *, struct shki_eventcount_shared *,
                            struct shki_adaptive *);
static SHKI_INLINE void shki_queue_notify(struct shk_queue *q,
                                          struct shki_eventcount_shared *eventcount,
                                          struct shki_adaptive *adaptive)
{
    if (shki_eventcount_has_waiter(eventcount, q->asymmetric))
        shki_queue_notify_slow(q, eventcount, adaptive);
}

/* The other side, after something has been put, or taken. */
static SHKI_INLINE void shki_notify_other(struct shk_queue *q, bool puts)
{
    shki_queue_notify(q, puts ? &q->shared->not_empty : &q->shared->not_full,
                      puts ? &q->put_adaptive : &q->get_adaptive);
}

/* The watchers of the segment, if an eventcount's notify has returned their flag. */
void shki_queue_wake_watchers(struct shk_segment *, uint32_t flags);

/* All sleepers of a queue, and the watchers: each checks what it waits for. */
void shki_queue_wake(struct shk_segment *, struct shki_queue_shared *);

/* ---- Both ---- */

/*
 * Whether the other side is notified after an operation that gave r: it has moved items; or it is
 * an error, since a consumer may have seen the producer in the lock (SD2).
 */
static inline bool shki_side_notifies(int r)
{
    return likely(r != 0);
}

/* Leave the lock after such an operation, and notify the other side if that may go on. */
static SHKI_INLINE void shki_side_done(struct shk_queue *q, struct shki_member *m,
                                       struct shki_side_lock *lock, bool bias_owner, bool puts,
                                       int r)
{
    shki_side_unlock(q, m, lock, bias_owner);
    if (shki_side_notifies(r))
        shki_notify_other(q, puts);
}

/* A whole operation without waiting; returns what struct shki_order says of a try. */
static SHKI_INLINE int shki_side_try(struct shk_queue *q, struct shki_member *m, bool puts,
                                     shki_act *act, struct shki_work *work)
{
    struct shki_side_lock *lock = puts ? &q->shared->put_lock : shki_get_lock(q);
    bool bias_owner;
    int r = shki_side_trylock(q, m, lock, &bias_owner);

    if (unlikely(r != 0))
        return r;
    r = act(q, m, work);
    shki_side_done(q, m, lock, bias_owner, puts, r);
    return r;
}

/* try_put and try_get of an order that moves one item as it moves several: by its put, or get. */
static SHKI_INLINE int shki_side_try_put(struct shk_queue *q, struct shki_member *m, shki_act *put,
                                         const void *item, size_t length)
{
    struct iovec one = {(void *)(uintptr_t)item, length};
    struct shki_work w = {.items = &one, .n = 1};

    return shki_side_try(q, m, true, put, &w);
}

static SHKI_INLINE int shki_side_try_get(struct shk_queue *q, struct shki_member *m, shki_act *get,
                                         void *buffer, size_t *length)
{
    struct iovec one = {buffer, *length};
    struct shki_work w = {.buffers = &one, .n = 1};
    int r = shki_side_try(q, m, false, get, &w);

    *length = one.iov_len;
    return r;
}

#endif
