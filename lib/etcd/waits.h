/*
 * What the threads of this process wait for, told to other processes: shmctl ps and why show it.
 *
 *     /shmkit/SEGMENT/.waits/LEASE    [{"tid":4711,"for":5,"on":"jobs","since":1796029200000}, ...]
 *
 * A thread that waits makes no request for it. It notes its wait in this process, and the thread
 * that keeps the lease alive writes one key for all threads, once a wait has lasted 200 ms; and
 * again, once that has ended. So a call that is done sooner costs nothing, and one that lasts for
 * hours costs two requests. The key hangs on the lease: it goes when the process dies.
 *
 *     struct shke_waiting w;
 *
 *     shke_waiting_begin(&w, object, SHK_WAITS_FOR_SET, &deadline);
 *     ... shke_object_wait() ...
 *     shke_waiting_end(&w);
 */
#ifndef SHKE_WAITS_H
#define SHKE_WAITS_H

#include "etcd/txn.h"

#include <shmkit/inspect.h>
#include <sys/types.h>

/* The waits of a session. */
struct shke_waits;

/* A call that may wait, of one thread; on its stack. */
struct shke_waiting {
    struct shke_waits *waits;
    const char *prefix, *object; /* "/shmkit/bank/", "jobs": they live as long as the call */
    int64_t created;             /* of the segment */
    uint32_t waits_for;          /* enum shk_wait_for */
    bool has_deadline;
    struct shke_waiting *outer; /* a call of the same thread; NULL: none */

    /* ---- Once it sleeps; with the lock of the waits ---- */
    bool is_listed, is_told;
    pid_t tid;
    int64_t begun, since; /* ns of CLOCK_MONOTONIC, of CLOCK_REALTIME */
    struct shke_waiting *next, **link;
};

/* It is the wait of the calling thread. What is not said is zero. */
void shke_waiting_push(struct shke_waiting *);
/* It waits no more. */
void shke_waiting_end(struct shke_waiting *);
/* The calling thread is about to sleep. */
void shke_waiting_sleeps(void);

/* `wake` is called when there is something to do; by any thread, with any lock of an object. */
struct shke_waits *shke_waits_new(void (*wake)(void *arg), void *arg);
void shke_waits_free(struct shke_waits *);

/*
 * Tell what is to be told, with this lease, a request a segment. Returns how many nanoseconds later
 * to come again; INT64_MAX: when woken.
 */
int64_t shke_waits_tell(struct shke_waits *, struct shke_client *, int64_t lease, int64_t limit);

#endif
