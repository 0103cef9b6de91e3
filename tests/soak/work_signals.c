/* The turnstile of two events, and the semaphore. */
#include "soak.h"

#include <unistd.h>

/*
 * The turnstile: everybody must pass the event that is set before it is cleared and the other one
 * is set. The turner is alone; its replacement goes on with the phase that it finds.
 */
static bool all_have_passed(uint32_t phase)
{
    for (unsigned i = 0; i < PLACES_MAX; i++) {
        const struct place *place = &notes->place[i];

        if (place->life > 0 && place->role == PASSENGER && atomic_load(&place->laps) % 2 == phase)
            return false;
    }
    return true;
}

void turn(void)
{
    while (!stopping()) {
        uint32_t phase = atomic_load(&notes->phase);

        expect("event_set", shk_event_set(turnstile[phase]));
        while (!all_have_passed(phase) && !stopping())
            usleep(20 + (unsigned)chance(100));
        if (stopping())
            return;
        expect("event_clear", shk_event_clear(turnstile[phase]));
        atomic_store(&notes->phase, !phase);
        get_on();
    }
}

void pass(void)
{
    while (!stopping()) {
        uint64_t laps = atomic_load(&me->laps);
        long long r = shk_event_wait(turnstile[laps % 2],
                                     me->mortal && chance(4) == 0 ? SHK_MS(1) : SHK_FOREVER);

        if (is_wait_over(r))
            continue;
        expect("event_wait", r);
        if (atomic_load(&notes->phase) != laps % 2 && !stopping())
            fail("an event_wait returned, and the event had not been set");
        /* killed before: the event stays set until the next one has passed */
        atomic_store(&me->laps, laps + 1);
        get_on();
    }
}

/*
 * The semaphore: permits are given when there are none left. A permit that waits while an actor
 * sleeps would stop it.
 */
void post(void)
{
    while (!stopping()) {
        if (shk_semaphore_value(permits) == 0) {
            uint32_t n = 1 + (uint32_t)chance(3);

            atomic_store(&me->count, n);
            begin(POSTING);
            expect("semaphore_release", shk_semaphore_release(permits, n));
            atomic_fetch_add(&me->given, n);
            end_step();
        }
        get_on();
        if (chance(2) == 0)
            pause_a_little();
    }
}

void wait_for_permits(void)
{
    while (!stopping()) {
        long long r;

        begin(PERMIT_WAITING);
        r = shk_semaphore_acquire(permits, me->mortal && chance(4) == 0 ? SHK_MS(1) : SHK_FOREVER);
        if (r == 0)
            atomic_fetch_add(&me->taken, 1);
        end_step();
        if (!is_wait_over(r))
            expect("semaphore_acquire", r);
        if (r == 0)
            get_on();
    }
}
