#include "harness.h"

#include "base/hooks.h"
#include "base/permits.h"
#include "base/spin.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS 10000000
/* from the kill on. Ticks, not the clock: they stand still when the machine does */
#define TICKS_PER_SECOND (1000000000 / TICK_NS)
#define STARVES_NS       (5 * TICK_NS)
#define SETUP_TICKS      3000 /* half a minute for what is no kill's fault */
#define OFF_TRACE_MAX    5    /* tries to come to a point on the way that was recorded */
#define CALIBRATIONS_MAX 12

unsigned hung_after = 1;

static int64_t library_recheck;

static const char *const actor_names[ACTORS] = {"the host",  "the victim", "the newcomer",
                                                "sleeper 1", "sleeper 2",  "sleeper 3"};

int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SHK_SEC(1) + t.tv_nsec;
}

void fail(struct world *w, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(w->failure, sizeof(w->failure), format, arguments);
    va_end(arguments);
    longjmp(w->failed, 1);
}

void *map_shared(size_t size)
{
    void *at =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED)
        err(1, "mmap");
    return at;
}

/*
 * What a process sets up for itself with its first calls (how long to spin, where a mutex has its
 * word) changes nothing shared. Done here once, all actors have it, and the kill points are spent
 * on what a call does every time.
 */
static void warm_up(struct world *w)
{
    struct shk_lock *lock;
    struct shk_cond *cond;
    struct shk_queue *queue;
    char item;

    if (create_segment(w, 0) < 0 || shk_lock_open(w->segment, LOCK, SHK_CREATE, NULL, &lock) < 0 ||
        shk_cond_open(w->segment, COND, SHK_CREATE, NULL, &cond) < 0 ||
        shk_queue_open(w->segment, QUEUE, SHK_CREATE,
                       &(struct shk_queue_options){.capacity = 1, .item_size = 1}, &queue) < 0)
        errx(1, "%s", shk_last_error());
    shk_lock_acquire(lock, SHK_FOREVER);
    shk_lock_acquire(lock, SHK_FOREVER); /* -EDEADLK: for the sentence */
    shk_lock_release(lock);
    shk_cond_acquire(cond, SHK_FOREVER);
    shk_cond_wait(cond, SHK_MS(1));
    shk_cond_release(cond);
    shk_queue_get(queue, &item, 1, SHK_MS(1));
    shk_queue_close(queue);
    shk_cond_close(cond);
    shk_lock_close(lock);
    shk_segment_close(w->segment);
    shk_segment_unlink(w->name);
    w->segment = NULL;
}

void world_init(struct world *w, const char *name)
{
    memset(w, 0, sizeof(*w));
    snprintf(w->name, sizeof(w->name), "%s", name);
    w->board = map_shared(sizeof(*w->board));
    library_recheck = shki_test_recheck;
    warm_up(w);
}

/*
 * As where there is no vDSO. That one reads the time again whenever the kernel has just updated it,
 * which it has all the time when one goes through it step by step: no two recordings would be the
 * same.
 */
int clock_gettime(clockid_t clock, struct timespec *t)
{
    return (int)syscall(SYS_clock_gettime, clock, t);
}

/* ---- Actors ---- */

/*
 * The operation between two marks. What the tracer steps through is what lies between crash_begin
 * and crash_end. The acknowledgement is the victim's last deed: the store to `returned`.
 */
extern const char crash_begin[], crash_end[];

#ifdef __clang__
#define ONLY_ONCE __attribute__((noinline))
#else
#define ONLY_ONCE __attribute__((noinline, noclone))
#endif

static ONLY_ONCE int64_t run_operation(struct world *w, int64_t argument)
{
    __asm__ volatile(".globl crash_begin\ncrash_begin:" ::: "memory");
    w->board->result = w->row->operation(w, argument);
    atomic_store_explicit(&w->board->returned, 1, memory_order_release);
    __asm__ volatile(".globl crash_end\ncrash_end:" ::: "memory");
    return w->board->result;
}

static void *serve_calls(void *arg)
{
    struct world *w = arg;
    struct mailbox *mailbox = &w->board->mailbox[w->me];
    bool last = false;

    mailbox->tid = gettid();
    while (!last) {
        while (sem_wait(&mailbox->called) != 0)
            ;
        last = w->me == VICTIM && w->row->leaves && mailbox->function == run_operation;
        mailbox->result = mailbox->function(w, mailbox->argument);
        mailbox->done_at = now();
        shki_permits_post(&mailbox->done);
    }
    return NULL;
}

static _Noreturn void actor_main(struct world *w)
{
    pthread_t thread;

    if (w->me == VICTIM && w->row->in_thread) {
        attach(w, 0); /* so that the process is in the segment, and the thread is not */
        if (pthread_create(&thread, NULL, serve_calls, w) != 0)
            _exit(1);
        for (;;)
            pause();
    }
    serve_calls(w);
    _exit(0);
}

static void start_actor(struct world *w, unsigned actor)
{
    struct mailbox *mailbox = &w->board->mailbox[actor];
    pid_t worker = getpid();

    w->actors[actor].pid = w->idle[actor];
    w->idle[actor] = 0;
    w->actors[actor].starved = w->actors[actor].pid ? thread_starved(mailbox->tid) : 0;
    if (w->actors[actor].pid)
        return;
    memset(mailbox, 0, sizeof(*mailbox));
    sem_init(&mailbox->called, 1, 0);
    shki_permits_init(&mailbox->done);
    w->actors[actor].pid = fork();
    if (w->actors[actor].pid < 0)
        fail(w, "fork: %s", strerror(errno));
    if (w->actors[actor].pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != worker)
        _exit(1);
    w->me = actor;
    /*
     * Under the tracer a recheck interval may be over before the victim has come to sleep, and then
     * it never sleeps. What it would do after the interval dies with it.
     */
    if (actor == VICTIM && !w->row->recheck)
        shki_test_recheck = SHK_SEC(10);
    if (actor == VICTIM && w->row->spins_first)
        shki_spin_longest = SHK_MS(1);
    actor_main(w);
}

static bool is_gone(struct world *w, unsigned actor, int *status)
{
    if (w->actors[actor].pid == 0 || waitpid(w->actors[actor].pid, status, WNOHANG) == 0)
        return false;
    w->actors[actor].pid = 0;
    return true;
}

void kill_actor(struct world *w, unsigned actor)
{
    pid_t tid = w->board->mailbox[actor].tid;

    if (w->actors[actor].pid)
        kill_and_reap(w->actors[actor].pid, tid ? tid : w->actors[actor].pid);
    w->actors[actor].pid = 0;
}

void start_action(struct world *w, unsigned actor, action *function, int64_t argument,
                  const char *doing)
{
    struct mailbox *mailbox = &w->board->mailbox[actor];

    w->actors[actor].doing = doing;
    w->actors[actor].since = now();
    mailbox->function = function;
    mailbox->argument = argument;
    sem_post(&mailbox->called);
}

static bool wait_done(struct mailbox *mailbox, int64_t ns)
{
    int64_t t = now() + ns;
    struct timespec until = {.tv_sec = t / SHK_SEC(1), .tv_nsec = t % SHK_SEC(1)};

    return shki_permits_wait(&mailbox->done, &until);
}

/* How long the actors have been ready to run, and had no CPU: ns in all, so far. */
static int64_t starved(const struct world *w)
{
    int64_t sum = 0;

    for (unsigned actor = 0; actor < ACTORS; actor++)
        if (w->actors[actor].pid)
            sum += thread_starved(w->board->mailbox[actor].tid) - w->actors[actor].starved;
    return sum;
}

/* Less the time for which the actors had no CPU, where that makes a difference. */
static void note_recovery(struct world *w, int64_t ns)
{
    if (ns > STARVES_NS)
        ns -= starved(w) - w->starved;
    if (ns > w->longest)
        w->longest = ns;
}

static int64_t take_result(struct world *w, unsigned actor)
{
    struct mailbox *mailbox = &w->board->mailbox[actor];
    int64_t since = w->actors[actor].since;

    w->actors[actor].doing = NULL;
    if (w->killed_at) {
        if (since < w->killed_at)
            since = w->killed_at;
        note_recovery(w, mailbox->done_at - since);
    }
    return mailbox->result;
}

/*
 * A wait for actors. They hang when they have had their time, less the time for which they had to
 * wait for a CPU: a machine that is busy with other things proves nothing. The kernel counts that
 * when they get one, so that a wait of many ticks comes in one. But it has an end, too.
 */
struct wait {
    int64_t ticks, starved; /* ns: until the first tick */
};

static bool is_over(const struct world *w, struct wait *wait)
{
    int64_t all = starved(w);

    if (wait->ticks++ == 0)
        wait->starved = all;
    return wait->ticks >= SETUP_TICKS ||
           (w->killed_at && wait->ticks - (all - wait->starved) / TICK_NS >=
                                (int64_t)hung_after * TICKS_PER_SECOND);
}

int64_t finish(struct world *w, unsigned actor)
{
    struct wait wait = {0};
    int status;

    do {
        if (wait_done(&w->board->mailbox[actor], TICK_NS))
            return take_result(w, actor);
        if (is_gone(w, actor, &status))
            fail(w, "%s was ended by signal %d in %s", actor_names[actor], WTERMSIG(status),
                 w->actors[actor].doing);
    } while (!is_over(w, &wait));
    fail(w, "%s hangs%s in %s", actor_names[actor], w->actors[actor].stopped ? ", stopped," : "",
         w->actors[actor].doing);
}

int64_t finish_any_sleeper(struct world *w)
{
    static const struct timespec poll = {.tv_nsec = TICK_NS / 10};
    struct wait wait = {0};

    do
        for (unsigned i = 0; i < 10; i++) {
            for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
                if (is_busy(w, actor) && finished(w, actor))
                    return finish(w, actor);
            nanosleep(&poll, NULL);
        }
    while (!is_over(w, &wait));
    fail(w, "no sleeper comes back");
}

bool is_busy(const struct world *w, unsigned actor)
{
    return w->actors[actor].pid != 0 && w->actors[actor].doing != NULL;
}

bool finished(struct world *w, unsigned actor)
{
    int value = 0;

    return sem_getvalue(&w->board->mailbox[actor].done, &value) == 0 && value > 0;
}

void start_attached(struct world *w, unsigned actor)
{
    int64_t r;

    start_actor(w, actor);
    r = call(w, actor, attach, 0);
    EXPECT(w, r == 0, "%s cannot attach: %lld", actor_names[actor], (long long)r);
}

void start_host(struct world *w, action *create, int64_t argument)
{
    int64_t r;

    start_actor(w, HOST);
    r = call(w, HOST, create, argument);
    EXPECT(w, r == 0, "the host cannot create the objects: %lld", (long long)r);
}

bool falls_asleep(struct world *w, unsigned actor)
{
    static const struct timespec poll = {.tv_nsec = SLEEP_NS / 4};
    struct nap nap = {0};

    for (unsigned i = 0; !thread_sleeps(w->board->mailbox[actor].tid, &nap, SLEEP_NS); i++) {
        if (finished(w, actor))
            return false;
        EXPECT(w, i < SETUP_TICKS * (TICK_NS / poll.tv_nsec),
               "%s neither returns from %s nor sleeps", actor_names[actor], w->actors[actor].doing);
        nanosleep(&poll, NULL);
    }
    w->actors[actor].since = now(); /* from here on it waits for others */
    return !finished(w, actor);     /* or it sleeps because it has nothing to do */
}

void start_sleeper_action(struct world *w, action *function, int64_t argument, const char *doing)
{
    unsigned actor = ++w->last_sleeper;

    EXPECT(w, actor < ACTORS, "more sleepers than there is room for");
    start_attached(w, actor);
    start_action(w, actor, function, argument, doing);
    EXPECT(w, falls_asleep(w, actor), "%s did not wait in %s", actor_names[actor], doing);
}

/*
 * Once only: waitpid() is told of a stop once, and would wait for ever for a second report. A
 * sleeper wakes at the end of each recheck interval. On a busy machine that may be between the
 * moment when it was seen asleep and its stop: then it goes on, and is stopped once more.
 */
bool stop_actor(struct world *w, unsigned actor)
{
    int status = 0;

    while (!w->actors[actor].stopped) {
        uintptr_t at = thread_sleeps_at(w->board->mailbox[actor].tid);

        kill(w->actors[actor].pid, SIGSTOP);
        waitpid(w->actors[actor].pid, &status, WUNTRACED);
        EXPECT(w, WIFSTOPPED(status), "%s does not stop", actor_names[actor]);
        w->actors[actor].stopped = true;
        if (thread_is_stopped_at(w->board->mailbox[actor].tid, at) || !is_busy(w, actor))
            break;
        continue_actor(w, actor);
        if (!falls_asleep(w, actor))
            return false;
    }
    return true;
}

void continue_actor(struct world *w, unsigned actor)
{
    kill(w->actors[actor].pid, SIGCONT);
    w->actors[actor].stopped = false;
}

/* ---- Acts ---- */

int64_t create_segment(struct world *w, int64_t members)
{
    struct shk_segment_options options = {
        .size = 1 << 18, .max_members = members ? (uint32_t)members : 16, .max_objects = 16};

    return shk_segment_open(w->name, SHK_CREATE | SHK_EXCL, &options, &w->segment);
}

int64_t attach(struct world *w, int64_t unused)
{
    int r;

    (void)unused;
    if (w->segment)
        return 0;
    r = shk_segment_open(w->name, 0, NULL, &w->segment);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    shk_lock_open(w->segment, LOCK, 0, NULL, &w->lock);
    shk_lock_open(w->segment, LOCK_2, 0, NULL, &w->lock_2);
    shk_cond_open(w->segment, COND, 0, NULL, &w->cond);
    shk_cond_open(w->segment, COND_2, 0, NULL, &w->cond_2);
    shk_event_open(w->segment, EVENT, 0, NULL, &w->event);
    shk_semaphore_open(w->segment, SEMAPHORE, 0, NULL, &w->semaphore);
    shk_barrier_open(w->segment, BARRIER, 0, NULL, &w->barrier);
    shk_queue_open(w->segment, QUEUE, 0, NULL, &w->queue);
    shk_value_open(w->segment, VALUE, 0, NULL, &w->value);
    if (shk_stream_open(w->segment, STREAM, 0, NULL, &w->stream) == 0)
        shk_reader_open(w->stream, SHK_NEXT, &w->reader);
    shk_region_open(w->segment, REGION, 0, NULL, &w->region);
    shk_rwlock_open(w->segment, RWLOCK, 0, NULL, &w->rwlock);
    shk_once_open(w->segment, ONCE, 0, NULL, &w->once);
    return 0;
}

/* Give everything back. */
static int64_t close_all(struct world *w, int64_t unused)
{
    int64_t r = 0;

    (void)unused;
    r = r ? r : shk_lock_close(w->lock);
    r = r ? r : shk_lock_close(w->lock_2);
    r = r ? r : shk_cond_close(w->cond);
    r = r ? r : shk_cond_close(w->cond_2);
    r = r ? r : shk_event_close(w->event);
    r = r ? r : shk_semaphore_close(w->semaphore);
    r = r ? r : shk_barrier_close(w->barrier);
    r = r ? r : shk_queue_close(w->queue);
    r = r ? r : shk_reader_close(w->reader);
    r = r ? r : shk_stream_close(w->stream);
    r = r ? r : shk_value_close(w->value);
    r = r ? r : shk_region_close(w->region);
    r = r ? r : shk_rwlock_close(w->rwlock);
    r = r ? r : shk_once_close(w->once);
    r = r ? r : shk_member_watch_close(w->members);
    r = r ? r : shk_segment_close(w->segment);
    w->lock = w->lock_2 = NULL;
    w->cond = w->cond_2 = NULL;
    w->event = NULL;
    w->rwlock = NULL;
    w->once = NULL;
    w->semaphore = NULL;
    w->barrier = NULL;
    w->queue = NULL;
    w->reader = NULL;
    w->stream = NULL;
    w->value = NULL;
    w->members = NULL;
    w->region = NULL;
    w->segment = NULL;
    return r;
}

/* ---- A run ---- */

static void begin(struct world *w)
{
    w->board->result = 0;
    w->board->returned = 0;
    memset(w->board->scratch, 0, sizeof(w->board->scratch));
    memset(w->actors, 0, sizeof(w->actors));
    w->failure[0] = '\0';
    shki_test_recheck = w->row->recheck ? w->row->recheck : library_recheck;
    w->last_sleeper = SLEEPER_1 - 1;
    w->killed_at = w->longest = 0;
    w->untouched = w->asleep = w->acknowledged = false;
    w->on_sleep_runs = w->sleeps = w->stopped = 0;
    w->result = 0;
    w->row->setup(w);
    start_actor(w, VICTIM);
    if (!w->row->in_thread && !w->row->outside)
        call(w, VICTIM, attach, 0);
    while (w->board->mailbox[VICTIM].tid == 0)
        usleep(100);
    if (w->row->prepare) {
        int64_t r = call(w, VICTIM, w->row->prepare, 0);

        EXPECT(w, r >= 0, "the victim cannot prepare: %lld", (long long)r);
    }
    if (w->row->waiters)
        w->row->waiters(w);
}

/* One run of the row. Nothing of it stays, whatever has become of it. */
static bool run_once(struct world *w, script *rest)
{
    if (setjmp(w->failed) == 0) {
        begin(w);
        rest(w);
    }
    for (unsigned actor = 0; actor < ACTORS; actor++)
        kill_actor(w, actor);
    shm_unlink(w->name);
    return w->failure[0] == '\0';
}

void end_idle_actors(struct world *w)
{
    for (unsigned actor = 0; actor < ACTORS; actor++)
        if (w->idle[actor])
            kill_and_reap(w->idle[actor], w->idle[actor]);
    memset(w->idle, 0, sizeof(w->idle));
}

/* For the next run: forks are a good part of the costs. */
static void make_idle(struct world *w, unsigned actor)
{
    w->idle[actor] = w->actors[actor].pid;
    w->actors[actor].pid = 0;
}

/* The victim stands at crash_begin. */
static void seize(struct world *w)
{
    int r = trace_seize(&w->victim, w->actors[VICTIM].pid, w->board->mailbox[VICTIM].tid);

    EXPECT(w, r == 0, "cannot trace: %s", strerror(-r));
    start(w, VICTIM, run_operation, 0);
    EXPECT(w, trace_run_to(&w->victim, (uintptr_t)crash_begin) == TRACE_STOPPED,
           "the victim does not start");
}

static bool at_end(const struct world *w)
{
    return !w->row->leaves && trace_pc(&w->victim) == (uintptr_t)crash_end;
}

static bool is_held(const struct world *w)
{
    return w->row->held_in && trace_pc(&w->victim) == (uintptr_t)w->row->held_in;
}

/*
 * One step, and in it whatever it takes to wake the victim. Returns whether it goes on after that.
 */
static bool step(struct world *w, uint32_t number)
{
    unsigned first = w->row->on_sleep_from ? w->row->on_sleep_from : 1;
    unsigned times = w->row->on_sleep_times ? w->row->on_sleep_times : 1;
    enum event e;

    while ((e = trace_step(&w->victim)) == TRACE_ASLEEP)
        if (++w->sleeps >= first && w->row->on_sleep && w->on_sleep_runs < times) {
            w->row->on_sleep(w);
            w->on_sleep_runs++;
        }
    EXPECT(w, e != TRACE_CRASHED, "the victim crashes at step %u", number);
    if (e == TRACE_STOPPED && is_held(w) && w->on_sleep_runs < times) {
        w->row->on_sleep(w);
        w->on_sleep_runs++;
    }
    return e != TRACE_ENDED && e != TRACE_LOST && !at_end(w);
}

/* ---- Recording ---- */

static void calibrate(struct world *w)
{
    struct trace *t = w->trace;
    bool goes_on = true;
    unsigned sleeps;

    seize(w);
    if (w->watch)
        watch_begin(w->watch, &w->victim);
    for (t->length = 0; goes_on; t->length++) {
        EXPECT(w, t->length < TRACE_MAX, "the operation takes more than %u steps", t->length);
        t->pc[t->length] = trace_pc(&w->victim);
        t->marks[t->length] = trace_at_call(&w->victim, t->pc[t->length]) ? STEP_CALLS : 0;
        sleeps = w->sleeps;
        goes_on = step(w, t->length);
        if (w->sleeps != sleeps)
            t->marks[t->length] |= STEP_SLEEPS;
        if (goes_on && is_held(w))
            t->marks[t->length] |= STEP_HELD;
        if (w->watch && watch_changed(w->watch, t->marks[t->length] & STEP_CALLS))
            t->marks[t->length] |= STEP_CHANGES;
    }
    t->pc[t->length] = (uintptr_t)crash_end;
    t->marks[t->length] = 0;
    trace_index(t);
    if (w->row->leaves)
        t->previous[t->length] = INT32_MAX; /* no breakpoint is met where it is no more */
}

/* Of the way that it has gone, whatever that has changed. */
static uint64_t hash(const struct trace *t)
{
    uint64_t h = t->length;

    for (uint32_t i = 0; i <= t->length; i++)
        /* FNV */
        h = (h ^ t->pc[i] ^ (t->marks[i] & ~(unsigned)STEP_CHANGES)) * UINT64_C(0x100000001b3);
    return h;
}

/*
 * Until it has gone the same way twice, which it does unless a clock decides. Where it does it may
 * go on and on, with a recheck interval that is over before the victim has come to sleep: that is
 * no failure if it happens once or twice.
 */
static bool calibrate_until_same(struct world *w)
{
    uint64_t hashes[CALIBRATIONS_MAX];
    int n = 0;

    for (int i = 0; i < CALIBRATIONS_MAX; i++) {
        w->trace->length = 0;
        if (!run_once(w, calibrate)) {
            if (w->trace->length < TRACE_MAX)
                return false;
            continue;
        }
        hashes[n] = hash(w->trace);
        for (int k = 0; k < n; k++)
            if (hashes[k] == hashes[n])
                return true;
        n++;
    }
    return w->failure[0] == '\0'; /* then the last way */
}

/* True: it was not there. A table that is full knows of none. */
static bool add_pc(_Atomic uintptr_t *table, unsigned size, uintptr_t pc)
{
    unsigned at = (unsigned)(pc * UINT64_C(0x9E3779B97F4A7C15) >> 32) % size;

    for (unsigned i = 0; i < size; i++, at = (at + 1) % size) {
        uintptr_t there = 0;

        /* relaxed: a worker that adds the same one at the same time finds it there, or is first */
        if (atomic_compare_exchange_strong_explicit(&table[at], &there, pc, memory_order_relaxed,
                                                    memory_order_relaxed))
            return true;
        if (there == pc)
            return false;
    }
    return true;
}

static void mark_changes(struct trace *t, const uintptr_t *changing, unsigned n)
{
    for (uint32_t i = 0; i < t->length; i++)
        for (unsigned k = 0; k < n; k++)
            if (t->pc[i] == changing[k])
                t->marks[i] |= STEP_CHANGES;
}

/*
 * Find the steps that change something, which takes long. So a call that waits by the clock goes
 * another way meanwhile, with fewer rounds, or more: it is recorded once more without it, and the
 * instructions that have changed something are taken for those that do.
 */
static bool find_changes(struct world *w)
{
    struct trace *t = w->trace;
    uint64_t way = hash(t);
    uintptr_t *changing = NULL;
    unsigned n = 0;
    bool ok;

    w->watch = watch_new();
    ok = calibrate_until_same(w);
    watch_free(w->watch);
    w->watch = NULL;
    if (!ok || hash(t) == way)
        return ok;
    changing = calloc(t->length + 1, sizeof(*changing));
    if (!changing)
        err(1, "calloc");
    for (uint32_t i = 0; i < t->length; i++)
        if (t->marks[i] & STEP_CHANGES)
            changing[n++] = t->pc[i];
    ok = calibrate_until_same(w);
    mark_changes(t, changing, n);
    free(changing);
    return ok;
}

int record(struct world *w, struct trace *t, struct point *points, unsigned max)
{
    unsigned n = 0;
    bool every = w->every_step;

    w->trace = t;
    w->watch = NULL;
    if (!calibrate_until_same(w))
        return -1;
    if (!every && !find_changes(w)) { /* it takes too many steps meanwhile, or something is wrong */
        every = true;
        if (!calibrate_until_same(w))
            return -1;
    }
    for (uint32_t i = 0; i <= t->length && n + 2 <= max; i++) {
        bool is_new = w->pcs && add_pc(w->pcs->pc, PCS_MAX, t->pc[i]);

        if (every || is_new || i == 0 || i == t->length || t->marks[i] || t->marks[i - 1])
            points[n++] = (struct point){i, false};
        if (t->marks[i] & STEP_SLEEPS)
            points[n++] = (struct point){i, true};
    }
    return w->failure[0] ? -1 : (int)n;
}

/* ---- Killing ---- */

/* The step before which the recording slept next: no breakpoint leads beyond it. */
static uint32_t next_sleep(const struct trace *t, uint32_t from, uint32_t limit)
{
    while (from < limit && !(t->marks[from] & (STEP_SLEEPS | STEP_HELD)))
        from++;
    return from;
}

/*
 * Lead the victim from crash_begin to the point. False: it has gone another way than when it was
 * recorded, as it may where a clock decides.
 */
static bool run_to_point(struct world *w)
{
    const uint32_t goal = w->point->step;
    const struct trace *t = w->trace;

    for (uint32_t i = 0, to; i < goal; i = to) {
        to = w->by_breakpoints ? trace_next_run(t, i, next_sleep(t, i, goal)) : i + 1;
        if (to > i + 1) {
            if (trace_run_to(&w->victim, t->pc[to]) != TRACE_STOPPED)
                return false;
            continue;
        }
        to = i + 1;
        if (!step(w, i))
            return to == goal;
    }
    if (w->by_breakpoints && trace_pc(&w->victim) != t->pc[goal])
        return false;
    w->asleep = w->point->asleep && trace_step(&w->victim) == TRACE_ASLEEP;
    return w->asleep == w->point->asleep;
}

static void killed_run(struct world *w)
{
    seize(w);
    w->arrived = run_to_point(w);
    if (w->release)
        w->released = kill_and_release(&w->victim);
    else
        kill_actor(w, VICTIM);
    w->actors[VICTIM].pid = 0;
    if (!w->arrived && w->by_breakpoints)
        return;
    w->untouched = w->point->step == 0;
    w->acknowledged = w->board->returned;
    w->result = w->board->result;
    w->starved = starved(w);
    w->killed_at = now();
    w->row->check(w);
    w->row->carry_on(w);
    for (unsigned actor = HOST; actor <= NEWCOMER; actor++)
        if (w->actors[actor].pid) {
            int64_t r = call(w, actor, close_all, 0);

            EXPECT(w, r == 0, "%s cannot close everything: %lld", actor_names[actor], (long long)r);
            make_idle(w, actor);
        }
}

bool kill_at(struct world *w, struct trace *t, const struct point *point)
{
    w->trace = t;
    w->point = point;
    w->by_breakpoints = true;
    for (int i = 0; i < OFF_TRACE_MAX; i++) {
        w->arrived = true;
        w->tries++;
        if (!run_once(w, killed_run))
            return false;
        if (w->arrived)
            return true;
    }
    /* Step by step, then: wherever that leads is a kill point as well. */
    w->by_breakpoints = false;
    w->stepped++;
    return run_once(w, killed_run);
}

/* ---- Stopping ---- */

static void stopped_run(struct world *w)
{
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
        if (w->actors[actor].pid)
            w->stopped += stop_actor(w, actor);
    w->starved = starved(w);
    w->killed_at = now();
    start(w, VICTIM, run_operation, 0);
    if (falls_asleep(w, VICTIM) && stop_actor(w, VICTIM)) {
        w->stopped++;
        for (unsigned i = 0;
             w->row->on_sleep && i < (w->row->on_sleep_times ? w->row->on_sleep_times : 1);
             i++, w->on_sleep_runs++)
            w->row->on_sleep(w);
    } else {
        kill_actor(w, VICTIM); /* it may hold something, and has nothing to do with it */
    }
    if (w->stopped > 0)
        w->row->carry_on(w);
    for (unsigned actor = 0; actor < ACTORS; actor++)
        if (w->actors[actor].pid)
            continue_actor(w, actor);
}

int stop_asleep(struct world *w)
{
    return run_once(w, stopped_run) ? (int)w->stopped : -1;
}
