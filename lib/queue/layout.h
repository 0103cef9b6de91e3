/*
 * What a queue is in shared memory. Fields that are not said to change are written before the
 * object is published.
 *
 *     | struct shki_queue_shared | a task for each member record | slots: heap and slots     |
 *                                                                | else: lists, and their maps |
 *     ... | struct shki_lease_area, which gets memory at the first lease
 *
 * A queue has a slot for each item that it may hold, as large as the largest one; or it grows: its
 * items lie at their length in blocks of the segment's pool (see geometry.c).
 *
 * Labels. The store that commits an operation has the label of its order, and so has each load that
 * depends on it:
 *     RQ1 a slot's word commits a put into a ring       RQ2 head commits a get      see ring.h
 *     RQ3 tail counts the puts into a ring, late                                    see ring.h
 *     CH1 tail commits a put into chunks                CH2 head commits a get      see chunks.c
 *     OR1 the state commits both, LIFO and PRIORITY                                 see ordered.h
 *     SD1 shut_down shuts down and opens again                                      see state.h
 *     TK1 a task's count falls                                                      see tasks.c
 *     LS1 the state of a record ends, or hands out, a lease                 see lease_records.h
 */
#ifndef SHKI_QUEUE_LAYOUT_H
#define SHKI_QUEUE_LAYOUT_H

#include "base/atomic.h"
#include "segment/layout.h"
#include "sync/layout.h"

#include <stdbool.h>
#include <stddef.h>

#define SHKI_CACHE_LINE 64u /* bytes of a cache line */

/*
 * The lock of one side: producers, or consumers, take turns at it. A biased lock, see
 * sync/biased.h, with what the side keeps in the line of the bias.
 */
struct shki_side_lock {
    /* .holder: the member that keeps it: has claimed it, or has something open; else 0 or dead */
    struct shki_mutex mutex;
    alignas(SHKI_CACHE_LINE) struct shki_biased_shared bias;
    /* Written with the lock. Read with it, but for `chunks` (CH3, CH4) and `open` (SD3). */
    /* FIFO: a late copy of the other side's count, so that its line is fetched once a lap */
    union {
        uint64_t cached_head; /* put lock */
        uint64_t cached_tail; /* get lock */
    };
    /*
     * FIFO that grows. Put lock, CH3: how many chunks have ever been mapped, and how many of them
     * have not been recycled yet. Get lock, CH4: how many chunks have been released.
     */
    _Atomic uint64_t chunks;
    union {
        uint64_t reserved_bytes; /* of an open reservation */
        uint64_t batch_items;    /* that a put of several has begun with; 0: done */
    };
    _Atomic uint32_t claimed, open; /* what .holder has; without meaning unless it is alive */
};

_Static_assert(sizeof(struct shki_side_lock) == sizeof(struct shki_mutex) + SHKI_CACHE_LINE,
               "the bias owner needs one line, and not the mutex's");

/* What is open behind a lock. */
enum { SHKI_OPEN_NOTHING = 0, SHKI_OPEN_RESERVATION = 1, SHKI_OPEN_PEEK = 2 };

/* What a member still has to call task_done() for. */
struct shki_task {
    /*
     * id. The member writes it before its first get; a join that has reported the member's death
     * adds SHKI_TOLD.
     */
    _Atomic uint64_t member;
    /* raised before a get commits, lowered by task_done(): TK1; written by that member alone */
    _Atomic uint64_t count;
};

#define SHKI_TOLD (UINT64_C(1) << 63) /* no id has this bit: it would be the 2^47th join */

/* ---- LIFO and PRIORITY ---- */

/*
 * What is left to do of an operation on a PRIORITY queue that has been committed. The member that
 * committed it does it, or the next one with the lock.
 */
enum shki_intent { SHKI_INTENT_NONE = 0, SHKI_INTENT_PUT = 1, SHKI_INTENT_GET = 2 };

/* The state word:  | lower 30 bits of the puts so far | items, 32 bits | intent, 2 bits | */
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
     * the item's slot. Beyond the heap's end, with slots: number + 1 of a free slot, 0: the slot of
     * the same number
     */
    uint32_t slot;
    uint32_t class; /* it grows: the list that has the slot */
};

#define SHKI_ENTRY_SIZE 32u /* bytes of one in a list of chunks */

_Static_assert(sizeof(struct shki_heap_entry) <= SHKI_ENTRY_SIZE, "an entry has room");

/* All of it is written with the lock, which is the put lock. */
struct shki_ordered {
    /* shki_state(): commits: OR1; read without it */
    alignas(SHKI_CACHE_LINE) _Atomic uint64_t state;
    /* PRIORITY: what the intent is about. Not in the line that waiters read. */
    alignas(SHKI_CACHE_LINE) uint32_t hole; /* the heap's place that is being filled */
    uint32_t freed;                         /* GET: the slot of the item that has been taken */
    struct shki_heap_entry moving;          /* what goes into the hole */
    /* GET, it grows: the class of that slot, and its last slot, whose item goes there */
    uint32_t freed_class, last;
};

/* ---- Items at their length ---- */

/* A list of chunks that grows and shrinks at its end: see chunk_list.h. With the lock. */
struct shki_list_shared {
    uint64_t chunks; /* that it has; not FIFO */
    uint64_t memory; /* bytes, from its start, that have memory; not FIFO */
    uint64_t count;  /* slots in use; PRIORITY */
    uint64_t reserved;
};

/* Where a side goes on, and how many bytes go with that: see place.h. Written with its lock. */
struct shki_place {
    /* FIFO: of the side's commit word; else of the state, without the intent */
    _Atomic uint64_t number;
    /* FIFO, LIFO: in bytes from the start of all that the queue ever has */
    uint64_t at;
    /*
     * FIFO: the lengths of all items that the side has ever moved. Else: of those in the queue. BY1
     */
    _Atomic uint64_t bytes;
};

/*
 * The two places of a side, one of which counts. Not the side's lock, nor its bias: see
 * struct shki_side_lock.
 */
struct shki_places {
    alignas(SHKI_CACHE_LINE) struct shki_place place[2];
    /* FIFO, put_places, with the put lock: what has been given memory, from where to where */
    uint64_t memory_from, memory_to;
    /* FIFO, put_places, with the put lock: a late copy of the bytes that have been taken */
    uint64_t cached_bytes;
};

_Static_assert(offsetof(struct shki_places, memory_from) < SHKI_CACHE_LINE,
               "a side's places are in one line");

/* put_lock.chunks, CH3: | chunks mapped so far, 40 bits | of them not recycled yet, 24 bits | */
#define SHKI_NOT_RECYCLED_BITS 24
#define SHKI_CHUNKS_MAX        ((UINT64_C(1) << SHKI_NOT_RECYCLED_BITS) - 1)

/*
 * FIFO: a word in the place of a record: how many chunks further the next one begins. No item's
 * word has that upper half.
 */
#define SHKI_SKIP (UINT64_C(1) << 32)

/* ---- Slots ---- */

/*
 * A place for one item. Written by the producer before its put commits, read by the consumer after
 * that.
 *
 * The word has the item's length + 1 in its lower half. In a ring the upper half is the lower half
 * of the item's number, counted from 0, and the store of the word commits the put: RQ1. A slot of
 * another lap has another number. A slot that was never used is 0 altogether.
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
    /* the upper halves are equal, and the lower half is not 0: one comparison for the fast tier */
    return (word ^ number << 32) - 1 < UINT32_MAX;
}

/* Of what has not been written it is larger than that of any item. */
static inline size_t shki_slot_length(uint64_t word)
{
    return (uint32_t)word - UINT32_C(1);
}

/* ---- Leases: see lease_records.h ---- */

#define SHKI_LEASE_BITS  12u /* of an index */
#define SHKI_LEASES_MAX  (1u << SHKI_LEASE_BITS)
#define SHKI_LEASE_WORDS (SHKI_LEASES_MAX / 64)
/* a ticket: 12 bits of a serial, 40 of a number, the index */
#define SHKI_LEASE_SERIAL 52u
#define SHKI_LEASE_NUMBER ((UINT64_C(1) << SHKI_LEASE_SERIAL) - SHKI_LEASES_MAX)
#define SHKI_LEASE_LIST   255u /* number of the list of chunks that has the records */

enum shki_lease_state {
    SHKI_LEASE_FREE = 0,     /* there is no item: acknowledged, or taken by a get */
    SHKI_LEASE_LEASED = 1,   /* the item is the owner's */
    SHKI_LEASE_BACK = 2,     /* it waits to be handed out again, perhaps not before `due` */
    SHKI_LEASE_RETURNING = 3 /* its owner is about to give it back */
};
#define SHKI_LEASE_STATE UINT64_C(3)

/*
 * A record of an item that was leased. While it is LEASED or RETURNING its owner's process may
 * change `state`, and when it is RETURNING `due` and `attempts`. All else is written with the get
 * lock, while it is FREE or BACK.
 */
struct shki_lease_shared {
    /* number of times that it was handed out << 2 | enum shki_lease_state: commits: LS1 */
    _Atomic uint64_t state;
    _Atomic uint64_t member; /* id of the thread that leased it */
    /* its process, which owns the lease: see shki_process_self() */
    _Atomic uint64_t process;
    _Atomic uint32_t row;
    _Atomic int32_t pid;
    _Atomic int64_t since; /* CLOCK_MONOTONIC, ns: when it came to this state */
    _Atomic int64_t due;   /* likewise: not handed out before; 0: at once */
    _Atomic int64_t priority;
    _Atomic uint64_t order;    /* of the first lease of this item, from 0 */
    _Atomic uint32_t attempts; /* times that the item was handed out */
    uint32_t reserved;
    struct shki_slot item;
};

struct shki_leases_shared {
    struct shki_list_shared list; /* the records; with the get lock */
    /* With the get lock: number + 1 of the record that is being filled, or emptied; 0: none: LS4 */
    _Atomic uint32_t changing;
    _Atomic uint32_t changes; /* items that have come back so far: LS5; any member */
    /* with the get lock: the word that commits a get, before the get that fills the record */
    uint64_t before;
    uint64_t order;             /* of the next item that is leased; with the get lock */
    _Atomic int64_t checked_at; /* CLOCK_MONOTONIC, ns: when owners were last checked; any member */
};

/* At the end of the extent. */
struct shki_lease_area {
    /*
     * A bit for each record. out: it may have an item; set with the get lock, cleared with it or by
     * its owner: LS2, LS3. back: it is BACK, perhaps; set by any member, cleared with the get lock.
     */
    _Atomic uint64_t out[SHKI_LEASE_WORDS], back[SHKI_LEASE_WORDS];
    _Atomic uint32_t map[]; /* which block each chunk of records begins at */
};

/* ---- The queue ---- */

struct shki_queue_shared {
    struct shki_repairs repairs;
    uint32_t order;
    /* enum shki_shut_down, and above it how often the queue was shut down, having been open: SD1 */
    _Atomic uint32_t shut_down;
    uint64_t capacity;                 /* items; 0: any number */
    uint64_t slots, item_size, stride; /* it grows: slots: lists of chunks; stride: 0 */
    uint64_t tasks_at, slots_at;       /* from the start of the extent */
    /* it grows: the lists; and for each of them which block each chunk begins at */
    uint64_t lists_at, map_at;
    /* it grows: how many the map has places for; their size in bytes */
    uint64_t chunks, chunk_size;
    /* only grows, seldom; written with either lock; nothing depends on it: see shki_note_fill() */
    _Atomic uint64_t high_water;
    uint64_t capacity_bytes; /* a put waits while there are so many; 0: any number */
    uint64_t leases_at;      /* struct shki_lease_area, from the start of the extent */
    uint64_t reserved[1];

    struct shki_side_lock put_lock; /* not FIFO: of both sides */
    /*
     * Items put so far; written with the put lock. FIFO that grows: commits a put: CH1. Else a
     * count, which may be late
     */
    alignas(SHKI_CACHE_LINE) _Atomic uint64_t tail;

    struct shki_side_lock get_lock; /* FIFO only */
    /* FIFO: items taken so far; commits a get: RQ2, CH2; written with the get lock */
    alignas(SHKI_CACHE_LINE) _Atomic uint64_t head;
    /* words of the bits of leases that have been used; grows, with the get lock: LS2 */
    _Atomic uint32_t lease_words;

    struct shki_ordered ordered;
    struct shki_places put_places, get_places; /* it grows; LIFO and PRIORITY: put_places alone */

    struct shki_eventcount_shared not_empty; /* consumers sleep here, */
    struct shki_eventcount_shared not_full;  /* producers, */
    struct shki_eventcount_shared tasks;     /* and members in join */
    /* members that died with tasks, and whose records have been taken since */
    _Atomic uint64_t orphans;
    struct shki_leases_shared leases;
};

_Static_assert(offsetof(struct shki_queue_shared, put_lock) % SHKI_CACHE_LINE == 0 &&
                   offsetof(struct shki_queue_shared, get_lock) % SHKI_CACHE_LINE == 0,
               "a side's lines are not the other side's");

/* The states of shut_down. */
enum shki_shut_down {
    SHKI_OPEN = 0,
    /*
     * shut down while a member kept the put lock: if it is in the middle of a put, its item still
     * comes
     */
    SHKI_SHUT_WHILE_KEPT = 1,
    SHKI_SHUT_DOWN = 2 /* nothing more comes */
};
#define SHKI_SHUT_STATE UINT32_C(3)
/*
 * One more shutdown. A waiter compares the count with that of when its wait began: a reopen does
 * not hide it.
 */
#define SHKI_SHUT_ONCE UINT32_C(4)

#endif
