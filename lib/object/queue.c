#include "object/queue.h"

#include "wait/park.h"

#include <shmkit/inspect.h>
#include <stdlib.h>

#define CAPACITY_MAX (UINT64_C(1) << 31)
#define ITEM_MAX (UINT64_C(1) << 31)
#define ITEM_DEFAULT 1024u
#define SLOT_ALIGN 8u
#define GATE_LIMIT SHK_SEC(10) /* a gate is held for one copy; who has it longer is stopped */

static uint64_t power_of_two(uint64_t n)
{
    uint64_t p = 1;

    while (p < n)
        p *= 2;
    return p;
}

static uint64_t stride_for(uint64_t item_size)
{
    return shki_round_up(sizeof(struct shki_slot) + item_size, SLOT_ALIGN);
}

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_queue_options *options = plan->options;
    struct shki_queue_shared *shared = (void *)o->shared;
    int r;

    shared->order = options->order;
    shared->capacity = options->capacity;
    shared->slots = power_of_two(options->capacity);
    shared->item_size = options->item_size ? options->item_size : ITEM_DEFAULT;
    shared->stride = stride_for(shared->item_size);
    shared->slots_at = shki_round_up(sizeof(*shared), 64);
    if (sem_init(&shared->empty.semaphore, 1, 0) != 0 || sem_init(&shared->full.semaphore, 1, 0) != 0)
        return -errno;
    r = shki_robust_init(&shared->put_gate.robust);
    return r < 0 ? r : shki_robust_init(&shared->get_gate.robust);
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_queue_options *options = plan->options;
    struct shk_queue *q = (struct shk_queue *)o;
    struct shki_queue_shared *shared = (void *)o->shared;
    uint64_t capacity = shared->capacity, slots = shared->slots, item_size = shared->item_size, at = shared->slots_at;
    uint64_t stride = stride_for(item_size);

    if (shared->order != SHK_FIFO || capacity < 1 || capacity > CAPACITY_MAX || slots != power_of_two(capacity) || item_size > ITEM_MAX ||
        shared->stride != stride || at < sizeof(*shared) || at > o->size || (o->size - at) / stride < slots)
        return shki_fail(-EPROTO, "%s/%s is damaged: its geometry", o->segment->name, o->name);
    if (options->order != SHK_FIFO || (options->capacity && options->capacity != capacity) || (options->item_size && options->item_size != item_size))
        return shki_fail(-EPROTOTYPE, "%s/%s is a FIFO queue for %llu items of at most %llu bytes", o->segment->name, o->name,
                         (unsigned long long)capacity, (unsigned long long)item_size);
    q->shared = shared;
    q->capacity = capacity;
    q->mask = slots - 1;
    q->stride = stride;
    q->item_size = item_size;
    q->slots = o->shared + at;
    return 0;
}

/* What a creation needs, or why there can be none. */
static int make_plan(const struct shk_queue_options *options, struct shki_plan *plan)
{
    uint64_t slots, stride;
    int r;

    if (options->order > SHK_PRIORITY || options->capacity > CAPACITY_MAX || options->item_size > ITEM_MAX)
        return shki_say(-EINVAL, "the queue's order is unknown, or its capacity or item size is more than 2^31");
    if (options->reserved_32)
        return shki_say(-EINVAL, "a reserved option is not zero");
    r = shki_check_reserved(options->reserved, 8);
    if (r < 0)
        return r;
    if (options->order != SHK_FIFO || options->capacity == 0) {
        plan->cannot_create = -ENOTSUP;
        plan->why = "this version creates FIFO queues with a capacity of at least 1 only";
        return 0;
    }
    slots = power_of_two(options->capacity);
    stride = stride_for(options->item_size ? options->item_size : ITEM_DEFAULT);
    plan->size = shki_round_up(sizeof(struct shki_queue_shared), 64) + slots * stride; /* below 2^63 */
    return 0;
}

int shk_queue_open(struct shk_segment *segment, const char *name, unsigned flags, const struct shk_queue_options *options, struct shk_queue **out)
{
    static const struct shk_queue_options defaults;
    struct shki_plan plan = { .kind = SHK_KIND_QUEUE, .build = build, .check = check };
    struct shk_queue *q;
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    plan.options = options = options ? options : &defaults;
    r = make_plan(options, &plan);
    if (r < 0)
        return r;
    q = calloc(1, sizeof(*q));
    if (q == NULL)
        return shki_say(-ENOMEM, "no memory");
    r = shki_object_open(segment, name, flags, &plan, &q->object);
    if (r < 0)
        free(q);
    else
        *out = q;
    return r;
}

int shk_queue_close(struct shk_queue *q)
{
    if (q == NULL)
        return 0;
    shki_object_close(&q->object);
    free(q);
    return 0;
}

int shk_queue_put(struct shk_queue *q, const void *item, size_t len, int64_t timeout)
{
    struct shki_membership *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (!shki_timeout_is_legal(timeout))
        return SHKI_BAD_TIMEOUT;
    if (item == NULL && len > 0)
        return shki_say(-EINVAL, "no item was given");
    if (len > q->item_size)
        return shki_fail(-EMSGSIZE, "an item of %zu bytes is too large for %s/%s, which holds items of at most %zu", len, q->object.segment->name,
                         q->object.name, q->item_size);
    return shki_fifo_put(q, m, item, len, timeout);
}

ssize_t shk_queue_get(struct shk_queue *q, void *buf, size_t size, int64_t timeout)
{
    struct shki_membership *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (!shki_timeout_is_legal(timeout))
        return SHKI_BAD_TIMEOUT;
    if (buf == NULL && size > 0)
        return shki_say(-EINVAL, "no buffer was given");
    return shki_fifo_get(q, m, buf, size, timeout);
}

ssize_t shk_queue_size(struct shk_queue *q)
{
    struct shki_membership *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;
    uint64_t head, size;

    if (r < 0)
        return r;
    /* Q1, Q2: acquire, head first: it never is beyond the tail that is read after it. */
    head = atomic_load_explicit(&q->shared->head, memory_order_acquire);
    size = atomic_load_explicit(&q->shared->tail, memory_order_acquire) - head;
    return (ssize_t)(size < q->capacity ? size : q->capacity);
}

ssize_t shk_queue_capacity(struct shk_queue *q)
{
    struct shki_membership *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? r : (ssize_t)q->capacity;
}

ssize_t shk_queue_item_size(struct shk_queue *q)
{
    struct shki_membership *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? r : (ssize_t)q->item_size;
}

int shk_queue_empty(struct shk_queue *q)
{
    ssize_t n = shk_queue_size(q);

    return n < 0 ? (int)n : n == 0;
}

int shk_queue_full(struct shk_queue *q)
{
    ssize_t n = shk_queue_size(q);

    return n < 0 ? (int)n : (uint64_t)n == q->capacity;
}

void shki_queue_wake(struct shki_queue_shared *shared)
{
    shki_bed_wake(&shared->empty);
    shki_bed_wake(&shared->full);
}

int shk_queue_shutdown(struct shk_queue *q)
{
    struct shki_patience patience = shki_patience(GATE_LIMIT, NULL);
    struct shki_membership *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    /* With the put gate: no put is half way, so whoever sees the queue shut down and empty knows that nothing more comes. */
    r = shki_mutex_lock(&q->shared->put_gate, &patience, m->id, &q->put_gate_spinner, NULL, NULL);
    if (r < 0)
        return shki_fail(-EBUSY, "somebody has been putting into %s/%s for 10 seconds; is a process stopped?", q->object.segment->name, q->object.name);
    /* Q3: commits. Killed after: the sleepers see it at the end of their slice. */
    atomic_store_explicit(&q->shared->shut_down, 1, memory_order_release);
    shki_mutex_unlock(&q->shared->put_gate);
    shki_queue_wake(q->shared);
    return 0;
}

void shki_bed_wake_slow(struct shki_bed *bed)
{
    /* Ordered by F2; and S1: acquire, so that whoever this wakes sees what the one who set the flag had counted. */
    uint32_t was = atomic_fetch_and_explicit(&bed->flags, ~(uint32_t)SHKI_SLEEPER, memory_order_acquire);

    if (was & SHKI_SLEEPER)
        sem_post(&bed->semaphore);
}

/* S1, and the look that follows it. */
static bool announce(struct shki_bed_wait *w)
{
    atomic_fetch_or_explicit(&w->bed->flags, SHKI_SLEEPER, memory_order_release); /* S1: `sleepers` before the flag */
    atomic_thread_fence(memory_order_seq_cst); /* F1: the flag before the look; pairs with F2 */
    return w->can_go_on(w->queue);
}

int shki_bed_wait(struct shki_bed_wait *w)
{
    struct timespec until;
    int r;

    if (!w->begun) {
        w->begun = true;
        w->patience = shki_object_patience(&w->queue->object, w->timeout);
    }
    r = shki_patience_over(&w->patience);
    if (r < 0)
        return r;
    if (shki_spin(w->spinner, w->can_go_on, w->queue))
        return 0;
    shki_object_sleeps(&w->queue->object, w->member, w->waits_for, SHKI_WAITS_A_WHILE);
    atomic_fetch_add_explicit(&w->bed->sleepers, 1, memory_order_relaxed); /* before the flag, by S1 */
    w->slept = true;
    while (!announce(w) && r == 0) {
        until = shki_patience_slice(&w->patience, shki_repairs(SHKI_REPAIR_BACKSTOP) ? SHKI_SLICE : SHK_SEC(3600));
        shki_sleep_on(&w->bed->semaphore, &until);
        if (w->can_go_on(w->queue))
            break;
        r = shki_patience_over(&w->patience);
    }
    atomic_fetch_sub_explicit(&w->bed->sleepers, 1, memory_order_relaxed);
    shki_member_is_awake();
    return r;
}

void shki_bed_leave(struct shki_bed_wait *w)
{
    if (!w->slept)
        return;
    /* Relaxed: whoever is not counted yet has still to look for itself. */
    if (atomic_load_explicit(&w->bed->sleepers, memory_order_relaxed) > 0 && announce(w))
        shki_bed_wake_slow(w->bed);
}
