#include "open.h"
#include "describe.h"
#include "origin.h"

#include <shmkit/inspect.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* False: it is an option of the verb's own. */
static bool acting_option(struct acting *acting, int key)
{
    switch (key) {
    case 't':
        acting->timeout = parse_timeout(optarg);
        return true;
    case OPTION_NOWAIT:
        acting->timeout = SHK_NOWAIT;
        return true;
    case OPTION_ANY_OWNER:
        acting->flags |= SHK_ANY_OWNER;
        return true;
    case OPTION_NO_CREATE:
        acting->flags &= ~SHK_CREATE;
        return true;
    }
    return false;
}

int next_own_option(const struct command *command, int argc, char **argv, struct acting *acting)
{
    int key;

    do
        key = next_option(command, argc, argv);
    while (key != -1 && acting_option(acting, key));
    return key;
}

/* ---- opening ---- */

int open_any_queue(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    return shk_queue_open(segment, name, flags, NULL, to);
}

int open_or_make_segment(const char *name, unsigned any_owner,
                         const struct shk_segment_options *options, bool *made,
                         struct shk_segment **segment)
{
    int r;

    do {
        r = shk_segment_open(name, any_owner, NULL, segment);
        *made = r == -ENOENT;
        if (*made)
            r = shk_segment_open(name, SHK_CREATE | SHK_EXCL | any_owner, options, segment);
    } while (*made && r == -EEXIST); /* another process was faster */
    /* One that a container left behind is replaced by the library if none of its members lives. */
    if (r == -EXDEV)
        r = shk_segment_open(name, SHK_CREATE | any_owner, options, segment);
    return r;
}

void unmake_segment(const char *name, unsigned any_owner)
{
    shk_segment_unlink_unused(name, SHK_EMPTY | any_owner);
}

/* On a terminal a mistyped name is seen so; the output of a script stays as it is. */
static void tell_created(const struct opening *o)
{
    if (isatty(STDERR_FILENO))
        complain(o->path->text, "%s created", o->kind);
}

static int open_or_make_object(const struct opening *o, struct shk_segment *segment)
{
    bool made;
    int r;

    do {
        r = o->open(segment, o->path->object, 0, o->to);
        made = r == -ENOENT && o->flags & SHK_CREATE;
        if (made)
            r = o->open(segment, o->path->object, SHK_CREATE | SHK_EXCL, o->to);
    } while (made && r == -EEXIST);
    if (made && r >= 0)
        tell_created(o);
    return r;
}

int open_object(const struct opening *o, struct shk_segment **segment)
{
    unsigned any_owner = o->flags & SHK_ANY_OWNER;
    bool made = false;
    int status;
    int r;

    *segment = NULL;
    if (o->flags & SHK_CREATE)
        r = open_or_make_segment(o->path->segment, any_owner, NULL, &made, segment);
    else
        r = shk_segment_open(o->path->segment, any_owner, NULL, segment);
    if (r < 0)
        return failed_to_open(o, r);
    catch_interrupts();
    set_interrupt(*segment);
    r = open_or_make_object(o, *segment);
    if (r >= 0) {
        name_member(*segment);
        return STATUS_DONE;
    }
    status = failed_to_open(o, r);
    if (made) {
        shk_segment_close(*segment);
        *segment = NULL;
        unmake_segment(o->path->segment, any_owner);
    }
    return status;
}

/* ---- a queue that is busy ---- */

/* Sleep a millisecond; false: that was a second altogether. */
static bool may_try_again(int *tries)
{
    static const struct timespec moment = {.tv_nsec = SHK_MS(1)};

    nanosleep(&moment, NULL);
    return ++*tries < 1000 && !interrupted();
}

ssize_t peek_soon(struct shk_queue *queue, const void **item, int64_t timeout)
{
    ssize_t r;
    int tries = 0;

    do
        r = shk_queue_peek(queue, item, timeout);
    while (r == -EBUSY && timeout == SHK_NOWAIT && may_try_again(&tries));
    return r;
}

ssize_t get_soon(struct shk_queue *queue, void *item, size_t size, int64_t timeout,
                 int64_t *priority)
{
    ssize_t r;
    int tries = 0;

    *priority = 0;
    do {
        r = shk_queue_get_priority(queue, item, size, timeout, priority);
        if (r == -ENOTSUP)
            r = shk_queue_get(queue, item, size, timeout);
    } while (r == -EBUSY && timeout == SHK_NOWAIT && may_try_again(&tries));
    return r;
}

/* ---- complaints ---- */

/* The segment's file, if it belongs to another user. */
static bool is_of_another_user(const struct opening *o, struct stat *st)
{
    char file[sizeof("/dev/shm/") + SHK_SEGMENT_NAME_MAX];

    snprintf(file, sizeof(file), "/dev/shm/%s", o->path->segment);
    return lstat(file, st) == 0 && st->st_uid != geteuid();
}

/* What the object is, as seen from outside. */
static bool has_kind(const struct path *path, const char **kind)
{
    const struct shk_object_info *object;
    struct shk_snapshot *snapshot;

    if (shk_snapshot_open(path->segment, &snapshot) != 0)
        return false;
    object = shk_snapshot_find_object(snapshot, path->object);
    if (object)
        *kind = kind_name(object->kind);
    shk_snapshot_close(snapshot);
    return object != NULL;
}

int failed_to_open(const struct opening *o, int error)
{
    bool refused = error == -EPERM && !(o->flags & SHK_ANY_OWNER);
    const char *path = o->path->text;
    char user[DESCRIPTION_MAX];
    const char *kind;
    struct stat st;

    if (error == -ENOENT) {
        complain(path, "no such %s; 'shmctl create %s %s%s%s' creates it", o->kind, o->kind, path,
                 o->options ? " " : "", o->options ? o->options : "");
        return STATUS_ABSENT;
    }
    if ((refused || error == -EACCES) && is_of_another_user(o, &st)) {
        user_name(user, st.st_uid);
        if (refused)
            complain(path, "segment %s belongs to %s (%u); use --any-owner if you trust that user",
                     o->path->segment, user, (unsigned)st.st_uid);
        else
            complain(path, "permission denied: segment %s belongs to %s (%u), mode %04o",
                     o->path->segment, user, (unsigned)st.st_uid, (unsigned)st.st_mode & 07777);
        return STATUS_FAILED;
    }
    if (error == -EPROTOTYPE && o->kinds && has_kind(o->path, &kind)) {
        fprintf(stderr, "shmctl: %s is a%s %s, not %s\n", path, strchr("aeiou", *kind) ? "n" : "",
                kind, o->kinds);
        return STATUS_FAILED;
    }
    return failed(path, error);
}

const char *say_time(char *buffer, int64_t nanoseconds)
{
    double seconds = nanoseconds > 0 ? (double)nanoseconds / 1e9 : 0;

    if (nanoseconds > 0 && nanoseconds % SHK_SEC(3600) == 0)
        snprintf(buffer, TIME_MAX, "%g h", seconds / 3600);
    else if (nanoseconds > 0 && nanoseconds % SHK_SEC(60) == 0)
        snprintf(buffer, TIME_MAX, "%g min", seconds / 60);
    else if (nanoseconds <= 0 || nanoseconds >= SHK_SEC(1))
        snprintf(buffer, TIME_MAX, "%g s", seconds);
    else if (nanoseconds >= SHK_MS(1))
        snprintf(buffer, TIME_MAX, "%g ms", seconds * 1e3);
    else
        snprintf(buffer, TIME_MAX, "%g us", seconds * 1e6);
    return buffer;
}

/*
 * Its holder, how full it is: what can be seen from outside, after a blank. "" if that is
 * nothing.
 */
static void describe_state(char *buffer, const struct shk_snapshot *snapshot,
                           const struct shk_object_info *object, int error)
{
    char text[DESCRIPTION_MAX];

    *buffer = '\0';
    /*
     * "held by X (4711) ..."; of a condition with the lock of another object only the holder is
     * known.
     */
    if (strncmp(describe_object(text, snapshot, object), "held by ", 8) == 0)
        strcpy(buffer, text + 4);
    else if (strncmp(text, "being done by ", 14) == 0)
        snprintf(buffer, DESCRIPTION_MAX, " %.*s", DESCRIPTION_MAX - 2, text);
    else if (object->kind == SHK_KIND_RWLOCK && object->as.rwlock.readers > 0)
        snprintf(buffer, DESCRIPTION_MAX, ": %.*s", DESCRIPTION_MAX - 3, text);
    else if ((object->kind == SHK_KIND_LOCK || object->kind == SHK_KIND_COND) && object->holder)
        snprintf(buffer, DESCRIPTION_MAX, " by %s",
                 describe_member_id(text, snapshot, object->holder));
    else if (object->kind == SHK_KIND_QUEUE && object->as.queue.capacity)
        snprintf(buffer, DESCRIPTION_MAX, " (%" PRIu64 " of %" PRIu64 " items)",
                 object->as.queue.size, object->as.queue.capacity);
    else if (object->kind == SHK_KIND_BARRIER && object->as.barrier.broken)
        snprintf(buffer, DESCRIPTION_MAX, ", and it is broken%s",
                 error == -ETIMEDOUT ? " now" : "");
    else if (object->kind == SHK_KIND_BARRIER)
        snprintf(buffer, DESCRIPTION_MAX, " (%" PRIu32 " of %" PRIu32 " have)",
                 object->as.barrier.arrived, object->as.barrier.parties);
}

int failed_to_wait(const struct path *path, const struct acting *acting, int error,
                   const char *state)
{
    const struct shk_object_info *object;
    char details[DESCRIPTION_MAX] = "";
    struct shk_snapshot *snapshot;
    char time[TIME_MAX];

    if (error == -EBUSY && acting->timeout == SHK_NOWAIT) {
        complain(path->text, "%s (--nowait)", shk_last_error());
        return STATUS_BLOCKED;
    }
    if (error != -EAGAIN && error != -ETIMEDOUT)
        return failed(path->text, error);
    if (shk_snapshot_open(path->segment, &snapshot) == 0) {
        object = shk_snapshot_find_object(snapshot, path->object);
        if (object)
            describe_state(details, snapshot, object, error);
        shk_snapshot_close(snapshot);
    }
    if (error == -EAGAIN)
        complain(path->text, "%s%s (--nowait)", state, details);
    else
        complain(path->text, "timed out after %s; %s%s", say_time(time, acting->timeout), state,
                 details);
    return STATUS_BLOCKED;
}
