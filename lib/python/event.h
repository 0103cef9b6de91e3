#ifndef SHP_EVENT_H
#define SHP_EVENT_H

#include "object.h"

extern PyTypeObject *shp_event_type;

int shp_event_init(PyObject *module);

#endif
