#include "object/ready.h"

#include <shmkit/inspect.h>
#include <shmkit/semaphore.h>
#include <stdlib.h>

#define VALUE_MAX ((uint32_t)INT32_MAX)

/* All under the waitlist's mutex, which orders them; read elsewhere as a hint. */
#define get(field)        atomic_load_explicit(&(field), memory_order_relaxed)
#define set(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)

struct shk_semaphore {
    struct shki_object object;
    struct shki_semaphore_shared *shared;
    uint32_t max; /* a validated copy */
    struct shki_line line;
};

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_semaphore_options *options = plan->options;
    struct shki_semaphore_shared *shared = (void *)o->shared;

    shared->max = options->max ? options->max : VALUE_MAX;
    set(shared->value, options->value);
    return shki_waitlist_build(&shared->waiters);
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
    struct shki_plan plan = {.kind = SHK_KIND_SEMAPHORE,
                             .size = sizeof(struct shki_semaphore_shared),
                             .mutex_at = {offsetof(struct shki_semaphore_shared, waiters)},
                             .build = build,
                             .check = check};
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
    r = shki_object_line(&s->object, SHK_KIND_SEMAPHORE, &s->line);
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
    if (s == NULL || !shki_object_let_go(&s->object))
        return 0;
    shki_line_close(&s->line);
    shki_object_close(&s->object);
    free(s);
    return 0;
}

/* Promise what is there and not promised yet to those who came first. */
static void promise(struct shki_semaphore_shared *shared, struct shki_line *l)
{
    uint32_t value = get(shared->value), promised = get(shared->promised);

    /* killed in here: finish() counts anew and goes on */
    if (value > promised && !shki_line_is_empty(l))
        set(shared->promised, promised + shki_line_notify(l, value - promised));
}

void shki_semaphore_finish(struct shki_line *l)
{
    struct shki_semaphore_shared *shared =
        (void *)((char *)l->shared - offsetof(struct shki_semaphore_shared, waiters));

    set(shared->promised, shki_line_notified(l));
    promise(shared, l);
}

/* With the mutex: a permit that is promised to nobody else. */
static bool take_free(struct shk_semaphore *s)
{
    uint32_t value = get(s->shared->value);

    if (value <= get(s->shared->promised))
        return false;
    /* P1: commits. Killed before: it is there. Killed after: the dead has taken it along. */
    set(s->shared->value, value - 1);
    return true;
}

/*
 * With the mutex, having been notified: the permit that was promised. False if there is none, after
 * deaths in between.
 */
static bool take_promised(struct shk_semaphore *s, struct shki_membership *m)
{
    uint32_t value = get(s->shared->value), promised = get(s->shared->promised);

    /* killed after this: the promise is void, and finish() promises the permit to the next */
    shki_line_resume(m);
    if (promised > 0)
        set(s->shared->promised, promised - 1);
    if (value == 0)
        return false;
    set(s->shared->value, value - 1); /* P1 */
    return true;
}

static int wait_for_permit(struct shk_semaphore *s, struct shki_membership *m,
                           const struct shki_patience *patience)
{
    bool taken = false;
    int r;

    /* with the mutex */
    shki_line_enter(&s->line, m);
    for (;;) {
        shki_line_unlock(&s->line);
        shki_object_sleeps(&s->object, m, SHK_WAITS_FOR_PERMIT, shki_waits_how(patience));
        r = shki_line_sleep(&s->line, m, patience);
        shki_member_is_awake();
        if (r < 0)
            return r;
        while (shki_line_lock(&s->line) < 0)
            ; /* what was promised must be taken */
        if (shki_line_has_lost_it(&s->line, m))
            continue;
        taken = take_promised(s, m);
        if (taken || shki_object_is_stale(&s->object))
            break;
        shki_line_enter(&s->line, m);
    }
    shki_line_unlock(&s->line);
    return taken ? 0 : shki_stale(&s->object);
}

/*
 * With the mutex, by a caller that would have to give up: perhaps it is promised to a member whose
 * death is not known yet.
 */
static bool take_from_unmarked(struct shk_semaphore *s)
{
    shki_line_recover(&s->line);
    shki_line_bury(&s->line);
    return take_free(s);
}

int shk_semaphore_acquire(struct shk_semaphore *s, int64_t timeout)
{
    struct shki_patience patience;
    struct shki_membership *m;
    int r = s ? shki_enter(&s->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    r = shki_line_lock(&s->line);
    if (r < 0)
        return r;
    if (!take_free(s)) {
        /* perhaps it is promised to the dead, or to one that is stopped */
        if (get(s->shared->value) > 0) {
            shki_line_take_back(&s->line);
            shki_line_bury(&s->line);
        }
        if (!take_free(s)) {
            patience = shki_object_patience(&s->object, timeout, "no permit is free");
            if (get(s->shared->value) == 0 || !shki_patience_is_over(&patience) ||
                !take_from_unmarked(s)) {
                r = shki_patience_over(&patience);
                if (r == 0)
                    return wait_for_permit(s, m, &patience);
            }
        }
    }
    shki_line_unlock(&s->line);
    return r;
}

int shk_semaphore_release(struct shk_semaphore *s, unsigned n)
{
    struct shki_membership *m;
    int r = s ? shki_enter(&s->object, &m) : SHKI_NO_HANDLE;
    uint32_t value;

    if (r < 0)
        return r;
    if (n == 0)
        return shki_say(-EINVAL, "the number of permits is 0");
    r = shki_line_lock(&s->line);
    if (r < 0)
        return r;
    value = get(s->shared->value);
    if (n > s->max || value > s->max - n) {
        r = shki_fail(-EOVERFLOW, "%s/%s has at most %u permits", s->object.segment->name,
                      s->object.name, s->max);
    } else {
        set(s->shared->value, value + n); /* P1: commits. Killed after: finish() promises them. */
        promise(s->shared, &s->line);
    }
    shki_line_unlock(&s->line);
    if (r == 0) {
        atomic_thread_fence(memory_order_seq_cst); /* A4 */
        shki_watched_wake(s->object.segment, &s->shared->watched);
    }
    return r;
}

int shk_semaphore_value(struct shk_semaphore *s)
{
    struct shki_membership *m;
    int r = s ? shki_enter(&s->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? r : (int)(get(s->shared->value) & VALUE_MAX);
}

static bool has_free(const struct shk_semaphore *s)
{
    return get(s->shared->value) > get(s->shared->promised);
}

static bool is_ready(const struct shki_watch *w)
{
    return has_free(w->handle);
}

/* Permits may be promised to the dead, or to waiters that are stopped. */
static void look_after(void *semaphore)
{
    struct shk_semaphore *s = semaphore;

    if (get(s->shared->value) == 0 || has_free(s) || shki_line_lock(&s->line) < 0)
        return;
    shki_line_recover(&s->line);
    shki_line_take_back(&s->line);
    shki_line_bury(&s->line);
    shki_line_unlock(&s->line);
}

static void let_go(void *semaphore)
{
    shk_semaphore_close(semaphore);
}

void shki_semaphore_watch(struct shk_semaphore *s, struct shki_watch *w)
{
    *w = (struct shki_watch){.object = &s->object,
                             .keepers = &s->object.keepers,
                             .watched = &s->shared->watched,
                             .handle = s,
                             .is_ready = is_ready,
                             .look_after = look_after,
                             .let_go = let_go};
}
