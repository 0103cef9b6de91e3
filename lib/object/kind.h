/*
 * What the library knows of one kind of objects.
 *
 * Each kind ends its own file with one constant of this struct, and lib/kinds.c lists them. Nothing
 * else in lib/ asks of which kind an object is: opening is given the kind by its caller; what walks
 * all objects finds it by the number in the entry, shki_kind_of(). How to add one is told in
 * HACKING.
 *
 * A function that is NULL has nothing to do. `shared` is where the object lies, with the struct of
 * the kind at its beginning.
 */
#ifndef SHKI_KIND_H
#define SHKI_KIND_H

#include "segment/segment.h"

struct shk_member_info;
struct shk_object_info;
struct shki_image;
struct shki_items;
struct shki_object;
struct shki_plan;
struct shki_waitlist;
struct shki_watch;

/* The waitlist of a kind, and what the kind itself does in it, with its mutex. */
struct shki_kind_waitlist {
    size_t offset; /* in the shared struct; 0: there is none */
    /* repair what depends on the list, after it was rebuilt or waiters left it unreleased */
    void (*recover)(struct shki_waitlist *);
    /* whether there is anything to repair besides: what a dead member held; without the mutex */
    bool (*is_due)(const struct shki_waitlist *);
    /* before a waiter leaves that was not released: it gave up or died */
    void (*on_leave)(struct shki_waitlist *);
    /* a notification that its waiter does not use for a recheck interval goes to the next one */
    bool takes_back;
    bool asks; /* it is released by shki_waitlist_request(), too */
};

struct shki_kind {
    uint32_t number;  /* enum shk_kind */
    const char *name; /* "a lock", for sentences */

    size_t size;                             /* of the struct at the beginning of the extent */
    uint32_t mutex_offset[SHKI_MUTEXES_MAX]; /* where its robust mutexes lie; 0: none more */
    bool uses_pool;                          /* it may have blocks of the pool */
    /* in struct shki_remote, of its calls for objects that lie elsewhere; 0: it cannot */
    size_t remote;

    /* ---- Opening ---- */
    /* Fill in a new object: zeroed memory that no other thread sees yet. */
    int (*build)(struct shki_object *, const struct shki_plan *);
    /*
     * Check what is shared against the extent (-EPROTO) and the options (-EPROTOTYPE), and copy the
     * geometry into the handle.
     */
    int (*check)(struct shki_object *, const struct shki_plan *);

    /* ---- Waiting ---- */
    struct shki_kind_waitlist waitlist;
    /* The object has been unlinked: end the waits that are not in the waitlist. */
    void (*wake_at_unlink)(struct shki_object *);
    /*
     * The segment is closed in this process, a thread of which waits here for `waits_for`: wake at
     * least that thread. Threads that wait in the waitlist or for a lock have been woken already.
     */
    void (*wake_at_close)(struct shki_object *, uint32_t waits_for);
    /*
     * The n-th of the members that have what `waiter`, a member in an acquire of the object, waits
     * for: its id; 0: no more. Deadlocks are found with it.
     */
    uint64_t (*owner)(const struct shki_image *, const struct shki_entry *, uint64_t waiter,
                      unsigned n);
    /* a waiter that was let through may keep what it waited for, and die with it */
    bool waiter_may_keep;

    /* ---- Waiting for any of several objects ---- */
    /* The object of a handle in a set. NULL: the handle begins with it. */
    const struct shki_object *(*object_of)(const void *handle);
    uint32_t watchable; /* what can be waited for: SHK_READABLE | … */
    void (*watch)(void *handle, uint32_t want, struct shki_watch *);

    /* ---- Inspection ---- */
    /*
     * Fill in what only this kind knows. `shared` is a copy of the shared struct. Nothing in it, or
     * in what the image leads to, is to be believed.
     */
    void (*describe)(const struct shki_image *, const struct shki_entry *, const void *shared,
                     struct shk_object_info *);
    /*
     * Add to each member, of which there are n, how many items it has taken and not finished. They
     * are in the order of their records.
     */
    void (*add_tasks)(const struct shki_image *, const struct shki_entry *, const void *shared,
                      struct shk_member_info *members, size_t n);
    /*
     * Read the items that wait in it, the next to be taken first: 0 or an error. Nothing is to be
     * believed here, either.
     */
    int (*items)(const struct shki_image *, const struct shki_entry *, const void *shared,
                 struct shki_items *);
};

/* Of an object in this segment; NULL: of a kind that this library does not know. */
static inline const struct shki_kind *shki_kind_of(const struct shk_segment *s, uint32_t number)
{
    return s->kinds ? s->kinds->of(number) : NULL;
}

/* What an object of the kind has at least; of an unknown kind what all have. */
static inline size_t shki_kind_size(const struct shki_kind *k)
{
    return k ? k->size : sizeof(struct shki_repairs);
}

static inline const char *shki_kind_name(const struct shki_kind *k)
{
    return k ? k->name : "of an unknown kind";
}

#endif
