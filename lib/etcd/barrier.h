/*
 * A barrier on etcd.
 *
 *     round        number of the round, whether the barrier is broken, and the last round at whose
 *                  end the parties had not met; absent: the first round
 *     party/R/T    a thread that has arrived in round R, with its process's lease
 *
 *     arrive                                     end a round
 *     compare round is as it was seen            compare round is as it was seen
 *     put party/R/T, count party/R/              put round + 1, delete party/R-1/
 *
 * What ends a round: the last party, together with its arrival, if no party/R/ has been written
 * since it saw all others; else any party that sees all. A party that gives up, or sees that the
 * key of another one has gone, breaks the barrier; so do abort, and reset, which mends it. The
 * first of them ends the round, and fails the others: so all parties are told the same. They watch
 * `round`; what it says of failed rounds tells also a party that comes late what became of its own.
 *
 * Keys of a round stay until the next one has ended: the reply to an arrival may be lost, and the
 * round be over when it is asked again.
 *
 * Twice, or late: `round` is another one then. Late, and in the same round still: an arrival of a
 * party that has given up. The watch breaks the barrier for it, as the party would have. An arrival
 * as the last one is refused because others have come: then its party arrives again, and as long as
 * that key is there, which was written after, no earlier sending is carried out.
 */
#ifndef SHKE_BARRIER_H
#define SHKE_BARRIER_H

#include "etcd/line.h"

struct shke_barrier {
    struct shke_object object;
    struct shke_watch *watch;
    uint32_t parties;

    /* ---- With the object's lock ---- */
    struct shke_line arrived; /* party/ */
    int64_t round_mod, round_known;
    int64_t round, failed;
    bool is_broken;
    int64_t death;  /* the last round in which the key of a party has gone */
    bool is_trying; /* a thread of this process is about to end the round */
};

/* How a round ends. */
enum shke_round_end { SHKE_MET, SHKE_BROKEN, SHKE_RESET };

/* What the watch tells. With the object's lock. */
void shke_barrier_event(struct shke_barrier *, const struct shke_kv *, bool deleted);
/* With the object's lock: how many have arrived in the round, as far as is known. */
uint32_t shke_barrier_count(const struct shke_barrier *);

/* Ask the servers, and note what they say: the revision, or an error. Without the object's lock. */
int64_t shke_barrier_look(struct shke_barrier *, const struct shke_trial *);

/*
 * With the object's lock, which is not held over the request: 0; 1: the round was not as it was
 * known; or as shke_call(). Arrive: *index; `last`: and end the round so.
 */
int shke_barrier_arrive(struct shke_barrier *, struct shke_ticket *, bool last, uint32_t *index,
                        const struct shke_trial *);
int shke_barrier_end(struct shke_barrier *, enum shke_round_end, const struct shke_trial *);

/* ---- barrier_txn.c: see sight.h ---- */

void shke_barrier_sight_look(struct shke_txn *, const char *prefix);
int shke_barrier_sight_tell(struct shke_sight *, struct shk_object_info *);

#endif
