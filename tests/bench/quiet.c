/* How quiet the machine is: what others take of the CPUs' time, and of the cores behind them. */
#include "bench.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

/* ---- Other processes on this machine ---- */

struct machine_time machine_time(void)
{
    double t[8] = {0};
    struct machine_time result = {0};
    FILE *file = fopen("/proc/stat", "r");

    if (!file)
        return result;
    if (fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &t[0], &t[1], &t[2], &t[3], &t[4],
               &t[5], &t[6], &t[7]) == 8) {
        for (int i = 0; i < 8; i++)
            result.all += t[i];
        result.busy = result.all - t[3] - t[4];
        result.steal = t[7];
    }
    fclose(file);
    return result;
}

double quiet_others(void)
{
    struct machine_time before = machine_time(), after;

    nanosleep(&(struct timespec){.tv_sec = bench.smoke ? 0 : 1, .tv_nsec = 50000000}, NULL);
    after = machine_time();
    return after.all > before.all ? (after.busy - before.busy) / (after.all - before.all) : NAN;
}

void quiet_say_others(const char *when, double part)
{
    printf("%s: other processes took %.0f %% of the CPUs%s\n", when, 100 * part,
           part > 0.05 ? ": NOT QUIET, do not trust the figures" : "");
}

/*
 * ---- Other machines on the same cores ----
 *
 * A virtual machine's CPU is most often one of two threads of a core. Another machine on the other
 * thread takes about half of the core's speed, and no tick counter of this machine tells. What is
 * bound by instructions then takes twice as long; what is bound by the way between two cores does
 * not. So a fixed loop is timed before each measurement, and after it.
 */

#define TURNS 20000 /* of the loop: some 20 us */
#define TRIES 3     /* the fastest counts: not what interrupts it */
/* times the fastest check of either CPU, which are taken to be alike: not the full speed */
#define SLOW  1.3
#define QUIET 0.8 /* of the checks at full speed */

static struct {
    unsigned checks;
    double time[65536];
} cpus[2];
static double fastest = INFINITY;

/* Many independent operations at a time: they need the whole core. */
static double time_loop(void)
{
    static volatile uint32_t memory[64];
    uint64_t a = 0, b = 0, c = 0, d = 0;
    double best = INFINITY;

    for (int k = 0; k < TRIES; k++) {
        int64_t begin = now();
        for (unsigned i = 0; i < TURNS; i++) {
            uint32_t x = memory[i & 63];
            a += x, b += memory[(i + 7) & 63], c += memory[(i + 13) & 63], d ^= i;
            memory[(i + 31) & 63] = x;
            __asm__ __volatile__("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
        }
        best = fmin(best, (double)(now() - begin));
    }
    return best;
}

void quiet_check(void)
{
    cpu_set_t all, one;

    if (sched_getaffinity(0, sizeof(all), &all) < 0)
        return;
    for (int i = 0; i < 2; i++) {
        if (cpus[i].checks == sizeof(cpus[i].time) / sizeof(*cpus[i].time))
            continue;
        CPU_ZERO(&one);
        CPU_SET(bench.cpu[i], &one);
        if (sched_setaffinity(0, sizeof(one), &one) == 0) {
            double time = time_loop();
            cpus[i].time[cpus[i].checks++] = time;
            fastest = fmin(fastest, time);
        }
    }
    sched_setaffinity(0, sizeof(all), &all);
}

double quiet_slowness(void)
{
    double slowest = NAN;

    for (int i = 0; i < 2; i++) {
        if (cpus[i].checks)
            slowest = fmax(slowest, cpus[i].time[cpus[i].checks - 1] / fastest);
    }
    return slowest;
}

double quiet_full_speed(int cpu)
{
    unsigned fast = 0;

    for (unsigned k = 0; k < cpus[cpu].checks; k++)
        fast += cpus[cpu].time[k] < SLOW * fastest;
    return cpus[cpu].checks ? (double)fast / cpus[cpu].checks : NAN;
}

void quiet_say_speed(void)
{
    double first = quiet_full_speed(0), second = quiet_full_speed(1);

    if (isnan(first) || isnan(second))
        return;
    printf("Meanwhile: CPU %d had its full speed in %.0f %% of %u checks, CPU %d in %.0f %%%s\n",
           bench.cpu[0], 100 * first, cpus[0].checks, bench.cpu[1], 100 * second,
           fmin(first, second) < QUIET ? ": NOT QUIET, the same cores do other work" : "");
}
