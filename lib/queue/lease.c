/* Leasing items, acknowledging them, giving them back: see lease_records.h. */
#include "queue/lease.h"

#include "object/remote.h"
#include "queue/call.h"
#include "queue/lease_records.h"
#include "queue/state.h"

/* ---- With the get lock: what comes next ---- */

static bool goes_before(const struct shki_lease_shared *a, const struct shki_lease_shared *b)
{
    /* relaxed: the lock orders them; not of PRIORITY, the priorities are equal */
    int64_t x = load_relaxed(&a->priority), y = load_relaxed(&b->priority);

    return x != y ? x < y : load_relaxed(&a->order) < load_relaxed(&b->order);
}

/* Equal priorities: what was leased before was put before. */
static bool store_goes_before(struct shk_queue *q, const struct shki_lease_shared *r)
{
    struct shki_slot *slot;

    return q->ops->priority && q->ops->item(q, &slot) > 0 &&
           q->ops->priority(q) < load_relaxed(&r->priority);
}

/* The item that has come back, is due and is the next of all. */
static bool find_back(struct shk_queue *q, uint32_t *index)
{
    struct shki_lease_walk w = shki_lease_walk_back(q);
    struct shki_lease_shared *best = NULL;
    int64_t now = 0, due;

    for (uint32_t i; shki_lease_next(&w, &i);) {
        struct shki_lease_shared *r = shki_lease_at(q, i);

        if (shki_lease_state_of(shki_lease_load(r)) != SHKI_LEASE_BACK) {
            shki_lease_not_back(q, i);
            continue;
        }
        due = load_relaxed(&r->due);
        if (due > 0 && now == 0)
            now = shki_now();
        if (due <= now && (best == NULL || goes_before(r, best))) {
            best = r;
            *index = i;
        }
    }
    return best && !store_goes_before(q, best);
}

static bool has_leases(const struct shk_queue *q)
{
    return shki_biased_is_forbidden(&shki_get_lock(q)->bias);
}

/* With the mutex: the queue has no leases any more. Whether that is so. */
static bool end_leases(struct shk_queue *q)
{
    if (!shki_lease_none(q))
        return false;
    shki_biased_allow(shki_side_biased(q, shki_get_lock(q)));
    return true;
}

/* Copy the item of a record out: 1 or an error. */
static int read_record(struct shk_queue *q, uint32_t index, struct iovec *buffer)
{
    const struct shki_slot *item = &shki_lease_at(q, index)->item;

    return shki_read_slot(q, item, load_relaxed(&item->word), buffer->iov_base, &buffer->iov_len);
}

/* ---- Getting and putting beside leases, with the lock ---- */

static int get_back(struct shk_queue *q, struct shki_member *m, struct shki_work *w, uint32_t index)
{
    int r = read_record(q, index, &w->buffers[0]);

    if (r < 0)
        return r;
    w->priority = load_relaxed(&shki_lease_at(q, index)->priority);
    shki_count_tasks(q, m, 1); /* before it is free: see shki_queue_is_done() */
    shki_lease_free(q, index);
    return 1;
}

static int get_beside_leases(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    unsigned n = w->n;
    uint32_t index;
    int r;

    if (find_back(q, &index))
        return get_back(q, m, w, index);
    if (q->ops->priority && shki_leases_back(q) > 0)
        w->n = 1; /* the one behind it may have come back */
    r = q->ops->get(q, m, w);
    w->n = n;
    if (r == 0 && shki_lease_check(q) && find_back(q, &index))
        return get_back(q, m, w, index);
    if (r == 0 && end_leases(q))
        r = q->ops->get(q, m, w); /* it may be drained now */
    return r;
}

int shki_lease_get(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    int r;

    if (likely(!has_leases(q)))
        return q->ops->get(q, m, w);
    r = get_beside_leases(q, m, w);
    if (r > 0 && shki_lease_check_at(q, shki_now()))
        end_leases(q);
    return r;
}

int shki_lease_put(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    uint64_t room = shki_queue_room_beside_leases(q);
    unsigned n = w->n;
    int r;

    if (room == 0)
        return shki_may_put(q);
    if (n > room)
        w->n = (unsigned)room;
    r = q->ops->put(q, m, w);
    w->n = n;
    return r;
}

int shki_lease_next_item(struct shk_queue *q, struct shki_slot **slot)
{
    uint32_t index;

    q->peeked_lease = 0;
    if (has_leases(q) && (shki_lease_check(q), find_back(q, &index))) {
        q->peeked_lease = index + 1;
        *slot = &shki_lease_at(q, index)->item;
        return 1;
    }
    return shki_next_item(q, q->ops->item, slot);
}

void shki_lease_consume(struct shk_queue *q)
{
    if (q->peeked_lease)
        shki_lease_free(q, q->peeked_lease - 1);
    else
        q->ops->consume(q);
    q->peeked_lease = 0;
}

/* ---- Leasing, with the lock ---- */

static int lease_back(struct shk_queue *q, struct shki_member *m, struct shki_work *w,
                      uint32_t index)
{
    int r = read_record(q, index, &w->buffers[0]);

    if (r > 0)
        w->ticket = shki_lease_hand_out(q, m, index);
    return r;
}

/* The next item of the store. */
static int lease_first(struct shk_queue *q, struct shki_member *m, struct shki_work *w,
                       uint32_t *index)
{
    struct shki_slot *slot = NULL;
    struct shki_lease_shared *record;
    int r = shki_next_item(q, q->ops->item, &slot);

    if (r <= 0)
        return r;
    r = shki_read_slot(q, slot, load_relaxed(&slot->word), w->buffers[0].iov_base,
                       &w->buffers[0].iov_len);
    if (r > 0)
        r = shki_lease_room(q, w->buffers[0].iov_len, index);
    if (r <= 0)
        return r;
    record = shki_lease_at(q, *index);
    store_relaxed(&record->priority, q->ops->priority ? q->ops->priority(q) : 0);
    shki_fill_slot(&record->item, w->buffers[0].iov_base, w->buffers[0].iov_len);
    w->ticket = shki_lease_new(q, m, *index);
    q->ops->consume(q); /* killed before it commits: nothing has happened. After: a dead's lease */
    shki_lease_changed(q);
    return 1;
}

static int lease_next(struct shk_queue *q, struct shki_member *m, struct shki_work *w,
                      uint32_t *index)
{
    int r;

    if (find_back(q, index))
        return lease_back(q, m, w, *index);
    r = lease_first(q, m, w, index);
    if (r == 0 && shki_lease_check(q) && find_back(q, index))
        return lease_back(q, m, w, *index);
    if (r == 0 || r == -ENOSPC)
        shki_lease_none(q); /* clears what dead owners have left */
    return r;
}

static int lease(struct shk_queue *q, struct shki_member *m, struct shki_work *w)
{
    uint32_t index;
    int r;

    shki_biased_forbid(shki_side_biased(q, shki_get_lock(q)), m);
    r = lease_next(q, m, w, &index);
    if (r > 0) /* it has just read the clock, for `since` */
        shki_lease_check_at(q, load_relaxed(&shki_lease_at(q, index)->since));
    return r;
}

/* ---- The calls ---- */

ssize_t shk_queue_lease(struct shk_queue *q, void *buf, size_t size, int64_t timeout,
                        uint64_t *ticket)
{
    struct iovec one = {buf, size};
    struct shki_work w = {.buffers = &one, .n = 1};
    struct shki_member *m;
    struct shki_call c;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, lease, (q, buf, size, timeout, ticket));
    if ((buf == NULL && size > 0) || ticket == NULL)
        return shki_say(-EINVAL, "the buffer, or the pointer to the ticket, is NULL");
    c = shki_get_call(q, m, timeout);
    c.keep = true; /* by the mutex: the bias of any owner but a claimer ends */
    r = shki_call_run(&c, lease, &w);
    if (r < 0)
        return r;
    shki_side_unlock(q, m, c.lock, c.bias_owner);
    shki_call_end(&c);
    *ticket = w.ticket;
    return (ssize_t)one.iov_len;
}

static int unknown_ticket(const struct shk_queue *q)
{
    return shki_object_say(&q->object, -ENOENT,
                           "the ticket is of no item that is leased: it was acknowledged or given "
                           "back, or has come back");
}

/* The record of a ticket, and its state as it was then: 0 or an error. */
static int find_ticket(struct shk_queue *q, uint64_t ticket, struct shki_member **m,
                       uint32_t *index, uint64_t *word)
{
    int r = q ? shki_enter(&q->object, m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    *index = (uint32_t)ticket & (SHKI_LEASES_MAX - 1);
    if (!shki_lease_is_out(q, *index))
        return unknown_ticket(q);
    *word = shki_lease_load(shki_lease_at(q, *index));
    if (shki_lease_state_of(*word) != SHKI_LEASE_LEASED ||
        shki_lease_ticket(q, *word, *index) != ticket)
        return unknown_ticket(q);
    return shki_lease_is_own(q, *m, shki_lease_at(q, *index))
               ? 0
               : shki_object_say(&q->object, -EPERM, "the item is leased to another process");
}

/*
 * One item less: for producers, for a join, and for consumers that may get no other: of a queue
 * that is shut down or has no producer left. An end that comes now they find at the end of their
 * recheck interval.
 */
static void notify_ack(struct shk_queue *q)
{
    struct shki_queue_shared *shared = q->shared;

    if (q->limited)
        shki_queue_notify(q, &shared->not_full, &q->get_adaptive);
    shki_queue_notify(q, &shared->tasks, &q->task_adaptive);
    if (shki_shut_down(q) != SHKI_OPEN ||
        shki_presence(q->object.entry, SHKI_PRODUCERS) & SHKI_PRESENCE_ENDED)
        shki_queue_notify(q, &shared->not_empty, &q->put_adaptive);
}

int shk_queue_ack(struct shk_queue *q, uint64_t ticket)
{
    struct shki_member *m;
    uint32_t index;
    uint64_t word;
    int r = find_ticket(q, ticket, &m, &index, &word);

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, ack, (q, ticket));
    /* LS1: commits. Killed before: it comes back. Killed after: it is done. */
    if (!compare_exchange_acq_rel(&shki_lease_at(q, index)->state, &word,
                                  shki_lease_word(word, SHKI_LEASE_FREE)))
        return unknown_ticket(q);
    shki_lease_ended(q, index);
    notify_ack(q);
    return 0;
}

/* For consumers: at once, or later; then one of them has to wake earlier than it meant to. */
static void notify_back(struct shk_queue *q, int64_t due)
{
    struct shki_queue_shared *shared = q->shared;

    if (due == 0)
        shki_queue_notify(q, &shared->not_empty, &q->put_adaptive);
    else if (shki_eventcount_has_waiter(&shared->not_empty, q->asymmetric))
        /* LS5 is a release, and the clearing of the flag an acquire: no full fence is needed. */
        shki_queue_wake_watchers(q->object.segment, shki_eventcount_wake_one(&shared->not_empty));
}

static int64_t due_after(int64_t delay)
{
    int64_t now = shki_now();

    return delay > INT64_MAX - now ? INT64_MAX - 1 : now + delay;
}

int shk_queue_nack(struct shk_queue *q, uint64_t ticket, int64_t delay)
{
    int64_t due = delay > 0 ? due_after(delay) : 0;
    struct shki_lease_shared *record;
    struct shki_member *m;
    uint32_t index;
    uint64_t word;
    int r = find_ticket(q, ticket, &m, &index, &word);

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, nack, (q, ticket, delay));
    record = shki_lease_at(q, index);
    /* LS1: no other thread of the process changes it from here on. Killed: it comes back. */
    if (!compare_exchange_acq_rel(&record->state, &word,
                                  shki_lease_word(word, SHKI_LEASE_RETURNING)))
        return unknown_ticket(q);
    store_relaxed(&record->due, due);
    store_relaxed(&record->since, shki_now());
    if (delay < 0)
        store_relaxed(&record->attempts, load_relaxed(&record->attempts) - 1);
    /* LS1: release: commits. Killed after: found when consumers look for dead owners. */
    store_release(&record->state, shki_lease_word(word, SHKI_LEASE_BACK));
    shki_lease_is_back(q, index);
    notify_back(q, due);
    return 0;
}

int shk_queue_lease_info(struct shk_queue *q, uint64_t ticket, struct shk_lease_info *info)
{
    const struct shki_lease_shared *record;
    struct shki_member *m;
    uint32_t index;
    uint64_t word;
    int r;

    if (info == NULL)
        return shki_say(-EINVAL, "the pointer to the figures is NULL");
    r = find_ticket(q, ticket, &m, &index, &word);
    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, lease_info, (q, ticket, info));
    record = shki_lease_at(q, index);
    *info = (struct shk_lease_info){
        .member = load_relaxed(&record->member),
        .pid = load_relaxed(&record->pid),
        .attempts = load_relaxed(&record->attempts),
        .priority = load_relaxed(&record->priority),
        .length = shki_slot_length(load_relaxed(&record->item.word)),
        .since = shki_now() - load_relaxed(&record->since),
        .ticket = ticket, /* last: gcc 10 warns of members left out behind a load */
    };
    atomic_thread_fence(memory_order_acquire);
    /* another thread has ended the lease meanwhile, and the figures may be another's */
    return load_relaxed(&record->state) == word ? 0 : unknown_ticket(q);
}
