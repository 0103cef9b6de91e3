#include "segment/registry.h"

#include "base/error.h"
#include "segment/process.h"

#include <errno.h>

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct shk_segment *segments; /* with `registry` */

void shki_registry_lock(void)
{
    pthread_mutex_lock(&registry);
}

void shki_registry_unlock(void)
{
    pthread_mutex_unlock(&registry);
}

struct shk_segment *shki_registry_first(void)
{
    return segments;
}

/* With `registry`. */
static struct shk_segment *find_mapped(const struct stat *st)
{
    for (struct shk_segment *s = segments; s; s = s->next)
        if (s->inode == st->st_ino && s->device == st->st_dev)
            return s;
    return NULL;
}

struct shk_segment *shki_registry_open(const struct stat *st)
{
    struct shk_segment *s;

    pthread_mutex_lock(&registry);
    s = find_mapped(st);
    if (s)
        fetch_add_relaxed(&s->openness.opens, 1);
    pthread_mutex_unlock(&registry);
    return s;
}

int shki_registry_add(struct shk_segment *s, const struct stat *st, struct shk_segment **out)
{
    struct shk_segment *other;
    int r = 0;

    pthread_mutex_lock(&registry);
    other = find_mapped(st); /* mapped by another thread meanwhile */
    if (other == NULL) {
        r = shki_process_enter(s);
        s->next = segments;
        if (r == 0)
            segments = s;
    }
    *out = other ? other : s;
    if (r == 0)
        fetch_add_relaxed(&(*out)->openness.opens, 1);
    pthread_mutex_unlock(&registry);
    if (other || r < 0)
        shki_segment_discard(s);
    return r;
}

void shki_registry_drop(struct shk_segment *s)
{
    pthread_mutex_lock(&registry);
    fetch_sub_relaxed(&s->openness.opens, 1);
    shki_segment_unmap_if_unused(s);
    pthread_mutex_unlock(&registry);
}

int shki_say_closed(const struct shk_segment *s)
{
    return shki_say_unmet(
        -EBADF, &(struct shki_unmet){s->name, NULL, "it has been closed in this process", 0});
}

void shki_segment_unmap_if_unused(struct shk_segment *s)
{
    struct shk_segment **link = &segments;
    bool unused, handles;

    pthread_mutex_lock(&s->local);
    unused = shki_segment_is_closed(s) && s->members == NULL && s->pins == 0 && s->base;
    if (unused) {
        shki_process_leave(s);
        shki_segment_unmap(s);
    }
    handles = s->handles > 0;
    pthread_mutex_unlock(&s->local);
    if (!unused)
        return;
    while (*link != s)
        link = &(*link)->next;
    *link = s->next;
    if (!handles)
        shki_segment_destroy(s);
}

struct shk_segment *shki_segment_pin_mapped(const struct stat *st)
{
    struct shk_segment *s;

    pthread_mutex_lock(&registry);
    s = find_mapped(st);
    if (s) {
        pthread_mutex_lock(&s->local);
        s->pins++;
        pthread_mutex_unlock(&s->local);
    }
    pthread_mutex_unlock(&registry);
    return s;
}

int shki_segment_pin(struct shk_segment *s)
{
    bool closed;

    pthread_mutex_lock(&s->local);
    closed = shki_segment_is_closed(s);
    if (!closed)
        s->pins++;
    pthread_mutex_unlock(&s->local);
    return closed ? shki_say_closed(s) : 0;
}

void shki_segment_unpin(struct shk_segment *s)
{
    pthread_mutex_lock(&registry);
    pthread_mutex_lock(&s->local);
    s->pins--;
    pthread_mutex_unlock(&s->local);
    shki_segment_unmap_if_unused(s);
    pthread_mutex_unlock(&registry);
}

void shki_segment_unref(struct shk_segment *s)
{
    bool last;

    pthread_mutex_lock(&s->local);
    last = --s->handles == 0 && s->base == NULL;
    pthread_mutex_unlock(&s->local);
    if (last)
        shki_segment_destroy(s);
}
