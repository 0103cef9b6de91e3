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

#include "arguments.h"
#include "output.h"
#include "pause.h"

#include <shmkit.h>

/* What a program works on: SEGMENT/OBJECT. */
struct place {
    const char *path;
    char *segment_name;
    const char *object;
    struct shk_segment *segment;
};

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

/* Whether its segment is on etcd. */
bool is_on_etcd(const struct place *);

/* The exit code for a negative return value of the library, after its sentence has been printed. */
int failed(const struct place *, int r);

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
    "The first program to use the queue makes it. Without --order, --capacity and\n"  \
    "--item-size it is one of 1 item of up to 4096 bytes, first in, first out, if\n"  \
    "this program makes it, and may be any if it is there. With them, a queue that\n" \
    "is there must be like that.\n"

/*
 * The same for a stream of samples of type double. What is 0 may be as it is, but the channels: one
 * that is made has 10000 samples. The rate is noted, 0: that there is none.
 */
enum { DEFAULT_HISTORY = 10000 };
struct stream_wish {
    uint32_t channels; /* at least 1 */
    int64_t history;
    bool stamped;
    double rate;
    bool is_producer; /* by role: readers learn that the last one has gone */
};
int open_stream(const struct place *, const struct stream_wish *, struct shk_stream **);

#endif
