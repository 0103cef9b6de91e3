/* Arguments of a METH_FASTCALL | METH_KEYWORDS method. */
#ifndef SHP_ARGS_H
#define SHP_ARGS_H

#include "python.h"

/*
 * out[i]: the argument called names[i], borrowed; NULL: not given. names ends with NULL. The first
 * `required` must be given. 0, or -1 with a TypeError that names the function.
 */
int shp_args_slow(const char *function, const char *const *names, int required,
                  PyObject *const *args, Py_ssize_t n, PyObject *keywords, PyObject **out);

#define SHP_ARGS(function, names, required, args, n, keywords, out) \
    shp_args_slow(function, names, required, args, n, keywords, out)

/* An attribute of a module, as a new reference. */
PyObject *shp_imported(const char *module, const char *name);

/* call function(self, arguments…) of a module of this package. */
PyObject *shp_delegate(const char *module, const char *function, PyObject *self,
                       PyObject *const *args, Py_ssize_t n, PyObject *keywords);

#endif
