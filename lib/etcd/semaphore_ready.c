/* The semaphore in a set: it is watched from when it was opened. */
#include "etcd/semaphore.h"

/* All permits are the line's while there is one: the first may want more than there are. */
static bool is_ready(const struct shki_watch *w)
{
    struct shke_semaphore *s = w->handle;
    bool is;

    pthread_mutex_lock(&s->object.lock);
    is = s->line.head == NULL && shke_semaphore_free(s) > 0;
    pthread_mutex_unlock(&s->object.lock);
    return is;
}

int shke_semaphore_begin_watch(struct shke_object *o, void *handle, uint32_t want,
                               struct shki_watch *w)
{
    (void)o;
    (void)handle;
    (void)want;
    w->is_ready = is_ready;
    return 0;
}
