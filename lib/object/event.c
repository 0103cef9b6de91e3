#include "object/ready.h"

#include <shmkit/event.h>
#include <shmkit/inspect.h>
#include <stdlib.h>

struct shk_event {
    struct shki_object object;
    struct shki_event_shared *shared;
    struct shki_line line;
};

static int build(struct shki_object *o, const struct shki_plan *plan)
{
    struct shki_event_shared *shared = (void *)o->shared;

    (void)plan;
    return shki_waitlist_build(&shared->waiters);
}

static int check(struct shki_object *o, const struct shki_plan *plan)
{
    (void)plan;
    ((struct shk_event *)o)->shared = (void *)o->shared;
    return 0;
}

/* Whoever died with the mutex may have set the event and not released those who wait. */
void shki_event_finish(struct shki_line *l)
{
    const struct shki_event_shared *shared = (const void *)((const char *)l->shared - offsetof(struct shki_event_shared, waiters));

    if (atomic_load_explicit(&shared->is_set, memory_order_relaxed) && shki_repairs(SHKI_REPAIR_FINISH_EVENT))
        shki_line_notify_all(l);
}

int shk_event_open(struct shk_segment *segment, const char *name, unsigned flags, const struct shk_event_options *options, struct shk_event **out)
{
    struct shki_plan plan = { .kind = SHK_KIND_EVENT, .size = sizeof(struct shki_event_shared), .build = build, .check = check };
    struct shk_event *event;
    int r;

    if (out == NULL)
        return SHKI_NO_HANDLE;
    *out = NULL;
    r = options ? shki_check_reserved(options->reserved, 8) : 0;
    if (r < 0)
        return r;
    event = calloc(1, sizeof(*event));
    if (event == NULL)
        return shki_say(-ENOMEM, "no memory");
    r = shki_object_open(segment, name, flags, &plan, &event->object);
    if (r < 0)
        goto fail;
    r = shki_object_line(&event->object, SHK_KIND_EVENT, &event->line);
    if (r < 0) {
        shki_object_close(&event->object);
        goto fail;
    }
    *out = event;
    return 0;
fail:
    free(event);
    return r;
}

int shk_event_close(struct shk_event *event)
{
    if (event == NULL || !shki_object_let_go(&event->object))
        return 0;
    shki_line_close(&event->line);
    shki_object_close(&event->object);
    free(event);
    return 0;
}

static bool is_set(const struct shk_event *event)
{
    /* V1: acquire; pairs with the release in set: who sees it set sees what was done before. */
    return atomic_load_explicit(&event->shared->is_set, memory_order_acquire) != 0;
}

int shk_event_set(struct shk_event *event)
{
    struct shki_membership *m;
    int r = event ? shki_enter(&event->object, &m) : SHKI_NO_HANDLE;

    if (r == 0)
        r = shki_line_lock(&event->line);
    if (r < 0)
        return r;
    /* V1: commits. Killed before: nothing has happened. Killed after: shki_event_finish() releases the waiters, whose backstop takes the mutex. */
    atomic_store_explicit(&event->shared->is_set, 1, memory_order_release);
    if (!shki_line_is_empty(&event->line))
        shki_line_notify_all(&event->line);
    shki_line_unlock(&event->line);
    atomic_thread_fence(memory_order_seq_cst); /* A4 */
    shki_watched_wake(event->object.segment, &event->shared->watched);
    return 0;
}

int shk_event_clear(struct shk_event *event)
{
    struct shki_membership *m;
    int r = event ? shki_enter(&event->object, &m) : SHKI_NO_HANDLE;

    if (r == 0)
        r = shki_line_lock(&event->line); /* so that a dead setter's waiters are released before it is clear */
    if (r < 0)
        return r;
    atomic_store_explicit(&event->shared->is_set, 0, memory_order_release); /* V1: commits */
    shki_line_unlock(&event->line);
    return 0;
}

int shk_event_is_set(struct shk_event *event)
{
    struct shki_membership *m;
    int r = event ? shki_enter(&event->object, &m) : SHKI_NO_HANDLE;

    return r < 0 ? r : is_set(event);
}

static int wait_for_set(struct shk_event *event, struct shki_membership *m, int64_t timeout)
{
    struct shki_patience patience = shki_object_patience(&event->object, timeout);
    int r = shki_patience_over(&patience);

    if (r == 0)
        r = shki_line_lock(&event->line);
    if (r < 0)
        return r;
    if (is_set(event)) {
        shki_line_unlock(&event->line);
        return 0;
    }
    shki_line_enter(&event->line, m);
    shki_line_unlock(&event->line);
    shki_object_sleeps(&event->object, m, SHK_WAITS_FOR_SET, shki_waits_how(&patience));
    r = shki_line_sleep(&event->line, m, &patience);
    shki_member_is_awake();
    if (r == 0)
        shki_line_resume(m);
    return r == 0 && shki_object_is_stale(&event->object) ? shki_stale(&event->object) : r;
}

int shk_event_wait(struct shk_event *event, int64_t timeout)
{
    struct shki_membership *m;
    int r = event ? shki_enter(&event->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return r;
    if (!shki_timeout_is_legal(timeout))
        return SHKI_BAD_TIMEOUT;
    return is_set(event) ? 0 : wait_for_set(event, m, timeout);
}

static bool is_ready(const void *event)
{
    return is_set(event);
}

static void let_go(void *event)
{
    shk_event_close(event);
}

void shki_event_watch(struct shk_event *event, struct shki_watch *w)
{
    *w = (struct shki_watch){ .object = &event->object, .keepers = &event->object.keepers, .watched = &event->shared->watched, .handle = event,
                              .is_ready = is_ready, .let_go = let_go };
}
