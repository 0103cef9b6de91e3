/* shmctl notify and shmctl wait: the two ends of a condition. */
#include "common.h"
#include "open.h"
#include "shmctl.h"

#include <errno.h>
#include <limits.h>

struct request {
    struct path path;
    struct acting acting;
    unsigned count; /* how many waiters are to be woken; UINT_MAX: all */
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
    if (left > 0 && left != SHK_FOREVER)
        left = left > monotonic_now() - since ? left - (monotonic_now() - since) : 1;
    r = request->act(cond, request, left);
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

    request.act = command == &cmd_wait ? wait : notify;
    while ((key = next_own_option(command, argc, argv, &request.acting)) != -1) {
        if (key == 'a')
            request.count = UINT_MAX;
        else if (key == 'c')
            request.count = (unsigned)parse_number(optarg, UINT_MAX - 1);
    }
    check_operands(argc, 1, 1);
    parse_object_path(argv[optind], &request.path);

    opening.flags = request.acting.flags;
    status = open_object(&opening, &segment);
    if (status == STATUS_DONE)
        status = act_locked(cond, &request);
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
    TIMEOUT_ROW("wait no longer"),
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_wait = {
    .name = "wait",
    .arguments = "[OPTION...] CONDITION",
    .summary = "wait on a condition until it is notified",
    .notes = "What was notified before is not seen.",
    .options = wait_options,
    .run = run,
};
