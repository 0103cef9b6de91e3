/* shmctl doctor: what keeps processes from sharing memory here, and what helps. */
#include "common.h"
#include "logind.h"
#include "shmctl.h"
#include "table.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define DIRECTORY          "/dev/shm"
#define DEFAULT_SIZE       ((rlim_t)1 << 30) /* of a segment */
#define FIRST_REGULAR_USER 1000

static const struct column columns[] = {
    {"STATE", "ok or problem", 0},
    {"ABOUT", "what was looked at", 0},
    {"FINDING", "how it is", COLUMN_CUT},
    {"FIX", "what helps", COLUMN_CUT},
    {0},
};

static const struct table_kind finding_table = {"findings", columns};

struct report {
    struct table *table; /* NULL: in words, at once */
    bool problems;
};

/* One more finding; it is a problem if there is a fix. */
static void __attribute__((format(printf, 4, 5)))
found(struct report *report, const char *about, const char *fix, const char *format, ...)
{
    va_list arguments;
    char *finding;

    va_start(arguments, format);
    finding = vprint_to_memory(format, arguments);
    va_end(arguments);
    report->problems = report->problems || fix;
    if (report->table) {
        table_row(report->table);
        table_set(report->table, "STATE", "%s", fix ? "problem" : "ok");
        table_set(report->table, "ABOUT", "%s", about);
        table_set(report->table, "FINDING", "%s", finding);
        if (fix)
            table_set(report->table, "FIX", "%s", fix);
    } else {
        printf("%-7s  %s: %s\n", fix ? "problem" : "ok", about, finding);
        if (fix)
            printf("         %s\n", fix);
    }
    free(finding);
}

static void check_directory(struct report *report)
{
    char size[QUANTITY_MAX];
    struct statfs fs;
    uint64_t total;
    int percent;

    if (statfs(DIRECTORY, &fs) != 0) {
        found(report, DIRECTORY, "mount -t tmpfs tmpfs " DIRECTORY, "%s", strerror(errno));
        return;
    }
    if (fs.f_type != TMPFS_MAGIC) {
        found(report, DIRECTORY, "mount -t tmpfs tmpfs " DIRECTORY,
              "no tmpfs is mounted here: segments would be files on a disk");
        return;
    }
    if (access(DIRECTORY, W_OK | X_OK) != 0)
        found(report, DIRECTORY, "chmod 1777 " DIRECTORY, "no segment can be created: %s",
              strerror(errno));
    total = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
    percent = fs.f_blocks ? (int)(100 - fs.f_bavail * 100 / fs.f_blocks) : 0;
    found(report, DIRECTORY,
          percent < 90 ? NULL
                       : "remove what nobody needs (shmctl ls --all), or make it larger: mount -o "
                         "remount,size=..., in a container --shm-size",
          "%s, %d %% in use", total ? format_size(size, total) : "no limit", percent);
    if (fs.f_files && fs.f_ffree == 0)
        found(report, DIRECTORY, "mount -o remount,nr_inodes=... " DIRECTORY,
              "it cannot hold one more file");
}

static void check_limit(struct report *report, int resource, const char *name, const char *fix)
{
    struct rlimit limit;
    char size[QUANTITY_MAX];

    if (getrlimit(resource, &limit) != 0)
        return;
    if (limit.rlim_cur == RLIM_INFINITY)
        found(report, name, NULL, "no limit");
    else
        found(report, name, limit.rlim_cur < DEFAULT_SIZE ? fix : NULL,
              "%s, and a segment has 1G if nothing else is said",
              format_size(size, limit.rlim_cur));
}

static void check_logind(struct report *report)
{
    if (geteuid() < FIRST_REGULAR_USER)
        found(report, "RemoveIPC", NULL, "not for system users");
    else if (logind_removes_ipc())
        found(report, "RemoveIPC",
              "RemoveIPC=no in /etc/systemd/logind.conf, or let the programs run as a system user",
              "systemd removes your segments when your last session ends, whoever uses them");
    else
        found(report, "RemoveIPC", NULL, "segments outlive your sessions");
}

static uint64_t our_namespace(void)
{
    struct stat st;

    return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

static void check_segment(struct report *report, const struct shk_segment_info *s)
{
    char *about = print_to_memory("segment %s", s->name);
    char *fix = print_to_memory("if nobody needs it: rm " DIRECTORY "/%s", s->name);
    char *unlink = print_to_memory("if nobody needs what is in it: shmctl clean %s", s->name);

    if (s->state == SHK_SEGMENT_MISMATCH || s->state == SHK_SEGMENT_CORRUPT)
        found(report, about, fix, "%s", s->problem);
    else if (s->state == SHK_SEGMENT_GOOD && s->namespace_ && our_namespace() &&
             s->namespace_ != our_namespace())
        found(report, about,
              "run all its users in one pid namespace, such as docker run --pid=container:NAME",
              "it is of another pid namespace, and can only be looked at from here");
    else if (s->state == SHK_SEGMENT_GOOD && s->members_dead && !s->members_alive)
        found(report, about, unlink, "all its members are dead (%" PRIu32 ")", s->members_dead);
    else if (s->state == SHK_SEGMENT_GOOD && s->members_alive == s->max_members)
        found(report, about, "create it with a larger --max-members",
              "it has %" PRIu32 " members and room for no more", s->members_alive);
    else if (s->state == SHK_SEGMENT_GOOD)
        found(report, about, NULL, "%" PRIu32 " members, %" PRIu32 " dead ones", s->members_alive,
              s->members_dead);
    free(about);
    free(fix);
    free(unlink);
}

static int check_segments(struct report *report)
{
    struct shk_segment_info *list;
    ssize_t n = shk_segment_list(0, &list);

    if (n < 0)
        return failed("segments", (int)n);
    for (ssize_t i = 0; i < n; i++)
        check_segment(report, &list[i]);
    free(list);
    return STATUS_DONE;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct table_style style = {0};
    struct report report = {0};
    int status;
    int key;

    while ((key = next_option(command, argc, argv)) != -1)
        table_option(&style, key);
    check_operands(argc, 0, 0);
    if (style.json || style.raw || style.output)
        report.table = table_new(&finding_table, "STATE,ABOUT,FINDING,FIX", &style);
    check_directory(&report);
    check_limit(&report, RLIMIT_FSIZE, "file size limit",
                "ulimit -f unlimited, or smaller segments");
    check_limit(&report, RLIMIT_AS, "address space limit",
                "ulimit -v unlimited, or smaller segments");
    check_logind(&report);
    status = check_segments(&report);
    if (report.table && status == STATUS_DONE)
        status = table_print(report.table);
    table_free(report.table);
    return status == STATUS_DONE && report.problems ? STATUS_FAILED : status;
}

static const struct option_row options[] = {TABLE_ROWS, {0}};

const struct command cmd_doctor = {
    .name = "doctor",
    .arguments = "[OPTION...]",
    .summary = "look for what keeps processes from sharing, tell what helps",
    .notes = "Exit status: 1 if there is a problem.",
    .options = options,
    .tables = (const struct table_kind *const[]){&finding_table, NULL},
    .run = run,
};
