#ifndef SHP_LOCK_H
#define SHP_LOCK_H

#include "wait.h"

/* A Lock or RLock; its segment and handle. */
struct shp_lock {
    struct shp_object object;
    bool recursive;
    bool orphaned_returns; /* orphaned="return": a value; else Orphaned is raised */
};

extern PyTypeObject *shp_lock_type, *shp_rlock_type;
/* What an acquire returns after a holder's death: shmkit.ORPHANED. */
extern PyObject *shp_orphaned;

int shp_lock_init(PyObject *module);

/* orphaned="raise" or "return": 0, or -1 with ValueError. NULL: "raise". */
int shp_orphaned_choice(const char *text, bool *returns);

/*
 * What an acquire that returned r >= 0 gives: True, ORPHANED, or NULL with Orphaned raised; the
 * lock is held in each case.
 */
PyObject *shp_acquired(const struct shp_object *, int64_t r, bool returns);

/*
 * What acquire() returns: of an acquire of which call(handle, SHK_NOWAIT) has given r. returns:
 * orphaned="return".
 */
PyObject *shp_acquire_slow(struct shp_object *, shp_call call, int64_t r, int64_t timeout,
                           bool returns);

#endif
