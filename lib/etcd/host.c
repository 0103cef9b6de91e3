#include "etcd/host.h"

#include <signal.h>
#include <string.h>

const struct shki_remote_host *shke_host;

int64_t shke_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return SHK_SEC((int64_t)t.tv_sec) + t.tv_nsec;
}

int shke_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    /* not -EAGAIN, which a call that must not wait gives for another reason */
    return r ? shke_fail(-ENOMEM, "no thread can be started: %s", strerror(r)) : 0;
}
