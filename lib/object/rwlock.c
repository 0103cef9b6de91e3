/*
 * A rwlock: one line for each reader, and a lock among writers.
 *
 * Source: big-reader locks (Linux 2.4 brlock), BRAVO (Dice and Kogan, USENIX ATC 2019) with the
 * asymmetric fence of base/fence.h in place of its delay; phase-fair locks (Brandenburg and
 * Anderson 2010). New here: any side may be killed at every instruction.
 *
 * What always holds. A member reads if its line has its id and `waits` of another turn than that of
 * the state (0 is none). A writer writes if it holds the lock, has raised WRITER for a new turn,
 * and has since found no living reader.
 *
 *     reader                                    writer
 *     waits = 0                                 lock
 *     RW1: member = me                          RW1: state: turn + 1, WRITER
 *     RW1: light fence                          RW1: heavy fence; state: not BIASED
 *     RW1: state has no WRITER? then read       until no living reader is in:
 *     RW3: waits = turn; full fence; is           RW4: exits |= 1
 *          the turn another? once more            RW2: read the lines; sleep at `exits`
 *     RW4: exits + 1, wake the writer           state |= WRITING; write
 *     RW3: sleep until the turn is over         RW3: state: no WRITER, no WRITING
 *     RW3: waits = 0, read                      wake the readers that sleep
 *                                               unlock
 *     RW2: member = 0
 *     RW1: light fence
 *     RW4: WRITER? then exits + 1, wake it
 *
 * RW1. Either the writer finds the reader's mark, or the reader finds WRITER: see fence.h. Without
 * BIASED in the state the reader executes a full fence and reads the state again; then the writer
 * needs no heavy fence. A reader sets BIASED after UNBIASED_MAX reads in a row without a writer.
 *
 * RW2. Release and acquire: what a reader has read, it has read before the writer writes.
 *
 * RW3. Phase-fair. A reader that waits for the end of a turn is in when the turn is over, whatever
 * the state says of a later turn: the writer of a later turn waits for it, because its `waits` is
 * another turn. That writer cannot miss the mark: the reader has seen that the earlier turn was not
 * over after a full fence behind its mark. (Without that check the mark could still be on its way
 * while one writer ends its turn, and the next, which needs no heavy fence, reads the lines.) The
 * release of the state publishes what was written. A reader that does not run for a recheck
 * interval loses its turn to read: the writer exchanges its `waits` for the later turn, and the
 * reader exchanges it for 0 before it reads, so that one of them succeeds.
 *
 * RW4. The writer says that it sleeps before it reads the lines; a reader that leaves, or begins to
 * wait, changes `exits` after it has changed its line. So the writer finds the line changed, or
 * does not sleep.
 *
 * Killed where:
 *   - A reader with its mark: it is dead, so it does not count. The writer that sleeps for it
 *     sleeps beside it (see park.h), and is woken by the kernel.
 *   - A reader before it has woken the writer: likewise.
 *   - A writer with WRITER: the next owner of the lock, or a reader that waits, ends its turn, with
 *     ORPHANED if it was WRITING. One reader that sleeps beside the writer is woken by the kernel,
 *     and wakes the others.
 *   - A writer without WRITER before it has woken the readers: likewise.
 *
 * What another order would cause:
 *   - WRITER after the lines have been read: a reader enters behind the writer's back.
 *   - `exits` before the change of the line: the writer finds the line as it was, and sleeps.
 *   - WRITER lowered after the unlock: the next writer's WRITER would be lowered.
 *   - BIASED cleared before the heavy fence: a writer killed between the two leaves the next one
 *     without a fence, and a reader that it does not see.
 *   - ORPHANED after WRITER is lowered: readers would read what is half written, and not be told.
 *
 * The model: tests/model/rwlock.pml.
 */
#include "object/rwlock.h"

#include "object/remote.h"
#include "segment/recover.h"
#include "sync/park.h"

#include <shmkit/inspect.h>

/* ---- Writing ---- */

/* Before a turn: those that wait for the end of an earlier one do not count. */
#define NO_TURN UINT64_C(0)

static bool counts(const struct shki_rwlock_reader *reader, uint64_t turn)
{
    /* RW3: acquire: a reader that waits has read nothing in this turn */
    uint64_t waits = load_acquire(&reader->waits);

    return turn == NO_TURN ? waits == 0 : waits != turn;
}

/* How many lines may be in use. A reader has joined, and raised readers_ready, before its mark. */
static uint32_t lines(const struct shk_rwlock *l)
{
    uint32_t n = load_relaxed(&l->shared->readers_ready);
    uint32_t members = shki_members_ready(l->object.segment);

    n = n < l->readers_max ? n : l->readers_max;
    return n < members ? n : members;
}

/* The first living reader that the writer of this turn has to wait for; 0: there is none. */
static uint64_t find_reader(const struct shk_rwlock *l, uint64_t turn)
{
    uint32_t n = lines(l);

    for (uint32_t i = 0; i < n; i++) {
        const struct shki_rwlock_reader *reader = &l->shared->readers[i];
        /*
         * RW2: acquire; pairs with the release of a reader that leaves. RW1: with that of one that
         * comes: its `waits` is not older than its mark.
         */
        uint64_t id = load_acquire(&reader->member);

        if (id != 0 && counts(reader, turn) && shki_member_is_alive(l->object.segment, id))
            return id;
    }
    return 0;
}

/* The same, by a caller that would have to give up: the kernel may not have marked its death. */
static uint64_t find_reader_thoroughly(const struct shk_rwlock *l, uint64_t turn)
{
    uint64_t reader = find_reader(l, turn);

    if (reader != 0)
        shki_recover_one(l->object.segment, reader);
    return reader != 0 ? find_reader(l, turn) : 0;
}

/* Begin a turn, with the lock among writers. Killed after: the next owner of the lock ends it. */
static uint64_t begin_turn(struct shk_rwlock *l)
{
    struct shki_rwlock_shared *shared = l->shared;
    uint64_t state = load_relaxed(&shared->state), begun; /* the exchange checks it */

    do
        begun = (state | SHKI_RW_WRITER) + SHKI_RW_TURN;
    while (!compare_exchange_weak_relaxed(&shared->state, &state, begun));
    /* RW1: WRITER before the lines are read; pairs with the fences of readers */
    if (state & SHKI_RW_BIASED) {
        shki_fence_heavy(l->object.segment->asymmetric);
        /* Killed before: the next writer executes the fence. */
        fetch_and_release(&shared->state, ~(uint64_t)SHKI_RW_BIASED);
    } else {
        atomic_thread_fence(memory_order_seq_cst);
    }
    return shki_rw_turn_of(begun);
}

struct draining {
    const struct shk_rwlock *lock;
    uint64_t turn;
};

static bool is_drained(const void *arg)
{
    const struct draining *d = arg;

    return find_reader(d->lock, d->turn) == 0;
}

/*
 * Readers whose turn to read came long ago, and which do not run, being stopped, wait for the end
 * of this turn, too.
 */
static void take_back(const struct shk_rwlock *l, uint64_t turn)
{
    uint32_t n = lines(l);

    if (shki_now() - load_relaxed(&l->shared->ended) <= SHKI_RECHECK)
        return;
    for (uint32_t i = 0; i < n; i++) {
        struct shki_rwlock_reader *reader = &l->shared->readers[i];
        uint64_t waits = load_relaxed(&reader->waits); /* the exchange checks it */

        /* RW3: see begin_to_read(). Killed before or after: the next turn is another one. */
        if (load_relaxed(&reader->member) != 0 && waits != 0 && waits != turn)
            compare_exchange_acq_rel(&reader->waits, &waits, turn);
    }
}

static int sleep_until_drained(struct shk_rwlock *l, const struct shki_member *m, uint64_t turn,
                               const struct shki_deadline *deadline, bool deadlocks)
{
    struct shki_rwlock_shared *shared = l->shared;
    uint64_t exits, reader;
    struct timespec until;
    unsigned quiet = 0;
    bool ends;
    int r = 0;

    while (r == 0) {
        ends = shki_rw_has_to_end(l, deadline);
        if (ends || quiet > 0)
            take_back(l, turn);
        /* RW4: before the lines are read; acquire: the lines of those that have told before */
        exits = fetch_or_acquire(&shared->exits, 1) | 1;
        reader = ends ? find_reader_thoroughly(l, turn) : find_reader(l, turn);
        if (reader == 0)
            break;
        r = ends ? shki_rw_why_it_ends(l, deadline) : 0;
        if (r < 0)
            break;
        until = shki_deadline_recheck_at(
            deadline, shki_repair_enabled(SHKI_REPAIR_BACKSTOP)
                          ? shki_recheck_interval(deadline, quiet, SHKI_DOUBLINGS)
                          : SHKI_NO_RECHECK);
        if (!shki_sleep_beside(l->object.segment, reader, &shared->exits, exits, &until)) {
            quiet++;
            r = shki_rw_recheck(l, m, deadline, deadlocks);
        }
    }
    return r;
}

/* The caller has the lock among writers: wait for the readers. 0, SHK_ORPHANED, or why not. */
static int drain(struct shk_rwlock *l, struct shki_member *m, struct shki_deadline *deadline)
{
    bool deadlocks = deadline->timeout == SHK_FOREVER && !l->shared->no_deadlock_check;
    struct draining d = {.lock = l};
    int r = 0;

    shki_rw_end_turn_of_dead(l->shared);
    /* without a turn, which would hold up readers */
    if (deadline->nowait && find_reader_thoroughly(l, NO_TURN) != 0)
        return shki_deadline_check(deadline);
    d.turn = begin_turn(l);
    if (!is_drained(&d) && (deadline->nowait || !shki_spin(&l->writes, is_drained, &d))) {
        if (!deadline->nowait)
            shki_object_sleeps(&l->object, m, SHK_WAITS_TO_ACQUIRE,
                               shki_rw_waits_how(deadline->timeout, deadlocks));
        r = sleep_until_drained(l, m, d.turn, deadline, deadlocks);
        if (!deadline->nowait)
            shki_member_is_awake();
    }
    if (r < 0) {
        shki_rw_end_turn(l->shared);
        return r;
    }
    /* Relaxed: for the next owner, if this one dies. Killed before: nothing has been written. */
    return fetch_or_relaxed(&l->shared->state, SHKI_RW_WRITING) & SHKI_RW_ORPHANED ? SHK_ORPHANED
                                                                                   : 0;
}

int shk_rwlock_acquire(struct shk_rwlock *l, int64_t timeout)
{
    struct shki_deadline deadline;
    struct shki_member *m;
    int r = l ? shki_enter(&l->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, l, rwlock, acquire, (l, timeout));
    if (shki_rw_reads(l, m))
        return shki_object_say(&l->object, -EDEADLK,
                               "the calling thread has a share, and would wait for itself");
    deadline = shki_object_deadline(&l->object, timeout, "members read");
    r = shk_lock_acquire(&l->lock, timeout);
    if (r < 0)
        return r;
    r = drain(l, m, &deadline);
    if (r < 0)
        shk_lock_release(&l->lock);
    return r;
}

/* ---- Releasing ---- */

/* Of a caller that does not hold it; SHKI_REMOTE: it lies elsewhere. */
static int refuse(const struct shk_rwlock *l)
{
    return l->object.segment->remote ? SHKI_REMOTE : shki_lock_refuse(&l->lock);
}

static __attribute__((noinline)) int release_slow(struct shk_rwlock *l)
{
    /* a member has the segment mapped */
    struct shki_member *m = l ? shki_member_find(l->object.segment) : NULL;
    uint32_t again;

    if (!l)
        return SHKI_NO_HANDLE;
    if (m && shki_lock_is_mine(&l->lock, m)) {
        shki_rw_end_turn(l->shared);
        return shk_lock_release(&l->lock);
    }
    if (!shki_rw_reads(l, m))
        return SHKI_ELSEWHERE(refuse(l), l, rwlock, release, (l));
    again = load_relaxed(&shki_rw_line_of(l, m)->again);
    if (again > 0) {
        store_relaxed(&shki_rw_line_of(l, m)->again, again - 1);
        return 0;
    }
    shki_rw_leave(l, shki_rw_line_of(l, m));
    shki_held_less(m);
    return 0;
}

int shk_rwlock_release(struct shk_rwlock *l)
{
    struct shki_member *m = l ? shki_member_cached(l->object.segment) : NULL;

    if (unlikely(!shki_rw_reads(l, m) || load_relaxed(&shki_rw_line_of(l, m)->again) > 0))
        return release_slow(l);
    shki_rw_leave(l, shki_rw_line_of(l, m));
    shki_held_less(m);
    return 0;
}

/* The calling thread as the writer; or -EPERM, -EBADF. */
static int find_writer(struct shk_rwlock *l, struct shki_member **m)
{
    *m = l ? shki_member_find(l->object.segment) : NULL;
    if (!l)
        return SHKI_NO_HANDLE;
    return shki_lock_is_mine(&l->lock, *m) ? 0 : refuse(l);
}

int shk_rwlock_downgrade(struct shk_rwlock *l)
{
    struct shki_rwlock_reader *mine;
    struct shki_member *m;
    int r = find_writer(l, &m);

    if (r == 0 && m->index >= load_relaxed(&l->ready))
        r = shki_rw_prepare_line(l, m);
    if (r < 0)
        return SHKI_ELSEWHERE(r, l, rwlock, downgrade, (l));
    mine = shki_rw_line_of(l, m);
    store_relaxed(&mine->waits, 0);
    store_relaxed(&mine->again, 0);
    /* RW1: the next writer has the lock after the caller, and so finds the mark. Killed after: */
    store_release(&mine->member, m->id); /* a dead writer still */
    m->held++;                           /* the release of the lock takes one */
    shki_rw_end_turn(l->shared);         /* commits */
    return shk_lock_release(&l->lock);
}

int shk_rwlock_recover(struct shk_rwlock *l)
{
    struct shki_member *m;
    int r = find_writer(l, &m);

    /*
     * Commits. Release, though shki_rw_end_turn() publishes it with what was mended. Killed before:
     * not mended; after: the death of a writer, which is told.
     */
    if (r == 0)
        fetch_and_release(&l->shared->state, ~(uint64_t)SHKI_RW_ORPHANED);
    return r < 0 ? SHKI_ELSEWHERE(r, l, rwlock, recover, (l)) : 0;
}

int shk_rwlock_is_held(struct shk_rwlock *l)
{
    struct shki_member *m;
    int r = l ? shki_enter(&l->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, l, rwlock, is_held, (l));
    return shki_lock_is_mine(&l->lock, m) ? 2 : shki_rw_reads(l, m);
}
