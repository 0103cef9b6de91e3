/* shmctl rm: remove segments and objects. */
#include "common.h"
#include "open.h"
#include "shmctl.h"

#include <errno.h>

static int remove_object(const struct path *path, unsigned flags)
{
    struct shk_segment *segment;
    int r = shk_segment_open(path->segment, flags, NULL, &segment);

    if (r < 0)
        return r;
    r = shk_object_unlink(segment, path->object);
    shk_segment_close(segment);
    return r;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct path path;
    bool force = false;
    unsigned flags = 0;
    int status = STATUS_DONE;
    int key;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == 'f')
            force = true;
        else
            flags |= SHK_ANY_OWNER;
    }
    check_operands(argc, 1, argc);
    for (int i = optind; i < argc; i++)
        parse_path(argv[i], &path);
    for (int i = optind; i < argc; i++) {
        int r;

        parse_path(argv[i], &path);
        r = *path.object ? remove_object(&path, flags) : shk_segment_unlink(path.segment);
        if (r < 0 && !(force && r == -ENOENT))
            status = failed(path.text, r);
    }
    return status;
}

static const struct option_row options[] = {
    {'f', "force", NULL, "what is absent is no error"},
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_rm = {
    .name = "rm",
    .arguments = "[OPTION...] PATH...",
    .summary = "remove segments or objects, whoever uses them",
    .notes = "Those who use them are woken and told that they are gone.",
    .options = options,
    .run = run,
};
