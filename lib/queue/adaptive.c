#include "queue/adaptive.h"

#include "base/deadline.h"
#include "base/hooks.h"

#include <time.h>

/*
 * ns: a side that stays awake goes before the sleepers for so long. Longer turns make the longest
 * wait of a sleeper longer (bench row W2), shorter ones cost items a second (W1).
 */
#define TURN 200000
/*
 * Each turn that no sleeper uses doubles the next one, so often: sleepers may be stopped, or dead.
 * With capacity 1 and one of two producers stopped, the other would put a third less.
 */
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
    if (waits % SHKI_CLOCK_EVERY != 0 || !shki_policy(SHKI_POLICY_TURN))
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

/* ---- Slip ---- */

/* Items, or free slots: a side that finds no more is close. Bench row W1/8. */
#define SLIP_CLOSE_ITEMS 8u
/*
 * The same in a ring whose sides do not back off, having fewer than SHKI_SLIP_PAUSES slots: a side
 * that finds more goes on reading the other's count, which a round trip does not want (bench row
 * W3) and the high-water mark does.
 */
#define SLIP_CLOSE_ITEMS_FEW 2u
/* Items, or free slots: so many make up for the pauses. Bench row W1/8. */
#define SLIP_PAID 8u
/*
 * Doublings: a side that has backed off in vain so often tries once in 1024 checks. Otherwise a
 * round trip would pay for pauses: bench row W3, where zero copy would take 1.75 times as long.
 */
#define SLIP_FAILED_MAX 8u
/*
 * Pauses: a bound, so that no item is so large that a thread which wants the lock gives up spinning
 * for one that backs off. Where it is reached it brings and costs nothing: bench row W1/64 KiB.
 */
#define SLIP_PAUSES_MAX 1024u

void shki_slip_back_off(uint64_t stride)
{
    /*
     * Half a pause a byte: longer for larger items, so that as many come meanwhile. Bench row W1/1
     * KiB, zero copy: a sixth more items a second; copied, and at 64 B, no difference.
     */
    uint64_t pauses = SHKI_SLIP_PAUSES + stride / 2;

    for (uint64_t i = 0; i < pauses && i < SLIP_PAUSES_MAX && shki_policy(SHKI_POLICY_SLIP); i++)
        shki_pause();
}

void shki_slip_learn(struct shki_slip *s, uint64_t capacity, bool backed_off, uint64_t n)
{
    if (backed_off) {
        bool paid = n >= SLIP_PAID;

        /* The other side half a lap ahead: then this side keeps the other waiting. */
        s->close = paid && n < capacity / 2 ? SHKI_SLIP_CLOSE : 0;
        s->failed_backoffs = paid ? 0 : s->failed_backoffs + (s->failed_backoffs < SLIP_FAILED_MAX);
    } else if (n > (capacity < SHKI_SLIP_PAUSES ? SLIP_CLOSE_ITEMS_FEW : SLIP_CLOSE_ITEMS)) {
        s->close = 0;
    } else if (n > 0) {
        s->close++;
    }
}

/* ---- Hybrid poll ---- */

/*
 * Sixteenths of a pause: the pauses become so many longer after a first poll that was too early,
 * and one shorter after one that was not. So one wait in three polls too early, and the item waits
 * less than it would for a later poll. Bench row W3.
 */
#define POLL_TOO_EARLY 2u
/* Sixteenths: from so many on, one in so many less, too: long pauses are soon over in a burst. */
#define POLL_LONG 128u

bool shki_adaptive_may_poll(struct shki_adaptive *a)
{
    uint32_t waits = load_relaxed(&a->waits) + 1;

    if (waits % SHKI_CLOCK_EVERY == 0) /* the slow loop counts it */
        return false;
    store_relaxed(&a->waits, waits);
    return true;
}

void shki_poll_learn(struct shki_poll_estimate *e, unsigned misses)
{
    uint32_t parts = load_relaxed(&e->sixteenths);

    if (misses == SHKI_POLLS) /* it does not come soon */
        parts = 0;
    else if (misses > 0)
        parts += parts < SHKI_POLLS * 16 ? POLL_TOO_EARLY : 0;
    else if (parts > 0)
        parts -= 1 + parts / POLL_LONG;
    store_relaxed(&e->sixteenths, parts);
}
