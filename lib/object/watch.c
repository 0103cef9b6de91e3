#include "object/watch.h"

#include <stdlib.h>

/* One view for all threads of the process: what is not constant in it is used with the mutex. */
struct view {
    struct shki_waitlist line;
    uint32_t order[];
};

struct shki_waitlist *shki_watchers(struct shk_segment *s)
{
    struct view *v = load_acquire(&s->watchers);
    void *none = NULL;

    if (likely(v != NULL))
        return &v->line;
    v = calloc(1, sizeof(*v) + s->max_members * sizeof(v->order[0]));
    if (v == NULL)
        return NULL;
    v->line = (struct shki_waitlist){.segment = s,
                                     .shared = &s->header->watchers,
                                     .offset = offsetof(struct shki_header, watchers),
                                     .repairs = &s->header->watch_repairs,
                                     .takes_requests = true,
                                     .order = v->order};
    if (!compare_exchange_acq_rel(&s->watchers, &none, v)) {
        free(v);
        v = none; /* another thread was faster */
    }
    return &v->line;
}

void shki_watchers_wake(struct shk_segment *s)
{
    struct shki_waitlist *l = shki_watchers(s);

    if (l) /* else they check at the end of their recheck interval */
        shki_waitlist_request(l);
}

void shki_watchers_reap(struct shk_segment *s)
{
    struct shki_waitlist *l = shki_watchers(s);

    if (l == NULL || shki_waitlist_lock(l) != 0)
        return;
    shki_waitlist_reap(l);
    shki_waitlist_unlock(l);
}
