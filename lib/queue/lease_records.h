/*
 * Leased items: a record for each item that a consumer has leased and not acknowledged, and what
 * has to know of the records without being one of the calls (lease.c).
 *
 * Source: the visibility timeout of Amazon SQS and the acknowledgements of AMQP, with the death of
 * the consumer's process in place of a timeout.
 *
 * What always holds. An item is in the store of its order, or in one record that is not FREE, or
 * gone. The state of the record says where a leased item is:
 *
 *              lease                      ack
 *     FREE -----------------> LEASED -----------------> FREE
 *                              | ^
 *         nack: RETURNING, or  | | lease
 *         the owner has died   v |
 *                             BACK -----------> FREE
 *                                      get
 *
 * One store of the state, LS1, ends a lease, gives an item back, or hands it out again. The first
 * lease of an item is committed by the store that commits a get of the order (RQ2, CH2, OR1).
 *
 *     lease, with the get lock               ack, nack: without a lock, by the owner's process
 *     a free record: LS3: its bit is clear   LS1: LEASED -> FREE               (nack: RETURNING)
 *     changing = its number                  LS3: clear the bit `out`          (due, attempts)
 *     copy the item there, LS1: LEASED       notify                            (LS1: BACK)
 *     LS2: set the bit `out`                                                   (set the bit `back`)
 *     RQ2, CH2, OR1: the get                                                   (LS5: changes++)
 *     LS4: changing = 0                                                        (notify)
 *
 * The bits only say where to look: a record whose bit is clear is not in use. A bit may be set
 * though the record is FREE, or not BACK; the state decides.
 *
 * LS2: the bit is set before the get commits. A thread that reads the count of gets first (acquire)
 * and the bits after it misses no item: it finds an item in the store, in a record, or for a moment
 * in both. So a producer that takes what is leased for items in the queue never puts too many, and
 * a join never returns while an item is between the two.
 *
 * LS3: the owner clears the bit when it has nothing more to do with the record: a release, which
 * pairs with the acquire of the consumer that uses the record anew. If the consumer with the lock
 * cleared the bit of a record that it finds FREE, an owner that is late would clear it a second
 * time, and a new lease would be lost. It does so only if the owner's process is over.
 *
 * LS4: `changing` is the number of the record that the consumer with the lock is at work on; it is
 * set before the record is LEASED. A thread that looks for dead owners leaves that record alone:
 * the next member with the lock decides (repair).
 *
 * LS5: a consumer reads `changes` before it looks for the earliest due time and goes to sleep; if
 * it differs when the consumer looks again, the time has to be found anew.
 *
 * The owner of a lease is a process, so any of its threads may acknowledge, and a thread that ends
 * leaves its leases to the others. The death of the thread that leased is seen at once; only
 * then the process is checked (shki_process_is_over()). Consumers look for dead owners when they
 * find nothing else; when they wait, at the end of each recheck interval; and when they find
 * something, after half of one: otherwise the dead's items would stay away until the queue is
 * empty.
 *
 * The get lock has no bias owner while an item is leased or has come back: the fast tiers of get do
 * not know of leases, and need not. shki_biased_forbid() sees to that with the first lease. A get
 * that finds no bit set ends it with shki_biased_allow(): one that finds no item, or one that looks
 * for dead owners. (A member that has claimed the side is given items that have come back when
 * there are no others.) In LIFO and PRIORITY queues the lock is that of the producers, too, which
 * so come to know that there are leases, and count them.
 *
 * Killed where:
 *   - A consumer before its get commits: the record is `changing` and the word that commits is as
 *     it was: the next member with the lock frees the record. After it: a dead owner's lease.
 *   - An owner before LS1: the item is still its lease, and comes back. After LS1 of ack: the item
 *     is done; the bit `out` stays set until a consumer looks for dead owners, and the lock is
 *     without a bias owner until a get does. A death leaves nothing to repair at once: the bit of a
 *     FREE record costs a consumer one load, and whether its owner is dead or late is found where
 *     owners are looked for.
 *   - In nack after RETURNING: as a dead owner's. After BACK and before the bit `back`: the next
 *     search for dead owners sets the bit.
 *   - A consumer with the lock that takes an item that has come back: before LS1 it still is BACK,
 *     after it the item is gone, or leased; bits that are left are cleared by the repair.
 */
#ifndef SHKI_LEASE_RECORDS_H
#define SHKI_LEASE_RECORDS_H

#include "queue/chunk_list.h"

/* How many words of bits there are; 0: nothing has ever been leased. */
static inline uint32_t shki_lease_words(const struct shk_queue *q)
{
    /* LS2: acquire; pairs with the release in shki_lease_new(). The private copy bounds it. */
    uint32_t n = load_acquire(&q->shared->lease_words), most = (q->lease_limit + 63) / 64;

    return n < most ? n : most;
}

/* Bytes of a record with room for such an item, and of a chunk of records. */
static inline uint64_t shki_lease_slot(uint64_t item_most)
{
    return shki_round_up(sizeof(struct shki_lease_shared) + item_most, SHKI_CACHE_LINE);
}

static inline uint64_t shki_lease_chunk(uint64_t slot)
{
    uint64_t size = SHKI_BLOCK;

    while (size < slot)
        size *= 2;
    return size;
}

/* The bits that are set, one after the other; of records that have memory. */
struct shki_lease_walk {
    const struct shk_queue *q;
    const _Atomic uint64_t *words;
    uint32_t n, next;
    uint64_t bits;
};

struct shki_lease_walk shki_lease_walk_out(const struct shk_queue *);
struct shki_lease_walk shki_lease_walk_back(const struct shk_queue *);
/* The next record that there is; false: no more. */
bool shki_lease_next(struct shki_lease_walk *, uint32_t *index);

/* Whether the bit of that number, which may be any, is set: then the record has memory. */
bool shki_lease_is_out(const struct shk_queue *, uint32_t index);

/* The record of that number, which has memory. */
struct shki_lease_shared *shki_lease_at(const struct shk_queue *, uint32_t index);

static inline enum shki_lease_state shki_lease_state_of(uint64_t word)
{
    return (enum shki_lease_state)(word & SHKI_LEASE_STATE);
}

/* The same lease in another state. */
static inline uint64_t shki_lease_word(uint64_t word, enum shki_lease_state state)
{
    return (word & ~SHKI_LEASE_STATE) | state;
}

/* LS1: acquire; pairs with each release of a state: what it says has been written. */
static inline uint64_t shki_lease_load(const struct shki_lease_shared *r)
{
    return load_acquire(&r->state);
}

/* ---- Loads only ---- */

/* Items that are leased or have come back: they count for the capacity; those that are back. */
uint64_t shki_leases_out(const struct shk_queue *);
uint64_t shki_leases_back(const struct shk_queue *);
/* The bytes of the items that count. */
uint64_t shki_leases_bytes(const struct shk_queue *);

/* Whether an item has come back and is due. */
bool shki_lease_is_due(const struct shk_queue *);
/* When the earliest item that is back is due, CLOCK_MONOTONIC, ns; SHKI_NEVER. */
int64_t shki_lease_due(const struct shk_queue *);

static inline uint32_t shki_lease_changes(const struct shk_queue *q)
{
    return load_acquire(&q->shared->leases.changes); /* LS5; pairs with shki_lease_is_back() */
}

/* ---- Without a lock ---- */

/* The record has become BACK: make it found. */
void shki_lease_is_back(struct shk_queue *, uint32_t index);

/* The owner has done with a record, which it has made FREE: LS3. */
void shki_lease_ended(struct shk_queue *, uint32_t index);

/*
 * The ticket of a record in that state: the low bits of the queue's serial, so that it is none of
 * another queue; of the state's number; and the index.
 */
uint64_t shki_lease_ticket(const struct shk_queue *, uint64_t word, uint32_t index);

/* Whether the process of the calling thread owns the record. */
bool shki_lease_is_own(struct shk_queue *, const struct shki_member *,
                       const struct shki_lease_shared *);

/*
 * Take back what dead processes have leased, unless that was done within half a SHKI_RECHECK:
 * whether it is worth another try to get an item.
 */
bool shki_lease_check(struct shk_queue *);
/* The same where an item has been found, at time `now`: whether it was due. */
bool shki_lease_check_at(struct shk_queue *, int64_t now);

/* ---- With the get lock ---- */

/* Its item goes to the calling thread, whose process owns it from then on: the new ticket. */
uint64_t shki_lease_hand_out(struct shk_queue *, struct shki_member *, uint32_t index);

/*
 * A free record for an item of that length, as number *index: 1 or an error. Killed in it, and
 * until shki_lease_new(): nothing has happened.
 */
int shki_lease_room(struct shk_queue *, size_t length, uint32_t *index);
/*
 * The item is in the record: lease it. The get follows, which commits that; then
 * shki_lease_changed().
 */
uint64_t shki_lease_new(struct shk_queue *, struct shki_member *, uint32_t index);
/* Its item, which is BACK, has been taken. */
void shki_lease_free(struct shk_queue *, uint32_t index);
void shki_lease_changed(struct shk_queue *);

/* The record is not BACK, though its bit says so. */
void shki_lease_not_back(struct shk_queue *, uint32_t index);

/* Whether no bit is set; clears those that dead owners have left. */
bool shki_lease_none(struct shk_queue *);

/* After a death with the lock. */
void shki_lease_repair(struct shk_queue *);

#endif
