/* The arguments of a demo program: a table of options, which --help prints, and operands. */
#ifndef DEMOS_ARGUMENTS_H
#define DEMOS_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

/* An option --name, and where its value goes: exactly one of the five pointers is set. */
struct option_row {
    const char *name;
    const char *argument; /* for --help; NULL with a flag */
    const char *help;     /* one line, or several */
    bool *flag;
    const char **text;
    uint32_t *order;   /* SHK_FIFO, SHK_LIFO, SHK_PRIORITY */
    int64_t *number;   /* least to most; a most of 0 is no limit */
    int64_t *duration; /* nanoseconds */
    int64_t least, most;
};

/* A table ends with a row without a name. */
struct program {
    const char *name;    /* in messages, whatever file it was started from */
    const char *operand; /* "QUEUE" */
    bool several;        /* one or more of them */
    const char *purpose; /* one sentence */
    const char *notes;   /* the rest of --help */
    const struct option_row *options;
};

/*
 * Store the options, and return the first operand; behind the last one is a NULL. Ends the process
 * for --help, --version and wrong usage.
 */
char **parse_arguments(int argc, char **argv, const struct program *);

#endif
