#include "base/spin.h"

#include "base/patience.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define SPIN_DEFAULT 20000 /* ns: evidence says that 10 to 20 us pay */
#define SPIN_MAX SHK_MS(10)
#define SHIFT_MAX 5  /* 20 us >> 5: still long enough for a hand-off between running CPUs */
#define BURST 16     /* pauses between two looks at the clock */

static int64_t longest;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void setup(void)
{
    cpu_set_t cpus;
    const char *text = secure_getenv("SHK_SPIN");
    char *end;

    longest = SPIN_DEFAULT;
    if (text && *text) {
        long long n = strtoll(text, &end, 10);
        if (*end == '\0' && n >= 0)
            longest = n > SPIN_MAX ? SPIN_MAX : n;
    }
    if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) < 2)
        longest = 0;
}

bool shki_spin(struct shki_spinner *spinner, bool (*ready)(const void *arg), const void *arg)
{
    uint32_t shift = atomic_load_explicit(&spinner->shift, memory_order_relaxed);
    int64_t end;

    pthread_once(&once, setup);
    if (longest == 0)
        return ready(arg);
    end = shki_now() + (longest >> shift);
    do {
        for (int i = 0; i < BURST; i++) {
            if (ready(arg)) {
                if (shift)
                    atomic_store_explicit(&spinner->shift, shift - 1, memory_order_relaxed);
                return true;
            }
            shki_pause();
        }
    } while (shki_now() < end);
    if (shift < SHIFT_MAX)
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
