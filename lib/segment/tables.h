/*
 * The tables of a segment: entries, member records and nodes by index, and which members are
 * alive. Loads only, no lock.
 */
#ifndef SHKI_TABLES_H
#define SHKI_TABLES_H

#include "segment/map.h"

/* An object's entry by index, NULL beyond the table; and the index of an entry. */
struct shki_entry *shki_entry_at(const struct shk_segment *, uint32_t index);
uint32_t shki_entry_index(const struct shk_segment *, const struct shki_entry *);

/* DE1: acquire; pairs with each release of an entry's state. See directory.h. */
static inline enum shki_entry_state shki_entry_state(const struct shki_entry *e)
{
    return (enum shki_entry_state)load_acquire(&e->state);
}

/* Whether the entry has an extent. */
static inline bool shki_entry_has_extent(const struct shki_entry *e)
{
    return shki_entry_state(e) >= SHKI_ENTRY_LIVE;
}

/*
 * The k-th robust mutex of an object; NULL: it has none, or the bytes are damaged. Under the
 * segment's lock.
 */
struct shki_mutex *shki_entry_mutex(const struct shk_segment *, const struct shki_entry *,
                                    unsigned k);

/* A member's record and its node by index; NULL beyond the table. */
struct shki_member_shared *shki_record_at(const struct shk_segment *, uint32_t index);
struct shki_node *shki_node_at(const struct shk_segment *, uint32_t index);

/* How many records have memory: loops over members end there. */
uint32_t shki_members_ready(const struct shk_segment *);

/* Whether the member with this id is alive. */
bool shki_member_is_alive(const struct shk_segment *, uint64_t id);

/* Note the time in a dead member's record, unless its death was noticed before. */
void shki_member_note_death(struct shki_member_shared *);

#endif
