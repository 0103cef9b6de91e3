/*
 * A channel: a way to hand items from one process to another. One file for each family. Each gives
 * two functions,
 *
 *     static inline void x_send(struct line *, uint64_t n);    make item number n and send it
 *     static inline uint64_t x_receive(struct line *);         receive one, check every byte of it,
 *                                                              return its number
 *
 * and LOOPS(x) makes of them the loops that the workloads run, the same for all and inlined where
 * the peer can be inlined.
 */
#ifndef BENCH_CHANNEL_H
#define BENCH_CHANNEL_H

#include "bench.h"

#include <string.h>

struct line {
    const struct channel *channel;
    size_t item;       /* bytes: 8, or a multiple of 64 */
    unsigned capacity; /* items */
    unsigned producers;
    unsigned number; /* which line of the measurement, for names */
    void *shared;    /* zeroed, shared by all roles: channel->shared(line) bytes */
    size_t shared_size;
    int fd[2];
    void *handle[2];   /* the role's own */
    uint64_t position; /* the role's own */
    uint64_t cached;   /* the role's own: the other side's position */
    void *buffer;      /* the role's own, room for 32 items */
};

enum { SENDER = 1, RECEIVER = 2 };

struct loops {
    void (*produce)(struct line *, unsigned producer);
    void (*produce_timed)(struct line *, unsigned producer, int64_t *longest);
    uint64_t (*consume)(struct line *, double *seconds);
    uint64_t (*consume_shared)(struct line *, double *seconds, uint64_t *runs);
    void (*ping)(struct line *out, struct line *in, uint32_t *times, unsigned count,
                 unsigned *taken);
    void (*pong)(struct line *in, struct line *out);
    double (*alone)(struct line *);
};

struct channel {
    const char *name;
    unsigned is;            /* OURS, PEER, LIMIT; SPINS */
    unsigned producers_max; /* 0: any number */
    size_t item_max;        /* 0: any */
    unsigned capacity_max;  /* 0: any */
    bool no_capacity;       /* it has none that can be set to 1 */
    size_t (*shared)(const struct line *);
    /* in the driver, before the team; false: see team_trouble() */
    bool (*create)(struct line *);
    void (*attach)(struct line *, unsigned sides); /* in a role */
    void (*detach)(struct line *, unsigned sides); /* in a role that has done its part */
    void (*destroy)(struct line *);                /* in the driver */
    const struct loops *loops;
    /* instead of all that: peer.py measures it, under this name */
    const char *python;
};

extern const struct channel *const channels[]; /* NULL at the end */
const struct channel *channel_named(const char *name);

bool line_create(struct line *, const struct channel *, unsigned number, size_t item,
                 unsigned capacity, unsigned producers);
void line_attach(struct line *, unsigned sides);
void line_destroy(struct line *);
/* "NAME-shmkit-bench-PID-NUMBER" in a directory that is gone after the run. */
void line_path(const struct line *, char *path, size_t size);

/*
 * contest->n producers and one consumer, of the channel that is the subject's `what`. Figures:
 * items a second, the longest wait of a producer (ms), how many of one producer come in a row.
 */
bool measure_one_way(const struct contest *, const struct subject *, double figures[FIGURES]);

/* A program of this folder measures it ("peer.py WHAT"), called with what follows. */
bool python_measures(double figures[FIGURES], const char *program, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- Items ---- */

#define END_OF_ITEMS   (UINT64_MAX >> 1)
#define PRODUCER_SHIFT 48

/* Every word of an item is its number, and every word is checked. */
static inline void item_make(void *item, size_t size, uint64_t n)
{
    uint64_t words[8] = {n, n, n, n, n, n, n, n};

    if (size == 8) {
        memcpy(item, &n, 8);
        return;
    }
    for (size_t i = 0; i < size; i += sizeof(words))
        memcpy((char *)item + i, words, sizeof(words));
}

static inline uint64_t item_check(const void *item, size_t size)
{
    uint64_t n, words[8], different = 0;

    memcpy(&n, item, 8);
    if (size == 8)
        return n;
    for (size_t i = 0; i < size; i += sizeof(words)) {
        memcpy(words, (const char *)item + i, sizeof(words));
        for (int k = 0; k < 8; k++)
            different |= words[k] ^ n;
    }
    if (different)
        give_up("an item has arrived in pieces");
    return n;
}

/* ---- Loops ---- */

#define ALWAYS_INLINE static inline __attribute__((always_inline))
typedef void send_function(struct line *, uint64_t n);
typedef uint64_t receive_function(struct line *);

ALWAYS_INLINE void produce_loop(struct line *line, unsigned producer, send_function *send)
{
    uint64_t n = (uint64_t)producer << PRODUCER_SHIFT;

    do {
        for (int i = 0; i < 64; i++)
            send(line, n++);
    } while (!stopped());
    send(line, END_OF_ITEMS);
}

ALWAYS_INLINE void produce_timed_loop(struct line *line, unsigned producer, int64_t *longest,
                                      send_function *send)
{
    uint64_t n = (uint64_t)producer << PRODUCER_SHIFT;
    int64_t before = now();

    do {
        send(line, n++);
        int64_t after = now();
        if (after - before > *longest)
            *longest = after - before;
        before = after;
    } while (!stopped());
    send(line, END_OF_ITEMS);
}

/* Until the end; the time is from the first item on. Returns how many came after it. */
ALWAYS_INLINE uint64_t consume_loop(struct line *line, double *seconds, receive_function *receive)
{
    uint64_t n = receive(line), expected = n + 1;
    int64_t begin = now();

    while ((n = receive(line)) == expected)
        expected++;
    *seconds = (double)(now() - begin) / 1e9;
    if (n != END_OF_ITEMS)
        give_up("item %llu has come instead of %llu", (unsigned long long)n,
                (unsigned long long)expected);
    return expected - 1;
}

ALWAYS_INLINE uint64_t consume_shared_loop(struct line *line, double *seconds, uint64_t *runs,
                                           receive_function *receive)
{
    uint64_t expected[16] = {0}, count = 0, last = UINT64_MAX;
    unsigned ended = 0;
    int64_t begin = now(), end = begin;

    while (ended < line->producers) {
        uint64_t n = receive(line), producer = n >> PRODUCER_SHIFT;
        if (n == END_OF_ITEMS) {
            if (++ended == 1)
                end = now(); /* from here on one producer is missing */
            continue;
        }
        if (producer >= line->producers ||
            (n & (((uint64_t)1 << PRODUCER_SHIFT) - 1)) != expected[producer]++)
            give_up("item %llx has come out of turn", (unsigned long long)n);
        if (ended)
            continue;
        count++;
        if (producer != last)
            ++*runs;
        last = producer;
    }
    *seconds = (double)(end - begin) / 1e9;
    return count;
}

ALWAYS_INLINE void ping_loop(struct line *out, struct line *in, uint32_t *times, unsigned count,
                             unsigned *taken, send_function *send, receive_function *receive)
{
    int64_t before;
    uint64_t n = 0;

    send(out, n); /* not measured: a channel that has to connect first does so now */
    if (receive(in) != n)
        give_up("another answer has come back");
    before = now();
    do {
        send(out, n);
        if (receive(in) != n)
            give_up("another answer has come back");
        int64_t after = now(), time = after - before;
        times[n % count] = time > UINT32_MAX ? UINT32_MAX : (uint32_t)time;
        *taken = ++n < count ? (unsigned)n : count;
        before = after;
    } while (!stopped());
    send(out, END_OF_ITEMS);
}

ALWAYS_INLINE void pong_loop(struct line *in, struct line *out, send_function *send,
                             receive_function *receive)
{
    uint64_t n;

    while ((n = receive(in)) != END_OF_ITEMS)
        send(out, n);
}

/* Each item is sent and received by the same process. Returns nanoseconds an item. */
ALWAYS_INLINE double alone_loop(struct line *line, send_function *send, receive_function *receive)
{
    uint64_t n = 0;
    int64_t begin = now();

    do {
        for (int i = 0; i < 64; i++, n++) {
            send(line, n);
            if (receive(line) != n)
                give_up("another item has come back");
        }
    } while (!stopped());
    return (double)(now() - begin) / (double)n;
}

#define LOOPS(x)                                                                               \
    static void x##_produce(struct line *line, unsigned producer)                              \
    {                                                                                          \
        produce_loop(line, producer, x##_send);                                                \
    }                                                                                          \
    static void x##_produce_timed(struct line *line, unsigned producer, int64_t *longest)      \
    {                                                                                          \
        produce_timed_loop(line, producer, longest, x##_send);                                 \
    }                                                                                          \
    static uint64_t x##_consume(struct line *line, double *seconds)                            \
    {                                                                                          \
        return consume_loop(line, seconds, x##_receive);                                       \
    }                                                                                          \
    static uint64_t x##_consume_shared(struct line *line, double *seconds, uint64_t *runs)     \
    {                                                                                          \
        return consume_shared_loop(line, seconds, runs, x##_receive);                          \
    }                                                                                          \
    static void x##_ping(struct line *out, struct line *in, uint32_t *times, unsigned count,   \
                         unsigned *taken)                                                      \
    {                                                                                          \
        ping_loop(out, in, times, count, taken, x##_send, x##_receive);                        \
    }                                                                                          \
    static void x##_pong(struct line *in, struct line *out)                                    \
    {                                                                                          \
        pong_loop(in, out, x##_send, x##_receive);                                             \
    }                                                                                          \
    static double x##_alone(struct line *line)                                                 \
    {                                                                                          \
        return alone_loop(line, x##_send, x##_receive);                                        \
    }                                                                                          \
    static const struct loops x##_loops = {x##_produce,        x##_produce_timed, x##_consume, \
                                           x##_consume_shared, x##_ping,          x##_pong,    \
                                           x##_alone};

#endif
