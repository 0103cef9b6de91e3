/* The number of a holder's turn: what tells a later holder from an earlier one. */
#include "object/lock.h"
#include "object/remote.h"

/*
 * Each holder's turn ends with a release, or is found to have ended with a death before the next
 * one begins. The sum of both counts turns, and costs an acquire nothing. The count of releases has
 * 32 bits: they are carried on from the token that was given last. Exactly 2^32 turns without a
 * call look like none.
 */
static uint64_t next_token(struct shki_lock_shared *shared)
{
    /* Relaxed, all: the holder alone changes them. */
    uint64_t last = load_relaxed(&shared->token);
    uint32_t turns = load_relaxed(&shared->mutex.releases) +
                     (uint32_t)load_relaxed(&shared->repairs.holders_lost) + 1;
    uint64_t token = last + (uint32_t)(turns - (uint32_t)last);

    /* Killed before or after: it is the next holder's that comes later. */
    store_relaxed(&shared->token, token);
    return token;
}

int shk_lock_token(struct shk_lock *l, uint64_t *token)
{
    struct shki_member *m = l ? shki_member_find(l->object.segment) : NULL;

    if (unlikely(!l))
        return SHKI_NO_HANDLE;
    if (unlikely(!token))
        return shki_say(-EINVAL, "the pointer to the token is NULL");
    if (unlikely(!shki_lock_is_mine(l, m)))
        return SHKI_ELSEWHERE(shki_lock_refuse(l), l, lock, token, (l, token));
    *token = next_token(l->shared);
    return 0;
}
