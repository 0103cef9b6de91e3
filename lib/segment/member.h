/*
 * Members: who is attached, and is it alive. No guessing from pids: the kernel marks the life mutex
 * of a dead thread, however it died, at once, and nobody else can come to hold it by accident.
 */
#ifndef SHKI_MEMBER_H
#define SHKI_MEMBER_H

#include "segment/segment.h"

/*
 * The calling thread's member, or NULL if it has none yet. A load and a compare when it is the
 * one used last.
 */
extern _Thread_local struct shki_member *shki_last_member
    __attribute__((tls_model("initial-exec")));
struct shki_member *shki_member_search(struct shk_segment *);

/* The segment with that inode and random id if the calling thread is a member of it, else NULL. */
struct shk_segment *shki_member_segment(uint64_t inode, uint64_t id);

/* If it is the one used last, else NULL. */
static inline struct shki_member *shki_member_cached(const struct shk_segment *s)
{
    struct shki_member *m = shki_last_member;

    return likely(m != NULL && m->segment == s) ? m : NULL;
}

static inline struct shki_member *shki_member_find(struct shk_segment *s)
{
    struct shki_member *m = shki_member_cached(s);

    return likely(m != NULL) ? m : shki_member_search(s);
}

/*
 * Join: 0; -ESTALE (retired), -EUSERS (no record is free; dead members that are still in a waitlist
 * count as not free), -ENOLCK, -ENOSPC, -ENOMEM, -EBUSY, -EBADF (closed). Killed: the record is
 * free, or a dead member's.
 */
int shki_member_join(struct shk_segment *, struct shki_member **out);

/*
 * Around fork(2). In the child: the members of each segment, with its `local`; then what the
 * one thread had.
 */
void shki_members_before_fork(void);
void shki_members_after_fork_in_parent(void);
void shki_members_after_fork(struct shk_segment *);
void shki_members_forget_parent(void);

/* End the calling thread's member. -EBUSY if it holds locks of the segment. */
int shki_member_leave(struct shk_segment *);

/*
 * Robust mutexes that the calling thread holds: count one more, one less. -ENOLCK beyond
 * SHKI_HELD_MAX in all segments; so that the usual case need not look at all of them, each
 * member is given an allowance.
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

/* Records and nodes by index, which is checked: NULL beyond the table. */
struct shki_member_shared *shki_record_at(const struct shk_segment *, uint32_t index);
struct shki_node *shki_node_at(const struct shk_segment *, uint32_t number);

/* Whether the member with this id is alive. Loads only. */
bool shki_member_is_alive(const struct shk_segment *, uint64_t id);

/* How many records there are to look at. */
uint32_t shki_members_ready(const struct shk_segment *);

/*
 * Note what the calling thread is about to sleep on, in the records it has in all segments, and
 * that it is awake again. For people and for finding deadlocks: nothing waits for it.
 */
void shki_member_sleeps(const struct shki_member *, uint32_t waits_for, uint32_t entry,
                        uint64_t serial, enum shki_waits_how);
void shki_member_is_awake(void);

/*
 * Note that the calling thread has held the lock with that serial since now; `turns` tells this
 * time from the next.
 */
void shki_member_holds(const struct shki_member *, uint64_t serial, uint32_t turns);

/* The name of the calling thread, in its record. */
const char *shki_member_name(const struct shki_member *);

/* Note in a dead member's record that its death has been noticed, unless that was noted before. */
void shki_member_note_death(struct shki_member_shared *);

#endif
