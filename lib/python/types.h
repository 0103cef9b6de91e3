/* The types of the module. Each file of a type has one function that adds it: 0 or -1. */
#ifndef SHP_TYPES_H
#define SHP_TYPES_H

#include "barrier.h"
#include "cond.h"
#include "event.h"
#include "lock.h"
#include "newest.h"
#include "once.h"
#include "queue.h"
#include "ready.h"
#include "region.h"
#include "rwlock.h"
#include "semaphore.h"
#include "stream.h"

/* In an order in which those that others need come first. */
#define SHP_TYPES                                                                              \
    shp_lock_init, shp_barrier_init, shp_cond_init, shp_event_init, shp_once_init,             \
        shp_rwlock_init, shp_semaphore_init, shp_queue_init, shp_region_init, shp_newest_init, \
        shp_stream_init, shp_reader_init, shp_ready_init

#endif
