/*
 * Items: an object of Python, as the bytes that travel.
 *
 *     codec       an item of bytes          any other object
 *     "pickle"    its bytes, as they are    a mark, then pickle protocol 5
 *     "bytes"     its bytes, as they are    TypeError
 *     "text"      TypeError                 a str in UTF-8; nothing else
 *     "json"      TypeError                 JSON in UTF-8
 *     "int"       TypeError                 an int64 of the machine, 8 bytes; nothing else
 *     "float"     TypeError                 a double of the machine, 8 bytes; nothing else
 *     an object   what its dumps(object) returns, bytes or str; its loads(bytes) is the inverse
 *
 * The mark is 5 bytes: 93 73 68 6b ("shk"), and what follows. 93 begins no character of UTF-8, so
 * no text and no JSON begins so. An item of bytes that itself begins with the first four travels
 * behind a mark of its own, SHP_MARK_BYTES, and loses it on arrival. So a pickle is never taken for
 * bytes, nor bytes for a pickle. Only in that one case are the bytes in the queue not those of the
 * item.
 *
 * "bytes" here: bytes, and a memoryview, which arrives as bytes. A bytearray is pickled, so that it
 * arrives as one.
 */
#ifndef SHP_ITEM_H
#define SHP_ITEM_H

#include "python.h"

#include <string.h>

#define SHP_MARK        "\x93shk"
#define SHP_MARK_LENGTH 5 /* with what follows */
#define SHP_MARK_PICKLE 'p'
#define SHP_MARK_BYTES  'b'

enum shp_coding {
    SHP_CODE_PICKLE,
    SHP_CODE_BYTES,
    SHP_CODE_TEXT,
    SHP_CODE_INT,
    SHP_CODE_FLOAT,
    SHP_CODE_JSON,
    SHP_CODE_OWN
};

struct shp_codec {
    enum shp_coding coding;
    PyObject *given;         /* what the program has said, for pickling; NULL: "pickle" */
    PyObject *dumps, *loads; /* JSON, OWN */
};

/* NULL and None: "pickle". 0, or -1 with an exception. */
int shp_codec_init(struct shp_codec *, PyObject *given);
void shp_codec_clear(struct shp_codec *);
PyObject *shp_codec_given(const struct shp_codec *); /* a new reference */

/* An item that has been encoded. It is valid until it is released. */
struct shp_item {
    const char *data; /* never NULL */
    size_t length;
    PyObject *owner; /* of the bytes; NULL: none, or a sink */
    Py_buffer view;  /* view.obj: NULL: none */
    struct shp_sink *sink;
};

/* Encode: 0, or -1 with an exception; then there is nothing to be released. */
int shp_encode_slow(const struct shp_codec *, PyObject *, struct shp_item *);

/* Whether bytes would be taken for something else when they arrive. */
static inline bool shp_is_marked(const char *data, size_t length)
{
    return length >= 4 && memcmp(data, SHP_MARK, 4) == 0;
}

static inline int shp_encode(const struct shp_codec *c, PyObject *object, struct shp_item *item)
{
    char *data;
    Py_ssize_t length;

    if (c->coding <= SHP_CODE_BYTES && PyBytes_CheckExact(object) &&
        PyBytes_AsStringAndSize(object, &data, &length) == 0 &&
        (c->coding == SHP_CODE_BYTES || !shp_is_marked(data, (size_t)length))) {
        item->data = data;
        item->length = (size_t)length;
        Py_INCREF(object);
        item->owner = object;
        item->view.obj = NULL;
        item->sink = NULL;
        return 0;
    }
    return shp_encode_slow(c, object, item);
}

void shp_item_release_slow(struct shp_item *);

static inline void shp_item_release(struct shp_item *item)
{
    if (item->owner && item->view.obj == NULL && item->sink == NULL)
        Py_DECREF(item->owner);
    else
        shp_item_release_slow(item);
}

/* The object that bytes are; a new reference, or NULL with an exception. */
PyObject *shp_decode(const struct shp_codec *, const char *data, size_t length);

/* The same of a bytes object, whose reference is taken. */
PyObject *shp_decode_owned(const struct shp_codec *, PyObject *bytes);

int shp_items_init(PyObject *module);

#endif
