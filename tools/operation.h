/*
 * The verbs of the form 'shmctl VERB ACTION OBJECT': event, semaphore, barrier. Each has a table of
 * its actions, which says what may be asked with them:
 *
 *     struct shk_event *event = NULL;
 *     struct operation o = {.actions = actions, .opening = {..., .to = &event}, .state = "..."};
 *     int status = operation_begin(&o, command, argc, argv);
 *     if (status == STATUS_DONE)
 *         status = operation_result(&o, act(event, &o));
 *     shk_event_close(event);
 *     operation_end(&o);
 */
#ifndef SHMCTL_OPERATION_H
#define SHMCTL_OPERATION_H

#include "open.h"

struct action {
    const char *name;
    bool creates; /* the object, if it is absent */
    bool waits;   /* takes --timeout and --nowait */
    bool counts;  /* takes the verb's own option */
    bool runs;    /* a command, which follows the object */
};

struct operation {
    /* Set by the verb. */
    const struct action *actions; /* the last has no name */
    const char *option;           /* the verb's own, whose argument is a number; NULL: none */
    uint64_t number;              /* its default, and then its argument; 0: it creates nothing */
    uint64_t max;
    struct opening opening; /* kind, options, open and to */
    const char *state;      /* why it had to wait, as "the event is not set" */
    /* Set by operation_begin(). */
    size_t action; /* the place in the table */
    struct acting acting;
    struct path path;
    struct shk_segment *segment;
    char **command; /* of an action that runs one */
};

/* Read the arguments, and open the object. Returns an exit status. */
int operation_begin(struct operation *, const struct command *, int argc, char **argv);

/* The exit status for what the library has returned, after a complaint if it is an error. */
int operation_result(const struct operation *, int r);

/* Close the segment. */
void operation_end(struct operation *);

#endif
