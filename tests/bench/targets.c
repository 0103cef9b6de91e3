#include "targets.h"

#include <stddef.h>

/*
 * Aims compare with peers: with what a user would otherwise have. A peer is not beaten if shmkit is
 * at most so much slower. Limits, and ck_ring, which only spins, are printed and not judged.
 */
#define TOLERANCE 0.05

#define FASTER(w, r, p, s, f, a, ...)                                                     \
    {                                                                                     \
        .workload = w, .row = r, .place = p, .subject = s, .at_least = true, .factor = f, \
        .against = a __VA_ARGS__                                                          \
    }
#define CHEAPER(w, r, p, s, f, a, ...)                                                           \
    {                                                                                            \
        .workload = w, .row = r, .place = p, .subject = s, .factor = f, .against = a __VA_ARGS__ \
    }
#define NOT_SLOWER(w, r, s, a) FASTER(w, r, NULL, s, 1 - TOLERANCE, a)
#define NOT_DEARER(w, r, s, a) CHEAPER(w, r, NULL, s, 1 + TOLERANCE, a)

const struct target targets[] = {
    NOT_SLOWER("W1", NULL, "shmkit", BEST_SLEEPING_PEER),
    NOT_SLOWER("W1", NULL, "shmkit claimed", BEST_SLEEPING_PEER),
    NOT_SLOWER("W1", NULL, "shmkit zero copy", BEST_SLEEPING_PEER),
    NOT_SLOWER("W1", NULL, "shmkit claimed, zero copy", BEST_SLEEPING_PEER),
    NOT_SLOWER("W1", NULL, "shmkit batches of 32", BEST_SLEEPING_PEER),
    NOT_SLOWER("W1", NULL, "shmkit claimed, batches of 32", BEST_SLEEPING_PEER),
    FASTER("W1", "1 KiB", NULL, "shmkit zero copy", 1, "shmkit", ,
           .why =
               "an item takes four calls where copying takes two, and the mutex of each side, "
               "since a bias cannot be kept open: 1010 instructions beside 430; with a claim 670"),
    FASTER("W1", "1 KiB", NULL, "shmkit claimed, zero copy", 1, "shmkit claimed", ,
           .why = "an item takes four calls where copying takes two: 670 instructions beside 430"),
    FASTER("W1", "64 KiB", NULL, "shmkit zero copy", 1, "shmkit"),
    FASTER("W1", "64 KiB", NULL, "shmkit claimed, zero copy", 1, "shmkit claimed"),

    NOT_SLOWER("W2", NULL, "shmkit", BEST_SLEEPING_PEER),
    {.workload = "W2",
     .subject = "shmkit",
     .figure = 1,
     .factor = 10,
     .what = "ms, the longest wait",
     .why = "part of it is a wait for a CPU: see 4 busy processes"},

/* The row "raw futex, 100 ms at a time" tells what such a timer costs. */
#define W3(s)                                                                                     \
    CHEAPER("W3", NULL, NULL, s, 1 + TOLERANCE, BEST_SLEEPING_PEER, ,                             \
            .why = "a sleep that ends by itself, so that a death is found which the kernel does " \
                   "not mark, sets a timer: see raw futex, 100 ms at a time")
    W3("shmkit"),
    W3("shmkit claimed"),
    W3("shmkit event"),
    W3("shmkit semaphore"),
    NOT_DEARER("W3", NULL, "shmkit condition", "condition pair"),

    CHEAPER("W4", "lock and release", "counted", "shmkit lock", 1.3, "robust mutex", ,
            .why =
                "libc's own trylock and unlock, with the calls, are 121 of 200 (gcc 12, x86-64); "
                "of ours 14 find the member, 13 check for unlink, retirement and close, 8 note "
                "and check the owner, 6 tell of recursion and of deaths, 5 bound what a thread "
                "holds (the kernel marks 2048), 10 are for handoff, stamps and the waiters of a "
                "condition, 23 call libc"),
    CHEAPER("W4", "next to nothing", "counted", "shmkit notify, no waiter", 1 + TOLERANCE,
            "pthread_cond_signal", ,
            .why = "9 instructions check that the caller holds the condition, and that it exists"),
    CHEAPER("W4", "the others", "counted", "shmkit semaphore", 1 + TOLERANCE, "sem_wait, sem_post",
            , .why = "permits of a killed holder come back: a record under a robust lock"),

    NOT_DEARER("W5", NULL, "shmkit event", BEST_SLEEPING_PEER),
    CHEAPER("W5", NULL, NULL, "shmkit notify_all", 1 + TOLERANCE, "pthread broadcast", ,
            .why =
                "each waiter sleeps at a word of its own, where its verdict stands, and is woken "
                "by a system call of its own; pthread's broadcast makes one for all"),

#define W6(r, n)                                                                            \
    FASTER("W6", r, NULL, "shmkit lock", 1 - TOLERANCE, "robust mutex", ,                   \
           .why = "what lock and release cost more in W4"),                                 \
    {                                                                                       \
        .workload = "W6", .row = r, .subject = "shmkit lock", .figure = 1, .factor = 5 * n, \
        .what = "ms, the longest wait"                                                      \
    }
    W6("1 lock, 4 processes", 4),
    W6("2 locks, 2 processes", 2),
    W6("4 locks, 4 processes", 4),
    W6("16 locks, 16 processes", 16),
    W6("64 locks, 64 processes", 64),

    CHEAPER("W8", "append", "pinned", "16 readers", 1.2, "1 reader"),

    /* Two readers on two CPUs slow each other down by 10 % at most. */
    CHEAPER("W10", "read", "pinned", "shmkit, 2 members", 1.1, "shmkit, 1 member"),
    CHEAPER("W10", "read", NULL, "shmkit, 1 member", 1 + TOLERANCE, "pthread_rwlock, 1 member", ,
            .why = "103 instructions beside 73: a share is noted for its member, which may die, "
                   "and not counted in one word, which readers would fight for"),
    NOT_DEARER("W10", "read", "shmkit, 2 members", "pthread_rwlock, 2 members"),

    /* A job that survives its worker: faster than the store that people use for it. */
    CHEAPER("W11", "put and take, 64 B", NULL, "shmkit lease, ack", 1, BEST_SLEEPING_PEER),
    FASTER("W11", "1 to 1, 64 B", NULL, "shmkit lease, ack", 1, BEST_SLEEPING_PEER),

    CHEAPER("W12", NULL, NULL, "shmkit, 1 reader", 1 + TOLERANCE, "mutex, 1 reader", ,
            .why = "a mutex that no other wants stays in the cache of the one reader; a get checks "
                   "the member, the version before and after, and the length"),
    NOT_DEARER("W12", NULL, "shmkit, 2 readers", "mutex, 2 readers"),

/* Shares of multiprocessing's time, and multiples of its throughput. */
#define W13_COST(r, f, a) CHEAPER("W13", r, NULL, "shmkit for Python", f, a)
#define W13_RATE(r, f)    FASTER("W13", r, NULL, "shmkit for Python", f, "mp.SimpleQueue")
    W13_COST("acquire and release", 1, "mp.Lock"),
    W13_COST("with lock", 0.6, "mp.Lock"),
    W13_RATE("put and get, 64 B", 40),
    W13_RATE("64 B", 15),
    W13_RATE("a tuple", 8),
    W13_RATE("64 KiB", 3),
    W13_COST("round trip", 1 / 3.0, "mp.SimpleQueue"),
    CHEAPER("W13", "100 processes", NULL, "shmkit for Python", 0.1, "mp.Event", ,
            .why = "one futex wake for all takes longer than a tenth of it, too: see bare futex"),

    /* What a call adds to the transactions of which it consists. */
    CHEAPER("W14", "put", NULL, "shmkit", 1.3, "bare transactions"),
    CHEAPER("W14", "get", NULL, "shmkit", 1.3, "bare transactions"),
    CHEAPER("W14", "lock and release", NULL, "shmkit", 1.3, "bare transactions"),
    FASTER("W14", "put 60 at a time", NULL, "shmkit", 10 / 12.0, "bare transactions"),
    FASTER("W14", "get 60 at a time", NULL, "shmkit", 10 / 12.0, "bare transactions"),
    FASTER("W14", "3 producers, 2 consumers", NULL, "shmkit, full at 1000", 0.7,
           "shmkit, no limit"),

/*
 * An operation costs as much beside 10,000 of anything as beside one. A list of a hundred times as
 * many takes a hundred times as long at most, and a fifth more.
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

    /* Waking up to check, ten times a second each, costs no more than a timer does. */
    CHEAPER("idle", "1000 sleepers", NULL, "shmkit get", 1.5, "clock_nanosleep 100 ms"),
    CHEAPER("idle", "1000 sleepers", NULL, "shmkit event", 1.5, "clock_nanosleep 100 ms"),
    CHEAPER("idle", "1000 sleepers", NULL, "shmkit condition", 1.5, "clock_nanosleep 100 ms"),
    {.workload = NULL},
};
