/*
 * Where a side goes on, and how many bytes go with that: struct shki_place.
 *
 * What always holds: a side has two places. The one whose number is the value of the side's commit
 * word counts. A member with the lock writes the next place into the other one, and then commits.
 * So place, bytes and commit word change with one store, and a kill leaves nothing to repair.
 *
 * A thread without the lock reads the bytes so:
 *
 *     writer, with the lock                       reader
 *     commit word = n                             n = commit word
 *     at, BY1: bytes, number of the other place   the place with that number?
 *     commit word = n + 1                         BY1: bytes
 *     at, BY1: bytes, number of the first place   commit word is still n? then they are n's
 *
 * BY1: the store of the bytes is a release, and their load an acquire. A reader that has read what
 * was written over them sees that the commit word has gone on. In another order it would take the
 * bytes of a later operation, which may never be committed, for those of n.
 *
 * The model: tests/model/place.pml.
 */
#ifndef SHKI_PLACE_H
#define SHKI_PLACE_H

#include "queue/layout.h"

#include <stddef.h>

/* Reads until the commit word has not moved meanwhile. */
#define SHKI_PLACE_READS 8

/* The place with that number; NULL: damaged, or it has just been written over. */
static inline const struct shki_place *shki_place_find(const struct shki_places *places,
                                                       uint64_t number)
{
    /* Relaxed: the lock orders it, or BY1. */
    return load_relaxed(&places->place[0].number) == number   ? &places->place[0]
           : load_relaxed(&places->place[1].number) == number ? &places->place[1]
                                                              : NULL;
}

/* With the lock, before the commit word becomes `number`; it is `before`. */
static inline void shki_place_set(struct shki_places *places, uint64_t before, uint64_t number,
                                  uint64_t at, uint64_t bytes)
{
    struct shki_place *place = &places->place[load_relaxed(&places->place[0].number) == before];

    place->at = at;
    /* BY1: release: the commit of the former operation first; pairs with the acquire below */
    store_release(&place->bytes, bytes);
    store_relaxed(&place->number, number);
    /* killed here: the other one still counts. The order of the program is enough */
    atomic_signal_fence(memory_order_seq_cst);
}

/* With the lock. */
static inline uint64_t shki_place_own_bytes(const struct shki_places *places, uint64_t number)
{
    const struct shki_place *place = shki_place_find(places, number);

    return place ? load_relaxed(&place->bytes) : 0;
}

/* Without the lock; `shift`: the number is the commit word without so many bits. False: busy. */
static inline bool shki_place_bytes(const struct shki_places *places, const _Atomic uint64_t *word,
                                    unsigned shift, uint64_t *bytes)
{
    for (int i = 0; i < SHKI_PLACE_READS; i++) {
        uint64_t number = load_acquire(word) >> shift;
        const struct shki_place *place = shki_place_find(places, number);

        if (place == NULL)
            continue;
        *bytes = load_acquire(&place->bytes); /* BY1 */
        /* relaxed: the acquire is enough */
        if (load_relaxed(word) >> shift == number)
            return true;
    }
    return false;
}

#endif
