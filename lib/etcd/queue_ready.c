/*
 * The queue in a set: an item to be taken, or room for one, as far as the watches have told; or
 * that all is done, which a look finds: see queue_tasks.c.
 */
#include "etcd/queue.h"

#include <shmkit/ready.h>

/* ---- An item, or room ---- */

/* With the object's lock: also one that was reopened since. */
static bool was_shut(const struct shke_queue *q, const struct shki_watch *w)
{
    return q->is_shut || q->shutdowns != w->since;
}

/* With the object's lock: the line that is heeded has ended, since the handle was opened. */
static bool has_ended(const struct shke_queue *q, const struct shki_watch *w, unsigned side)
{
    const struct shki_roles handle = {.ended_before = {w->ended_before, w->ended_before}};

    return w->ended_before != UINT64_MAX && shke_roles_has_ended(&q->roles, &handle, side);
}

static bool is_readable(const struct shki_watch *w)
{
    struct shke_queue *q = w->handle;
    const struct shke_item *i;
    bool is;

    pthread_mutex_lock(&q->object.lock);
    for (i = q->head; i && !shke_item_is_free(i); i = i->next)
        ;
    is = i != NULL || was_shut(q, w) || (q->n_items == 0 && has_ended(q, w, SHKI_PRODUCERS));
    pthread_mutex_unlock(&q->object.lock);
    return is;
}

static bool is_writable(const struct shki_watch *w)
{
    struct shke_queue *q = w->handle;
    bool is;

    pthread_mutex_lock(&q->object.lock);
    is = q->capacity == 0 || q->n_free > 0 || was_shut(q, w) || has_ended(q, w, SHKI_CONSUMERS);
    pthread_mutex_unlock(&q->object.lock);
    return is;
}

static void note_shutdowns(struct shki_watch *w)
{
    struct shke_queue *q = w->handle;

    pthread_mutex_lock(&q->object.lock);
    w->since = q->shutdowns;
    pthread_mutex_unlock(&q->object.lock);
}

/* ---- All done ---- */

#define JUST_LOOKED UINT64_MAX /* since: the look that began the watch counts */

static bool is_done(const struct shki_watch *w)
{
    struct shke_queue *q = w->handle;
    bool is;

    pthread_mutex_lock(&q->object.lock);
    is = q->is_done && q->looks > w->since;
    pthread_mutex_unlock(&q->object.lock);
    return is;
}

/* A role that the process has lost with its lease begins anew while the set waits. */
static void keep_roles(void *queue)
{
    struct shke_queue *q = queue;

    shke_roles_keep_set(&q->object, &q->roles);
}

static void look_at_tasks(void *queue)
{
    keep_roles(queue);
    shke_tasks_check(queue);
}

/* The next wait of the set needs a look of its own. */
static void note_looks(struct shki_watch *w)
{
    struct shke_queue *q = w->handle;

    pthread_mutex_lock(&q->object.lock);
    if (w->since == JUST_LOOKED) {
        w->since = q->looks - 1;
    } else {
        w->since = q->looks;
        q->wants_look = true;
    }
    pthread_mutex_unlock(&q->object.lock);
}

static int watch_tasks(struct shke_queue *q, const struct shke_trial *trial, struct shki_watch *w)
{
    w->since = JUST_LOOKED;
    w->note = note_looks;
    w->is_ready = is_done;
    w->repair = look_at_tasks;
    return shke_tasks_look(q, trial);
}

/* ---- Either ---- */

int shke_queue_begin_watch(struct shke_object *o, void *handle, uint32_t want, struct shki_watch *w)
{
    const struct shki_roles *roles = &((struct shke_queue_handle *)handle)->base.roles;
    const struct shke_trial trial = {.limit = SHKE_LIMIT};
    struct shke_queue *q = (struct shke_queue *)o;
    struct shke_look look;
    bool is_known;
    int r;

    if (want == SHK_ALL_DONE)
        return watch_tasks(q, &trial, w);
    r = want == SHK_READABLE ? shke_view_start(q, &trial) : shke_places_start(q, &trial);
    pthread_mutex_lock(&o->lock);
    is_known = q->state_mod != 0;
    pthread_mutex_unlock(&o->lock);
    if (r == 0 && !is_known)
        r = shke_queue_look(q, &trial, &look);
    w->is_ready = want == SHK_READABLE ? is_readable : is_writable;
    w->note = note_shutdowns;
    w->repair = keep_roles;
    w->ended_before = want == SHK_READABLE ? roles->ended_before[SHKI_PRODUCERS]
                      : roles->minds       ? roles->ended_before[SHKI_CONSUMERS]
                                           : UINT64_MAX;
    return r;
}
