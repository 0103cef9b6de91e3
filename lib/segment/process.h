/*
 * Which processes have which objects open. An object that has been unlinked keeps its memory until
 * the last of them has closed it or has ended.
 *
 * Processes are counted, not members: a handle belongs to all threads of its process, to those that
 * end, those that come, and those of a forked child that have not called anything yet. A lock on
 * the file would not do either: it needs a descriptor, and descriptors belong to the program.
 *
 *     FREE --claim--> LIVE ------------- unmap, or a later claim finds the process over ------+
 *     FREE --claim before a fork--> FORKING --the child takes it--> LIVE                      |
 *     FREE <----------------------- CLEARING <------------------------------------------------+
 *
 * A process is over
 *   - if no process has its pid, or a zombie has it;
 *   - if the pid has been used again: the start times differ;
 *   - if it does not map the segment any more: after an exec(3).
 * Most often one of its threads is a living member, and nothing else is checked. A process that
 * cannot be checked counts as one that is there.
 *
 * A child that is held up between fork(2) and its handler, while its parent ends, keeps its row for
 * FORK_LIMIT. A row is claimed without the segment's lock, for fork(2) must not wait for another
 * process. If none is free, `untracked` is set and memory is not reclaimed any more.
 *
 * A bit in `uses` is set under the segment's lock, before the object is found or published, and
 * read under it. Killed at any step: the row is that of a process that is over.
 *
 *     PR1: the word of a row. Each exchange pairs with the acquire of the next reader, so that a
 *          reader sees the row cleared, and `uses` as of that state.
 *     PR2: rows that have memory. The release of the exchange pairs with the acquire of each
 *          reader: else it would read rows that are not allocated.
 *     PR3: `untracked`. The release comes before the use of the object; it pairs with the acquire
 *          of the member that reclaims.
 */
#ifndef SHKI_PROCESS_H
#define SHKI_PROCESS_H

#include "segment/map.h"

/* Claim a row for this process, which has just mapped the segment: 0, -ENOSPC. */
int shki_process_enter(struct shk_segment *);

/* Free it; the segment is about to be unmapped. With `local`, as the following. */
void shki_process_leave(struct shk_segment *);

/* This process has the object of an entry open, or not any more. */
void shki_process_uses(struct shk_segment *, uint32_t entry);
void shki_process_uses_no_more(struct shk_segment *, uint32_t entry);

/* Whether any process has it open. Under the segment's lock. */
bool shki_process_any_uses(struct shk_segment *, uint32_t entry);

/*
 * The calling process as others know it: its row, and the row's word, which no other process has at
 * any time. False: it has none, or is the child of a raw fork(2).
 */
bool shki_process_self(const struct shk_segment *, uint32_t *row, uint64_t *word);

/*
 * Whether the process that had that row with that word is over: it has ended, executed another
 * program, or unmapped the segment. Loads only while one of its threads is a living member; else
 * system calls, and files of /proc.
 */
bool shki_process_is_over(const struct shk_segment *, uint32_t row, uint64_t word);

/* The pid in a row's word. */
static inline int32_t shki_process_pid(uint64_t word)
{
    return (int32_t)(word >> 32);
}
/* A thread of this process has become a member. */
void shki_process_joins(struct shk_segment *);

/*
 * This process is a producer of the object of an entry, or a consumer (enum shki_side_of), or not
 * any more. With `local`. Take: 0; -EUSERS: it has no row.
 */
int shki_process_takes_role(struct shk_segment *, uint32_t entry, unsigned side);
void shki_process_gives_up_role(struct shk_segment *, uint32_t entry, unsigned side);

/*
 * Whether any process has it. The roles of those that are over are ended, and their deaths noted
 * with the objects.
 */
bool shki_process_any_has_role(struct shk_segment *, uint32_t entry, unsigned side);

/* Under the segment's lock: no process has the entry open, which is about to be used anew. */
void shki_process_forget_role(struct shk_segment *, uint32_t entry);

/* Around fork(2), for each segment: a row for the child, which has open what its parent has. */
void shki_process_before_fork(struct shk_segment *);
void shki_process_after_fork(struct shk_segment *);

#endif
