/*
 * Items that are read from outside, one after the other, into one block of memory that the reader
 * frees: what shk_item_list() returns.
 *
 * Damaged bytes may say anything: that all of a thousand records are the same large one, too. So no
 * more is read than there is memory in the file.
 */
#ifndef SHKI_ITEMS_H
#define SHKI_ITEMS_H

#include "segment/image.h"

#include <shmkit/inspect.h>

#define SHKI_ITEM_LEAST 8u /* bytes that an item has at least, beside its own */

struct shki_items {
    const struct shki_image *image;
    size_t max;                 /* so many are wanted */
    struct shk_item_info *list; /* `bytes` are still offsets into the following */
    unsigned char *bytes;
    size_t n, room;
    size_t used, bytes_room, limit; /* bytes: in use; there are; there may be */
    bool no_memory;
};

/* An empty list, or one that is begun again. Before what is to be read has been counted. */
void shki_items_begin(struct shki_items *);

/*
 * Read one more item from there in the file. False: it is damaged, or there is no memory, or it has
 * been taken meanwhile.
 */
bool shki_items_add(struct shki_items *, uint64_t offset, size_t length, int64_t priority);

/* Drop the first n: they have been taken meanwhile. */
void shki_items_drop(struct shki_items *, size_t n);

/* Into one block, which is the caller's: how many; or -ENOMEM, and nothing is left. */
ssize_t shki_items_end(struct shki_items *, struct shk_item_info **list);
void shki_items_give_up(struct shki_items *);

#endif
