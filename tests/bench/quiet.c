/* How quiet the machine is: what others take of the CPUs' time, and of the cores behind them. */
#include "bench.h"

#include <math.h>
#include <pthread.h>
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

static bool move_to(int cpu)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return sched_setaffinity(0, sizeof(one), &one) == 0;
}

/*
 * ---- The way between the two CPUs ----
 *
 * The host may run the two CPUs of a virtual machine on the two threads of one core, on two cores
 * with a common cache, or on two sockets, and change that at any time: a cache line takes 100 or
 * 600 ns there and back. Both cores have their full speed meanwhile.
 */

#define TRIPS    200u
#define TRIP_MAX 20000000 /* ns, for all of them: else another process has one of the CPUs */

static alignas(64) _Atomic uint32_t ball;
static double way = NAN;

static bool await_ball(uint32_t value, int64_t end)
{
    for (unsigned i = 0; atomic_load(&ball) != value; i++) {
        if (i % 1024 == 1023 && now() > end)
            return false;
    }
    return true;
}

static void *play(void *end)
{
    move_to(bench.cpu[1]);
    for (uint32_t i = 0; i < TRIPS && await_ball(2 * i + 1, *(int64_t *)end); i++)
        atomic_store(&ball, 2 * i + 2);
    return NULL;
}

/* On the first CPU. The second half of the trips counts. */
static double time_way(void)
{
    int64_t end = now() + TRIP_MAX, begin = 0;
    bool well = true;
    pthread_t other;

    atomic_store(&ball, 0);
    if (bench.cpu[0] == bench.cpu[1] || pthread_create(&other, NULL, play, &end) != 0)
        return NAN;
    for (uint32_t i = 0; i < TRIPS && well; i++) {
        if (i == TRIPS / 2)
            begin = now();
        atomic_store(&ball, 2 * i + 1);
        well = await_ball(2 * i + 2, end);
    }
    double time = (double)(now() - begin) / (TRIPS - TRIPS / 2);
    pthread_join(other, NULL);
    return well ? time : NAN;
}

void quiet_check(void)
{
    cpu_set_t all;

    if (sched_getaffinity(0, sizeof(all), &all) < 0)
        return;
    for (int i = 0; i < 2; i++) {
        if (cpus[i].checks == sizeof(cpus[i].time) / sizeof(*cpus[i].time))
            continue;
        if (move_to(bench.cpu[i])) {
            double time = time_loop();
            cpus[i].time[cpus[i].checks++] = time;
            fastest = fmin(fastest, time);
        }
    }
    if (move_to(bench.cpu[0]))
        way = time_way();
    sched_setaffinity(0, sizeof(all), &all);
}

double quiet_way(void)
{
    return way;
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
