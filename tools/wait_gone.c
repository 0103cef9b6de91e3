#include "wait_gone.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <shmkit/inspect.h>

/* This member itself is not to be one of those, whatever its script is called. */
#define OWN_NAME "shmctl wait"

static void tell(const char *name, int32_t pid, uint32_t what)
{
    printf("%s (%" PRId32 ") %s\n", name, pid,
           what == SHK_DIED   ? "died"
           : what == SHK_LEFT ? "left"
                              : "left or died");
    fflush(stdout);
}

/* Members of that name that were dead before, and whose records are still there: how many. */
static unsigned tell_dead(const struct path *path)
{
    const struct shk_member_info *m;
    struct shk_snapshot *snapshot;
    unsigned n = 0;

    if (shk_snapshot_open(path->segment, &snapshot) != 0)
        return 0;
    for (size_t i = 0; (m = shk_snapshot_member(snapshot, i)); i++)
        if (!m->alive && strcmp(m->name, path->object) == 0) {
            tell(m->name, m->pid, SHK_DIED);
            n++;
        }
    shk_snapshot_close(snapshot);
    return n;
}

/* It is there, and the time is over. */
static int still_there(const struct path *path, const struct acting *acting, int error)
{
    char time[TIME_MAX];

    if (error == -EAGAIN)
        complain(path->text, "a member of that name is there (--nowait)");
    else if (error == -ETIMEDOUT)
        complain(path->text, "timed out after %s; a member of that name is there",
                 say_time(time, acting->timeout));
    else
        return failed(path->text, error);
    return STATUS_BLOCKED;
}

static int64_t left_of(const struct acting *acting, int64_t since)
{
    int64_t left;

    if (acting->timeout <= 0 || acting->timeout == SHK_FOREVER)
        return acting->timeout;
    left = acting->timeout - (monotonic_now() - since);
    return left > 0 ? left : -1;
}

static int wait_for_all(struct shk_member_watch *watch, const struct path *path,
                        const struct acting *acting)
{
    int64_t since = monotonic_now();
    struct shk_member_event event;
    unsigned told = 0;
    int living, r;

    for (;;) {
        /* In this order: one that dies between the two is told by the next round. */
        living = shk_member_watch_living(watch);
        if (living < 0)
            return failed(path->text, living);
        r = shk_member_watch_read(watch, &event, SHK_NOWAIT);
        if (r == -EAGAIN && living == 0)
            break;
        if (r == -EAGAIN)
            r = shk_member_watch_read(watch, &event, left_of(acting, since));
        if (r < 0)
            return still_there(path, acting, r);
        tell(event.name, event.pid, event.what);
        told++;
    }
    if (told > 0 || tell_dead(path) > 0)
        return STATUS_DONE;
    complain(path->text, "there is no member of that name");
    return STATUS_ABSENT;
}

int wait_gone(const struct path *path, const struct acting *acting)
{
    struct opening opening = {.path = path, .kind = "segment"};
    struct shk_member_watch *watch;
    struct shk_segment *segment;
    int status, r;

    r = shk_segment_open(path->segment, acting->flags & SHK_ANY_OWNER, NULL, &segment);
    if (r == -ENOENT) {
        complain(path->text, "there is no segment %s", path->segment);
        return STATUS_ABSENT;
    }
    if (r < 0)
        return failed_to_open(&opening, r);
    catch_interrupts();
    set_interrupt(segment);
    shk_set_member_name(segment, OWN_NAME);
    r = shk_member_watch_open(segment, path->object, 0, SHK_LEFT | SHK_DIED, &watch);
    status = r < 0 ? failed(path->text, r) : wait_for_all(watch, path, acting);
    if (r == 0)
        shk_member_watch_close(watch);
    shk_segment_close(segment);
    return status;
}
