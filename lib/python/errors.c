#include "errors.h"

PyObject *shp_Error, *shp_Unlinked, *shp_Closed, *shp_Orphaned, *shp_Deadlock, *shp_NotHeld,
    *shp_NotFound, *shp_Exists, *shp_Denied, *shp_Empty, *shp_Full, *shp_ShutDown, *shp_Broken;

/* A new exception, of one or two classes. */
static PyObject *make(PyObject *module, const char *name, const char *doc, PyObject *base,
                      PyObject *other)
{
    char full[64];
    PyObject *bases, *e;

    if (base == NULL)
        return NULL;
    bases = other ? PyTuple_Pack(2, base, other) : PyTuple_Pack(1, base);
    if (bases == NULL)
        return NULL;
    PyOS_snprintf(full, sizeof(full), "shmkit.%s", name);
    e = PyErr_NewExceptionWithDoc(full, doc, bases, NULL);
    Py_DECREF(bases);
    if (e && PyModule_AddObjectRef(module, name, e) < 0)
        Py_CLEAR(e);
    return e;
}

/* A class of another module, added to this one under its name. NULL: it has none. */
static PyObject *take(PyObject *module, const char *from, const char *name)
{
    PyObject *other = PyImport_ImportModule(from), *e;

    if (other == NULL)
        return NULL;
    e = PyObject_GetAttrString(other, name);
    Py_DECREF(other);
    if (e && PyModule_AddObjectRef(module, name, e) < 0)
        Py_CLEAR(e);
    return e;
}

int shp_errors_init(PyObject *m)
{
    shp_Error =
        make(m, "Error", "A call of shmkit has failed. errno has the code, strerror the sentence.",
             PyExc_OSError, NULL);
    shp_Unlinked = make(m, "Unlinked", "The object or its segment has been unlinked (ESTALE).",
                        shp_Error, NULL);
    shp_Closed =
        make(m, "Closed",
             "The object has been closed in this process (EBADF): a ValueError, too, as of "
             "files and of multiprocessing.Queue.",
             shp_Error, PyExc_ValueError);
    shp_Orphaned = make(m, "Orphaned",
                        "A former holder died while it held the lock, a writer or worker before it "
                        "was done (EOWNERDEAD).\n\nRaised by an acquire, the lock is held by the "
                        "caller, which puts in order what it\nprotects and releases it.",
                        shp_Error, NULL);
    shp_Deadlock = make(m, "Deadlock",
                        "The wait would never end: the caller holds the lock, or is part of a "
                        "cycle (EDEADLK).",
                        shp_Error, NULL);
    shp_NotHeld = make(m, "NotHeld", "The calling thread does not hold the lock (EPERM).",
                       PyExc_RuntimeError, PyExc_ValueError);
    shp_NotFound = make(m, "NotFound", "There is no such segment or object (ENOENT).", shp_Error,
                        PyExc_FileNotFoundError);
    shp_Exists =
        make(m, "Exists", "The object exists already (EEXIST).", shp_Error, PyExc_FileExistsError);
    shp_Denied = make(m, "Denied",
                      "The segment's permission bits forbid it, or it belongs to another user "
                      "(EACCES, EPERM).",
                      shp_Error, PyExc_PermissionError);
    shp_Empty = take(m, "queue", "Empty");
    shp_Full = take(m, "queue", "Full");
    shp_Broken = take(m, "threading", "BrokenBarrierError");
    if (shp_Error == NULL || shp_Unlinked == NULL || shp_Closed == NULL || shp_Orphaned == NULL ||
        shp_Deadlock == NULL || shp_NotHeld == NULL || shp_NotFound == NULL || shp_Exists == NULL ||
        shp_Denied == NULL || shp_Empty == NULL || shp_Full == NULL || shp_Broken == NULL)
        return -1;
    shp_ShutDown = take(m, "queue", "ShutDown");
    if (shp_ShutDown == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        shp_ShutDown = make(m, "ShutDown", "The queue has been shut down.", PyExc_Exception, NULL);
    }
    return shp_ShutDown ? 0 : -1;
}

static PyObject *raise_as(PyObject *class, int error, const char *sentence)
{
    PyObject *e = PyObject_CallFunction(class, "is", error, sentence);

    if (e) {
        PyErr_SetObject(class, e);
        Py_DECREF(e);
    }
    return NULL;
}

static PyObject *class_of(int error)
{
    switch (error) {
    case ESTALE:
        return shp_Unlinked;
    case EBADF:
        return shp_Closed;
    case EOWNERDEAD:
        return shp_Orphaned;
    case EDEADLK:
        return shp_Deadlock;
    case ENOENT:
        return shp_NotFound;
    case EEXIST:
        return shp_Exists;
    case EACCES:
    case EPERM:
        return shp_Denied;
    default:
        return shp_Error;
    }
}

PyObject *shp_error(int64_t code)
{
    int error = (int)-code;
    const char *sentence = shk_last_error();

    if (PyErr_Occurred())
        return NULL;
    if (error == ENOMEM)
        return PyErr_NoMemory();
    return raise_as(class_of(error), error, *sentence ? sentence : "a call of shmkit has failed");
}

PyObject *shp_error_unheld(int64_t code)
{
    if (code != -EPERM || PyErr_Occurred())
        return shp_error(code);
    PyErr_SetString(shp_NotHeld, shk_last_error());
    return NULL;
}

PyObject *shp_error_orphaned(const char *name, const char *what)
{
    char sentence[512];

    PyOS_snprintf(sentence, sizeof(sentence), "%s: %s", name, what);
    return raise_as(shp_Orphaned, EOWNERDEAD, sentence);
}
