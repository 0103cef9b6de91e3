/*
 * Which processes have which objects open. An object that has been unlinked keeps its memory until
 * the last of them has closed it or has ended.
 *
 * Not the members are asked: a handle belongs to all threads of its process, those that end, those
 * that come, and those of a forked child that have not called anything yet. And not a lock on the
 * file: that needs a descriptor, and descriptors belong to the program.
 *
 *     FREE --claim--> LIVE ------------------ unmap, or the next one finds its process over --+
 *     FREE --claim before a fork--> FORKING --the child takes it--> LIVE                      |
 *     FREE <----------------------- CLEARING <------------------------------------------------+
 *
 * A process is over if there is none of its number, if it has ended and is a zombie, if the number
 * has been used again (its start time differs), or if it does not map the segment any more: after
 * an exec(3). Mostly one of its threads is a living member, and nothing else is asked. What cannot
 * be known is taken to be in use.
 *
 * A child that is held up between fork(2) and its handler, while its parent ends, keeps its row for
 * FORK_LIMIT. A row is claimed without the segment's lock, for fork(2) must not wait for another
 * process. If none is left, `untracked` is set and memory is not reclaimed any more.
 *
 * Order: a bit is set under the segment's lock, before the object is found or published, and looked
 * at under it. Killed at any step: the row is that of a process that is over.
 */
#ifndef SHKI_PROCESS_H
#define SHKI_PROCESS_H

#include "segment/segment.h"

/* Claim a row for this process, which has just mapped the segment: 0, -ENOSPC. */
int shki_process_enter(struct shk_segment *);

/* Give it back; the segment is about to be unmapped. With `local`, as the following. */
void shki_process_leave(struct shk_segment *);

/* This process has the object of an entry open, or not any more. */
void shki_process_uses(struct shk_segment *, uint32_t entry);
void shki_process_uses_no_more(struct shk_segment *, uint32_t entry);

/* Whether any process has it open. Under the segment's lock. */
bool shki_process_any_uses(struct shk_segment *, uint32_t entry);

/* Around fork(2), for each segment: a row for the child, which has open what its parent has. */
void shki_process_before_fork(struct shk_segment *);
void shki_process_after_fork(struct shk_segment *);

#endif
