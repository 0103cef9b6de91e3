#include "queue/side.h"

#include "object/watch.h"
#include "queue/lease_records.h"
#include "queue/state.h"

/* ---- The lock ---- */

static void repair(void *queue, const struct shki_biased *b)
{
    struct shk_queue *q = queue;

    struct shki_side_lock *lock = b == &q->put_biased ? &q->shared->put_lock : &q->shared->get_lock;

    q->ops->repair(q, lock);
    if (lock == shki_get_lock(q))
        shki_lease_repair(q);
}

static struct shki_biased biased(struct shk_queue *q, struct shki_side_lock *lock)
{
    return (struct shki_biased){.segment = q->object.segment,
                                .mutex = &lock->mutex,
                                .shared = &lock->bias,
                                .offset = shki_side_offset(q, lock),
                                .holders_lost = &q->shared->repairs.holders_lost,
                                .repair = repair,
                                .object = q};
}

void shki_side_init(struct shk_queue *q)
{
    q->put_biased = biased(q, &q->shared->put_lock);
    q->get_biased = biased(q, &q->shared->get_lock);
}

bool shki_side_is_kept(const struct shk_queue *q, const struct shki_side_lock *lock)
{
    return shki_robust_is_held(&lock->mutex.robust) &&
           shki_member_is_alive(q->object.segment, load_relaxed(&lock->mutex.holder));
}

int shki_side_trylock_slow(struct shk_queue *q, struct shki_member *m, struct shki_side_lock *lock)
{
    /* The caller keeps the lock, and its bias did not let it in: it has something open. */
    if (unlikely(shki_side_is_kept_by(lock, m)))
        return shki_object_say(&q->object, -EDEADLK,
                               "the calling thread has a reservation or a peek open");
    return shki_biased_trylock(shki_side_biased(q, lock), m);
}

int shki_side_trylock_unleased(struct shk_queue *q, struct shki_member *m,
                               struct shki_side_lock *lock)
{
    int r = shki_biased_is_forbidden(&lock->bias) ? 1 : shki_side_trylock_slow(q, m, lock);

    if (r == 0 && shki_biased_is_forbidden(&lock->bias)) { /* meanwhile */
        shki_side_unlock_slow(q, m, lock);
        r = 1;
    }
    return r;
}

void shki_side_unlock_slow(struct shk_queue *q, struct shki_member *m, struct shki_side_lock *lock)
{
    shki_biased_unlock(shki_side_biased(q, lock), m);
}

void shki_side_keep(struct shki_side_lock *lock, const struct shki_member *m, uint32_t claimed,
                    uint32_t open)
{
    /* killed anywhere in here: a dead holder, whose claims have no meaning */
    store_relaxed(&lock->claimed, claimed);
    store_relaxed(&lock->open, open);
    /*
     * SD3: release: `open` comes first; pairs with the acquire of `holder` in shki_queue_is_over():
     * a consumer that sees the member keep the lock sees whether a reservation is open.
     */
    store_release(&lock->mutex.holder, m->id);
    /*
     * A member with something open is not the bias owner: its calls come to the mutex, and get
     * -EDEADLK. A member that has claimed the lock is its bias owner, and no other member gets the
     * mutex.
     */
    store_relaxed(&lock->bias.owner, open ? 0 : m->id);
}

void shki_side_unkeep(struct shki_side_lock *lock)
{
    /* killed anywhere in here: a dead holder */
    store_relaxed(&lock->bias.owner, 0);
    store_relaxed(&lock->mutex.holder, 0);
    shki_mutex_unlock(&lock->mutex);
}

/* ---- The eventcounts ---- */

void shki_queue_wake_watchers(struct shk_segment *s, uint32_t flags)
{
    if (flags & SHKI_WATCHERS)
        shki_watchers_wake(s);
}

void shki_queue_wake(struct shk_segment *s, struct shki_queue_shared *shared)
{
    uint32_t max = s->max_members;

    shki_queue_wake_watchers(s, shki_eventcount_wake_all(&shared->not_empty, max));
    shki_queue_wake_watchers(s, shki_eventcount_wake_all(&shared->not_full, max));
    shki_queue_wake_watchers(s, shki_eventcount_wake_all(&shared->tasks, max));
}

static bool has_no_item(const void *q)
{
    return !shki_queue_has_item(q);
}

static bool has_no_room(const void *q)
{
    return !shki_queue_has_room(q);
}

struct notification {
    const struct shk_queue *queue;
    const struct shki_eventcount_shared *eventcount;
    struct shki_adaptive *adaptive;
};

/*
 * Whether a thread that is awake has used what was committed, so that the sleepers could not go on,
 * and their wake-up is spared. Their flag stays set: the next commit wakes them. Killed meanwhile:
 * as before the wake-up.
 */
static bool is_used_up(void *arg)
{
    const struct notification *n = arg;
    const struct shk_queue *q = n->queue;

    return n->eventcount != &q->shared->tasks &&
           shki_spare_wakeup(n->adaptive,
                             n->eventcount == &q->shared->not_empty ? has_no_item : has_no_room, q);
}

void shki_queue_notify_slow(struct shk_queue *q, struct shki_eventcount_shared *eventcount,
                            struct shki_adaptive *adaptive)
{
    struct notification n = {q, eventcount, adaptive};

    shki_queue_wake_watchers(q->object.segment,
                             shki_eventcount_notify(eventcount, q->asymmetric,
                                                    &adaptive->quiet_commits, is_used_up, &n));
}
