/*
 * What the machine can do: a ring that only spins, a cache line that goes to and fro, a raw futex,
 * memcpy.
 */
#include "channel.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield" ::: "memory");
#endif
}

/*
 * ---- The limit ring: one producer, one consumer, each with a private copy of the other's index
 * ----
 */

struct ring {
    alignas(64) _Atomic uint64_t head;
    alignas(64) _Atomic uint64_t tail;
    alignas(64) char slots[];
};

static size_t ring_shared(const struct line *line)
{
    return sizeof(struct ring) + line->item * line->capacity;
}

static inline void ring_send(struct line *line, uint64_t n)
{
    struct ring *ring = line->shared;

    while (line->position - line->cached == line->capacity) {
        line->cached = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (line->position - line->cached == line->capacity)
            pause_briefly();
    }
    item_make(ring->slots + (line->position & (line->capacity - 1)) * line->item, line->item, n);
    atomic_store_explicit(&ring->head, ++line->position, memory_order_release);
}

static inline uint64_t ring_receive(struct line *line)
{
    struct ring *ring = line->shared;

    while (line->position == line->cached) {
        line->cached = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (line->position == line->cached)
            pause_briefly();
    }
    uint64_t n =
        item_check(ring->slots + (line->position & (line->capacity - 1)) * line->item, line->item);
    atomic_store_explicit(&ring->tail, ++line->position, memory_order_release);
    return n;
}
LOOPS(ring)

const struct channel channel_limit_ring = {.name = "limit ring",
                                           .is = LIMIT | SPINS,
                                           .producers_max = 1,
                                           .shared = ring_shared,
                                           .loops = &ring_loops};

/* ---- One cache line ---- */

struct word {
    alignas(64) _Atomic uint64_t word; /* 0: taken; else the number + 1 */
};

static size_t word_shared(const struct line *line)
{
    (void)line;
    return sizeof(struct word);
}

static inline void bounce_send(struct line *line, uint64_t n)
{
    struct word *box = line->shared;

    while (atomic_load_explicit(&box->word, memory_order_acquire))
        ;
    atomic_store_explicit(&box->word, n + 1, memory_order_release);
}

static inline uint64_t bounce_receive(struct line *line)
{
    struct word *box = line->shared;
    uint64_t n;

    while ((n = atomic_load_explicit(&box->word, memory_order_acquire)) == 0)
        ;
    atomic_store_explicit(&box->word, 0, memory_order_release);
    return n - 1;
}
LOOPS(bounce)

const struct channel channel_cache_line = {.name = "cache line",
                                           .is = LIMIT | SPINS,
                                           .producers_max = 1,
                                           .item_max = 8,
                                           .capacity_max = 1,
                                           .shared = word_shared,
                                           .loops = &bounce_loops};

/* ---- A raw futex ---- */

struct eventcount {
    alignas(64) _Atomic uint32_t full;
    uint64_t n;
};

static size_t eventcount_shared(const struct line *line)
{
    (void)line;
    return sizeof(struct eventcount);
}

/* To and fro only: the answer says that the box is free. */
static inline void futex_send(struct line *line, uint64_t n)
{
    struct eventcount *eventcount = line->shared;

    eventcount->n = n;
    atomic_store(&eventcount->full, 1);
    syscall(SYS_futex, &eventcount->full, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static inline uint64_t take_from(struct eventcount *eventcount)
{
    uint64_t n = eventcount->n;

    atomic_store(&eventcount->full, 0);
    return n;
}

static inline uint64_t futex_receive(struct line *line)
{
    struct eventcount *eventcount = line->shared;

    while (!atomic_load(&eventcount->full))
        syscall(SYS_futex, &eventcount->full, FUTEX_WAIT, 0, NULL, NULL, 0);
    return take_from(eventcount);
}
LOOPS(futex)

/*
 * The same for a sleeper that checks every 100 ms, as it has to where the notifier may be killed.
 */
static inline void futex_recheck_send(struct line *line, uint64_t n)
{
    futex_send(line, n);
}

static inline uint64_t futex_recheck_receive(struct line *line)
{
    struct eventcount *eventcount = line->shared;

    while (!atomic_load(&eventcount->full)) {
        int64_t at = now() + 100000000;
        struct timespec until = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
        syscall(SYS_futex, &eventcount->full, FUTEX_WAIT_BITSET, 0, &until, NULL,
                FUTEX_BITSET_MATCH_ANY);
    }
    return take_from(eventcount);
}
LOOPS(futex_recheck)

const struct channel channel_futex = {.name = "raw futex",
                                      .is = LIMIT,
                                      .producers_max = 1,
                                      .item_max = 8,
                                      .capacity_max = 1,
                                      .shared = eventcount_shared,
                                      .loops = &futex_loops};
const struct channel channel_futex_recheck = {.name = "raw futex, 100 ms at a time",
                                              .is = LIMIT,
                                              .producers_max = 1,
                                              .item_max = 8,
                                              .capacity_max = 1,
                                              .shared = eventcount_shared,
                                              .loops = &futex_recheck_loops};

/* ---- memcpy: an item made, copied and checked by one process: the least a copy costs ---- */

static inline uint64_t copy_once(struct line *line, uint64_t n)
{
    char *from = line->buffer, *to = from + line->item;

    item_make(from, line->item, n);
    __asm__ __volatile__("" ::: "memory");
    memcpy(to, from, line->item);
    __asm__ __volatile__("" ::: "memory");
    return item_check(to, line->item);
}

static uint64_t copy_consume(struct line *line, double *seconds)
{
    int64_t begin = now();
    uint64_t n = 0;

    do {
        for (int i = 0; i < 64; i++, n++) {
            if (copy_once(line, n) != n)
                give_up("memcpy has copied something else");
        }
    } while (!stopped());
    *seconds = (double)(now() - begin) / 1e9;
    return n;
}

static void copy_produce(struct line *line, unsigned producer)
{
    (void)line;
    (void)producer;
}

static const struct loops copy_loops = {.produce = copy_produce, .consume = copy_consume};

const struct channel channel_memcpy = {
    .name = "memcpy", .is = LIMIT | SPINS, .producers_max = 1, .loops = &copy_loops};
