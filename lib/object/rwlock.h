/* A rwlock in shared memory. */
#ifndef SHKI_RWLOCK_H
#define SHKI_RWLOCK_H

#include "base/fence.h"
#include "object/lock.h"

#include <shmkit/rwlock.h>

/*
 * The state of a rwlock, one word, so that a reader needs one load to enter.
 *
 *      63                    7        6           5         4         3        2        1
 *     +-----------------------+-------------+----------+----------+--------+---------+--------+
 *     | turn: one a writer    | NEED_WAKEUP | UNLINKED | ORPHANED | BIASED | WRITING | WRITER |
 *     +-----------------------+-------------+----------+----------+--------+---------+--------+
 */
enum {
    SHKI_RW_WRITER = 1,       /* a writer has its turn: it waits for readers, or writes */
    SHKI_RW_WRITING = 2,      /* … and it writes: no reader is in */
    SHKI_RW_BIASED = 4,       /* readers enter and leave with a light fence */
    SHKI_RW_ORPHANED = 8,     /* a writer died while it wrote; until shk_rwlock_recover() */
    SHKI_RW_UNLINKED = 16,    /* for ever */
    SHKI_RW_NEED_WAKEUP = 32, /* a reader sleeps until the turn is over, or did */
    SHKI_RW_TURN = 64         /* one more turn */
};

/*
 * The line of a reader, that of the member of the same index, which alone writes it. What a dead
 * member left in it is not counted, and is overwritten by the next member of that index. Two cache
 * lines, since some processors fetch pairs.
 */
struct shki_rwlock_reader {
    /* id of the member if it reads, or waits to; 0: neither. RW1, RW2 */
    alignas(128) _Atomic uint64_t member;
    /* 0: it reads; else it waits for the end of this turn (the state's, with WRITER). RW3 */
    _Atomic uint64_t waits;
    _Atomic uint32_t again; /* how often it has acquired a share besides the first time */
    /* For the bias: reads in turn `seen` without it. */
    uint32_t unbiased;
    uint64_t seen;
};

/* What is not said to change was written before the rwlock was published. */
struct shki_rwlock_shared {
    struct shki_repairs repairs;
    uint32_t no_deadlock_check;
    /*
     * lines of readers that have memory. Grows by an exchange, raised before the first of them is
     * written: a writer that sees a reader's mark sees this
     */
    _Atomic uint32_t readers_ready;
    /* 0: not unlinked. Else the state when it was unlinked, with UNLINKED; by the unlinker */
    _Atomic uint64_t unlinked_in;
    /* CLOCK_MONOTONIC, ns: when a turn ended last whose end readers slept for; with `lock` */
    _Atomic int64_t ended;
    uint64_t reserved[1];
    /*
     * Changed by atomic operations: by the writer that holds `lock`; UNLINKED, NEED_WAKEUP and
     * BIASED by others, too. RW1, RW2
     */
    alignas(128) _Atomic uint64_t state;
    /* Among writers. .mutex.holder is the writer whose turn it is. */
    alignas(128) struct shki_lock_shared lock;
    /*
     * Where that writer sleeps until the readers have left: bit 0, it sleeps; the rest counts
     * readers that have left. RW4
     */
    alignas(128) _Atomic uint64_t exits;
    struct shki_rwlock_reader readers[]; /* one for each member of the segment */
};

_Static_assert(offsetof(struct shki_rwlock_shared, state) == 128 &&
                   offsetof(struct shki_rwlock_shared, readers) % 128 == 0,
               "what readers read is in no line that is written while they read");

extern const struct shki_kind shki_rwlock_kind;

struct shk_rwlock {
    struct shki_object object;
    struct shki_rwlock_shared *shared;
    struct shk_lock lock;   /* a view of the lock among writers */
    uint32_t readers_max;   /* lines in the extent */
    _Atomic uint32_t ready; /* a copy of readers_ready, bounded */
    struct shki_spinner reads, writes;
};

/* The bits in which a writer's turn is told from others. */
static inline uint64_t shki_rw_turn_of(uint64_t state)
{
    return (state & ~(uint64_t)(SHKI_RW_TURN - 1)) | (state & SHKI_RW_WRITER);
}

/* How many lines lie in so many bytes of the extent. */
static inline uint32_t shki_rw_lines_in(uint64_t bytes)
{
    return bytes < sizeof(struct shki_rwlock_shared)
               ? 0
               : (uint32_t)((bytes - sizeof(struct shki_rwlock_shared)) /
                            sizeof(struct shki_rwlock_reader));
}

static inline struct shki_rwlock_reader *shki_rw_line_of(const struct shk_rwlock *l,
                                                         const struct shki_member *m)
{
    return &l->shared->readers[m->index];
}

/* Whether the thread has a share. */
static inline bool shki_rw_reads(const struct shk_rwlock *l, const struct shki_member *m)
{
    /* Relaxed: if it is this thread's id, this thread wrote it. */
    return m && m->index < load_relaxed(&l->ready) &&
           load_relaxed(&shki_rw_line_of(l, m)->member) == m->id;
}

/* ---- rwlock_turn.c ---- */

/* With the lock among writers: the turn is over. */
void shki_rw_end_turn(struct shki_rwlock_shared *);

/* With the lock among writers, before a turn: if there is WRITER it is that of a dead one. */
void shki_rw_end_turn_of_dead(struct shki_rwlock_shared *);

/* Wake the writer that sleeps until the readers have left: a line, or the state, has changed. */
void shki_rw_tell_writer(struct shki_rwlock_shared *);

/* A recheck interval has ended, for a reader or a writer: 0, or why it gives up. */
int shki_rw_recheck(struct shk_rwlock *, const struct shki_member *, const struct shki_deadline *,
                    bool deadlocks);

enum shki_waits_how shki_rw_waits_how(int64_t timeout, bool deadlocks);

/* Whether a wait has to end without success, and what it returns then. */
bool shki_rw_has_to_end(const struct shk_rwlock *, const struct shki_deadline *);
int shki_rw_why_it_ends(const struct shk_rwlock *, const struct shki_deadline *);

/* ---- rwlock_read.c ---- */

/* The calling thread's line is about to be used for the first time: see that it has memory. */
int shki_rw_prepare_line(struct shk_rwlock *, const struct shki_member *);

/* ---- Leaving ---- */

/* RW1: acquire; pairs with the release of RW3: what the last writer wrote is visible. */
static inline uint64_t shki_rw_state_of(const struct shki_rwlock_shared *shared)
{
    return load_acquire(&shared->state);
}

/* The state after the mark has been set or cleared, without the bias. */
static inline uint64_t shki_rw_state_behind_fence(struct shki_rwlock_shared *shared)
{
    atomic_thread_fence(memory_order_seq_cst); /* RW1: in place of the light fence */
    return shki_rw_state_of(shared);
}

void shki_rw_leave_slow(struct shki_rwlock_shared *, uint64_t state);

/* By a reader, or one that gives up waiting. */
static inline __attribute__((always_inline)) void shki_rw_leave(struct shk_rwlock *l,
                                                                struct shki_rwlock_reader *mine)
{
    uint64_t state;

    /* RW2: release; what was read. Killed after: the same as the death of a reader. */
    store_release(&mine->member, 0);
    shki_fence_light(l->object.segment->asymmetric); /* RW1 */
    /* Relaxed: nothing is read by it. */
    state = load_relaxed(&l->shared->state);
    if (unlikely((state & (SHKI_RW_WRITER | SHKI_RW_BIASED)) != SHKI_RW_BIASED))
        shki_rw_leave_slow(l->shared, state);
}

#endif
