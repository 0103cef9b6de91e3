#ifndef SHP_NEWEST_H
#define SHP_NEWEST_H

#include "python.h"

extern PyTypeObject *shp_newest_type;

int shp_newest_init(PyObject *module);

#endif
