#include "targets.h"

#include <stddef.h>

/* {.workload = "W1", .row = "8 B", .subject = "shmkit", .at_least = true, .factor = 1.3, .against = BEST_PEER} */
#define FASTER(w, r, p, s, f, a) {.workload = w, .row = r, .place = p, .subject = s, .at_least = true, .factor = f, .against = a}
#define CHEAPER(w, r, p, s, f, a) {.workload = w, .row = r, .place = p, .subject = s, .factor = f, .against = a}

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

#define W2(peer, far)                                                                                                    \
    {.workload = "W2", .row = "3 to 1, capacity 1", .subject = "shmkit", .at_least = true, .factor = 2, .slow_wake_factor = far, .against = peer}
    W2("Boost message_queue", 20),
    W2("Boost condition", 20),
    W2("semaphore ring", 20),
    W2("condition ring", 20),
    W2("POSIX mq", 5),
    {.workload = "W2", .row = "3 to 1, at length", .subject = "shmkit", .figure = 1, .factor = 5, .what = "ms, the longest wait"},

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
    {.workload = NULL},
};
