/*
 * The directory: names -> typed objects, each in an extent of its own. The entries are the truth
 * about the heap: what no entry claims is free.
 *
 * Entries change under the segment's lock, unless a function says otherwise. Memory is allocated
 * and freed without it, since that may take long: meanwhile the entry has an owner, the only thread
 * that touches the extent.
 *
 *     FREE, TOMBSTONE --begin--> CREATING --publish--> LIVE --unlink--> UNLINKED
 *                                   +--abandon--> TOMBSTONE                |
 *     TOMBSTONE <--reclaim-- RECLAIMING <-----------------collect----------+
 *
 * An entry whose owner has died is collected by the next member that creates or closes an object:
 * neither an object that is half made nor one that is half reclaimed has users.
 *
 *     DE1: the state of an entry. A release commits each change. It pairs with the acquire of a
 *          search, which so sees the fields of the entry, and the object in its extent; and with
 *          the inspector's copy of the entry. The lock orders all but the owner's last store. Were
 *          that a plain store, an opener could find an object that is not initialised yet, or a
 *          creator a page that is punched afterwards.
 *     DE2: the live serial. The release of 0 commits an unlink. It pairs with the acquire of each
 *          call, which so gives -ESTALE. It comes before the state UNLINKED (DE1). In the other
 *          order an unlinker that is killed between the two would leave an object without a name
 *          on which calls succeed: two processes would wait in different objects of one name.
 */
#ifndef SHKI_DIRECTORY_H
#define SHKI_DIRECTORY_H

#include "segment/lock.h"
#include "segment/tables.h"

/* The entry of that name, LIVE or CREATING; or NULL. */
struct shki_entry *shki_directory_find(struct shk_segment *, const char *name);

/*
 * Whether a call on the object that was opened as `serial` is to give -ESTALE. Two loads of lines
 * that hardly ever change.
 */
static inline bool shki_is_stale(const struct shk_segment *s, const struct shki_entry *e,
                                 uint64_t serial)
{
    /* DE2: acquire; pairs with the release in shki_directory_unlink(). */
    return load_acquire(&e->live_serial) != serial || shki_segment_is_retired(s);
}

/*
 * An entry and an extent for a new object of `size` bytes, owned by member `me`: 0, -ENOSPC with a
 * sentence that says of what. Unless it is published it has not happened.
 */
int shki_directory_begin(struct shk_segment *, uint64_t me, const char *name, uint32_t kind,
                         uint64_t size, const uint32_t mutex_offset[SHKI_MUTEXES_MAX],
                         struct shki_entry **out);

/*
 * By its owner, without the lock: allocate the first `first` bytes (0: all), zeroed; then publish
 * the object, or abandon it, which frees everything.
 */
int shki_directory_allocate(struct shk_segment *, struct shki_entry *, uint64_t first);
void shki_directory_publish(struct shki_entry *);
void shki_directory_abandon(struct shk_segment *, struct shki_entry *);

/*
 * Without the lock: sleep for one SHKI_RECHECK, or until the creation of an entry ends: 0; -EBUSY
 * once it is past the deadline.
 */
int shki_directory_await(struct shk_segment *, struct shki_entry *, int64_t deadline);

/*
 * Remove the name: calls give -ESTALE from now on. The extent stays until no process has the object
 * open.
 */
void shki_directory_unlink(struct shk_segment *, struct shki_entry *);

/*
 * Make `me` the owner of what is unlinked and not open any more, and of what a dead owner left:
 * whether there is anything. If so, reclaim() is to follow, without the lock: it frees the memory.
 */
bool shki_directory_collect(struct shk_segment *, uint64_t me);
void shki_directory_reclaim(struct shk_segment *, uint64_t me);

#endif
