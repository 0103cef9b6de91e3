/*
 * A semaphore: permits under the mutex of a waitlist.
 *
 *     acquire                                      release of n permits
 *     lock the waitlist                            lock the waitlist
 *     value > promised? SM1: value -= 1            SM1: value += n
 *     else enter; unlock; sleep until notified     promise: notify the first waiters, as many as
 *       lock; resume; promised -= 1;                 there are permits; promised += that many
 *       SM1: value -= 1                            unlock; PW4, PW5: watchers
 *     unlock
 *
 * A notify does not hand a permit over, it promises one: until its waiter has resumed, the permit
 * is still in `value`, and no other thread may take it. So a waiter that dies on its way loses
 * nothing: recover() counts the promises anew, and promises the permit to the next waiter. With the
 * permit taken from `value` by the notifier, it would be lost with the waiter.
 *
 * `value` and `promised` are written with the mutex, which orders them. They are read without it as
 * a hint.
 */
#include "object/semaphore.h"

#include "object/watch.h"

#include <shmkit/inspect.h>
#include <shmkit/semaphore.h>
#include <stdlib.h>

#define VALUE_MAX ((uint32_t)INT32_MAX)

struct shk_semaphore {
    struct shki_object object;
    struct shki_semaphore_shared *shared;
    uint32_t max; /* a validated copy */
    struct shki_waitlist line;
};

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_semaphore_options *options = plan->options;
    struct shki_semaphore_shared *shared = (void *)o->shared;

    shared->max = options->max ? options->max : VALUE_MAX;
    store_relaxed(&shared->value, options->value);
    return shki_waitlist_init(&shared->waiters);
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_semaphore_options *options = plan->options;
    struct shk_semaphore *s = (struct shk_semaphore *)o;

    s->shared = (void *)o->shared;
    s->max = s->shared->max;
    if (s->max == 0 || s->max > VALUE_MAX)
        return shki_fail(-EPROTO, "%s/%s is damaged: its maximum", o->segment->name, o->name);
    if (options->max && options->max != s->max)
        return shki_fail(-EPROTOTYPE, "%s/%s is a semaphore of at most %u permits",
                         o->segment->name, o->name, s->max);
    return 0;
}

int shk_semaphore_open(struct shk_segment *segment, const char *name, unsigned flags,
                       const struct shk_semaphore_options *options, struct shk_semaphore **out)
{
    static const struct shk_semaphore_options defaults = {.value = 1};
    struct shki_plan plan = {.kind = &shki_semaphore_kind};
    struct shk_semaphore *s;
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    plan.options = options = options ? options : &defaults;
    if (options->max > VALUE_MAX || options->value > (options->max ? options->max : VALUE_MAX))
        return shki_say(
            -EINVAL, "the semaphore's value is more than its maximum, or that more than 2^31 - 1");
    r = shki_check_reserved(options->reserved, 8);
    if (r < 0)
        return r;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return shki_say(-ENOMEM, "out of memory");
    r = shki_object_open(segment, name, flags, &plan, &s->object);
    if (r < 0)
        goto fail;
    r = shki_object_waitlist(&s->object, &shki_semaphore_kind, &s->line);
    if (r < 0) {
        shki_object_close(&s->object);
        goto fail;
    }
    *out = s;
    return 0;
fail:
    free(s);
    return r;
}

int shk_semaphore_close(struct shk_semaphore *s)
{
    if (s == NULL || !shki_object_unref(&s->object))
        return 0;
    shki_waitlist_close(&s->line);
    shki_object_close(&s->object);
    free(s);
    return 0;
}

/* Promise the permits that are not promised yet to the waiters that came first. */
static void promise(struct shki_semaphore_shared *shared, struct shki_waitlist *l)
{
    uint32_t value = load_relaxed(&shared->value), promised = load_relaxed(&shared->promised);

    /* Killed in here: recover() counts anew and goes on. */
    if (value > promised && !shki_waitlist_is_empty(l))
        store_relaxed(&shared->promised, promised + shki_waitlist_notify(l, value - promised));
}

static void recover(struct shki_waitlist *l)
{
    struct shki_semaphore_shared *shared =
        (void *)((char *)l->shared - offsetof(struct shki_semaphore_shared, waiters));

    store_relaxed(&shared->promised, shki_waitlist_notified(l));
    promise(shared, l);
}

/* With the mutex: take a permit that is not promised. */
static bool take_free(struct shk_semaphore *s)
{
    uint32_t value = load_relaxed(&s->shared->value);

    if (value <= load_relaxed(&s->shared->promised))
        return false;
    /* SM1: commits. Killed before: the permit is there. Killed after: it went with the dead. */
    store_relaxed(&s->shared->value, value - 1);
    return true;
}

/*
 * With the mutex, having been notified: take the permit that was promised. False: there is none any
 * more, after deaths in between.
 */
static bool take_promised(struct shk_semaphore *s, struct shki_member *m)
{
    uint32_t value = load_relaxed(&s->shared->value), promised = load_relaxed(&s->shared->promised);

    /* Killed after this: the promise is void, and recover() promises the permit to the next. */
    shki_waitlist_resume(m);
    if (promised > 0)
        store_relaxed(&s->shared->promised, promised - 1);
    if (value == 0)
        return false;
    store_relaxed(&s->shared->value, value - 1); /* SM1: commits */
    return true;
}

static int wait_for_permit(struct shk_semaphore *s, struct shki_member *m,
                           const struct shki_deadline *deadline)
{
    bool taken = false;
    int r;

    /* with the mutex */
    shki_waitlist_enter(&s->line, m);
    for (;;) {
        shki_waitlist_unlock(&s->line);
        shki_object_sleeps(&s->object, m, SHK_WAITS_FOR_PERMIT, shki_waits_how(deadline));
        r = shki_waitlist_sleep(&s->line, m, deadline);
        shki_member_is_awake();
        if (r < 0)
            return r;
        while (shki_waitlist_lock(&s->line) < 0)
            ; /* a permit that was promised must be taken */
        if (shki_waitlist_was_taken_back(&s->line, m))
            continue;
        taken = take_promised(s, m);
        if (taken || shki_object_is_stale(&s->object))
            break;
        shki_waitlist_enter(&s->line, m);
    }
    shki_waitlist_unlock(&s->line);
    return taken ? 0 : shki_stale(&s->object);
}

/*
 * With the mutex, by a caller that would have to give up: the permit may be promised to a member
 * whose death the kernel has not marked.
 */
static bool take_from_unmarked(struct shk_semaphore *s)
{
    shki_waitlist_recover(&s->line);
    shki_waitlist_reap(&s->line);
    return take_free(s);
}

int shk_semaphore_acquire(struct shk_semaphore *s, int64_t timeout)
{
    struct shki_deadline deadline;
    struct shki_member *m;
    int r = s ? shki_enter(&s->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    r = shki_waitlist_lock(&s->line);
    if (r < 0)
        return r;
    if (!take_free(s)) {
        /* a permit may be promised to a dead waiter, or to a stopped one */
        if (load_relaxed(&s->shared->value) > 0) {
            shki_waitlist_take_back(&s->line);
            shki_waitlist_reap(&s->line);
        }
        if (!take_free(s)) {
            deadline = shki_object_deadline(&s->object, timeout, "no permit is free");
            if (load_relaxed(&s->shared->value) == 0 || !shki_deadline_has_passed(&deadline) ||
                !take_from_unmarked(s)) {
                r = shki_deadline_check(&deadline);
                if (r == 0)
                    return wait_for_permit(s, m, &deadline);
            }
        }
    }
    shki_waitlist_unlock(&s->line);
    return r;
}

int shk_semaphore_release(struct shk_semaphore *s, unsigned n)
{
    struct shki_member *m;
    int r = s ? shki_enter(&s->object, &m) : SHKI_NO_HANDLE;
    uint32_t value;

    if (r < 0)
        return r;
    if (n == 0)
        return shki_say(-EINVAL, "the number of permits is 0");
    r = shki_waitlist_lock(&s->line);
    if (r < 0)
        return r;
    value = load_relaxed(&s->shared->value);
    if (n > s->max || value > s->max - n) {
        r = shki_fail(-EOVERFLOW, "%s/%s has at most %u permits", s->object.segment->name,
                      s->object.name, s->max);
    } else {
        /* SM1: commits. Killed after: recover() promises them. */
        store_relaxed(&s->shared->value, value + n);
        promise(s->shared, &s->line);
    }
    shki_waitlist_unlock(&s->line);
    if (r == 0) {
        atomic_thread_fence(memory_order_seq_cst); /* PW4 */
        shki_watched_wake(s->object.segment, &s->shared->watched);
    }
    return r;
}

int shk_semaphore_value(struct shk_semaphore *s)
{
    struct shki_member *m;
    int r = s ? shki_enter(&s->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? r : (int)(load_relaxed(&s->shared->value) & VALUE_MAX);
}

static bool has_free(const struct shk_semaphore *s)
{
    return load_relaxed(&s->shared->value) > load_relaxed(&s->shared->promised);
}

static bool is_ready(const struct shki_watch *w)
{
    return has_free(w->handle);
}

/* Permits may be promised to dead waiters, or to stopped ones. */
static void repair(void *semaphore)
{
    struct shk_semaphore *s = semaphore;

    if (load_relaxed(&s->shared->value) == 0 || has_free(s) || shki_waitlist_lock(&s->line) < 0)
        return;
    shki_waitlist_recover(&s->line);
    shki_waitlist_take_back(&s->line);
    shki_waitlist_reap(&s->line);
    shki_waitlist_unlock(&s->line);
}

static void unref(void *semaphore)
{
    shk_semaphore_close(semaphore);
}

static void watch(void *handle, uint32_t want, struct shki_watch *w)
{
    struct shk_semaphore *s = handle;

    (void)want;
    *w = (struct shki_watch){.object = &s->object,
                             .refs = &s->object.refs,
                             .watched = &s->shared->watched,
                             .handle = s,
                             .is_ready = is_ready,
                             .repair = repair,
                             .unref = unref};
}

static void describe(const struct shki_image *image, const struct shki_entry *e, const void *shared,
                     struct shk_object_info *info)
{
    const struct shki_semaphore_shared *semaphore = shared;

    (void)image;
    (void)e;
    info->as.semaphore.value = load_relaxed(&semaphore->value);
    info->as.semaphore.max = semaphore->max;
}

const struct shki_kind shki_semaphore_kind = {
    .number = SHK_KIND_SEMAPHORE,
    .name = "a semaphore",
    .size = sizeof(struct shki_semaphore_shared),
    .mutex_offset = {offsetof(struct shki_semaphore_shared, waiters)},
    .build = build,
    .check = check,
    .waitlist = {.offset = offsetof(struct shki_semaphore_shared, waiters),
                 .recover = recover,
                 .takes_back = true},
    .waiter_may_keep = true,
    .watchable = SHK_READABLE,
    .watch = watch,
    .describe = describe,
};
