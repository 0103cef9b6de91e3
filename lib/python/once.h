#ifndef SHP_ONCE_H
#define SHP_ONCE_H

#include "object.h"

int shp_once_init(PyObject *module);

#endif
