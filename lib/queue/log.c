#include "queue/log.h"

static uint64_t recycled_of(uint64_t memory)
{
    return shki_log_mapped(memory) - (memory & SHKI_CHUNKS_MAX);
}

int shki_log_map(struct shk_queue *q, uint32_t n)
{
    struct shki_queue_shared *shared = q->shared;
    /* ours: the lock orders it */
    uint64_t memory = load_relaxed(&shared->put_lock.chunks);
    uint64_t mapped = shki_log_mapped(memory), recycled = recycled_of(memory);
    /*
     * CH4: acquire; pairs with the release in shki_log_give_back(): no consumer touches the spare
     * chunks any more.
     */
    uint64_t released = load_acquire(&shared->get_lock.chunks);
    bool spare = false;
    int r;

    if (released > mapped || n > q->chunks)
        return released > mapped ? shki_damaged_place(q) : shki_too_many(q);
    r = shki_list_prepare(q, shki_log_of(q), mapped);
    if (r < 0)
        return r;
    /* Those that are the pool's again; and one that a dead producer has renamed already. */
    for (; recycled < released; recycled++) {
        if (!shki_list_has(q, shki_log_of(q), recycled))
            continue;
        if (n == 1)
            break;
        shki_list_give(q, shki_log_of(q), recycled); /* killed after: as if a consumer had */
    }
    /*
     * killed up to CH3: the next member with the lock finds the blocks under the new number, or
     * where they were
     */
    if (n > 1) {
        r = shki_list_take_run(q, shki_log_of(q), mapped, n);
    } else if (recycled < released && !shki_list_has(q, shki_log_of(q), mapped)) {
        r = shki_list_rename(q, shki_log_of(q), recycled, mapped);
        recycled++;
        spare = true;
    } else {
        r = shki_list_take(q, shki_log_of(q), mapped);
    }
    if (r < 0)
        return r;
    /* CH3: release: commits. Killed after: the chunks are the next producer's. */
    store_release(&shared->put_lock.chunks,
                  (mapped + n) << SHKI_NOT_RECYCLED_BITS | (mapped + n - recycled));
    return spare;
}

int shki_log_give_memory(struct shk_queue *q, uint64_t at, uint64_t to)
{
    struct shki_places *places = &q->shared->put_places;
    bool goes_on = places->memory_from <= at && at <= places->memory_to;
    uint64_t begin = at - (at & q->chunk_mask), from = goes_on ? places->memory_to : begin;
    int r = shki_list_allocate(q, shki_log_of(q), from, to);

    if (r < 0)
        return r;
    /* killed anywhere in here: given once more */
    if (!goes_on) {
        places->memory_to = 0;
        atomic_signal_fence(memory_order_seq_cst);
        places->memory_from = begin;
        atomic_signal_fence(memory_order_seq_cst);
    }
    places->memory_to = to;
    return 0;
}

int shki_log_need_memory(struct shk_queue *q, uint64_t at, uint64_t end)
{
    /* CH4, relaxed: it tells only about how much there is. */
    uint64_t first = load_relaxed(&q->shared->get_lock.chunks) << q->shift;
    uint64_t to = shki_list_memory(end, at > first ? at - first : 0, q->chunk_mask + 1);
    uint64_t last = shki_round_up(end, q->chunk_mask + 1);

    return shki_log_give_memory(q, at, to < last ? to : last);
}

void shki_log_give_back(struct shk_queue *q, uint64_t at)
{
    struct shki_queue_shared *shared = q->shared;
    /* ours: the lock orders it */
    uint64_t released = load_relaxed(&shared->get_lock.chunks);
    uint64_t upto = at >> q->shift;

    for (; released < upto && upto - released <= q->chunks; released++) {
        /* CH3, relaxed: it tells only about how many spare ones there are. */
        uint64_t recycled = recycled_of(load_relaxed(&shared->put_lock.chunks));

        if (released - recycled >= q->spare)
            shki_list_give(q, shki_log_of(q), released);
        /* CH4: release; pairs with the acquire in shki_log_map() */
        store_release(&shared->get_lock.chunks, released + 1);
    }
}
