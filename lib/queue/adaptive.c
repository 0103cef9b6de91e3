#include "queue/adaptive.h"

#include "base/deadline.h"

#include <time.h>

/*
 * ns: a side that stays awake goes before those who sleep for so long. Longer turns make the longest
 * wait of a sleeper longer (bench row W2), shorter ones cost items a second (W1).
 */
#define TURN 200000
/* Each turn that no sleeper uses doubles the next one, so often: sleepers may be stopped, or dead. */
#define MISSES_MAX 11u
/* ns: a sleeper that was woken takes about this long to run and to take an item: bench row W2 */
#define TURN_PAUSE 50000
/* Every 32nd wake-up is not spared, so that a sleeper gets its chance, though a small one: W2 */
#define SPARED_MAX 32u

bool shki_turn_is_over(struct shki_adaptive *a)
{
    uint32_t waits = load_relaxed(&a->waits) + 1;
    int64_t since = load_relaxed(&a->since), now;

    store_relaxed(&a->waits, waits);
    if (waits % SHKI_LOOK_AT_CLOCK != 0)
        return false;
    now = shki_now();
    if (since != 0 && now - since < (int64_t)TURN << load_relaxed(&a->misses))
        return false;
    store_relaxed(&a->since, now);
    return since != 0;
}

void shki_turn_pause(void)
{
    static const struct timespec pause = {.tv_nsec = TURN_PAUSE};

    nanosleep(&pause, NULL);
}

void shki_turn_was_used(struct shki_adaptive *a, bool used)
{
    uint32_t misses = load_relaxed(&a->misses);

    if (used)
        store_relaxed(&a->misses, 0);
    else if (misses < MISSES_MAX)
        store_relaxed(&a->misses, misses + 1);
}

void shki_turn_ends(struct shki_adaptive *a)
{
    store_relaxed(&a->since, 0);
}

bool shki_spare_wakeup(struct shki_adaptive *a, bool (*is_used_up)(const void *arg),
                       const void *arg)
{
    uint32_t spared;

    if (!shki_spin_short(&a->others, is_used_up, arg))
        return false;
    spared = load_relaxed(&a->spared) + 1;
    store_relaxed(&a->spared, spared);
    return spared % SPARED_MAX != 0;
}
