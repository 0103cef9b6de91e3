#include "harness.h"

#include "base/hooks.h"
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
/* a second after the kill. Ticks, not the clock: they stand still when the machine does */
#define HUNG_TICKS     100
#define STARVES_NS     (5 * TICK_NS)
#define SETUP_TICKS    3000 /* half a minute for what is no kill's fault */
#define ASTRAY_MAX     5    /* tries to come to a point on the way that was recorded */
#define REHEARSALS_MAX 12
/* steps; from here on only those that change or call something are kill points */
#define LONG_OPERATION 5000

static int64_t slice_of_library;

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
 * word) changes nothing shared. Done here once, it is owner_died by all actors, and the kill points
 * are spent on what a call does every time.
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
    slice_of_library = shki_test_recheck;
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

static ONLY_ONCE int64_t perform(struct world *w, int64_t argument)
{
    __asm__ volatile(".globl crash_begin\ncrash_begin:" ::: "memory");
    w->board->result = w->row->operation(w, argument);
    atomic_store_explicit(&w->board->returned, 1, memory_order_release);
    __asm__ volatile(".globl crash_end\ncrash_end:" ::: "memory");
    return w->board->result;
}

static void *act_when_called(void *arg)
{
    struct world *w = arg;
    struct place *place = &w->board->place[w->me];
    bool last = false;

    place->tid = gettid();
    while (!last) {
        while (sem_wait(&place->called) != 0)
            ;
        last = w->me == VICTIM && w->row->leaves && place->function == perform;
        place->result = place->function(w, place->argument);
        place->done_at = now();
        sem_post(&place->done);
    }
    return NULL;
}

static _Noreturn void live(struct world *w)
{
    pthread_t thread;

    if (w->me == VICTIM && w->row->in_thread) {
        attach(w, 0); /* so that the process is in the segment, and the thread is not */
        if (pthread_create(&thread, NULL, act_when_called, w) != 0)
            _exit(1);
        for (;;)
            pause();
    }
    act_when_called(w);
    _exit(0);
}

static void raise_curtain(struct world *w, unsigned who)
{
    struct place *place = &w->board->place[who];
    pid_t director = getpid();

    w->actor[who].pid = w->resting[who];
    w->resting[who] = 0;
    w->actor[who].starved = w->actor[who].pid ? thread_starved(place->tid) : 0;
    if (w->actor[who].pid)
        return;
    memset(place, 0, sizeof(*place));
    sem_init(&place->called, 1, 0);
    sem_init(&place->done, 1, 0);
    w->actor[who].pid = fork();
    if (w->actor[who].pid < 0)
        fail(w, "fork: %s", strerror(errno));
    if (w->actor[who].pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != director)
        _exit(1);
    w->me = who;
    /*
     * Under the tracer a slice may be over before the victim has come to sleep, and then it never
     * does. What it would do after it dies with it.
     */
    if (who == VICTIM && !w->row->slice)
        shki_test_recheck = SHK_SEC(10);
    if (who == VICTIM && w->row->looks_around)
        shki_spin_longest = SHK_MS(1);
    live(w);
}

static bool is_gone(struct world *w, unsigned who, int *status)
{
    if (w->actor[who].pid == 0 || waitpid(w->actor[who].pid, status, WNOHANG) == 0)
        return false;
    w->actor[who].pid = 0;
    return true;
}

void kill_actor(struct world *w, unsigned who)
{
    pid_t tid = w->board->place[who].tid;

    if (w->actor[who].pid)
        kill_and_reap(w->actor[who].pid, tid ? tid : w->actor[who].pid);
    w->actor[who].pid = 0;
}

void start_act(struct world *w, unsigned who, act *function, int64_t argument, const char *doing)
{
    struct place *place = &w->board->place[who];

    w->actor[who].doing = doing;
    w->actor[who].since = now();
    place->function = function;
    place->argument = argument;
    sem_post(&place->called);
}

static bool wait_done(struct place *place, int64_t ns)
{
    int64_t t = now() + ns;
    struct timespec until = {.tv_sec = t / SHK_SEC(1), .tv_nsec = t % SHK_SEC(1)};

    return sem_clockwait(&place->done, CLOCK_MONOTONIC, &until) == 0;
}

/* How long the actors have been ready to run, and had no CPU: ns in all, so far. */
static int64_t starved(const struct world *w)
{
    int64_t sum = 0;

    for (unsigned who = 0; who < ACTORS; who++)
        if (w->actor[who].pid)
            sum += thread_starved(w->board->place[who].tid) - w->actor[who].starved;
    return sum;
}

/* Less the time for which the scene had no CPU, where that makes a difference. */
static void note_recovery(struct world *w, int64_t ns)
{
    if (ns > STARVES_NS)
        ns -= starved(w) - w->starved;
    if (ns > w->longest)
        w->longest = ns;
}

static int64_t take_result(struct world *w, unsigned who)
{
    struct place *place = &w->board->place[who];
    int64_t since = w->actor[who].since;

    w->actor[who].doing = NULL;
    if (w->killed_at) {
        if (since < w->killed_at)
            since = w->killed_at;
        note_recovery(w, place->done_at - since);
    }
    return place->result;
}

/*
 * A wait for actors. They hang when they have had their second, in ticks in which nobody of the
 * scene had to wait for a CPU for long: a machine that is busy with other things proves nothing.
 * But it has an end, too.
 */
struct wait {
    unsigned ticks, good_ticks;
    int64_t starved;
};

static bool is_over(const struct world *w, struct wait *wait)
{
    int64_t all = starved(w);

    wait->good_ticks += all - wait->starved < TICK_NS / 2;
    wait->starved = all;
    return ++wait->ticks >= SETUP_TICKS || (w->killed_at && wait->good_ticks >= HUNG_TICKS);
}

int64_t finish(struct world *w, unsigned who)
{
    struct wait wait = {0};
    int status;

    do {
        if (wait_done(&w->board->place[who], TICK_NS))
            return take_result(w, who);
        if (is_gone(w, who, &status))
            fail(w, "%s was ended by signal %d in %s", actor_names[who], WTERMSIG(status),
                 w->actor[who].doing);
    } while (!is_over(w, &wait));
    fail(w, "%s hangs%s in %s", actor_names[who], w->actor[who].stopped ? ", stopped," : "",
         w->actor[who].doing);
}

int64_t finish_any_sleeper(struct world *w)
{
    static const struct timespec poll = {.tv_nsec = TICK_NS / 10};
    struct wait wait = {0};

    do
        for (unsigned i = 0; i < 10; i++) {
            for (unsigned who = SLEEPER_1; who <= w->last_sleeper; who++)
                if (is_busy(w, who) && finished(w, who))
                    return finish(w, who);
            nanosleep(&poll, NULL);
        }
    while (!is_over(w, &wait));
    fail(w, "no sleeper comes back");
}

bool is_busy(const struct world *w, unsigned who)
{
    return w->actor[who].pid != 0 && w->actor[who].doing != NULL;
}

bool finished(struct world *w, unsigned who)
{
    int value = 0;

    return sem_getvalue(&w->board->place[who].done, &value) == 0 && value > 0;
}

void enter(struct world *w, unsigned who)
{
    int64_t r;

    raise_curtain(w, who);
    r = call(w, who, attach, 0);
    EXPECT(w, r == 0, "%s cannot attach: %lld", actor_names[who], (long long)r);
}

void enter_host(struct world *w, act *create, int64_t argument)
{
    int64_t r;

    raise_curtain(w, HOST);
    r = call(w, HOST, create, argument);
    EXPECT(w, r == 0, "the host cannot create the scene: %lld", (long long)r);
}

bool falls_asleep(struct world *w, unsigned who)
{
    static const struct timespec poll = {.tv_nsec = SLEEP_NS / 4};
    struct nap nap = {0};

    for (unsigned i = 0; !thread_sleeps(w->board->place[who].tid, &nap, SLEEP_NS); i++) {
        if (finished(w, who))
            return false;
        EXPECT(w, i < SETUP_TICKS * (TICK_NS / poll.tv_nsec),
               "%s neither returns from %s nor sleeps", actor_names[who], w->actor[who].doing);
        nanosleep(&poll, NULL);
    }
    w->actor[who].since = now(); /* from here on it waits for others */
    return !finished(w, who);    /* or it sleeps because it has nothing to do */
}

void enter_sleeper_act(struct world *w, act *function, int64_t argument, const char *doing)
{
    unsigned who = ++w->last_sleeper;

    EXPECT(w, who < ACTORS, "more sleepers than there is room for");
    enter(w, who);
    start_act(w, who, function, argument, doing);
    EXPECT(w, falls_asleep(w, who), "%s did not wait in %s", actor_names[who], doing);
}

/* Once only: waitpid() is told of a stop once, and would wait for ever for a second report. */
void stop_actor(struct world *w, unsigned who)
{
    int status = 0;

    if (w->actor[who].stopped)
        return;
    kill(w->actor[who].pid, SIGSTOP);
    waitpid(w->actor[who].pid, &status, WUNTRACED);
    EXPECT(w, WIFSTOPPED(status), "%s does not stop", actor_names[who]);
    w->actor[who].stopped = true;
}

void continue_actor(struct world *w, unsigned who)
{
    kill(w->actor[who].pid, SIGCONT);
    w->actor[who].stopped = false;
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
    if (shk_stream_open(w->segment, STREAM, 0, NULL, &w->stream) == 0)
        shk_reader_open(w->stream, SHK_NEXT, &w->reader);
    shk_region_open(w->segment, REGION, 0, NULL, &w->region);
    return 0;
}

/* Give everything back. */
static int64_t depart(struct world *w, int64_t unused)
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
    r = r ? r : shk_region_close(w->region);
    r = r ? r : shk_segment_close(w->segment);
    w->lock = w->lock_2 = NULL;
    w->cond = w->cond_2 = NULL;
    w->event = NULL;
    w->semaphore = NULL;
    w->barrier = NULL;
    w->queue = NULL;
    w->reader = NULL;
    w->stream = NULL;
    w->region = NULL;
    w->segment = NULL;
    return r;
}

/* ---- A play ---- */

static void begin(struct world *w)
{
    w->board->result = 0;
    w->board->returned = 0;
    memset(w->board->scratch, 0, sizeof(w->board->scratch));
    memset(w->actor, 0, sizeof(w->actor));
    w->failure[0] = '\0';
    shki_test_recheck = w->row->slice ? w->row->slice : slice_of_library;
    w->last_sleeper = SLEEPER_1 - 1;
    w->killed_at = w->longest = 0;
    w->untouched = w->asleep = w->acknowledged = false;
    w->partnered = w->sleeps = w->stopped = 0;
    w->result = 0;
    w->row->setup(w);
    raise_curtain(w, VICTIM);
    if (!w->row->in_thread && !w->row->outside)
        call(w, VICTIM, attach, 0);
    while (w->board->place[VICTIM].tid == 0)
        usleep(100);
    if (w->row->prepare) {
        int64_t r = call(w, VICTIM, w->row->prepare, 0);

        EXPECT(w, r >= 0, "the victim cannot prepare: %lld", (long long)r);
    }
    if (w->row->crowd)
        w->row->crowd(w);
}

/* Play a scene. Nothing of it stays, whatever has become of it. */
static bool stage(struct world *w, script *scene)
{
    if (setjmp(w->failed) == 0) {
        begin(w);
        scene(w);
    }
    for (unsigned who = 0; who < ACTORS; who++)
        kill_actor(w, who);
    shm_unlink(w->name);
    return w->failure[0] == '\0';
}

void send_home(struct world *w)
{
    for (unsigned who = 0; who < ACTORS; who++)
        if (w->resting[who])
            kill_and_reap(w->resting[who], w->resting[who]);
    memset(w->resting, 0, sizeof(w->resting));
}

/* Forks are a good part of a play's costs. */
static void take_a_rest(struct world *w, unsigned who)
{
    w->resting[who] = w->actor[who].pid;
    w->actor[who].pid = 0;
}

/* The victim stands at crash_begin. */
static void seize(struct world *w)
{
    int r = trace_seize(&w->victim, w->actor[VICTIM].pid, w->board->place[VICTIM].tid);

    EXPECT(w, r == 0, "cannot trace: %s", strerror(-r));
    start(w, VICTIM, perform, 0);
    EXPECT(w, trace_hop(&w->victim, (uintptr_t)crash_begin) == TRACE_STOPPED,
           "the victim does not start");
}

static bool at_end(const struct world *w)
{
    return !w->row->leaves && trace_pc(&w->victim) == (uintptr_t)crash_end;
}

static bool is_held(const struct world *w)
{
    return w->row->partner_in && trace_pc(&w->victim) == (uintptr_t)w->row->partner_in;
}

/*
 * One step, and in it whatever it takes to wake the victim. Returns whether it goes on after that.
 */
static bool step(struct world *w, uint32_t number)
{
    unsigned first = w->row->partner_at ? w->row->partner_at : 1;
    unsigned times = w->row->partner_times ? w->row->partner_times : 1;
    enum event e;

    while ((e = trace_step(&w->victim)) == TRACE_ASLEEP)
        if (++w->sleeps >= first && w->row->partner && w->partnered < times) {
            w->row->partner(w);
            w->partnered++;
        }
    EXPECT(w, e != TRACE_CRASHED, "the victim crashes at step %u", number);
    if (e == TRACE_STOPPED && is_held(w) && w->partnered < times) {
        w->row->partner(w);
        w->partnered++;
    }
    return e != TRACE_ENDED && e != TRACE_LOST && !at_end(w);
}

/* ---- Recording ---- */

static void rehearse(struct world *w)
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
        t->previous[t->length] = INT32_MAX; /* there is no hop to where it is no more */
}

static uint64_t hash(const struct trace *t)
{
    uint64_t h = t->length;

    for (uint32_t i = 0; i <= t->length; i++)
        h = (h ^ t->pc[i] ^ t->marks[i]) * UINT64_C(0x100000001b3); /* FNV */
    return h;
}

/*
 * Until it has gone the same way twice, which it does unless a clock decides. Where it does it may
 * go on and on, with a slice that is over before the victim has come to sleep: that is no failure
 * if it happens once or twice.
 */
static bool rehearse_well(struct world *w)
{
    uint64_t hashes[REHEARSALS_MAX];
    int n = 0;

    for (int i = 0; i < REHEARSALS_MAX; i++) {
        w->trace->length = 0;
        if (!stage(w, rehearse)) {
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

int record(struct world *w, struct trace *t, struct point *points, unsigned max)
{
    unsigned n = 0;
    bool every;

    w->trace = t;
    w->watch = NULL;
    if (!rehearse_well(w))
        return -1;
    every = t->length <= LONG_OPERATION;
    if (!every) {
        w->watch = watch_new();
        every = rehearse_well(w) && t->length <= LONG_OPERATION;
        watch_free(w->watch);
        w->watch = NULL;
    }
    for (uint32_t i = 0; i <= t->length && n + 2 <= max; i++) {
        /* Of a long one: before and after each step that does something. */
        if (every || i == 0 || i == t->length || t->marks[i] || t->marks[i - 1])
            points[n++] = (struct point){i, false};
        if (t->marks[i] & STEP_SLEEPS)
            points[n++] = (struct point){i, true};
    }
    return w->failure[0] ? -1 : (int)n;
}

/* ---- Killing ---- */

/* The step before which the recording slept next: no hop leads beyond it. */
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
static bool lead(struct world *w)
{
    const uint32_t goal = w->point->step;
    const struct trace *t = w->trace;

    for (uint32_t i = 0, to; i < goal; i = to) {
        to = w->hop ? trace_next_hop(t, i, next_sleep(t, i, goal)) : i + 1;
        if (to > i + 1) {
            if (trace_hop(&w->victim, t->pc[to]) != TRACE_STOPPED)
                return false;
            continue;
        }
        to = i + 1;
        if (!step(w, i))
            return to == goal;
    }
    if (w->hop && trace_pc(&w->victim) != t->pc[goal])
        return false;
    w->asleep = w->point->asleep && trace_step(&w->victim) == TRACE_ASLEEP;
    return w->asleep == w->point->asleep;
}

static void kill_scene(struct world *w)
{
    seize(w);
    w->arrived = lead(w);
    if (w->release)
        w->released = kill_and_release(&w->victim);
    else
        kill_actor(w, VICTIM);
    w->actor[VICTIM].pid = 0;
    if (!w->arrived && w->hop)
        return;
    w->untouched = w->point->step == 0;
    w->acknowledged = w->board->returned;
    w->result = w->board->result;
    w->starved = starved(w);
    w->killed_at = now();
    w->row->check(w);
    w->row->carry_on(w);
    for (unsigned who = HOST; who <= NEWCOMER; who++)
        if (w->actor[who].pid) {
            int64_t r = call(w, who, depart, 0);

            EXPECT(w, r == 0, "%s cannot close everything: %lld", actor_names[who], (long long)r);
            take_a_rest(w, who);
        }
}

bool play(struct world *w, struct trace *t, const struct point *point)
{
    w->trace = t;
    w->point = point;
    w->hop = true;
    for (int i = 0; i < ASTRAY_MAX; i++) {
        w->arrived = true;
        w->tries++;
        if (!stage(w, kill_scene))
            return false;
        if (w->arrived)
            return true;
    }
    /* Step by step, then; wherever that leads is a kill point as well. */
    w->hop = false;
    w->by_hand++;
    return stage(w, kill_scene);
}

/* ---- Stopping ---- */

static void stop_scene(struct world *w)
{
    for (unsigned who = SLEEPER_1; who <= w->last_sleeper; who++)
        if (w->actor[who].pid) {
            stop_actor(w, who);
            w->stopped++;
        }
    w->starved = starved(w);
    w->killed_at = now();
    start(w, VICTIM, perform, 0);
    if (falls_asleep(w, VICTIM)) {
        stop_actor(w, VICTIM);
        w->stopped++;
        for (unsigned i = 0;
             w->row->partner && i < (w->row->partner_times ? w->row->partner_times : 1);
             i++, w->partnered++)
            w->row->partner(w);
    } else {
        kill_actor(w, VICTIM); /* it may hold something, and has nothing to do with it */
    }
    if (w->stopped > 0)
        w->row->carry_on(w);
    for (unsigned who = 0; who < ACTORS; who++)
        if (w->actor[who].pid)
            continue_actor(w, who);
}

int play_stopped(struct world *w)
{
    return stage(w, stop_scene) ? (int)w->stopped : -1;
}
