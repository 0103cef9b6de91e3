/*
 * For builds with --enable-sanitizer=thread. The ThreadSanitizer of gcc 12 does not see which
 * thread gets a lock by pthread_mutex_clocklock() or sem_clockwait(), and then takes what it does
 * with the lock held for a race. Here they are made of what it sees; nothing in the tests sets the
 * clock.
 */
#ifdef __SANITIZE_THREAD__

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#define SECOND   1000000000LL
#define FOR_EVER (SECOND * 1000000)

const char *__tsan_default_options(void);

/*
 * A robust mutex of a dead process is unlocked by another than locked it, and a thread that sleeps
 * has more locks than the detector can count.
 */
const char *__tsan_default_options(void)
{
    return "report_mutex_bugs=0:detect_deadlocks=0";
}

/* The same moment, by the other clock. */
static struct timespec by_the_calendar(clockid_t clock, const struct timespec *at)
{
    struct timespec here, there;
    long long left;

    clock_gettime(clock, &here);
    clock_gettime(CLOCK_REALTIME, &there);
    left = at->tv_sec - here.tv_sec > FOR_EVER / SECOND
               ? FOR_EVER
               : (at->tv_sec - here.tv_sec) * SECOND + at->tv_nsec - here.tv_nsec;
    left += there.tv_nsec;
    if (left < 0)
        return (struct timespec){.tv_sec = there.tv_sec - 1};
    return (struct timespec){.tv_sec = there.tv_sec + left / SECOND, .tv_nsec = left % SECOND};
}

int pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until)
{
    struct timespec t = by_the_calendar(clock, until);

    return pthread_mutex_timedlock(mutex, &t);
}

int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until)
{
    struct timespec t = by_the_calendar(clock, until);

    return sem_timedwait(semaphore, &t);
}

#endif
