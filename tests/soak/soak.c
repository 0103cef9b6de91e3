/*
 * The supervisor of the soak: it starts the workers, kills and replaces them, watches the immortal
 * ones, and draws up the account.
 */
#include "soak.h"
#ifdef SHKI_TEST_HOOKS
#include "base/hooks.h"
#endif

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILL_EVERY     SHK_MS(2) /* on average; others die by their own clocks */
#define TICK           SHK_MS(20)
#define STUCK          SHK_SEC(1)  /* without progress, on a machine that lets everybody work */
#define STUCK_FOR_SURE SHK_SEC(10) /* … on any machine */
#define END            SHK_SEC(30) /* so long all may take to end */
/* at most; the next one begins with a new segment and a new account */
#define ROUND        SHK_SEC(15)
#define REPORT_EVERY SHK_SEC(5)

/* How many of each role; for producers and consumers, of each queue. */
static const struct {
    unsigned immortals, mortals;
} crew[ROLES] = {
    [PRODUCER] = {1, 1}, [CONSUMER] = {1, 1},  [CLOSER] = {0, 1}, [DEPOSITOR] = {1, 1},
    [DRAWER] = {1, 1},   [GIVER] = {1, 2},     [TAKER] = {1, 3},  [LOCKER] = {1, 3},
    [TURNER] = {0, 1},   [PASSENGER] = {1, 2}, [POSTER] = {1, 1}, [WAITER] = {1, 3},
    [CLERK] = {1, 3},    [SETTER] = {1, 1},    [READER] = {1, 1}, [LODGER] = {1, 2},
};

/* The line has one producer, so that it ends with it. */
static unsigned immortals_of(enum role role, enum queue_number queue)
{
    return role == PRODUCER && queue == LINE ? 0 : crew[role].immortals;
}

static unsigned places;
static uint64_t lives, deaths, own_clocks; /* deaths that were not the supervisor's doing */
static pid_t helper;
static char trouble[400];
static sigset_t watched_signals;
static int interrupted; /* the signal */
static bool without_kills;
/* an actor has been without progress for a second: none is killed until that is over */
static bool suspicion;
static int64_t lasted;

/*
 * Of an immortal worker: how long it has been without progress, and others without a CPU meanwhile.
 * See look_at().
 */
static struct {
    uint64_t progress, run_delay;
    int64_t still, delay; /* ns */
    bool got_on;          /* since begin_watch() */
} watched[PLACES_MAX];
static int64_t longest[ROLES], delay_then[ROLES];

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SHK_SEC(1) + t.tv_nsec;
}

static void note_trouble(const char *what)
{
    if (!trouble[0])
        snprintf(trouble, sizeof(trouble), "%s", what);
}

/* ---- Workers ---- */

static pid_t start(void (*body)(struct place *), struct place *place)
{
    pid_t supervisor = getpid(), pid = fork();

    if (pid < 0 && !trouble[0])
        snprintf(trouble, sizeof(trouble), "no process could be started: %s", strerror(errno));
    if (pid != 0)
        return pid > 0 ? pid : 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervisor)
        _exit(1);
    body(place);
    _exit(1);
}

static void start_worker(struct place *place)
{
    place->life = ++lives;
    place->condemned = 0;
    place->started = now();
    atomic_store(&place->runs, 0);
    place->clock = !without_kills && place->mortal;
    place->pid = start(work, place);
}

static void add_worker(enum role role, enum queue_number queue, bool mortal)
{
    struct place *place = &notes->place[places];

    place->number = places++;
    place->role = role;
    place->queue = queue;
    place->mortal = mortal;
    for (unsigned i = 0; i < BATCH; i++)
        atomic_store(&place->hand[i].number, NO_ITEM);
}

static void start_all(void)
{
    places = 0;
    for (enum role role = 0; role < ROLES; role++)
        for (enum queue_number queue = 0; queue < (role <= CONSUMER ? QUEUES : 1); queue++)
            for (unsigned i = 0; i < immortals_of(role, queue) + crew[role].mortals; i++)
                add_worker(role, queue, i >= immortals_of(role, queue));
    for (unsigned i = 0; i < places; i++)
        start_worker(&notes->place[i]);
}

static struct place *place_of(pid_t pid)
{
    for (unsigned i = 0; i < places; i++)
        if (notes->place[i].pid == pid)
            return &notes->place[i];
    return NULL;
}

/* An actor has ended. Mortals are replaced, but not at the end of a round. */
static void reap(struct place *place, int status)
{
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

    place->pid = 0;
    if (killed && place->mortal) {
        deaths++;
        own_clocks += !place->condemned;
        account_for_death(place);
        if (!stopping())
            start_worker(place);
        return;
    }
    if (stopping() && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    if (atomic_load(&notes->failed))
        note_trouble(notes->failure);
    else if (!trouble[0])
        snprintf(trouble, sizeof(trouble), "a %s ended: %s", role_names[place->role],
                 WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "of itself");
}

static void reap_all(void)
{
    struct place *place;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == helper) {
            helper = 0;
            if (status != 0)
                note_trouble(notes->failure);
        } else if ((place = place_of(pid))) {
            reap(place, status);
        }
    }
}

static void kill_one(void)
{
    struct place *place = &notes->place[(unsigned)random() % places];

    if (without_kills || suspicion || !place->mortal || place->pid == 0 || place->condemned)
        return;
    place->condemned = now();
    kill(place->pid, SIGKILL); /* no other process has the pid until it has been reaped here */
}

static void kill_all(void)
{
    for (unsigned i = 0; i < places; i++) {
        if (notes->place[i].pid == 0)
            continue;
        kill(notes->place[i].pid, SIGKILL);
        waitpid(notes->place[i].pid, NULL, 0);
        notes->place[i].pid = 0;
    }
    if (helper) {
        kill(helper, SIGKILL);
        waitpid(helper, NULL, 0);
        helper = 0;
    }
}

/* Until an actor ends, or it is time. */
static void sleep_until(int64_t time)
{
    int64_t left = time - now();
    struct timespec t = {.tv_nsec = left > TICK ? TICK : left};
    int signal_number;

    if (left > 0 && (signal_number = sigtimedwait(&watched_signals, NULL, &t)) > 0 &&
        signal_number != SIGCHLD)
        interrupted = signal_number;
    reap_all();
}

/* ---- The watch ---- */

/* Nanoseconds that the process has waited for a CPU so far; 0 if the kernel does not tell. */
static uint64_t run_delay_of(pid_t pid)
{
    unsigned long long ran, delay = 0;
    char path[40], text[80];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return sscanf(text, "%llu %llu", &ran, &delay) == 2 ? delay : 0;
}

/*
 * How long a worker has had to wait for a CPU: since its start if it has not had one yet, else
 * since this was last asked. A kernel with much to do may also take seconds to reap what has been
 * killed, and only then there is a replacement.
 */
static int64_t recent_delay(unsigned i)
{
    struct place *place = &notes->place[i];
    uint64_t delay, before = watched[i].run_delay;

    if (place->pid != 0 && place->condemned != 0)
        return now() - place->condemned;
    if (place->pid == 0 || !atomic_load(&place->runs)) {
        watched[i].run_delay = 0;
        return place->pid ? now() - place->started : 0;
    }
    delay = run_delay_of(place->pid);
    watched[i].run_delay = delay;
    /* less than before: it is another one by now */
    return (int64_t)(delay > before ? delay - before : 0);
}

static int64_t longest_delay(void)
{
    int64_t most = 0;

    for (unsigned i = 0; i < places; i++) {
        int64_t delay = recent_delay(i);

        most = delay > most ? delay : most;
    }
    return most;
}

/* What a process does at the moment, as ps says it: S asleep, R running or waiting for a CPU. */
static char state_of(pid_t pid)
{
    char path[40], text[200], *end;
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return '?';
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    end = strrchr(text, ')');
    return end && end[1] ? end[2] : '?';
}

/* For the one that looks into it: what each was doing when one was found stuck. */
static void print_workers(const struct place *stuck)
{
    const struct shk_member_info *member;
    struct shk_snapshot *look;

    if (soak.control || shk_snapshot_open(soak.segment, &look) < 0)
        return;
    printf("\nphase of the turnstile: %u\n", atomic_load(&notes->phase));
    for (unsigned p = 0; p < places; p++) {
        const struct place *place = &notes->place[p];

        printf("%c %-9s %-9s pid %d, state %c, started %lld ms ago%s, progress %llu, laps %llu",
               place == stuck ? '>' : ' ', role_names[place->role],
               place->role <= CONSUMER ? queue_names[place->queue] : "", (int)place->pid,
               state_of(place->pid), (long long)((now() - place->started) / SHK_MS(1)),
               atomic_load(&place->runs) ? "" : ", has not run",
               (unsigned long long)atomic_load(&place->progress),
               (unsigned long long)atomic_load(&place->laps));
        for (size_t i = 0; (member = shk_snapshot_member(look, i)); i++)
            if (member->pid == place->pid && member->alive)
                printf(", waits on %s for %lld ms",
                       member->waits_for ? member->waits_on : "nothing",
                       (long long)(member->waiting / SHK_MS(1)));
        puts("");
    }
    shk_snapshot_close(look);
}

static void describe_stuck(const struct place *place, int64_t still, int64_t delay)
{
    const struct shk_member_info *member;
    struct shk_snapshot *look;
    char where[64 + SHK_NAME_MAX] = "";

    if (shk_snapshot_open(soak.segment, &look) == 0) {
        for (size_t i = 0; (member = shk_snapshot_member(look, i)); i++)
            if (member->pid == place->pid && member->alive && member->waits_for)
                snprintf(where, sizeof(where), ", waiting on %s for %lld ms", member->waits_on,
                         (long long)(member->waiting / SHK_MS(1)));
        shk_snapshot_close(look);
    }
    snprintf(trouble, sizeof(trouble),
             "a %s%s%s has been stuck for %lld ms%s; meanwhile an actor waited %lld ms for a CPU",
             role_names[place->role], place->role <= CONSUMER ? " of queue " : "",
             place->role <= CONSUMER ? queue_names[place->queue] : "",
             (long long)(still / SHK_MS(1)), where, (long long)(delay / SHK_MS(1)));
}

/*
 * No progress is not yet a hang: on a busy machine those that this one depends on, one after the
 * other, may have to wait for a CPU. So the second is lengthened by twenty times the longest that
 * an actor was seen to wait for one meanwhile, up to ten seconds; none is killed then, and none
 * comes anew and rescues by chance one that hangs. What hangs stays so, and is found. A tick that
 * comes late counts as one: then the machine stood still.
 */
static void look_at(unsigned i, int64_t tick, int64_t delay)
{
    struct place *place = &notes->place[i];
    uint64_t progress = atomic_load(&place->progress);
    int64_t limit;

    if (progress != watched[i].progress) {
        watched[i].progress = progress;
        watched[i].still = watched[i].delay = 0;
        watched[i].got_on = true;
        return;
    }
    watched[i].still += tick;
    if (watched[i].delay < delay)
        watched[i].delay = delay;
    if (watched[i].still > longest[place->role]) {
        longest[place->role] = watched[i].still;
        delay_then[place->role] = watched[i].delay;
    }
    suspicion |= watched[i].still > STUCK;
    limit = STUCK + 20 * watched[i].delay;
    if (watched[i].still > (limit < STUCK_FOR_SURE ? limit : STUCK_FOR_SURE) && !trouble[0]) {
        describe_stuck(place, watched[i].still, watched[i].delay);
        print_workers(place);
    }
}

static void look_after_all(int64_t elapsed)
{
    int64_t tick = elapsed < 2 * TICK ? elapsed : 2 * TICK,
            delay = longest_delay() + elapsed - tick;

    suspicion = false;
    for (unsigned i = 0; i < places; i++)
        if (!notes->place[i].mortal)
            look_at(i, tick, delay);
    if (atomic_load(&notes->failed))
        note_trouble(notes->failure);
}

static void begin_watch(void)
{
    for (unsigned i = 0; i < places; i++) {
        watched[i].progress = atomic_load(&notes->place[i].progress);
        watched[i].still = watched[i].delay = 0;
        watched[i].got_on = false;
    }
}

/*
 * The storm is over, no actor is told to stop yet: each must still get on. If one hangs, the
 * watch says so.
 */
static void see_all_get_on(void)
{
    int64_t last_tick = now();
    bool all = false;

    for (begin_watch(); !all && !trouble[0] && !interrupted; last_tick += TICK) {
        sleep_until(last_tick + TICK);
        look_after_all(TICK);
        all = true;
        for (unsigned i = 0; i < places; i++)
            all &= notes->place[i].mortal || watched[i].got_on;
    }
}

/* ---- A round ---- */

static void report(void)
{
    uint64_t items = 0, commits = 0;
    int64_t most = 0;

    for (enum queue_number i = 0; i < QUEUES; i++)
        items += totals.queue[i].put + atomic_load(&notes->next_item[i]);
    for (unsigned l = 0; l < LEDGERS; l++) {
        commits += totals.commits[l];
        for (unsigned p = 0; p < places; p++)
            commits += atomic_load(&notes->place[p].acked[l]);
    }
    for (enum role role = 0; role < ROLES; role++)
        most = longest[role] > most ? longest[role] : most;
    printf("%5lld s: %llu killed and replaced, %llu items, %llu commits, longest without progress "
           "%lld ms\n",
           (long long)(lasted / SHK_SEC(1)), (unsigned long long)deaths, (unsigned long long)items,
           (unsigned long long)commits, (long long)(most / SHK_MS(1)));
    fflush(stdout);
}

static bool notes_are_full(void)
{
    for (enum queue_number i = 0; i < QUEUES; i++)
        if (atomic_load(&notes->next_item[i]) >= ITEMS_MAX)
            return true;
    return false;
}

static void storm(int64_t length)
{
    static int64_t next_report = REPORT_EVERY;
    int64_t begun = now(), lasted_before = lasted, next_kill = begun, last_tick = begun;

    while (lasted - lasted_before < length && !trouble[0] && !interrupted && !notes_are_full()) {
        int64_t t = now();

        lasted = lasted_before + t - begun;
        if (t >= last_tick + TICK) {
            look_after_all(t - last_tick);
            last_tick = t;
        }
        if (t >= next_kill) {
            kill_one();
            next_kill = t + random() % (2 * KILL_EVERY);
        }
        if (lasted >= next_report && !soak.control) {
            report();
            next_report += REPORT_EVERY;
        }
        sleep_until(next_kill < last_tick + TICK ? next_kill : last_tick + TICK);
    }
}

static unsigned still_there(bool consumers)
{
    unsigned n = 0;

    for (unsigned i = 0; i < places; i++)
        n += notes->place[i].pid != 0 && (consumers || notes->place[i].role != CONSUMER);
    return n;
}

/* Let them go. The mortal ones are still killed. */
static void stop_actors(uint32_t stop, bool consumers)
{
    int64_t waited = 0;

    atomic_store(&notes->stop, stop);
    while (!trouble[0] && !interrupted && still_there(consumers) > 0) {
        int64_t t = now();

        kill_one();
        sleep_until(t + KILL_EVERY);
        t = now() - t;
        waited += t < TICK ? t : TICK;
        if (atomic_load(&notes->failed))
            note_trouble(notes->failure);
        else if (waited > END)
            snprintf(trouble, sizeof(trouble), "%u workers do not end", still_there(consumers));
    }
}

static void run_helper(void (*body)(struct place *))
{
    struct place *place = &notes->place[places];

    place->role = POSTER; /* it is among those whose permits are counted */
    place->number = places;
    place->life = ++lives;
    helper = start(body, place);
}

static void await_helper(void)
{
    for (int64_t end = now() + END; helper && !trouble[0] && !interrupted;
         sleep_until(now() + TICK))
        if (now() > end)
            note_trouble("the helper at the end hangs");
}

static void end_round(void)
{
    if (!trouble[0] && !interrupted) {
        atomic_store(&notes->stop, 1); /* before the helper does what no actor expects otherwise */
        run_helper(release_all);
        stop_actors(1, false);
        stop_actors(2, true);
        atomic_store(&notes->stop, 3);
        await_helper();
    }
    if (!trouble[0] && !interrupted) {
        run_helper(audit);
        await_helper();
    }
    kill_all();
}

/* ---- Repairs, as the segment tells them ---- */

static struct repairs {
    char name[SHK_NAME_MAX + 1];
    uint64_t holders_lost, waiters_buried, wakeups_passed_on, rebuilds;
} repairs[32];

static void add_repairs(void)
{
    const struct shk_object_info *object;
    struct shk_snapshot *look;

    if (shk_snapshot_open(soak.segment, &look) < 0)
        return;
    for (size_t i = 0;
         (object = shk_snapshot_object(look, i)) && i < sizeof(repairs) / sizeof(*repairs); i++) {
        snprintf(repairs[i].name, sizeof(repairs[i].name), "%s", object->name);
        repairs[i].holders_lost += object->holders_lost;
        repairs[i].waiters_buried += object->waiters_buried;
        repairs[i].wakeups_passed_on += object->wakeups_passed_on;
        repairs[i].rebuilds += object->rebuilds;
    }
    shk_snapshot_close(look);
}

static void print_repairs(void)
{
    printf("\n%-10s %12s %14s %18s %14s\n", "repairs", "holders lost", "waiters reaped",
           "wake-ups passed on", "lines rebuilt");
    for (const struct repairs *r = repairs; r->name[0]; r++)
        if (r->holders_lost + r->waiters_buried + r->wakeups_passed_on + r->rebuilds > 0)
            printf("%-10s %12llu %14llu %18llu %14llu\n", r->name,
                   (unsigned long long)r->holders_lost, (unsigned long long)r->waiters_buried,
                   (unsigned long long)r->wakeups_passed_on, (unsigned long long)r->rebuilds);
}

/* ---- All of it ---- */

/*
 * In a control the segment's own lock may be one that no process can take any more: then the file
 * is removed as any other.
 */
static void remove_segment(void)
{
    int r = shk_segment_unlink(soak.segment);

    if (r == 0 || r == -ENOENT)
        return;
    if (!soak.control && !trouble[0])
        snprintf(trouble, sizeof(trouble), "the segment cannot be unlinked: %.300s",
                 shk_last_error());
    if (shm_unlink(soak.segment) < 0 && !trouble[0])
        snprintf(trouble, sizeof(trouble), "%s cannot be removed: %s", soak.segment,
                 strerror(errno));
}

static void run_round(int64_t length)
{
    if (madvise(notes, sizeof(*notes), MADV_REMOVE) < 0)
        err(1, "madvise");
    begin_account();
    start_all();
    begin_watch();
    storm(length);
    see_all_get_on();
    end_round();
    add_repairs();
    if (!trouble[0] && !interrupted && !add_up(places + 1, trouble, sizeof(trouble)))
        note_trouble("the account is wrong");
    totals.rounds++;
    remove_segment();
}

static void run(int64_t length)
{
    const int64_t rounds = (length + ROUND - 1) / ROUND;

    while (lasted < length && !trouble[0] && !interrupted) {
        int64_t share = length / rounds;

        run_round(share < length - lasted ? share : length - lasted);
    }
}

static void print_longest(void)
{
    enum role most = 0;

    for (enum role role = 0; role < ROLES; role++)
        if (longest[role] > longest[most])
            most = role;
    printf(
        "\nlongest without progress: %lld ms, a %s (meanwhile an actor waited %lld ms for a CPU)\n",
        (long long)(longest[most] / SHK_MS(1)), role_names[most],
        (long long)(delay_then[most] / SHK_MS(1)));
}

static int soak_and_tell(int64_t length)
{
    double seconds;

    run(length);
    seconds = (double)lasted / (double)SHK_SEC(1);
    printf(
        "\n%.1f s in %llu rounds, %u workers at a time, %llu killed and replaced (%.0f a second), "
        "%llu of them by their own "
        "clocks\n",
        seconds, (unsigned long long)totals.rounds, places, (unsigned long long)deaths,
        (double)deaths / seconds, (unsigned long long)own_clocks);
    print_totals();
    print_repairs();
    print_longest();
    if (interrupted && !trouble[0]) {
        puts("\nsoak: interrupted; until then all was right");
        return 128 + interrupted;
    }
    printf("\nsoak: %s%s\n", trouble[0] ? "FAILED: " : "all accounts are right", trouble);
    return trouble[0] ? 1 : 0;
}

/* ---- Controls ---- */

static const struct control controls[] = {
    {"pthread", "conditions of the kind SHK_COND_PTHREAD", 0},
    {"ring", "a FIFO queue as in the textbook: semaphores and a mutex", 0},
#ifdef SHKI_TEST_HOOKS
    {"consistent", "a mutex whose holder died is not made usable again", SHKI_REPAIR_CONSISTENT},
    {"orphaned", "no owner is told that a lock's holder died", SHKI_REPAIR_OWNER_DIED},
    {"reap", "the records of dead members are not used again", SHKI_REPAIR_REAP},
    {"pass-on", "a dead waiter's wake-up does not go to the next", SHKI_REPAIR_FORWARD},
    {"queue", "a PRIORITY queue's change is not finished when its author died",
     SHKI_REPAIR_FINISH_QUEUE},
    {"rebuild", "a line of waiters is not rebuilt", SHKI_REPAIR_REBUILD},
    {"backstop", "a sleeper does not look at the truth again", SHKI_REPAIR_BACKSTOP},
#endif
};
enum { CONTROLS = sizeof(controls) / sizeof(*controls) };

/* What is not found out by its end has come through. */
static int run_control(const struct control *control, int64_t length)
{
    soak.control = control;
    soak.pthread = strcmp(control->name, "pthread") == 0;
    for (enum queue_number i = 0; i < QUEUES; i++)
        soak.rings[i] = i < JOBS && strcmp(control->name, "ring") == 0 ? ring_new() : NULL;
#ifdef SHKI_TEST_HOOKS
    shki_test_disable = control->disabled;
#endif
    lasted = 0;
    deaths = 0;
    trouble[0] = 0;
    run(length);
#ifdef SHKI_TEST_HOOKS
    shki_test_disable = 0;
#endif
    if (interrupted)
        return 128 + interrupted;
    printf("%-10s %s\n           %s", control->name, control->what,
           trouble[0] ? "found out" : "NOT FOUND OUT");
    printf(" after %.1f s and %llu kills%s%s\n", (double)lasted / (double)SHK_SEC(1),
           (unsigned long long)deaths, trouble[0] ? ": " : "", trouble);
    fflush(stdout);
    return trouble[0] ? 0 : 1;
}

static int run_controls(char **names, int64_t length)
{
    int missed = 0;

    for (; *names; names++) {
        const struct control *control = controls;

        while (control < controls + CONTROLS && strcmp(control->name, *names) != 0)
            control++;
        if (control == controls + CONTROLS)
            errx(2, "there is no control %s; soak --help names them", *names);
        switch (run_control(control, length)) {
        case 0:
            break;
        case 1:
            missed++;
            break;
        default:
            return 128 + interrupted;
        }
    }
    if (missed > 0)
        printf("soak: FAILED: %d of the controls came through\n", missed);
    return missed > 0;
}

/* ---- The program ---- */

static void usage(void)
{
    puts(
        "Usage: soak [-t SECONDS]\n"
        "       soak [-t SECONDS] -c CONTROL...\n"
        "\n"
        "Many processes work on queues, an account, a relay, events, semaphores, values and locks\n"
        "of one segment, while others are killed at random moments and replaced. In the end every\n"
        "item, deposit and wake-up is accounted for.\n"
        "\n"
        "  -t, --time SECONDS  how long; otherwise $SOAK_SECONDS, or 60\n"
        "  -c, --control       put something that does not survive kills in the place of shmkit's\n"
        "                      own, each for that time\n"
        "                      at most; this is to be found out\n"
        "  -n, --no-kills      no kills: then a control comes through that is right as long as no\n"
        "                      process dies\n"
        "  -h, --help          this text\n"
        "\n"
        "Controls:");
    for (int i = 0; i < CONTROLS; i++)
        printf("  %-10s  %s\n", controls[i].name, controls[i].what);
    puts("\nExits with 0 if all accounts are right, or all controls were found out; 1 if not;\n"
         "128 + the signal when\n"
         "interrupted.");
}

static int64_t parse_time(const char *text)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end || !(seconds > 0 && seconds < 1e9))
        errx(2, "not a number of seconds: %s", text);
    return (int64_t)(seconds * (double)SHK_SEC(1));
}

static void take_signals(void)
{
    sigemptyset(&watched_signals);
    sigaddset(&watched_signals, SIGCHLD);
    sigaddset(&watched_signals, SIGHUP);
    sigaddset(&watched_signals, SIGINT);
    sigaddset(&watched_signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &watched_signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"time", required_argument, NULL, 't'},
        {"control", no_argument, NULL, 'c'},
        {"no-kills", no_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *text = getenv("SOAK_SECONDS");
    bool control = false;
    int option;

    while ((option = getopt_long(argc, argv, "t:cnh", options, NULL)) != -1) {
        switch (option) {
        case 't':
            text = optarg;
            break;
        case 'c':
            control = true;
            break;
        case 'n':
            without_kills = true;
            break;
        case 'h':
            usage();
            return 0;
        default:
            return 2;
        }
    }
    if (control == !argv[optind])
        errx(2, control ? "which control? soak --help names them"
                        : "too many arguments; see soak --help");
    int64_t length = parse_time(text && *text ? text : "60");

    notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (notes == MAP_FAILED)
        err(1, "mmap");
    snprintf(soak.segment, sizeof(soak.segment), "/shmkit-soak-%d", (int)getpid());
    srandom((unsigned)getpid());
    take_signals();
    return control ? run_controls(argv + optind, length) : soak_and_tell(length);
}
