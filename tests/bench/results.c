/* The long account, tests/bench/RESULTS.md: the machine, each row, each verdict. */
#include "report.h"

#include <math.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

/* One line of what a command prints; "" if it fails. */
static void first_line(const char *command, char *line, size_t size)
{
    FILE *pipe = popen(command, "r");

    line[0] = '\0';
    if (!pipe)
        return;
    if (!fgets(line, (int)size, pipe))
        line[0] = '\0';
    pclose(pipe);
    line[strcspn(line, "\n")] = '\0';
}

/* A line of lscpu, "not known" where there is none. */
static void write_lscpu(FILE *file, const char *what, const char *key)
{
    char command[120], line[200];

    snprintf(command, sizeof(command), "LC_ALL=C lscpu 2>/dev/null | sed -n 's/^%s: *//p'", key);
    first_line(command, line, sizeof(line));
    fprintf(file, "| %s | %s |\n", what, line[0] ? line : "not known");
}

static void write_machine(FILE *file, const double others[2])
{
    char line[200], peers[400], date[40];
    struct utsname kernel;
    time_t t = time(NULL);
    struct tm utc;

    strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", gmtime_r(&t, &utc));
    first_line("git -C '" BENCH_SRCDIR "' describe --always --dirty 2>/dev/null", line,
               sizeof(line));
    uname(&kernel);
    fprintf(file, "| | |\n| --- | --- |\n| date | %s |\n| commit | %s |\n", date,
            line[0] ? line : "not known");
    write_lscpu(file, "processor", "Model name");
    fprintf(file, "| CPUs | %u, of which CPU %d and CPU %d are used where it says \"pinned\" |\n",
            bench.cpus, bench.cpu[0], bench.cpu[1]);
    write_lscpu(file, "threads a core", "Thread(s) per core");
    write_lscpu(file, "hypervisor", "Hypervisor vendor");
    fprintf(file, "| kernel | %s %s %s |\n", kernel.sysname, kernel.release, kernel.machine);
    first_line("getconf GNU_LIBC_VERSION 2>/dev/null", line, sizeof(line));
    fprintf(file, "| C library | %s |\n", line[0] ? line : "not known");
    fprintf(file, "| other processes | %.0f %% of the CPUs before, %.0f %% afterwards |\n",
            100 * others[0], 100 * others[1]);
    fprintf(file, "| at full speed | CPU %d in %.0f %% of the checks, CPU %d in %.0f %% |\n",
            bench.cpu[0], 100 * quiet_full_speed(0), bench.cpu[1], 100 * quiet_full_speed(1));
    fprintf(file, "| each figure | %u rounds of %g s or more |\n", bench.rounds, bench.seconds);
    peers_text(peers, sizeof(peers));
    fprintf(file, "\n%s\n", peers);
    if (fmax(others[0], others[1]) > 0.05)
        fprintf(file, "\n**The machine was not quiet: do not trust the figures.**\n");
}

/* ---- Verdicts ---- */

struct account {
    FILE *file;
    unsigned judged, reached;
};

static void count_verdict(const struct verdict *v, void *arg)
{
    struct account *a = arg;

    a->judged++;
    a->reached += v->reached;
}

static void write_verdict(const struct verdict *v, void *arg)
{
    struct account *a = arg;
    char what[100], bound[80], why[200] = "";

    verdict_names(v, what, sizeof(what), bound, sizeof(bound));
    if (!v->reached)
        verdict_why(v, why, sizeof(why));
    fprintf(a->file, "| %s | %s | %s | %.3g | %s%s%s |\n", v->ours->workload, what, bound, v->value,
            v->reached ? "reached" : "**short**", why[0] ? ": " : "", why);
}

static void write_verdicts(FILE *file)
{
    struct account account = {.file = file};
    unsigned unjudged = verdicts(count_verdict, &account);

    fprintf(
        file,
        "\n## Verdicts\n\n%u of %u aims are reached%s. Ratios are medians of the rounds' own. A "
        "peer that only spins (ck_ring) and limits are not judged: see the rows.\n\n"
        "| | row | aim | is | |\n| --- | --- | --- | ---: | --- |\n",
        account.reached, account.judged,
        unjudged ? "; those of what was not measured are left out" : "");
    verdicts(write_verdict, &account);
}

/* ---- Rows ---- */

static void write_number(FILE *file, double value)
{
    if (isnan(value))
        fprintf(file, " - |");
    else
        fprintf(file, fabs(value) >= 1000 ? " %.0f |" : " %.3g |", value);
}

static void write_ratio(FILE *file, const struct series *s, const struct series *to)
{
    if (to)
        write_number(file, series_ratio(s, to, 0));
    else
        fprintf(file, " |");
}

static void write_series(FILE *file, const struct series *s, const struct series *peer,
                         const struct series *limit)
{
    bool ours = s->is & OURS;
    char cause[200];

    fprintf(file, "| %s%s%s |", ours ? "**" : "", s->subject, ours ? "**" : "");
    if (!s->rounds) {
        fprintf(file, " %s |\n", s->trouble[0] ? s->trouble : "not measured");
        return;
    }
    write_number(file, series_median(s, 0) / s->unit->scale);
    fprintf(file, " %.0f %% |", 100 * series_spread(s));
    write_ratio(file, s, peer);
    write_ratio(file, s, limit);
    for (int i = 0; i + 1 < FIGURES; i++) {
        if (s->unit->also[i])
            write_number(file, series_median(s, (unsigned)i + 1));
    }
    if (series_spread(s) > SPREAD_MAX) {
        report_cause(s, cause, sizeof(cause));
        fprintf(file, " spread: %s |", cause);
    }
    fprintf(file, "\n");
}

static void write_row(FILE *file, const struct series *first)
{
    const struct series *peer = series_best(first, PEER, SPINS), *limit = series_limit(first), *s;
    unsigned columns = 5;

    fprintf(file, "\n### %s: %s, %s\n\n| | %s | spread | to best peer%s%s%s | to limit%s%s%s |",
            first->workload, first->row, first->place, first->unit->name, peer ? " (" : "",
            peer ? peer->subject : "", peer ? ")" : "", limit ? " (" : "",
            limit ? limit->subject : "", limit ? ")" : "");
    for (int i = 0; i + 1 < FIGURES; i++) {
        if (first->unit->also[i]) {
            fprintf(file, " %s |", first->unit->also[i]);
            columns++;
        }
    }
    fprintf(file, " |\n| --- |");
    for (unsigned i = 1; i < columns; i++)
        fprintf(file, " ---: |");
    fprintf(file, " --- |\n");
    for (unsigned i = 0; (s = series_at(i)); i++) {
        if (series_same_row(s, first))
            write_series(file, s, peer, limit);
    }
}

/* ---- The main table: what README shows ---- */

static const struct column {
    const char *title, *workload, *row;
    double scale;
} columns[] = {
    {"8 bytes, M/s", "W1", "8 B", 1e6},
    {"64 bytes, M/s", "W1", "64 B", 1e6},
    {"1 KiB, M/s", "W1", "1 KiB", 1e6},
    {"3 producers, 1 place, k/s", "W2", "3 to 1, capacity 1", 1e3},
    {"round trip, us", "W3", "awake", 1e3},
};

static const char *const main_subjects[] = {
    "limit ring",           "ck_ring",        "shmkit",          "shmkit claimed",
    "shmkit batches of 32", "ZeroMQ ipc",     "nng ipc",         "Boost condition",
    "Boost message_queue",  "condition ring", "semaphore ring",  "pipe",
    "seqpacket socket",     "POSIX mq",       "Python mp.Queue",
};

static void write_main_table(FILE *file)
{
    fprintf(file, "\n## In short\n\nEach process on a CPU of its own.\n\n| |");
    for (size_t k = 0; k < COUNT(columns); k++)
        fprintf(file, " %s |", columns[k].title);
    fprintf(file, "\n| --- |");
    for (size_t k = 0; k < COUNT(columns); k++)
        fprintf(file, " ---: |");
    for (size_t i = 0; i < COUNT(main_subjects); i++) {
        fprintf(file, "\n| %s |", main_subjects[i]);
        for (size_t k = 0; k < COUNT(columns); k++) {
            double value =
                result_median(columns[k].workload, columns[k].row, "pinned", main_subjects[i], 0);
            if (isnan(value))
                fprintf(file, " |");
            else
                write_number(file, value / columns[k].scale);
        }
    }
    fprintf(file,
            "\n\nck_ring and the limit ring only spin: neither can sleep, and neither survives "
            "a kill.\n");
}

bool report_results(const char *path, const double others[2])
{
    FILE *file = fopen(path, "w");
    const struct series *s;

    if (!file) {
        perror(path);
        return false;
    }
    fprintf(file,
            "# What was measured\n\nWritten by `make bench-results`; not to be edited. What the "
            "workloads are: `make bench BENCH_FLAGS=--list`.\n\n");
    write_machine(file, others);
    write_main_table(file);
    write_verdicts(file);
    fprintf(file, "\n## Rows\n\nMedians; spread: between the quarters; ratios: medians of the "
                  "rounds' own. Units: M/s and k/s more is better, times and instr less.\n");
    for (unsigned i = 0; (s = series_at(i)); i++) {
        if (series_is_first_of_row(s))
            write_row(file, s);
    }
    return fclose(file) == 0;
}
