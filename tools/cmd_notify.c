/* shmctl notify and shmctl wait: the two ends of a condition. */
#include "common.h"
#include "shmctl.h"

#include <limits.h>
#include <time.h>

struct request {
    struct path path;
    unsigned flags; /* for opening the segment */
    int64_t timeout;
    unsigned count; /* of those to be woken; UINT_MAX: all */
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

static int64_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return SHK_SEC(ts.tv_sec) + ts.tv_nsec;
}

/*
 * Act with the condition's lock held. What the lock protects is not known here, so the death of a former holder is not for
 * shmctl to hear: it ends holding the lock then, as if it had died itself, and the next one is told.
 */
static int act_locked(struct shk_cond *cond, const struct request *request)
{
    const char *path = request->path.text;
    int64_t left = request->timeout;
    int64_t since = now();
    int status = STATUS_DONE;
    bool orphaned;
    int r = shk_cond_acquire(cond, left);

    if (r < 0)
        return failed(path, r);
    orphaned = r == SHK_ORPHANED;
    if (left > 0)
        left = left > now() - since ? left - (now() - since) : 1;
    r = request->act(cond, request, left);
    if (r < 0)
        status = failed(path, r);
    if (orphaned || (request->act == wait && r == SHK_ORPHANED)) {
        complain(path, "a holder died holding its lock; the next one will be told");
        return STATUS_FAILED;
    }
    r = shk_cond_release(cond);
    return r < 0 ? failed(path, r) : status;
}

static int run_request(const struct request *request)
{
    struct shk_segment *segment = NULL;
    struct shk_cond *cond = NULL;
    int status = open_segment(&request->path, request->flags, "cond", &segment);
    int r;

    if (status != STATUS_DONE)
        return status;
    r = shk_cond_open(segment, request->path.object, 0, NULL, &cond);
    status = r < 0 ? failed_to_open(&request->path, "cond", r) : act_locked(cond, request);
    shk_cond_close(cond);
    shk_segment_close(segment);
    return status;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct request request = {.timeout = SHK_FOREVER, .count = 1};
    int key;

    request.act = command == &cmd_wait ? wait : notify;
    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == 'a')
            request.count = UINT_MAX;
        else if (key == 'c')
            request.count = (unsigned)parse_number(optarg, UINT_MAX - 1);
        else if (key == 't')
            request.timeout = parse_timeout(optarg);
        else
            request.flags |= SHK_ANY_OWNER;
    }
    check_operands(argc, 1, 1);
    parse_object_path(argv[optind], &request.path);
    return run_request(&request);
}

static const struct option_row notify_options[] = {
    {'a', "all", NULL, "wake all who wait"},
    {'c', "count", "N", "wake so many of them, those who came first (1)"},
    TIMEOUT_ROW("wait no longer for the condition's lock"),
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_notify = {
    .name = "notify",
    .arguments = "[OPTION...] CONDITION",
    .summary = "wake those who wait on a condition",
    .notes = "Where nobody waits, nothing happens.",
    .options = notify_options,
    .run = run,
};

static const struct option_row wait_options[] = {
    TIMEOUT_ROW("wait no longer"),
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_wait = {
    .name = "wait",
    .arguments = "[OPTION...] CONDITION",
    .summary = "wait on a condition until somebody notifies it",
    .notes = "What was notified before is not seen.",
    .options = wait_options,
    .run = run,
};
