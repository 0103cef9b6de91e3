/*
 * The directory: names -> typed objects, each in an extent of its own. The entries are the truth
 * about the heap: what no entry claims is free.
 *
 * All of it is under the segment's lock, except where it says otherwise. Memory is given and taken
 * without the lock, since that may take long: meanwhile the entry has a keeper, the only thread
 * that touches the extent.
 *
 *     FREE, GONE --begin--> MAKING --publish--> LIVE --unlink--> UNLINKED --condemn--> CLEARING
 *                             +--abandon--> GONE                                          |
 *                                           GONE <------------------clear-----------------+
 *
 * An entry whose keeper has died is condemned by the next to create or unlink an object: neither
 * what is half made nor what is half cleared has users.
 */
#ifndef SHKI_DIRECTORY_H
#define SHKI_DIRECTORY_H

#include "segment/segment.h"

/* The entry of that name: LIVE, or MAKING; or NULL. */
struct shki_entry *shki_directory_find(struct shk_segment *, const char *name);

/*
 * Whether a call on the object that was opened as `serial` is to give -ESTALE. Two loads of lines
 * that hardly ever change.
 */
static inline bool shki_is_stale(const struct shk_segment *s, const struct shki_entry *e,
                                 uint64_t serial)
{
    /* DE2: acquire; pairs with the releases in unlink and repair. */
    return load_acquire(&e->live_serial) != serial || shki_segment_is_retired(s);
}

/*
 * The k-th robust mutex of an object; NULL: it has none, or damaged bytes. Under the segment's
 * lock.
 */
struct shki_mutex *shki_entry_mutex(const struct shk_segment *, const struct shki_entry *,
                                    unsigned k);

/* Entries by index; NULL beyond the table. No lock needed. */
struct shki_entry *shki_entry_at(const struct shk_segment *, uint32_t index);
uint32_t shki_entry_index(const struct shk_segment *, const struct shki_entry *);

/* Where the highest extent ends. */
uint64_t shki_directory_top(struct shk_segment *);

/*
 * An entry and room for a new object of `size` bytes, kept by member `me`: 0, -ENOSPC with a
 * sentence that says of what. Unless it is published it has not happened.
 */
int shki_directory_begin(struct shk_segment *, uint64_t me, const char *name, uint32_t kind,
                         uint64_t size, const uint32_t mutex_offset[SHKI_MUTEXES_MAX],
                         struct shki_entry **out);

/*
 * By its keeper, without the lock: memory for the first `first` bytes (0: all), zeroed; the end of
 * its making; or give it all back.
 */
int shki_directory_allocate(struct shk_segment *, struct shki_entry *, uint64_t first);
void shki_directory_publish(struct shki_entry *);
void shki_directory_abandon(struct shk_segment *, struct shki_entry *);

/*
 * Without the lock: sleep for a slice, unless the making of an entry ends before: 0; -EBUSY once it
 * is past the deadline.
 */
int shki_directory_await(struct shk_segment *, struct shki_entry *, int64_t deadline);

/*
 * Take the name away: calls give -ESTALE from now on. The extent stays until no process has the
 * object open.
 */
void shki_directory_unlink(struct shk_segment *, struct shki_entry *);

/*
 * Make `me` the keeper of what is unlinked and not open any more, and of what a dead keeper has
 * left: whether there is anything. If so, clear() is to follow, without the lock: it takes the
 * memory back.
 */
bool shki_directory_collect(struct shk_segment *, uint64_t me);
void shki_directory_reclaim(struct shk_segment *, uint64_t me);

/* After a death under the segment's lock: recompute what is computed from the entries. */
void shki_directory_repair(struct shk_segment *);

#endif
