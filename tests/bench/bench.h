/*
 * make bench: what people would otherwise use, what the machine can do at most, and shmkit, side by
 * side in one run.
 *
 * A *workload* (W1 … W14, idle) has *rows* ("8 B"), each with a *place* ("pinned": each process on
 * a CPU of its own). In each row all *subjects* are measured turn by turn, A B C A B C, so that
 * what else the machine does falls on all alike. Each measurement starts processes of its own: the
 * *team*. The driver itself never calls shmkit, so that its children are strangers to each other.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
#error "the driver is C; C++ peers include channel.h"
#endif

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* ---- What was asked for ---- */

extern struct settings {
    double seconds;  /* how long one measurement lasts */
    unsigned rounds; /* how many turns each subject gets */
    bool smoke;      /* everything once and tiny: does it still work? */
    bool ours;       /* shmkit's subjects alone */
    const char *filter;
    unsigned without; /* a set of heuristics to measure without; 0: an ordinary run */
    int cpu[2];    /* the first two CPUs that may be used; the same one twice if there is but one */
    unsigned cpus; /* how many may be used */
} bench;

/*
 * Whether BENCH_FILTER lets this row pass: NULL, or any of its comma-separated words is part of
 * "WORKLOAD/ROW/PLACE".
 */
bool row_is_wanted(const char *workload, const char *row, const char *place);

/* ---- The team: processes of one measurement ---- */

#define ROLES_MAX 1024
#define FIGURES   4

/* What the driver and the team share. Roles are numbered as they were added. */
struct stage {
    alignas(64) _Atomic uint32_t ready;    /* roles that have called stage_ready() */
    alignas(64) _Atomic uint32_t go;       /* futex: 1 once all are ready */
    alignas(64) _Atomic uint32_t stop;     /* 1 when the time is over */
    alignas(64) _Atomic uint32_t received; /* 1: the last item has arrived */
    alignas(64) _Atomic uint32_t said;     /* 1: `trouble` has been written */
    char trouble[200];
    struct note {
        alignas(64) double figure[FIGURES]; /* what the role found out */
        uint64_t count;
        _Atomic int64_t stamp;
    } role[ROLES_MAX];
};
extern struct stage *stage;

typedef void role_body(void *argument, unsigned role);

#define ANY_CPU (-1)

void team_start(void); /* a new, empty team */
/* fork one; bodies return when they are done */
void team_add(role_body *, void *argument, int cpu);
/* wait until all have called stage_ready(), and let them go */
bool team_ready(void);
/* wait until all have ended; the stragglers are killed */
bool team_finish(void);
bool team_run(double seconds); /* ready, let them run, stop, finish */
void team_kill(void);
unsigned team_size(void);
pid_t team_pid(unsigned role);
/* run it in a process of its own, for at most a few seconds */
bool in_child(void (*body)(void *), void *argument);
bool interrupted(void);
const char *team_trouble(void); /* why the last one failed */
/* false, with a reason */
bool team_fails(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* In a role: */
void stage_ready(void); /* ready; returns when all are */
void give_up(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static inline bool stopped(void)
{
    return atomic_load_explicit(&stage->stop, memory_order_relaxed);
}
int64_t now(void); /* nanoseconds of CLOCK_MONOTONIC */
void pin(int cpu);
/* "shmkit-bench-PID": of the driver, the same in all roles */
const char *unique_name(void);

/*
 * Counting instructions: the one role calls begin and end, the driver the third after
 * team_ready(): how many there were between them, and around; NAN: see team_trouble().
 */
void count_begin(void), count_end(void);
double count_steps(void);

/* ---- What is measured ---- */

enum { OURS = 1, PEER = 2, LIMIT = 4, SPINS = 8 /* never sleeps */ };

struct unit {
    const char *name;
    bool more_is_better;
    double scale;                  /* figure / scale is printed */
    const char *also[FIGURES - 1]; /* what the further figures are, printed as they are: "p99 ns" */
};

struct subject {
    const char *name;
    unsigned is;      /* OURS, PEER or LIMIT, SPINS */
    const void *what; /* for the workload */
};

struct contest {
    const char *workload, *row, *place;
    const struct unit *unit;
    /* One measurement. False: it could not be measured, and team_trouble() says why. */
    bool (*measure)(const struct contest *, const struct subject *, double figures[FIGURES]);
    size_t item;
    unsigned capacity, n;
    double seconds; /* 0: as asked for */
    unsigned rounds;
    /* an aim is missed or reached by a few percent: three times as many rounds */
    bool by_little;
    bool pinned, one_cpu;
};

/* Measure all subjects, turn by turn, and keep what comes out. */
void contest_run(const struct contest *, const struct subject *subjects, size_t count);
double contest_seconds(const struct contest *);
/* The CPU for a role of that contest. */
int contest_cpu(const struct contest *, unsigned role);

/* Median of a figure over the rounds so far, NAN if it has not been measured. */
double result_median(const char *workload, const char *row, const char *place, const char *subject,
                     unsigned figure);

/* How quiet the machine is. */
struct machine_time {
    double all, busy, steal; /* of all CPUs, so far, in ticks */
};
struct machine_time machine_time(void);
/* The part of the CPUs' time that others take, in a moment in which the bench does nothing. */
double quiet_others(void);
void quiet_say_others(const char *when, double part);
void quiet_check(void); /* how fast the two CPUs are just now */
/* How much slower the slower one was at the last check than the fastest ever. */
double quiet_slowness(void);
/* ns: how long a cache line took there and back between the two CPUs at the latest check */
double quiet_way(void);
/* The part of the checks that found bench.cpu[cpu] at its full speed. */
double quiet_full_speed(int cpu);
void quiet_say_speed(void);

void report_table(void);
/* The series of shmkit that spread too far, and what that goes with. */
void report_spreads(void);
/* How many subjects have failed to be measured, each told on stderr. */
unsigned report_failures(void);
void report_verdicts(void);
bool report_json(const char *path);
void report_plot(const char *path); /* with gnuplot; says so where there is none */
/* The long account, in Markdown. `others`: what quiet_others() said before and afterwards. */
bool report_results(const char *path, const double others[2]);

/* What shmkit was measured beside, and what was not there: two sentences. */
void peers_text(char *text, size_t size);

int compare_doubles(const void *a, const void *b);
bool words_match(const char *words, const char *text); /* one of the comma-separated is in it */

/* The workloads. */
void run_w1(void), run_w2(void), run_w3(void), run_w4(void), run_w5(void), run_w6(void),
    run_w7(void), run_w8(void), run_w9(void), run_w10(void), run_w11(void), run_w12(void),
    run_w13(void), run_w14(void), run_idle(void);
/* Whether etcd is installed. */
bool w14_is_there(void);

#endif
