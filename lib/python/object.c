#include "object.h"

#include "errors.h"
#include "unnamed.h"
#include "wait.h"

#include <stddef.h>
#include <string.h>

/* ---- Names ---- */

static bool has_slash(PyObject *o)
{
    const char *text = PyUnicode_Check(o) ? PyUnicode_AsUTF8AndSize(o, NULL) : NULL;

    PyErr_Clear(); /* not UTF-8: said when it is opened as a name */
    return text && strchr(text, '/');
}

int shp_take_name(PyObject **args, PyObject **kwargs, PyObject **name)
{
    Py_ssize_t n = PyTuple_Size(*args);
    PyObject *first = n > 0 ? PyTuple_GetItem(*args, 0) : NULL, *given = NULL, *rest, *words = NULL;

    if (*kwargs)
        given = PyDict_GetItemString(*kwargs, "name");
    if (first && has_slash(first)) {
        if (given) {
            PyErr_SetString(PyExc_TypeError, "the name is given twice");
            return -1;
        }
        given = first;
        rest = PyTuple_GetSlice(*args, 1, n);
    } else {
        rest = Py_NewRef(*args);
    }
    *name = Py_NewRef(given ? given : Py_None);
    if (*kwargs)
        words = PyDict_Copy(*kwargs);
    if (words && PyDict_GetItemString(words, "name") && PyDict_DelItemString(words, "name") < 0)
        Py_CLEAR(words);
    if (rest == NULL || (*kwargs && words == NULL)) {
        Py_XDECREF(rest);
        Py_XDECREF(words);
        Py_CLEAR(*name);
        return -1;
    }
    *args = rest;
    *kwargs = words;
    return 0;
}

/* Split "segment/object": the lengths of both, or -1 with an exception. */
static int split(PyObject *name, const char **text, size_t *segment, size_t *object)
{
    Py_ssize_t size;
    const char *slash;

    if (!PyUnicode_Check(name)) {
        PyErr_SetString(PyExc_TypeError, "a name is a str, \"segment/object\", or None");
        return -1;
    }
    *text = PyUnicode_AsUTF8AndSize(name, &size);
    if (*text == NULL)
        return -1;
    if (strlen(*text) != (size_t)size) {
        PyErr_SetString(PyExc_ValueError, "there is a NUL in the name");
        return -1;
    }
    slash = strrchr(*text, '/');
    if (slash == NULL || slash == *text || slash[1] == '\0') {
        PyErr_Format(PyExc_ValueError, "a name is \"segment/object\", not \"%s\"", *text);
        return -1;
    }
    *segment = (size_t)(slash - *text);
    *object = strlen(slash + 1);
    if (*object > SHK_NAME_MAX) {
        PyErr_Format(PyExc_ValueError, "\"%s\": an object's name has at most %d bytes", *text,
                     SHK_NAME_MAX);
        return -1;
    }
    return 0;
}

const char *shp_describe(const struct shp_object *o)
{
    static char text[SHK_SEGMENT_NAME_MAX + SHK_NAME_MAX + 8]; /* with the GIL */

    if (o->segment_name)
        PyOS_snprintf(text, sizeof(text), "%s/%s", o->segment_name, o->name);
    else
        PyOS_snprintf(text, sizeof(text), "an unnamed %s", o->kind ? o->kind->name : "object");
    return text;
}

/* ---- Opening ---- */

/* All objects that have been opened; with the GIL. */
static struct shp_object *objects;
/* What the thread is called in each segment that it opens; "": nothing. */
static __thread char member_name[SHK_NAME_MAX + 1];

static void note(struct shp_object *o)
{
    if (o->link)
        return;
    o->next = objects;
    o->link = &objects;
    if (objects)
        objects->link = &o->next;
    objects = o;
}

static void forget(struct shp_object *o)
{
    if (o->link == NULL)
        return;
    *o->link = o->next;
    if (o->next)
        o->next->link = o->link;
    o->link = NULL;
}

int shp_set_member_name(PyObject *name)
{
    Py_ssize_t size;
    const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8AndSize(name, &size) : NULL;
    int r = 0;

    if (text == NULL || strlen(text) != (size_t)size || size == 0 || size > SHK_NAME_MAX) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_ValueError, "a member's name is a str of 1 to %d bytes, without NUL",
                         SHK_NAME_MAX);
        return -1;
    }
    for (struct shp_object *o = objects; o && r == 0; o = o->next) {
        if (o->segment && (o->next == NULL || o->next->segment != o->segment))
            r = shk_set_member_name(o->segment, text);
        if (r == -ESTALE)
            r = 0;
    }
    if (r < 0) {
        shp_error(r);
        return -1;
    }
    memcpy(member_name, text, (size_t)size + 1);
    return 0;
}

/* Open the handle in o->segment; what fails is undone. */
static int open_handle(struct shp_object *o, unsigned flags, const void *options)
{
    int r = 0;

    if (*member_name)
        r = shk_set_member_name(o->segment, member_name);
    if (r == 0)
        r = o->kind->open(o->segment, o->name, flags, options, &o->handle);
    if (r == -ENOSPC && o->segment_name == NULL && shp_unnamed_make_room())
        r = o->kind->open(o->segment, o->name, flags, options, &o->handle);
    if (r < 0) {
        o->handle = NULL;
        shp_error(r);
        shk_segment_close(o->segment);
        o->segment = NULL;
        return -1;
    }
    note(o);
    return 0;
}

void *shp_allocate(PyTypeObject *type)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);

    return allocate(type, 0);
}

static int check_new(const struct shp_object *o)
{
    if (o->segment == NULL)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "the object is open already");
    return -1;
}

static int open_named(struct shp_object *o, PyObject *name, unsigned flags, const void *options)
{
    size_t segment, object;
    const char *text;
    int r;

    if (split(name, &text, &segment, &object) < 0)
        return -1;
    PyMem_Free(o->segment_name);
    o->segment_name = PyMem_Calloc(1, segment + 1);
    if (o->segment_name == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(o->segment_name, text, segment);
    memcpy(o->name, text + segment + 1, object + 1);
    r = shk_segment_open(o->segment_name, flags & SHK_CREATE, NULL, &o->segment);
    if (r < 0) {
        o->segment = NULL;
        shp_error(r);
        return -1;
    }
    return open_handle(o, flags, options);
}

/* beside: in that segment; NULL: in that of new objects. */
static int open_unnamed(struct shp_object *o, const struct shk_segment *beside, unsigned flags,
                        const void *options)
{
    if (shp_unnamed_open(beside, &o->segment) < 0)
        return -1;
    shp_unnamed_name(o->name, sizeof(o->name));
    return open_handle(o, flags | SHK_CREATE | SHK_EXCL, options);
}

int shp_open(struct shp_object *o, const struct shp_kind *kind, PyObject *name, unsigned flags,
             const void *options)
{
    if (check_new(o) < 0)
        return -1;
    o->kind = kind;
    if (name && name != Py_None)
        return open_named(o, name, flags, options);
    return open_unnamed(o, NULL, flags, options);
}

int shp_open_beside(struct shp_object *o, const struct shp_kind *kind,
                    const struct shp_object *other, PyObject *name, unsigned flags,
                    const void *options)
{
    if (name && name != Py_None)
        return shp_open(o, kind, name, flags, options);
    if (other->segment_name == NULL && shp_check_open(other) == 0 && check_new(o) == 0) {
        o->kind = kind;
        return open_unnamed(o, other->segment, flags, options);
    }
    if (PyErr_Occurred())
        return -1;
    PyErr_Format(PyExc_ValueError,
                 "%s has a name: what is made beside it has a name in the same segment",
                 shp_describe(other));
    return -1;
}

/* ---- Closing ---- */

int shp_check_open(const struct shp_object *o)
{
    if (o->handle)
        return 0;
    PyErr_Format(shp_Closed, "%s is closed", shp_describe(o));
    return -1;
}

/*
 * Without exceptions: 0, or -errno. What has no name goes when no process has it open, unless it
 * has been pickled for one that has not opened it yet.
 */
static int give_back(struct shp_object *o)
{
    int r;

    if (o->handle) {
        r = o->kind->close(o->handle);
        if (r < 0)
            return r;
        o->handle = NULL;
        if (o->segment_name == NULL)
            shp_unnamed_left(o->segment, o->name, o->shared);
    }
    if (o->segment) {
        r = shk_segment_close(o->segment);
        if (r == -EBUSY)
            return r; /* the thread holds another lock in it */
        o->segment = NULL;
    }
    return 0;
}

int shp_close(struct shp_object *o)
{
    int r;

    if (shp_is_waited_for(o)) {
        PyErr_Format(PyExc_RuntimeError, "%s cannot be closed: a thread waits in it",
                     shp_describe(o));
        return -1;
    }
    r = give_back(o);
    if (r == -EBUSY && o->handle == NULL)
        return 0; /* the segment is given back with the object */
    if (r == -EBUSY)
        PyErr_SetString(PyExc_RuntimeError, shk_last_error());
    else if (r < 0)
        shp_error(r);
    return r < 0 ? -1 : 0;
}

/*
 * A thread that holds the lock of an object that is collected holds it until the thread ends: the
 * handle stays.
 */
void shp_dealloc(struct shp_object *o)
{
    PyTypeObject *type = Py_TYPE(&o->ob_base);
    freefunc free_object = (freefunc)PyType_GetSlot(type, Py_tp_free);

    if (o->weak)
        PyObject_ClearWeakRefs(&o->ob_base);
    give_back(o);
    forget(o);
    PyMem_Free(o->segment_name);
    free_object(o);
    Py_DECREF(type);
}

PyObject *shp_method_close(struct shp_object *o, PyObject *unused)
{
    (void)unused;
    return shp_close(o) < 0 ? NULL : Py_NewRef(Py_None);
}

int shp_unlink(PyObject *name)
{
    struct shk_segment *s;
    char segment[SHK_SEGMENT_NAME_MAX + 2];
    size_t length, object;
    const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
    int r;

    if (text && strrchr(text, '/') <= text) { /* no slash but perhaps the first */
        r = shk_segment_unlink(text);
    } else {
        if (PyErr_Occurred() || split(name, &text, &length, &object) < 0)
            return -1;
        PyOS_snprintf(segment, sizeof(segment), "%.*s", (int)length, text);
        r = shk_segment_open(segment, 0, NULL, &s);
        if (r == 0) {
            r = shk_object_unlink(s, text + length + 1);
            if (r < 0)
                shp_error(r);
            shk_segment_close(s);
        }
    }
    if (r < 0)
        shp_error(r);
    return r < 0 ? -1 : 0;
}

/* ---- Attributes ---- */

PyObject *shp_get_name(struct shp_object *o, void *unused)
{
    (void)unused;
    if (o->segment_name == NULL)
        return Py_NewRef(Py_None);
    return PyUnicode_FromFormat("%s/%s", o->segment_name, o->name);
}

PyObject *shp_repr_with(struct shp_object *o, const char *state)
{
    PyObject *type = PyType_GetQualName(Py_TYPE(&o->ob_base)), *name, *text = NULL;

    if (type == NULL)
        return NULL;
    name = o->segment_name ? PyUnicode_FromFormat(" '%s/%s'", o->segment_name, o->name)
                           : PyUnicode_FromString("");
    if (name)
        text = PyUnicode_FromFormat("<shmkit.%U%U at %p%s%s>", type, name, (void *)o,
                                    state || !o->handle ? ": " : "",
                                    !o->handle ? "closed"
                                    : state    ? state
                                               : "");
    Py_DECREF(type);
    Py_XDECREF(name);
    return text;
}

PyObject *shp_repr(struct shp_object *o)
{
    return shp_repr_with(o, NULL);
}

PyMemberDef shp_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct shp_object, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* ---- Pickling ---- */

PyObject *shp_reduce(struct shp_object *o, PyObject *extra)
{
    PyObject *open = NULL, *place = NULL, *head = NULL, *all = NULL;

    if (extra == NULL)
        extra = PyTuple_New(0);
    if (extra == NULL || shp_check_open(o) < 0)
        goto done;
    open = PyObject_GetAttrString((PyObject *)Py_TYPE(&o->ob_base), "_open");
    if (open == NULL)
        goto done;
    if (o->segment_name)
        place = shp_get_name(o, NULL);
    else
        place = shp_unnamed_reduce(o->segment, o->name);
    if (place == NULL)
        goto done;
    o->shared = true;
    head = PyTuple_Pack(1, place);
    if (head)
        all = PySequence_Concat(head, extra);
done:
    Py_XDECREF(head);
    Py_XDECREF(place);
    Py_XDECREF(extra);
    if (all == NULL) {
        Py_XDECREF(open);
        return NULL;
    }
    return Py_BuildValue("(NN)", open, all);
}

int shp_reopen(struct shp_object *o, const struct shp_kind *kind, PyObject *place, unsigned flags,
               const void *options)
{
    const char *name;

    if (check_new(o) < 0)
        return -1;
    if (PyUnicode_Check(place))
        return shp_open(o, kind, place, flags, options);
    o->kind = kind;
    o->shared = true;
    if (shp_unnamed_reopen(place, &o->segment, &name) < 0)
        return -1;
    PyOS_snprintf(o->name, sizeof(o->name), "%s", name);
    return open_handle(o, flags, options);
}

int shp_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **out)
{
    return shp_add_subtype(module, spec, NULL, out);
}

int shp_add_subtype(PyObject *module, PyType_Spec *spec, PyTypeObject *base, PyTypeObject **out)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
    int r;

    if (type == NULL)
        return -1;
    r = PyModule_AddType(module, (PyTypeObject *)type);
    if (r == 0 && out)
        *out = (PyTypeObject *)type; /* the module keeps it */
    Py_DECREF(type);
    return r;
}
