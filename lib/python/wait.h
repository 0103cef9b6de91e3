/*
 * Waiting. A call tries first, with SHK_NOWAIT and the GIL, since that is quicker than giving the
 * GIL up. Only a call that has to wait gives it up, for the wait.
 *
 * Signals. While the main thread waits, the library calls it back after each signal and each 100
 * ms; it runs Python's handlers then. A handler that returns costs the waiter neither its place nor
 * a barrier; one that raises ends the wait, and its exception goes on. Other threads are not asked:
 * Python runs handlers in the main thread alone.
 */
#ifndef SHP_WAIT_H
#define SHP_WAIT_H

#include "object.h"

/* The call: of the library, with that timeout in nanoseconds; what it returns. */
typedef int64_t (*shp_call)(void *arg, int64_t timeout);

/*
 * Wait in call(arg, timeout) without the GIL. `o` cannot be closed meanwhile. Returns what the call
 * returns; -EINTR with the exception set if a signal handler has raised one, which shp_error()
 * leaves as it is.
 */
int64_t shp_wait_slow(struct shp_object *o, shp_call call, void *arg, int64_t timeout);

/* Whether a result of a call with SHK_NOWAIT means that it would have to wait. */
static inline bool shp_would_wait(int64_t r)
{
    return r == -EAGAIN || r == -EBUSY;
}

/* Try, then wait. With SHK_NOWAIT it only tries. */
static inline int64_t shp_wait(struct shp_object *o, shp_call call, void *arg, int64_t timeout)
{
    int64_t r = call(arg, SHK_NOWAIT);

    return shp_would_wait(r) && timeout != SHK_NOWAIT ? shp_wait_slow(o, call, arg, timeout) : r;
}

/*
 * Nanoseconds of a timeout in seconds, int or float; NULL and None: SHK_FOREVER. At most 1 ns too
 * long, never too short. Less than 0: `negative` (SHK_FOREVER as threading.Lock has it for -1,
 * SHK_NOWAIT as multiprocessing has it, or -1: ValueError). 0, or -1 with an exception.
 */
int shp_timeout(PyObject *seconds, int64_t negative, int64_t *ns);

/* Let a time pass that nothing can shorten: -ETIMEDOUT, or -EINTR with an exception. */
int64_t shp_sleep(int64_t timeout);

/*
 * The arguments of an acquire: (blocking=True, timeout=-1), as threading and, with block= and
 * timeout=None, as multiprocessing have them. 0, or -1 with an exception.
 */
int shp_acquire_arguments(PyObject *const *args, Py_ssize_t n, PyObject *names, int64_t *timeout);

/*
 * The one argument of a wait, timeout=None, in seconds; less than 0 is 0. 0, or -1 with an
 * exception.
 */
int shp_wait_arguments(PyObject *const *args, Py_ssize_t n, PyObject *names, int64_t *timeout);

/*
 * A thread of this process begins to wait in it, so that it cannot be closed, or ends that: for a
 * wait in several objects, of which shp_wait_slow() is told one.
 */
void shp_begin_wait(struct shp_object *);
void shp_end_wait(struct shp_object *);

/* Whether a thread of this process waits in it: the parent's threads are not those of a child. */
bool shp_is_waited_for(const struct shp_object *);

/* The thread that imports the module notes which one is the main thread: 0 or -1. */
int shp_wait_init(void);

#endif
