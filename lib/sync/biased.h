/*
 * A biased lock: a robust mutex which the member that comes time after time enters without an
 * atomic read-modify-write.
 *
 * Source: biased locking (Kawachiya, Koseki, Onodera, OOPSLA 2002; Dice, Moir, Scherer, "Quickly
 * Reacquirable Locks", 2003; HotSpot), with the asymmetric fence of base/fence.h in place of a
 * safepoint. New here: either side may be killed at every instruction.
 *
 * What always holds:
 *   - A lock has at most one bias owner. Only a thread that holds the mutex writes `owner`, and it
 *     writes its own id or 0. So a member that reads its own id there is the only one that may
 *     enter without the mutex.
 *   - A member is in the lock in one of two cases. It holds the mutex, no other member is the
 *     owner, and `revoking` is 0. Or its biased_in is the offset of the lock, and it has read its
 *     own id in `owner` after it stored that. A claimer, which holds the mutex and is the owner,
 *     is in the lock only while its biased_in says so.
 *   - While `revoking` is not 0 no member becomes the owner. A holder of the mutex sees it cleared
 *     before it enters, or unlocks without having entered. So one field is enough: there is never a
 *     second former owner that may still be in the lock.
 *   - A living member's biased_in is written by its own thread alone. The thread that joins with a
 *     dead member's record clears it, after the id.
 *
 * The loop to write. The revoker holds the mutex, and finds another member's id in `owner`, or
 * `revoking` not 0.
 *
 *     owner                                        revoker
 *     owner == me? else lock the mutex             owner != 0? then revoking = owner
 *     BL1: biased_in = offset                      BL3: owner = 0
 *     BL1: light fence                             BL1: heavy fence
 *     BL1: owner == me? else biased_in = 0,        BL2: wait until the member in `revoking` has
 *          lock the mutex                               another biased_in, or is dead
 *     ... the operation ...                        dead: repair
 *     BL2: biased_in = 0                           BL3: revoking = 0
 *                                                  ... the operation ...
 *
 * The revoker waits at BL2 for REVOKE_SPIN with the mutex. Then it unlocks the mutex, sleeps (from
 * REVOKE_NAP to REVOKE_NAP_MAX), and locks it again. `revoking` tells the next holder of the mutex.
 * So a call may end one such sleep after its deadline.
 *
 * Why a late owner cannot overwrite what another member has written. An owner is late if it was
 * interrupted or stopped after a check of `owner` that has read its own id, and goes on when a
 * revoker has cleared `owner`. In a queue a late producer would copy its item into a slot that has
 * another one by then. A late consumer would store an old head, and items would be given out again.
 *
 * x86 and ARM64 may both execute the owner's load of `owner` before its store to biased_in is
 * visible. The light fence only keeps the compiler from that. The heavy fence ends it: it is a full
 * barrier in every running thread at some moment after `owner` was cleared; a thread that does not
 * run then passes one when it is scheduled. There are two cases.
 *   - The owner's second check comes after that moment. It reads 0, and does not enter.
 *   - The owner's second check came before it. Then the store to biased_in, which precedes that
 *     check, is visible to the revoker after the fence. The revoker waits until the owner leaves,
 *     however long that takes. A deadline ends the revoker's call, without the lock; it does not
 *     let a member in. So an owner that is stopped in the middle of a copy finds the slot as it
 *     left it when it goes on.
 * BL2 is a release, and the revoker's load is an acquire: what the owner has written in the lock is
 * visible to the revoker before the revoker writes.
 *
 * Why a killed owner cannot. A member counts as dead when its life mutex has been marked, which is
 * after the thread's last instruction: by the kernel at the death, or, where the kernel did not do
 * it, by a member that found that there is no such thread (segment/recover.h). Nothing is written
 * later, and all that was written is visible. Until the mark the revoker waits, as it does for a
 * stopped owner. Then it repairs what the dead one has left, as the next holder of a robust mutex
 * does.
 *
 * Killed where:
 *   - An owner before its second check, or after BL2: it was not in the lock.
 *   - An owner between them: it is dead and biased_in is the offset. The next holder of the mutex
 *     revokes, waits in vain for REVOKE_SPIN, finds the owner dead, and repairs. The owner's record
 *     may be another member's by then, and not say any more where the owner was. So the revoker
 *     repairs after every dead owner.
 *   - A revoker before `owner = 0`: the owner stays the owner.
 *   - A revoker after that and before `revoking = 0`, or out of time: the mutex is released and
 *     `revoking` stays. The next holder of the mutex executes the heavy fence and waits in its
 *     place.
 *   - A member between becoming the owner and unlocking: a dead owner.
 *
 * What another order would cause:
 *   - No second check: an owner that is held up between the first check and BL1 enters after the
 *     revoker has found it outside.
 *   - The second check before the store to biased_in, or no fence between them: the same.
 *   - `owner` cleared before `revoking` is set: a revoker killed between the two leaves no trace of
 *     an owner that may be inside.
 *   - "inside" kept in the lock and not in the member's record: an owner that is late in noticing
 *     that it was revoked clears the mark of the next owner.
 *
 * A state that members read in the lock, as whether a queue is shut down. A thread that has changed
 * it, or has read the new state, may have to know that no member which has read the old state is
 * still in the lock. It executes a heavy fence, and then checks whether the mutex is held or an
 * owner is in the lock. The other end is the fence of enter (BL1), or the light fence behind the
 * locking of the mutex (BL4). Either the member reads the new state, or the thread finds the member
 * in the lock. For a queue that thread is a consumer: SD2 in queue/state.h.
 *
 * A member with the mutex may grant itself the bias and keep both (a claim): no revoker gets the
 * mutex, so no revoker comes.
 *
 * The model: tests/model/biased.pml.
 */
#ifndef SHKI_BIASED_H
#define SHKI_BIASED_H

#include "base/fence.h"
#include "segment/member.h"
#include "sync/layout.h"

/* A biased lock as this process sees it. All of it is written before the first call. */
struct shki_biased {
    struct shk_segment *segment;
    struct shki_mutex *mutex;
    struct shki_biased_shared *shared;
    uint64_t offset;                /* the value of biased_in while a member is in this lock */
    _Atomic uint64_t *holders_lost; /* counts members that died in the lock */
    /*
     * Repair what a member that died in the lock has left. The caller holds the mutex and no living
     * member is in the lock. Killed anywhere in it: it is called once more.
     */
    void (*repair)(void *object, const struct shki_biased *);
    void *object;
};

/*
 * Enter by the bias, where the segment has asymmetric fences: true if the caller is the owner. If
 * not, the caller must leave, and lock the mutex. `owner` is not checked before the store. So for a
 * moment a caller that is not the owner has the biased_in of a member that is in the lock. A
 * revoker reads the record of the member in `revoking` alone. If that is another member, the store
 * changes nothing. If it is the caller, a former owner, the revoker waits until the caller leaves.
 * A former owner that is killed in that moment is counted as lost in the lock, though it was not in
 * it.
 */
static inline __attribute__((always_inline)) bool
shki_biased_enter_fast(const struct shki_member *m, const struct shki_biased_shared *shared,
                       uint64_t offset)
{
    /*
     * BL2: release. A revoker of another lock, which the caller has been in before, may read this
     * offset in place of the 0 of the leave. It takes the caller for one that has left, so what the
     * caller did there must be visible.
     */
    store_release(&m->record->biased_in, offset);
    /* BL1: biased_in before the check of owner; pairs with the heavy fence of a revoker */
    shki_fence_light(true);
    /*
     * Relaxed is enough: since the caller made itself the owner, with the mutex, no other member
     * has been in the lock. So all that it reads there it has written or acquired itself.
     */
    return likely(load_relaxed(&shared->owner) == m->id);
}

static inline __attribute__((always_inline)) void shki_biased_leave(const struct shki_member *m)
{
    /* BL2: release: what was done in the lock; pairs with the acquire in shki_biased_is_in() */
    store_release(&m->record->biased_in, 0);
}

/* Enter by the bias, or not: then nothing has been done. */
static inline __attribute__((always_inline)) bool
shki_biased_enter(const struct shki_member *m, const struct shki_biased_shared *shared,
                  uint64_t offset, bool asymmetric)
{
    /* Relaxed: a hint. The second check decides. */
    if (unlikely(load_relaxed(&shared->owner) != m->id))
        return false;
    store_release(&m->record->biased_in, offset); /* BL2, as above */
    shki_fence_light(asymmetric);                 /* BL1, as above */
    if (likely(load_relaxed(&shared->owner) == m->id))
        return true;
    shki_biased_leave(m);
    return false;
}

/* Try to enter by the mutex: 0; 1: another member is in the lock. */
int shki_biased_trylock(const struct shki_biased *, struct shki_member *);

/*
 * Enter by the mutex, however long it takes: 0; what shki_mutex_lock() returns at the end of the
 * deadline; what `recheck`, if not NULL, returns after a recheck interval, unless that is 0.
 */
int shki_biased_lock(const struct shki_biased *, struct shki_member *, struct shki_deadline *,
                     struct shki_spinner *, int (*recheck)(void *arg), void *arg);

/*
 * Unlock the mutex. A caller that has locked it BIAS_STREAK times in a row becomes the owner, if
 * the segment has asymmetric fences.
 */
void shki_biased_unlock(const struct shki_biased *, struct shki_member *);

/*
 * No member becomes the owner until it is allowed again. The caller has the mutex. A claimer may
 * call it, and stays the owner; any other bias ends. Killed in it: it is forbidden, or it is not.
 */
void shki_biased_forbid(const struct shki_biased *, const struct shki_member *);
void shki_biased_allow(const struct shki_biased *);

/* Whether it is forbidden. Relaxed: with the mutex it is exact, without it a hint. */
static inline bool shki_biased_is_forbidden(const struct shki_biased_shared *shared)
{
    return unlikely(load_relaxed(&shared->forbidden));
}

/* Whether the member is in the lock by the bias. Acquire: BL2. */
bool shki_biased_is_in(const struct shki_biased *, uint64_t id);

/*
 * Whether an owner, or a former one, that is alive is in the lock. The caller has executed a heavy
 * fence, and then read that the mutex is free.
 */
bool shki_biased_owner_is_in(const struct shki_biased *);

/* The thread of a former owner that has not left the lock yet; 0: none. A hint. */
int32_t shki_biased_revoked_thread(const struct shki_biased *);

#endif
