/* shmctl lock: run a command while a lock, or the lock of a condition, is held. */
#include "common.h"
#include "open.h"
#include "shmctl.h"
#include "spawn.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

struct lockable {
    struct shk_segment *segment;
    struct shk_lock *lock; /* one of the two */
    struct shk_cond *cond;
};

static int open_lockable(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    struct lockable *l = to;
    int r = shk_lock_open(segment, name, flags, NULL, &l->lock);

    return r == -EPROTOTYPE ? shk_cond_open(segment, name, 0, NULL, &l->cond) : r;
}

static int acquire(const struct lockable *l, int64_t timeout)
{
    return l->lock ? shk_lock_acquire(l->lock, timeout) : shk_cond_acquire(l->cond, timeout);
}

static int release(const struct lockable *l)
{
    return l->lock ? shk_lock_release(l->lock) : shk_cond_release(l->cond);
}

/*
 * The command and what it starts know of an orphaned lock only by this verb, and not of an outer
 * one's.
 */
static void tell_by_environment(bool orphaned)
{
    if (orphaned)
        setenv("SHMKIT_ORPHANED", "1", 1);
    else
        unsetenv("SHMKIT_ORPHANED");
}

static int run_locked(const struct lockable *lock, const struct path *path,
                      const struct acting *acting, char **command)
{
    struct run run = {.command = command, .input = -1, .dies_with_us = true};
    int status = STATUS_FAILED;
    int r = acquire(lock, acting->timeout);
    bool orphaned = r == SHK_ORPHANED;

    if (r < 0)
        return failed_to_wait(path, acting, r,
                              lock->lock ? "the lock is held" : "its lock is held");
    if (lock->lock)
        shk_lock_stamp(lock->lock);
    else
        shk_cond_stamp(lock->cond);
    tell_by_environment(orphaned);
    if (orphaned)
        complain(path->text, "a former holder died holding it (SHMKIT_ORPHANED=1)");
    if (!interrupted())
        status = run_command(&run);
    /*
     * What no command was told the next one is: shmctl ends holding the lock then, as the former
     * holder did.
     */
    if (orphaned && !run.started)
        return status;
    r = release(lock);
    return r < 0 ? failed(path->text, r) : status;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct acting acting = ACTING_DEFAULTS;
    struct lockable lock = {0};
    struct path path;
    struct opening opening = {.path = &path,
                              .kind = "lock",
                              .kinds = "a lock or a condition",
                              .open = open_lockable,
                              .to = &lock};
    int status;

    next_own_option(command, argc, argv, &acting); /* it has none of its own */
    check_operands(argc, 2, argc);
    parse_object_path(argv[optind], &path);

    opening.flags = acting.flags;
    status = open_object(&opening, &lock.segment);
    if (status == STATUS_DONE)
        status = run_locked(&lock, &path, &acting, argv + optind + 1);
    shk_lock_close(lock.lock);
    shk_cond_close(lock.cond);
    shk_segment_close(lock.segment);
    return status;
}

static const struct option_row options[] = {
    TIMEOUT_ROW("wait no longer for the lock"), NOWAIT_ROW, NO_CREATE_ROW, ANY_OWNER_ROW, {0},
};

const struct command cmd_lock = {
    .name = "lock",
    .arguments = "[OPTION...] LOCK [--] COMMAND [ARGUMENT...]",
    .summary = "run a command while a lock is held",
    .notes = "The lock is released however the command ends. The exit status is the command's,\n"
             "128 and the signal's number if it was killed, 127 if it was not found. What\n"
             "follows COMMAND is the command's. LOCK may be a condition.",
    .options = options,
    .runs_command = true,
    .run = run,
};
