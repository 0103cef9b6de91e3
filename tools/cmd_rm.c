/* shmctl rm: remove segments and objects. */
#include "common.h"
#include "describe.h"
#include "shmctl.h"

#include <errno.h>
#include <sys/stat.h>

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

/* The library knows why it refuses; which user may remove the name, and how, is said here. */
static int failed_to_remove(const struct path *path, int error, bool force)
{
    char file[sizeof("/dev/shm/") + SHK_SEGMENT_NAME_MAX];
    char user[DESCRIPTION_MAX];
    struct stat st;

    snprintf(file, sizeof(file), "/dev/shm/%s", path->segment);
    if (!*path->object && (error == -EPERM || error == -EACCES) && lstat(file, &st) == 0 &&
        st.st_uid != geteuid() && geteuid() != 0) {
        complain(path->text, "segment %s belongs to %s (%u); only that user and root may remove it",
                 path->segment, user_name(user, st.st_uid), (unsigned)st.st_uid);
        return STATUS_FAILED;
    }
    if (!*path->object && !force && error != -ENOENT) {
        complain(path->text, "%s; 'shmctl rm -f %s' removes it all the same", shk_last_error(),
                 path->text);
        return STATUS_FAILED;
    }
    return failed(path->text, error);
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
        if (*path.object)
            r = remove_object(&path, flags);
        else
            r = force ? shk_segment_unlink_any(path.segment) : shk_segment_unlink(path.segment);
        if (r < 0 && !(force && r == -ENOENT))
            status = failed_to_remove(&path, r, force);
    }
    return status;
}

static const struct option_row options[] = {
    {'f', "force", NULL, "also what is damaged or no segment; absent is no error"},
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_rm = {
    .name = "rm",
    .arguments = "[OPTION...] PATH...",
    .summary = "remove segments or objects, used or not",
    .notes = "Processes that use them are woken and told that they are gone.",
    .options = options,
    .run = run,
};
