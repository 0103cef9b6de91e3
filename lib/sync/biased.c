#include "sync/biased.h"

#include "base/probe.h"
#include "segment/recover.h"

#include <errno.h>

/*
 * A member that locks so many times in a row becomes the owner: many enough that the heavy fence of
 * the revocation, which may follow at once, is a small part of what they cost. Bench row W1/8.
 */
#define BIAS_STREAK 64u
/*
 * ns: a revoker spins so long for an owner to leave; an operation on a small item is over by then
 */
#define REVOKE_SPIN 20000
/*
 * ns: a revoker that has given up sleeps so long before it tries again, twice as long each time …
 */
#define REVOKE_NAP 50000
/* … up to this: what it is late by when a stopped owner goes on */
#define REVOKE_NAP_MAX SHK_MS(5)

static const struct shki_member_shared *record_of(const struct shk_segment *s, uint64_t id)
{
    uint32_t index = shki_member_index(id);

    /* NULL: damaged bytes */
    return index < shki_members_ready(s) ? shki_record_at(s, index) : NULL;
}

bool shki_biased_is_in(const struct shki_biased *b, uint64_t id)
{
    const struct shki_member_shared *m = record_of(b->segment, id);

    /* BL2: acquire; pairs with the release of leave: what was done in the lock is visible. */
    return m && load_acquire(&m->biased_in) == b->offset && load_acquire(&m->id) == id;
}

bool shki_biased_owner_is_in(const struct shki_biased *b)
{
    /*
     * BL3: acquire; pairs with the releases in revoke_bias(). A member that is in the lock by its
     * bias is in `owner` or in `revoking`. Both read as 0: it has left, and what it did is visible.
     */
    uint64_t id = load_acquire(&b->shared->owner);

    if (id == 0)
        id = load_acquire(&b->shared->revoking);
    return id != 0 && shki_biased_is_in(b, id) && shki_member_is_alive(b->segment, id);
}

int32_t shki_biased_revoked_thread(const struct shki_biased *b)
{
    uint64_t id = load_relaxed(&b->shared->revoking); /* a hint */
    const struct shki_member_shared *m = record_of(b->segment, id);

    return id != 0 && m && shki_biased_is_in(b, id) ? m->tid : 0;
}

struct revoked {
    const struct shki_biased *biased;
    uint64_t id;
};

static bool has_left(const void *arg)
{
    const struct revoked *r = arg;

    return !shki_biased_is_in(r->biased, r->id);
}

static void count_loss(const struct shki_biased *b)
{
    SHKI_PROBE1(owner_died, b);
    fetch_add_relaxed(b->holders_lost, 1);
}

/*
 * With the mutex: see to it that no other member is in the lock. 0, or -EBUSY: a former owner does
 * not leave soon. Killed in here, or busy: `revoking` stays, and the next holder of the mutex comes
 * here.
 */
static int revoke_bias(const struct shki_biased *b, bool owner_died)
{
    struct shki_biased_shared *shared = b->shared;
    uint64_t owner = load_relaxed(&shared->owner);
    struct revoked r = {b, owner ? owner : load_relaxed(&shared->revoking)};
    bool is_in, is_alive;

    /*
     * Killed between the two: `owner` still names the owner, and the next holder revokes it. BL3:
     * release: a thread that reads that there is no owner reads `revoking`; pairs with the acquires
     * in shki_biased_owner_is_in().
     */
    store_relaxed(&shared->revoking, r.id);
    store_release(&shared->owner, 0);
    /* BL1: owner before the check of its record; pairs with the light fence of enter */
    shki_fence_heavy(b->segment->asymmetric);
    is_in = !has_left(&r) && !shki_spin_for(REVOKE_SPIN, has_left, &r);
    /*
     * After has_left(): a record that is used anew says "has left", and then that its former member
     * is dead: BL2 and ME2 in segment/member.c.
     */
    is_alive = shki_member_is_alive(b->segment, r.id);
    if (is_in && is_alive)
        return -EBUSY;
    if (!is_alive) {
        /* It may have been in the lock, though its record does not say so any more. */
        if (!owner_died && is_in)
            count_loss(b);
        b->repair(b->object, b);
    }
    store_release(&shared->revoking, 0); /* BL3 */
    return 0;
}

/*
 * The mutex is the caller's; its former holder died (owner_died is 1) or not (0). 0, or -EBUSY: the
 * mutex has been given back, since a former owner is in the lock.
 */
static int take_over(const struct shki_biased *b, const struct shki_member *m, int owner_died)
{
    uint64_t owner = load_relaxed(&b->shared->owner);
    int r = 0;

    /* The caller may itself be the member in `revoking`: it has left, and does not wait. */
    if (unlikely((owner != 0 && owner != m->id) || load_relaxed(&b->shared->revoking) != 0))
        r = revoke_bias(b, owner_died);
    if (r < 0) {
        /*
         * Given back, the mutex tells the next holder nothing of the dead one. The next holder need
         * not know. If the dead holder had not entered, the same former owner was in its way, and
         * there is nothing to repair. Or it is that former owner, a claimer, whose life the kernel
         * has not marked yet. `revoking` names it, so the next holder repairs.
         */
        shki_mutex_unlock(b->mutex);
        return r;
    }
    if (unlikely(owner_died)) {
        count_loss(b);
        b->repair(b->object, b);
        /* killed before: a dead holder's again */
        store_relaxed(&b->mutex->holder, 0);
    }
    /*
     * BL4: the mutex is held before the object's state is read; pairs with the heavy fence of a
     * thread that knows of a new state and then checks whether a member is in the lock: SD2.
     * Otherwise, on ARM, a producer could read that the queue is open before its lock is visible; a
     * consumer that finds the queue shut down and the lock free would take what it finds for the
     * last.
     */
    shki_fence_light_locked(b->segment->asymmetric);
    return 0;
}

int shki_biased_trylock(const struct shki_biased *b, struct shki_member *m)
{
    int r = shki_mutex_trylock(b->mutex, m->id);

    return r < 0 || take_over(b, m, r) < 0;
}

int shki_biased_lock(const struct shki_biased *b, struct shki_member *m,
                     struct shki_deadline *deadline, struct shki_spinner *spinner,
                     int (*recheck)(void *arg), void *arg)
{
    struct timespec nap = {.tv_nsec = REVOKE_NAP};
    int64_t checked = 0, now;
    int r;

    for (;;) {
        r = shki_mutex_lock(b->mutex, deadline, m->id, spinner, &b->segment->recovery, recheck,
                            arg);
        if (r >= 0)
            r = take_over(b, m, r);
        if (r != -EBUSY)
            return r;
        /*
         * A former owner, interrupted or stopped, is in the lock. The caller holds nothing
         * meanwhile.
         */
        shki_recover(b->segment); /* it may be dead */
        r = shki_deadline_check(deadline);
        now = shki_now();
        if (checked == 0) {
            checked = now;
        } else if (now - checked >= SHKI_RECHECK) {
            if (r == 0 && recheck)
                r = recheck(arg);
            if (r == 0)
                shki_deadline_slept(deadline);
            checked = now;
        }
        if (r < 0)
            return r;
        nanosleep(&nap, NULL);
        nap.tv_nsec = 2 * nap.tv_nsec < REVOKE_NAP_MAX ? 2 * nap.tv_nsec : REVOKE_NAP_MAX;
    }
}

void shki_biased_unlock(const struct shki_biased *b, struct shki_member *m)
{
    struct shki_biased_shared *shared = b->shared;
    uint32_t streak;

    /*
     * Relaxed, all of them: the mutex orders them. Killed around any: the streak is too short, and
     * a member must lock the mutex more often before it becomes the owner.
     */
    if (b->segment->asymmetric && load_relaxed(&shared->last) == m->id) {
        streak = load_relaxed(&shared->streak) + 1;
        store_relaxed(&shared->streak, streak);
        if (streak >= BIAS_STREAK && !shki_biased_is_forbidden(shared) &&
            shki_policy(SHKI_POLICY_BIAS))
            /* killed after: a dead owner */
            store_relaxed(&shared->owner, m->id);
    } else if (b->segment->asymmetric) {
        store_relaxed(&shared->last, m->id);
        store_relaxed(&shared->streak, 0);
    }
    shki_mutex_unlock(b->mutex);
}

void shki_biased_forbid(const struct shki_biased *b, const struct shki_member *m)
{
    struct shki_biased_shared *shared = b->shared;

    /* Relaxed: the mutex orders them. */
    store_relaxed(&shared->forbidden, 1);
    /* The caller itself may be the owner; other owners have been revoked when it got the mutex. */
    if (load_relaxed(&b->mutex->holder) != m->id)
        store_relaxed(&shared->owner, 0);
}

void shki_biased_allow(const struct shki_biased *b)
{
    store_relaxed(&b->shared->streak, 0);
    store_relaxed(&b->shared->forbidden, 0);
}
