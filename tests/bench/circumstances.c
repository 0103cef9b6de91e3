#include "circumstances.h"

#include "bench.h"

#include <linux/perf_event.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

const struct circumstance circumstance[CIRCUMSTANCES] = {
    [ONE_CPU] = {"% on one CPU", "both sides were on one CPU in part of the time (%)", 20},
    [STEAL] = {"% steal", "the host took CPU time (% steal)", 1},
    [OTHERS] = {"% others", "other processes took CPU time (%)", 5},
    [SLOWNESS] = {"x slower core", "the cores were slower (times the fastest)", 0.15},
    [WAY] = {"ns way", "a cache line took longer between the CPUs (ns there and back)", 50},
    [SWITCHES] = {"switches/s", "the roles were preempted (involuntary switches a second)", 50},
    [MIGRATIONS] = {"migrations/s", "the roles changed their CPU (migrations a second)", 5},
};

static struct {
    struct machine_time machine;
    double own; /* s of CPU time, of this process and of its children that have ended */
    double switches, migrations;
    int64_t time;
    unsigned samples, on_one_cpu;
} at_begin;

static double cpu_seconds(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static double own_seconds(double *switches)
{
    struct rusage self, children;

    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    *switches = (double)children.ru_nivcsw;
    return cpu_seconds(&self) + cpu_seconds(&children);
}

/* Of this process and all its children; needs neither a tool nor hardware counters. */
static double count_migrations(void)
{
    static int fd = -2;
    struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE,
                                    .size = sizeof(event),
                                    .config = PERF_COUNT_SW_CPU_MIGRATIONS,
                                    .inherit = 1};
    uint64_t count;

    if (fd == -2)
        fd = (int)syscall(SYS_perf_event_open, &event, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    return fd >= 0 && read(fd, &count, sizeof(count)) == sizeof(count) ? (double)count : NAN;
}

void circumstances_begin(void)
{
    memset(&at_begin, 0, sizeof(at_begin));
    at_begin.machine = machine_time();
    at_begin.own = own_seconds(&at_begin.switches);
    at_begin.migrations = count_migrations();
    at_begin.time = now();
}

/* The CPU on which a process is, or was last; -1: not known. */
static int cpu_of(pid_t pid)
{
    char path[40], line[1000];
    const char *p;
    FILE *file;
    int cpu = -1;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "r");
    if (!file)
        return -1;
    p = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
    fclose(file);
    for (int field = 2; p && field < 39;
         field++) /* proc(5): the name is the 2nd, `processor` the 39th */
        p = strchr(p + 1, ' ');
    return p && sscanf(p, "%d", &cpu) == 1 ? cpu : -1;
}

void circumstances_sample(pid_t first, pid_t second)
{
    int one = first ? cpu_of(first) : -1, other = second ? cpu_of(second) : -1;

    if (one < 0 || other < 0)
        return;
    at_begin.samples++;
    at_begin.on_one_cpu += one == other;
}

void circumstances_end(struct circumstances *c)
{
    struct machine_time machine = machine_time();
    double seconds = (double)(now() - at_begin.time) / 1e9, switches, own = own_seconds(&switches);
    double slowness = quiet_slowness(), way = quiet_way();
    double all = machine.all - at_begin.machine.all, ticks = (double)sysconf(_SC_CLK_TCK);

    c->value[ONE_CPU] = at_begin.samples ? 100.0 * at_begin.on_one_cpu / at_begin.samples : NAN;
    c->value[STEAL] = all > 0 ? 100 * (machine.steal - at_begin.machine.steal) / all : NAN;
    c->value[OTHERS] =
        all > 0 ? 100 *
                      ((machine.busy - at_begin.machine.busy) -
                       (machine.steal - at_begin.machine.steal) - (own - at_begin.own) * ticks) /
                      all
                : NAN;
    c->value[OTHERS] = fmax(c->value[OTHERS], 0);
    c->value[SWITCHES] = (switches - at_begin.switches) / seconds;
    c->value[MIGRATIONS] = (count_migrations() - at_begin.migrations) / seconds;
    quiet_check(); /* a measurement is long enough for another machine to come, or to go */
    c->value[SLOWNESS] = (slowness + quiet_slowness()) / 2;
    c->value[WAY] = (way + quiet_way()) / 2;
}
