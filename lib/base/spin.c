#include "base/spin.h"

#include "base/deadline.h"
#include "base/hooks.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- The policies, each with its constants ---- */

/*
 * How long to spin. ns: 10 to 20 us were best where a wake-up took 60 us. A spin costs at most what
 * it can save (Karlin, Li, Manasse, Owicki 1991). Bench rows W3 awake, W2.
 */
#define SPIN_DEFAULT 20000
#define SPIN_MAX     SHK_MS(10) /* ns: the most that SHK_SPIN can set */

/*
 * Backoff: each spin that misses halves the budget, so often; each one that hits doubles it. 20 us
 * >> 3 is still long enough for a hand-off between running CPUs. Bench rows W3 asleep on one CPU,
 * W2, W6 with 64 locks.
 */
#define BACKOFF_MAX 3

/*
 * Probe: some of the calls at the least budget spin for 20 us << 2, which is longer than it takes
 * to wake the other side on another CPU. Without it two sides that sleep would never find out that
 * spinning pays again. Bench row W3 awake (without it some round trips sleep, 50 us in place of
 * 0.7), W2.
 */
#define PROBE_FIRST     32   /* calls: this one and, from it on, each power of two; … */
#define PROBE_EVERY     1024 /* … and each multiple of this */
#define PROBE_DOUBLINGS 2

/*
 * Checks between two reads of the clock, which costs as much as some of them: a spin ends by so
 * many late, and no policy depends on it.
 */
#define CHECKS_PER_CLOCK 16

/*
 * Yielding the CPU where spins miss: see yield_cpu(). Bench rows W3 asleep on one CPU, W6 with 64
 * locks.
 */
#define YIELD_REPAID   50    /* ns a call: a sleep takes 20 times as long at least */
#define YIELD_DEBT_MAX 10000 /* calls, for one yield */
/* calls; below YIELD_DEBT_MAX, so that one yield that loses much ends yielding for a while */
#define YIELD_CREDIT_MAX 5000

/*
 * Short spin. Checks, of about 50 ns each: longer than a member that is awake needs, and little
 * beside the cost of a wake-up. After n misses in a row one call in 2^n spins. Bench row W2.
 */
#define SHORT_SPIN_CHECKS      24
#define SHORT_SPIN_BACKOFF_MAX 10

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
static int64_t budget(struct shki_spinner *spinner, uint32_t backoff, bool yields)
{
    uint32_t misses;

    if (backoff < BACKOFF_MAX)
        return shki_spin_longest >> backoff;
    misses = load_relaxed(&spinner->misses) + 1;
    store_relaxed(&spinner->misses, misses);
    /* at powers of two, later every PROBE_EVERY */
    if (misses >= PROBE_FIRST && shki_policy(SHKI_POLICY_PROBE) &&
        ((misses & (misses - 1)) == 0 || misses % PROBE_EVERY == 0))
        return shki_spin_longest << PROBE_DOUBLINGS;
    return yields ? 0 : shki_spin_longest >> BACKOFF_MAX;
}

static void note_hit(struct shki_spinner *spinner, uint32_t backoff)
{
    store_relaxed(&spinner->hit, 1);
    if (backoff == 0)
        return;
    store_relaxed(&spinner->backoff, backoff - 1);
    store_relaxed(&spinner->misses, 0);
}

/*
 * Yield the CPU to the other side, where both are on one CPU: that costs less than a sleep and a
 * wake-up. It is in vain if no thread wants the CPU. It loses time if an unrelated thread gets the
 * CPU and keeps it for milliseconds, where a sleeper would have been woken in time.
 *
 * The time that a yield has lost becomes a debt. Each call repays YIELD_REPAID of it, and until the
 * debt is repaid there is no other yield. So yields cost YIELD_REPAID a call on average at most. A
 * credit of up to YIELD_CREDIT_MAX calls absorbs single yields that a clock tick has delayed.
 */
static bool yield_cpu(struct shki_spinner *spinner, bool (*ready)(const void *arg), const void *arg)
{
    int32_t yield_debt = load_relaxed(&spinner->yield_debt);
    int64_t took;
    bool is_ready;

    if (!shki_policy(SHKI_POLICY_YIELD))
        return false;
    if (yield_debt > -YIELD_CREDIT_MAX)
        yield_debt--;
    if (yield_debt < 0) {
        took = shki_now();
        sched_yield();
        is_ready = ready(arg);
        took = shki_now() - took;
        if (!is_ready || took >= shki_spin_longest)
            yield_debt += took < (int64_t)YIELD_DEBT_MAX * YIELD_REPAID
                              ? (int32_t)(took / YIELD_REPAID)
                              : YIELD_DEBT_MAX;
        else if (pinned || one_cpu) /* elsewhere probes go on: a spin may be a hit again */
            store_relaxed(&spinner->misses, 0);
    } else {
        is_ready = false;
    }
    store_relaxed(&spinner->yield_debt, yield_debt);
    return is_ready;
}

/* `checks`: checks between two reads of the clock. `yields`: yield where spins are in vain. */
static bool spin(struct shki_spinner *spinner, int checks, bool yields,
                 bool (*ready)(const void *arg), const void *arg)
{
    uint32_t backoff = shki_policy(SHKI_POLICY_BACKOFF) ? load_relaxed(&spinner->backoff) : 0;
    int64_t length, end;

    if (!shki_policy(SHKI_POLICY_SPIN))
        return ready(arg);
    if (one_cpu) /* the other side needs it */
        return (shki_spin_longest && yield_cpu(spinner, ready, arg)) || ready(arg);
    length = shki_spin_longest ? budget(spinner, backoff, yields) : 0;
    if (yields && shki_spin_longest && backoff == BACKOFF_MAX && yield_cpu(spinner, ready, arg))
        return true;
    if (length == 0)
        return ready(arg);
    end = shki_now() + length;
    do {
        for (int i = 0; i < checks; i++) {
            if (ready(arg)) {
                note_hit(spinner, backoff);
                return true;
            }
            shki_pause();
        }
    } while (shki_now() < end);
    store_relaxed(&spinner->hit, 0);
    if (backoff < BACKOFF_MAX)
        store_relaxed(&spinner->backoff, backoff + 1);
    return false;
}

bool shki_spin(struct shki_spinner *spinner, bool (*ready)(const void *arg), const void *arg)
{
    pthread_once(&once, setup);
    return spin(spinner, CHECKS_PER_CLOCK, pinned, ready, arg);
}

bool shki_spin_at_mutex(struct shki_spinner *spinner, bool (*ready)(const void *arg),
                        const void *arg)
{
    pthread_once(&once, setup);
    return spin(spinner, 1, true, ready, arg);
}

bool shki_spin_short(struct shki_spinner *spinner, bool (*done)(const void *arg), const void *arg)
{
    uint32_t backoff = load_relaxed(&spinner->backoff), misses = load_relaxed(&spinner->misses) + 1;

    pthread_once(&once, setup);
    if (shki_spin_longest == 0 || one_cpu || !shki_policy(SHKI_POLICY_SPARED))
        return false;
    store_relaxed(&spinner->misses, misses);
    if (misses & ((1u << backoff) - 1)) /* one call in 2^backoff only */
        return false;
    for (int i = 0; i < SHORT_SPIN_CHECKS; i++) {
        if (done(arg)) {
            store_relaxed(&spinner->backoff, 0);
            return true;
        }
        shki_pause();
    }
    if (backoff < SHORT_SPIN_BACKOFF_MAX)
        store_relaxed(&spinner->backoff, backoff + 1);
    return false;
}

bool shki_spin_for(int64_t ns, bool (*ready)(const void *arg), const void *arg)
{
    int64_t end = shki_now() + ns;

    do {
        for (int i = 0; i < CHECKS_PER_CLOCK; i++) {
            if (ready(arg))
                return true;
            shki_pause();
        }
        sched_yield(); /* the other side may want this CPU */
    } while (shki_now() < end);
    return false;
}
