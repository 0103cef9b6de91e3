/* shmctl bridge: from shared memory to etcd. */
#include "bridge.h"
#include "shmctl.h"

#include <shmkit/inspect.h>

#include <string.h>

enum { OPTION_ONCE = OPTION_PRIVATE, OPTION_RESUME_AT };

/* What is to be carried; a queue if that cannot be seen, or is not there yet. */
static bool is_stream(const struct path *path)
{
    const struct shk_object_info *object;
    struct shk_snapshot *snapshot;
    bool is = false;

    if (shk_snapshot_open(path->segment, &snapshot) != 0)
        return false;
    object = shk_snapshot_find_object(snapshot, path->object);
    if (object)
        is = object->kind == SHK_KIND_STREAM;
    shk_snapshot_close(snapshot);
    return is;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct bridge b = {.acting = ACTING_DEFAULTS};
    bool stream;
    int status;
    int key;

    while ((key = next_own_option(command, argc, argv, &b.acting)) != -1) {
        if (key == OPTION_ONCE) {
            b.once = true;
        } else if (key == 'q') {
            b.quiet = true;
        } else if (key == OPTION_RESUME_AT) {
            b.resumes = true;
            b.resume_at = parse_number(optarg, UINT64_MAX);
        }
    }
    check_operands(argc, 2, 2);
    parse_object_path(argv[optind], &b.from);
    parse_object_path(argv[optind + 1], &b.to);
    if (is_on_etcd(b.from.segment) || !is_on_etcd(b.to.segment))
        usage_error(
            "a bridge leads from shared memory to etcd: %s SEGMENT/QUEUE etcd:SEGMENT/QUEUE",
            command->name);
    stream = is_stream(&b.from);
    if (stream && b.resumes)
        usage_error("a stream is carried as it comes, and does not resume");
    b.shows = !b.quiet && isatty(STDERR_FILENO);
    catch_interrupts();
    status = stream ? bridge_stream(&b) : bridge_queue(&b);
    shk_segment_close(b.remote);
    shk_segment_close(b.local);
    return status;
}

static const struct option_row options[] = {
    {OPTION_ONCE, "once", NULL, "carry what is there, print how many, and end"},
    {OPTION_RESUME_AT, "resume-at", "N", "carry on with item N, wherever it stopped"},
    {'q', "quiet", NULL, "tell nothing but why it ends"},
    TIMEOUT_ROW("how long etcd may be away, or full"),
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_bridge = {
    .name = "bridge",
    .arguments = "[OPTION...] QUEUE|STREAM etcd:SEGMENT/OBJECT",
    .summary = "carry a queue to etcd, each item once; or a live stream",
    .notes = "The items come to the queue on etcd once and in order, whatever is killed. While\n"
             "etcd is away, or full, they wait in shared memory, up to the queue's capacity.\n"
             "The bridge is the only consumer, and ends when the queue is shut down and\n"
             "drained. Of a stream it carries what comes, in about 20 blocks a second, and\n"
             "counts what is lost.",
    .options = options,
    .run = run,
};
