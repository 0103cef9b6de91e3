/* shmctl doctor: what keeps processes from sharing memory here, and what helps. */
#include "common.h"
#include "describe.h"
#include "logind.h"
#include "print.h"
#include "quantity.h"
#include "report.h"
#include "shmctl.h"
#include "table.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define DIRECTORY          "/dev/shm"
#define DEFAULT_SIZE       ((rlim_t)1 << 30) /* of a segment */
#define FIRST_REGULAR_USER 1000
#define PUT_WAIT_MAX       SHK_SEC(1) /* of a producer at a full queue */

/* What may be written into depends on the mount, too, and there chmod is in vain. */
static void check_access(struct report *report)
{
    if (access(DIRECTORY, W_OK | X_OK) == 0)
        return;
    found(report, DIRECTORY,
          errno == EROFS ? "as root: mount -o remount,rw " DIRECTORY
                         : "as root: chmod 1777 " DIRECTORY,
          "no segment can be created: %s", strerror(errno));
}

static void check_room(struct report *report, const struct statfs *fs)
{
    char *larger = print_to_memory(
        "remove what is not needed (shmctl clean; shmctl ls --all), or make it "
        "larger, as root: mount -o remount,size=%lluK " DIRECTORY ", in a container: --shm-size",
        (unsigned long long)fs->f_blocks * (unsigned long long)fs->f_bsize / 512);
    char *more = print_to_memory(
        "remove files in it, or, as root: mount -o remount,nr_inodes=%llu " DIRECTORY,
        (unsigned long long)fs->f_files * 2);
    uint64_t total = (uint64_t)fs->f_blocks * (uint64_t)fs->f_bsize;
    int percent = fs->f_blocks ? (int)(100 - fs->f_bavail * 100 / fs->f_blocks) : 0;
    char size[QUANTITY_MAX];

    found(report, DIRECTORY, percent < 90 ? NULL : larger, "%s, %d %% in use",
          total ? format_size(size, total) : "no limit", percent);
    if (fs->f_files && fs->f_ffree == 0)
        found(report, DIRECTORY, more, "it cannot hold one more file");
    free(larger);
    free(more);
}

static void check_directory(struct report *report)
{
    struct statfs fs;

    if (statfs(DIRECTORY, &fs) != 0)
        found(report, DIRECTORY,
              errno == ENOENT ? "as root: mkdir " DIRECTORY
                                "; mount -t tmpfs -o mode=1777 tmpfs " DIRECTORY
                              : "as root: mount -t tmpfs -o mode=1777 tmpfs " DIRECTORY,
              "%s", strerror(errno));
    else if (fs.f_type != TMPFS_MAGIC)
        found(report, DIRECTORY, "as root: mount -t tmpfs -o mode=1777 tmpfs " DIRECTORY,
              "no tmpfs is mounted here: segments would be files on a disk");
    else {
        check_access(report);
        check_room(report, &fs);
    }
}

/* letter: of ulimit. A process may go up to its hard limit, and only root may raise that. */
static void check_limit(struct report *report, int resource, const char *name, char letter,
                        const char *systemd)
{
    struct rlimit limit;
    char size[QUANTITY_MAX];
    char *fix;

    if (getrlimit(resource, &limit) != 0)
        return;
    if (limit.rlim_cur == RLIM_INFINITY) {
        found(report, name, NULL, "no limit");
        return;
    }
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max >= DEFAULT_SIZE)
        fix =
            print_to_memory("ulimit -S -%c $(ulimit -H -%c), or smaller segments", letter, letter);
    else
        fix = print_to_memory(
            "smaller segments (shmctl create segment --segment-size); the hard limit, which "
            "only root raises, comes from limits.conf(5) or systemd's %s=",
            systemd);
    found(report, name, limit.rlim_cur < DEFAULT_SIZE ? fix : NULL,
          "%s, and a segment wants 64G of address space, at least 1G, if nothing else is said",
          format_size(size, limit.rlim_cur));
    free(fix);
}

static void check_logind(struct report *report)
{
    if (geteuid() < FIRST_REGULAR_USER)
        found(report, "RemoveIPC", NULL, "not for system users");
    else if (logind_removes_ipc())
        found(report, "RemoveIPC",
              "RemoveIPC=no in /etc/systemd/logind.conf and, as root, systemctl restart "
              "systemd-logind; or let "
              "the programs run as a system user",
              "systemd removes your segments when your last session ends, used or not");
    else
        found(report, "RemoveIPC", NULL, "segments outlive your sessions");
}

static uint64_t our_namespace(void)
{
    struct stat st;

    return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

/* "shmctl rm -f bank", for a user that may; or which user may. */
static char *way_to_remove(const struct shk_segment_info *s, const char *verb)
{
    char user[DESCRIPTION_MAX];

    if (s->uid == geteuid())
        return print_to_memory("shmctl %s %s", verb, s->name);
    if (geteuid() == 0)
        return print_to_memory("shmctl %s %s%s", verb,
                               strcmp(verb, "clean") == 0 ? "--any-owner " : "", s->name);
    return print_to_memory("as %s, whose segment it is, shmctl %s %s", user_name(user, s->uid),
                           verb, s->name);
}

static void check_segment(struct report *report, const struct shk_segment_info *s)
{
    char *about = print_to_memory("segment %s", s->name);
    char *way = way_to_remove(s, "rm -f");
    char *clean_way = way_to_remove(s, "clean");
    char *fix = print_to_memory("if it is not needed: %s", way);
    char *clean = print_to_memory("if what is in it is not needed: %s", clean_way);
    char *foreign =
        print_to_memory("if its container has ended: %s; else run all its users in one pid "
                        "namespace, such as docker run --pid=container:NAME",
                        way);
    char *same = print_to_memory("run all its users with one version of shmkit and one C library; "
                                 "if what is in it is not needed: %s",
                                 way);
    char *larger = print_to_memory("%s, and create it with a larger --max-members", way);

    if (s->state == SHK_SEGMENT_MISMATCH)
        found(report, about, same, "%s", s->problem);
    else if (s->state == SHK_SEGMENT_CORRUPT)
        found(report, about, fix, "%s", s->problem);
    else if (s->state == SHK_SEGMENT_GOOD && s->namespace_ && our_namespace() &&
             s->namespace_ != our_namespace())
        found(report, about, foreign,
              "it is of another pid namespace, and can only be read from here");
    else if (s->state == SHK_SEGMENT_GOOD && s->members_dead && !s->members_alive)
        found(report, about, clean, "all its members are dead (%" PRIu32 ")", s->members_dead);
    else if (s->state == SHK_SEGMENT_GOOD && s->members_alive == s->max_members)
        found(report, about, larger, "it has %" PRIu32 " members and room for no more",
              s->members_alive);
    else if (s->state == SHK_SEGMENT_GOOD)
        found(report, about, NULL, "members: %" PRIu32 " alive, %" PRIu32 " dead", s->members_alive,
              s->members_dead);
    free(about);
    free(way);
    free(clean_way);
    free(fix);
    free(clean);
    free(foreign);
    free(larger);
    free(same);
}

/* Of those that wait to put: how many, and the longest wait in nanoseconds. */
static size_t waiting_producers(const struct shk_snapshot *snapshot, const char *queue,
                                int64_t *longest)
{
    const struct shk_member_info **waiters;
    size_t all = list_waiters(snapshot, queue, &waiters), n = 0;

    *longest = 0;
    for (size_t i = 0; i < all; i++) {
        if (waiters[i]->waits_for != SHK_WAITS_TO_PUT)
            continue;
        n++;
        *longest = waiters[i]->waiting > *longest ? waiters[i]->waiting : *longest;
    }
    free(waiters);
    return n;
}

/* As a put finds it: in items, of which leased ones count, too, or in bytes. */
static bool is_full(const struct shk_object_info *o)
{
    return o->kind == SHK_KIND_QUEUE && !o->as.queue.shut_down &&
           ((o->as.queue.capacity &&
             o->as.queue.size + o->as.queue.leased >= o->as.queue.capacity) ||
            (o->as.queue.capacity_bytes && o->as.queue.bytes >= o->as.queue.capacity_bytes));
}

/* "3 items, 2 leased, 12 bytes" */
static char *describe_content(const struct shk_object_info *o)
{
    char leased[40] = "", bytes[40] = "";

    if (o->as.queue.leased)
        snprintf(leased, sizeof(leased), ", %" PRIu32 " leased", o->as.queue.leased);
    if (o->as.queue.capacity_bytes)
        snprintf(bytes, sizeof(bytes), ", %" PRIu64 " bytes", o->as.queue.bytes);
    return print_to_memory("%" PRIu64 " item%s%s%s", o->as.queue.size,
                           o->as.queue.size == 1 ? "" : "s", leased, bytes);
}

/*
 * A queue that is full slows its producers down, as it should. It is a problem if one of them has
 * been waiting for longer than a consumer at work takes for an item.
 */
static void check_queue(struct report *report, const struct shk_snapshot *snapshot,
                        const struct shk_object_info *o)
{
    const char *segment = shk_snapshot_segment(snapshot)->name;
    char duration[QUANTITY_MAX], consumer[DESCRIPTION_MAX] = "";
    char *about = print_to_memory("queue %s/%s", segment, o->name);
    char *fix = print_to_memory("let more consumers take from it; 'shmctl why %s' tells what its "
                                "producers wait for, 'shmctl peek %s/%s' what is in it",
                                segment, segment, o->name);
    char *content = describe_content(o);
    int64_t longest;
    size_t n = waiting_producers(snapshot, o->name, &longest);

    if (o->as.queue.consumer)
        describe_member_id(consumer, snapshot, o->as.queue.consumer);
    found(report, about, n && longest >= PUT_WAIT_MAX ? fix : NULL,
          "full (%s); producers that wait: %zu%s%s%s%s", content, n, n ? ", for up to " : "",
          n ? format_duration(duration, longest) : "",
          *consumer ? "; its consumer side is kept by " : "", consumer);
    free(about);
    free(fix);
    free(content);
}

static void check_queues(struct report *report, const char *segment)
{
    const struct shk_object_info *o;
    struct shk_snapshot *snapshot;

    if (shk_snapshot_open(segment, &snapshot) != 0)
        return; /* it has gone in between */
    for (size_t i = 0; (o = shk_snapshot_object(snapshot, i)); i++) {
        if (is_full(o))
            check_queue(report, snapshot, o);
    }
    shk_snapshot_close(snapshot);
}

static int check_segments(struct report *report)
{
    struct shk_segment_info *list;
    ssize_t n = shk_segment_list(0, &list);

    if (n < 0)
        return failed("segments", (int)n);
    for (ssize_t i = 0; i < n; i++)
        check_segment(report, &list[i]);
    for (ssize_t i = 0; i < n; i++) {
        if (list[i].state == SHK_SEGMENT_GOOD)
            check_queues(report, list[i].name);
    }
    free(list);
    return STATUS_DONE;
}

static int check_machine(struct report *report)
{
    check_directory(report);
    check_limit(report, RLIMIT_FSIZE, "file size limit", 'f', "LimitFSIZE");
    check_limit(report, RLIMIT_AS, "address space limit", 'v', "LimitAS");
    check_logind(report);
    return check_segments(report);
}

static int run(const struct command *command, int argc, char **argv)
{
    struct table_style style = {0};
    struct report report = {0};
    int status;
    int key;

    while ((key = next_option(command, argc, argv)) != -1)
        table_option(&style, key);
    check_operands(argc, 0, 1);
    if (optind < argc && !is_all_of_etcd(argv[optind]))
        usage_error("'%s': doctor looks at this machine, or with etcd: at the servers of etcd",
                    argv[optind]);
    if (style.json || style.raw || style.output)
        report.table = table_new(&finding_table, "STATE,ABOUT,FINDING,FIX", &style);
    status = optind < argc ? check_etcd(&report) : check_machine(&report);
    if (report.table && status == STATUS_DONE)
        status = table_print(report.table);
    table_free(report.table);
    return status == STATUS_DONE && report.problems ? STATUS_FAILED : status;
}

static const struct option_row options[] = {TABLE_ROWS, {0}};

const struct command cmd_doctor = {
    .name = "doctor",
    .arguments = "[OPTION...] [etcd:]",
    .summary = "find what keeps processes from sharing, tell what helps",
    .notes = "With etcd: it looks at the servers that ETCDCTL_ENDPOINTS names: which answer,\n"
             "whether they are a majority, how large their databases are and may be, whether\n"
             "history is compacted, how long a write takes.\n\n"
             "Exit status: 1 if there is a problem.",
    .options = options,
    .tables = (const struct table_kind *const[]){&finding_table, NULL},
    .run = run,
};
