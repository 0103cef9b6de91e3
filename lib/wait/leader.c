#include "wait/leader.h"

#define SHORT_SLICES 3 /* before a thread follows */
/* a follower's slice: at most 3.2 s. It covers the death of both leaders at once */
#define SHIFT_MAX 5

static uint64_t leader(const struct shki_role *r, int i)
{
    return atomic_load_explicit(&r->leaders[i], memory_order_seq_cst); /* L8 */
}

static int32_t process_of(const struct shki_role *r, uint64_t id)
{
    const struct shki_member *m = shki_member_at(r->segment, shki_member_index(id));

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
            atomic_compare_exchange_strong_explicit(&r->leaders[i], &id, r->member->id,
                                                    memory_order_seq_cst, memory_order_relaxed))
            return true;
    }
    return false;
}

int64_t shki_role_slice(struct shki_role *r, const struct shki_patience *patience)
{
    unsigned shift;

    /* A thread that is to be interrupted within a slice sleeps no longer than one. */
    if (r->slices < SHORT_SLICES || patience->interrupt || patience->call)
        return SHKI_SLICE;
    if (!r->leads && !r->follows) {
        r->follows = true;
        atomic_fetch_add_explicit(r->followers, 1, memory_order_seq_cst); /* L7 */
    }
    if (!r->leads && take_place(r)) {
        r->leads = true;
        r->follows = false;
        atomic_fetch_sub_explicit(r->followers, 1, memory_order_relaxed);
    }
    if (r->leads)
        return SHKI_SLICE;
    shift = r->slices - SHORT_SLICES + 1;
    return SHKI_SLICE << (shift < SHIFT_MAX ? shift : SHIFT_MAX);
}

bool shki_role_end(struct shki_role *r)
{
    uint64_t id;

    if (r->follows)
        atomic_fetch_sub_explicit(r->followers, 1, memory_order_relaxed);
    r->follows = false;
    if (!r->leads)
        return false;
    r->leads = false;
    for (int i = 0; i < 2; i++) {
        id = r->member->id;
        /* L8 */
        atomic_compare_exchange_strong_explicit(&r->leaders[i], &id, 0, memory_order_seq_cst,
                                                memory_order_relaxed);
    }
    return atomic_load_explicit(r->followers, memory_order_seq_cst) > 0; /* L7 */
}

int32_t shki_role_process(const struct shki_role *r)
{
    int32_t process = process_of(r, leader(r, 0));

    return process ? process : process_of(r, leader(r, 1));
}
