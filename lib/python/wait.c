#include "wait.h"

#include "args.h"
#include "errors.h"

#include <math.h>
#include <pthread.h>

#define LONGEST 9223372036.0 /* seconds: threading.TIMEOUT_MAX */

/* The thread in which Python runs signal handlers: the one that has forked, in a child. */
static pthread_t main_thread;
/* Of the thread that waits, from giving the GIL up to taking it back. */
static __thread PyThreadState *saved;

/* How often the process, or one that it comes from, has been forked. */
static unsigned forks;

static void after_fork_in_child(void)
{
    forks++;
    main_thread = pthread_self();
    saved = NULL;
}

int shp_wait_init(void)
{
    static bool registered;
    PyObject *threading = PyImport_ImportModule("threading"), *thread = NULL, *ident = NULL;

    if (threading)
        thread = PyObject_CallMethod(threading, "main_thread", NULL);
    if (thread)
        ident = PyObject_GetAttrString(thread, "ident");
    if (ident)
        main_thread = (pthread_t)PyLong_AsUnsignedLong(ident);
    Py_XDECREF(ident);
    Py_XDECREF(thread);
    Py_XDECREF(threading);
    if (PyErr_Occurred())
        return -1;
    if (!registered && pthread_atfork(NULL, NULL, after_fork_in_child) != 0) {
        PyErr_NoMemory();
        return -1;
    }
    registered = true;
    return 0;
}

/* In the wait, without the GIL. Not 0: a handler has raised an exception, and the wait ends. */
static int run_handlers(void *arg)
{
    int r;

    (void)arg;
    if (saved == NULL)
        return 0;
    PyEval_RestoreThread(saved);
    r = PyErr_CheckSignals();
    saved = PyEval_SaveThread();
    return r;
}

void shp_begin_wait(struct shp_object *o)
{
    if (o->forks != forks) { /* the counts are the parent's */
        o->forks = forks;
        o->waits = 0;
    }
    o->waits++;
}

void shp_end_wait(struct shp_object *o)
{
    if (o->forks == forks) /* else a signal handler has forked in the wait */
        o->waits--;
}

bool shp_is_waited_for(const struct shp_object *o)
{
    return o->waits > 0 && o->forks == forks;
}

int64_t shp_wait_slow(struct shp_object *o, shp_call call, void *arg, int64_t timeout)
{
    bool is_main = pthread_equal(pthread_self(), main_thread);
    int64_t r;

    if (is_main) {
        if (PyErr_CheckSignals() < 0)
            return -EINTR;
        r = shk_set_interrupt_call(o->segment, run_handlers, NULL);
        if (r < 0 && r != -EBUSY) /* a handler of it runs, and calls this: the wait is refused */
            return r;
    }
    shp_begin_wait(o);
    saved = PyEval_SaveThread();
    r = call(arg, timeout);
    PyEval_RestoreThread(saved);
    saved = NULL;
    shp_end_wait(o);
    return r;
}

int64_t shp_sleep(int64_t timeout)
{
    PyObject *time = PyImport_ImportModule("time"), *r = NULL;

    if (time)
        r = PyObject_CallMethod(time, "sleep", "d", (double)timeout / 1e9);
    Py_XDECREF(time);
    Py_XDECREF(r);
    return r ? -ETIMEDOUT : -EINTR;
}

int shp_timeout(PyObject *seconds, int64_t negative, int64_t *ns)
{
    double s;

    *ns = SHK_FOREVER;
    if (seconds == NULL || seconds == Py_None)
        return 0;
    s = PyFloat_AsDouble(seconds);
    if (s == -1 && PyErr_Occurred())
        return -1;
    if (isnan(s)) {
        PyErr_SetString(PyExc_ValueError, "a timeout is a number of seconds, not NaN");
        return -1;
    }
    if (s < 0 && negative < 0) {
        PyErr_SetString(PyExc_ValueError, "a timeout must not be negative");
        return -1;
    }
    if (s > LONGEST) {
        PyErr_SetString(PyExc_OverflowError, "timeout value is too large");
        return -1;
    }
    *ns = s < 0 ? negative : (int64_t)ceil(s * 1e9);
    return 0;
}

int shp_acquire_arguments(PyObject *const *args, Py_ssize_t n, PyObject *names, int64_t *timeout)
{
    static const char *const words[] = {"blocking", "timeout", "block", NULL};
    PyObject *given[3];
    int blocking = 1;

    if (shp_args_slow("acquire", words, 0, args, n, names, given) < 0)
        return -1;
    if (n > 2 || (given[0] && given[2])) {
        PyErr_SetString(PyExc_TypeError, n > 2 ? "acquire() takes at most 2 arguments without names"
                                               : "blocking and block are the same argument");
        return -1;
    }
    if (given[2])
        given[0] = given[2];
    if (given[0])
        blocking = PyObject_IsTrue(given[0]);
    if (blocking < 0)
        return -1;
    if (blocking && given[1] && given[1] != Py_None) {
        double s = PyFloat_AsDouble(given[1]);

        if (s == -1 && PyErr_Occurred())
            return -1;
        *timeout = SHK_FOREVER;
        return s == -1 ? 0 : shp_timeout(given[1], -1, timeout);
    }
    if (!blocking && given[1] && given[1] != Py_None && PyFloat_AsDouble(given[1]) != -1) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError,
                            "no timeout can be given to a call that does not wait");
        return -1;
    }
    if (PyErr_Occurred())
        return -1;
    *timeout = blocking ? SHK_FOREVER : SHK_NOWAIT;
    return 0;
}

int shp_wait_arguments(PyObject *const *args, Py_ssize_t n, PyObject *names, int64_t *timeout)
{
    static const char *const words[] = {"timeout", NULL};
    PyObject *given;

    if (shp_args_slow("wait", words, 0, args, n, names, &given) < 0)
        return -1;
    return shp_timeout(given, SHK_NOWAIT, timeout);
}
