/* shmctl lock: run a command while a lock, or the lock of a condition, is held. */
#include "common.h"
#include "shmctl.h"
#include "spawn.h"

#include <errno.h>
#include <stdlib.h>

struct lockable {
    struct shk_segment *segment;
    struct shk_lock *lock; /* one of the two */
    struct shk_cond *cond;
};

static int open_lockable(struct lockable *l, const struct path *path, unsigned flags)
{
    int status = open_segment(path, flags, "lock", &l->segment);
    int r;

    if (status != STATUS_DONE)
        return status;
    r = shk_lock_open(l->segment, path->object, 0, NULL, &l->lock);
    if (r == -EPROTOTYPE)
        r = shk_cond_open(l->segment, path->object, 0, NULL, &l->cond);
    return r < 0 ? failed_to_open(path, "lock", r) : STATUS_DONE;
}

static int acquire(const struct lockable *l, int64_t timeout)
{
    return l->lock ? shk_lock_acquire(l->lock, timeout) : shk_cond_acquire(l->cond, timeout);
}

static int release(const struct lockable *l)
{
    return l->lock ? shk_lock_release(l->lock) : shk_cond_release(l->cond);
}

static int run_locked(const struct lockable *lock, const struct path *path, int64_t timeout,
                      char **command)
{
    int status = STATUS_FAILED;
    int r = acquire(lock, timeout);

    if (r < 0)
        return failed(path->text, r);
    if (r == SHK_ORPHANED) {
        complain(path->text, "a former holder died holding it (SHMKIT_ORPHANED=1)");
        setenv("SHMKIT_ORPHANED", "1", 1);
    }
    if (!interrupted())
        status = run_command(command);
    r = release(lock);
    return r < 0 ? failed(path->text, r) : status;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct lockable lock = {0};
    int64_t timeout = SHK_FOREVER;
    unsigned flags = 0;
    struct path path;
    int status;
    int key;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == 't')
            timeout = parse_timeout(optarg);
        else if (key == OPTION_NOWAIT)
            timeout = SHK_NOWAIT;
        else
            flags |= SHK_ANY_OWNER;
    }
    check_operands(argc, 2, argc);
    parse_object_path(argv[optind], &path);

    status = open_lockable(&lock, &path, flags);
    if (status == STATUS_DONE)
        status = run_locked(&lock, &path, timeout, argv + optind + 1);
    shk_lock_close(lock.lock);
    shk_cond_close(lock.cond);
    shk_segment_close(lock.segment);
    return status;
}

static const struct option_row options[] = {
    TIMEOUT_ROW("wait no longer for the lock"),
    NOWAIT_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_lock = {
    .name = "lock",
    .arguments = "[OPTION...] LOCK -- COMMAND [ARGUMENT...]",
    .summary = "run a command while a lock is held",
    .notes =
        "The lock is released however the command ends. The exit status is the command's, 128 and the\n"
        "signal's number if it was killed, 127 if it was not found. LOCK may be a condition.",
    .options = options,
    .run = run,
};
