#include "pause.h"

#include <time.h>

volatile sig_atomic_t interrupted;

int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return SHK_SEC(time.tv_sec) + time.tv_nsec;
}

void pause_until(int64_t end)
{
    int64_t time;

    while (!interrupted && (time = now()) < end) {
        int64_t next = end - time < RECHECK ? end : time + RECHECK;
        struct timespec when = {.tv_sec = next / SHK_SEC(1), .tv_nsec = next % SHK_SEC(1)};

        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
    }
}

void pause_for(int64_t nanoseconds)
{
    pause_until(now() + nanoseconds);
}

static void interrupt(int signal_number)
{
    interrupted = signal_number;
}

/* Without SA_RESTART, so that a blocked write ends; SA_RESETHAND lets the second one kill. */
void catch_signals(void)
{
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESETHAND};

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}
