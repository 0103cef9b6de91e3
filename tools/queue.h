/* A queue that is there, for the verbs that only read it, end it, or take from it. */
#ifndef SHMCTL_QUEUE_H
#define SHMCTL_QUEUE_H

#include "open.h"

struct queue_operand {
    struct path path;
    struct acting acting; /* as the options say; no SHK_CREATE in its flags */
    struct shk_segment *segment;
    struct shk_queue *queue;
};

#define QUEUE_OPERAND                       \
    {                                       \
        .acting = {.timeout = SHK_FOREVER } \
    }

/* Parse the operand. A text that is no path of an object ends the program. */
void queue_operand_parse(struct queue_operand *, const char *operand);

/* Open the queue. Returns STATUS_DONE, or a status after a complaint; to be closed in any case. */
int queue_operand_open(struct queue_operand *);
void queue_operand_close(struct queue_operand *);

/*
 * Run a verb with one operand, a queue, and no options of its own: parse, open, act, close. Returns
 * the exit status, which is that of `act` if the queue can be opened.
 */
int queue_run(const struct command *, int argc, char **argv, int (*act)(struct queue_operand *));

/*
 * Take the front item, which the caller has peeked, as a task that has ended: no join finds it
 * missing. Returns 0 or as shk_queue_consume().
 */
int queue_take_peeked(struct shk_queue *);

#endif
