/*
 * shmctl lock: run a command while a lock, the lock of a condition, or a rwlock is held; or hold it
 * over a part of a script. Its options are those of flock(1), as far as both have them.
 */
#include "common.h"
#include "hold.h"
#include "lockable.h"
#include "open.h"
#include "shmctl.h"
#include "spawn.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>

enum { NO_DESCRIPTOR = -1, STATUS_MAX = 255 };

struct request {
    struct path path;
    struct acting acting;
    int conflict;   /* the exit status if the time is over */
    int orphaned;   /* the exit status with a descriptor, if a former holder has died */
    int descriptor; /* of the script */
    bool unlocks;   /* instead of locking */
    bool shared;    /* a share of a rwlock */
    char **command; /* without a descriptor */
};

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

static int release(const struct lockable *lock, const struct request *request, int status)
{
    /* Of a death that it was told of the holder has made the best, if all went well. */
    int r = lockable_release(lock, status == STATUS_DONE);

    return r < 0 ? failed(request->path.text, r) : status;
}

static int run_locked(const struct lockable *lock, const struct request *request, bool orphaned)
{
    struct run run = {.command = request->command, .input = -1, .dies_with_us = true};
    int status = STATUS_FAILED;

    tell_by_environment(orphaned);
    if (!interrupted())
        status = run_command(&run);
    /*
     * What no command was told the next one is: shmctl ends holding the lock then, as the former
     * holder did.
     */
    return orphaned && !run.started ? status : release(lock, request, status);
}

static int stay_locked(const struct lockable *lock, const struct request *request,
                       struct holder *holder, bool orphaned)
{
    if (!holder_tell(holder, orphaned ? request->orphaned : STATUS_DONE))
        return orphaned ? STATUS_FAILED : release(lock, request, STATUS_FAILED);
    /* A script that has died holding the lock leaves it to the next holder so: as it is. */
    return holder_wait(holder) ? release(lock, request, STATUS_DONE) : STATUS_FAILED;
}

static int with_lock(const struct lockable *lock, const struct request *request,
                     struct holder *holder)
{
    int r = lockable_acquire(lock, request->acting.timeout);
    int status;

    if (r < 0) {
        status = failed_to_wait(&request->path, &request->acting, r, lockable_state(lock));
        return status == STATUS_BLOCKED ? request->conflict : status;
    }
    if (r == SHK_ORPHANED)
        complain(request->path.text, "a former holder died holding it%s",
                 request->command ? " (SHMKIT_ORPHANED=1)" : "");
    return request->command ? run_locked(lock, request, r == SHK_ORPHANED)
                            : stay_locked(lock, request, holder, r == SHK_ORPHANED);
}

static int lock(const struct request *request)
{
    struct shk_segment *segment = NULL;
    struct lockable lock = {.shared = request->shared};
    struct opening opening = {.path = &request->path,
                              .flags = request->acting.flags,
                              .kind = request->shared ? "rwlock" : "lock",
                              .kinds = request->shared ? NULL : LOCKABLE_KINDS,
                              .open = lockable_open,
                              .to = &lock};
    struct holder holder;
    int status;

    if (!request->command && !holder_begin(&holder, request->descriptor, &request->path, &status))
        return status;
    status = open_object(&opening, &segment);
    if (status == STATUS_DONE)
        status = with_lock(&lock, request, &holder);
    lockable_close(&lock);
    shk_segment_close(segment);
    return status;
}

/* "-c STRING" is for the shell, as with flock(1) and su(1). */
static char **shell_command(char *string)
{
    static char *command[4] = {NULL, (char *)"-c", NULL, NULL};
    char *shell = getenv("SHELL");

    command[0] = shell && *shell ? shell : (char *)"/bin/sh";
    command[2] = string;
    return command;
}

enum { OPTION_FD = OPTION_PRIVATE, OPTION_ORPHANED };

static void own_option(struct request *request, int key)
{
    switch (key) {
    case 'n':
        request->acting.timeout = SHK_NOWAIT;
        break;
    case 'w':
        request->acting.timeout = parse_timeout(optarg);
        break;
    case 'E':
        request->conflict = (int)parse_number(optarg, STATUS_MAX);
        break;
    case 'c':
        request->command = shell_command(optarg);
        break;
    case OPTION_FD:
        request->descriptor = (int)parse_number(optarg, INT_MAX);
        break;
    case OPTION_ORPHANED:
        request->orphaned = (int)parse_number(optarg, STATUS_MAX);
        break;
    case 'u':
        request->unlocks = true;
        break;
    case 's':
    case 'x':
    case 'e':
        request->shared = key == 's';
        break;
    }
}

static int run(const struct command *command, int argc, char **argv)
{
    struct request request = {
        .acting = ACTING_DEFAULTS, .conflict = STATUS_BLOCKED, .descriptor = NO_DESCRIPTOR};
    bool has_command;
    int key;

    while ((key = next_own_option(command, argc, argv, &request.acting)) != -1)
        own_option(&request, key);
    if (request.unlocks && request.descriptor == NO_DESCRIPTOR)
        usage_error("--unlock needs --fd; a lock with a command is released when that has ended");
    if (request.command && request.descriptor != NO_DESCRIPTOR)
        usage_error("--fd holds the lock without a command, and --command is one");
    has_command = !request.command && request.descriptor == NO_DESCRIPTOR;
    check_operands(argc, has_command ? 2 : 1, has_command ? argc : 1);
    parse_object_path(argv[optind], &request.path);
    if (has_command)
        request.command = argv + optind + 1;
    return request.unlocks ? holder_unlock(request.descriptor, &request.path) : lock(&request);
}

static const struct option_row options[] = {
    {'c', "command", "STRING", "the command, as a line for $SHELL"},
    {OPTION_FD, "fd", "N", "hold it until descriptor N is closed"},
    {'u', "unlock", NULL, "with --fd: release it now"},
    {'s', "shared", NULL, "hold LOCK, a rwlock, as one of many readers"},
    {'x', "exclusive", NULL, "hold it alone, as without --shared"},
    {'e', "exclusive", NULL, "the same, as flock(1) has it"},
    {'o', "close", NULL, "nothing: the command never has the lock"},
    TIMEOUT_ROW("wait no longer for the lock"),
    NOWAIT_ROW,
    {'w', "wait", "TIME", "--timeout, as flock(1) has it"},
    {'n', "nonblock", NULL, "--nowait, as flock(1) has it"},
    {'E', "conflict-exit-code", "STATUS", "the exit status if the time is over (3)"},
    {OPTION_ORPHANED, "orphaned-exit-code", "STATUS", "with --fd: if a holder died holding it (0)"},
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_lock = {
    .name = "lock",
    .arguments = "[OPTION...] LOCK [[--] COMMAND [ARGUMENT...]]",
    .summary = "run a command, or a part of a script, while a lock is held",
    .notes = "The lock is released however the command ends. The exit status is the command's,\n"
             "128 and the signal's number if it was killed, 127 if it was not found. What\n"
             "follows COMMAND is the command's. LOCK may be a condition, or a rwlock: of a\n"
             "rwlock whose writer died all are told, until a writer's command exits with 0.\n"
             "In a script, 'exec 9>/dev/null' and 'shmctl lock --fd 9 LOCK' hold it until\n"
             "'shmctl lock --fd 9 --unlock LOCK' or 'exec 9>&-'. If the script ends before,\n"
             "the next holder is told as of a death.",
    .options = options,
    .runs_command = 1,
    .run = run,
};
