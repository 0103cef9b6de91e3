/* The values, and the semaphore with owners. */
#include "soak.h"

#include <errno.h>

/* ---- Values ---- */

/* What each has set in all is in the value itself, so each version tells how it came about. */
static void check_newest(const struct newest *n, long long length, uint64_t version)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < PLACES_MAX; i++)
        sum += n->count[i];
    if (version > 0 && (length != sizeof(*n) || n->version != version || sum != version))
        fail("version %llu of a value has %lld bytes, says that it is %llu, and was set %llu times",
             (unsigned long long)version, length, (unsigned long long)n->version,
             (unsigned long long)sum);
}

static uint64_t get_newest(struct newest *n)
{
    uint64_t version;
    ssize_t r;

    *n = (struct newest){0};
    r = shk_value_get(newest, n, sizeof(*n), &version);
    expect("value_get", r);
    check_newest(n, r, version);
    return version;
}

void set_newest(void)
{
    struct newest n;
    uint64_t version = get_newest(&n);
    int64_t r;

    n.version = version + 1;
    n.count[me->number]++;
    begin(SETTING);
    r = shk_value_compare_and_set(newest, version, &n, sizeof(n));
    if (r > 0)
        atomic_fetch_add(&me->sets, 1);
    end_step();
    if (r != -ECANCELED) /* another has been faster */
        expect("value_compare_and_set", r);
    if (r > 0 && (uint64_t)r != version + 1)
        fail("a value was set from version %llu to %lld", (unsigned long long)version,
             (long long)r);
}

static void add_one(void)
{
    int64_t sum = 0, r;

    begin(ADDING);
    r = shk_value_add(number, 1, &sum);
    if (r > 0)
        atomic_fetch_add(&me->adds, 1);
    end_step();
    expect("value_add", r);
    if (r != sum) /* each addition is one version */
        fail("version %lld of a number is %lld", (long long)r, (long long)sum);
}

void set_values(void)
{
    while (!stopping()) {
        if (chance(2) == 0)
            set_newest();
        else
            add_one();
        get_on();
        if (chance(64) == 0)
            pause_a_little();
    }
}

void read_values(void)
{
    uint64_t version = 0;

    while (!stopping()) {
        struct newest n;
        long long r =
            shk_value_wait(newest, version, me->mortal && chance(4) == 0 ? SHK_MS(1) : SHK_FOREVER);

        if (is_wait_over(r))
            continue;
        expect("value_wait", r);
        uint64_t got = get_newest(&n);
        if (got < (uint64_t)r || (uint64_t)r <= version)
            fail("version %llu of a value came after %lld was waited for, and %llu was got before",
                 (unsigned long long)got, r, (unsigned long long)version);
        version = got;
        get_on();
    }
}

void audit_values(void)
{
    int64_t sum = 0, r = shk_value_get(number, &sum, sizeof(sum), NULL);

    expect("value_get", r);
    notes->number = (uint64_t)sum;
    get_newest(&notes->newest);
}

/* ---- Permits with owners: those of the dead come back ---- */

void take_and_leave(void)
{
    while (!stopping()) {
        unsigned n = 1 + (unsigned)chance(FLATS - 1);
        long long r = shk_semaphore_acquire_many(
            flats, n, me->mortal && chance(4) == 0 ? SHK_MS(1) : SHK_FOREVER);

        if (is_wait_over(r))
            continue;
        expect("semaphore_acquire_many", r);
        if (shk_semaphore_held(flats) != (int)n)
            fail("a process has taken %u permits and holds %d", n, shk_semaphore_held(flats));
        atomic_fetch_add(&notes->lodgings, 1);
        if (chance(4) == 0)
            pause_a_little();
        expect("semaphore_release", shk_semaphore_release(flats, n));
        get_on();
    }
}

/* All have ended: all permits are there, and no more. */
void audit_flats(void)
{
    expect("semaphore_acquire_many", shk_semaphore_acquire_many(flats, FLATS, SHK_SEC(10)));
    if (shk_semaphore_acquire(flats, SHK_NOWAIT) != -EAGAIN)
        fail("of %d permits with owners, more have come back", FLATS);
    expect("semaphore_release", shk_semaphore_release(flats, FLATS));
}
