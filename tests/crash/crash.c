/*
 * The kill table: every operation that changes shared memory, in every state that matters, killed
 * at every instruction. Prints it, and exits with 1 at any failure, or if one of the controls,
 * which are not safe, gets through.
 *
 *     table [-nRv] [-e N] [-j JOBS] [-r NUMBER] [-s STEP] [-t SECONDS] [TEXT]
 *                                    only rows and controls that have the text in their line,
 *                                    only that step
 *         -n  only count the kill points      -v  what each row has cost
 *         -e  of each row only one point in N, others in each run, and each at which the victim
 *         sleeps: where all of them take too long. In the environment: TABLE_EVERY
 *         -t  a call hangs after so many seconds, not after one: where a CPU is emulated, and may
 *         stand still while its clock goes on. In the environment: TABLE_SECONDS
 *         -r  which of the points are tried once more, with the victim's memory taken away before
 *         its exit, as the OOM reaper does; without it, others in each run. -R: nothing but that
 *     table -c                                 only check that every public function is in it
 */
#include "harness.h"

#include "base/hooks.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

#define POINTS_MAX      (2 * TRACE_MAX)
#define PARTS           8 /* a row is tried in so many parts at the same time */
#define JOBS_PER_RESULT (PARTS + 1)
#define RESULTS_MAX     1024
#define FUNCTIONS_MAX   256
#define FAILURES_MAX    8  /* then a row is given up: each may take a second */
#define CONTROL_TRIES   4  /* recordings of a control */
#define JOBS_PER_CPU    12 /* much of the time is spent asleep */
/* of the points, another part of them in each run; and all in which the victim sleeps */
#define RELEASED_ONE_IN 3
#define SAMPLES         10000 /* numbers of -r */
/*
 * Of the points of a call of more steps, likewise: they are loops, through which breakpoints do not
 * lead, so that to come to a point takes as long as all of a short call
 */
#define LONG_CALL 10000
#define JOBS_MAX  256
/* bytes of /dev/shm, of which a worker needs 2 MiB at most: other tests are there, too */
#define ROOM_PER_JOB (8 << 20)

static const struct rows *const tables[] = {
    &lock_rows,    &cond_rows,  &event_rows,       &semaphore_rows,   &semaphore_owner_rows,
    &barrier_rows, &queue_rows, &queue_order_rows, &queue_lease_rows, &stream_rows,
    &ready_rows,   &roles_rows, &rwlock_rows,      &once_rows,        &value_rows,
    &segment_rows, &object_rows};
#define TABLES (sizeof(tables) / sizeof(*tables))

/*
 * What changes nothing in shared memory (cursors are on etcd), or stores one mark for ever
 * (shk_cond_native), and so needs no row.
 */
/* A line each, so that two changes of it do not conflict. */
/* clang-format off */
static const char *const exempt[] = {
    "shk_barrier_broken",
    "shk_barrier_parties",
    "shk_barrier_waiting",
    "shk_cond_native",
    "shk_cond_was_notified",
    "shk_event_is_set",
    "shk_item_list",
    "shk_last_error",
    "shk_lock_depth",
    "shk_lock_is_held",
    "shk_member_watch_close",
    "shk_member_watch_living",
    "shk_member_watch_open",
    "shk_queue_capacity",
    "shk_queue_cursor",
    "shk_queue_empty",
    "shk_queue_full",
    "shk_queue_incarnation",
    "shk_queue_is_shut_down",
    "shk_queue_item_size",
    "shk_queue_lease_info",
    "shk_queue_position",
    "shk_queue_put_at",
    "shk_queue_set_cursor",
    "shk_queue_size",
    "shk_queue_unfinished",
    "shk_reader_close",
    "shk_reader_dropped",
    "shk_reader_latest",
    "shk_reader_latest_stamped",
    "shk_reader_open",
    "shk_region_data",
    "shk_segment_list",
    "shk_server_list",
    "shk_snapshot_machine",
    "shk_semaphore_held",
    "shk_semaphore_value",
    "shk_set_interrupt",
    "shk_set_interrupt_call",
    "shk_snapshot_close",
    "shk_snapshot_find_member",
    "shk_snapshot_find_object",
    "shk_snapshot_member",
    "shk_snapshot_object",
    "shk_snapshot_open",
    "shk_snapshot_permits",
    "shk_snapshot_roles",
    "shk_snapshot_segment",
    "shk_stream_channels",
    "shk_stream_history",
    "shk_stream_is_stamped",
    "shk_stream_position",
    "shk_stream_rate",
    "shk_stream_sample_size",
    "shk_rwlock_is_held",
    "shk_once_is_done",
    "shk_value_get",
    "shk_value_size",
    "shk_value_version",
};
/* clang-format on */

/* Without one of these repairs that row must fail. */
static const struct control {
    unsigned repair;
    const char *name, *function, *state;
} repairs[] = {
    {SHKI_REPAIR_BACKSTOP, "without the check after each recheck interval", "shk_queue_put",
     "empty, a consumer asleep"},
    {SHKI_REPAIR_BACKSTOP, "without the check after each recheck interval", "shk_event_set",
     "clear, one waits"},
    {SHKI_REPAIR_REBUILD, "without rebuilding the waitlist", "shk_cond_notify", "two wait"},
    {SHKI_REPAIR_REBUILD, "without counting what is held anew", "shk_semaphore_release",
     "with owners: 3 of 3"},
    {SHKI_REPAIR_REBUILD, "without rebuilding the waitlist", "shk_semaphore_acquire",
     "2, promised to two stopped waiters"},
    {SHKI_REPAIR_FORWARD, "without forwarding wake-ups", "shk_cond_wait",
     "one waits behind, notify"},
    {SHKI_REPAIR_OWNER_DIED, "without the sticky mark", "shk_lock_acquire", "its holder has died"},
    {SHKI_REPAIR_FINISH_UNLINK, "without finishing a dead unlinker's work", "shk_segment_unlink",
     "others are in it"},
    {SHKI_REPAIR_OWNER_DIED, "without the mark of a dead writer", "shk_rwlock_release",
     "exclusive, one waits to read"},
    {SHKI_REPAIR_UNMARKED, "without finding unmarked deaths", "shk_rwlock_acquire_shared", "free"},
    {SHKI_REPAIR_CONSISTENT, "without pthread_mutex_consistent()", "shk_lock_acquire", "free"},
    {SHKI_REPAIR_REAP, "without reusing dead members' records", "shk_event_set",
     "a thread's first call, a dead member's place"},
    {SHKI_REPAIR_FINISH_QUEUE, "without finishing a dead author's change", "shk_queue_get",
     "PRIORITY, eight items"},
    {SHKI_REPAIR_FINISH_QUEUE, "without finishing a dead author's put", "shk_queue_put",
     "as the bias owner"},
    {SHKI_REPAIR_UNMARKED, "without finding unmarked deaths", "shk_lock_acquire", "free"},
    {SHKI_REPAIR_UNMARKED, "without finding unmarked deaths", "shk_queue_put",
     "empty, a consumer asleep"},
    {SHKI_REPAIR_FINISH_QUEUE, "without taking back what was not committed", "shk_queue_put_many",
     "FIFO, three items"},
    {SHKI_REPAIR_FORWARD, "without giving a dead consumer's lease back", "shk_queue_lease",
     "leases, FIFO, three items"},
    {SHKI_REPAIR_FINISH_QUEUE, "without deciding a dead consumer's lease", "shk_queue_lease",
     "leases, FIFO, three items"},
};

struct failure {
    uint32_t step;
    bool asleep, stopped, released;
    char text[256];
};

struct result {
    const struct row *row;
    /* The recording, made by the first worker. */
    pthread_mutex_t recording;
    struct trace trace;
    struct point points[POINTS_MAX];
    struct pcs *pcs;             /* of its function; a control's is NULL */
    int count;                   /* of points; -1: it could not even be run without a kill */
    unsigned disabled;           /* repairs */
    const char *control;         /* NULL: a row of the table, and must not fail */
    _Atomic unsigned parts_left; /* 0: no worker writes here any more */
    unsigned tried, released, failures, stopped, tries, stepped;
    _Atomic int64_t cpu; /* us, of the worker's and the actors' */
    int64_t longest;     /* ns */
    struct failure failure[FAILURES_MAX];
};

struct job {
    struct result *result;
    unsigned part, parts;
};

/* All in shared memory. */
static struct run {
    pthread_mutex_t mutex;
    _Atomic unsigned next_job;
    unsigned jobs, results;
    struct job job[JOBS_PER_RESULT * RESULTS_MAX];
    unsigned functions;
    struct {
        const char *name;
        struct pcs pcs;
    } function[FUNCTIONS_MAX];
    struct result result[RESULTS_MAX]; /* large and sparse */
} * run;

static FILE *console; /* of "make check"; NULL: none */

static struct options {
    unsigned jobs;
    bool cover_only, count_only;
    long step;       /* -1: all */
    unsigned every;  /* of so many points one is tried; 1: all */
    unsigned sample; /* which; and which with the victim's memory taken away, too */
    bool release, released_only;
    bool verbose;
    const char *text;
} options = {.step = -1, .every = 1, .text = ""};

/* ---- A worker ---- */

static void note(struct result *r, struct world *w, const struct point *point, bool ok,
                 unsigned stopped)
{
    pthread_mutex_lock(&run->mutex);
    r->tried += point && !w->release;
    r->released += point && w->release;
    r->stopped += stopped;
    if (w->longest > r->longest)
        r->longest = w->longest;
    if (!ok && r->failures < FAILURES_MAX) {
        struct failure *f = &r->failure[r->failures];

        *f = (struct failure){.step = point ? point->step : 0,
                              .asleep = point && point->asleep,
                              .stopped = !point,
                              .released = w->release};
        memcpy(f->text, w->failure, sizeof(f->text));
    }
    r->failures += !ok;
    r->tries += w->tries;
    r->stepped += w->stepped;
    pthread_mutex_unlock(&run->mutex);
    w->tries = w->stepped = 0;
}

/* No more runs are wanted. */
static bool is_settled(struct result *r)
{
    pthread_mutex_lock(&run->mutex);
    bool settled = r->control ? r->failures > 0 : r->failures >= FAILURES_MAX;
    pthread_mutex_unlock(&run->mutex);
    return settled;
}

/* Spread over the operation, so that a control fails soon. */
static unsigned shuffled(unsigned i, unsigned n)
{
    /* a prime: every number comes once unless n is its multiple */
    return (unsigned)((uint64_t)i * 7919 % n);
}

static int record_once(struct world *w, struct result *r)
{
    pthread_mutex_lock(&r->recording);
    if (r->count == 0) {
        /*
         * Controls of this library are found out by the points of the table. The others keep what
         * they share in memory that is not watched.
         */
        w->every_step = options.step >= 0 || (r->control && !r->disabled);
        w->pcs = r->pcs;
        r->count = record(w, &r->trace, r->points, POINTS_MAX);
        if (r->count < 0)
            note(r, w, NULL, false, 0);
    }
    pthread_mutex_unlock(&r->recording);
    return r->count;
}

/* A control that is about such deaths has no others. */
static bool is_released_only(const struct result *r)
{
    return r->control && r->disabled & SHKI_REPAIR_UNMARKED;
}

static bool is_in_sample(const struct result *r, unsigned i)
{
    if (!options.release || r->control)
        return options.release && is_released_only(r);
    return options.step >= 0 || r->points[i].asleep ||
           (i / options.every + options.sample) % RELEASED_ONE_IN == 0;
}

/* Whether a point of a row is left to other runs. Some point of each row is not. */
static bool is_left_out(const struct result *r, unsigned i)
{
    unsigned n = (unsigned)r->count < options.every ? (unsigned)r->count : options.every;

    if (options.step >= 0 || r->control)
        return false;
    if (!r->points[i].asleep && (i + options.sample) % n != 0)
        return true;
    return r->trace.length > LONG_CALL &&
           (i / RELEASED_ONE_IN + options.sample) % RELEASED_ONE_IN != 0;
}

static void try_point(struct world *w, struct result *r, unsigned i)
{
    const struct point *point = &r->points[i];

    if (options.step >= 0 && point->step != (uint32_t)options.step)
        return;
    if (is_left_out(r, i))
        return;
    if (!is_released_only(r) && !options.released_only)
        note(r, w, point, kill_at(w, &r->trace, point), 0);
    if (is_in_sample(r, i)) {
        w->release = true;
        note(r, w, point, kill_at(w, &r->trace, point), 0);
        w->release = false;
    }
}

static void try_points(struct world *w, const struct job *job)
{
    struct result *r = job->result;
    int n = record_once(w, r);

    for (unsigned i = job->part; (int)i < n && !options.count_only && !is_settled(r);
         i += job->parts)
        try_point(w, r, r->control ? shuffled(i, (unsigned)n) : i);
}

static void try_part(struct world *w, const struct job *job)
{
    struct result *r = job->result;

    if (job->part == job->parts) {
        int stopped = stop_asleep(w);

        note(r, w, NULL, stopped >= 0, stopped > 0 ? (unsigned)stopped : 0);
        return;
    }
    try_points(w, job);
    /*
     * It may have been recorded on a way without the gap: which way a pthread_cond_signal() goes is
     * left to chance.
     */
    for (int i = 1; r->control && i < CONTROL_TRIES && !is_settled(r); i++) {
        r->count = 0;
        try_points(w, job);
    }
}

/* us, of this process and its children */
static int64_t cpu_time(void)
{
    struct rusage mine, theirs;

    getrusage(RUSAGE_SELF, &mine);
    getrusage(RUSAGE_CHILDREN, &theirs);
    return (mine.ru_utime.tv_sec + mine.ru_stime.tv_sec + theirs.ru_utime.tv_sec +
            theirs.ru_stime.tv_sec) *
               1000000 +
           mine.ru_utime.tv_usec + mine.ru_stime.tv_usec + theirs.ru_utime.tv_usec +
           theirs.ru_stime.tv_usec;
}

static void do_job(struct world *w, const struct job *job)
{
    int64_t since = cpu_time();

    shki_test_disable = job->result->disabled;
    w->row = job->result->row;
    w->memo = 0;
    try_part(w, job);
    end_idle_actors(w);
    job->result->cpu += cpu_time() - since;
    job->result->parts_left--;
}

static int work(unsigned number)
{
    static struct world world;
    char name[64];
    cpu_set_t cpus, one;
    unsigned i;
    /* An actor is on one CPU with the worker: a step does not cost two wake-ups across CPUs. */
    sched_getaffinity(0, sizeof(cpus), &cpus);
    number %= (unsigned)CPU_COUNT(&cpus);
    for (i = 0; !CPU_ISSET(i, &cpus) || number-- > 0; i++)
        ;
    CPU_ZERO(&one);
    CPU_SET(i, &one);
    sched_setaffinity(0, sizeof(one), &one);
    /* an actor needs none of it, and forks are half of the work */
    madvise(run, sizeof(*run), MADV_DONTFORK);
    snprintf(name, sizeof(name), "/shmkit-crash-%d-%d", (int)getppid(), (int)getpid());
    world_init(&world, name);
    while ((i = atomic_fetch_add(&run->next_job, 1)) < run->jobs)
        do_job(&world, &run->job[i]);
    return 0;
}

/* ---- The table ---- */

static void init_shared(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t shared;

    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(mutex, &shared);
}

static struct pcs *pcs_of(const char *function)
{
    unsigned i = 0;

    while (i < run->functions && strcmp(run->function[i].name, function) != 0)
        i++;
    if (i == FUNCTIONS_MAX)
        errx(1, "more than %u functions", FUNCTIONS_MAX);
    if (i == run->functions)
        run->function[run->functions++].name = function;
    return &run->function[i].pcs;
}

static void add(const struct row *row, unsigned disabled, const char *control)
{
    struct result *r = &run->result[run->results];
    char line[256];

    if (run->results == RESULTS_MAX)
        errx(1, "more than %u rows and controls", RESULTS_MAX);

    snprintf(line, sizeof(line), "%s | %s%s%s", row->function, row->state, control ? " | " : "",
             control ? control : "");
    if (!strstr(line, options.text))
        return;
    r->row = row;
    r->disabled = disabled;
    r->control = control;
    r->pcs = control ? NULL : pcs_of(row->function);
    init_shared(&r->recording);
    run->results++;
    const unsigned parts = control ? 1 : PARTS, first = run->jobs;
    for (unsigned part = 0; part < parts + (!control && !row->never_stopped); part++)
        run->job[run->jobs++] = (struct job){r, part, parts};
    r->parts_left = run->jobs - first;
}

static const struct row *find(const char *function, const char *state)
{
    for (unsigned t = 0; t < TABLES; t++)
        for (unsigned i = 0; i < tables[t]->count; i++)
            if (strcmp(tables[t]->row[i].function, function) == 0 &&
                (!state || strcmp(tables[t]->row[i].state, state) == 0))
                return &tables[t]->row[i];
    return NULL;
}

static void collect(void)
{
    for (unsigned t = 0; t < TABLES; t++)
        for (unsigned i = 0; i < tables[t]->count; i++)
            add(&tables[t]->row[i], 0, NULL);
    for (unsigned i = 0; i < ring_controls.count && !options.released_only; i++)
        add(&ring_controls.row[i], 0, "a textbook ring");
    for (unsigned i = 0; i < cond_controls.count && !options.released_only; i++)
        add(&cond_controls.row[i], 0, "SHK_COND_PTHREAD");
    for (unsigned i = 0; i < sizeof(repairs) / sizeof(*repairs); i++) {
        const struct control *c = &repairs[i];
        const struct row *row = find(c->function, c->state);

        if (!row)
            errx(1, "no such row: %s | %s", c->function, c->state);
        if (c->repair == SHKI_REPAIR_UNMARKED ? options.release : !options.released_only)
            add(row, c->repair, c->name);
    }
}

static bool is_right(const struct result *r)
{
    return r->parts_left == 0 && r->count >= 0 && (r->control ? r->failures > 0 : r->failures == 0);
}

/*
 * To the log, and to the terminal of "make check". Flushed, also because a forked worker would
 * print what is left once more.
 */
static __attribute__((format(printf, 1, 2))) void say(const char *format, ...)
{
    FILE *to[] = {stdout, console};

    for (unsigned i = 0; i < 2; i++) {
        va_list arguments;

        if (!to[i])
            continue;
        va_start(arguments, format);
        vfprintf(to[i], format, arguments);
        va_end(arguments);
        fflush(to[i]);
    }
}

static void print_failures(const struct result *r)
{
    for (unsigned i = 0; i < r->failures && i < FAILURES_MAX; i++) {
        const struct failure *f = &r->failure[i];

        if (f->stopped)
            say("    %s: %s\n", r->count < 0 ? "not killed" : "stopped", f->text);
        else
            say("    killed after step %u%s%s: %s\n", f->step, f->asleep ? ", asleep" : "",
                f->released ? ", its memory released" : "", f->text);
    }
    if (!r->control && r->failures >= FAILURES_MAX)
        say("    given up\n");
}

static void print_result(const struct result *r)
{
    if (r->control)
        say("%-24s | %-52s | %s: %s after %u points\n", r->row->function, r->row->state, r->control,
            is_right(r) ? "found out" : "NOT FOUND OUT", r->tried + r->released);
    else
        say("%-24s | %-52s | %6u | %8u | %7u | %8u | %10.1f\n", r->row->function, r->row->state,
            r->tried, r->released, r->stopped, r->failures, (double)r->longest / 1e6);
    if (options.verbose)
        say("    %d points of %u steps, %u runs to reach them, %u step by step, %.1f s of CPU\n",
            r->count, r->trace.length, r->tries, r->stepped, (double)r->cpu / 1e6);
    print_failures(r);
}

/* As far as it is complete, row by row. */
static void print_table(void)
{
    static unsigned printed;
    static bool begun;

    if (!begun)
        say("%-24s | %-52s | %6s | %8s | %7s | %8s | %10s\n", "operation", "state", "points",
            "released", "stopped", "failures", "longest ms");
    begun = true;
    while (printed < run->results && run->result[printed].parts_left == 0)
        print_result(&run->result[printed++]);
}

/* Returns how many rows and controls are not as they should be. */
static unsigned print_sum(void)
{
    unsigned wrong = 0, wrong_controls = 0, points = 0, all = 0, released = 0, rows = 0;
    int64_t longest = 0;

    for (unsigned i = 0; i < run->results; i++) {
        const struct result *r = &run->result[i];

        rows += !r->control;
        wrong += !r->control && !is_right(r);
        wrong_controls += r->control && !is_right(r);
        points += r->control ? 0 : r->tried;
        all += r->control || r->count < 0 ? 0 : (unsigned)r->count;
        released += r->control ? 0 : r->released;
        if (!r->control && r->longest > longest)
            longest = r->longest;
    }
    say("%u rows, %u kill points of %u, %u with memory released (-r %u), %u rows failed, "
        "longest recovery %.1f ms; %u controls, %u not found out\n",
        rows, points, all, released, options.sample, wrong, (double)longest / 1e6,
        run->results - rows, wrong_controls);
    return wrong + wrong_controls;
}

/* Every repair that can be switched off has a control. */
static unsigned check_controls(void)
{
    unsigned missing = SHKI_REPAIR_ALL;

    for (unsigned i = 0; i < sizeof(repairs) / sizeof(*repairs); i++)
        missing &= ~repairs[i].repair;
    if (missing)
        printf("no control shows what is missing without the repairs 0x%x of lib/base/hooks.h\n",
               missing);
    return missing != 0;
}

/* Every public function has a row or is exempt. Returns how many do not, and are not. */
static unsigned check_coverage(void)
{
    unsigned wrong = 0;
    char line[256], name[256];
    FILE *map = fopen(SHMKIT_MAP, "re");

    if (!map)
        err(1, "%s", SHMKIT_MAP);
    while (fgets(line, sizeof(line), map)) {
        bool is_exempt = false;

        if (sscanf(line, " %255[a-z0-9_]", name) != 1 || strncmp(name, "shk_", 4) != 0)
            continue;
        for (unsigned i = 0; i < sizeof(exempt) / sizeof(*exempt); i++)
            is_exempt |= strcmp(exempt[i], name) == 0;
        if (is_exempt || find(name, NULL))
            continue;
        printf("%s() has no row in the kill table: see the README of tests/crash\n", name);
        wrong++;
    }
    fclose(map);
    return wrong + check_controls();
}

/* ---- The run ---- */

static void remove_segments(void)
{
    char prefix[64];
    DIR *directory = opendir("/dev/shm");

    snprintf(prefix, sizeof(prefix), "shmkit-crash-%d-", (int)getpid());
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
            unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory)
        closedir(directory);
}

/*
 * Returns how many workers did not do their work. Whatever ends it, no process and no segment
 * stays.
 */
static unsigned run_workers(void)
{
    static const struct timespec pause = {.tv_nsec = 200000000};
    unsigned failed = 0, interrupted = 0;
    sigset_t watched;
    int status, signal_number;
    pid_t pid, worker[JOBS_MAX];

    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD); /* blocked in the workers, too, where the tracer wants it so */
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGHUP);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    print_table();
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* the actors of a dead worker come here, to be waited for */
    for (unsigned i = 0; i < options.jobs; i++)
        if ((worker[i] = fork()) == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            _exit(work(i));
        }
    while ((pid = waitpid(-1, &status, WNOHANG)) >= 0) {
        if (pid > 0) {
            for (unsigned i = 0; i < options.jobs; i++)
                failed += worker[i] == pid && status != 0;
            continue;
        }
        print_table();
        signal_number = sigtimedwait(&watched, NULL, &pause);
        if (signal_number > 0 && signal_number != SIGCHLD && interrupted == 0) {
            interrupted = (unsigned)signal_number;
            for (unsigned i = 0; i < options.jobs; i++)
                kill(worker[i], SIGKILL);
        }
    }
    print_table();
    remove_segments();
    if (interrupted) {
        signal((int)interrupted, SIG_DFL);
        raise((int)interrupted);
        sigprocmask(SIG_UNBLOCK, &watched, NULL);
    }
    return failed;
}

/* Whether it can be seen here what a process does, step by step. If not, says why. */
static bool can_trace(void)
{
    struct tracee tracee;
    int status, r;
    pid_t pid;

    if (!CAN_TRACE) {
        puts("SKIPPED: no single-stepping on this kind of machine");
        return false;
    }
    if (SANITIZED) {
        puts("SKIPPED: built with a sanitizer: its own steps are not the library's");
        return false;
    }
    if (access("/proc/self/syscall", R_OK) != 0) {
        puts("SKIPPED: /proc does not say in which system call a process sleeps");
        return false;
    }
    pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    r = pid < 0 ? -errno : trace_seize(&tracee, pid, pid);
    if (pid > 0) {
        kill(pid, SIGKILL);
        while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
            ;
    }
    if (r < 0)
        printf("SKIPPED: a process may not trace its child here: %s\n", strerror(-r));
    return r == 0;
}

/* As many as there is work for, and room. */
static unsigned default_jobs(void)
{
    unsigned jobs = JOBS_PER_CPU * (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    struct statvfs room;

    if (statvfs("/dev/shm", &room) == 0 &&
        (uint64_t)room.f_bavail * room.f_frsize / ROOM_PER_JOB < jobs)
        jobs = (unsigned)((uint64_t)room.f_bavail * room.f_frsize / ROOM_PER_JOB);
    return jobs > 1 ? jobs : 1;
}

static unsigned number_of(const char *text, unsigned otherwise)
{
    return text && atoi(text) > 0 ? (unsigned)atoi(text) : otherwise;
}

static void read_options(int argc, char **argv)
{
    int option;

    options.jobs = default_jobs();
    options.sample = (unsigned)(now() / 1000) % SAMPLES;
    while ((option = getopt(argc, argv, "ce:j:nr:Rs:t:v")) != -1) {
        if (option == 'c')
            options.cover_only = true;
        else if (option == 'e')
            options.every = number_of(optarg, 1);
        else if (option == 'j')
            options.jobs = (unsigned)atoi(optarg);
        else if (option == 'n')
            options.count_only = true;
        else if (option == 'r')
            options.sample = (unsigned)atoi(optarg) % SAMPLES;
        else if (option == 'R')
            options.released_only = true;
        else if (option == 's')
            options.step = atol(optarg);
        else if (option == 't')
            hung_after = number_of(optarg, 1);
        else if (option == 'v')
            options.verbose = true;
        else
            exit(2);
    }
    if (argv[optind])
        options.text = argv[optind];
    if (options.jobs < 1 || options.jobs > JOBS_MAX)
        options.jobs = options.jobs ? JOBS_MAX : 1;
}

int main(int argc, char **argv)
{
    const char *descriptor = getenv("TEST_CONSOLE");
    unsigned wrong;

    if (descriptor)
        console = fdopen(atoi(descriptor), "w");
    options.every = number_of(getenv("TABLE_EVERY"), 1);
    hung_after = number_of(getenv("TABLE_SECONDS"), 1);
    clearenv(); /* nothing in it may decide what the library does, */
    /* … which sleeps without spinning: how long it spins depends on clocks, and changes nothing */
    setenv("SHK_SPIN", "0", 1);
    read_options(argc, argv);
    wrong = check_coverage();
    if (options.cover_only)
        return wrong ? 1 : 0;
    if (!can_trace())
        return wrong ? 1 : 77;
    options.release = can_release();
    if (!options.release)
        puts("no process_mrelease(2) here: nothing is killed as the OOM reaper does it");
    run = map_shared(sizeof(*run));
    init_shared(&run->mutex);
    collect();
    wrong += run_workers();
    wrong += print_sum();
    return wrong ? 1 : 0;
}
