/*
 * The layout of a segment: what lies in the file, byte for byte. All offsets are from its start; 0
 * means none. All integers are of fixed width.
 *
 *     +--------+---------+---------+---------+-----------+--------------+------ … ------+-- … --+
 *     | header | entries | member  | waiting | processes | block words  | heap: objects | pool  |
 *     |        |         | records | nodes   |           |              |               |       |
 *     +--------+---------+---------+---------+-----------+--------------+------ … ------+-- … --+
 *      one page  max_      max_      max_      max_        one for each   extents,        blocks:
 *                objects   members   members   members     256 KiB        found through   see
 *                                              rows                       the entries     blocks.h
 *
 * Header and entries have memory from the start. The tables of members get it in steps of
 * SHKI_MEMBERS_STEP records as members join, an extent gets it when its object is created. A store
 * into allocated memory never faults, even when the file system is full.
 *
 * The comment of a field names its writer and the lock that protects it. "Under the lock" means
 * header.lock. A field with a label is read without that lock, in the order that the label's
 * account describes: DE directory.h, ME NM WT member.h, RT retire.h, PR process.h, PB blocks.h,
 * RO presence.h.
 */
#ifndef SHKI_LAYOUT_H
#define SHKI_LAYOUT_H

#include "base/robust.h"

#include <semaphore.h>
#include <shmkit/common.h>
#include <stddef.h>

#define SHKI_MAGIC  "shmkit\r\n" /* a copy in text mode changes it, and so is recognised */
#define SHKI_LAYOUT 6u
/* bytes: the unit of the tables and of large extents, whatever the machine's page is */
#define SHKI_PAGE  4096u
#define SHKI_SMALL 512u /* bytes: extents up to this size are … */
/* … multiples of this: two cache lines, since some processors fetch pairs */
#define SHKI_SMALL_UNIT   128u
#define SHKI_MEMBERS_STEP 16u    /* records */
#define SHKI_TABLE_MAX    65535u /* members, or objects: an index has 16 bits */
/* bytes: the unit of the pool; block b begins at b * SHKI_BLOCK */
#define SHKI_BLOCK (UINT64_C(256) << 10)

/*
 * Repairs, counted at the start of each object. Relaxed additions by the member that repairs:
 * nothing depends on them.
 */
struct shki_repairs {
    _Atomic uint64_t holders_lost;
    _Atomic uint64_t waiters_buried;
    _Atomic uint64_t wakeups_passed_on;
    _Atomic uint64_t rebuilds;
};

/* Members waiting on an object, first come first served: see sync/waitlist.h. */
struct shki_waitlist_shared {
    struct shki_mutex mutex;
    _Atomic uint64_t next_ticket; /* from 1 */
    _Atomic uint64_t released;    /* tickets below it are released: commits a broadcast: WL3 */
    _Atomic uint32_t first, last; /* node number + 1 */
    /* of waiters; never too low, also while a member changes or rebuilds the rest */
    _Atomic uint32_t count;
    _Atomic uint32_t followers; /* see sync/leader.h; so are the leaders */
    _Atomic uint64_t requested; /* requests to release all: WL5; written without the mutex */
    _Atomic uint64_t answered;  /* so many of these have been carried out */
    _Atomic int64_t checked_at; /* CLOCK_MONOTONIC, ns: when a waiter last checked for deaths */
    _Atomic uint64_t leaders[2];
};

_Static_assert(sizeof(struct shki_waitlist_shared) == sizeof(struct shki_mutex) + 128,
               "a waitlist is its mutex and two cache lines");

struct shki_header {
    /* Written once by the creator, before the segment is published. Read without a lock. */
    char magic[8];
    uint32_t layout;
    uint32_t header_size;
    uint64_t fingerprint;   /* of word size, byte order and the sizes of libc's types */
    uint64_t id;            /* random */
    uint64_t size;          /* of the file */
    uint64_t pid_namespace; /* inode; 0: unknown */
    int64_t created;        /* seconds since 1970 */
    int32_t creator;        /* pid */
    uint32_t max_members;
    uint32_t max_objects;
    /* 1: its members use asymmetric fences, see base/fence.h; 0: ordinary ones */
    uint32_t asymmetric;
    uint64_t entries_offset, members_offset, nodes_offset, processes_offset, blocks_offset,
        heap_offset;
    uint64_t reserved[5]; /* zero */

    /*
     * The segment's lock. Its holder writes its thread id to `state` and its start time to
     * `holder`, as soon as it has the mutex.
     */
    struct shki_mutex lock;
    /* 1: retired. Written once, under the lock; read without it: RT1. */
    alignas(64) _Atomic uint32_t retired;
    /* records that have memory and an initialised life. Grows, under the lock: ME1. */
    _Atomic uint32_t members_ready;
    /* rows that have memory. Grows by an exchange, without the lock: PR2. */
    _Atomic uint32_t processes_ready;
    /*
     * 1: a process without a row uses objects, so the memory of unlinked objects is not reclaimed
     * any more. Written once, by any process, without the lock: PR3.
     */
    _Atomic uint32_t untracked;
    uint64_t next_serial; /* of objects, from 1; under the lock */
    uint64_t next_join;   /* of members, from 1; under the lock */
    uint64_t heap_top;    /* above all extents; where a search for room begins; under the lock */
    _Atomic uint32_t pool_floor; /* number of the pool's lowest block; under the lock: PB2 */
    /* above all free blocks, most often: where a search begins. Any member, without a lock. */
    _Atomic uint32_t pool_hint;

    /* Members that wait for one of several objects, of whatever set: see poll/poll.h. */
    struct shki_repairs watch_repairs;
    struct shki_waitlist_shared watchers;

    /* CLOCK_MONOTONIC, ns: when all members were last checked, see recover.h. Any member. */
    alignas(64) _Atomic int64_t last_sweep;
};

_Static_assert(sizeof(struct shki_header) <= SHKI_PAGE, "the header is one page");
_Static_assert(offsetof(struct shki_header, lock) % 64 == 0 &&
                   offsetof(struct shki_header, retired) ==
                       offsetof(struct shki_header, lock) + sizeof(struct shki_mutex) &&
                   offsetof(struct shki_header, last_sweep) % 64 == 0,
               "the lock, what calls read and what sweeps write lie in lines of their own");

#define SHKI_MUTEXES_MAX 2u /* of one object */

/*
 * An entry of the directory, a hash table with linear probing: the place of one object. Its states
 * and their order: directory.h. From SHKI_ENTRY_LIVE on an entry has an extent.
 */
enum shki_entry_state {
    SHKI_ENTRY_FREE = 0,      /* never used: a search ends here */
    SHKI_ENTRY_TOMBSTONE = 1, /* used before, free to be used again */
    SHKI_ENTRY_LIVE = 2,
    SHKI_ENTRY_UNLINKED = 3,  /* has no name; a process may have it open: its extent is in use */
    SHKI_ENTRY_CREATING = 4,  /* its owner allocates and initialises the extent */
    SHKI_ENTRY_RECLAIMING = 5 /* its owner frees the extent */
};

struct shki_entry {
    /* Commits each change of the entry. Under the lock, but for the owner's last store: DE1. */
    alignas(64) _Atomic uint32_t state;
    /* These are written under the lock while the entry is free. */
    uint32_t kind;
    uint32_t hash;
    int32_t creator; /* pid */
    /* `serial` while it is live, then 0: every call compares it. Written under the lock: DE2. */
    _Atomic uint64_t live_serial;
    uint64_t serial;       /* the same, kept after the unlink */
    uint64_t offset, size; /* its extent */
    int64_t created;       /* seconds since 1970 */
    char name[SHK_NAME_MAX + 1];
    /* of its robust mutexes, from the start of the extent; 0: no more */
    uint32_t mutex_offset[SHKI_MUTEXES_MAX];
    /*
     * Id of the member that creates or reclaims the object: no other thread touches the extent.
     * Written under the lock, before the state.
     */
    _Atomic uint64_t owner;
    /* what has become of its producers, and of its consumers: see presence.h. Any process: RO1 */
    _Atomic uint64_t line[2];
    uint64_t reserved[5];
};

_Static_assert(sizeof(struct shki_entry) == 192, "entries do not share cache lines");
_Static_assert(offsetof(struct shki_entry, live_serial) == 16 &&
                   offsetof(struct shki_entry, name) == 56,
               "a call reads one line of an entry");

/* How long a member sleeps, and what can end its wait. */
enum shki_waits_how {
    SHKI_WAITS_TIMED = 0,          /* until its deadline */
    SHKI_WAITS_UNCHECKED = 1,      /* for a lock, without deadline and deadlock check */
    SHKI_WAITS_CHECKED = 2,        /* for a lock, without deadline; a deadlock gives -EDEADLK */
    SHKI_WAITS_UNINTERRUPTIBLE = 3 /* without deadline, and a deadlock cannot end it */
};

/*
 * The record of a member, that is of an attached thread. Its thread alone writes it, except for
 * `park` and `death_noticed`; while it is free, the thread that joins writes it under the lock. A
 * member is dead when its record has an id and no living thread holds `life`.
 */
struct shki_member_shared {
    _Atomic uint64_t id; /* join number << 16 | index; 0: free. Commits a join: ME2 */
    int32_t pid, tid;
    uint64_t thread; /* random, the same in all segments that the thread is in */
    int64_t joined;  /* seconds since 1970 */
    char command[16];
    /* names[renames % 2] is the name; the next one goes to the other place. Commits it: NM1 */
    _Atomic uint32_t renames;
    char names[2][SHK_NAME_MAX + 1];
    /* when the thread was started: see base/thread.h; written before `id` */
    uint64_t start;

    /* What it waits for, for people and for the search for deadlocks. */
    alignas(64) _Atomic uint32_t waits_sequence; /* odd while it sleeps: WT1 */
    _Atomic uint32_t waits_for;                  /* enum shk_wait_for */
    /* id of the object's segment: another one, perhaps, for a thread notes it in all its records */
    _Atomic uint64_t waits_segment;
    _Atomic uint64_t waits_serial; /* of the object */
    _Atomic int64_t waits_since;   /* CLOCK_MONOTONIC, ns */
    _Atomic uint64_t waits_inode;  /* of that segment's file */
    _Atomic uint32_t waits_how;    /* enum shki_waits_how */
    _Atomic uint32_t waits_entry;  /* index of the object's entry */

    /*
     * Since when it holds a lock, for people: noted on request, the last lock only. It is true
     * while that lock has this holder and this number of releases.
     */
    uint32_t reserved_32;
    _Atomic uint32_t held_releases; /* of its mutex */
    _Atomic int64_t held_since;     /* CLOCK_MONOTONIC, ns; commits the note: WT2 */

    alignas(64) pthread_mutex_t life; /* robust; held by the thread as long as it is attached */
    /* offset of the biased lock that it enters, or is in, by its bias; 0: none: sync/biased.h */
    _Atomic uint64_t biased_in;
    /* posted by any member to wake this thread; a spurious post is harmless */
    alignas(64) sem_t park;
    _Atomic uint64_t held_serial; /* of the noted lock, or condition */
    /*
     * seconds since 1970; 0: alive, or not noticed. Written once, by the first member that finds
     * it dead.
     */
    _Atomic int64_t death_noticed;
    /*
     * id of the last member that died with the record; 0: none. Written under the lock, by the
     * thread that joins with the record of a dead member, before `id` goes: ME2.
     */
    _Atomic uint64_t died_before;
};

_Static_assert(sizeof(struct shki_member_shared) == 384,
               "four lines for people, one for the life, one for the wake-ups");
_Static_assert(offsetof(struct shki_member_shared, waits_sequence) == 192 &&
                   offsetof(struct shki_member_shared, life) == 256 &&
                   offsetof(struct shki_member_shared, park) == 320,
               "the life and the wake-ups have lines of their own");

/*
 * The node of the member of the same index: a thread waits in one list at a time. Protected by the
 * mutex of the waitlist that it is in. Two stores are made without it: the owner sets `list` to 0
 * when it has been released, and a dead owner's `list` is cleared when its object is reclaimed.
 */
enum shki_node_state { SHKI_NODE_WAITING = 1, SHKI_NODE_NOTIFIED = 2 };

/*
 * Why a waiter was released. Stored in its node before the release: later rounds of the object do
 * not change it.
 */
enum shki_verdict {
    SHKI_GO = 0,      /* what it waited for has happened */
    SHKI_BROKEN = 1,  /* it will not happen: the barrier is broken */
    SHKI_UNLINKED = 2 /* it cannot happen any more: the object has no name */
};

struct shki_node {
    _Atomic uint64_t list;  /* offset of the waitlist, 0: in none. Commits the entry: WL1 */
    _Atomic uint64_t owner; /* member id */
    _Atomic uint64_t ticket;
    /* the list's next ticket when it was notified; of a forwarded wake-up, when the dead one was */
    _Atomic uint64_t notify_bound;
    _Atomic uint32_t state;  /* commits the notification: WL2 */
    uint32_t next, previous; /* node number + 1; 0: none. Links only: the truth is above */
    /* how much it waits for: of a semaphore, so many permits; else 1. Written by the owner */
    _Atomic uint32_t wants;
    /* CLOCK_MONOTONIC, ns; in a list whose notifications can be taken back */
    _Atomic int64_t notified_at;
    uint32_t reserved_32;
    /* enum shki_verdict, of a node that is released; before that, of no meaning */
    _Atomic uint16_t verdict;
    /*
     * 1: a notification has been taken back, since the owner did not run; until it runs, notifiers
     * skip it
     */
    _Atomic uint8_t taken_back;
    /* its owner is a leader, to be woken last: see sync/leader.h; written by the owner, a hint */
    _Atomic uint8_t leads;
};

_Static_assert(sizeof(struct shki_node) == 64,
               "a node is a cache line, so that its owner spins alone");

/*
 * The row of a process that has the segment mapped, and which objects it has open: handles belong
 * to all threads of a process, so they are in use for as long as the process is there. See
 * process.h.
 */
enum shki_process_state {
    SHKI_PROCESS_FREE = 0, /* everything else in the row is zero */
    SHKI_PROCESS_LIVE = 1,
    SHKI_PROCESS_FORKING = 2, /* claimed by the process of that pid for its next child */
    SHKI_PROCESS_CLEARING = 3 /* the process of that pid frees it */
};

struct shki_process {
    _Atomic uint64_t word;    /* pid << 32 | generation << 2 | state; changed by an exchange: PR1 */
    _Atomic uint64_t started; /* shki_process_start(), 0: not known. Written by the process */
    _Atomic int64_t forked;   /* FORKING: when, CLOCK_MONOTONIC, ns; 0: not written yet */
    /* 1: a thread of the process has been a member; relaxed, written by the process */
    _Atomic uint64_t has_joined;
    /*
     * Three bitmaps of uses_words each, with a bit for each entry: what the process has open, of
     * what it is a producer (RO2), of what a consumer. Written by the process, with `local`; the
     * latter two also by the process that finds it over, see shki_process_any_has_role().
     */
    _Atomic uint64_t uses[];
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
    uint32_t uses_words;   /* 64-bit words in each of its bitmaps */
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
        shki_round_up(sizeof(struct shki_process) + 3 * g.uses_words * sizeof(uint64_t), 64);
    g.processes_offset =
        g.nodes_offset + shki_round_up((uint64_t)max_members * sizeof(struct shki_node), SHKI_PAGE);
    g.blocks_offset =
        g.processes_offset + shki_round_up((uint64_t)max_members * g.process_size, SHKI_PAGE);
    g.heap_offset =
        g.blocks_offset + shki_round_up(size / SHKI_BLOCK * sizeof(uint64_t), SHKI_PAGE);
    return g;
}

/*
 * The unit of an extent's size and offset. Small extents share pages. If each had a page of its
 * own, their first lines would compete for the same few places of a processor's cache, which are
 * chosen by the offset in the page.
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
