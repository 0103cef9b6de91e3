#include "poll/poll.h"

#include "queue/queue.h"

#include <shmkit/inspect.h>
#include <stdlib.h>

/* ---- The line of the watchers ---- */

/* One view for all threads of the process: what is not constant in it is used with the mutex. */
struct view {
    struct shki_waitlist line;
    uint32_t order[];
};

struct shki_waitlist *shki_watchers(struct shk_segment *s)
{
    struct view *v = load_acquire(&s->watchers);
    void *none = NULL;

    if (likely(v != NULL))
        return &v->line;
    v = calloc(1, sizeof(*v) + s->max_members * sizeof(v->order[0]));
    if (v == NULL)
        return NULL;
    v->line = (struct shki_waitlist){.segment = s,
                                     .shared = &s->header->watchers,
                                     .offset = offsetof(struct shki_header, watchers),
                                     .repairs = &s->header->watch_repairs,
                                     .asks = true,
                                     .order = v->order};
    if (!compare_exchange_acq_rel(&s->watchers, &none, v)) {
        free(v);
        v = none; /* another thread was faster */
    }
    return &v->line;
}

void shki_watchers_wake(struct shk_segment *s)
{
    struct shki_waitlist *l = shki_watchers(s);

    if (l) /* else they find out at the end of their slice */
        shki_waitlist_request(l);
}

void shki_watchers_reap(struct shk_segment *s)
{
    struct shki_waitlist *l = shki_watchers(s);

    if (l == NULL || shki_waitlist_lock(l) != 0)
        return;
    shki_waitlist_reap(l);
    shki_waitlist_unlock(l);
}

/* ---- What is watched ---- */

/* A shutdown that was reopened is told to the watchers that waited for the queue when it came. */
static uint64_t shutdowns_of(const struct shk_queue *q)
{
    return shki_shut_word(q) & ~SHKI_SHUT_STATE;
}

static void note_shutdowns(struct shki_watch *w)
{
    w->since = shutdowns_of(w->handle);
}

static bool is_readable(const struct shki_watch *w)
{
    return shki_queue_is_readable(w->handle) || shutdowns_of(w->handle) != w->since;
}

static bool is_writable(const struct shki_watch *w)
{
    return shki_queue_is_writable(w->handle) || shutdowns_of(w->handle) != w->since;
}

static void close_queue(void *queue)
{
    shk_queue_close(queue);
}

static void watch_queue(struct shk_queue *q, uint32_t want, struct shki_watch *w)
{
    bool get = want == SHK_READABLE;

    *w = (struct shki_watch){.object = &q->object,
                             .refs = &q->object.refs,
                             .handle = q,
                             .unref = close_queue,
                             .watched =
                                 get ? &q->shared->not_empty.flags : &q->shared->not_full.flags,
                             .note = note_shutdowns,
                             .is_ready = get ? is_readable : is_writable};
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
        return shki_fail(-ENOTSUP, "%s cannot be waited for together with other objects",
                         shki_kind_name(wanted->kind));
    default:
        return shki_say(-EINVAL, "an object of the set has an unknown kind");
    }
    if (wanted->want != SHK_READABLE &&
        (wanted->want != SHK_WRITABLE || wanted->kind != SHK_KIND_QUEUE))
        return shki_say(
            -EINVAL,
            "an object of the set wants neither SHK_READABLE nor, as a queue may, SHK_WRITABLE");
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

/* From now on an event that is set counts, though it is cleared at once. */
static void note(struct shki_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        if (set->watches[i].note)
            set->watches[i].note(&set->watches[i]);
    set->waits = false;
}

int shki_set_open(struct shki_set *set, const struct shk_ready *wanted, unsigned n,
                  struct shki_member **m)
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
            return shki_say(-EXDEV, "the objects of the set are of several segments");
    }
    r = shki_enter(set->watches[0].object, m);
    if (r == 0)
        note(set);
    return r;
}

/* ---- Waiting ---- */

static int find_ready(const struct shki_set *set)
{
    for (unsigned i = 0; i < set->n; i++) {
        unsigned at = (set->first + i) % set->n;

        if (set->watches[at].is_ready(&set->watches[at]))
            return (int)at;
    }
    return (int)set->n;
}

static int find_stale(const struct shki_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        if (shki_object_is_stale(set->watches[i].object) ||
            shki_segment_is_closed(set->watches[i].object->segment))
            return shki_stale(set->watches[i].object);
    return 0;
}

/*
 * The index of one that is ready, n if there is none, or an error. What has become ready during
 * the wait is told, though it has been unlinked then; a set with an unlinked object cannot be
 * waited for.
 */
static int look(const struct shki_set *set)
{
    int none = (int)set->n, r = set->waits ? find_ready(set) : none, error;

    if (r != none)
        return r;
    error = find_stale(set);
    return error < 0 ? error : set->waits ? none : find_ready(set);
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

/* A2, A3: the marks before the look that follows; pairs with A4, which of a queue is F2. */
static void set_marks(const struct shki_set *set, bool asymmetric)
{
    for (unsigned i = 0; i < set->n; i++)
        fetch_or_relaxed(set->watches[i].watched, SHKI_WATCHERS);
    shki_fence_heavy(asymmetric);
}

/* A6: relaxed: a member that clears one after this comes to the line after this thread. */
static bool has_marks(const struct shki_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        if (!(load_relaxed(set->watches[i].watched) & SHKI_WATCHERS))
            return false;
    return true;
}

static int sleep_a_slice(const struct shki_set *set, struct shki_waitlist *l, struct shki_member *m,
                         const struct shki_deadline *deadline)
{
    struct shki_deadline slice = *deadline;
    int64_t end = shki_now() + SHKI_RECHECK;
    int r;

    if (slice.at > end && shki_repair_enabled(SHKI_REPAIR_BACKSTOP))
        slice.at = end;
    set_marks(set, m->segment->asymmetric);
    r = shki_waitlist_lock(l);
    if (r < 0)
        return r;
    shki_waitlist_enter(l, m); /* A1 */
    if (!has_marks(set))
        set_marks(set, m->segment->asymmetric); /* with the mutex, which no waker waits for */
    if (has_news(set))
        slice.at = 0; /* leave the line at once */
    shki_waitlist_unlock(l);
    r = shki_waitlist_sleep(l, m, &slice);
    if (r == 0)
        shki_waitlist_resume(m);
    /* what is stale, and why, is for look() to say */
    return r == -ETIMEDOUT || r == -ESTALE ? 0 : r;
}

/* What is found at a look, or the end of deadline; n: neither. */
static int look_carefully(const struct shki_set *set, const struct shki_deadline *deadline)
{
    int r = look(set), over;

    if (r == (int)set->n) {
        look_after(set);
        r = look(set);
    }
    over = r == (int)set->n ? shki_deadline_check(deadline) : 0;
    return over < 0 ? over : r;
}

static int wait(struct shki_set *set, struct shki_member *m, const struct shki_deadline *deadline)
{
    static struct shki_spinner spinner; /* there is no handle to keep one */
    struct shki_waitlist *line = shki_watchers(m->segment);
    int r = look_carefully(set, deadline), none = (int)set->n;

    if (r != none)
        return r;
    set->waits = true;
    if (shki_spin(&spinner, has_news, set))
        r = look_carefully(set, deadline);
    if (r == none && line == NULL)
        r = shki_say(-ENOMEM, "out of memory");
    if (r != none)
        return r;
    shki_object_sleeps(set->watches[0].object, m, SHK_WAITS_FOR_ANY, shki_waits_how(deadline));
    do {
        r = sleep_a_slice(set, line, m, deadline);
        if (r == 0)
            r = look_carefully(set, deadline);
    } while (r == none);
    shki_member_is_awake();
    return r;
}

int shki_set_wait(struct shki_set *set, struct shki_member *m, const struct shki_deadline *deadline)
{
    int r = wait(set, m, deadline);

    if (r >= 0)
        note(set);
    return r;
}

/*
 * Whose turn it is, if several are ready: the one after that which this thread was given last from
 * the same set. A set has no memory of its own, so the thread has one, for the sets that it has
 * waited for last.
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
    turns[oldest] = (struct turn){.set = hash};
    return &turns[oldest];
}

int shk_wait_any(const struct shk_ready *wanted, unsigned n, int64_t timeout)
{
    struct shki_member *m;
    struct shki_deadline deadline;
    struct turn *turn;
    struct shki_set set;
    int r;

    r = shki_set_open(&set, wanted, n, &m);
    if (r < 0)
        return r;
    turn = turn_of(wanted, n);
    set.first = turn->next;
    deadline = shki_object_deadline(set.watches[0].object, timeout, "none of the objects is ready");
    deadline.object = NULL; /* it is about several */
    r = shki_set_wait(&set, m, &deadline);
    if (r >= 0)
        turn->next = (unsigned)r + 1;
    return r;
}
