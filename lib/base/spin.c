#include "base/spin.h"

#include "base/deadline.h"
#include "base/hooks.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define SPIN_DEFAULT 20000 /* ns: 10 to 20 us were best where a wake-up took 60 us */
#define SPIN_MAX     SHK_MS(10)
#define SHIFT_MAX    3 /* 20 us >> 3: still long enough for a hand-off between running CPUs */
#define PROBE_FIRST  32
#define PROBE_EVERY  1024
/* 20 us << 2: longer than it takes to wake the other side on another CPU */
#define PROBE_SHIFT    2
#define BURST          16    /* checks between two reads of the clock */
#define YIELD_REPAID   50    /* ns a call: a sleep takes 20 times as long at least */
#define YIELD_DEBT_MAX 10000 /* calls, for one yield */
/* calls; below YIELD_DEBT_MAX, so that one yield that loses much ends yielding for a while */
#define CREDIT_MAX 5000
/*
 * checks, of about 50 ns each: longer than a member that is awake needs, and little beside the cost
 * of a wake-up
 */
#define SHORT_SPINS          24
#define SHORT_SPIN_SHIFT_MAX 10

int64_t shki_spin_longest;
static bool pinned;  /* the process may run on one CPU: the other side may be on the same */
static bool one_cpu; /* the machine has one: the other side is on it */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void setup(void)
{
    cpu_set_t cpus;
    const char *text = secure_getenv("SHK_SPIN");
    char *end;

    shki_spin_longest = SPIN_DEFAULT;
    if (text && *text) {
        long long n = strtoll(text, &end, 10);
        if (*end == '\0' && n >= 0)
            shki_spin_longest = n > SPIN_MAX ? SPIN_MAX : n;
    }
    one_cpu = sysconf(_SC_NPROCESSORS_ONLN) == 1;
    pinned = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) < 2;
}

/*
 * The budget of this spin, ns. Where both sides sleep, the wake-up of each takes longer than the
 * other's smallest budget, and no spin would ever be a hit: therefore a long probe now and then.
 */
static int64_t budget(struct shki_spinner *spinner, uint32_t shift, bool gives_way)
{
    uint32_t misses;

    if (shift < SHIFT_MAX)
        return shki_spin_longest >> shift;
    misses = load_relaxed(&spinner->misses) + 1;
    store_relaxed(&spinner->misses, misses);
    /* at powers of two, later every PROBE_EVERY */
    if (misses >= PROBE_FIRST && shki_policy(SHKI_POLICY_PROBE) &&
        ((misses & (misses - 1)) == 0 || misses % PROBE_EVERY == 0))
        return shki_spin_longest << PROBE_SHIFT;
    return gives_way ? 0 : shki_spin_longest >> SHIFT_MAX;
}

static void note_hit(struct shki_spinner *spinner, uint32_t shift)
{
    store_relaxed(&spinner->hit, 1);
    if (shift == 0)
        return;
    store_relaxed(&spinner->backoff, shift - 1);
    store_relaxed(&spinner->misses, 0);
}

/*
 * Yield the CPU to the other side, where both are on one CPU: that costs less than a sleep and a
 * wake-up. It is in vain if no thread wants the CPU. It loses time if an unrelated thread gets the
 * CPU and keeps it for milliseconds, where a sleeper would have been woken in time.
 *
 * The time that a yield has lost becomes a debt. Each call repays YIELD_REPAID of it, and until the
 * debt is repaid there is no other yield. So yields cost YIELD_REPAID a call on average at most. A
 * credit of up to CREDIT_MAX calls absorbs single yields that a clock tick has delayed.
 */
static bool give_way(struct shki_spinner *spinner, bool (*ready)(const void *arg), const void *arg)
{
    int32_t yield_debt = load_relaxed(&spinner->yield_debt);
    int64_t took;
    bool is_ready;

    if (!shki_policy(SHKI_POLICY_YIELD))
        return false;
    if (yield_debt > -CREDIT_MAX)
        yield_debt--;
    if (yield_debt < 0) {
        took = shki_now();
        sched_yield();
        is_ready = ready(arg);
        took = shki_now() - took;
        if (!is_ready || took >= shki_spin_longest)
            yield_debt += took < YIELD_DEBT_MAX * YIELD_REPAID ? (int32_t)(took / YIELD_REPAID)
                                                               : YIELD_DEBT_MAX;
        else if (pinned || one_cpu) /* elsewhere probes go on: a spin may be a hit again */
            store_relaxed(&spinner->misses, 0);
    } else {
        is_ready = false;
    }
    store_relaxed(&spinner->yield_debt, yield_debt);
    return is_ready;
}

/* `burst`: checks between two reads of the clock. `gives_way`: yield where spins are in vain. */
static bool spin(struct shki_spinner *spinner, int burst, bool gives_way,
                 bool (*ready)(const void *arg), const void *arg)
{
    uint32_t shift = shki_policy(SHKI_POLICY_BACKOFF) ? load_relaxed(&spinner->backoff) : 0;
    int64_t length, end;

    if (!shki_policy(SHKI_POLICY_SPIN))
        return ready(arg);
    if (one_cpu) /* the other side needs it */
        return (shki_spin_longest && give_way(spinner, ready, arg)) || ready(arg);
    length = shki_spin_longest ? budget(spinner, shift, gives_way) : 0;
    if (gives_way && shki_spin_longest && shift == SHIFT_MAX && give_way(spinner, ready, arg))
        return true;
    if (length == 0)
        return ready(arg);
    end = shki_now() + length;
    do {
        for (int i = 0; i < burst; i++) {
            if (ready(arg)) {
                note_hit(spinner, shift);
                return true;
            }
            shki_pause();
        }
    } while (shki_now() < end);
    store_relaxed(&spinner->hit, 0);
    if (shift < SHIFT_MAX)
        store_relaxed(&spinner->backoff, shift + 1);
    return false;
}

bool shki_spin(struct shki_spinner *spinner, bool (*ready)(const void *arg), const void *arg)
{
    pthread_once(&once, setup);
    return spin(spinner, BURST, pinned, ready, arg);
}

bool shki_spin_at_mutex(struct shki_spinner *spinner, bool (*ready)(const void *arg),
                        const void *arg)
{
    pthread_once(&once, setup);
    return spin(spinner, 1, true, ready, arg);
}

bool shki_spin_short(struct shki_spinner *spinner, bool (*done)(const void *arg), const void *arg)
{
    uint32_t shift = load_relaxed(&spinner->backoff), misses = load_relaxed(&spinner->misses) + 1;

    pthread_once(&once, setup);
    if (shki_spin_longest == 0 || one_cpu || !shki_policy(SHKI_POLICY_SPARED))
        return false;
    store_relaxed(&spinner->misses, misses);
    if (misses & ((1u << shift) - 1)) /* one call in 2^shift only */
        return false;
    for (int i = 0; i < SHORT_SPINS; i++) {
        if (done(arg)) {
            store_relaxed(&spinner->backoff, 0);
            return true;
        }
        shki_pause();
    }
    if (shift < SHORT_SPIN_SHIFT_MAX)
        store_relaxed(&spinner->backoff, shift + 1);
    return false;
}

bool shki_spin_for(int64_t ns, bool (*ready)(const void *arg), const void *arg)
{
    int64_t end = shki_now() + ns;

    do {
        for (int i = 0; i < BURST; i++) {
            if (ready(arg))
                return true;
            shki_pause();
        }
        sched_yield(); /* the other side may want this CPU */
    } while (shki_now() < end);
    return false;
}
