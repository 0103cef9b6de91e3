/* Interrupt calls of segments that lie elsewhere. */
#include "object/object.h"

/*
 * The calls for segments that lie elsewhere, of which the thread is no member. An entry is that of
 * a segment as long as that is open: a later one may lie at the same place.
 */
#define REMOTE_CALLS 8
static _Thread_local struct {
    const struct shk_segment *segment;
    unsigned closes;
    struct shki_interrupt_call call;
} remote_calls[REMOTE_CALLS] __attribute__((tls_model("initial-exec")));

struct shki_interrupt_call *shki_remote_interrupt_call(const struct shk_segment *s)
{
    for (unsigned i = 0; i < REMOTE_CALLS; i++)
        if (remote_calls[i].segment == s &&
            remote_calls[i].closes == load_relaxed(&s->openness.closes))
            return &remote_calls[i].call;
    return NULL;
}

int shki_remote_set_interrupt_call(const struct shk_segment *s, int (*check)(void *arg), void *arg)
{
    struct shki_interrupt_call *call = shki_remote_interrupt_call(s);

    for (unsigned i = 0; call == NULL && check && i < REMOTE_CALLS; i++)
        if (remote_calls[i].call.check == NULL || remote_calls[i].segment == s) {
            remote_calls[i].segment = s;
            remote_calls[i].closes = load_relaxed(&s->openness.closes);
            call = &remote_calls[i].call;
        }
    if (call == NULL)
        return check ? shki_fail(-ENOTSUP,
                                 "segment %s: a thread has interrupt calls for %d segments on etcd "
                                 "at most",
                                 s->name, REMOTE_CALLS)
                     : 0;
    if (call->running)
        return shki_fail(-EBUSY, "segment %s: an interrupt call cannot replace itself", s->name);
    *call = (struct shki_interrupt_call){.check = check, .arg = arg};
    return 0;
}
