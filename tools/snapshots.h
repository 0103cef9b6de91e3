/* Snapshots of several segments. */
#ifndef SHMCTL_SNAPSHOTS_H
#define SHMCTL_SNAPSHOTS_H

#include "common.h"

/*
 * Of every segment in shared memory that can be read, or of the one named on the command line, or
 * of all on etcd ("etcd:"). *status:
 * STATUS_DONE, or why not, after a complaint. Returns an array with NULL at its end, to be given
 * back in any case.
 */
struct shk_snapshot **take_snapshots(const char *operand, int *status);

/* Of every segment in shared memory, and of one on etcd or all of them ("etcd:"); NULL: none. */
struct shk_snapshot **take_all_snapshots(const char *on_etcd, int *status);
void drop_snapshots(struct shk_snapshot **);

#endif
