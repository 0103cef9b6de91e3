/* What a call of the library returns, as an exception of Python. */
#ifndef SHP_ERRORS_H
#define SHP_ERRORS_H

#include "python.h"

/*
 * Exceptions of the module; each is an OSError with errno and the library's sentence.
 *
 *     Error           any other code; FileNotFoundError, FileExistsError, PermissionError for
 *                     -ENOENT, -EEXIST, -EACCES and -EPERM of an open are beside it
 *     Unlinked        -ESTALE: the object or its segment has been unlinked
 *     Closed          -EBADF: the handle, or its segment, has been closed in this process
 *     Orphaned        a former holder died: raised where the object says orphaned="raise"
 *     Deadlock        -EDEADLK
 *     NotHeld         -EPERM of a release, a wait, a notify: RuntimeError and ValueError
 *
 * Of the standard library: queue.Empty, queue.Full, threading.BrokenBarrierError; queue.ShutDown
 * where Python has it (3.13), else shmkit.ShutDown, a class of its own.
 */
extern PyObject *shp_Error, *shp_Unlinked, *shp_Closed, *shp_Orphaned, *shp_Deadlock, *shp_NotHeld,
    *shp_NotFound, *shp_Exists, *shp_Denied, *shp_Empty, *shp_Full, *shp_ShutDown, *shp_Broken;

/* Make them, or find them, and add them to the module: 0 or -1. */
int shp_errors_init(PyObject *module);

/*
 * Raise what `code` (-errno) means, with shk_last_error() as the sentence; a pending exception, as
 * a signal handler has left it, stays. Returns NULL.
 */
PyObject *shp_error(int64_t code);

/* The same of a release and the like, where -EPERM means that the caller does not hold it. */
PyObject *shp_error_unheld(int64_t code);

/* Raise Orphaned for an object: its name, and what the caller is to do. Returns NULL. */
PyObject *shp_error_orphaned(const char *name, const char *what);

#endif
