#ifndef SHP_REGION_H
#define SHP_REGION_H

#include "python.h"

int shp_region_init(PyObject *module);

#endif
