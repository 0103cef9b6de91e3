/* Codecs: what travels for an object, and which object it is on arrival. */
#include "item.h"

#include "args.h"
#include "sink.h"

static PyObject *pickle_loads, *json_dumps, *json_loads;

/* ---- Codecs ---- */

/* json.dumps without spaces; its non-ASCII characters as they are, for the shell to see. */
static int find_json(void)
{
    PyObject *encoder = NULL, *settings = NULL, *nothing = NULL, *made = NULL;

    if (json_dumps && json_loads)
        return 0;
    encoder = shp_imported("json", "JSONEncoder");
    settings = Py_BuildValue("{s:O,s:(ss)}", "ensure_ascii", Py_False, "separators", ",", ":");
    nothing = PyTuple_New(0);
    if (encoder && settings && nothing)
        made = PyObject_Call(encoder, nothing, settings);
    if (made)
        json_dumps = PyObject_GetAttrString(made, "encode");
    Py_XDECREF(made);
    Py_XDECREF(nothing);
    Py_XDECREF(settings);
    Py_XDECREF(encoder);
    if (json_dumps)
        json_loads = shp_imported("json", "loads");
    return json_dumps && json_loads ? 0 : -1;
}

static int named_codec(struct shp_codec *c, PyObject *name)
{
    if (PyUnicode_CompareWithASCIIString(name, "pickle") == 0) {
        c->coding = SHP_CODE_PICKLE;
    } else if (PyUnicode_CompareWithASCIIString(name, "bytes") == 0) {
        c->coding = SHP_CODE_BYTES;
    } else if (PyUnicode_CompareWithASCIIString(name, "text") == 0) {
        c->coding = SHP_CODE_TEXT;
    } else if (PyUnicode_CompareWithASCIIString(name, "int") == 0) {
        c->coding = SHP_CODE_INT;
    } else if (PyUnicode_CompareWithASCIIString(name, "float") == 0) {
        c->coding = SHP_CODE_FLOAT;
    } else if (PyUnicode_CompareWithASCIIString(name, "json") == 0) {
        if (find_json() < 0)
            return -1;
        c->coding = SHP_CODE_JSON;
        Py_INCREF(json_dumps);
        c->dumps = json_dumps;
        Py_INCREF(json_loads);
        c->loads = json_loads;
    } else {
        PyErr_Format(PyExc_ValueError,
                     "codec is \"pickle\", \"bytes\", \"text\", \"json\", \"int\", \"float\", or "
                     "an object with dumps() and loads(), not %R",
                     name);
        return -1;
    }
    return 0;
}

int shp_codec_init(struct shp_codec *c, PyObject *given)
{
    struct shp_codec made = {.coding = SHP_CODE_PICKLE};

    if (given == Py_None)
        given = NULL;
    if (given && PyUnicode_Check(given)) {
        if (named_codec(&made, given) < 0)
            return -1;
    } else if (given) {
        made.coding = SHP_CODE_OWN;
        made.dumps = PyObject_GetAttrString(given, "dumps");
        made.loads = made.dumps ? PyObject_GetAttrString(given, "loads") : NULL;
        if (made.loads == NULL) {
            Py_XDECREF(made.dumps);
            return -1;
        }
    }
    Py_XINCREF(given);
    made.given = given;
    shp_codec_clear(c);
    *c = made;
    return 0;
}

void shp_codec_clear(struct shp_codec *c)
{
    Py_CLEAR(c->given);
    Py_CLEAR(c->dumps);
    Py_CLEAR(c->loads);
    c->coding = SHP_CODE_PICKLE;
}

PyObject *shp_codec_given(const struct shp_codec *c)
{
    PyObject *given = c->given ? c->given : Py_None;

    Py_INCREF(given);
    return given;
}

/* ---- Encoding ---- */

/* What the sink has is the item's, whose the sink is from now on. */
static int from_sink(struct shp_sink *sink, struct shp_item *item)
{
    if (sink == NULL)
        return -1;
    item->sink = sink;
    item->data = sink->data;
    item->length = sink->length;
    return 0;
}

/* Any object with a buffer, as it is: contiguous, in the order of C. */
static int from_buffer(PyObject *object, struct shp_item *item)
{
    if (PyObject_GetBuffer(object, &item->view, PyBUF_SIMPLE) < 0) {
        item->view.obj = NULL;
        return -1;
    }
    item->data = item->view.len ? item->view.buf : "";
    item->length = (size_t)item->view.len;
    return 0;
}

static int from_text(PyObject *text, struct shp_item *item)
{
    Py_ssize_t length;
    const char *data = PyUnicode_AsUTF8AndSize(text, &length);

    if (data == NULL)
        return -1;
    Py_INCREF(text);
    item->owner = text;
    item->data = data;
    item->length = (size_t)length;
    return 0;
}

/* 8 bytes, as C has them. */
static int from_number(enum shp_coding coding, PyObject *number, struct shp_item *item)
{
    PyObject *bytes;
    char *data;
    union {
        long long whole;
        double real;
    } n;

    if (coding == SHP_CODE_INT)
        n.whole = PyLong_AsLongLong(number);
    else
        n.real = PyFloat_AsDouble(number);
    if (PyErr_Occurred())
        return -1;
    bytes = PyBytes_FromStringAndSize((const char *)&n, sizeof(n));
    if (bytes == NULL)
        return -1;
    data = PyBytes_AsString(bytes);
    item->owner = bytes;
    item->data = data;
    item->length = sizeof(n);
    return 0;
}

/* bytes or str that dumps() has returned; takes the reference. */
static int from_dumped(PyObject *dumped, struct shp_item *item)
{
    int r;

    if (dumped == NULL)
        return -1;
    if (PyUnicode_Check(dumped))
        r = from_text(dumped, item);
    else
        r = from_buffer(dumped, item);
    Py_DECREF(dumped); /* the item has its own reference */
    return r;
}

int shp_encode_slow(const struct shp_codec *c, PyObject *object, struct shp_item *item)
{
    memset(item, 0, sizeof(*item));
    switch (c->coding) {
    case SHP_CODE_PICKLE:
        if (PyMemoryView_Check(object) || PyBytes_CheckExact(object)) {
            if (from_buffer(object, item) < 0)
                return -1;
            if (shp_is_marked(item->data, item->length)) {
                int r = from_sink(shp_sink_copy(SHP_MARK "b", item->data, item->length), item);

                PyBuffer_Release(&item->view);
                return r;
            }
            return 0;
        }
        return from_sink(shp_sink_pickle(SHP_MARK "p", object), item);
    case SHP_CODE_BYTES:
        if (from_buffer(object, item) < 0) {
            PyErr_Format(PyExc_TypeError, "codec \"bytes\" takes objects like bytes, not %R",
                         (PyObject *)Py_TYPE(object));
            return -1;
        }
        return 0;
    case SHP_CODE_TEXT:
        if (!PyUnicode_Check(object)) {
            PyErr_Format(PyExc_TypeError, "codec \"text\" takes str, not %R",
                         (PyObject *)Py_TYPE(object));
            return -1;
        }
        return from_text(object, item);
    case SHP_CODE_INT:
    case SHP_CODE_FLOAT:
        return from_number(c->coding, object, item);
    default:
        return from_dumped(PyObject_CallFunctionObjArgs(c->dumps, object, NULL), item);
    }
}

void shp_item_release_slow(struct shp_item *item)
{
    if (item->view.obj)
        PyBuffer_Release(&item->view);
    Py_CLEAR(item->owner);
    if (item->sink)
        shp_sink_give(item->sink);
    item->sink = NULL;
}

/* ---- Decoding ---- */

static PyObject *unpickled(PyObject *data)
{
    PyObject *object;

    if (data == NULL)
        return NULL;
    object = PyObject_CallFunctionObjArgs(pickle_loads, data, NULL);
    Py_DECREF(data);
    return object;
}

static PyObject *loaded(const struct shp_codec *c, PyObject *data)
{
    PyObject *object;

    if (data == NULL)
        return NULL;
    object = PyObject_CallFunctionObjArgs(c->loads, data, NULL);
    Py_DECREF(data);
    return object;
}

static PyObject *to_number(enum shp_coding coding, const char *data, size_t length)
{
    long long whole;
    double real;

    if (length != sizeof(whole)) {
        PyErr_Format(PyExc_ValueError, "an item of %zu bytes is no number of 8", length);
        return NULL;
    }
    if (coding == SHP_CODE_INT) {
        memcpy(&whole, data, sizeof(whole));
        return PyLong_FromLongLong(whole);
    }
    memcpy(&real, data, sizeof(real));
    return PyFloat_FromDouble(real);
}

PyObject *shp_decode(const struct shp_codec *c, const char *data, size_t length)
{
    switch (c->coding) {
    case SHP_CODE_PICKLE:
        if (length < SHP_MARK_LENGTH || !shp_is_marked(data, length))
            break;
        if (data[4] == SHP_MARK_PICKLE)
            return unpickled(PyBytes_FromStringAndSize(data + SHP_MARK_LENGTH,
                                                       (Py_ssize_t)(length - SHP_MARK_LENGTH)));
        if (data[4] == SHP_MARK_BYTES)
            return PyBytes_FromStringAndSize(data + SHP_MARK_LENGTH,
                                             (Py_ssize_t)(length - SHP_MARK_LENGTH));
        break;
    case SHP_CODE_BYTES:
        break;
    case SHP_CODE_TEXT:
        return PyUnicode_DecodeUTF8(data, (Py_ssize_t)length, "strict");
    case SHP_CODE_INT:
    case SHP_CODE_FLOAT:
        return to_number(c->coding, data, length);
    case SHP_CODE_JSON:
        return loaded(c, PyUnicode_DecodeUTF8(data, (Py_ssize_t)length, "strict"));
    default:
        return loaded(c, PyBytes_FromStringAndSize(data, (Py_ssize_t)length));
    }
    return PyBytes_FromStringAndSize(data, (Py_ssize_t)length);
}

PyObject *shp_decode_owned(const struct shp_codec *c, PyObject *bytes)
{
    PyObject *object, *view, *part;
    char *data;
    Py_ssize_t length;

    if (PyBytes_AsStringAndSize(bytes, &data, &length) < 0)
        return NULL;
    if (c->coding == SHP_CODE_BYTES ||
        (c->coding == SHP_CODE_PICKLE && !shp_is_marked(data, (size_t)length)))
        return bytes;
    if (c->coding == SHP_CODE_PICKLE && length > SHP_MARK_LENGTH && data[4] == SHP_MARK_PICKLE) {
        /* without a copy of what is behind the mark */
        view = PyMemoryView_FromObject(bytes);
        part = view ? PySequence_GetSlice(view, SHP_MARK_LENGTH, length) : NULL;
        Py_XDECREF(view);
        object = unpickled(part);
    } else {
        object = shp_decode(c, data, (size_t)length);
    }
    Py_DECREF(bytes);
    return object;
}

/* ---- The module ---- */

int shp_items_init(PyObject *module)
{
    pickle_loads = shp_imported("pickle", "loads");
    return pickle_loads ? shp_sinks_init(module) : -1;
}
