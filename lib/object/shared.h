/*
 * What a queue is in shared memory. It lies at the start of its extent and begins with its repair
 * counters. What is not said to change was written before the object was published.
 */
#ifndef SHKI_SHARED_H
#define SHKI_SHARED_H

#include "segment/layout.h"
#include "sync/layout.h"

/*
 * The lock of one side of a queue: producers, or consumers, take turns at it. A biased lock, see
 * sync/biased.h, with what the side keeps in the line of the bias.
 */
struct shki_side_lock {
    /* .holder: the member that keeps it: has claimed it, or has something open; else 0 or dead */
    struct shki_mutex mutex;
    alignas(64) struct shki_biased_shared bias;
    /* With the lock: */
    /* FIFO: a late copy of the other side's count, so that its line is fetched once a lap */
    union {
        uint64_t cached_head; /* put lock */
        uint64_t cached_tail; /* get lock */
    };
    /*
     * FIFO, capacity 0: put lock: P1, see chunks.c; get lock: chunks given back by the
     * consumers: P2
     */
    _Atomic uint64_t chunks;
    union {
        uint64_t reserved_bytes; /* of an open reservation */
        uint64_t batch_items;    /* that a put of several has begun with; 0: done */
    };
    _Atomic uint32_t claimed, open; /* what the keeper has; mean nothing unless it is alive */
};

_Static_assert(sizeof(struct shki_side_lock) == sizeof(struct shki_mutex) + 64,
               "the bias owner needs one line, and not the mutex's");

/* What is open behind a lock. */
enum { SHKI_OPEN_NOTHING = 0, SHKI_OPEN_RESERVATION = 1, SHKI_OPEN_PEEK = 2 };

/* What a member still has to say task_done() for. */
struct shki_task {
    /*
     * id; the member itself writes it before its first get, and SHKI_TOLD is added when a join has
     * reported it
     */
    _Atomic uint64_t member;
    /* raised before a get commits, lowered by task_done(); written by that member alone */
    _Atomic uint64_t count;
};

#define SHKI_TOLD (UINT64_C(1) << 63) /* no join number comes that far */

/*
 * What is left to do of an operation on a PRIORITY queue that has been committed. Done by whoever
 * did it, or by the next one with the lock.
 */
enum shki_intent { SHKI_INTENT_NONE = 0, SHKI_INTENT_PUT = 1, SHKI_INTENT_GET = 2 };

/*
 * What is left to do, how many items there are, and the lower 30 bits of how many have been put, in
 * one word.
 */
#define SHKI_INTENT_BITS 2
#define SHKI_COUNT_BITS  32
#define SHKI_INTENT_MASK ((UINT64_C(1) << SHKI_INTENT_BITS) - 1)

static inline uint64_t shki_state(uint64_t puts, uint64_t count, enum shki_intent intent)
{
    return puts << (SHKI_INTENT_BITS + SHKI_COUNT_BITS) | count << SHKI_INTENT_BITS | intent;
}

static inline uint64_t shki_state_puts(uint64_t state)
{
    return state >> (SHKI_INTENT_BITS + SHKI_COUNT_BITS);
}

static inline uint64_t shki_state_count(uint64_t state)
{
    return (state >> SHKI_INTENT_BITS) & ((UINT64_C(1) << SHKI_COUNT_BITS) - 1);
}

/* A node of the heap. */
struct shki_heap_entry {
    int64_t priority;
    uint64_t sequence; /* equals in order of arrival */
    /*
     * the item's. Beyond the heap's end, with a capacity: number + 1 of one that is free; 0: the
     * one of the same number
     */
    uint32_t slot;
    uint32_t class; /* capacity 0: the number of the list in which the slot is */
};

/* LIFO and PRIORITY. All of it is changed with the lock, which is the put lock. */
struct shki_ordered {
    alignas(64) _Atomic uint64_t state; /* shki_state(): commits: O1; read by anybody */
    /* PRIORITY: what is left to do is about: */
    /* the heap's place that is being filled; not in the line at which those look who wait */
    alignas(64) uint32_t hole;
    uint32_t freed;                /* GET: the slot of the item that has been taken */
    struct shki_heap_entry moving; /* what goes into the hole */
    /* GET, capacity 0: the class of that slot, and its last slot, whose item goes there */
    uint32_t freed_class, last;
};

/*
 * Capacity 0: a list of chunks that grows and shrinks at its end: see list.c. With the lock.
 */
struct shki_list_shared {
    uint64_t chunks; /* so many it has, */
    uint64_t memory; /* … with memory up to here, in bytes; neither: FIFO */
    uint64_t count;  /* of slots in use; PRIORITY */
    uint64_t reserved;
};

/*
 * Without a limit: where a side goes on, in bytes from the start of all that the queue ever has:
 * chunk number and offset. There are two of them, and the one that counts is the one whose number
 * is what the side's commit word says. A call writes down the next place in the other one before it
 * commits. So place and commit word change with one store, and a kill leaves nothing to repair.
 */
struct shki_place {
    uint64_t number, at;
};

struct shki_side {
    alignas(64) struct shki_place place[2]; /* with the side's lock */
    /*
     * chunks of several blocks: memory has been given to (FIFO's get side: taken from) what lies
     * before it
     */
    uint64_t memory;
    uint64_t reserved[3];
};

struct shki_queue_shared {
    struct shki_repairs repairs;
    uint32_t order;
    /* enum shki_shut_down, and above it how often it has been shut down, having been open: Q3 */
    _Atomic uint32_t shut_down;
    uint64_t capacity;                 /* 0: bounded only by memory */
    uint64_t slots, item_size, stride; /* capacity 0: slots: lists of chunks; stride: 0 */
    uint64_t tasks_at, slots_at;       /* from the start of the extent */
    /* capacity 0: the lists; and for each of them which block each chunk begins at */
    uint64_t lists_at, map_at;
    /* capacity 0: how many the map has places for; their size in bytes */
    uint64_t chunks, chunk_size;
    /* only grows, seldom, by whoever has a lock; nothing depends on it: see shki_note_fill() */
    _Atomic uint64_t high_water;
    uint64_t reserved[3];

    struct shki_side_lock put_lock;
    /*
     * items put so far; changed with the put lock. FIFO of capacity 0: commits a put: Q1. Else a
     * count, which may be late
     */
    alignas(64) _Atomic uint64_t tail;

    struct shki_side_lock get_lock; /* FIFO only */
    /* FIFO: items taken so far; commits a get: Q2; changed with the get lock */
    alignas(64) _Atomic uint64_t head;

    struct shki_ordered ordered;
    struct shki_side put_side, get_side; /* capacity 0, FIFO and LIFO (put_side alone) */

    struct shki_eventcount_shared not_empty; /* consumers sleep here */
    struct shki_eventcount_shared not_full;  /* producers */
    struct shki_eventcount_shared tasks;     /* who waits for the tasks to be done */
    /* members that died with tasks, and whose places have been taken since */
    _Atomic uint64_t orphans;
};

/* The states of shut_down. */
enum shki_shut_down {
    SHKI_OPEN = 0,
    /*
     * somebody holds the put lock for long; if it is in the middle of a put, its item still comes
     */
    SHKI_SHUT_FOR_PUTS = 1,
    SHKI_SHUT_DOWN = 2 /* nothing more comes */
};
#define SHKI_SHUT_STATE UINT32_C(3)
/*
 * one more shutdown. A sleeper compares the count with that of when its wait began: a reopen does
 * not hide it
 */
#define SHKI_SHUT_ONCE UINT32_C(4)

/*
 * A place for one item. Written by the producer before Q1, read by the consumer after it. The word
 * has the item's length + 1 in its lower half. In the upper one a FIFO queue with a capacity has
 * the lower half of the item's number, counted from 0: its store commits the put (Q1). A slot of
 * another lap has another number, one that was never used is 0 altogether.
 */
struct shki_slot {
    _Atomic uint64_t word;
    unsigned char bytes[];
};

static inline uint64_t shki_slot_word(uint64_t number, size_t length)
{
    return number << 32 | (uint32_t)(length + 1);
}

/* Whether the word is that of item `number`. */
static inline bool shki_slot_has(uint64_t word, uint64_t number)
{
    return word >> 32 == (uint32_t)number && (uint32_t)word != 0;
}

/* Of what has not been written it is larger than that of any item. */
static inline size_t shki_slot_length(uint64_t word)
{
    return (uint32_t)word - UINT32_C(1);
}

#endif
