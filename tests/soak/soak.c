/*
 * The director of the soak: it starts the workers, kills and replaces them, watches the immortal ones, and draws up the account.
 *
 *     soak [-c pthread | -c ring] [SECONDS]        SECONDS: $SOAK_SECONDS, or 60
 *
 * Exits with 0 if all was well; with -c, which puts something in place that does not survive kills, if that was found out.
 */
#include "soak.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILL_EVERY SHK_MS(2)  /* on average */
#define TICK SHK_MS(10)
#define HUNG_TICKS 100        /* a second without progress. A tick that took longer counts as one: then the machine stood still */
#define END_TICKS 1000        /* so long all may take to end */

/* How many mortals of each role; there is one immortal more. */
static const unsigned mortals[ROLES] = {
    [PRODUCER] = 3, [CONSUMER] = 3, [DEPOSITOR] = 2, [DRAWER] = 2, [LOCKER] = 3,
    [SETTER] = 1,   [EVENT_WAITER] = 2, [NOTIFIER] = 1, [COND_WAITER] = 3,
};

static struct soak soak;
static struct notes *notes;
static unsigned places;
static uint64_t lives, kills, kills_getting, kills_waiting, kills_notifying;

static struct {
    uint64_t progress;
    unsigned still; /* ticks without any */
} watched[PLACES_MAX];
static unsigned longest[ROLES]; /* ticks */
static char trouble[320];

static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
    interrupted = signal_number;
}

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SHK_SEC(1) + t.tv_nsec;
}

static void pause_for(int64_t ns)
{
    struct timespec t = { .tv_nsec = ns };

    nanosleep(&t, NULL);
}

/* ---- Workers ---- */

static pid_t start(void (*body)(const struct soak *, struct place *), struct place *place)
{
    pid_t director = getpid(), pid = fork();

    if (pid < 0)
        err(1, "fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != director)
        _exit(1);
    body(&soak, place);
    _exit(1);
}

static void start_worker(struct place *place)
{
    place->life = ++lives;
    place->pid = start(work, place);
}

static void add_worker(enum role role, bool mortal)
{
    struct place *place = &notes->place[places++];

    place->role = role;
    place->mortal = mortal;
    start_worker(place);
}

static void kill_and_wait(struct place *place)
{
    if (place->pid == 0)
        return;
    kill(place->pid, SIGKILL);
    waitpid(place->pid, NULL, 0);
    place->pid = 0;
}

/* Kill one at random, and put another in its place. What was on the way in the one call is nobody's to know. */
static void kill_one(void)
{
    struct place *place;

    do
        place = &notes->place[(unsigned)random() % places];
    while (!place->mortal);
    kill_and_wait(place);
    kills++;
    if (atomic_exchange(&place->in_call, 0)) {
        kills_getting += place->role == CONSUMER;
        kills_waiting += place->role == COND_WAITER;
        kills_notifying += place->role == NOTIFIER;
    }
    start_worker(place);
}

/* ---- The watch ---- */

/* Once a tick: does every immortal get on? Has anybody died of itself? */
static void look_after_all(void)
{
    for (unsigned i = 0; i < places && !trouble[0]; i++) {
        struct place *place = &notes->place[i];
        uint64_t progress = atomic_load(&place->progress);
        int status;

        if (waitpid(place->pid, &status, WNOHANG) == place->pid) {
            place->pid = 0;
            snprintf(trouble, sizeof(trouble), "a %s ended: %s", role_names[place->role],
                     WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "see above");
        }
        if (place->mortal)
            continue;
        watched[i].still = progress == watched[i].progress ? watched[i].still + 1 : 0;
        watched[i].progress = progress;
        if (watched[i].still > longest[place->role])
            longest[place->role] = watched[i].still;
        if (watched[i].still > HUNG_TICKS)
            snprintf(trouble, sizeof(trouble), "the %s has been stuck for a second", role_names[place->role]);
    }
    if (atomic_load(&notes->violated))
        snprintf(trouble, sizeof(trouble), "%s", notes->violation);
}

static void run(int64_t seconds)
{
    int64_t end = now() + SHK_SEC(seconds), next_kill = now(), next_tick = now();

    while (now() < end && !trouble[0] && !interrupted) {
        int64_t t = now();

        if (t >= next_tick) {
            look_after_all();
            next_tick = now() + TICK;
        }
        if (t >= next_kill) {
            kill_one();
            next_kill = now() + random() % (2 * KILL_EVERY);
        }
        t = (next_kill < next_tick ? next_kill : next_tick) - now();
        if (t > 0)
            pause_for(t);
    }
}

/* ---- The end ---- */

static void release(const struct soak *s, struct place *unused)
{
    (void)unused;
    release_all(s);
}

static void note_all(const struct soak *s, struct place *unused)
{
    (void)unused;
    audit(s);
}

static unsigned still_there(void)
{
    unsigned n = 0;
    int status;

    for (unsigned i = 0; i < places; i++) {
        struct place *place = &notes->place[i];

        if (place->pid && waitpid(place->pid, &status, WNOHANG) == place->pid)
            place->pid = 0;
        n += place->pid != 0;
    }
    return n;
}

/* All end in peace, or are ended. */
static void end_all(void)
{
    pid_t helper = 0;
    int status;

    atomic_store(&notes->stop, 1);
    if (!trouble[0])
        helper = start(release, NULL);
    for (unsigned i = 0; !trouble[0] && still_there(); i++) {
        pause_for(TICK);
        if (atomic_load(&notes->violated))
            snprintf(trouble, sizeof(trouble), "%s", notes->violation);
        else if (i > END_TICKS)
            snprintf(trouble, sizeof(trouble), "%u workers do not end", still_there());
    }
    for (unsigned i = 0; i < places; i++)
        kill_and_wait(&notes->place[i]);
    if (helper) {
        kill(helper, SIGKILL);
        waitpid(helper, NULL, 0);
    }
    if (!trouble[0]) {
        helper = start(note_all, NULL);
        if (waitpid(helper, &status, 0) != helper || status != 0)
            snprintf(trouble, sizeof(trouble), "the audit failed: %s", notes->violation);
    }
    shm_unlink(soak.segment);
}

static void wrong(const char *what)
{
    if (!trouble[0])
        snprintf(trouble, sizeof(trouble), "%s", what);
}

static void print_queue(void)
{
    uint64_t items = atomic_load(&notes->next_item), put = 0, got = 0, unsure = 0, unsure_got = 0, lost = 0;

    for (uint64_t i = 0; i < items; i++) {
        unsigned state = atomic_load_explicit(&notes->item[i], memory_order_relaxed);

        put += (state & ITEM_PUT) != 0;
        got += (state & ITEM_GOT) != 0;
        lost += (state & ITEM_PUT) && !(state & ITEM_GOT);
        unsure += !(state & ITEM_PUT);
        unsure_got += !(state & ITEM_PUT) && (state & ITEM_GOT);
    }
    printf("queue:     %llu puts acknowledged, %llu items got; %llu puts not acknowledged, of which %llu came through\n",
           (unsigned long long)put, (unsigned long long)got, (unsigned long long)unsure, (unsigned long long)unsure_got);
    printf("           %llu items not got, %llu consumers killed within a get\n", (unsigned long long)lost,
           (unsigned long long)kills_getting);
    if (lost > kills_getting)
        wrong("items were lost");
}

static void print_ledgers(void)
{
    for (unsigned i = 0; i < LEDGERS; i++) {
        uint64_t acked = 0;

        for (unsigned p = 0; p < places; p++)
            acked += atomic_load(&notes->place[p].acked[i]);
        printf("%s %llu commits, %llu in the books of those who made them\n", i == ACCOUNT ? "account:  " : "lock:     ",
               (unsigned long long)notes->counts[i], (unsigned long long)acked);
        if (acked != notes->counts[i])
            wrong("a ledger does not balance");
    }
}

static void print_rest(void)
{
    uint64_t notified = atomic_load(&notes->notified), woken = atomic_load(&notes->woken), orphaned = atomic_load(&notes->orphaned);
    uint64_t waiters = 1 + mortals[COND_WAITER];

    printf("condition: %llu wake-ups given, %llu arrived, %llu waits said SHK_ORPHANED; %llu killed waiting, %llu notifying\n",
           (unsigned long long)notified, (unsigned long long)woken, (unsigned long long)orphaned,
           (unsigned long long)kills_waiting, (unsigned long long)kills_notifying);
    /* A killed notifier may have woken all of them, and as many again at the end were released by the director's helper. */
    if (woken > notified + (kills_notifying + 1) * waiters)
        wrong("more wake-ups arrived than were given");
    if (woken + orphaned + kills_waiting < notified)
        wrong("wake-ups were lost");
    printf("event:     set %llu times, %llu waits released\n", (unsigned long long)atomic_load(&notes->sets),
           (unsigned long long)atomic_load(&notes->waits));
    printf("repairs:   %llu holders lost, %llu waiters buried, %llu wake-ups passed on, %llu lines rebuilt\n",
           (unsigned long long)notes->repairs[0], (unsigned long long)notes->repairs[1],
           (unsigned long long)notes->repairs[2], (unsigned long long)notes->repairs[3]);
}

static void print_longest(void)
{
    unsigned most = 0;

    for (unsigned i = 0; i < ROLES; i++)
        if (longest[i] > longest[most])
            most = i;
    printf("longest:   %lld ms without progress (%s)\n", (long long)((longest[most] + 1) * TICK / SHK_MS(1)), role_names[most]);
}

int main(int argc, char **argv)
{
    const char *text = getenv("SOAK_SECONDS");
    int64_t begin, seconds;
    int option;

    while ((option = getopt(argc, argv, "c:")) != -1) {
        if (option != 'c' || (strcmp(optarg, "pthread") != 0 && strcmp(optarg, "ring") != 0))
            errx(2, "usage: soak [-c pthread | -c ring] [SECONDS]");
        soak.control = optarg;
    }
    seconds = atoll(argv[optind] ? argv[optind] : text ? text : "60");
    signal(SIGINT, interrupt);
    signal(SIGTERM, interrupt);
    signal(SIGHUP, interrupt);
    notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (notes == MAP_FAILED)
        err(1, "mmap");
    soak.notes = notes;
    snprintf(soak.segment, sizeof(soak.segment), "/shmkit-soak-%d", (int)getpid());
    if (soak.control && strcmp(soak.control, "ring") == 0)
        soak.ring = ring_new();
    srandom((unsigned)getpid());
    for (enum role role = 0; role < ROLES; role++)
        for (unsigned i = 0; i <= mortals[role]; i++)
            add_worker(role, i > 0);

    begin = now();
    run(seconds);
    double lasted = (double)(now() - begin) / (double)SHK_SEC(1);
    end_all();

    printf("soak:      %.1f s, %u workers, %llu killed and replaced, %.0f a second\n", lasted, places, (unsigned long long)kills,
           (double)kills / lasted);
    if (!trouble[0]) {
        print_queue();
        print_ledgers();
        print_rest();
        print_longest();
    }
    if (interrupted)
        wrong("it was interrupted");
    if (soak.control) {
        printf("control:   %s in place of shmkit's: %s%s\n", soak.control, trouble[0] ? "found out: " : "NOT FOUND OUT", trouble);
        return trouble[0] ? 0 : 1;
    }
    printf("balance:   %s\n", trouble[0] ? trouble : "right");
    return trouble[0] ? 1 : 0;
}
