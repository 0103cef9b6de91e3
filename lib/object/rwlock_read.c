/* Reading: entering, and waiting for the end of a writer's turn. The protocol is in rwlock.c. */
#include "object/rwlock.h"

#include "object/remote.h"
#include "segment/recover.h"
#include "sync/park.h"

#include <shmkit/inspect.h>

/* Reads in a row without a writer after which a reader sets BIASED (bench W10). */
#define UNBIASED_MAX 256u

#define AGAIN_MAX ((uint32_t)INT32_MAX)

int shki_rw_prepare_line(struct shk_rwlock *l, const struct shki_member *m)
{
    struct shki_object *o = &l->object;
    uint64_t end = sizeof(*l->shared) + (m->index + UINT64_C(1)) * sizeof(l->shared->readers[0]);
    uint32_t ready = load_relaxed(&l->shared->readers_ready), lines;
    int r;

    if (m->index >= l->readers_max) /* damaged bytes */
        return shki_fail(-EPROTO, "%s/%s is damaged: its extent", o->segment->name, o->name);
    if (ready <= m->index) {
        end = shki_round_up(end, SHKI_PAGE);
        end = end < o->size ? end : o->size;
        lines = shki_rw_lines_in(end);
        r = shki_allocate(o->segment, o->offset, end, false);
        if (r < 0)
            return shki_fail(r, "%s/%s: out of memory for more readers", o->segment->name, o->name);
        /* Relaxed: RW1 orders it, see above. Killed before: the next one allocates once more. */
        while (ready < lines &&
               !compare_exchange_weak_relaxed(&l->shared->readers_ready, &ready, lines))
            ;
        ready = lines;
    }
    store_relaxed(&l->ready, ready < l->readers_max ? ready : l->readers_max);
    return 0;
}

/* ---- Waiting ---- */

struct waiting {
    const struct shk_rwlock *lock;
    uint64_t turn;
};

/* Whether the turn is over for which the reader waits. */
static bool is_over(const void *arg)
{
    const struct waiting *w = arg;

    return shki_rw_turn_of(shki_rw_state_of(w->lock->shared)) != w->turn;
}

/* Sleep, unless the turn is over. False: a signal or the end of the interval has ended it. */
static bool sleep_as_reader(const struct waiting *w, const struct shki_deadline *deadline,
                            unsigned quiet, uint64_t writer)
{
    struct shki_rwlock_shared *shared = w->lock->shared;
    /* relaxed: the exchange checks it */
    uint64_t state = load_relaxed(&shared->state), asleep;
    struct timespec until;

    /* Relaxed: is_over() checks with RW3. Killed after: the flag stays until the turn ends. */
    do {
        if (shki_rw_turn_of(state) != w->turn)
            return true;
        asleep = state | SHKI_RW_NEED_WAKEUP;
    } while (!compare_exchange_weak_relaxed(&shared->state, &state, asleep));
    until = shki_deadline_recheck_at(deadline,
                                     shki_repair_enabled(SHKI_REPAIR_BACKSTOP)
                                         ? shki_recheck_interval(deadline, quiet, SHKI_DOUBLINGS)
                                         : SHKI_NO_RECHECK);
    /* Of a dead one another owner of the lock, or reader, is about to end the turn. */
    return shki_member_is_alive(w->lock->object.segment, writer)
               ? shki_sleep_beside(w->lock->object.segment, writer, &shared->state, asleep, &until)
               : shki_sleep_at(&shared->state, asleep, &until);
}

/*
 * By a reader that waits: the writer may be dead. True: its turn has been ended. `thoroughly`: the
 * kernel may not have marked the death, and the caller is about to give up.
 */
static bool recover_writer(struct shk_rwlock *l, const struct shki_member *m, bool thoroughly)
{
    struct shki_mutex *mutex = &l->shared->lock.mutex;
    uint64_t writer = load_relaxed(&mutex->holder); /* a hint: the mutex decides */

    if (thoroughly && writer != 0)
        shki_recover_one(l->object.segment, writer);
    if (shki_member_is_alive(l->object.segment, writer) || shki_mutex_trylock(mutex, m->id) < 0)
        return false;
    /* Killed from here on: a dead owner, and the next reader or writer comes here. */
    shki_rw_end_turn_of_dead(l->shared);
    store_relaxed(&mutex->holder, 0);
    shki_mutex_unlock(mutex);
    return true;
}

/* Whether it was unlinked in the turn that the reader has waited for. */
static bool was_unlinked_in(const struct shk_rwlock *l, uint64_t turn)
{
    uint64_t note = load_relaxed(&l->shared->unlinked_in);

    /* A note that comes late is that of an unlink that has not returned. */
    return note != 0 && shki_rw_turn_of(note) == turn;
}

/*
 * The turn is over: read, unless the writer of a later turn has taken that back, since the caller
 * did not run for long. False: wait for the end of that turn.
 */
static bool begin_to_read(struct shki_rwlock_reader *mine, struct waiting *w)
{
    uint64_t turn = w->turn;

    /* RW3: acquire and release: of this and the exchange of the writer one succeeds. */
    if (compare_exchange_acq_rel(&mine->waits, &turn, 0))
        return true;
    w->turn = turn;
    return false;
}

/* The mark is set, and `waits`: 0, and the caller reads; or why not. */
static int sleep_until_over(struct shk_rwlock *l, const struct shki_member *m, struct waiting *w,
                            const struct shki_deadline *deadline, bool deadlocks)
{
    struct shki_mutex *mutex = &l->shared->lock.mutex;
    uint64_t writer = 0;
    unsigned quiet = 0;
    bool ends;
    int r = 0;

    while (r == 0) {
        ends = shki_rw_has_to_end(l, deadline);
        /* Checked after that: what ended before the deadline has ended. */
        if (is_over(w) || (recover_writer(l, m, ends) && is_over(w))) {
            r = was_unlinked_in(l, w->turn) ? shki_stale(&l->object) : 0;
            if (r < 0 || begin_to_read(shki_rw_line_of(l, m), w))
                break;
            continue;
        }
        r = ends ? shki_rw_why_it_ends(l, deadline) : 0;
        if (r < 0)
            break;
        writer = load_relaxed(&mutex->holder); /* a hint: another one is found at a recheck */
        if (!sleep_as_reader(w, deadline, quiet, writer)) {
            quiet++;
            r = is_over(w) ? 0 : shki_rw_recheck(l, m, deadline, deadlocks);
        }
    }
    /* The kernel has woken one reader for the death, which may have been after the turn's end. */
    if (writer != 0 && (quiet > 0 || !shki_member_is_alive(l->object.segment, writer)))
        shki_wake_all_at(&l->shared->state);
    return r;
}

/*
 * Begin to wait for the end of a turn: which it is. RW3: that turn is not over after mark and
 * `waits` are visible; so each writer of a later turn finds them, with a light fence or without.
 * Killed anywhere: a dead reader.
 */
static uint64_t wait_for_turn(struct shki_rwlock_shared *shared, struct shki_rwlock_reader *mine,
                              uint64_t state)
{
    uint64_t turn;

    do {
        turn = shki_rw_turn_of(state);
        store_release(&mine->waits, turn);
        state = shki_rw_state_behind_fence(shared);
    } while (state & SHKI_RW_WRITER && shki_rw_turn_of(state) != turn);
    return turn;
}

/* The mark is set, and a writer has its turn. 0: it is over, and the caller reads. */
static int wait_for_writer(struct shk_rwlock *l, struct shki_member *m, uint64_t state,
                           int64_t timeout)
{
    struct shki_deadline deadline =
        shki_object_deadline(&l->object, timeout, "a member writes, or waits to");
    struct waiting w = {.lock = l};
    bool deadlocks = timeout == SHK_FOREVER && !l->shared->no_deadlock_check;
    bool sleeps;
    int r;

    w.turn = wait_for_turn(l->shared, shki_rw_line_of(l, m), state);
    shki_rw_tell_writer(l->shared);
    sleeps = !shki_deadline_has_passed(&deadline) && !shki_spin(&l->reads, is_over, &w);
    if (sleeps)
        shki_object_sleeps(&l->object, m, SHK_WAITS_TO_READ, shki_rw_waits_how(timeout, deadlocks));
    r = sleep_until_over(l, m, &w, &deadline, deadlocks);
    if (sleeps)
        shki_member_is_awake();
    return r;
}

/* ---- Entering ---- */

/* By a reader that has entered without the bias. */
static void count_unbiased(struct shki_rwlock_shared *shared, struct shki_rwlock_reader *mine,
                           uint64_t state)
{
    if (mine->seen != shki_rw_turn_of(state)) {
        mine->seen = shki_rw_turn_of(state);
        mine->unbiased = 0;
    }
    if (++mine->unbiased < UNBIASED_MAX || !shki_policy(SHKI_POLICY_BIAS))
        return;
    mine->unbiased = 0;
    /* Relaxed: a writer that does not see it has changed the state before, and this fails. */
    compare_exchange_relaxed(&shared->state, &state, state | SHKI_RW_BIASED);
}

/* The caller's mark is set; `state` was read behind the light fence. */
static __attribute__((noinline)) int enter_slow(struct shk_rwlock *l, struct shki_member *m,
                                                int64_t timeout, uint64_t state)
{
    struct shki_rwlock_reader *mine = shki_rw_line_of(l, m);
    int r = 0;

    if (!(state & (SHKI_RW_WRITER | SHKI_RW_BIASED))) {
        state = shki_rw_state_behind_fence(l->shared);
        if (!(state & SHKI_RW_WRITER))
            count_unbiased(l->shared, mine, state);
    }
    if (state & SHKI_RW_WRITER)
        r = shki_lock_is_mine(&l->lock, m)
                ? shki_object_say(&l->object, -EDEADLK,
                                  "the calling thread holds the rwlock exclusively")
                : wait_for_writer(l, m, state, timeout);
    if (r < 0) {
        shki_rw_leave(l, mine);
        return r;
    }
    m->held++;
    /* relaxed: a writer that could change it waits for the caller */
    return load_relaxed(&l->shared->state) & SHKI_RW_ORPHANED ? SHK_ORPHANED : 0;
}

/* By a reader. */
static int acquire_again(struct shk_rwlock *l, struct shki_rwlock_reader *mine)
{
    uint32_t again = load_relaxed(&mine->again); /* written by the caller alone */

    if (again >= AGAIN_MAX)
        return shki_object_say(&l->object, -EOVERFLOW,
                               "the calling thread has acquired the rwlock 2^31 times");
    store_relaxed(&mine->again, again + 1);
    return load_relaxed(&l->shared->state) & SHKI_RW_ORPHANED ? SHK_ORPHANED : 0;
}

/*
 * Set the mark, and see whether a writer has its turn. The thread may hold one more.
 */
static inline __attribute__((always_inline)) int enter(struct shk_rwlock *l, struct shki_member *m,
                                                       int64_t timeout)
{
    struct shki_rwlock_reader *mine = shki_rw_line_of(l, m);
    uint64_t state;

    /* What a dead member left: killed in here, the mark is a dead member's as before. */
    store_relaxed(&mine->waits, 0);
    store_relaxed(&mine->again, 0);
    /* RW1: release; the mark after `waits`. Killed after: a dead reader. */
    store_release(&mine->member, m->id);
    shki_fence_light(l->object.segment->asymmetric); /* RW1 */
    state = shki_rw_state_of(l->shared);
    if (unlikely((state & (SHKI_RW_WRITER | SHKI_RW_BIASED | SHKI_RW_ORPHANED)) != SHKI_RW_BIASED))
        return enter_slow(l, m, timeout, state);
    m->held++;
    return 0;
}

/* A thread's first call, a further acquire, and all errors. */
static __attribute__((noinline)) int acquire_shared_first(struct shk_rwlock *l, int64_t timeout)
{
    struct shki_member *m;
    int r = l ? shki_enter(&l->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, l, rwlock, acquire_shared, (l, timeout));
    if (shki_rw_reads(l, m))
        return acquire_again(l, shki_rw_line_of(l, m));
    if (m->index >= load_relaxed(&l->ready))
        r = shki_rw_prepare_line(l, m);
    if (r == 0)
        r = shki_held_more(m);
    if (r < 0)
        return r;
    shki_held_less(m); /* enter() counts it */
    return enter(l, m, timeout);
}

int shk_rwlock_acquire_shared(struct shk_rwlock *l, int64_t timeout)
{
    struct shki_member *m = l ? shki_member_cached(l->object.segment) : NULL;

    if (unlikely(!m || m->held == m->may_hold || shki_object_is_stale(&l->object) ||
                 shki_segment_is_closed(m->segment) || m->index >= load_relaxed(&l->ready) ||
                 load_relaxed(&shki_rw_line_of(l, m)->member) == m->id))
        return acquire_shared_first(l, timeout);
    return enter(l, m, timeout);
}
