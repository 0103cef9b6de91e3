/* shmctl notify and shmctl wait: the two ends of a condition. */
#include "common.h"
#include "open.h"
#include "shmctl.h"
#include "spawn.h"
#include "wait_gone.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

struct request {
    struct path path;
    struct acting acting;
    unsigned count; /* how many waiters are to be woken; UINT_MAX: all */
    char *test;     /* what is waited for, as a line for the shell; NULL: a notify */
    int (*act)(struct shk_cond *, const struct request *, int64_t left);
};

static int notify(struct shk_cond *cond, const struct request *request, int64_t left)
{
    (void)left;
    return request->count == UINT_MAX ? shk_cond_notify_all(cond)
                                      : shk_cond_notify(cond, request->count);
}

static int wait(struct shk_cond *cond, const struct request *request, int64_t left)
{
    (void)request;
    return shk_cond_wait(cond, left);
}

/* What is left of a timeout after so long; 1 where it is over, so that the next call says so. */
static int64_t left_of(int64_t timeout, int64_t since)
{
    if (timeout <= 0 || timeout == SHK_FOREVER)
        return timeout;
    return timeout > monotonic_now() - since ? timeout - (monotonic_now() - since) : 1;
}

/* The lock is held again then, by this process: it is not named as the reason. */
static int not_notified(const struct request *request)
{
    char time[TIME_MAX];

    complain(request->path.text, "timed out after %s; the condition was not notified",
             say_time(time, request->acting.timeout));
    return STATUS_BLOCKED;
}

/*
 * Act with the condition's lock held. What the lock protects is not known here, so the mark that a
 * former holder died has to reach another process: shmctl ends holding the lock then, as if it had
 * died itself, and the next holder is told.
 */
static int act_locked(struct shk_cond *cond, const struct request *request)
{
    const char *path = request->path.text;
    int64_t left = request->acting.timeout;
    int64_t since = monotonic_now();
    int status = STATUS_DONE;
    bool orphaned;
    int r = shk_cond_acquire(cond, left);

    if (r < 0)
        return failed_to_wait(&request->path, &request->acting, r, "its lock is held");
    orphaned = r == SHK_ORPHANED;
    r = request->act(cond, request, left_of(left, since));
    if (r < 0)
        status = r == -ETIMEDOUT ? not_notified(request) : failed(path, r);
    if (orphaned || (request->act == wait && r == SHK_ORPHANED)) {
        complain(path,
                 "%sits lock is orphaned: a holder died holding it; the next holder will be told",
                 request->act == notify            ? ""
                 : shk_cond_was_notified(cond) > 0 ? "notified, but "
                                                   : "not notified: ");
        return STATUS_FAILED;
    }
    r = shk_cond_release(cond);
    return r < 0 ? failed(path, r) : status;
}

/* ---- wait --until ---- */

enum { NOT_YET = -1 };

/*
 * Run the test, which is told by its environment that a former holder of the lock has died. Returns
 * NOT_YET or an exit status. A test that cannot be run, or is killed, would never come true.
 */
static int test(const struct request *request, bool *orphaned)
{
    char *command[] = {(char *)"/bin/sh", (char *)"-c", request->test, NULL};
    struct run run = {.command = command, .input = -1, .dies_with_us = true};
    int status;

    if (*orphaned)
        setenv("SHMKIT_ORPHANED", "1", 1);
    else
        unsetenv("SHMKIT_ORPHANED");
    status = run_command(&run);
    *orphaned = *orphaned && !run.started;
    if (run.signal)
        interrupt(run.signal);
    if (interrupted())
        return STATUS_FAILED;
    if (run.killed)
        complain(request->path.text, "the test was killed by signal %d", run.killed);
    else if (run.started && status >= 126)
        complain(request->path.text, "the test exited with %d", status);
    return status == 0 ? STATUS_DONE : status < 126 ? NOT_YET : STATUS_FAILED;
}

/*
 * Test with the lock held, wait, and test again: a notify that comes after the test finds this
 * member among the waiters, so none is lost. When the time is over it is tested once more.
 * A mark that no test was told is left for the next holder of the lock: see act_locked().
 */
static int wait_until(struct shk_cond *cond, const struct request *request)
{
    const char *path = request->path.text;
    int64_t timeout = request->acting.timeout;
    int64_t since = monotonic_now();
    int r = shk_cond_acquire(cond, timeout);
    int status = NOT_YET;
    bool orphaned, over = false;

    if (r < 0)
        return failed_to_wait(&request->path, &request->acting, r, "its lock is held");
    orphaned = r == SHK_ORPHANED;
    do {
        status = test(request, &orphaned);
        if (status != NOT_YET || over)
            break;
        r = shk_cond_wait(cond, left_of(timeout, since));
        orphaned = orphaned || r == SHK_ORPHANED;
        over = r == -ETIMEDOUT || r == -EAGAIN;
    } while (r >= 0 || over);
    if (status == NOT_YET && over) {
        char time[TIME_MAX];

        if (timeout == SHK_NOWAIT)
            complain(path, "the test is not true (--nowait)");
        else
            complain(path, "timed out after %s; the test is not true", say_time(time, timeout));
        status = STATUS_BLOCKED;
    } else if (status == NOT_YET) {
        status = failed(path, r);
    }
    if (orphaned)
        return STATUS_FAILED;
    r = shk_cond_release(cond);
    return r < 0 ? failed(path, r) : status;
}

/* ---- */

static int open_cond(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    return shk_cond_open(segment, name, flags, NULL, to);
}

static int run(const struct command *command, int argc, char **argv)
{
    struct request request = {.acting = ACTING_DEFAULTS, .count = 1};
    struct shk_segment *segment = NULL;
    struct shk_cond *cond = NULL;
    struct opening opening = {
        .path = &request.path, .kind = "cond", .open = open_cond, .to = &cond};
    int status;
    int key;

    bool gone = false;

    request.act = command == &cmd_wait ? wait : notify;
    while ((key = next_own_option(command, argc, argv, &request.acting)) != -1) {
        if (key == 'a')
            request.count = UINT_MAX;
        else if (key == 'c')
            request.count = (unsigned)parse_number(optarg, UINT_MAX - 1);
        else if (key == OPTION_PRIVATE)
            request.test = optarg;
        else if (key == 'g')
            gone = true;
    }
    check_operands(argc, 1, 1);
    parse_object_path(argv[optind], &request.path);
    if (gone && request.test)
        usage_error("--gone and --until exclude each other");
    if (gone)
        return wait_gone(&request.path, &request.acting);

    opening.flags = request.acting.flags;
    status = open_object(&opening, &segment);
    if (status == STATUS_DONE)
        status = request.test ? wait_until(cond, &request) : act_locked(cond, &request);
    shk_cond_close(cond);
    shk_segment_close(segment);
    return status;
}

static const struct option_row notify_options[] = {
    {'a', "all", NULL, "wake all waiters"},
    {'c', "count", "N", "wake so many of them, in order of arrival (1)"},
    TIMEOUT_ROW("wait no longer for the condition's lock"),
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_notify = {
    .name = "notify",
    .arguments = "[OPTION...] CONDITION",
    .summary = "wake waiters of a condition",
    .notes = "Without a waiter nothing happens.",
    .options = notify_options,
    .run = run,
};

static const struct option_row wait_options[] = {
    {OPTION_PRIVATE, "until", "TEST", "wait until TEST, a line for sh, exits with 0"},
    {'g', "gone", NULL, "wait until the members of that name have left or died"},
    TIMEOUT_ROW("wait no longer"),
    NOWAIT_ROW,
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_wait = {
    .name = "wait",
    .arguments = "[OPTION...] {CONDITION | --gone SEGMENT/NAME}",
    .summary = "wait until a condition is notified, or a member is gone",
    .notes = "What was notified before is not seen. With --until, TEST runs while the\n"
             "condition's lock is held, at first and after each notify: what changes its\n"
             "answer holds the lock, too ('shmctl lock CONDITION'), and notifies.\n"
             "--gone tells which members have left and which died, one a line; exit\n"
             "status 4 if there is none of that name.",
    .options = wait_options,
    .run = run,
};
