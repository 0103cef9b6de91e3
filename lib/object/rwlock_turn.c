/* What readers and writers of a rwlock have in common: see rwlock.c for the protocol. */
#include "object/rwlock.h"

#include "segment/recover.h"
#include "sync/park.h"

/* ---- The end of a turn ---- */

/*
 * With the lock among writers: the turn is over. RW3: release; publishes what was written. Killed
 * after: a reader that sleeps beside the dead writer wakes the others.
 */
void shki_rw_end_turn(struct shki_rwlock_shared *shared)
{
    uint64_t state = load_relaxed(&shared->state), end; /* the exchange checks it */

    /* For take_back(), a hint: a reader that falls asleep just now may wait for one turn more. */
    if (state & SHKI_RW_NEED_WAKEUP)
        store_relaxed(&shared->ended, shki_now());
    do
        end = state & ~(uint64_t)(SHKI_RW_WRITER | SHKI_RW_WRITING | SHKI_RW_NEED_WAKEUP);
    while (!compare_exchange_weak_release(&shared->state, &state, end));
    if (state & SHKI_RW_NEED_WAKEUP)
        shki_wake_all_at(&shared->state);
}

/*
 * With the lock among writers, of a turn that has not begun: WRITER is that of a dead one. Killed
 * anywhere before the end of the turn: the next owner does all of it once more.
 */
void shki_rw_end_turn_of_dead(struct shki_rwlock_shared *shared)
{
    uint64_t state = load_relaxed(&shared->state);

    if (!(state & SHKI_RW_WRITER))
        return;
    if (state & SHKI_RW_WRITING && shki_repair_enabled(SHKI_REPAIR_OWNER_DIED))
        fetch_or_relaxed(&shared->state, SHKI_RW_ORPHANED);
    fetch_add_relaxed(&shared->repairs.holders_lost, 1);
    shki_rw_end_turn(shared);
}

/* ---- Leaving ---- */

/* Killed before it wakes the writer: that sleeps beside the dead reader. */
void shki_rw_tell_writer(struct shki_rwlock_shared *shared)
{
    uint64_t exits = load_relaxed(&shared->exits); /* the exchange checks it */

    /* RW4: release; the line was changed before; pairs with the acquire in sleep_until_drained() */
    while (!compare_exchange_weak_release(&shared->exits, &exits, (exits + 2) & ~UINT64_C(1)))
        ;
    if (exits & 1)
        shki_wake_all_at(&shared->exits);
}

void shki_rw_leave_slow(struct shki_rwlock_shared *shared, uint64_t state)
{
    if (!(state & SHKI_RW_WRITER))
        state = shki_rw_state_behind_fence(shared);
    if (state & SHKI_RW_WRITER)
        shki_rw_tell_writer(shared);
}

/* ---- The end of a wait ---- */

int shki_rw_recheck(struct shk_rwlock *l, const struct shki_member *m,
                    const struct shki_deadline *deadline, bool deadlocks)
{
    shki_deadline_slept(deadline);
    shki_recover(l->object.segment);
    shki_segment_is_lost(l->object.segment); /* it is stale then */
    return deadlocks ? shki_deadlock_check(&l->object, m) : 0;
}

enum shki_waits_how shki_rw_waits_how(int64_t timeout, bool deadlocks)
{
    return deadlocks                ? SHKI_WAITS_CHECKED
           : timeout != SHK_FOREVER ? SHKI_WAITS_TIMED
                                    : SHKI_WAITS_UNCHECKED;
}

bool shki_rw_has_to_end(const struct shk_rwlock *l, const struct shki_deadline *deadline)
{
    return shki_object_is_stale(&l->object) || shki_deadline_has_passed(deadline);
}

int shki_rw_why_it_ends(const struct shk_rwlock *l, const struct shki_deadline *deadline)
{
    return shki_object_is_stale(&l->object) ? shki_stale(&l->object)
                                            : shki_deadline_check(deadline);
}
