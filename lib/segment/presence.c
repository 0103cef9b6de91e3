#include "segment/presence.h"

#include "segment/process.h"
#include "segment/registry.h"
#include "segment/tables.h"

#define TRIES 4 /* of a check that is overtaken by openers: they are there, then */

/* How many openers there were. */
static uint64_t openers(uint64_t line)
{
    return line / SHKI_PRESENCE_ONCE;
}

bool shki_presence_check(struct shk_segment *s, uint32_t entry, unsigned side)
{
    struct shki_entry *e = shki_entry_at(s, entry);

    for (int i = 0; e && i < TRIES; i++) {
        uint64_t line = shki_presence(e, side), now;

        if ((line & (SHKI_PRESENCE_HAD | SHKI_PRESENCE_ENDED)) != SHKI_PRESENCE_HAD ||
            shki_process_any_has_role(s, entry, side))
            return false;
        now = shki_presence(e, side); /* with DIED, perhaps */
        /*
         * RO1: release: after the bits have been read. Killed after: waiters find it at the end of
         * their recheck interval.
         */
        if (openers(now) == openers(line) &&
            compare_exchange_acq_rel(&e->line[side], &now, now | SHKI_PRESENCE_ENDED))
            return !(now & SHKI_PRESENCE_ENDED);
    }
    return false;
}

static uint32_t *handles(struct shk_segment *s, uint32_t entry, unsigned side)
{
    return &s->roles[SHKI_SIDES * entry + side];
}

int shki_presence_begin(struct shk_segment *s, uint32_t entry, unsigned roles)
{
    int r = 0;

    pthread_mutex_lock(&s->local);
    for (unsigned side = 0; side < SHKI_SIDES && r == 0; side++)
        if (roles >> side & 1) {
            r = shki_process_takes_role(s, entry, side);
            /* Killed here: a dead producer. Its line begins with the exchange, or has begun. */
            if (r == 0) {
                *handles(s, entry, side) += 1;
                shki_presence_note_begin(shki_entry_at(s, entry), side);
            }
        }
    pthread_mutex_unlock(&s->local);
    return r;
}

void shki_presence_end(struct shk_segment *s, uint32_t entry, unsigned roles,
                       void (*tell)(void *object), void *object)
{
    unsigned given_up = 0, ended = 0;

    pthread_mutex_lock(&s->local);
    for (unsigned side = 0; side < SHKI_SIDES; side++)
        if (roles >> side & 1 && --*handles(s, entry, side) == 0 && s->base) {
            shki_process_gives_up_role(s, entry, side);
            given_up |= 1u << side;
        }
    s->pins += given_up != 0;
    pthread_mutex_unlock(&s->local);
    if (given_up == 0)
        return;
    /*
     * RO2: the own bit is cleared before those of the others are read; pairs with the same fence of
     * another closer: the last of them finds that there is none. Killed here: a waiter does.
     */
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned side = 0; side < SHKI_SIDES; side++)
        if (given_up >> side & 1)
            ended |= shki_presence_check(s, entry, side);
    if (ended)
        tell(object);
    shki_segment_unpin(s);
}
