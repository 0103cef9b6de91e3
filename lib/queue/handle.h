/*
 * What a process has of a queue that it has opened: validated copies of the geometry, the way to
 * the two locks, and what it learns. All that is not said to change is written before the first
 * call.
 */
#ifndef SHKI_QUEUE_HANDLE_H
#define SHKI_QUEUE_HANDLE_H

#include "object/object.h"
#include "object/roles.h"
#include "queue/adaptive.h"
#include "queue/layout.h"
#include "sync/biased.h"

#include <shmkit/queue.h>

struct shki_order;

/* A list of chunks of a queue that grows: see chunk_list.h. Read and written with the lock. */
struct shki_list {
    struct shki_list_shared *shared;
    _Atomic uint32_t *map; /* which block each chunk begins at */
    uint64_t map_page;     /* number of the page of the map that is known to have memory; 0: none */
    uint64_t piece, spare; /* bytes: memory comes and goes in pieces; so much is kept */
    uint32_t number;
    uint32_t blocks;     /* of a chunk */
    uint32_t last_block; /* at which a chunk may begin */
    uint64_t chunks;     /* places in the map */
    unsigned shift;      /* log of a chunk's bytes */
    /* PRIORITY, a size class, and leases: bytes of a slot; slots of a chunk */
    uint64_t slot, per_chunk;
};

/* The chunk that a side of a FIFO queue that grows is in. With the side's lock. */
struct shki_chunk {
    uint64_t number; /* + 1; 0: none */
    unsigned char *at;
};

struct shk_queue {
    struct shki_object object;
    struct shki_queue_shared *shared;
    const struct shki_order *ops; /* of its order */

    /* ---- Validated copies ---- */
    uint64_t capacity;       /* items; 0: any number */
    uint64_t capacity_bytes; /* of all items together; 0: any number */
    uint64_t mask;           /* of positions in the ring */
    uint64_t stride;
    size_t item_size;
    /* bytes of an item that may be put: item_size, or less than that by capacity_bytes */
    size_t item_most;
    /*
     * an item of fewer bytes may take the fast tier: item_size + 1 of a ring with asymmetric
     * fences, else 0; and 0 of a producer that minds when there is no consumer
     */
    size_t fast_below;
    unsigned char *slots;
    uint32_t order;
    /* Ring: each side fetches the slot that lies so many ahead, */
    uint64_t ahead;
    /* at those positions alone that have none of these bits: the others share their cache line */
    uint64_t share_mask;
    bool limited;        /* in items or in bytes */
    bool grows;          /* items lie at their length */
    bool ring;           /* FIFO, and does not grow */
    bool asymmetric;     /* the segment's fences are */
    unsigned shift;      /* it grows: log of a chunk's bytes */
    uint64_t chunk_mask; /* it grows: a chunk's bytes - 1 */
    uint64_t chunks;     /* places in the map of a list */
    /* FIFO, it grows: chunks that keep their memory though nothing is in them */
    uint64_t spare;
    uint64_t limit;        /* PRIORITY: items that there may be */
    uint64_t entries_size; /* PRIORITY: the part of the chunk that is of the heap */
    unsigned n_lists;      /* it grows */
    struct shki_list *lists;
    struct shki_task *tasks; /* one a member record */
    struct shki_lease_area *leases;
    struct shki_list lease_list; /* their records */
    uint32_t lease_limit;        /* how many there can be */

    struct shki_roles roles;

    /* ---- With the side's lock ---- */
    struct shki_chunk put_chunk, get_chunk;
    uint64_t reserved_at;    /* it grows, FIFO and LIFO: place of the record of a reservation */
    uint32_t reserved_class; /* it grows, PRIORITY: list of the slot of a reservation */
    struct shki_slip put_slip, get_slip;
    bool leases_have_memory; /* their area is known to have it */
    uint32_t peeked_lease;   /* number + 1 of the record that is peeked; 0: the item is another */

    /* ---- Guesses: threads race on them harmlessly ---- */
    struct shki_poll_estimate poll;
    struct shki_adaptive put_adaptive, get_adaptive, task_adaptive;
    struct shki_spinner put_lock_spinner, get_lock_spinner, not_full_spinner, not_empty_spinner,
        tasks_spinner;

    struct shki_biased put_biased, get_biased; /* the locks, of shared->put_lock and get_lock */
};

/* The queue as a kind: see kind.c. */
extern const struct shki_kind shki_queue_kind;
/* What its creation needs: 0 or an error. `segment` may be NULL. */
int shki_queue_plan(const struct shk_segment *, const struct shk_queue_options *,
                    struct shki_plan *);
int shki_queue_build(struct shki_object *, const struct shki_plan *);
int shki_queue_check(struct shki_object *, const struct shki_plan *);

/* Its items, read from outside: see items.c. */
int shki_queue_list_items(const struct shki_image *, const struct shki_entry *, const void *shared,
                          struct shki_items *);

/* ---- Sentences ---- */

/* -ENOSPC and the like. */
int shki_no_memory(const struct shk_queue *, int r);
/* -ENOSPC */
int shki_too_many(const struct shk_queue *);
/* -EPROTO */
int shki_damaged_place(const struct shk_queue *);
int shki_damaged_item(const struct shk_queue *, size_t length);
/* -EMSGSIZE */
int shki_too_large(const struct shk_queue *, size_t length);
int shki_small_buffer(const struct shk_queue *, size_t length, size_t size);
/* -EPIPE, of a put and of a get; of a get also -EOWNERDEAD, once */
int shki_say_shut(const struct shk_queue *);
int shki_say_drained(struct shk_queue *);

#endif
