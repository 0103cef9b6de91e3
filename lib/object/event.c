/*
 * An event: a broadcast (broadcast.h), with a bit that says that it is set.
 *
 *     waiter                                       set
 *     EV1: the bit is set? then done               EV1: set the bit, and count, unless it is set
 *     else wait for the broadcast                  wake all that wait, and the watchers
 *
 * A set that is cleared before the waiter runs has released it all the same, for it was counted;
 * and so has one that comes before an unlink.
 */
#include "object/event.h"

#include "object/remote.h"
#include "object/watch.h"

#include <shmkit/event.h>
#include <shmkit/inspect.h>

struct shk_event {
    struct shki_object object;
    struct shki_event_shared *shared;
    struct shki_spinner spinner;
};

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    (void)o; /* zero: clear */
    (void)plan;
    return 0;
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    (void)plan;
    ((struct shk_event *)o)->shared = (void *)o->shared;
    return 0;
}

int shk_event_open(struct shk_segment *segment, const char *name, unsigned flags,
                   const struct shk_event_options *options, struct shk_event **out)
{
    const struct shki_plan plan = {.kind = &shki_event_kind};
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    r = options ? shki_check_reserved(options->reserved, 8) : 0;
    if (r < 0)
        return r;
    *out = shki_handle_open(segment, name, flags, &plan, sizeof(**out), &r);
    return r == SHKI_REMOTE ? segment->remote->event->open(segment, name, flags, options, out) : r;
}

int shk_event_close(struct shk_event *event)
{
    if (event && event->object.segment->remote)
        return event->object.segment->remote->event->close(event);
    if (event == NULL || !shki_object_unref(&event->object))
        return 0;
    shki_handle_close(&event->object);
    return 0;
}

static uint64_t state_of(const struct shk_event *event)
{
    return shki_broadcast_state(&event->shared->sets);
}

static bool is_set(const struct shk_event *event)
{
    return state_of(event) & SHKI_EVENT_SET;
}

int shk_event_set(struct shk_event *event)
{
    struct shki_member *m;
    int r = event ? shki_enter(&event->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, event, event, set, (event));
    shki_broadcast_wake(event->object.segment, &event->shared->sets,
                        shki_broadcast_count(&event->shared->sets, SHKI_EVENT_SET));
    return 0;
}

int shk_event_clear(struct shk_event *event)
{
    struct shki_member *m;
    int r = event ? shki_enter(&event->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, event, event, clear, (event));
    /*
     * EV1: release; commits. The count stays, so the waiters of the time when it was set are
     * released all the same.
     */
    fetch_and_release(&event->shared->sets.state, ~(uint64_t)SHKI_EVENT_SET);
    return 0;
}

static __attribute__((noinline)) int is_set_slow(struct shk_event *event)
{
    struct shki_member *m;
    int r = event ? shki_enter(&event->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? SHKI_ELSEWHERE(r, event, event, is_set, (event)) : is_set(event);
}

int shk_event_is_set(struct shk_event *event)
{
    return event && shki_is_entered(&event->object) ? is_set(event) : is_set_slow(event);
}

static void wake_at_unlink(struct shki_object *o)
{
    shki_broadcast_unlink(&((struct shki_event_shared *)(void *)o->shared)->sets);
}

static int wait_for_set(struct shk_event *event, struct shki_member *m, uint64_t state,
                        int64_t timeout)
{
    struct shki_deadline deadline =
        shki_object_deadline(&event->object, timeout, "the event is not set");

    return shki_broadcast_wait(&event->object, &event->shared->sets, &event->spinner, m,
                               SHK_WAITS_FOR_SET, state, &deadline);
}

static __attribute__((noinline)) int wait_slow(struct shk_event *event, int64_t timeout)
{
    struct shki_member *m;
    int r = event ? shki_enter(&event->object, &m) : SHKI_NO_HANDLE;
    uint64_t state;

    if (r < 0)
        return SHKI_ELSEWHERE(r, event, event, wait, (event, timeout));
    state = state_of(event);
    return state & SHKI_EVENT_SET ? 0 : wait_for_set(event, m, state, timeout);
}

int shk_event_wait(struct shk_event *event, int64_t timeout)
{
    return event && shki_is_entered(&event->object) && is_set(event) ? 0
                                                                     : wait_slow(event, timeout);
}

/* `since` is for shk_wait_any() what `clear` is for a wait. */
static void note(struct shki_watch *w)
{
    w->since = shki_broadcast_sent(state_of(w->handle)) * SHKI_BROADCAST_ONCE;
}

static bool is_ready(const struct shki_watch *w)
{
    return shki_broadcast_has_come(state_of(w->handle), w->since);
}

static void unref(void *event)
{
    shk_event_close(event);
}

static void watch(void *handle, uint32_t want, struct shki_watch *w)
{
    struct shk_event *event = handle;

    (void)want;
    *w = (struct shki_watch){.object = &event->object,
                             .refs = &event->object.refs,
                             .watched = &event->shared->sets.watched,
                             .handle = event,
                             .note = note,
                             .is_ready = is_ready,
                             .unref = unref};
}

static void wake_at_close(struct shki_object *o, uint32_t waits_for)
{
    (void)waits_for;
    shki_broadcast_wake_all(&((struct shki_event_shared *)(void *)o->shared)->sets);
}

static void describe(const struct shki_image *image, const struct shki_entry *e, const void *shared,
                     struct shk_object_info *info)
{
    const struct shki_event_shared *event = shared;

    (void)image;
    (void)e;
    info->as.event.is_set = (load_relaxed(&event->sets.state) & SHKI_EVENT_SET) != 0;
}

const struct shki_kind shki_event_kind = {
    .number = SHK_KIND_EVENT,
    .name = "an event",
    .size = sizeof(struct shki_event_shared),
    .remote = offsetof(struct shki_remote, event),
    .build = build,
    .check = check,
    .wake_at_unlink = wake_at_unlink,
    .wake_at_close = wake_at_close,
    .watchable = SHK_READABLE,
    .watch = watch,
    .describe = describe,
};
