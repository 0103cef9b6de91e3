/* The rwlock, killed. */
#include "harness.h"

#include "object/rwlock.h"

#include <errno.h>
#include <sched.h>

/* A row's variant. */
enum {
    HOST_READS = 1, /* until on_sleep or the check has it released */
    HOST_WRITES = 2,
    VICTIM_READS = 4, /* when the operation begins, */
    VICTIM_WRITES = 8,
    KEPT = 16,     /* … and when it ends */
    ORPHANED = 32, /* another actor has died while it wrote */
    WRITES = 64,   /* the operation acquires exclusively */
};

/* What is protected, in the scratch: two words that are the same whenever no actor writes. */
struct data {
    _Atomic uint32_t first, second;
};

static struct data *data(struct world *w)
{
    return (struct data *)w->board->scratch;
}

static int64_t create(struct world *w, int64_t unused)
{
    int64_t r = create_segment(w, 0);

    (void)unused;
    return r == 0 ? shk_rwlock_open(w->segment, RWLOCK, SHK_CREATE, NULL, &w->rwlock) : r;
}

static int64_t read_lock(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_rwlock_acquire_shared(w->rwlock, SHK_FOREVER);
}

static int64_t read_nowait(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_rwlock_acquire_shared(w->rwlock, SHK_NOWAIT);
}

static int64_t read_in_time(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_rwlock_acquire_shared(w->rwlock, IN_TIME);
}

static int64_t write_lock(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_rwlock_acquire(w->rwlock, SHK_FOREVER);
}

static int64_t write_nowait(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_rwlock_acquire(w->rwlock, SHK_NOWAIT);
}

static int64_t write_in_time(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_rwlock_acquire(w->rwlock, IN_TIME);
}

static int64_t release(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_rwlock_release(w->rwlock);
}

static int64_t downgrade(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_rwlock_downgrade(w->rwlock);
}

static int64_t recover(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_rwlock_recover(w->rwlock);
}

/* What acquire said; -EILSEQ if what it protects was half written, and it did not say so. */
static int64_t read_once(struct world *w, int64_t unused)
{
    int64_t r = read_lock(w, unused), released;

    if (r < 0)
        return r;
    uint32_t first = data(w)->first;

    sched_yield();
    if (data(w)->second != first && r != SHK_ORPHANED)
        return -EILSEQ;
    released = release(w, unused);
    return released < 0 ? released : r;
}

/* … and it is mended. */
static int64_t write_once(struct world *w, int64_t unused)
{
    int64_t r = write_lock(w, unused), released;

    if (r < 0)
        return r;
    if (data(w)->second != data(w)->first && r != SHK_ORPHANED)
        return -EILSEQ;
    data(w)->first++;
    sched_yield();
    data(w)->second = data(w)->first;
    released = r == SHK_ORPHANED ? recover(w, unused) : 0;
    if (released == 0)
        released = release(w, unused);
    return released < 0 ? released : r;
}

/* The victim as a holder; what it writes is half written when it is killed. */
static int64_t hold(struct world *w, int64_t unused)
{
    int64_t r = w->row->variant & VICTIM_READS ? read_lock(w, unused) : write_lock(w, unused);

    if (r >= 0 && w->row->variant & VICTIM_WRITES && w->row->variant & KEPT)
        data(w)->first++;
    return r == SHK_ORPHANED ? 0 : r;
}

static int64_t write_and_be_killed(struct world *w, int64_t unused)
{
    int64_t r = write_lock(w, unused);

    data(w)->first++;
    return r;
}

static void set(struct world *w)
{
    int64_t variant = w->row->variant;

    start_host(w, create, 0);
    if (variant & (HOST_READS | HOST_WRITES))
        EXPECT(w, call(w, HOST, variant & HOST_READS ? read_lock : write_lock, 0) == 0,
               "the host does not get the rwlock");
    if (variant & ORPHANED) {
        start_attached(w, NEWCOMER);
        EXPECT(w, call(w, NEWCOMER, write_and_be_killed, 0) == 0, "it is not free");
        kill_actor(w, NEWCOMER);
    }
}

static void one_reads(struct world *w)
{
    start_sleeper(w, read_once, 0);
}

static void two_read(struct world *w)
{
    one_reads(w);
    one_reads(w);
}

static void one_writes(struct world *w)
{
    start_sleeper(w, write_once, 0);
}

static void one_writes_two_read(struct world *w)
{
    one_writes(w);
    two_read(w);
}

static void set_with_reader(struct world *w)
{
    set(w);
    one_reads(w);
}

static void set_with_writer(struct world *w)
{
    set(w);
    one_writes(w);
}

static void host_releases(struct world *w)
{
    EXPECT(w, call(w, HOST, release, 0) == 0, "the host cannot release");
}

/* Whether SHK_ORPHANED must be said by the end, and whether it may be. */
static void orphans(const struct world *w, bool *must, bool *may)
{
    int64_t variant = w->row->variant;
    bool begun = !w->untouched && !w->asleep;

    *must = (variant & ORPHANED) != 0;
    if (variant & VICTIM_WRITES)
        *must |= variant & KEPT ? !(variant & ORPHANED) || w->untouched : w->untouched;
    else if (variant & WRITES)
        *must |= w->acknowledged && w->result >= 0;
    *may = *must;
    if (variant & (VICTIM_WRITES | WRITES))
        *may |= (begun && !w->acknowledged) || (variant & VICTIM_WRITES && variant & KEPT);
}

static bool told(struct world *w, unsigned actor, int64_t r)
{
    EXPECT(w, r == 0 || r == SHK_ORPHANED, "actor %u got %lld from the rwlock", actor,
           (long long)r);
    return r == SHK_ORPHANED;
}

static void check(struct world *w)
{
    bool must, may, said = false;

    if (w->row->variant & (HOST_READS | HOST_WRITES) && w->on_sleep_runs == 0)
        host_releases(w);
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
        said |= told(w, actor, finish(w, actor));
    said |= told(w, HOST, call(w, HOST, read_once, 0));
    said |= told(w, HOST, call(w, HOST, write_once, 0));
    orphans(w, &must, &may);
    EXPECT(w, said || !must, "no actor was told SHK_ORPHANED");
    EXPECT(w, !said || may, "SHK_ORPHANED was said, and no actor died while it wrote");
}

static void carry_on(struct world *w)
{
    start_attached(w, NEWCOMER);
    for (int i = 0; i < 2; i++) {
        bool orphaned = told(w, NEWCOMER, call(w, NEWCOMER, read_once, 0));

        orphaned |= told(w, HOST, call(w, HOST, write_once, 0));
        orphaned |= told(w, NEWCOMER, call(w, NEWCOMER, write_once, 0));
        EXPECT(w, !orphaned || w->stopped, "SHK_ORPHANED was said once more");
    }
}

#define CHECKS .check = check, .carry_on = carry_on

/* clang-format off */
static const struct row rows[] = {
    {"shk_rwlock_acquire_shared", "free", .setup = set, .operation = read_lock, CHECKS},
    {"shk_rwlock_acquire_shared", "another reads", .setup = set, .operation = read_lock, CHECKS,
     .variant = HOST_READS},
    {"shk_rwlock_acquire_shared", "the caller reads, one waits to write", .setup = set,
     .prepare = hold, .waiters = one_writes, .operation = read_lock, CHECKS,
     .variant = VICTIM_READS | KEPT, .never_stopped = true},
    {"shk_rwlock_acquire_shared", "a writer has died", .setup = set, .operation = read_lock,
     CHECKS, .variant = ORPHANED},
    {"shk_rwlock_acquire_shared", "another writes, releases then", .setup = set,
     .operation = read_lock, .on_sleep = host_releases, CHECKS, .variant = HOST_WRITES},
    {"shk_rwlock_acquire_shared", "another writes, releases after a recheck", .setup = set,
     .operation = read_lock, .on_sleep = host_releases, .on_sleep_from = 2,
     .recheck = SHORT_RECHECK, CHECKS, .variant = HOST_WRITES},
    {"shk_rwlock_acquire_shared", "another writes, one waits to read", .setup = set_with_reader,
     .operation = read_lock, .on_sleep = host_releases, CHECKS, .variant = HOST_WRITES},
    {"shk_rwlock_acquire_shared", "another writes, one waits to write", .setup = set_with_writer,
     .operation = read_lock, .on_sleep = host_releases, CHECKS, .variant = HOST_WRITES},
    {"shk_rwlock_acquire_shared", "another reads, one waits to write", .setup = set_with_writer,
     .operation = read_lock, .on_sleep = host_releases, CHECKS, .variant = HOST_READS,
     .never_stopped = true},
    {"shk_rwlock_acquire_shared", "another writes, with a timeout", .setup = set,
     .operation = read_in_time, .on_sleep = host_releases, .on_sleep_from = NEVER, CHECKS,
     .variant = HOST_WRITES},
    {"shk_rwlock_acquire_shared", "another writes, SHK_NOWAIT", .setup = set,
     .operation = read_nowait, CHECKS, .variant = HOST_WRITES},
    {"shk_rwlock_acquire", "free", .setup = set, .operation = write_lock, CHECKS,
     .variant = WRITES},
    {"shk_rwlock_acquire", "a writer has died", .setup = set, .operation = write_lock, CHECKS,
     .variant = WRITES | ORPHANED},
    {"shk_rwlock_acquire", "another reads, releases then", .setup = set, .operation = write_lock,
     .on_sleep = host_releases, CHECKS, .variant = WRITES | HOST_READS, .never_stopped = true},
    {"shk_rwlock_acquire", "another reads, releases after a recheck", .setup = set,
     .operation = write_lock, .on_sleep = host_releases, .on_sleep_from = 2,
     .recheck = SHORT_RECHECK, CHECKS, .variant = WRITES | HOST_READS, .never_stopped = true},
    {"shk_rwlock_acquire", "another writes, releases then", .setup = set, .operation = write_lock,
     .on_sleep = host_releases, CHECKS, .variant = WRITES | HOST_WRITES},
    {"shk_rwlock_acquire", "another writes, one waits to read", .setup = set_with_reader,
     .operation = write_lock, .on_sleep = host_releases, CHECKS, .variant = WRITES | HOST_WRITES},
    {"shk_rwlock_acquire", "another reads, with a timeout", .setup = set,
     .operation = write_in_time, .on_sleep = host_releases, .on_sleep_from = NEVER, CHECKS,
     .variant = WRITES | HOST_READS, .never_stopped = true},
    {"shk_rwlock_acquire", "another reads, SHK_NOWAIT", .setup = set, .operation = write_nowait,
     CHECKS, .variant = WRITES | HOST_READS},
    {"shk_rwlock_acquire", "another writes, SHK_NOWAIT", .setup = set, .operation = write_nowait,
     CHECKS, .variant = WRITES | HOST_WRITES},
    {"shk_rwlock_release", "shared, no waiter", .setup = set, .prepare = hold,
     .operation = release, CHECKS, .variant = VICTIM_READS},
    {"shk_rwlock_release", "shared, one waits to write", .setup = set, .prepare = hold,
     .waiters = one_writes, .operation = release, CHECKS, .variant = VICTIM_READS,
     .never_stopped = true},
    {"shk_rwlock_release", "shared, one waits to write and two behind it to read", .setup = set,
     .prepare = hold, .waiters = one_writes_two_read, .operation = release, CHECKS,
     .variant = VICTIM_READS, .never_stopped = true},
    {"shk_rwlock_release", "exclusive, no waiter", .setup = set, .prepare = hold,
     .operation = release, CHECKS, .variant = VICTIM_WRITES},
    {"shk_rwlock_release", "exclusive, one waits to read", .setup = set, .prepare = hold,
     .waiters = one_reads, .operation = release, CHECKS, .variant = VICTIM_WRITES},
    {"shk_rwlock_release", "exclusive, two wait to read", .setup = set, .prepare = hold,
     .waiters = two_read, .operation = release, CHECKS, .variant = VICTIM_WRITES},
    {"shk_rwlock_release", "exclusive, one waits to write, two to read", .setup = set,
     .prepare = hold, .waiters = one_writes_two_read, .operation = release, CHECKS,
     .variant = VICTIM_WRITES},
    {"shk_rwlock_downgrade", "one waits to read", .setup = set, .prepare = hold,
     .waiters = one_reads, .operation = downgrade, CHECKS, .variant = VICTIM_WRITES},
    {"shk_rwlock_downgrade", "one waits to write", .setup = set, .prepare = hold,
     .waiters = one_writes, .operation = downgrade, CHECKS, .variant = VICTIM_WRITES,
     .never_stopped = true},
    {"shk_rwlock_recover", "a writer has died, one waits to read", .setup = set, .prepare = hold,
     .waiters = one_reads, .operation = recover, CHECKS,
     .variant = VICTIM_WRITES | KEPT | ORPHANED},
};
/* clang-format on */
const struct rows rwlock_rows = ROWS(rows);
