#ifndef SHP_COND_H
#define SHP_COND_H

#include "object.h"

int shp_cond_init(PyObject *module);

#endif
