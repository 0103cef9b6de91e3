/*
 * What the demo programs share: arguments, one object to work on, whole lines, Ctrl-C, exit codes.
 *
 * A program is a table of options, one function that does the work and returns an exit code, and
 *
 *     int status = enter(argc, argv, &program, &name, &place);
 *     if (status == DONE)
 *         status = work(&place);
 *     return leave(&place, status);
 *
 * Functions that return an exit code have already said on standard error what is wrong.
 */
#ifndef DEMOS_COMMON_H
#define DEMOS_COMMON_H

#include <shmkit.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/* The exit codes, those of shmctl. A program that a signal ended dies of that signal. */
enum { DONE = 0, FAILED = 1, USAGE = 2, NOT_NOW = 3, ABSENT = 4, SHUT_DOWN = 5 };

/*
 * The width of 存款者甲: shorter names are filled up to it, so that lines of several programs line up.
 */
enum { NAME_COLUMNS = 8 };

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

/* What a program works on: SEGMENT/OBJECT. */
struct place {
    const char *path;
    char *segment_name;
    const char *object;
    struct shk_segment *segment;
};

/*
 * Not 0 after SIGINT or SIGTERM: its number. Calls that block give -EINTR then. A second signal of
 * the kind kills.
 */
extern volatile sig_atomic_t interrupted;

/*
 * Read the arguments, open the segment (made if absent), name this process in it. *member: the name
 * to use, an option may have changed it; NULL is replaced by process-PID (in Chinese by 进程-PID).
 * Ends the process for --help, --version and wrong usage.
 * Returns an exit code; leave() is to be called whatever it is.
 */
int enter(int argc, char **argv, const struct program *, const char **member, struct place *);

/*
 * Leave the segment. Returns status, or does not return if a signal has come: dies of it, as the
 * shell expects.
 */
int leave(struct place *, int status);

/*
 * The same in parts, for a program of several operands: begin() reads the arguments and returns the
 * first operand, behind the last one is a NULL; then for each place_enter(), which returns an exit
 * code, and place_leave(), whatever that was; finish() is the end of leave().
 */
char **begin(int argc, char **argv, const struct program *);
int place_enter(struct place *, const char *path, const char **member);
/* The same for a reader, which makes no segment: *found is -ENOENT if there is none, else 0. */
int place_find(struct place *, const char *path, const char **member, int *found);
void place_leave(struct place *);
int finish(int status);

/* The exit code for a negative return value of the library, after its sentence has been printed. */
int failed(const struct place *, int r);

/* "producer: sentence" on standard error, in one write. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Write to standard output in one write(2), so that a line stays whole among those of others.
 * Return DONE or FAILED.
 */
int say(const char *format, ...) __attribute__((format(printf, 1, 2)));
int say_bytes(struct iovec *parts, int n); /* parts: changed */

/*
 * Wait until standard output takes a line without blocking. Returns DONE, or FAILED when
 * interrupted.
 */
int wait_to_say(void);

/* How many blanks fill text up to that many columns of a terminal. */
int padding(const char *text, int columns);

/*
 * The bytes as text for a terminal: what cannot be printed is shown as "?". The caller frees it;
 * NULL: no memory.
 */
char *printable(const char *bytes, size_t length);

/* Sleep that long, or until that time of now(), or until interrupted. */
void pause_for(int64_t nanoseconds);
void pause_until(int64_t time);

/* Nanoseconds of CLOCK_MONOTONIC. */
int64_t now(void);

/*
 * Open the queue of place. What is ANY, or an item_size of 0, may be as it is; if the queue is
 * absent it is made, with the defaults for that: first in, first out. A capacity of 0 is bounded
 * only by memory. Returns an exit code.
 */
enum { ANY = -1, DEFAULT_CAPACITY = 1, DEFAULT_ITEM_SIZE = 4096 };
struct queue_wish {
    uint32_t order; /* or (uint32_t)ANY */
    int64_t capacity, item_size;
};
int open_queue(const struct place *, const struct queue_wish *, struct shk_queue **);

/*
 * The options for a static struct queue_wish, which is to begin as ANY_QUEUE: producer and consumer
 * tell them alike.
 */
#define ANY_QUEUE                               \
    {                                           \
        .order = (uint32_t)ANY, .capacity = ANY \
    }
#define QUEUE_OPTIONS(wish)                                                                       \
    {"order", "ORDER", "which item comes first: fifo, lifo or priority", .order = &(wish).order}, \
        {"capacity", "N", "items that it holds; 0: as many as there is memory for",               \
         .number = &(wish).capacity, .most = (int64_t)1 << 31},                                   \
    {                                                                                             \
        "item-size", "BYTES", "the longest item", .number = &(wish).item_size, .least = 1,        \
                                                  .most = (int64_t)1 << 31                        \
    }
#define QUEUE_NOTES                                                                   \
    "Whoever comes first makes the queue. Without --order, --capacity and\n"          \
    "--item-size it is one of 1 item of up to 4096 bytes, first in, first out, if\n"  \
    "this program makes it, and may be any if it is there. With them, a queue that\n" \
    "is there must be like that.\n"

/* The same for a stream of samples of type double. */
enum { DEFAULT_HISTORY = 10000 };
int open_stream(const struct place *, int64_t history, struct shk_stream **);

#endif
