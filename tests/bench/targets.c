#include "targets.h"

#include <stddef.h>

/*
 * {.workload = "W1", .row = "8 B", .subject = "shmkit", .at_least = true, .factor = 1.3, .against =
 * BEST_PEER}
 */
#define FASTER(w, r, p, s, f, a)                                                          \
    {                                                                                     \
        .workload = w, .row = r, .place = p, .subject = s, .at_least = true, .factor = f, \
        .against = a                                                                      \
    }
#define CHEAPER(w, r, p, s, f, a)                                                    \
    {                                                                                \
        .workload = w, .row = r, .place = p, .subject = s, .factor = f, .against = a \
    }

const struct target targets[] = {
    FASTER("W1", "8 B", NULL, "shmkit", 1.3, BEST_PEER),
    FASTER("W1", "8 B", NULL, "shmkit", 0.25, "limit ring"),
    FASTER("W1", "64 B", NULL, "shmkit", 3, BEST_SLEEPING_PEER),
    FASTER("W1", "8 B", NULL, "shmkit claimed", 2, BEST_PEER),
    FASTER("W1", "8 B", NULL, "shmkit claimed", 0.8, "limit ring"),
    FASTER("W1", "64 B", NULL, "shmkit claimed", 2, BEST_PEER),
    FASTER("W1", "64 B", NULL, "shmkit claimed", 0.8, "limit ring"),
    FASTER("W1", "8 B", NULL, "shmkit batches of 32", 1.5, "limit ring"),
    FASTER("W1", "1 KiB", NULL, "shmkit zero copy", 1, BEST_PEER),
    FASTER("W1", "1 KiB", NULL, "shmkit claimed, zero copy", 1, BEST_PEER),
    FASTER("W1", "64 KiB", NULL, "shmkit zero copy", 1, BEST_PEER),
    FASTER("W1", "64 KiB", NULL, "shmkit claimed, zero copy", 1, BEST_PEER),

#define W2(peer, far)                                                                         \
    {                                                                                         \
        .workload = "W2", .row = "3 to 1, capacity 1", .subject = "shmkit", .at_least = true, \
        .factor = 2, .slow_wake_factor = far, .against = peer                                 \
    }
    W2("Boost message_queue", 20),
    W2("Boost condition", 20),
    W2("semaphore ring", 20),
    W2("condition ring", 20),
    W2("POSIX mq", 5),
    {.workload = "W2",
     .row = "3 to 1, at length",
     .subject = "shmkit",
     .figure = 1,
     .factor = 5,
     .what = "ms, the longest wait"},

    CHEAPER("W3", "awake", "pinned", "shmkit claimed", 0.9, "limit ring"),
    CHEAPER("W3", "awake", "pinned", "shmkit claimed", 0.6, BEST_PEER),
    CHEAPER("W3", "awake", "pinned", "shmkit", 1, "limit ring"),
    CHEAPER("W3", "asleep", NULL, "shmkit", 1.1, "raw futex"),
    CHEAPER("W3", "asleep", NULL, "shmkit claimed", 1.1, "raw futex"),
    CHEAPER("W3", "asleep", NULL, "shmkit event", 1.1, "raw futex"),
    CHEAPER("W3", "asleep", NULL, "shmkit condition", 1.1, "condition pair"),

    CHEAPER("W4", "lock and release", "alone", "shmkit lock", 1.3, "robust mutex"),
    CHEAPER("W4", "next to nothing", "alone", "shmkit event is_set", 2, "call and load"),
    CHEAPER("W4", "next to nothing", "alone", "shmkit event wait, set", 2, "call and load"),
    CHEAPER("W4", "next to nothing", "alone", "shmkit notify, no waiter", 2, "call and load"),

    CHEAPER("W5", "500 processes", NULL, "shmkit event", 1.2, "one sem_post each"),
    CHEAPER("W5", "500 processes", NULL, "shmkit event", 0.3, "pthread broadcast"),

#define W6(r, n)                                                                            \
    FASTER("W6", r, NULL, "shmkit lock", 1, "robust mutex"),                                \
    {                                                                                       \
        .workload = "W6", .row = r, .subject = "shmkit lock", .figure = 1, .factor = 5 * n, \
        .what = "ms, the longest wait"                                                      \
    }
    W6("1 lock, 4 processes", 4),
    W6("2 locks, 2 processes", 2),
    W6("4 locks, 4 processes", 4),
    W6("16 locks, 16 processes", 16),
    W6("64 locks, 64 processes", 64),

    CHEAPER("W7", "PRIORITY, 10 held", NULL, "shmkit", 1.5, "private memory"),
    CHEAPER("W7", "PRIORITY, 1000 held", NULL, "shmkit", 1.5, "private memory"),
    CHEAPER("W7", "PRIORITY, 1000000 held", NULL, "shmkit", 1.5, "private memory"),

    CHEAPER("W8", "append", "pinned", "16 readers", 1.2, "1 reader"),

/*
 * Whatever there are 10,000 of, it costs as much as with one; a list of a hundred times as many
 * takes a hundred times as long at most.
 */
#define W9(r, many, few, f) CHEAPER("W9", r, NULL, many, f, few)
    W9("open segment", "10000 segments", "1 segment", 1.2),
    W9("thread joins 100", "10000 segments", "100 segments", 1.2),
    W9("shmctl ls", "10000 segments", "100 segments", 120),
    W9("open object", "10000 objects", "1 object", 1.2),
    W9("put, get, beside objects", "10000 objects", "1 object", 1.2),
    W9("notify, beside objects", "10000 objects", "1 object", 1.2),
    W9("shmctl ls SEGMENT", "10000 objects", "100 objects", 120),
    W9("put, get, beside members", "10000 members", "1 member", 1.2),
    W9("notify, beside members", "10000 members", "1 member", 1.2),
    W9("shmctl ps", "10000 members", "100 members", 120),

    CHEAPER("idle", "1000 sleepers", NULL, "shmkit get", 1.5, "clock_nanosleep 100 ms"),
    CHEAPER("idle", "1000 sleepers", NULL, "shmkit event", 1.5, "clock_nanosleep 100 ms"),
    CHEAPER("idle", "1000 sleepers", NULL, "shmkit condition", 1.5, "clock_nanosleep 100 ms"),
    {.workload = NULL},
};
