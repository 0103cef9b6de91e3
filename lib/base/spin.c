#include "base/spin.h"

#include "base/patience.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define SPIN_DEFAULT 20000 /* ns: evidence says that 10 to 20 us pay */
#define SPIN_MAX     SHK_MS(10)
#define SHIFT_MAX    3 /* 20 us >> 3: still long enough for a hand-off between running CPUs */
#define PROBE_FIRST  32
#define PROBE_EVERY  1024
#define PROBE_SHIFT  2  /* 20 us << 2: longer than it takes to wake the other side on another CPU */
#define BURST        16 /* pauses between two looks at the clock */
#define MADE_GOOD    50 /* ns in each call: a sleep takes 20 times as long at least */
#define OWED_MAX     10000 /* for one try */
/* less than that: who loses so much leaves it alone, whatever has been made good before */
#define CREDIT_MAX 5000
/*
 * looks, of about 50 ns: longer than one who is awake takes, and nothing beside what it costs to
 * wake somebody
 */
#define GLANCES          24
#define GLANCE_SHIFT_MAX 10

int64_t shki_spin_longest;
static bool pinned;  /* to one CPU: the other side may be on the same */
static bool one_cpu; /* there is no other: it is on the same */
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
 * How long to stay awake this time. Where both sides sleep each other's wake-up takes longer than
 * either would spin, so neither would ever find that it pays: now and then a long try finds out.
 */
static int64_t budget(struct shki_spinner *spinner, uint32_t shift, bool gives_way)
{
    uint32_t vain;

    if (shift < SHIFT_MAX)
        return shki_spin_longest >> shift;
    vain = atomic_load_explicit(&spinner->vain, memory_order_relaxed) + 1;
    atomic_store_explicit(&spinner->vain, vain, memory_order_relaxed);
    /* ever more rarely */
    if (vain >= PROBE_FIRST && ((vain & (vain - 1)) == 0 || vain % PROBE_EVERY == 0))
        return shki_spin_longest << PROBE_SHIFT;
    return gives_way ? 0 : shki_spin_longest >> SHIFT_MAX;
}

static void paid(struct shki_spinner *spinner, uint32_t shift)
{
    atomic_store_explicit(&spinner->pays, 1, memory_order_relaxed);
    if (shift == 0)
        return;
    atomic_store_explicit(&spinner->shift, shift - 1, memory_order_relaxed);
    atomic_store_explicit(&spinner->vain, 0, memory_order_relaxed);
}

/*
 * Where spinning does not pay since both sides are on one CPU: let the other one have it, which
 * costs less than to be put to sleep and woken. It does not pay if nobody wants the CPU, or
 * somebody else does and keeps it for milliseconds, when a sleeper would have been woken in time.
 * What a try has lost is made good little by little, in each call, and until then there is no
 * other. What has been made good in advance lets it get over the odd try that a clock tick has held
 * up.
 */
static bool give_way(struct shki_spinner *spinner, bool (*ready)(const void *arg), const void *arg)
{
    int32_t owed = atomic_load_explicit(&spinner->owed, memory_order_relaxed);
    int64_t took;
    bool is_ready;

    if (owed > -CREDIT_MAX)
        owed--;
    if (owed < 0) {
        took = shki_now();
        sched_yield();
        is_ready = ready(arg);
        took = shki_now() - took;
        if (!is_ready || took >= shki_spin_longest)
            owed += took < OWED_MAX * MADE_GOOD ? (int32_t)(took / MADE_GOOD) : OWED_MAX;
        else if (pinned || one_cpu) /* else spinning may pay some day */
            atomic_store_explicit(&spinner->vain, 0, memory_order_relaxed);
    } else {
        is_ready = false;
    }
    atomic_store_explicit(&spinner->owed, owed, memory_order_relaxed);
    return is_ready;
}

/*
 * With so many looks between two at the clock. `gives_way`: does so instead, where spinning does
 * not pay.
 */
static bool spin(struct shki_spinner *spinner, int burst, bool gives_way,
                 bool (*ready)(const void *arg), const void *arg)
{
    uint32_t shift = atomic_load_explicit(&spinner->shift, memory_order_relaxed);
    int64_t length, end;

    if (one_cpu) /* whoever we wait for needs it */
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
                paid(spinner, shift);
                return true;
            }
            shki_pause();
        }
    } while (shki_now() < end);
    atomic_store_explicit(&spinner->pays, 0, memory_order_relaxed);
    if (shift < SHIFT_MAX)
        atomic_store_explicit(&spinner->shift, shift + 1, memory_order_relaxed);
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

bool shki_glance(struct shki_spinner *spinner, bool (*done)(const void *arg), const void *arg)
{
    uint32_t shift = atomic_load_explicit(&spinner->shift, memory_order_relaxed),
             vain = atomic_load_explicit(&spinner->vain, memory_order_relaxed) + 1;

    pthread_once(&once, setup);
    if (shki_spin_longest == 0 || one_cpu)
        return false;
    atomic_store_explicit(&spinner->vain, vain, memory_order_relaxed);
    if (vain & ((1u << shift) - 1)) /* every 2^shift-th time only */
        return false;
    for (int i = 0; i < GLANCES; i++) {
        if (done(arg)) {
            atomic_store_explicit(&spinner->shift, 0, memory_order_relaxed);
            return true;
        }
        shki_pause();
    }
    if (shift < GLANCE_SHIFT_MAX)
        atomic_store_explicit(&spinner->shift, shift + 1, memory_order_relaxed);
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
        sched_yield(); /* whoever we wait for may want this CPU */
    } while (shki_now() < end);
    return false;
}
