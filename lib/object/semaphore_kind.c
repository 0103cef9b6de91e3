/* The semaphore as a kind of objects: what opens and closes it, watches it and describes it. */
#include "object/semaphore.h"

#include "object/remote.h"
#include "object/watch.h"

#include <shmkit/inspect.h>

/* ---- Opening ---- */

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_semaphore_options *options = plan->options;
    struct shki_semaphore_shared *shared = (void *)o->shared;

    shared->owners = options->owners;
    shared->max = options->owners ? options->value : options->max ? options->max : SHKI_PERMITS_MAX;
    store_relaxed(&shared->value, options->value);
    return shki_waitlist_init(&shared->waiters);
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    const struct shk_semaphore_options *options = plan->options;
    struct shk_semaphore *s = (struct shk_semaphore *)o;
    uint32_t owners;

    s->shared = (void *)o->shared;
    s->max = s->shared->max;
    if (s->max == 0 || s->max > SHKI_PERMITS_MAX)
        return shki_fail(-EPROTO, "%s/%s is damaged: its maximum", o->segment->name, o->name);
    owners = s->shared->owners;
    if (owners > 1 ||
        (owners && o->size < SHKI_HOLDINGS_OFFSET + shki_holdings_size(o->segment->max_members)))
        return shki_fail(-EPROTO, "%s/%s is damaged: its owners", o->segment->name, o->name);
    s->holdings = shki_holdings_at(o->segment, owners, o->offset + SHKI_HOLDINGS_OFFSET);
    if (options->max && options->max != s->max)
        return shki_fail(-EPROTOTYPE, "%s/%s is a semaphore of at most %u permits",
                         o->segment->name, o->name, s->max);
    if (options->owners && !s->holdings.shared)
        return shki_fail(-EPROTOTYPE, "%s/%s is a semaphore without owners", o->segment->name,
                         o->name);
    return shki_object_waitlist(o, &shki_semaphore_kind, &s->line);
}

static int check_options(const struct shk_semaphore_options *options)
{
    if (options->max > SHKI_PERMITS_MAX ||
        options->value > (options->max ? options->max : SHKI_PERMITS_MAX))
        return shki_say(
            -EINVAL, "the semaphore's value is more than its maximum, or that more than 2^31 - 1");
    if (options->owners > 1 || options->reserved_32)
        return shki_say(-EINVAL, "owners is neither 0 nor 1, or a reserved option is not zero");
    return shki_check_reserved(options->reserved, 7);
}

int shk_semaphore_open(struct shk_segment *segment, const char *name, unsigned flags,
                       const struct shk_semaphore_options *options, struct shk_semaphore **out)
{
    static const struct shk_semaphore_options defaults = {.value = 1};
    struct shki_plan plan = {.kind = &shki_semaphore_kind};
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    plan.options = options = options ? options : &defaults;
    r = check_options(options);
    if (r < 0)
        return r;
    if (options->owners) {
        plan.size = SHKI_HOLDINGS_OFFSET + (segment ? shki_holdings_size(segment->max_members) : 0);
        if (options->value == 0 || (options->max && options->max != options->value)) {
            plan.cannot_create = -EINVAL;
            plan.why = "with owners the value is the number of all permits, at least 1, and the "
                       "maximum is the same, or 0";
        }
    }
    *out = shki_handle_open(segment, name, flags, &plan, sizeof(**out), &r);
    return r == SHKI_REMOTE ? segment->remote->semaphore->open(segment, name, flags, options, out)
                            : r;
}

int shk_semaphore_close(struct shk_semaphore *s)
{
    if (s && s->object.segment->remote)
        return s->object.segment->remote->semaphore->close(s);
    if (s == NULL || !shki_object_unref(&s->object))
        return 0;
    shki_waitlist_close(&s->line);
    shki_handle_close(&s->object);
    return 0;
}

/* ---- Watching ---- */

static bool is_ready(const struct shki_watch *w)
{
    return shki_semaphore_free(w->handle) > 0;
}

static void repair(void *semaphore)
{
    shki_semaphore_repair(semaphore);
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

/* ---- What is seen from outside ---- */

static void describe(const struct shki_image *image, const struct shki_entry *e, const void *shared,
                     struct shk_object_info *info)
{
    const struct shki_semaphore_shared *semaphore = shared;

    info->as.semaphore.value = load_relaxed(&semaphore->value);
    info->as.semaphore.max = semaphore->max;
    info->as.semaphore.owners = semaphore->owners == 1;
    if (semaphore->owners == 1)
        shki_holdings_describe(image, e, SHKI_HOLDINGS_OFFSET, info);
}

const struct shki_kind shki_semaphore_kind = {
    .number = SHK_KIND_SEMAPHORE,
    .name = "a semaphore",
    .size = sizeof(struct shki_semaphore_shared),
    .mutex_offset = {offsetof(struct shki_semaphore_shared, waiters)},
    .build = build,
    .check = check,
    .waitlist = {.offset = offsetof(struct shki_semaphore_shared, waiters),
                 .recover = shki_semaphore_recover,
                 .is_due = shki_semaphore_is_due,
                 .takes_back = true},
    .waiter_may_keep = true,
    .remote = offsetof(struct shki_remote, semaphore),
    .watchable = SHK_READABLE,
    .watch = watch,
    .describe = describe,
};
