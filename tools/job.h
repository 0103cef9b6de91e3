/*
 * One item of 'shmctl work', from its lease to its end.
 *
 *     FREE --lease--> RUNS --exit 0--> DELIVERS --ack--> FREE
 *                      | failed for the last time
 *                      +-------------> GIVES_UP --ack--> FREE
 *                      | failed, or given back
 *                      +--nack-------------------------> FREE
 *
 * At each step the item is leased to this process, or back in its queue.
 *     killed here, before an ack: the item comes back, and is another worker's. What has been put
 *     into the queue of the results, or of the failed items, is put once more. So an item is worked
 *     on at least once.
 */
#ifndef SHMCTL_JOB_H
#define SHMCTL_JOB_H

#include "open.h"

/* A queue that takes results, or items that have failed. */
struct target {
    struct path path; /* no text: there is none */
    struct shk_queue_options options;
    struct shk_segment *segment;
    struct shk_queue *queue; /* NULL: there is none */
};

enum job_state { FREE, RUNS, DELIVERS, GIVES_UP };

struct job {
    enum job_state state;
    char *item;  /* NULL: none */
    size_t room; /* for bytes of it, and there is one byte more */
    size_t length;
    uint64_t ticket;
    struct shk_lease_info info;
    pid_t process;
    int output;      /* what the command prints, if that is a result; else 0 */
    int64_t started; /* as monotonic_now() */
    int64_t due;     /* RUNS: the next signal; DELIVERS, GIVES_UP: the next try */
    int signal;      /* the last that was sent because the time is over; 0: none */
    bool has_run;    /* the command, this time */
    int status;      /* of the command, as a shell gives it */
    char *reason;    /* why it has failed; NULL */
};

struct work {
    const struct path *path;
    struct shk_queue *queue;
    struct target failed, results;
    char **command; /* with room for the item and NULL behind its n words */
    int words;
    bool standard_input; /* the item is the command's standard input, and not its last argument */
    bool verbose;
    bool stops;     /* at the first item that is given up */
    uint64_t count; /* how many items at most */
    uint64_t retries;
    int64_t delay;
    int64_t limit, kill_after; /* for a command; SHK_FOREVER: none */
    struct job *jobs;
    unsigned n, busy;
    uint64_t done, given_up, retried;
    /* How hard it is told to end: not, after the commands, by ending them, by killing them. */
    enum { GOES_ON, FINISHES, ENDS_COMMANDS, KILLS_COMMANDS } haste;
    bool ended; /* it takes no more items */
    int status; /* to end with, if an error has ended it */
    bool shows_progress;
    bool has_journal; /* journal.h; the commands' standard output is not for their output then */
};

/* Room for an item of so many bytes, which is not there yet. */
void job_make_room(struct job *, size_t room);

/* Of the item that has just been leased to the job. */
void job_begin(struct work *, struct job *);

/* Its command has ended, with that status as by waitpid(2). */
void job_end(struct work *, struct job *, int status);

/* What is due: a signal to a command that takes too long, another try to deliver. */
void job_look_after(struct work *, struct job *);

/* A line on the standard error that begins with the queue's path. */
void work_say(const struct work *, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
