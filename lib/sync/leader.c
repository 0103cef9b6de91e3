#include "sync/leader.h"

/*
 * A follower's interval doubles so often: 3.2 s at most. It covers the death of both leaders at
 * once.
 */
#define DOUBLINGS_MAX 5

static uint64_t leader(const struct shki_role *r, int i)
{
    return load_seq_cst(&r->leaders[i]); /* LF2 */
}

static int32_t process_of(const struct shki_role *r, uint64_t id)
{
    const struct shki_member_shared *m = shki_record_at(r->segment, shki_member_index(id));

    return m && shki_member_is_alive(r->segment, id) ? m->pid : 0;
}

/* Take a place that is free, or a dead leader's, if the other leader is of another process. */
static bool take_place(const struct shki_role *r)
{
    int32_t process = r->member->record->pid;

    for (int i = 0; i < 2; i++) {
        uint64_t id = leader(r, i);

        if (id == r->member->id)
            return true;
        if (process_of(r, id) == 0 && process_of(r, leader(r, 1 - i)) != process &&
            compare_exchange_seq_cst(&r->leaders[i], &id, r->member->id)) /* LF2 */
            return true;
    }
    return false;
}

int64_t shki_role_interval(struct shki_role *r, const struct shki_deadline *deadline)
{
    if (!shki_repair_enabled(SHKI_REPAIR_BACKSTOP) || deadline->is_recheck)
        return SHKI_NO_RECHECK;
    if (r->rechecks < SHKI_QUIET_RECHECKS) /* busy places have no leaders */
        return SHKI_RECHECK;
    if (!r->leads && !r->follows) {
        r->follows = true;
        fetch_add_seq_cst(r->followers, 1); /* LF1 */
    }
    if (!r->leads && take_place(r)) {
        r->leads = true;
        r->follows = false;
        fetch_sub_relaxed(r->followers, 1); /* relaxed: too many cost a needless wake-up */
    }
    if (r->leads)
        return SHKI_RECHECK;
    return shki_recheck_interval(deadline, r->rechecks, DOUBLINGS_MAX);
}

bool shki_role_end(struct shki_role *r)
{
    uint64_t id;

    if (r->follows)
        fetch_sub_relaxed(r->followers, 1); /* relaxed, as above */
    r->follows = false;
    if (!r->leads)
        return false;
    r->leads = false;
    for (int i = 0; i < 2; i++) {
        id = r->member->id;
        /* LF2 */
        compare_exchange_seq_cst(&r->leaders[i], &id, 0);
    }
    return load_seq_cst(r->followers) > 0; /* LF1 */
}

int32_t shki_role_process(const struct shki_role *r)
{
    int32_t process = process_of(r, leader(r, 0));

    return process ? process : process_of(r, leader(r, 1));
}
