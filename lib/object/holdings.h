/*
 * Which processes hold how many permits of a semaphore with owners: a row for each process of the
 * segment, at the same index as its row in the table of processes (segment/process.h).
 *
 * What always holds: the permits that are there and those that are held are all permits. The rows
 * are the truth, and the semaphore's `value` is what they leave; it is computed anew after a death
 * with the mutex. So a permit is never in two places, and never in none:
 *
 *     acquire                                      release
 *     SM2: my permits += n                         SM2: my permits -= n
 *     SM1: value -= n                              SM1: value += n
 *
 *     come back, of a process that is over
 *     SM2: its permits = 0
 *     SM1: value = all - the permits in all rows
 *
 * SM2 commits. Killed between SM2 and SM1: the next holder of the mutex does SM1. With `value` as
 * the truth, permits of a member that dies between the two stores would come back twice, or never.
 *
 * A row is a process's as long as it has the word of that process's row. Another process that gets
 * the same row has another word, so it does not get the permits; nor has a child of fork(2), which
 * has a row of its own.
 *
 * Permits come back when their process is over: it ended, executed another program, or closed the
 * segment. This is checked by an acquire that would have to wait, and by waiters at each recheck
 * interval. Of a process with living members that costs a load or two for each row.
 *
 * All of it is written with the waitlist's mutex, which orders it; an inspector reads without it.
 *
 * The model: tests/model/semaphore.pml.
 */
#ifndef SHKI_HOLDINGS_H
#define SHKI_HOLDINGS_H

#include "segment/member.h"

struct shk_object_info;
struct shki_image;

struct shki_holding {
    _Atomic uint64_t process; /* the word of its row; written while there are no permits */
    _Atomic uint64_t member;  /* of the process, the last that took permits: most often it lives */
    _Atomic uint32_t permits; /* SM2: commits */
    uint32_t reserved_32;
};

struct shki_holdings_shared {
    _Atomic uint64_t came_back; /* permits so far, of processes that were over */
    _Atomic uint32_t rows;      /* those above have never been used */
    uint32_t reserved_32;
    struct shki_holding row[]; /* max_members */
};

/* A view of them; without a shared part all of it does nothing. */
struct shki_holdings {
    struct shk_segment *segment;
    struct shki_holdings_shared *shared; /* NULL: the semaphore has no owners */
};

static inline size_t shki_holdings_size(uint32_t max_members)
{
    return sizeof(struct shki_holdings_shared) + max_members * sizeof(struct shki_holding);
}

/* The view of those at an offset in the segment, if `owners` is set and there is room for them. */
struct shki_holdings shki_holdings_at(struct shk_segment *, uint32_t owners, uint64_t offset);

/* For the kind's describe(): they are at an offset in the extent. */
void shki_holdings_describe(const struct shki_image *, const struct shki_entry *, uint64_t offset,
                            struct shk_object_info *);

/* How many permits the calling process holds; -EUSERS: it has no row, and can hold none. */
int shki_holdings_mine(const struct shki_holdings *);

/*
 * With the mutex: the calling process, which has a row, takes permits, or gives up some that it
 * holds. A former process's permits in its row have come back before.
 */
void shki_holdings_take(const struct shki_holdings *, uint64_t member, uint32_t n);
void shki_holdings_give(const struct shki_holdings *, uint32_t n);

/* Whether permits of a process that is over have not come back. Without the mutex, too. */
bool shki_holdings_are_due(const struct shki_holdings *);

/* With the mutex: those have come back now. How many are held. */
uint64_t shki_holdings_settle(const struct shki_holdings *);

/* Find deaths that the kernel has not marked, of the members that took permits. */
void shki_holdings_recover(const struct shki_holdings *);

#endif
