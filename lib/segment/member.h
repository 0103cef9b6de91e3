/*
 * Members: the attached threads, their joining and leaving. A member is alive as long as its thread
 * holds the robust mutex `life` of its record. The kernel marks that mutex at once when the thread
 * dies, however it dies, and no other thread can come to hold it: no guessing from pids.
 *
 *     ME1: records that have memory and an initialised life. The release in add_records() pairs
 *          with the acquire of each loop over members: else it would read a life that is not
 *          initialised.
 *     ME2: the id of a record. The release of an id commits a join, that of 0 a leave. Both pair
 *          with the acquire of a member that checks whether an id is alive: it reads the id, the
 *          life, and the id again. A thread that joins with a dead member's record clears the id
 *          before it locks the life. With one read of the id, or the life locked first, a record
 *          that is used anew would make a dead member look alive.
 *     NM1: the name. A rename writes the place that is not in use, then releases the count of
 *          renames. It pairs with the inspector's second copy of the record, which has the same
 *          count if the name is whole. In another order it would print parts of two names.
 *     WT1: what it waits for. The sequence is odd while the notes hold. The deadlock search copies
 *          the record twice: if the sequence is odd and the same, the notes are one wait's. A
 *          writer that made it even after the notes changed would let the search mix two waits.
 *     WT2: since when it holds a lock. `held_since` is 0 while the other notes change; its release
 *          commits them. The inspector copies the record once: a note that has changed meanwhile
 *          is of another serial, or of another number of releases.
 */
#ifndef SHKI_MEMBER_H
#define SHKI_MEMBER_H

#include "segment/registry.h"
#include "segment/tables.h"

/* threads that one thread releases at once and wakes when no lock is in their way; see park.h */
#define SHKI_UNPARK_LATER 16u

/* A thread's place in a segment. Private to the thread, but for the list in the segment. */
struct shki_member {
    struct shk_segment *segment;
    struct shki_member_shared *record;
    struct shki_node *node;
    uint64_t id;
    uint32_t index;
    uint32_t held;     /* robust mutexes of this segment that the thread holds, without its life */
    uint32_t may_hold; /* so many until its allowance has to be extended */
    struct shki_interrupt_call call;
    bool notified;      /* the thread's last wait on a condition ended with a notification, … */
    uint64_t waited_on; /* … and that condition has this serial */
    /* indices of members that the thread has released: see shki_unpark_released() */
    uint32_t to_unpark[SHKI_UNPARK_LATER], n_to_unpark;
    struct shki_member *next_of_thread, *next_in_segment;
};

/*
 * How many robust mutexes a thread may hold: the kernel walks 2048 of a dead thread's and no more.
 */
#define SHKI_HELD_MAX 2000

/* ---- The calling thread's member ---- */

/* A member of no segment, in place of NULL: to find the member used last is one comparison. */
extern struct shki_member shki_no_member;

/*
 * The member that the calling thread used last, or shki_no_member; and the first of all its
 * members, or NULL.
 */
extern _Thread_local struct shki_member *shki_last_member
    __attribute__((tls_model("initial-exec")));
extern _Thread_local struct shki_member *shki_members_of_thread
    __attribute__((tls_model("initial-exec")));
struct shki_member *shki_member_search(struct shk_segment *);

/* The segment with that inode and random id if the calling thread is a member of it, else NULL. */
struct shk_segment *shki_member_segment(uint64_t inode, uint64_t id);

/* The member if it is the one used last, else NULL. */
static inline struct shki_member *shki_member_cached(const struct shk_segment *s)
{
    struct shki_member *m = shki_last_member;

    return likely(m->segment == s) ? m : NULL;
}

/* The member, or NULL if the thread has not joined. A load and a compare if it was used last. */
static inline struct shki_member *shki_member_find(struct shk_segment *s)
{
    struct shki_member *m = shki_member_cached(s);

    return likely(m != NULL) ? m : shki_member_search(s);
}

/* ---- Joining and leaving ---- */

/*
 * Join: 0; -ESTALE (retired), -EUSERS (no record is free; that of a dead member in a waitlist is
 * not), -ENOLCK, -ENOSPC, -ENOMEM, -EBUSY, -EBADF (closed). Killed: the record is free, or a dead
 * member's.
 */
int shki_member_join(struct shk_segment *, struct shki_member **out);

/* End the calling thread's member. -EBUSY if it holds locks of the segment. */
int shki_member_leave(struct shk_segment *);

/* In the child of fork(2): no thread of it is a member of anything. */
void shki_members_after_fork(struct shk_segment *);
void shki_members_forget_parent(void);

/* Write a record's name, which has been checked. By its thread. */
void shki_record_rename(struct shki_member_shared *, const char *name);

/* ---- Robust mutexes that the calling thread holds ---- */

/*
 * One more, one less. -ENOLCK beyond SHKI_HELD_MAX in all segments together. Each member has an
 * allowance, so that most calls need not count over all segments.
 */
int shki_held_extend(struct shki_member *) __attribute__((cold));
static inline int shki_held_more(struct shki_member *m)
{
    if (unlikely(m->held == m->may_hold)) {
        int r = shki_held_extend(m);

        if (r < 0)
            return r;
    }
    m->held++;
    return 0;
}

static inline void shki_held_less(struct shki_member *m)
{
    m->held--;
}

/* ---- What a member notes in its record, for people and for the deadlock search: notes.c ---- */

/*
 * Note what the calling thread is about to sleep on, in its records in all segments, and that it is
 * awake again.
 */
void shki_member_sleeps(const struct shki_member *, uint32_t waits_for, uint32_t entry,
                        uint64_t serial, enum shki_waits_how);
void shki_member_is_awake(void);

/*
 * Note that the calling thread holds the lock with that serial from now on. `releases` of its mutex
 * tells this time from the next.
 */
void shki_member_holds(const struct shki_member *, uint64_t serial, uint32_t releases);

/* The name of the calling thread, in its record. */
const char *shki_member_name(const struct shki_member *);

#endif
