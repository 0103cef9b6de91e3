/*
 * Claims: a member keeps the lock of a side, or of both, from claim to unclaim. It has the mutex,
 * and is the bias owner that no other member revokes.
 *
 * Killed while it has a claim: a dead holder of the lock, which the next member repairs after.
 */
#include "object/remote.h"
#include "queue/call.h"
#include "queue/state.h"

#include <shmkit/inspect.h>

static bool is_free_or_kept(const void *arg)
{
    const struct shki_call *c = arg;

    return !shki_robust_is_held(&c->lock->mutex.robust) || shki_side_is_kept(c->queue, c->lock);
}

static int still_there(void *arg)
{
    const struct shki_call *c = arg;

    return shki_object_is_stale(&c->queue->object) ? shki_stale(&c->queue->object) : 0;
}

/*
 * For SHK_NOWAIT, and a time that is over already. What counts is whether a member keeps the lock,
 * not whether one is busy there for a moment.
 */
static int lock_nowait(struct shki_call *c)
{
    const struct shki_deadline nowait = c->deadline;
    int64_t end = shki_now() + SHKI_BUSY_LIMIT;
    int r;

    shki_spin_for(SHKI_BUSY_SPIN, is_free_or_kept, c);
    do {
        if (shki_side_is_kept(c->queue, c->lock))
            return shki_deadline_check(&nowait);
        c->deadline = shki_deadline(SHKI_BUSY_NAP, NULL);
        r = shki_call_lock(c, still_there, c);
        c->deadline = nowait;
    } while (r == -ETIMEDOUT && shki_now() < end);
    return r == -ETIMEDOUT ? shki_deadline_check(&nowait) : r;
}

static int claim(struct shki_call *c)
{
    int r = shki_held_more(c->member);

    if (r < 0)
        return r;
    r = c->timeout <= 0 ? lock_nowait(c) : shki_call_lock(c, still_there, c);
    if (r < 0) {
        shki_held_less(c->member);
        return r;
    }
    shki_side_keep(c->lock, c->member, 1, SHKI_OPEN_NOTHING);
    if (c->puts && shki_shut_down(c->queue) != SHKI_OPEN)
        /* SD2; killed before: they find it at the end of their recheck interval */
        shki_queue_notify(c->queue, c->other, c->adaptive);
    return 0;
}

static void unclaim(struct shk_queue *q, struct shki_member *m, unsigned side)
{
    shki_side_unkeep(side == SHK_PRODUCER ? &q->shared->put_lock : &q->shared->get_lock);
    shki_held_less(m);
    if (side == SHK_PRODUCER)
        shki_queue_notify(q, &q->shared->not_empty, &q->put_adaptive); /* it may be over now */
}

static int check_sides(const struct shk_queue *q, unsigned sides)
{
    if (sides == 0 || sides & ~(SHK_PRODUCER | SHK_CONSUMER))
        return shki_say(-EINVAL, "the sides of a queue are SHK_PRODUCER, SHK_CONSUMER or both");
    if (q->order != SHK_FIFO)
        return shki_say(-ENOTSUP, "both sides of a LIFO or PRIORITY queue change the same things: "
                                  "neither can do without the lock");
    return 0;
}

int shk_queue_claim(struct shk_queue *q, unsigned sides, int64_t timeout)
{
    struct shki_member *m;
    struct shki_call put, get;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, claim, (q, sides, timeout));
    r = check_sides(q, sides);
    if (r < 0)
        return r;
    put = shki_put_call(q, m, timeout);
    get = shki_get_call(q, m, timeout);
    if ((sides & SHK_PRODUCER && shki_side_is_kept_by(put.lock, m)) ||
        (sides & SHK_CONSUMER && shki_side_is_kept_by(get.lock, m)))
        return shki_object_say(
            &q->object, -EDEADLK,
            "the calling thread has claimed the side already, or has a reservation or a peek open");
    put.deadline = get.deadline =
        shki_object_deadline(&q->object, timeout, "another member keeps a side that is claimed");
    put.begun = get.begun = true;
    if (sides & SHK_PRODUCER)
        r = claim(&put);
    if (r == 0 && sides & SHK_CONSUMER) {
        r = claim(&get);
        if (r < 0 && sides & SHK_PRODUCER)
            unclaim(q, m, SHK_PRODUCER);
    }
    return r;
}

/* Relaxed, both marks: only the member that keeps the lock reads and writes them. */
static bool has_claimed(const struct shki_side_lock *lock, const struct shki_member *m)
{
    return shki_side_is_kept_by(lock, m) && load_relaxed(&lock->claimed);
}

static bool has_open(const struct shki_side_lock *lock)
{
    return load_relaxed(&lock->open) != SHKI_OPEN_NOTHING;
}

int shk_queue_unclaim(struct shk_queue *q, unsigned sides)
{
    struct shki_member *m;
    int r = q ? check_sides(q, sides) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    m = q->object.segment->base ? shki_member_find(q->object.segment) : NULL;
    if (m == NULL && shki_segment_is_closed(q->object.segment))
        return shki_say_closed(q->object.segment);
    if (m == NULL || (sides & SHK_PRODUCER && !has_claimed(&q->shared->put_lock, m)) ||
        (sides & SHK_CONSUMER && !has_claimed(&q->shared->get_lock, m)))
        return shki_object_say(&q->object, -EPERM, "the calling thread has not claimed the side");
    if ((sides & SHK_PRODUCER && has_open(&q->shared->put_lock)) ||
        (sides & SHK_CONSUMER && has_open(&q->shared->get_lock)))
        return shki_object_say(&q->object, -EBUSY,
                               "the calling thread has a reservation or a peek open");
    if (sides & SHK_PRODUCER)
        unclaim(q, m, SHK_PRODUCER);
    if (sides & SHK_CONSUMER)
        unclaim(q, m, SHK_CONSUMER);
    return 0;
}
