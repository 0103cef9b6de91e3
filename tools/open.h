/*
 * How the verbs that act come to their object.
 *
 * The rule of all of them: the first to use an object creates it, with the defaults, and its
 * segment. What has no default has to be said (the parties of a barrier). --no-create asks for an
 * object that is there. Verbs and actions that only read or end something (event is-set, semaphore
 * value, barrier reset, shutdown, rm) create nothing.
 */
#ifndef SHMCTL_OPEN_H
#define SHMCTL_OPEN_H

#include "command.h"
#include "common.h"

#include <stdbool.h>

/* What the options say that these verbs share. */
struct acting {
    unsigned flags;  /* SHK_CREATE, SHK_ANY_OWNER */
    int64_t timeout; /* as the library takes it */
};

#define ACTING_DEFAULTS                             \
    {                                               \
        .flags = SHK_CREATE, .timeout = SHK_FOREVER \
    }

/*
 * As next_option(), but TIMEOUT_ROW, NOWAIT_ROW, ANY_OWNER_ROW and NO_CREATE_ROW are taken here:
 * what is returned is an option of the verb's own, or -1.
 */
int next_own_option(const struct command *, int argc, char **argv, struct acting *);

/* What is to be opened. */
struct opening {
    const struct path *path;
    unsigned flags;      /* as in struct acting */
    const char *kind;    /* as 'shmctl create' names it */
    const char *options; /* which 'shmctl create' needs for it; NULL: none */
    const char *kinds;   /* what it may be, if that is more than one kind; NULL: it is not */
    /* Opens the object: flags are 0, or SHK_CREATE | SHK_EXCL. Returns as the library does. */
    int (*open)(struct shk_segment *, const char *name, unsigned flags, void *to);
    void *to;
};

/*
 * Open the segment and the object, or create what is absent. Blocking calls in the segment end on
 * Ctrl-C.
 * Returns STATUS_DONE, or a status after a complaint; *segment is to be closed in any case. A
 * segment that was created for an object that then was not is removed again.
 */
int open_object(const struct opening *, struct shk_segment **segment);

/* Opens a queue with the defaults, of whatever order; to is a struct shk_queue **. */
int open_any_queue(struct shk_segment *, const char *name, unsigned flags, void *to);

/* Open a segment or create it: *made. Returns as shk_segment_open(). */
int open_or_make_segment(const char *name, unsigned any_owner,
                         const struct shk_segment_options *options, bool *made,
                         struct shk_segment **segment);

/* Give back a segment that was made for nothing, if no other member has come meanwhile. */
void unmake_segment(const char *name, unsigned any_owner);

/* Complain that a segment or an object could not be opened; the exit status that goes with it. */
int failed_to_open(const struct opening *, int error);

/*
 * Complain about a call that may have had to wait. state: why it had to, as "the queue is full";
 * its holder, and how full it is, is added, and whether the time was over. Other errors
 * as failed().
 */
int failed_to_wait(const struct path *, const struct acting *, int error, const char *state);

/*
 * With SHK_NOWAIT a side of a queue that another process keeps is -EBUSY. 'shmctl get' keeps it
 * while it prints, which is over in a moment: these try again for a second. Otherwise as
 * shk_queue_peek() and shk_queue_get().
 */
ssize_t peek_soon(struct shk_queue *, const void **item, int64_t timeout);
ssize_t get_soon(struct shk_queue *, void *item, size_t size, int64_t timeout,
                 int64_t *priority); /* 0 where there are none */

/* A time that was asked for: "2 s", "200 ms", "3 h". */
#define TIME_MAX 32
const char *say_time(char *buffer, int64_t nanoseconds);

#endif
