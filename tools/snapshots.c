#include "snapshots.h"

#include "quantity.h"

#include <shmkit/inspect.h>

#include <errno.h>
#include <stdlib.h>

/* A growing array with NULL at its end. */
struct taken {
    struct shk_snapshot **list;
    size_t n;
};

static void add(struct taken *taken, struct shk_snapshot *snapshot)
{
    struct shk_snapshot **more = allocate(taken->n + 2, sizeof(struct shk_snapshot *));

    for (size_t i = 0; i < taken->n; i++)
        more[i] = taken->list[i];
    free(taken->list);
    taken->list = more;
    if (snapshot)
        taken->list[taken->n++] = snapshot;
}

static int take_one(struct taken *taken, const char *segment)
{
    struct shk_snapshot *snapshot;
    int r = shk_snapshot_open(segment, &snapshot);

    if (r == 0)
        add(taken, snapshot);
    return r;
}

/* flags: SHK_LIST_ETCD or 0. */
static int take_listed(struct taken *taken, unsigned flags)
{
    struct shk_segment_info *list;
    struct shk_snapshot *snapshot;
    ssize_t n = shk_segment_list(flags, &list);
    char *name;

    if (n < 0)
        return (int)n;
    for (ssize_t i = 0; i < n; i++) {
        /* with its slash one in shared memory may be called as one on etcd */
        name = print_to_memory("%s%s", flags ? "" : "/", list[i].name);
        /* One that goes away in between is not worth a word. */
        if (shk_snapshot_open(name, &snapshot) == 0)
            add(taken, snapshot);
        free(name);
    }
    free(list);
    return 0;
}

struct shk_snapshot **try_snapshots(const char *operand, int *error)
{
    struct taken taken = {0};
    struct path path;

    add(&taken, NULL);
    if (operand && !is_all_of_etcd(operand)) {
        parse_path(operand, &path);
        if (*path.object)
            usage_error("'%s' is an object, not a segment", operand);
        *error = take_one(&taken, path.segment);
    } else {
        *error = take_listed(&taken, operand ? SHK_LIST_ETCD : 0);
    }
    return taken.list;
}

struct shk_snapshot **take_snapshots(const char *operand, int *status)
{
    int error;
    struct shk_snapshot **list = try_snapshots(operand, &error);

    *status = error ? snapshots_failed(operand, error) : STATUS_DONE;
    return list;
}

struct shk_snapshot **take_all_snapshots(const char *on_etcd, int *error)
{
    struct taken taken = {0};

    add(&taken, NULL);
    *error = take_listed(&taken, 0);
    if (on_etcd && *error == 0)
        *error = is_all_of_etcd(on_etcd) ? take_listed(&taken, SHK_LIST_ETCD)
                                         : take_one(&taken, on_etcd);
    return taken.list;
}

int snapshots_failed(const char *operand, int error)
{
    struct path path;

    if (operand == NULL)
        return failed("segments", error);
    if (is_all_of_etcd(operand))
        return failed("segments on etcd", error);
    parse_path(operand, &path);
    return failed(path.segment, error);
}

void drop_snapshots(struct shk_snapshot **snapshots)
{
    for (struct shk_snapshot **snapshot = snapshots; *snapshot; snapshot++)
        shk_snapshot_close(*snapshot);
    free(snapshots);
}

/* ---- Looks that go on ---- */

int look_once(const struct look *l)
{
    int r;

    if (l->outlives_signals)
        return interrupted() ? -EINTR : l->look(l->arg);
    r = let_interrupts_kill(true) ? -EINTR : l->look(l->arg);
    let_interrupts_kill(false);
    return r;
}

int look_until_it_answers(const char *operand, int64_t interval, const struct look *l)
{
    char every[QUANTITY_MAX];
    int64_t since = 0, begun = monotonic_now();
    int r;

    while ((r = look_once(l)) == -EHOSTUNREACH) {
        if (!since)
            complain(operand, "%s; it is asked again every %s", shk_last_error(),
                     format_duration(every, interval));
        since = begun;
        if (!sleep_until(monotonic_now() + interval))
            return -EINTR;
    }
    if (r == 0 && since)
        complain(operand, "reached again after %.1f s",
                 (double)(monotonic_now() - since) / SHK_SEC(1));
    return r;
}
