/* shk_wait_any(): the watcher's side of the protocol that object/watch.h tells. */
#include "poll/poll.h"

#include "base/fence.h"
#include "kinds.h"
#include "object/remote.h"
#include "poll/member_watch.h"

#include <shmkit/inspect.h>

/* ---- What is watched ---- */

/* Whether more is wanted of an object than one row can say. */
static bool wants_several(uint32_t want)
{
    want &= SHK_READABLE | SHK_WRITABLE | SHK_ALL_DONE;
    return (want & (want - 1)) != 0;
}

static int watch(const struct shk_ready *wanted, struct shki_watch *w)
{
    const struct shki_kind *kind =
        wanted->kind == SHK_KIND_MEMBER ? &shki_member_kind : shki_kind(wanted->kind);
    const struct shki_object *object;

    if (kind == NULL)
        return shki_say(-EINVAL, "an object of the set has an unknown kind");
    if (kind->watch == NULL)
        return shki_fail(-ENOTSUP, "%s cannot be waited for together with other objects",
                         kind->name);
    if (wanted->want == 0 || wanted->want & ~kind->watchable || wants_several(wanted->want))
        return shki_say(-EINVAL, "an object of the set wants neither SHK_READABLE nor, as a queue "
                                 "may, SHK_WRITABLE or SHK_ALL_DONE, nor what a member may");
    if (wanted->object == NULL)
        return SHKI_NO_HANDLE;
    object = kind->object_of ? kind->object_of(wanted->object) : wanted->object;
    if (kind->remote != 0 && object->segment->remote)
        return object->segment->remote->watch(object, wanted->object, wanted->want, w);
    kind->watch(wanted->object, wanted->want, w);
    return 0;
}

/* An event that is set from now on counts, though it may be cleared again. */
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
    *m = NULL; /* no thread is a member of a segment that lies elsewhere */
    r = set->watches[0].object->segment->remote ? 0 : shki_enter(set->watches[0].object, m);
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
        if (set->watches[i].is_gone) {
            int r = set->watches[i].is_gone(&set->watches[i]);

            if (r < 0)
                return r;
        } else if (shki_object_is_stale(set->watches[i].object) ||
                   shki_segment_is_closed(set->watches[i].object->segment))
            return shki_stale(set->watches[i].object);
    return 0;
}

/*
 * The index of an object that is ready, n if there is none, or an error. An object that has become
 * ready during the wait is told, though it has been unlinked since. A set with an unlinked object
 * cannot be waited for.
 */
static int check(const struct shki_set *set)
{
    int none = (int)set->n, r = set->waits ? find_ready(set) : none, error;

    if (r != none)
        return r;
    error = find_stale(set);
    return error < 0 ? error : set->waits ? none : find_ready(set);
}

static bool has_news(const void *set)
{
    return check(set) != (int)((const struct shki_set *)set)->n;
}

/* When the first of them becomes ready by itself. */
static int64_t ready_at(const struct shki_set *set)
{
    int64_t first = SHKI_NEVER, at;

    for (unsigned i = 0; i < set->n; i++) {
        const struct shki_watch *w = &set->watches[i];

        at = w->ready_at ? w->ready_at(w) : SHKI_NEVER;
        if (at < first)
            first = at;
    }
    return first;
}

/* Relaxed: it only says when the next recheck is. */
static bool is_prompt(const struct shki_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        if (set->watches[i].prompt && load_relaxed(set->watches[i].prompt) != 0)
            return true;
    return false;
}

static void repair(const struct shki_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        if (set->watches[i].repair)
            set->watches[i].repair(set->watches[i].handle);
}

/* PW2, PW3: the marks before the check that follows; pairs with PW4, which of a queue is EC1. */
static void set_marks(const struct shki_set *set, bool asymmetric)
{
    for (unsigned i = 0; i < set->n; i++)
        fetch_or_relaxed(set->watches[i].watched, SHKI_WATCHERS);
    shki_fence_heavy(asymmetric);
}

/*
 * PW6. Relaxed: a notifier that clears a mark after this comes to the waitlist after the watcher.
 */
static bool has_marks(const struct shki_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        if (!(load_relaxed(set->watches[i].watched) & SHKI_WATCHERS))
            return false;
    return true;
}

/*
 * Sleep until the watchers are released, for a recheck interval at most. `quiet`: intervals in a
 * row without a release.
 */
static int sleep_once(const struct shki_set *set, struct shki_waitlist *l, struct shki_member *m,
                      const struct shki_deadline *deadline, unsigned *quiet)
{
    struct shki_deadline recheck = shki_deadline_within_recheck(deadline, *quiet);
    struct shki_saved_error saved;
    int64_t at;
    int r;

    set_marks(set, m->segment->asymmetric);
    r = shki_waitlist_lock(l);
    if (r < 0)
        return r;
    shki_waitlist_enter(l, m); /* PW1 */
    if (!has_marks(set))
        set_marks(set, m->segment->asymmetric); /* with the mutex, which no notifier waits for */
    if (has_news(set))
        recheck.at = 0; /* leave the waitlist at once */
    at = ready_at(set);
    if (at < recheck.at)
        recheck.at = at;
    shki_waitlist_unlock(l);
    shki_error_save(&saved);
    r = shki_waitlist_sleep(l, m, &recheck);
    if (r == 0)
        shki_waitlist_resume(m);
    *quiet = r == 0 || is_prompt(set) ? 0 : *quiet + 1;
    /* what is stale, and why, check() says */
    return shki_error_settle(r == -ETIMEDOUT || r == -ESTALE ? 0 : r, &saved);
}

/*
 * An object that is ready, after repairs if need be; an error, or the deadline's end; n: neither.
 */
static int check_and_repair(const struct shki_set *set, const struct shki_deadline *deadline)
{
    int r = check(set), ends;

    if (r == (int)set->n) {
        repair(set);
        r = check(set);
    }
    ends = r == (int)set->n ? shki_deadline_check(deadline) : 0;
    return ends < 0 ? ends : r;
}

static int wait(struct shki_set *set, struct shki_member *m, const struct shki_deadline *deadline)
{
    static struct shki_spinner spinner; /* there is no handle to keep one */
    struct shki_waitlist *l = shki_watchers(m->segment);
    int r = check_and_repair(set, deadline), none = (int)set->n;
    unsigned quiet = 0;

    if (r != none)
        return r;
    set->waits = true;
    if (shki_spin(&spinner, has_news, set))
        r = check_and_repair(set, deadline);
    if (r == none && l == NULL)
        r = shki_say(-ENOMEM, "out of memory");
    if (r != none)
        return r;
    shki_object_sleeps(set->watches[0].object, m, SHK_WAITS_FOR_ANY, shki_waits_how(deadline));
    do {
        r = sleep_once(set, l, m, deadline, &quiet);
        if (r == 0)
            r = check_and_repair(set, deadline);
    } while (r == none);
    shki_member_is_awake();
    return r;
}

static int check_elsewhere(void *arg)
{
    struct shki_set *set = arg;
    int r = check(set);

    if (r == (int)set->n) {
        repair(set);
        r = check(set);
    }
    set->waits = true;
    return r;
}

/* Objects that lie elsewhere: what the other implementation is told ends its sleep. */
static int wait_elsewhere(struct shki_set *set, const struct shki_deadline *deadline)
{
    const struct shki_object *first = set->watches[0].object;

    return first->segment->remote->wait(first, deadline, check_elsewhere, set, (int)set->n);
}

int shki_set_wait(struct shki_set *set, struct shki_member *m, const struct shki_deadline *deadline)
{
    int r = m ? wait(set, m, deadline) : wait_elsewhere(set, deadline);

    if (r >= 0)
        note(set);
    return r;
}

/*
 * If several objects are ready, the thread is given the one after that which it was given last from
 * the same set. A set has no memory of its own, so the thread has one of the sets that it has
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
