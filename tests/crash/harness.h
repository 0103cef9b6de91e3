/*
 * The kill harness. Processes (actors) play a small scene around one object; one of them, the
 * victim, does one public operation and is killed after exactly k instructions of it, for every k.
 * Then the others must carry on, each call within a second, and the content must be right.
 *
 * The director, one process per worker, plays each scene from the start for each kill point: a new
 * segment, new actors. It touches no object in it itself: whatever hangs or crashes is an actor. A
 * row of the kill table is one operation in one state:
 *
 *     setup      the host creates the segment and the objects; sleepers fall asleep where the state wants them
 *     prepare    the victim attaches and gets ready; crowd: sleepers who wait for it
 *     operation  the victim makes exactly one public call, under the tracer
 *     partner    what the host does when the victim has fallen asleep in it
 *     check      after the kill: the content is right, the sleepers wake if they have reason to
 *     carry_on   after it: the host and a newcomer can use the object; then they close everything
 *
 * A row may stop sleepers itself, and continue them in its check. The play with SIGSTOP leaves them
 * stopped.
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
/* runs in an actor; its result goes to the director */
typedef int64_t act(struct world *, int64_t argument);
typedef void script(struct world *); /* runs in the director */

struct row {
    const char *function, *state;
    script *setup;
    act *prepare;  /* NULL: only attach */
    script *crowd; /* more sleepers, who wait for the victim; NULL */
    act *operation;
    script *partner;
    unsigned partner_at;      /* at the victim's how manieth sleep; 0: the first, */
    unsigned partner_times;   /* … and how often from then on; 0: once */
    void (*partner_in)(void); /* the partner acts when the victim begins this function, too; NULL */
    /* ns, for all, where the victim sleeps through some; 0: the library's, and it sleeps on */
    int64_t slice;
    script *check, *carry_on;
    int64_t variant;    /* what the row's own functions make of it */
    bool outside;       /* the victim does not attach before the operation */
    bool in_thread;     /* the victim is a second thread of its process, */
    bool leaves;        /* … and the operation is its end */
    bool never_stopped; /* whoever sleeps holds something that the others need */
    /*
     * the victim does not go to sleep, or wake others, before it has looked whether that can be
     * spared
     */
    bool looks_around;
};

struct rows {
    const struct row *row;
    unsigned count;
};
#define ROWS(array)                             \
    {                                           \
        array, sizeof(array) / sizeof(*(array)) \
    }

extern const struct rows lock_rows, cond_rows, event_rows, semaphore_rows, barrier_rows, queue_rows,
    queue_order_rows, stream_rows, ready_rows, segment_rows, object_rows, ring_controls,
    cond_controls;

enum { HOST, VICTIM, NEWCOMER, SLEEPER_1, SLEEPER_2, SLEEPER_3, ACTORS };

/* Where the director and an actor meet; survives the kill. */
struct place {
    sem_t called, done;
    act *function;
    int64_t argument, result;
    int64_t done_at; /* ns */
    pid_t tid;
};

struct board {
    struct place place[ACTORS];
    int64_t result;            /* of the victim's operation, */
    _Atomic uint32_t returned; /* … once this is set: that is the acknowledgement */
    /* the row's, shared by all actors, zero at first */
    _Alignas(64) unsigned char scratch[1 << 16];
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
    int descriptor;
    unsigned me;

    /* The director's. */
    struct {
        pid_t pid;
        const char *doing;
        int64_t since;
        int64_t starved; /* in earlier plays */
        bool stopped;    /* by stop_actor() */
    } actor[ACTORS];
    pid_t resting[ACTORS]; /* have played, closed everything, and will play again; 0: none */
    unsigned last_sleeper; /* SLEEPER_1 - 1: none */
    int64_t killed_at;     /* 0: not yet */
    int64_t longest;       /* that a call took after the kill, ns, */
    /* … less what the scene has waited for CPUs: so much it was at the kill */
    int64_t starved;
    char failure[256];
    jmp_buf failed;
    struct tracee victim;
    int64_t memo; /* what the row's scripts remember from play to play; 0 at first */
    struct trace *trace;
    struct watch *watch;
    const struct point *point;
    bool hop, arrived;
    bool release, released;   /* the victim's memory at the kill: to be, has been */
    unsigned tries, by_hand;  /* plays in all to come to points; without hops */
    unsigned sleeps, stopped; /* how often the victim has slept; how many are stopped */

    /* How far the victim came. */
    bool untouched;     /* not one instruction of the operation */
    bool asleep;        /* killed while it slept */
    unsigned partnered; /* how often the partner has acted */
    bool acknowledged;  /* the operation returned, */
    int64_t result;     /* … this */
};

/* ---- For the rows: scripts ---- */

/* End the scene: it has failed. */
void fail(struct world *, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
#define EXPECT(w, condition, ...) \
    do {                          \
        if (!(condition))         \
            fail(w, __VA_ARGS__); \
    } while (0)

/*
 * Let the actor do something: start it; wait until it has finished, within a second once the victim
 * is dead; both.
 */
#define start(w, who, function, argument) start_act(w, who, function, argument, #function)
#define call(w, who, function, argument)  (start(w, who, function, argument), finish(w, who))
void start_act(struct world *, unsigned who, act *, int64_t argument, const char *doing);
int64_t finish(struct world *, unsigned who);
/* whichever it is, one that is busy; with the same limit */
int64_t finish_any_sleeper(struct world *);
bool finished(struct world *, unsigned who);      /* a look, without waiting */
bool is_busy(const struct world *, unsigned who); /* alive, and started but not yet finish()ed */

/*
 * Bring an actor to the stage. The host creates, the others attach; a sleeper falls asleep in the
 * function.
 */
void enter(struct world *, unsigned who);
void enter_host(struct world *, act *create, int64_t argument);
#define enter_sleeper(w, function, argument) enter_sleeper_act(w, function, argument, #function)
void enter_sleeper_act(struct world *, act *, int64_t argument, const char *doing);
/* wait until it sleeps in what it does, or has finished */
bool falls_asleep(struct world *, unsigned who);
void kill_actor(struct world *, unsigned who);

/*
 * SIGSTOP to a sleeper, once however often it is asked for; SIGCONT. The end of a play kills it,
 * too.
 */
void stop_actor(struct world *, unsigned who);
void continue_actor(struct world *, unsigned who);

/* ---- For the rows: acts ---- */

/* Open the segment and whatever objects there are by the names below. */
int64_t attach(struct world *, int64_t);
/* Create the segment, small, with room for `members`, 0: 16. */
int64_t create_segment(struct world *, int64_t members);

/* A timeout of the victim: time enough to fall asleep under the tracer. */
#define IN_TIME SHK_MS(50)
/* A slice that is to end while the victim sleeps; it must have come to sleep before. */
#define SHORT_SLICE SHK_MS(40)

#define NEVER 99 /* partner_at: only when the victim has been stopped */

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

/* ---- The run ---- */

struct point {
    uint32_t step;
    bool asleep; /* not before this step, but asleep in it */
};

/* What all plays of one worker share. `name`: of its segments. */
void world_init(struct world *, const char *name);

/*
 * Play w->row to the victim's end and note its steps. Returns how many kill points there are, or
 * -1: see w->failure.
 */
int record(struct world *, struct trace *, struct point *points, unsigned max);

/*
 * Play it and kill the victim at this point of the recording; with w->release its memory is taken
 * away before its exit, so that the kernel marks nothing for it. False: w->failure says why.
 */
bool play(struct world *, struct trace *, const struct point *);

/* Before w->row is another one: nobody of the last plays is left. */
void send_home(struct world *);

/*
 * Play it with SIGSTOP for everyone who is asleep. Returns how many were; -1: w->failure says why.
 */
int play_stopped(struct world *);

/* zeroed, for this process and those that it forks from then on; or the end */
void *map_shared(size_t size);
int64_t now(void); /* ns */

#endif
