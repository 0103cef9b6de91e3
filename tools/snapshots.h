/* Snapshots of several segments. */
#ifndef SHMCTL_SNAPSHOTS_H
#define SHMCTL_SNAPSHOTS_H

#include "common.h"

/*
 * Of every segment in shared memory that can be read, or of the one named on the command line, or
 * of all on etcd ("etcd:"). *error: 0, or why not, which shk_last_error() tells. Returns an array
 * with NULL at its end, to be given back in any case.
 */
struct shk_snapshot **try_snapshots(const char *operand, int *error);

/* The same. *status: STATUS_DONE, or why not, after a complaint. */
struct shk_snapshot **take_snapshots(const char *operand, int *status);

/* Of every segment in shared memory, and of one on etcd or all of them ("etcd:"); NULL: none. */
struct shk_snapshot **take_all_snapshots(const char *on_etcd, int *error);

/* Complain of an error of one of them; the exit status that goes with it. */
int snapshots_failed(const char *operand, int error);

void drop_snapshots(struct shk_snapshot **);

/* ---- Looks that go on ---- */

/* Look, once: 0 or an error, which shk_last_error() tells; -EINTR: a signal has come. */
struct look {
    int (*look)(void *arg);
    void *arg;
    bool outlives_signals; /* there is something to print then; else a signal ends the program */
};
int look_once(const struct look *);

/*
 * … until etcd answers. That it does not is said once, with `operand` and the interval at which it
 * is asked again, and so it is when it does.
 */
int look_until_it_answers(const char *operand, int64_t interval, const struct look *);

#endif
