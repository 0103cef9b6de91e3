/* What all kinds of objects have in common: opening, closing, and the first lines of each call. */
#ifndef SHKI_OBJECT_H
#define SHKI_OBJECT_H

#include "base/error.h"
#include "object/kind.h"
#include "segment/directory.h"
#include "segment/member.h"
#include "sync/waitlist.h"

#include <errno.h>

/* The first part of every handle. */
struct shki_object {
    struct shk_segment *segment;
    struct shki_entry *entry;
    uint64_t serial;
    uint32_t index;        /* of the entry */
    uint64_t offset, size; /* validated copies of its extent */
    unsigned char *shared; /* where the extent is mapped */
    char name[SHK_NAME_MAX + 1];
    /* besides the program's own: the handle goes with the last of all */
    _Atomic unsigned refs;
};

/* How an object is to be opened. */
struct shki_plan {
    const struct shki_kind *kind;
    uint64_t size;     /* of the extent; 0: of the kind's shared struct alone */
    uint64_t memory;   /* bytes that get memory now, the rest when the object wants it; 0: all */
    int cannot_create; /* if not 0: what a creation gives, with the sentence */
    const char *why;
    const void *options;
    bool options_given; /* else an object that exists is taken as it is */
};

int shki_object_open(struct shk_segment *, const char *name, unsigned flags,
                     const struct shki_plan *, struct shki_object *);

/* Open by entry and serial: a condition's lock. */
int shki_object_open_serial(struct shk_segment *, uint32_t entry, uint64_t serial,
                            const struct shki_plan *, struct shki_object *);

void shki_object_close(struct shki_object *);

/*
 * Open an object with a new handle: `size` bytes, zero but for the struct shki_object that they
 * begin with. NULL: *r is -ENOMEM, or what shki_object_open() returned.
 */
void *shki_handle_open(struct shk_segment *, const char *name, unsigned flags,
                       const struct shki_plan *, size_t size, int *r);

/* Close the object, and free its handle. */
void shki_handle_close(struct shki_object *);

/*
 * For what goes through all objects: fill in a handle from an entry, in private memory only. With
 * the segment's lock, or by the entry's owner; -EPROTO: its extent is damaged.
 */
int shki_object_find(struct shki_object *, struct shk_segment *, struct shki_entry *,
                     const struct shki_kind *);

/* The same, and the extent stays until shki_object_close(). */
int shki_object_find_and_ref(struct shki_object *, struct shk_segment *, struct shki_entry *,
                             const struct shki_kind *);

/*
 * Take back the memory of what is not open any more, unless the segment's lock cannot be had: then
 * the next to create an object does it.
 */
void shki_object_reclaim(struct shk_segment *);

/* Whether an entry, or NULL, has an object that can be opened. */
static inline bool shki_object_is_live(const struct shki_entry *e)
{
    return e && load_acquire(&e->state) == SHKI_ENTRY_LIVE;
}

/* One more reference to the handle; one less: whether it was the last. */
static inline void shki_object_ref(struct shki_object *o)
{
    fetch_add_relaxed(&o->refs, 1);
}

static inline bool shki_object_unref(struct shki_object *o)
{
    return fetch_sub_acq_rel(&o->refs, 1) == 0;
}

/* Whether an array of reserved fields is zero: 0 or -EINVAL. */
int shki_check_reserved(const uint64_t *reserved, size_t n);

/*
 * Join the segment; reap the dead if that is what it takes. -ENOTSUP: it lies elsewhere.
 */
int shki_object_join(struct shki_object *, struct shki_member **) __attribute__((cold));

/* The same in a call that can go on elsewhere: SHKI_REMOTE, see remote.h. */
int shki_object_enter_first(struct shki_object *, struct shki_member **) __attribute__((cold));

static inline bool shki_object_is_stale(const struct shki_object *o)
{
    return shki_is_stale(o->segment, o->entry, o->serial);
}

/*
 * Why it cannot be used: -EBADF, the segment is closed in this process, though another thread may
 * still be in it; else -ESTALE.
 */
int shki_stale(const struct shki_object *) __attribute__((cold));

/* The first line of each call: the calling thread as a member; -ESTALE, -EBADF and others. */
static inline int shki_enter(struct shki_object *o, struct shki_member **m)
{
    struct shki_member *me = shki_member_find(o->segment);

    *m = me;
    if (unlikely(me == NULL)) {
        struct shki_member *joined = NULL; /* not *m itself, which so may stay in a register */
        int r = shki_object_enter_first(o, &joined);

        *m = joined;
        if (r < 0)
            return r;
    }
    return unlikely(shki_object_is_stale(o) || shki_segment_is_closed(o->segment)) ? shki_stale(o)
                                                                                   : 0;
}

/*
 * Whether shki_enter() would succeed without a call. For calls that mostly end with a load from
 * shared memory: they need neither a frame nor saved registers, and leave the rest to a function
 * that begins with shki_enter().
 */
static inline bool shki_is_entered(const struct shki_object *o)
{
    const struct shki_member *m = shki_member_cached(o->segment);

    return likely(m && !shki_object_is_stale(o) && !shki_segment_is_closed(m->segment));
}

/* "demo/jobs: the queue has been shut down"; cheap, `state` is a literal. */
int shki_object_say(const struct shki_object *, int code, const char *state);

/*
 * Lock the mutex of an object's writers, which hold it for moments: 0; -EBUSY when another thread
 * has had it for 10 s, `doing` what. A former holder that died is counted.
 */
int shki_object_lock_writer(struct shki_object *, struct shki_mutex *, const struct shki_member *,
                            struct shki_spinner *, const char *doing);

#define SHKI_NO_HANDLE shki_say(-EINVAL, "the handle, or the pointer to it, is NULL")

/* The calling thread's, of a segment that lies elsewhere; NULL: none. */
struct shki_interrupt_call *shki_remote_interrupt_call(const struct shk_segment *);
int shki_remote_set_interrupt_call(const struct shk_segment *, int (*check)(void *arg), void *arg);

/* `state` is a literal that says what the caller waits to change, as "the queue is empty". */
struct shki_deadline shki_object_deadline(const struct shki_object *, int64_t timeout,
                                          const char *state);

/* Say what the calling thread sleeps on; see shki_member_sleeps(). */
static inline void shki_object_sleeps(const struct shki_object *o, const struct shki_member *m,
                                      uint32_t waits_for, enum shki_waits_how how)
{
    shki_member_sleeps(m, waits_for, o->index, o->serial, how);
}

/* For all that are no locks. */
static inline enum shki_waits_how shki_waits_how(const struct shki_deadline *deadline)
{
    return deadline->at == SHKI_NEVER ? SHKI_WAITS_UNINTERRUPTIBLE : SHKI_WAITS_TIMED;
}

/* Prepare a view of the object's waitlist. 0, -ENOMEM; -ENOTSUP: its kind has none. */
int shki_object_waitlist(struct shki_object *, const struct shki_kind *, struct shki_waitlist *);

#endif
