/*
 * What all objects of the module have in common: an object of the library, found by name, or
 * without a name for one program's processes; its segment; pickling; closing.
 *
 * Each object opens its segment itself, and closes it. Segments are not kept by name, since a name
 * means another segment after an unlink. (The library maps a segment once per process.)
 *
 * Objects without a name lie in a segment without a name, one for the processes of a program: that
 * which the first of them has made. Children have it from their parent, by fork(2), or in what is
 * pickled for them, which has a descriptor of it. It goes with the last process that has it, killed
 * or not. An object goes when the last process that has it open has closed it.
 *
 * All of this is under the GIL. A handle is in use without the GIL only during a wait, which
 * `waits` counts, so that a close cannot take it away.
 */
#ifndef SHP_OBJECT_H
#define SHP_OBJECT_H

#include "python.h"

/* What differs between kinds. options: of the kind's own shk_…_open(). */
struct shp_kind {
    const char *name; /* as a person says it: "lock" */
    int (*open)(struct shk_segment *, const char *name, unsigned flags, const void *options,
                void **out);
    int (*close)(void *handle);
};

/* The two functions of a kind: SHP_KIND(lock, "lock") defines lock_kind. */
#define SHP_KIND(x, text)                                                        \
    static int x##_open(struct shk_segment *s, const char *name, unsigned flags, \
                        const void *options, void **out)                         \
    {                                                                            \
        return shk_##x##_open(s, name, flags, options, (struct shk_##x **)out);  \
    }                                                                            \
    static int x##_close(void *handle)                                           \
    {                                                                            \
        return shk_##x##_close(handle);                                          \
    }                                                                            \
    static const struct shp_kind x##_kind = {text, x##_open, x##_close}

/* The head of each object of Python; its type's struct begins with it. */
struct shp_object {
    PyObject ob_base;
    const struct shp_kind *kind;     /* NULL: not opened yet */
    struct shk_segment *segment;     /* opened for this object; NULL: closed */
    void *handle;                    /* struct shk_lock * and so on; NULL: closed */
    char *segment_name;              /* NULL: in the segment without a name */
    char name[SHK_NAME_MAX + 1];     /* of the object in its segment */
    unsigned waits, forks;           /* threads that wait in it, without the GIL: see wait.c */
    bool shared;                     /* has been pickled: its name stays until the segment goes */
    PyObject *weak;                  /* weak references to it */
    struct shp_object *next, **link; /* of all that are open in this process */
};

/*
 * Take the name out of the arguments of a constructor: the first argument if it is a str with a
 * slash in it, else the keyword "name". *name: a new reference, or None. *args, *kwargs: what is
 * left, new references (kwargs may be NULL). 0, or -1 with an exception; then nothing is to be
 * released.
 */
int shp_take_name(PyObject **args, PyObject **kwargs, PyObject **name);

/*
 * Open the object, or create it: `name` is "segment/object", or None (then it is created).
 *   flags    SHK_CREATE as a rule; SHK_EXCL, and SHK_AS() where the kind has roles
 *   options  of the kind; may be NULL
 * 0, or -1 with an exception. The object has just been allocated, or is closed.
 */
int shp_open(struct shp_object *, const struct shp_kind *, PyObject *name, unsigned flags,
             const void *options);

/* A new object of a type, all zero: NULL with an exception. */
void *shp_allocate(PyTypeObject *type);

/* The same in the segment of another object: a new one without a name, as `options` say. */
int shp_open_beside(struct shp_object *, const struct shp_kind *, const struct shp_object *other,
                    PyObject *name, unsigned flags, const void *options);

/*
 * Give the handle and the segment back. 0, or -1 with an exception: a thread waits in it, or the
 * calling thread holds it. Closing twice is allowed.
 */
int shp_close(struct shp_object *);

/* Py_tp_members of a type, for weak references. */
extern PyMemberDef shp_members[];

/* tp_dealloc of a type without further resources; others free theirs, and call it last. */
void shp_dealloc(struct shp_object *);

/* Remove the name of an object, or of a segment with its objects: 0, or -1 with an exception. */
int shp_unlink(PyObject *name);

/* Raise Closed if it is closed, and -1; else 0. */
int shp_check_open(const struct shp_object *);

/* "bank/till", or "an unnamed lock", for sentences: valid until the next call. */
const char *shp_describe(const struct shp_object *);

/*
 * What __reduce__ returns: (type._open, (place, extra…)). `extra` is a tuple of what the
 * type's _open() wants beside the place, or NULL; the reference is taken. The type has a class
 * method _open(cls, place, …), which calls shp_reopen().
 */
PyObject *shp_reduce(struct shp_object *, PyObject *extra);

/* The other end of it: open what `place` names. It must exist. 0, or -1 with an exception. */
int shp_reopen(struct shp_object *, const struct shp_kind *, PyObject *place, unsigned flags,
               const void *options);

/* What all types have: the attribute name, the method close(). */
#define SHP_NAME_GETSET                                                           \
    {                                                                             \
        "name", (getter)shp_get_name, NULL,                                       \
            "The name, \"segment/object\"; None for an object without one.", NULL \
    }
PyObject *shp_get_name(struct shp_object *, void *);
PyObject *shp_method_close(struct shp_object *, PyObject *);
#define SHP_CLOSE_DOC                                                                     \
    "close()\n--\n\nGive the handle back; the object stays for others. Closing twice is " \
    "allowed.\nRaises RuntimeError while another thread waits in it, or this thread holds it."

/* `repr`: <shmkit.Queue 'bank/jobs' at 0x7f…>, or, with a state: <… at 0x7f…: value=3>. */
PyObject *shp_repr(struct shp_object *);
PyObject *shp_repr_with(struct shp_object *, const char *state);

/*
 * Name the calling thread, as shmctl ps shows it, in all segments that this process has objects of,
 * and those that the thread opens later: 0, or -1 with an exception.
 */
int shp_set_member_name(PyObject *name);

/*
 * Make a type and add it to the module, which keeps it: 0, or -1 with an exception. out: where it
 * is noted; may be NULL. base: of the type; NULL: object.
 */
int shp_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **out);
int shp_add_subtype(PyObject *module, PyType_Spec *spec, PyTypeObject *base, PyTypeObject **out);

#endif
