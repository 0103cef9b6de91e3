/*
 * The kill harness. A few processes, the actors, work on one object. One of them, the victim, makes
 * one public call and is killed after exactly k instructions of it, for every k that can make a
 * difference. Then the others must carry on, each call within a second, and the content must be
 * right.
 *
 * A worker runs each row from the start for each kill point: a new segment, new actors. It touches
 * no object itself, so whatever hangs or crashes is an actor. A row of the kill table is one
 * operation in one state:
 *
 *     setup      the host creates the segment and the objects; sleepers fall asleep where the
 *                state wants them
 *     prepare    the victim attaches and gets ready
 *     waiters    more sleepers, which wait for the victim
 *     operation  the victim makes exactly one public call, under the tracer
 *     on_sleep   what the host does when the victim has fallen asleep in it
 *     check      after the kill: the content is right, the sleepers wake if they have reason to
 *     carry_on   after that: the host and a newcomer can use the object; they close everything
 *
 * Each row is also run once with SIGSTOP instead of SIGKILL, for the victim and the sleepers, which
 * stay stopped. A row may stop sleepers itself, and continue them in its check.
 */
#ifndef CRASH_HARNESS_H
#define CRASH_HARNESS_H

#include "trace.h"

#include <semaphore.h>
#include <setjmp.h>
#include <shmkit.h>
#include <stdatomic.h>

struct world;
struct point;
/* Runs in an actor; its result goes to the worker. */
typedef int64_t action(struct world *, int64_t argument);
/* Runs in the worker. */
typedef void script(struct world *);

struct row {
    const char *function, *state;
    script *setup;
    action *prepare; /* NULL: only attach */
    script *waiters; /* NULL: none */
    action *operation;
    script *on_sleep;
    unsigned on_sleep_from;  /* which sleep of the victim is the first that counts; 0: its first */
    unsigned on_sleep_times; /* how often on_sleep runs, from then on; 0: once */
    /* the victim is held, and on_sleep runs, at this function, too; NULL */
    void (*held_in)(void);
    int64_t recheck; /* ns: the interval of all actors; 0: the library's, and the victim's
                                is too long to matter */
    script *check, *carry_on;
    int64_t variant;    /* what the row's own functions make of it */
    bool outside;       /* the victim does not attach before the operation */
    bool in_thread;     /* the victim is a second thread of its process, */
    bool leaves;        /* … and the operation is its end */
    bool never_stopped; /* no run with SIGSTOP: a sleeper holds something that the others need */
    bool spins_first;   /* the victim spins before it sleeps, and before it wakes a sleeper */
};

struct rows {
    const struct row *row;
    unsigned count;
};
#define ROWS(array)                             \
    {                                           \
        array, sizeof(array) / sizeof(*(array)) \
    }

extern const struct rows lock_rows, cond_rows, event_rows, semaphore_rows, semaphore_owner_rows,
    barrier_rows, queue_rows, queue_order_rows, queue_lease_rows, stream_rows, ready_rows,
    roles_rows, rwlock_rows, once_rows, value_rows, segment_rows, object_rows, ring_controls,
    cond_controls;

enum { HOST, VICTIM, NEWCOMER, SLEEPER_1, SLEEPER_2, SLEEPER_3, ACTORS };

/* How the worker calls an actor, and gets its answer; survives the kill. */
struct mailbox {
    sem_t called, done;
    action *function;
    int64_t argument, result;
    int64_t done_at; /* ns */
    pid_t tid;
};

struct board {
    struct mailbox mailbox[ACTORS];
    int64_t result;            /* of the victim's operation, */
    _Atomic uint32_t returned; /* … once this is set: that is the acknowledgement */
    /* the row's, shared by all actors, zero at first */
    _Alignas(64) unsigned char scratch[1 << 16];
};

/* The instructions at which a function has been killed, in whatever row. */
#define PCS_MAX 16384u
struct pcs {
    _Atomic uintptr_t pc[PCS_MAX];
};

struct world {
    const struct row *row;
    struct board *board;
    char name[64]; /* of the segment */

    /* The handles of each actor's own. */
    struct shk_segment *segment;
    struct shk_lock *lock, *lock_2;
    struct shk_cond *cond, *cond_2;
    struct shk_event *event;
    struct shk_semaphore *semaphore;
    struct shk_barrier *barrier;
    struct shk_queue *queue;
    struct shk_stream *stream;
    struct shk_reader *reader; /* of the stream, from the next sample on */
    struct shk_region *region;
    struct shk_rwlock *rwlock;
    struct shk_once *once;
    struct shk_value *value;
    struct shk_member_watch *members;
    int descriptor;
    unsigned me;

    /* The worker's. */
    struct {
        pid_t pid; /* 0: none */
        const char *doing;
        int64_t since;
        int64_t starved; /* in earlier runs */
        bool stopped;    /* by stop_actor() */
    } actors[ACTORS];
    pid_t idle[ACTORS];    /* have closed everything, for the next run; 0: none */
    unsigned last_sleeper; /* SLEEPER_1 - 1: none */
    int64_t killed_at;     /* 0: not yet */
    int64_t longest;       /* that a call took after the kill, ns, less its wait for a CPU */
    int64_t starved;       /* for how long all actors had waited for a CPU at the kill, ns */
    char failure[256];
    jmp_buf failed;
    struct tracee victim;
    int64_t memo; /* what the row's scripts remember from run to run; 0 at first */
    struct trace *trace;
    struct watch *watch;
    const struct point *point;
    bool every_step;          /* is a kill point; else those that change something, */
    struct pcs *pcs;          /* … and those that are not in it yet; NULL: no others */
    bool by_breakpoints;      /* to the point, not step by step */
    bool arrived;             /* at the point */
    bool release, released;   /* the victim's memory at the kill: is to be, has been */
    unsigned tries, stepped;  /* runs in all; those that went step by step */
    unsigned sleeps, stopped; /* how often the victim has slept; how many actors are stopped */

    /* How far the victim came. */
    bool untouched;         /* not one instruction of the operation */
    bool asleep;            /* killed while it slept */
    unsigned on_sleep_runs; /* how often on_sleep has run */
    bool acknowledged;      /* the operation returned, */
    int64_t result;         /* … this */
};

/* ---- For the rows: scripts ---- */

/* End the run: it has failed. */
void fail(struct world *, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
#define EXPECT(w, condition, ...) \
    do {                          \
        if (!(condition))         \
            fail(w, __VA_ARGS__); \
    } while (0)

/*
 * Let the actor run a function: start it; wait until it has finished, within a second once the
 * victim is dead; both.
 */
#define start(w, actor, function, argument) start_action(w, actor, function, argument, #function)
#define call(w, actor, function, argument)  (start(w, actor, function, argument), finish(w, actor))
void start_action(struct world *, unsigned actor, action *, int64_t argument, const char *doing);
int64_t finish(struct world *, unsigned actor);
/* Any one that is busy; with the same limit. */
int64_t finish_any_sleeper(struct world *);
bool finished(struct world *, unsigned actor);      /* does not wait */
bool is_busy(const struct world *, unsigned actor); /* alive, and started but not yet finish()ed */

/*
 * Start an actor. The host creates, the others attach; a sleeper falls asleep in the function.
 */
void start_attached(struct world *, unsigned actor);
void start_host(struct world *, action *create, int64_t argument);
#define start_sleeper(w, function, argument) start_sleeper_action(w, function, argument, #function)
void start_sleeper_action(struct world *, action *, int64_t argument, const char *doing);
/* Wait until it sleeps in what it does: true; or has finished: false. */
bool falls_asleep(struct world *, unsigned actor);
void kill_actor(struct world *, unsigned actor);

/*
 * SIGSTOP to a sleeper, once however often it is asked for: true; false: it does not sleep any
 * more, and has finished. SIGCONT. The end of a run kills a stopped one, too.
 */
bool stop_actor(struct world *, unsigned actor);
void continue_actor(struct world *, unsigned actor);

/* ---- For the rows: actions ---- */

/* Open the segment and whatever objects there are by the names below. */
int64_t attach(struct world *, int64_t);
/* Create the segment, small, with room for `members`, 0: 16. */
int64_t create_segment(struct world *, int64_t members);

/* A timeout of the victim: time enough to fall asleep under the tracer. */
#define IN_TIME SHK_MS(50)
/* A recheck interval that is to end while the victim sleeps; it must have come to sleep before. */
#define SHORT_RECHECK SHK_MS(40)

#define NEVER 99 /* on_sleep_from: only when the victim has been stopped */

#define LOCK      "lock"
#define LOCK_2    "lock-2"
#define COND      "cond"
#define COND_2    "cond-2"
#define EVENT     "event"
#define SEMAPHORE "semaphore"
#define BARRIER   "barrier"
#define QUEUE     "queue"
#define STREAM    "stream"
#define REGION    "region"
#define RWLOCK    "rwlock"
#define ONCE      "once"
#define VALUE     "value"

/* ---- The run ---- */

/* Seconds after the kill in which each call must have answered. */
extern unsigned hung_after;

struct point {
    uint32_t step;
    bool asleep; /* not before this step, but asleep in it */
};

/* What all runs of one worker share. `name`: of its segments. */
void world_init(struct world *, const char *name);

/*
 * Run w->row to the victim's end and record its steps. Returns how many kill points there are, or
 * -1: see w->failure.
 */
int record(struct world *, struct trace *, struct point *points, unsigned max);

/*
 * Run it and kill the victim at this point of the recording; with w->release its memory is taken
 * away before its exit, so that the kernel marks nothing for it. False: w->failure says why.
 */
bool kill_at(struct world *, struct trace *, const struct point *);

/* Before w->row is another one: no actor of the last runs is left. */
void end_idle_actors(struct world *);

/*
 * Run it with SIGSTOP for every actor that is asleep. Returns how many were; -1: w->failure says
 * why.
 */
int stop_asleep(struct world *);

/* Zeroed memory, for this process and those that it forks from then on. Exits if there is none. */
void *map_shared(size_t size);
int64_t now(void); /* ns */

#endif
