#include "object/ready.h"

#include "object/queue.h"

#include <shmkit/inspect.h>

/* ---- The line of the watchers ---- */

/* A view of it for one use: what it would remember from one to the next is not worth keeping. */
static int open_line(struct shk_segment *s, struct shki_line *l)
{
    *l = (struct shki_line){ .segment = s, .shared = &s->header->watchers, .at = offsetof(struct shki_header, watchers),
                             .repairs = &s->header->watch_repairs };
    return shki_line_open(l);
}

void shki_watchers_wake(struct shk_segment *s)
{
    struct shki_line l;

    if (open_line(s, &l) < 0)
        return; /* they find out at the end of their slice, as they do if somebody has been stopped with the mutex */
    if (shki_line_lock_soon(&l) == 0) {
        shki_line_notify_all(&l);
        shki_line_unlock(&l);
    }
    shki_line_close(&l);
}

void shki_watchers_bury(struct shk_segment *s)
{
    struct shki_line l;

    if (open_line(s, &l) < 0)
        return;
    if (shki_line_lock(&l) == 0) {
        shki_line_bury(&l);
        shki_line_unlock(&l);
    }
    shki_line_close(&l);
}

/* ---- What is watched ---- */

static void close_queue(void *queue)
{
    shk_queue_close(queue);
}

static void watch_queue(struct shk_queue *q, uint32_t want, struct shki_watch *w)
{
    bool get = want == SHK_READABLE;

    *w = (struct shki_watch){ .object = &q->object, .keepers = &q->object.keepers, .handle = q, .let_go = close_queue,
                              .watched = get ? &q->shared->empty.flags : &q->shared->full.flags,
                              .is_ready = get ? shki_queue_has_item : shki_queue_has_room };
}

static int watch(const struct shk_ready *wanted, struct shki_watch *w)
{
    switch (wanted->kind) {
    case SHK_KIND_QUEUE:
    case SHK_KIND_EVENT:
    case SHK_KIND_SEMAPHORE:
    case SHK_KIND_STREAM:
        break;
    case SHK_KIND_LOCK:
    case SHK_KIND_COND:
    case SHK_KIND_BARRIER:
    case SHK_KIND_REGION:
        return shki_fail(-ENOTSUP, "%s is never just ready: it cannot be waited for together with others", shki_kind_name(wanted->kind));
    default:
        return shki_say(-EINVAL, "an object of an unknown kind");
    }
    if (wanted->want != SHK_READABLE && (wanted->want != SHK_WRITABLE || wanted->kind != SHK_KIND_QUEUE))
        return shki_say(-EINVAL, "what is wanted of an object is SHK_READABLE, or of a queue SHK_WRITABLE");
    if (wanted->object == NULL)
        return SHKI_NO_HANDLE;
    if (wanted->kind == SHK_KIND_QUEUE)
        watch_queue(wanted->object, wanted->want, w);
    else if (wanted->kind == SHK_KIND_EVENT)
        shki_event_watch(wanted->object, w);
    else if (wanted->kind == SHK_KIND_SEMAPHORE)
        shki_semaphore_watch(wanted->object, w);
    else
        shki_reader_watch(wanted->object, w);
    return 0;
}

int shki_set_open(struct shki_set *set, const struct shk_ready *wanted, unsigned n, struct shki_membership **m)
{
    int r;

    if (wanted == NULL || n == 0 || n > SHK_READY_MAX)
        return shki_fail(-EINVAL, "a set has from 1 to %d objects", SHK_READY_MAX);
    set->n = n;
    set->first = 0;
    for (unsigned i = 0; i < n; i++) {
        r = watch(&wanted[i], &set->watches[i]);
        if (r < 0)
            return r;
        if (set->watches[i].object->segment != set->watches[0].object->segment)
            return shki_say(-EXDEV, "the objects of a set must be of one segment");
    }
    return shki_enter(set->watches[0].object, m);
}

/* ---- Waiting ---- */

/* The index of one that is ready, n if there is none, or an error. */
static int look(const struct shki_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        if (shki_object_is_stale(set->watches[i].object) || shki_segment_is_closed(set->watches[i].object->segment))
            return shki_stale(set->watches[i].object);
    for (unsigned i = 0; i < set->n; i++) {
        unsigned at = (set->first + i) % set->n;

        if (set->watches[at].is_ready(set->watches[at].handle))
            return (int)at;
    }
    return (int)set->n;
}

static bool has_news(const void *set)
{
    return look(set) != (int)((const struct shki_set *)set)->n;
}

static void look_after(const struct shki_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        if (set->watches[i].look_after)
            set->watches[i].look_after(set->watches[i].handle);
}

static int sleep_a_slice(const struct shki_set *set, struct shki_line *l, struct shki_membership *m, const struct shki_patience *patience)
{
    struct shki_patience slice = *patience;
    int64_t end = shki_now() + SHKI_SLICE;
    int r;

    if (slice.deadline > end && shki_repairs(SHKI_REPAIR_BACKSTOP))
        slice.deadline = end;
    r = shki_line_lock(l);
    if (r < 0)
        return r;
    shki_line_enter(l, m); /* A1 */
    for (unsigned i = 0; i < set->n; i++)
        atomic_fetch_or_explicit(set->watches[i].watched, SHKI_WATCHERS, memory_order_relaxed); /* A2 */
    shki_fence_heavy(m->segment->asymmetric); /* A3: the flags before this look; pairs with A4, which of a queue is F2 */
    if (has_news(set))
        slice.deadline = 0; /* leave the line at once */
    shki_line_unlock(l);
    r = shki_line_sleep(l, m, &slice);
    if (r == 0)
        shki_line_resume(m);
    return r == -ETIMEDOUT || r == -ESTALE ? 0 : r; /* what is stale, and why, is for look() to say */
}

/* What is found at a look, or the end of patience; n: neither. */
static int look_carefully(const struct shki_set *set, const struct shki_patience *patience)
{
    int r = look(set), over;

    if (r == (int)set->n) {
        look_after(set);
        r = look(set);
    }
    over = r == (int)set->n ? shki_patience_over(patience) : 0;
    return over < 0 ? over : r;
}

int shki_set_wait(const struct shki_set *set, struct shki_membership *m, const struct shki_patience *patience)
{
    static struct shki_spinner spinner; /* there is no handle to keep one */
    struct shki_line line;
    int r = look_carefully(set, patience), none = (int)set->n;

    if (r == none && shki_spin(&spinner, has_news, set))
        r = look_carefully(set, patience);
    if (r != none)
        return r;
    r = open_line(m->segment, &line);
    if (r < 0)
        return r;
    shki_object_sleeps(set->watches[0].object, m, SHK_WAITS_FOR_ANY, shki_waits_how(patience));
    do {
        r = sleep_a_slice(set, &line, m, patience);
        if (r == 0)
            r = look_carefully(set, patience);
    } while (r == none);
    shki_member_is_awake();
    shki_line_close(&line);
    return r;
}

/*
 * Whose turn it is, if several are ready: the one after that which this thread was given last from the same set. A set has no memory of its own, so the thread
 * has one, for the sets that it has waited for last.
 */
struct turn {
    uint64_t set; /* a hash of what is in it */
    unsigned next;
};

static struct turn *turn_of(const struct shk_ready *wanted, unsigned n)
{
    static _Thread_local struct turn turns[16] __attribute__((tls_model("initial-exec")));
    static _Thread_local unsigned oldest __attribute__((tls_model("initial-exec")));
    const unsigned room = sizeof(turns) / sizeof(turns[0]);
    uint64_t hash = n;

    for (unsigned i = 0; i < n; i++) {
        hash = (hash ^ (uintptr_t)wanted[i].object ^ wanted[i].want) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    for (unsigned i = 0; i < room; i++)
        if (turns[i].set == hash)
            return &turns[i];
    oldest = (oldest + 1) % room;
    turns[oldest] = (struct turn){ .set = hash };
    return &turns[oldest];
}

int shk_wait_any(const struct shk_ready *wanted, unsigned n, int64_t timeout)
{
    struct shki_membership *m;
    struct shki_patience patience;
    struct turn *turn;
    struct shki_set set;
    int r;

    r = shki_set_open(&set, wanted, n, &m);
    if (r < 0)
        return r;
    turn = turn_of(wanted, n);
    set.first = turn->next;
    patience = shki_object_patience(set.watches[0].object, timeout, "none of the objects is ready");
    patience.object = NULL; /* it is about several */
    r = shki_set_wait(&set, m, &patience);
    if (r >= 0)
        turn->next = (unsigned)r + 1;
    return r;
}
