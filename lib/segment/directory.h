/*
 * The directory: names -> typed objects, each in an extent of its own. The entries are the truth about the heap: what no entry claims is free, so a
 * process killed between allocating and publishing leaves nothing to repair.
 *
 * All of it is under the segment's lock, except where it says otherwise.
 */
#ifndef SHKI_DIRECTORY_H
#define SHKI_DIRECTORY_H

#include "segment/segment.h"

/* The entry of a live object, or NULL. */
struct shki_entry *shki_directory_find(struct shk_segment *, const char *name);

/* Whether a call on the object that was opened as `serial` is to give -ESTALE. Two loads of lines that hardly ever change. */
static inline bool shki_is_stale(const struct shk_segment *s, const struct shki_entry *e, uint64_t serial)
{
    /* E2: acquire; pairs with the releases in unlink and repair. */
    return atomic_load_explicit(&e->serial, memory_order_acquire) != serial || shki_segment_is_retired(s);
}

/* The k-th robust mutex of an object; NULL: it has none, or damaged bytes. Under the segment's lock. */
struct shki_mutex *shki_entry_mutex(const struct shk_segment *, const struct shki_entry *, unsigned k);

/* Entries by index; NULL beyond the table. No lock needed. */
struct shki_entry *shki_entry_at(const struct shk_segment *, uint32_t index);
uint32_t shki_entry_index(const struct shk_segment *, const struct shki_entry *);

/*
 * Find room and memory for a new object of `size` bytes, zeroed. Nobody sees it before shki_directory_publish(), and unless that is
 * called it has not happened. Only the first `first` bytes get memory (0: all). -ENOSPC with a sentence that says of what.
 */
int shki_directory_allocate(struct shk_segment *, uint64_t size, uint64_t first, uint64_t *at);

/* Where the highest extent ends. */
uint64_t shki_directory_top(struct shk_segment *);
int shki_directory_publish(struct shk_segment *, const char *name, uint32_t kind, uint64_t at, uint64_t size, const uint32_t mutex_at[SHKI_MUTEXES_MAX],
                           struct shki_entry **out);
void shki_directory_discard(struct shk_segment *, uint64_t at, uint64_t size);

/* Take the name away: calls give -ESTALE from now on. The extent stays until nobody has the object open: shki_directory_reclaim(). */
void shki_directory_unlink(struct shk_segment *, struct shki_entry *);
void shki_directory_reclaim(struct shk_segment *);

/* After a death under the segment's lock: recompute what is computed from the entries. */
void shki_directory_repair(struct shk_segment *);

#endif
