#include "queue/lease_records.h"

#include "base/deadline.h"
#include "base/error.h"
#include "base/thread.h"
#include "segment/process.h"

/* For the next member with the lock the order of the program is enough: see ordered.h. */
#define step() atomic_signal_fence(memory_order_seq_cst)

/* ---- Records ---- */

static struct shki_lease_walk walk(const struct shk_queue *q, const _Atomic uint64_t *words)
{
    return (struct shki_lease_walk){.q = q, .words = words, .n = shki_lease_words(q)};
}

/* Whether the record, which may be any, has memory: a bit that damage has set leads nowhere. */
static bool has_memory(const struct shk_queue *q, uint32_t index)
{
    return index < q->lease_limit &&
           shki_list_has(q, &q->lease_list, index / q->lease_list.per_chunk);
}

struct shki_lease_walk shki_lease_walk_out(const struct shk_queue *q)
{
    return walk(q, q->leases->out);
}

struct shki_lease_walk shki_lease_walk_back(const struct shk_queue *q)
{
    return walk(q, q->leases->back);
}

bool shki_lease_next(struct shki_lease_walk *w, uint32_t *index)
{
    do {
        while (w->bits == 0 && w->next < w->n)
            /* LS2: acquire; pairs with the release in set_bit(): the record has been written. */
            w->bits = load_acquire(&w->words[w->next++]);
        if (w->bits == 0)
            return false;
        *index = (w->next - 1) * 64 + (uint32_t)__builtin_ctzll(w->bits);
        w->bits &= w->bits - 1;
    } while (unlikely(!has_memory(w->q, *index)));
    return true;
}

bool shki_lease_is_out(const struct shk_queue *q, uint32_t index)
{
    return index < q->lease_limit && index / 64 < shki_lease_words(q) &&
           load_acquire(&q->leases->out[index / 64]) >> index % 64 & 1 && /* LS2 */
           has_memory(q, index);
}

struct shki_lease_shared *shki_lease_at(const struct shk_queue *q, uint32_t index)
{
    const struct shki_list *list = &q->lease_list;

    return (struct shki_lease_shared *)(void *)(shki_list_at(q, list, index / list->per_chunk) +
                                                index % list->per_chunk * list->slot);
}

static void set_bit(_Atomic uint64_t *words, uint32_t index)
{
    fetch_or_release(&words[index / 64], UINT64_C(1) << index % 64); /* LS2 */
}

static void clear_bit(_Atomic uint64_t *words, uint32_t index)
{
    fetch_and_release(&words[index / 64], ~(UINT64_C(1) << index % 64)); /* LS3 */
}

/* ---- Loads only ---- */

uint64_t shki_leases_out(const struct shk_queue *q)
{
    struct shki_lease_walk w = shki_lease_walk_out(q);
    uint64_t n = 0;

    for (uint32_t i; shki_lease_next(&w, &i);)
        n += shki_lease_state_of(shki_lease_load(shki_lease_at(q, i))) != SHKI_LEASE_FREE;
    return n;
}

uint64_t shki_leases_bytes(const struct shk_queue *q)
{
    struct shki_lease_walk w = shki_lease_walk_out(q);
    uint64_t bytes = 0;

    for (uint32_t i; shki_lease_next(&w, &i);) {
        const struct shki_lease_shared *r = shki_lease_at(q, i);

        if (shki_lease_state_of(shki_lease_load(r)) != SHKI_LEASE_FREE)
            bytes += shki_slot_length(load_relaxed(&r->item.word)); /* LS1 orders it */
    }
    return bytes;
}

uint64_t shki_leases_back(const struct shk_queue *q)
{
    struct shki_lease_walk w = shki_lease_walk_back(q);
    uint64_t n = 0;

    for (uint32_t i; shki_lease_next(&w, &i);)
        n += shki_lease_state_of(shki_lease_load(shki_lease_at(q, i))) == SHKI_LEASE_BACK;
    return n;
}

int64_t shki_lease_due(const struct shk_queue *q)
{
    struct shki_lease_walk w = shki_lease_walk_back(q);
    int64_t earliest = SHKI_NEVER, due;

    for (uint32_t i; shki_lease_next(&w, &i);) {
        const struct shki_lease_shared *r = shki_lease_at(q, i);

        if (shki_lease_state_of(shki_lease_load(r)) != SHKI_LEASE_BACK)
            continue;
        due = load_relaxed(&r->due); /* LS1 orders it */
        if (due < earliest)
            earliest = due;
    }
    return earliest;
}

bool shki_lease_is_due(const struct shk_queue *q)
{
    int64_t due = shki_lease_words(q) == 0 ? SHKI_NEVER : shki_lease_due(q);

    return due != SHKI_NEVER && (due == 0 || due <= shki_now());
}

/* ---- Without a lock ---- */

void shki_lease_is_back(struct shk_queue *q, uint32_t index)
{
    set_bit(q->leases->back, index);
    /* Killed before: a sleeper finds the item at the end of its recheck interval. */
    fetch_add_release(&q->shared->leases.changes, 1); /* LS5 */
}

void shki_lease_ended(struct shk_queue *q, uint32_t index)
{
    clear_bit(q->leases->out, index);
}

/* What identifies the calling thread's process, also if it has no row. */
static void identify(struct shk_queue *q, uint32_t *row, uint64_t *process)
{
    if (!shki_process_self(q->object.segment, row, process)) {
        *row = SHKI_NO_ROW;
        *process = 0;
    }
}

bool shki_lease_is_own(struct shk_queue *q, const struct shki_member *m,
                       const struct shki_lease_shared *r)
{
    uint64_t process;
    uint32_t row;

    identify(q, &row, &process);
    return load_relaxed(&r->row) == row && load_relaxed(&r->process) == process &&
           load_relaxed(&r->pid) == m->record->pid;
}

/* Most often one load of the state of the thread that leased. */
static bool owner_is_over(const struct shk_queue *q, const struct shki_lease_shared *r)
{
    struct shk_segment *s = q->object.segment;
    uint32_t row = load_relaxed(&r->row);

    if (shki_member_is_alive(s, load_relaxed(&r->member)))
        return false;
    if (row != SHKI_NO_ROW)
        return shki_process_is_over(s, row, load_relaxed(&r->process));
    return shki_process_has_ended(load_relaxed(&r->pid));
}

/* Whether this caller is to search now. */
static bool is_due_to_check(struct shk_queue *q, int64_t now)
{
    _Atomic int64_t *at = &q->shared->leases.checked_at;
    int64_t last = load_relaxed(at);

    /* A time in the future was written in another time namespace. */
    if (now - last < SHKI_RECHECK / 2 && last <= now)
        return false;
    /* Relaxed: it only says when. Killed after: the next search is half a SHKI_RECHECK later. */
    return compare_exchange_relaxed(at, &last, now);
}

/* Whether the item has come back, or would, if a member went through the get lock. */
static bool check_one(struct shk_queue *q, uint32_t index)
{
    struct shki_lease_shared *r = shki_lease_at(q, index);
    uint64_t word = shki_lease_load(r);

    switch (shki_lease_state_of(word)) {
    case SHKI_LEASE_LEASED:
    case SHKI_LEASE_RETURNING:
        if (!owner_is_over(q, r)) /* read while the state is the same: LS1 */
            return false;
        /* LS4: acquire, after the state; pairs with the release in shki_lease_changed(). */
        if (load_acquire(&q->shared->leases.changing) == index + 1)
            return true;
        /* Killed after: as in nack. Fails if another member was faster. */
        if (!compare_exchange_acq_rel(&r->state, &word, shki_lease_word(word, SHKI_LEASE_BACK)))
            return false;
        shki_lease_is_back(q, index);
        return true;
    case SHKI_LEASE_BACK:
        if (load_relaxed(&q->leases->back[index / 64]) >> index % 64 & 1)
            return false;
        shki_lease_is_back(q, index);
        return true;
    default:
        return false;
    }
}

static bool is_enabled(const struct shk_queue *q)
{
    return shki_lease_words(q) > 0 && shki_repair_enabled(SHKI_REPAIR_FORWARD);
}

static bool search(struct shk_queue *q)
{
    struct shki_lease_walk w = shki_lease_walk_out(q);
    bool found = false;

    for (uint32_t i; shki_lease_next(&w, &i);)
        found |= check_one(q, i);
    return found;
}

bool shki_lease_check(struct shk_queue *q)
{
    return is_enabled(q) && is_due_to_check(q, shki_now()) && search(q);
}

bool shki_lease_check_at(struct shk_queue *q, int64_t now)
{
    bool is_due = is_enabled(q) && is_due_to_check(q, now);

    if (unlikely(is_due))
        search(q);
    return is_due;
}

/* ---- With the get lock ---- */

/* LS4: the record that the caller is about to change. */
static void begin_change(struct shk_queue *q, uint32_t index)
{
    store_relaxed(&q->shared->leases.changing, index + 1); /* LS1 publishes it */
    step();
}

void shki_lease_changed(struct shk_queue *q)
{
    store_release(&q->shared->leases.changing, 0); /* LS4 */
}

/* The lease is the calling thread's process's; the record is FREE or BACK. Returns the new word. */
static uint64_t fill_owner(struct shk_queue *q, struct shki_member *m, struct shki_lease_shared *r)
{
    uint64_t process, number = (load_relaxed(&r->state) >> 2) + 1;
    uint32_t row;

    identify(q, &row, &process);
    /* Relaxed, all of them: LS1 publishes them. */
    store_relaxed(&r->member, m->id);
    store_relaxed(&r->process, process);
    store_relaxed(&r->row, row);
    store_relaxed(&r->pid, m->record->pid);
    store_relaxed(&r->since, shki_now());
    store_relaxed(&r->due, 0);
    /* Killed before LS1: the item has one attempt too many. */
    store_relaxed(&r->attempts, load_relaxed(&r->attempts) + 1);
    return number << 2 | SHKI_LEASE_LEASED;
}

uint64_t shki_lease_ticket(const struct shk_queue *q, uint64_t word, uint32_t index)
{
    return q->object.serial << SHKI_LEASE_SERIAL |
           (word >> 2 << SHKI_LEASE_BITS & SHKI_LEASE_NUMBER) | index;
}

uint64_t shki_lease_hand_out(struct shk_queue *q, struct shki_member *m, uint32_t index)
{
    struct shki_lease_shared *r = shki_lease_at(q, index);
    uint64_t word = fill_owner(q, m, r);

    /* LS1: release: commits. Killed before: the item is still BACK. After: a dead owner's lease. */
    store_release(&r->state, word);
    clear_bit(q->leases->back, index);
    return shki_lease_ticket(q, word, index);
}

/* A number whose bit is clear, or the limit. */
static uint32_t find_free(const struct shk_queue *q)
{
    for (uint32_t i = 0; i < (q->lease_limit + 63) / 64; i++) {
        /* LS3: acquire; pairs with clear_bit(): the former owner has done with the record. */
        uint64_t free = ~load_acquire(&q->leases->out[i]);
        uint32_t index = i * 64 + (free ? (uint32_t)__builtin_ctzll(free) : 64);

        if (free)
            return index < q->lease_limit ? index : q->lease_limit;
    }
    return q->lease_limit;
}

/* Memory for the bits, once per process: shared memory may have been taken since. */
static int allocate_area(struct shk_queue *q)
{
    struct shk_segment *s = q->object.segment;
    int r;

    if (q->leases_have_memory)
        return 0;
    r = shki_allocate(s, (uint64_t)((unsigned char *)q->leases - s->base), sizeof(*q->leases),
                      false);
    q->leases_have_memory = r == 0;
    return r < 0 ? shki_no_memory(q, r) : 0;
}

/* A slot may be much larger than the item: memory for that alone. It stays. */
static int room_for_large(struct shk_queue *q, uint32_t index, size_t length)
{
    struct shki_list *list = &q->lease_list;
    uint64_t chunk = index / list->per_chunk,
             from = (chunk << list->shift) + index % list->per_chunk * list->slot;
    int r = shki_list_prepare(q, list, chunk);

    if (r == 0 && !shki_list_has(q, list, chunk))
        r = shki_list_take(q, list, chunk);
    if (r == 0)
        r = shki_list_allocate(q, list, from, from + sizeof(struct shki_lease_shared) + length);
    if (r == 0)
        store_relaxed(&shki_lease_at(q, index)->attempts, 0);
    return r < 0 ? r : 1;
}

int shki_lease_room(struct shk_queue *q, size_t length, uint32_t *index)
{
    struct shki_list *list = &q->lease_list;
    uint64_t bytes;
    int r = allocate_area(q);

    if (r < 0)
        return r;
    if (length > q->item_most)
        return shki_damaged_item(q, length);
    *index = find_free(q);
    if (q->lease_limit == 0)
        return shki_fail(-ENOSPC,
                         "%s/%s: nothing can be leased: a lease needs room for the largest item, "
                         "and %llu bytes are too much for a segment of %llu",
                         q->object.segment->name, q->object.name, (unsigned long long)q->item_most,
                         (unsigned long long)q->object.segment->size);
    if (*index == q->lease_limit)
        return shki_fail(-ENOSPC,
                         "%s/%s: %u items are leased and not acknowledged, as many as there can be",
                         q->object.segment->name, q->object.name, q->lease_limit);
    if (list->slot > SHKI_BLOCK / 4)
        return room_for_large(q, *index, length);
    bytes = (*index / list->per_chunk << list->shift) + (*index % list->per_chunk + 1) * list->slot;
    r = shki_list_reaches(list, bytes) ? 1 : shki_list_grow(q, list, bytes);
    if (r > 0 && unlikely(!has_memory(q, *index)))
        return shki_damaged_place(q);
    if (r > 0)
        store_relaxed(&shki_lease_at(q, *index)->attempts, 0);
    return r;
}

/* The word that commits a get of the order, as it is now. */
static uint64_t commit_word(const struct shk_queue *q)
{
    return q->order == SHK_FIFO ? load_relaxed(&q->shared->head)
                                : load_relaxed(&q->shared->ordered.state) & ~SHKI_INTENT_MASK;
}

uint64_t shki_lease_new(struct shk_queue *q, struct shki_member *m, uint32_t index)
{
    struct shki_leases_shared *leases = &q->shared->leases;
    struct shki_lease_shared *r = shki_lease_at(q, index);
    uint64_t word;

    store_relaxed(&r->order, leases->order++); /* killed after: a number that no item has */
    word = fill_owner(q, m, r);
    leases->before = commit_word(q);
    step();
    begin_change(q, index);
    /* Killed from here on and before the get commits: shki_lease_repair() frees the record. */
    store_release(&r->state, word); /* LS1 */
    if (load_relaxed(&q->shared->lease_words) <= index / 64)
        store_release(&q->shared->lease_words, index / 64 + 1); /* LS2 */
    set_bit(q->leases->out, index);
    step();
    return shki_lease_ticket(q, word, index);
}

void shki_lease_free(struct shk_queue *q, uint32_t index)
{
    struct shki_lease_shared *r = shki_lease_at(q, index);

    begin_change(q, index);
    /* LS1: release: commits. Killed before: it is still BACK. After: the item is gone. */
    store_release(&r->state, shki_lease_word(load_relaxed(&r->state), SHKI_LEASE_FREE));
    clear_bit(q->leases->back, index);
    clear_bit(q->leases->out, index);
    step();
    shki_lease_changed(q);
}

void shki_lease_not_back(struct shk_queue *q, uint32_t index)
{
    clear_bit(q->leases->back, index);
    atomic_thread_fence(memory_order_seq_cst);
    /* It may have come back meanwhile, and its bit have been set before it was cleared. */
    if (shki_lease_state_of(shki_lease_load(shki_lease_at(q, index))) == SHKI_LEASE_BACK)
        set_bit(q->leases->back, index);
}

bool shki_lease_none(struct shk_queue *q)
{
    struct shki_lease_walk w = shki_lease_walk_out(q);
    bool none = true;

    for (uint32_t i; shki_lease_next(&w, &i);) {
        const struct shki_lease_shared *r = shki_lease_at(q, i);

        if (shki_lease_state_of(shki_lease_load(r)) == SHKI_LEASE_FREE && owner_is_over(q, r))
            clear_bit(q->leases->out, i);
        else
            none = false;
    }
    return none;
}

void shki_lease_repair(struct shk_queue *q)
{
    struct shki_leases_shared *leases = &q->shared->leases;
    uint32_t index = load_relaxed(&leases->changing) - 1;
    struct shki_lease_shared *r;
    uint64_t word;

    if (!has_memory(q, index) || !shki_repair_enabled(SHKI_REPAIR_FINISH_QUEUE))
        return;
    r = shki_lease_at(q, index);
    word = load_relaxed(&r->state);
    /* Killed anywhere in here: done once more by the next member with the lock. */
    if (shki_lease_state_of(word) == SHKI_LEASE_LEASED && leases->before == commit_word(q))
        word = shki_lease_word(word, SHKI_LEASE_FREE); /* its item is still in the store */
    if (shki_lease_state_of(word) == SHKI_LEASE_FREE) {
        store_release(&r->state, word); /* LS1 */
        clear_bit(q->leases->back, index);
        clear_bit(q->leases->out, index);
        step();
    }
    shki_lease_changed(q);
}
