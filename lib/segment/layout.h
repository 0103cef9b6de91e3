/*
 * What is in a segment, byte for byte. All offsets are from its start; 0 means none. All integers
 * are of fixed width.
 *
 *     +--------+---------+---------+---------+-----------+--------------+------ … ------+-- … --+
 *     | header | entries | member  | waiting | processes | block words  | heap: objects | pool  |
 *     |        |         | records | nodes   |           |              |               |       |
 *     +--------+---------+---------+---------+-----------+--------------+------ … ------+-- … --+
 *      one page  max_      max_      max_      max_        one for each   extents,        blocks:
 *                objects   members   members   members     256 KiB        found through   see
 *                                              rows                       the entries     pool.h
 *
 * Header and entries have memory from the start; the tables of members get it in steps of
 * MEMBERS_STEP as members join, extents when an object is created. So what has been allocated never
 * faults, even in a full file system.
 *
 * "Under the lock" means header.lock. What is not under it says who may write it.
 */
#ifndef SHKI_LAYOUT_H
#define SHKI_LAYOUT_H

#include "base/robust.h"

#include <semaphore.h>
#include <shmkit/common.h>

#define SHKI_MAGIC  "shmkit\r\n" /* also tells a text-mode copy */
#define SHKI_LAYOUT 5u
/* the unit of the tables and of large extents, whatever the machine's page is */
#define SHKI_PAGE  4096u
#define SHKI_SMALL 512u /* extents up to this size are … */
/* … multiples of this: two cache lines, since some processors fetch pairs */
#define SHKI_SMALL_UNIT   128u
#define SHKI_MEMBERS_STEP 16u
/* bytes: what the pool is divided in; block b begins at b * SHKI_BLOCK */
#define SHKI_BLOCK (UINT64_C(256) << 10)

/*
 * Repairs, counted at the start of each object. Relaxed additions by whoever repairs: nothing
 * depends on them.
 */
struct shki_repairs {
    _Atomic uint64_t holders_lost;
    _Atomic uint64_t waiters_buried;
    _Atomic uint64_t wakeups_passed_on;
    _Atomic uint64_t rebuilds;
};

/* Members waiting on an object, first come first served. */
struct shki_waitlist_shared {
    struct shki_mutex mutex;
    _Atomic uint64_t next_ticket; /* from 1 */
    _Atomic uint64_t released;    /* whoever has a lower ticket may go: commits a broadcast: L3 */
    _Atomic uint32_t first, last; /* node number + 1 */
    /* who waits: never too low, also while somebody is changing or rebuilding the rest */
    _Atomic uint32_t count;
    _Atomic uint32_t followers; /* see sync/leader.h; so are the leaders */
    /*
     * how often all were to be released by a member that had not the mutex: L5; written without it
     */
    _Atomic uint64_t asked;
    _Atomic uint64_t answered; /* so many of these have been carried out */
    _Atomic int64_t patrolled; /* CLOCK_MONOTONIC, ns: when a waiter last looked for the dead */
    _Atomic uint64_t leaders[2];
};

_Static_assert(sizeof(struct shki_waitlist_shared) == sizeof(struct shki_mutex) + 128,
               "a waitlist is its mutex and two cache lines");

struct shki_header {
    /* Written once, before the segment is published; read by anybody without a lock. */
    char magic[8];
    uint32_t layout;
    uint32_t header_size;
    uint64_t fingerprint;   /* of word size, byte order and the sizes of libc's types */
    uint64_t id;            /* random */
    uint64_t size;          /* of the file */
    uint64_t pid_namespace; /* inode; 0: unknown */
    int64_t created;        /* seconds since 1970 */
    int32_t creator;
    uint32_t max_members;
    uint32_t max_objects;
    /* 1: its members use the fences of base/fence.h as they are meant; 0: ordinary ones */
    uint32_t asymmetric;
    uint64_t entries_offset, members_offset, nodes_offset, processes_offset, blocks_offset,
        heap_offset;
    uint64_t reserved[5]; /* zero */

    /*
     * .holder: start time of the thread whose number .state is: the holder, as soon as it has
     * written them
     */
    struct shki_mutex lock;
    /* Set once, under the lock; read by everybody. Acquire and release: RT1. */
    alignas(64) _Atomic uint32_t retired;
    /*
     * records that have memory and an initialised life; grows, under the lock; read by anybody: ME1
     */
    _Atomic uint32_t members_ready;
    /* rows that have memory; grows by an exchange, without the lock */
    _Atomic uint32_t processes_ready;
    /*
     * 1: a process uses objects without a row: no memory is reclaimed any more. Set once, by any
     * process
     */
    _Atomic uint32_t untracked;
    uint64_t next_serial; /* of objects, from 1; under the lock */
    uint64_t next_join;   /* of members, from 1; under the lock */
    /* above all extents; a hint where to try first; under the lock */
    uint64_t heap_top;
    /* number of the pool's lowest block; written under the lock, read by all: PB2 */
    _Atomic uint32_t pool_floor;
    _Atomic uint32_t pool_hint; /* above all free blocks, perhaps; written and read by all */

    /* Who waits for any of several objects, of whatever set: see poll/poll.h. */
    struct shki_repairs watch_repairs;
    struct shki_waitlist_shared watchers;

    /*
     * when all members were last looked at: see recover.h. CLOCK_MONOTONIC, ns; written by any
     * member
     */
    alignas(64) _Atomic int64_t last_sweep;
};

_Static_assert(sizeof(struct shki_header) <= SHKI_PAGE, "the header is one page");

#define SHKI_MUTEXES_MAX 2u /* of one object */

/* An object's place in the directory, a hash table with linear probing. */
enum shki_entry_state {
    SHKI_ENTRY_FREE = 0,      /* never used: a search ends here */
    SHKI_ENTRY_TOMBSTONE = 1, /* used before, free to be used again */
    SHKI_ENTRY_LIVE = 2,
    /* has no name any more, but a process has it open: its extent is not free yet */
    SHKI_ENTRY_UNLINKED = 3,
    /* its keeper gives it memory and fills it in, without the lock; -> LIVE or GONE */
    SHKI_ENTRY_CREATING = 4,
    SHKI_ENTRY_RECLAIMING = 5 /* its keeper takes its memory back, without the lock; -> GONE */
};

struct shki_entry {
    /* commits what happens to the entry; under the lock; read by anybody: DE1 */
    alignas(64) _Atomic uint32_t state;
    uint32_t kind; /* the following are written under the lock while the entry is free */
    uint32_t hash;
    int32_t creator;
    /* of a live entry; 0 as soon as it is unlinked: every call looks at it: DE2 */
    _Atomic uint64_t live_serial;
    uint64_t serial;       /* its serial, kept after it is unlinked */
    uint64_t offset, size; /* its extent */
    int64_t created;
    char name[SHK_NAME_MAX + 1];
    /* where its robust mutexes lie in the extent; 0: none more */
    uint32_t mutex_offset[SHKI_MUTEXES_MAX];
    /*
     * member that makes it or takes it apart; no other thread touches its memory; written before
     * the state
     */
    _Atomic uint64_t owner;
    uint64_t reserved[7];
};

_Static_assert(sizeof(struct shki_entry) == 192, "entries do not share cache lines");

enum shki_waits_how {
    SHKI_WAITS_TIMED = 0,          /* it has a deadline */
    SHKI_WAITS_UNCHECKED = 1,      /* for ever; a lock, and does not want to hear of deadlocks */
    SHKI_WAITS_CHECKED = 2,        /* for ever; a lock, and can be told -EDEADLK */
    SHKI_WAITS_UNINTERRUPTIBLE = 3 /* for ever, and cannot be asked to give way */
};

/*
 * A member: an attached thread. Written by that thread alone, except for `park`, and under the lock
 * while it is free. Dead is whoever has an id and no living holder of `life`.
 */
struct shki_member_shared {
    _Atomic uint64_t id; /* join number << 16 | index; 0: free. Commits the joining: ME2 */
    int32_t pid, tid;
    uint64_t thread; /* random, the same in all segments that the thread is in */
    int64_t joined;  /* seconds since 1970 */
    char command[16];
    /* names[renames % 2] is the name, the next goes to the other place; commits it: NM1 */
    _Atomic uint32_t renames;
    char names[2][SHK_NAME_MAX + 1];
    /* when the thread was started: see base/thread.h; written before `id` */
    uint64_t start;

    /* What it sleeps on, for people and for finding deadlocks. */
    alignas(64) _Atomic uint32_t waits_sequence; /* odd while it sleeps: WT1 */
    _Atomic uint32_t waits_for;                  /* enum shk_wait_for */
    /* id of the object's segment: not always this one: a thread says it in all its records */
    _Atomic uint64_t waits_segment;
    _Atomic uint64_t waits_serial; /* of the object */
    _Atomic int64_t waits_since;   /* CLOCK_MONOTONIC, ns */
    _Atomic uint64_t waits_inode;  /* of that segment's file */
    _Atomic uint32_t waits_how;    /* enum shki_waits_how */
    _Atomic uint32_t waits_entry;  /* index of the object's entry */

    /*
     * Since when it holds a lock, for people: noted on request, the last one only. True while that
     * lock has this holder and these turns.
     */
    uint32_t reserved_32;
    _Atomic uint32_t held_releases; /* of its mutex */
    _Atomic int64_t held_since;     /* CLOCK_MONOTONIC, ns; commits the note: WT2 */

    alignas(64) pthread_mutex_t life; /* robust; held by the thread as long as it is attached */
    /* offset of the lock that it is in without having its mutex, 0: none: see object/shared.h */
    _Atomic uint64_t biased_in;
    /* posted by anybody to wake this thread; a permit too many is harmless */
    alignas(64) sem_t park;
    _Atomic uint64_t held_serial; /* of the noted lock, or condition */
    /*
     * seconds since 1970; 0: not noticed, or alive. Set once, by the first member that finds it
     * dead
     */
    _Atomic int64_t death_noticed;
};

_Static_assert(sizeof(struct shki_member_shared) == 384,
               "four lines for people, one for the life, one to be woken at");

/*
 * The wait of the member of the same number: a thread waits in one list at a time. Protected by the
 * mutex of the waitlist that it is in, except that its owner may set `list` to 0 when it has been
 * released, and the dead's may be cleared with their object's extent.
 */
enum shki_node_state { SHKI_NODE_WAITING = 1, SHKI_NODE_NOTIFIED = 2 };

/*
 * What a waiter was released for. Fixed in its node before the release: later rounds of the object
 * do not change it.
 */
enum shki_verdict {
    SHKI_GO = 0,      /* what it waited for has come */
    SHKI_BROKEN = 1,  /* it will not come: of a barrier */
    SHKI_UNLINKED = 2 /* it cannot come any more: the object has no name */
};

struct shki_node {
    _Atomic uint64_t list;  /* offset of the waitlist, 0: in none. Commits the entering: L1 */
    _Atomic uint64_t owner; /* member id */
    _Atomic uint64_t ticket;
    /* the list's next ticket when it was notified; or, passed on, when the dead one was */
    _Atomic uint64_t notify_bound;
    _Atomic uint32_t state;  /* commits the notification: L2 */
    uint32_t next, previous; /* node number + 1; 0: none. Only links: what is true is the above */
    /* enum shki_verdict, of a node that is released; before that, of no meaning */
    _Atomic uint32_t verdict;
    /* CLOCK_MONOTONIC, ns; of a line whose notifications are taken back */
    _Atomic int64_t notified_at;
    /*
     * 1: a notification has been taken back, since the owner did not run; until it does, it is
     * passed over
     */
    _Atomic uint32_t away;
    /* its owner is a leader, to be woken last: see sync/leader.h; written by the owner, a hint */
    _Atomic uint32_t leads;
};

_Static_assert(sizeof(struct shki_node) == 64,
               "a node is a cache line, so that its owner spins alone");

/*
 * A process that has the segment mapped, and which objects it has open: its handles belong to all
 * its threads, so they are in use for as long as the process is there. See process.h.
 */
enum shki_process_state {
    SHKI_PROCESS_FREE = 0, /* everything else in the row is zero */
    SHKI_PROCESS_LIVE = 1,
    SHKI_PROCESS_FORKING = 2, /* made by the process of that number for its next child */
    SHKI_PROCESS_CLEARING = 3 /* the process of that number makes it free */
};

struct shki_process {
    _Atomic uint64_t word;    /* pid << 32 | generation << 2 | state; changed by an exchange: PR1 */
    _Atomic uint64_t started; /* shki_process_start(), 0: not known. Written by the process */
    _Atomic int64_t forked;   /* FORKING: when, CLOCK_MONOTONIC, ns; 0: not written yet */
    uint64_t reserved;
    _Atomic uint64_t uses[]; /* a bit for each entry; written by the process, with `local` */
};

/* Ids of members. */
#define SHKI_INDEX_BITS 16
static inline uint32_t shki_member_index(uint64_t id)
{
    return (uint32_t)(id & ((1u << SHKI_INDEX_BITS) - 1));
}

/* Where the tables lie for given maxima and a segment's size; the only place that computes it. */
struct shki_geometry {
    uint64_t entries_offset, members_offset, nodes_offset, processes_offset, blocks_offset,
        heap_offset;
    uint64_t process_size; /* bytes of a row */
    uint32_t uses_words;   /* 64-bit words in it */
};

static inline uint64_t shki_round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static inline struct shki_geometry shki_geometry(uint32_t max_members, uint32_t max_objects,
                                                 uint64_t size)
{
    struct shki_geometry g;

    g.uses_words = (max_objects + 63) / 64;
    g.entries_offset = SHKI_PAGE;
    g.members_offset = g.entries_offset +
                       shki_round_up((uint64_t)max_objects * sizeof(struct shki_entry), SHKI_PAGE);
    g.nodes_offset =
        g.members_offset +
        shki_round_up((uint64_t)max_members * sizeof(struct shki_member_shared), SHKI_PAGE);
    g.process_size =
        shki_round_up(sizeof(struct shki_process) + g.uses_words * sizeof(uint64_t), 64);
    g.processes_offset =
        g.nodes_offset + shki_round_up((uint64_t)max_members * sizeof(struct shki_node), SHKI_PAGE);
    g.blocks_offset =
        g.processes_offset + shki_round_up((uint64_t)max_members * g.process_size, SHKI_PAGE);
    g.heap_offset =
        g.blocks_offset + shki_round_up(size / SHKI_BLOCK * sizeof(uint64_t), SHKI_PAGE);
    return g;
}

/*
 * Of what an extent is a multiple, and where it may begin. Small ones share pages: if each had one
 * of its own, the lines at their starts would all compete for the same few places of a processor's
 * cache, which are chosen by the offset in the page.
 */
static inline uint64_t shki_extent_unit(uint64_t size)
{
    return size <= SHKI_SMALL ? SHKI_SMALL_UNIT : SHKI_PAGE;
}

static inline uint64_t shki_extent_size(uint64_t size)
{
    return shki_round_up(size, shki_extent_unit(size));
}

uint64_t shki_fingerprint(void);
uint64_t shki_pid_namespace(void);

#endif
