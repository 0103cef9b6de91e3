/*
 * Objects on etcd in sets, for shk_wait_any() and shk_ready_fd(): what the watches have told says
 * whether one is ready, so a check makes no request. All sets of a process check when a watch has
 * told something.
 *
 * A set refers to the object, not to the handle, which may be closed before it.
 */
#include "etcd/object.h"

#include <shmkit/ready.h>

#define RECHECK SHK_MS(100) /* a flag, or a close, is found that late */

static struct shke_watches *watches_of(struct shk_segment *s)
{
    return shke_session_watches(shke_segment_of(s)->session);
}

static int is_gone(const struct shki_watch *w)
{
    return shke_enter(w->object, (struct shke_object *)(void *)w->object->shared);
}

static void unref(void *object)
{
    shke_object_unref(object);
}

void shke_ready_ref(void *object)
{
    shke_object_ref(object);
}

int shke_ready_watch(const struct shki_object *object, void *handle, uint32_t want,
                     struct shki_watch *w)
{
    struct shke_object *o = (struct shke_object *)(void *)object->shared;
    int r = shke_enter(object, o);

    if (r < 0)
        return r;
    if (o->kind->watch == NULL)
        return shke_fail(-ENOTSUP, "%s/%s: a %s on etcd cannot be waited for together with others",
                         object->segment->name, object->name, o->kind->name);
    *w = (struct shki_watch){.object = &o->self, .handle = o, .is_gone = is_gone, .unref = unref};
    return o->kind->watch(o, handle, want, w);
}

int shke_ready_wait(const struct shki_object *first, const struct shki_deadline *deadline,
                    int (*check)(void *set), void *set, int none)
{
    struct shke_watches *watches = watches_of(first->segment);
    struct shke_waiting waiting;
    unsigned news;
    int64_t at;
    int r;

    shke_waiting_begin(&waiting, (struct shke_object *)(void *)first->shared, SHK_WAITS_FOR_ANY,
                       deadline);
    for (;;) {
        news = shke_watches_news(watches);
        r = check(set);
        if (r == none) {
            r = shke_host->deadline_check(deadline);
            if (r == 0)
                r = none;
        }
        if (r != none)
            break;
        shke_waiting_sleeps();
        at = shke_now() + RECHECK;
        shke_watches_sleep(watches, news, at < deadline->at ? at : deadline->at);
        shke_host->deadline_slept(deadline);
    }
    shke_waiting_end(&waiting);
    return r;
}
