#include "segment/fork.h"

#include "base/error.h"
#include "base/robust.h"
#include "segment/member.h"
#include "segment/process.h"
#include "segment/slab.h"

#include <pthread.h>
#include <string.h>

void (*shki_in_forked_child)(void);

static void before_fork(void)
{
    shki_robust_word_offset(); /* so that no other thread is just finding it */
    shki_registry_lock();
    for (struct shk_segment *s = shki_registry_first(); s; s = s->next) {
        pthread_mutex_lock(&s->local);
        shki_process_before_fork(s);
    }
    shki_slab_before_fork();
}

static void after_fork_in_parent(void)
{
    shki_slab_after_fork_in_parent();
    for (struct shk_segment *s = shki_registry_first(); s; s = s->next)
        pthread_mutex_unlock(&s->local);
    shki_registry_unlock();
}

static void after_fork_in_child(void)
{
    shki_robust_after_fork();
    for (struct shk_segment *s = shki_registry_first(); s; s = s->next) {
        s->pins = 0;
        shki_members_after_fork(s);
        shki_process_after_fork(s);
        pthread_mutex_unlock(&s->local);
    }
    shki_members_forget_parent();
    shki_slab_after_fork_in_child();
    shki_registry_unlock();
    if (shki_in_forked_child)
        shki_in_forked_child();
}

static int not_registered; /* 0, or the error */

/*
 * When the library is loaded, before the program can register handlers of its own. The program's
 * handlers may use the library, for what is registered first is called last before a fork, and
 * first after it.
 */
static void __attribute__((constructor)) register_fork_handlers(void)
{
    not_registered = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

int shki_fork_is_handled(void)
{
    return not_registered
               ? shki_fail(-not_registered, "the handlers for fork(2) could not be registered: %s",
                           strerror(not_registered))
               : 0;
}
