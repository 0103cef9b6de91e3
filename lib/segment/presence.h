/*
 * Lines: whether an object still has a producer, or a consumer, among the processes that have said
 * that they are one (SHK_AS() in shmkit/queue.h). A line is one side of an object, from its first
 * producer to the end of its last, and so for consumers. It ends as a pipe does.
 *
 * What always holds: a line has ended (SHKI_PRESENCE_ENDED) only if, at one moment since it began,
 * no process with the role was there. So a consumer that finds no item, then that the line of the
 * producers has ended, and then still no item, has seen the last one that they put.
 *
 * Roles are bits in the rows of processes (process.h): RO2. They belong to processes, as handles
 * do. A child of fork(2) has the roles of its parent until it closes the handles, execs or ends, so
 * that a parent may end before its child has begun. It is a producer that can die only after its
 * first call.
 *
 *     opener                                     closer, or a waiter at each recheck interval
 *     RO2: sets its bit                          RO2: a closer clears its bit; fence
 *     RO1: the word of the line: one more, HAD;  RO1: reads the word
 *          ENDED and DIED are cleared if it      RO2: any process with the bit? the dead lose it,
 *          had ended                                  and DIED is set for them
 *                                                RO1: no more openers than before? then sets ENDED
 *                                                     and wakes the waiters
 *
 * An opener whose bit the check does not see comes to RO1 after it: between the two reads of the
 * word, and then ENDED is not set; or later, and begins the line anew. If the word were exchanged
 * before the bit is set, a check in between would end a line that has a producer.
 *
 * DIED says that a producer of this line has died. It is set before the dead lose their bits, and
 * so before ENDED. It may be set twice for one death, which is the same.
 *
 * Killed where:
 *   - An opener between RO2 and RO1: a dead producer, which the next check finds.
 *   - A closer after it has cleared its bit, or a member that has set ENDED, before it wakes the
 *     others: these check at the end of their recheck interval.
 *
 * The model: tests/model/roles.pml.
 */
#ifndef SHKI_PRESENCE_H
#define SHKI_PRESENCE_H

#include "base/atomic.h"
#include "segment/layout.h"

#include <stdbool.h>

struct shk_segment;

/* The sides, and the places of their words: SHK_PRODUCER is 1 << the first, and so on. */
enum shki_side_of { SHKI_PRODUCERS = 0, SHKI_CONSUMERS = 1, SHKI_SIDES = 2 };

/* The word of a line; above these bits it counts the openers. */
enum {
    SHKI_PRESENCE_HAD = 1,
    SHKI_PRESENCE_ENDED = 2,
    SHKI_PRESENCE_DIED = 4,
    SHKI_PRESENCE_FLAGS = 7,
    SHKI_PRESENCE_ONCE = 8
};

static inline uint64_t shki_presence(const struct shki_entry *e, unsigned side)
{
    /* RO1: acquire; pairs with each exchange of the word: what the producers put is visible. */
    return load_acquire(&e->line[side]);
}

/* A process has set its bit. */
static inline void shki_presence_note_begin(struct shki_entry *e, unsigned side)
{
    uint64_t before = shki_presence(e, side), after;

    do { /* RO1: release: after the bit */
        after = (before | SHKI_PRESENCE_HAD) + SHKI_PRESENCE_ONCE;
        if (before & SHKI_PRESENCE_ENDED)
            after &= ~(uint64_t)(SHKI_PRESENCE_ENDED | SHKI_PRESENCE_DIED);
    } while (!compare_exchange_acq_rel(&e->line[side], &before, after));
}

/* A process has died that had the role. */
static inline void shki_presence_note_death(struct shki_entry *e, unsigned side)
{
    fetch_or_release(&e->line[side], SHKI_PRESENCE_DIED); /* RO1: before its bit is cleared */
}

/*
 * This process has one more handle of the object that has the roles (SHK_PRODUCER | SHK_CONSUMER),
 * or one less. Begin: 0 or -EUSERS. End calls tell(object) if a line has ended with that.
 */
int shki_presence_begin(struct shk_segment *, uint32_t entry, unsigned roles);
void shki_presence_end(struct shk_segment *, uint32_t entry, unsigned roles,
                       void (*tell)(void *object), void *object);

/* Whether the line has ended just now: then the caller wakes those that wait for that. */
bool shki_presence_check(struct shk_segment *, uint32_t entry, unsigned side);

#endif
