/*
 * A set of objects, and the wait until one of them is ready: what shk_wait_any() and shk_ready_fd()
 * are made of. The protocol between a watcher and the notifiers is told in object/watch.h.
 */
#ifndef SHKI_POLL_H
#define SHKI_POLL_H

#include "object/watch.h"

#include <shmkit/ready.h>

struct shki_set {
    struct shki_watch watches[SHK_READY_MAX];
    unsigned n;
    unsigned first; /* where a check begins */
    bool waits;     /* a wait has begun that has not been told anything yet */
};

/*
 * Check what a caller wants, and enter its segment: 0 or an error. *m: NULL if that lies elsewhere.
 */
int shki_set_open(struct shki_set *, const struct shk_ready *wanted, unsigned n,
                  struct shki_member **);

/*
 * Wait until one is ready: its index; or the deadline's end, -ESTALE, -EBADF. After -ETIMEDOUT the
 * next call is the same wait.
 */
int shki_set_wait(struct shki_set *, struct shki_member *, const struct shki_deadline *);

#endif
