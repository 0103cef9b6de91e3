#include "trace.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_NS   100000 /* between two looks at what it does */
#define LOST_AFTER 5000   /* pauses without coming to a breakpoint */
/*
 * … to the end of a step: it has gone another way, past the operation, and waits for its next call
 */
#define STUCK_AFTER 50000
#define HASH_SIZE   (4 * TRACE_MAX) /* a power of two */

/* ---- The machine ---- */

#define ENDS_MAX 8 /* of a pair of exclusive load and store */

#if defined(__x86_64__)

static const unsigned char breakpoint[] = {0xcc}; /* int3 */
static const unsigned char system_call[] = {0x0f, 0x05};

uintptr_t trace_pc(const struct tracee *t)
{
    return (uintptr_t)ptrace(PTRACE_PEEKUSER, t->tid, offsetof(struct user, regs.rip), NULL);
}

/* Back from behind the breakpoint to its place. */
static void correct_pc(const struct tracee *t, uintptr_t pc)
{
    ptrace(PTRACE_POKEUSER, t->tid, offsetof(struct user, regs.rip), pc);
}

static unsigned find_pair_ends(const struct tracee *t, uintptr_t pc, uintptr_t *ends)
{
    (void)t;
    (void)pc;
    (void)ends;
    return 0;
}

#elif defined(__aarch64__)

/* brk #0; the pc stays on it */
static const unsigned char breakpoint[] = {0x00, 0x00, 0x20, 0xd4};
static const unsigned char system_call[] = {0x01, 0x00, 0x00, 0xd4}; /* svc #0 */

uintptr_t trace_pc(const struct tracee *t)
{
    struct user_regs_struct registers = {0};
    struct iovec vector = {&registers, sizeof(registers)};

    ptrace(PTRACE_GETREGSET, t->tid, NT_PRSTATUS, &vector);
    return (uintptr_t)registers.pc;
}

static void correct_pc(const struct tracee *t, uintptr_t pc)
{
    (void)t;
    (void)pc;
}

#define PAIR_MAX (16 * 4) /* bytes from an exclusive load to its store, at most */

static uint32_t instruction_at(const struct tracee *t, uintptr_t pc)
{
    return (uint32_t)ptrace(PTRACE_PEEKTEXT, t->tid, pc, NULL);
}

/* LDXR, LDAXR, LDXP, …; STXR, STLXR, STXP, … A CASP has the bits of a pair of 32-bit registers. */
static bool is_exclusive(uint32_t instruction, bool load)
{
    bool is_casp = (instruction & 0x80200000) == 0x00200000;

    return (instruction & 0x3fc00000) == (load ? 0x08400000u : 0x08000000u) && !is_casp;
}

/* Where a direct branch leads; 0: it is none. */
static uintptr_t branch_target(uint32_t instruction, uintptr_t pc)
{
    int64_t words;

    if ((instruction & 0xff000010) == 0x54000000 || /* B.cond */
        (instruction & 0x7e000000) == 0x34000000)   /* CBZ, CBNZ */
        words = (int32_t)(instruction << 8) >> 13;
    else if ((instruction & 0x7e000000) == 0x36000000) /* TBZ, TBNZ */
        words = (int32_t)(instruction << 13) >> 18;
    else if ((instruction & 0xfc000000) == 0x14000000) /* B */
        words = (int32_t)(instruction << 6) >> 6;
    else
        return 0;
    return pc + (uintptr_t)(4 * words);
}

/*
 * An exception between an exclusive load and its store clears the monitor, so that the store fails,
 * and the loop around them never ends. At such a load: the instructions that come next after the
 * pair, which are the one behind the store and the targets of branches before it (a
 * compare-exchange that fails). Returns how many; 0: there is no such load, or no store for it.
 */
static unsigned find_pair_ends(const struct tracee *t, uintptr_t pc, uintptr_t *ends)
{
    uintptr_t store = pc, target;
    unsigned n = 0;

    if (!is_exclusive(instruction_at(t, pc), true))
        return 0;
    do
        store += 4;
    while (store < pc + PAIR_MAX && !is_exclusive(instruction_at(t, store), false));
    if (store == pc + PAIR_MAX)
        return 0;
    ends[n++] = store + 4;
    for (uintptr_t at = pc + 4; at < store && n < ENDS_MAX; at += 4) {
        target = branch_target(instruction_at(t, at), at);
        if (target != 0 && (target < pc || target > store))
            ends[n++] = target;
    }
    return n;
}

#else

static const unsigned char breakpoint[1], system_call[1];

uintptr_t trace_pc(const struct tracee *t)
{
    (void)t;
    return 0;
}

static void correct_pc(const struct tracee *t, uintptr_t pc)
{
    (void)t;
    (void)pc;
}

static unsigned find_pair_ends(const struct tracee *t, uintptr_t pc, uintptr_t *ends)
{
    (void)t;
    (void)pc;
    (void)ends;
    return 0;
}

#endif

bool trace_at_call(const struct tracee *t, uintptr_t pc)
{
    long word = ptrace(PTRACE_PEEKTEXT, t->tid, pc, NULL);

    return memcmp(&word, system_call, sizeof(system_call)) == 0;
}

/* ---- Stops ---- */

/* What it does next. `pauses`: how long to wait for it, then it is TRACE_LOST; 0: for ever. */
static enum event wait_stop(struct tracee *t, unsigned pauses)
{
    static const struct timespec pause = {.tv_nsec = PAUSE_NS};
    sigset_t child;
    int status;
    pid_t r;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD); /* blocked by the caller: it only cuts the pause short */
    while ((r = waitpid(t->tid, &status, __WALL | (pauses ? WNOHANG : 0))) == 0) {
        if (--pauses == 0)
            return TRACE_LOST;
        sigtimedwait(&child, NULL, &pause);
    }
    if (r < 0 || !WIFSTOPPED(status))
        return TRACE_ENDED;
    return WSTOPSIG(status) == SIGTRAP ? TRACE_STOPPED : TRACE_CRASHED;
}

int trace_seize(struct tracee *t, pid_t pid, pid_t tid)
{
    int status;

    *t = (struct tracee){.pid = pid, .tid = tid};
    if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_EXITKILL) < 0 ||
        ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0)
        return -errno;
    return waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status) ? 0 : -ECHILD;
}

static long set_breakpoint(const struct tracee *t, uintptr_t pc)
{
    long word = ptrace(PTRACE_PEEKTEXT, t->tid, pc, NULL), trap = word;

    memcpy(&trap, breakpoint, sizeof(breakpoint));
    ptrace(PTRACE_POKETEXT, t->tid, pc, trap);
    return word;
}

/* From breakpoint to breakpoint, without a stop inside. It makes no system call, so it ends. */
static enum event step_over_pair(struct tracee *t, const uintptr_t *ends, unsigned n)
{
    long words[ENDS_MAX];
    enum event e = TRACE_ENDED;

    for (unsigned i = 0; i < n; i++)
        words[i] = set_breakpoint(t, ends[i]);
    if (ptrace(PTRACE_CONT, t->tid, NULL, NULL) == 0)
        e = wait_stop(t, 0);
    while (n-- > 0) /* in this order, since two words may overlap */
        ptrace(PTRACE_POKETEXT, t->tid, ends[n], words[n]);
    return e;
}

enum event trace_step(struct tracee *t)
{
    struct nap nap = {0};
    unsigned pauses = 0;
    enum event e;

    if (!t->in_call) {
        uintptr_t pc = trace_pc(t), ends[ENDS_MAX];
        bool calls = trace_at_call(t, pc);
        unsigned n = find_pair_ends(t, pc, ends);

        if (n > 0)
            return step_over_pair(t, ends, n);
        if (ptrace(PTRACE_SINGLESTEP, t->tid, NULL, NULL) < 0)
            return TRACE_ENDED;
        if (!calls)
            return wait_stop(t, 0);
    }
    while ((e = wait_stop(t, 2)) == TRACE_LOST && ++pauses < STUCK_AFTER)
        if (!t->in_call && thread_sleeps(t->tid, &nap, SLEEP_NS)) {
            t->in_call = true;
            return TRACE_ASLEEP;
        }
    t->in_call = false;
    return e;
}

enum event trace_run_to(struct tracee *t, uintptr_t pc)
{
    long word = set_breakpoint(t, pc);
    enum event e;

    if (ptrace(PTRACE_CONT, t->tid, NULL, NULL) < 0)
        return TRACE_ENDED;
    e = wait_stop(t, LOST_AFTER);
    if (e == TRACE_STOPPED) {
        ptrace(PTRACE_POKETEXT, t->tid, pc, word);
        correct_pc(t, pc);
    }
    return e;
}

void kill_and_reap(pid_t pid, pid_t tid)
{
    int status;

    kill(pid, SIGKILL);
    /* The thread first: the process does not end before its traced threads have been waited for. */
    while (tid != pid && waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status))
        ;
    while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
        ;
}

#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448 /* on all machines; Linux 5.15 */
#endif

bool can_release(void)
{
    return syscall(SYS_process_mrelease, -1, 0) == 0 || errno != ENOSYS;
}

bool kill_and_release(struct tracee *t)
{
    int pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0), status = 0;
    bool released = false;

    /* options can be set while it is stopped; it does not get to another instruction */
    if (t->in_call) {
        ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL);
        waitpid(t->tid, &status, __WALL);
    }
    ptrace(PTRACE_SETOPTIONS, t->tid, NULL, PTRACE_O_EXITKILL | PTRACE_O_TRACEEXIT);
    kill(t->pid, SIGKILL);
    if (waitpid(t->tid, &status, __WALL) == t->tid && WIFSTOPPED(status)) {
        released = syscall(SYS_process_mrelease, pidfd, 0) == 0;
        ptrace(PTRACE_CONT, t->tid, NULL, NULL);
    }
    if (pidfd >= 0)
        close(pidfd);
    kill_and_reap(t->pid, t->tid);
    return released;
}

static bool read_proc(pid_t tid, const char *file, char *text, size_t size)
{
    char path[64];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* SYS_futex_waitv, which older headers lack; and a sleep that goes on after a stop. */
static bool is_futex_wait(long call)
{
    return call == SYS_futex || call == 449 || call == SYS_restart_syscall;
}

/* The system call that a thread is in, -1 if it is in none, and where: see proc_pid_syscall(5). */
static bool read_call(pid_t tid, long *call, uintptr_t *pc)
{
    char text[256], *last;

    if (!read_proc(tid, "syscall", text, sizeof(text)) || !(last = strrchr(text, ' ')))
        return false; /* it runs */
    *call = atol(text);
    *pc = (uintptr_t)strtoull(last, NULL, 16);
    return true;
}

uintptr_t thread_sleeps_at(pid_t tid)
{
    uintptr_t pc;
    long call;

    return read_call(tid, &call, &pc) && is_futex_wait(call) ? pc : 0;
}

/*
 * On aarch64 a system call that goes on after the stop counts as none meanwhile: the thread is at
 * the instruction of the call, to do it again.
 */
bool thread_is_stopped_at(pid_t tid, uintptr_t at)
{
    uintptr_t pc;
    long call;

    if (at == 0 || !read_call(tid, &call, &pc))
        return false;
    return call < 0 ? pc + sizeof(system_call) == at : is_futex_wait(call);
}

/* The sleep is the same as long as the thread has not gone to sleep again. */
bool thread_sleeps(pid_t tid, struct nap *nap, int64_t ns)
{
    const char *switches, *field = "\nvoluntary_ctxt_switches:";
    char text[4096];
    uint64_t number = 0;
    struct timespec t;

    if (thread_sleeps_at(tid) != 0 && read_proc(tid, "status", text, sizeof(text)) &&
        (switches = strstr(text, field)))
        number = strtoull(switches + strlen(field), NULL, 10);
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t now = t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
    if (number != nap->number)
        *nap = (struct nap){number, now};
    return number != 0 && now - nap->since >= ns;
}

int64_t thread_starved(pid_t tid)
{
    char text[128];
    long long ran, waited;

    if (!read_proc(tid, "schedstat", text, sizeof(text)) ||
        sscanf(text, "%lld %lld", &ran, &waited) != 2)
        return 0;
    return waited;
}

/* ---- Recordings ---- */

void trace_index(struct trace *trace)
{
    int32_t *last = malloc(HASH_SIZE * sizeof(*last)); /* step + 1, by address */

    if (!last)
        abort();
    memset(last, 0, HASH_SIZE * sizeof(*last));
    for (uint32_t i = 0; i <= trace->length; i++) {
        uint32_t at = (uint32_t)(trace->pc[i] * 0x9E3779B97F4A7C15u >> 32) & (HASH_SIZE - 1);

        while (last[at] && trace->pc[last[at] - 1] != trace->pc[i])
            at = (at + 1) & (HASH_SIZE - 1);
        trace->previous[i] = last[at] - 1;
        last[at] = (int32_t)i + 1;
    }
    free(last);
}

uint32_t trace_next_run(const struct trace *trace, uint32_t from, uint32_t to)
{
    while (to > from + 1 && trace->previous[to] >= (int32_t)from)
        to--;
    return to;
}

/* ---- Shared memory ---- */

#define MAPPINGS_MAX 16
#define RANGES_MAX   1024 /* of process_vm_readv(2): IOV_MAX */
#define PRESENT      (UINT64_C(1) << 63)

/*
 * Which of it the tracee has touched, and what is in there: a mapping may be large, and is looked
 * at after every step.
 */
struct picture {
    unsigned count;
    struct iovec ranges[RANGES_MAX]; /* the head of the robust list, and runs of pages */
    char *bytes;
    size_t size, room;
};

struct watch {
    const struct tracee *tracee;
    int pagemap; /* see proc_pid_pagemap(5); -1: there is none, and all of it is looked at */
    struct iovec robust, mappings[MAPPINGS_MAX];
    unsigned count;
    struct picture pictures[2], *before, *now;
};

static void *or_abort(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static void add_range(struct picture *p, struct iovec range)
{
    struct iovec *last = p->count ? &p->ranges[p->count - 1] : NULL;

    p->size += range.iov_len;
    if (last && (char *)last->iov_base + last->iov_len == range.iov_base) {
        last->iov_len += range.iov_len;
        return;
    }
    if (p->count == RANGES_MAX)
        abort();
    p->ranges[p->count++] = range;
}

static void add_mapping(struct picture *p, struct iovec mapping, int pagemap)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = mapping.iov_len / page;
    uint64_t *entries = or_abort(malloc(n * sizeof(*entries)));
    off_t at = (off_t)((uintptr_t)mapping.iov_base / page * sizeof(*entries));
    bool all = pread(pagemap, entries, n * sizeof(*entries), at) != (ssize_t)(n * sizeof(*entries));

    for (size_t i = 0; i < n; i++)
        if (all || entries[i] & PRESENT)
            add_range(p, (struct iovec){(char *)mapping.iov_base + i * page, page});
    free(entries);
}

static void look(struct watch *w, struct picture *p)
{
    p->count = 0;
    p->size = 0;
    if (w->robust.iov_base)
        add_range(p, w->robust);
    for (unsigned i = 0; i < w->count; i++)
        add_mapping(p, w->mappings[i], w->pagemap);
    if (p->room < p->size) {
        free(p->bytes);
        p->bytes = or_abort(malloc(p->size));
        p->room = p->size;
    }
    if (process_vm_readv(w->tracee->tid, &(struct iovec){p->bytes, p->size}, 1, p->ranges, p->count,
                         0) != (ssize_t)p->size)
        memset(p->bytes, 0, p->size);
}

static bool same(const struct picture *a, const struct picture *b)
{
    return a->count == b->count && a->size == b->size &&
           !memcmp(a->ranges, b->ranges, a->count * sizeof(*a->ranges)) &&
           !memcmp(a->bytes, b->bytes, a->size);
}

static void map(struct watch *w)
{
    char path[64], line[512], access[5];
    unsigned long from, to;

    w->count = 0;
    syscall(SYS_get_robust_list, w->tracee->tid, &w->robust.iov_base, &w->robust.iov_len);
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)w->tracee->tid);
    FILE *maps = fopen(path, "re");
    while (maps && fgets(line, sizeof(line), maps))
        if (strstr(line, " /dev/shm/") && sscanf(line, "%lx-%lx %4s", &from, &to, access) == 3 &&
            access[1] == 'w') {
            if (w->count == MAPPINGS_MAX)
                abort();
            w->mappings[w->count++] = (struct iovec){(void *)from, to - from};
        }
    if (maps)
        fclose(maps);
    look(w, w->before);
}

struct watch *watch_new(void)
{
    struct watch *w = or_abort(calloc(1, sizeof(*w)));

    w->pagemap = -1;
    w->before = &w->pictures[0];
    w->now = &w->pictures[1];
    return w;
}

void watch_begin(struct watch *w, const struct tracee *t)
{
    char path[64];

    w->tracee = t;
    snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)t->tid);
    if (w->pagemap >= 0)
        close(w->pagemap);
    w->pagemap = open(path, O_RDONLY | O_CLOEXEC);
    map(w);
}

bool watch_changed(struct watch *w, bool after_call)
{
    struct picture *before = w->before;

    if (after_call) {
        map(w);
        return true; /* what it does elsewhere is not seen here */
    }
    look(w, w->now);
    w->before = w->now;
    w->now = before;
    return !same(w->before, w->now);
}

void watch_free(struct watch *w)
{
    if (w->pagemap >= 0)
        close(w->pagemap);
    free(w->pictures[0].bytes);
    free(w->pictures[1].bytes);
    free(w);
}
