/*
 * One thread of another process, instruction by instruction (ptrace).
 *
 * A recording single-steps the whole operation. To reach step k of it again, a later run does not
 * take k single steps, which would make the whole quadratic: it runs from breakpoint to breakpoint.
 * Each is at an instruction that the recording meets for the first time since where the tracee
 * stands, so that the first hit is the right one. At the end the tracee must be where the recording
 * was after k steps.
 *
 * x86-64 and aarch64. On aarch64 the out-of-line atomics of the compiler and of libc are single
 * instructions on every CPU that has them (ARMv8.1). Elsewhere they are pairs of an exclusive load
 * and a store, and a store never succeeds after a stop since its load. So such a pair is one step:
 * the tracee runs from the load to a breakpoint behind the store, or where a branch leaves the
 * pair. No kill point is lost, since the store alone changes memory.
 */
#ifndef CRASH_TRACE_H
#define CRASH_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__x86_64__) || defined(__aarch64__)
#define CAN_TRACE 1
#else
#define CAN_TRACE 0
#endif

/* What the instruction is that comes after a step of the recording. */
enum {
    STEP_CALLS = 1,   /* a system call */
    STEP_SLEEPS = 2,  /* one in which the thread sleeps for more than a moment */
    STEP_HELD = 8,    /* the victim is held after it, while on_sleep runs */
    STEP_CHANGES = 4, /* it changes shared memory or the robust list; noted only if watched for */
};

#define TRACE_MAX (1u << 15)

struct trace {
    uint32_t length;                 /* steps until the end */
    uintptr_t pc[TRACE_MAX + 1];     /* where the thread is after step i */
    int32_t previous[TRACE_MAX + 1]; /* the step after which it was there before; -1: none */
    uint8_t marks[TRACE_MAX + 1];
};

/* Fill in `previous`. */
void trace_index(struct trace *);

/* How far one breakpoint leads from step `from` towards `to`. */
uint32_t trace_next_run(const struct trace *, uint32_t from, uint32_t to);

#define SLEEP_NS 2000000 /* naps of a millisecond, as on a contended lock, do not count */

struct tracee {
    pid_t pid, tid;
    bool in_call; /* asleep in the system call that it was to step over */
};

enum event {
    TRACE_STOPPED, /* after the step, or at the breakpoint */
    TRACE_ASLEEP,  /* in the system call; the next step waits for its end */
    TRACE_ENDED,   /* the thread is gone */
    TRACE_LOST,    /* it has not come to the breakpoint */
    TRACE_CRASHED, /* it got a signal that no process sent */
};

/* Attach, and stop it. 0 or -errno. */
int trace_seize(struct tracee *, pid_t pid, pid_t tid);

/* One instruction, or one pair of exclusive load and store; to a breakpoint. */
enum event trace_step(struct tracee *);
enum event trace_run_to(struct tracee *, uintptr_t pc);

uintptr_t trace_pc(const struct tracee *);
bool trace_at_call(const struct tracee *, uintptr_t pc);

/*
 * SIGKILL to the process, and wait until nothing is left of it. tid: the one of its threads that
 * may be traced.
 */
void kill_and_reap(pid_t pid, pid_t tid);

/*
 * The same as if memory had been out: as the OOM reaper does, the kernel takes the process's memory
 * away between SIGKILL and its exit, so that it finds no robust list. False: it did not, and has
 * only killed it.
 */
bool kill_and_release(struct tracee *);

/* Whether there is process_mrelease(2), for that. */
bool can_release(void);

/*
 * A thread that sleeps in a futex: whether it has done so for `ns`, in one go, as far as is known
 * from the last call.
 */
struct nap {
    uint64_t number; /* of the sleep; 0: awake */
    int64_t since;   /* when it was seen first */
};
bool thread_sleeps(pid_t tid, struct nap *, int64_t ns);

/* Where it sleeps, which is behind the system call; 0: it does not. */
uintptr_t thread_sleeps_at(pid_t tid);

/* Whether a thread that is stopped was in a sleep there when the stop came. */
bool thread_is_stopped_at(pid_t tid, uintptr_t at);

/* How long a thread has been ready to run, and had no CPU: ns, so far. */
int64_t thread_starved(pid_t tid);

/* What of the tracee's is shared: its mappings of files in /dev/shm; and its robust list. */
struct watch;
struct watch *watch_new(void);
void watch_begin(struct watch *, const struct tracee *);
/* Since it was last asked. After a system call the mappings may be others. */
bool watch_changed(struct watch *, bool after_call);
void watch_free(struct watch *);

#endif
