/* What ends a wait from within its process: a flag of all threads, and a call of each thread. */
#include "object/object.h"

int shk_set_interrupt(struct shk_segment *s, const volatile sig_atomic_t *flag)
{
    if (s == NULL)
        return shki_say(-EINVAL, "the segment is NULL");
    store_relaxed(&s->interrupt, flag);
    return 0;
}

int shk_set_interrupt_call(struct shk_segment *s, int (*check)(void *arg), void *arg)
{
    struct shki_object o = {.segment = s};
    struct shki_member *m;
    int r;

    if (s == NULL)
        return shki_say(-EINVAL, "the segment is NULL");
    if (shki_segment_is_closed(s))
        return shki_say_closed(s);
    if (s->remote)
        return shki_remote_set_interrupt_call(s, check, arg);
    m = shki_member_find(s);
    r = m ? 0 : shki_object_join(&o, &m);
    if (r < 0)
        return r;
    if (m->call.running)
        return shki_fail(-EBUSY, "segment /%s: an interrupt call cannot replace itself", s->name);
    m->call = (struct shki_interrupt_call){.check = check, .arg = arg};
    return 0;
}
