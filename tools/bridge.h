/*
 * shmctl bridge: what carrying a queue, and carrying a stream, have in common: the two ends,
 * waiting for etcd, and what is told of it meanwhile.
 *
 * While etcd cannot be reached the bridge is a member called so: "bridge, unreachable since
 * 2026-11-30 09:14:03", which ps, why and show print.
 */
#ifndef SHMCTL_BRIDGE_H
#define SHMCTL_BRIDGE_H

#include "open.h"

struct bridge {
    struct path from, to;
    struct acting acting; /* its timeout: of waiting for etcd, or for room there */
    bool once, quiet, resumes;
    uint64_t resume_at;
    struct shk_segment *local, *remote;

    /* ---- Waiting for etcd ---- */
    int64_t away_since; /* CLOCK_MONOTONIC; 0: it is reached */
    int64_t full_since; /* likewise: there is no room */
    int64_t pause;      /* before the next try */

    /* ---- What is told ---- */
    const char *what; /* one of what it carries: "item" */
    bool shows;       /* a line of progress, on a terminal */
    uint64_t carried;
    uint64_t lost;        /* samples */
    int64_t shown;        /* when the line was written */
    uint64_t shown_count; /* what was carried then */
    double rate;          /* a second, of late */
};

/* What has failed, and been complained about. */
enum { BRIDGE_COMPLAINED = 1 };

/* For `waiting`: not known, or nothing waits, since it is carried as it comes. */
#define BRIDGE_NO_COUNT UINT64_MAX

/* How long a call waits, before what is told is brought up to date. */
#define BRIDGE_TURN SHK_SEC(1)

/* Once the local segment is open: what the bridge is called there. */
void bridge_begin(const struct bridge *);

/*
 * Open the other end, however long that takes: the segment, and then by `open`, which returns as
 * the library does, an object of that kind. The exit status, after a complaint if it fails.
 */
int bridge_open(struct bridge *, const char *kind, int (*open)(struct bridge *, void *arg),
                void *arg);

/*
 * After a call to etcd that gave an error: wait for a while, and 0: try again. Or the error, with
 * which the bridge ends: also -ETIMEDOUT, when its time is over, and -EINTR. `waiting`: what is
 * still to be carried.
 */
int bridge_may_wait(struct bridge *, int error, uint64_t waiting);

/* After a call that has succeeded. */
void bridge_reached(struct bridge *, uint64_t waiting);

/* Show how it stands, on a terminal, if that was not just done. */
void bridge_show(struct bridge *, uint64_t waiting);
/* The line of progress goes, before another one is written, or at the end. */
void bridge_end_line(struct bridge *);

/* The exit status of an end with that error, about one end or the other, after a complaint. */
int bridge_failed(struct bridge *, const struct path *about, int error);

/* As 'shmctl bridge' with a queue, and with a stream, does. Return the exit status. */
int bridge_queue(struct bridge *);
int bridge_stream(struct bridge *);

#endif
