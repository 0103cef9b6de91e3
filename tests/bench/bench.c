/* make bench: the command. */
#include "without.h"

#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct settings bench = {.seconds = 0.2, .rounds = 5};

static const struct workload {
    const char *name, *summary;
    void (*run)(void);
} workloads[] = {
    {"W1", "items from one process to another, in millions a second", run_w1},
    {"W2", "three producers, one consumer, one place between them", run_w2},
    {"W3", "a round trip, awake and asleep", run_w3},
    {"W4", "what an operation costs alone, in time and in instructions", run_w4},
    {"W5", "waking 2 to 500 processes at once", run_w5},
    {"W6", "n locks that n processes want", run_w6},
    {"W7", "LIFO and PRIORITY, with few and many items held", run_w7},
    {"W8", "what readers of a stream cost its writer", run_w8},
    {"W9", "what many segments, objects and members cost", run_w9},
    {"W10", "what a read under a rwlock costs, with one and two readers", run_w10},
    {"W11", "a job leased and acknowledged, beside a get, and beside Redis", run_w11},
    {"W12", "the newest value, got and set, beside a copy under a mutex", run_w12},
#ifdef HAVE_PYTHON_MODULE
    {"W13", "shmkit for Python, beside multiprocessing", run_w13},
#endif
#ifdef HAVE_ETCD_LIBRARY
    {"W14", "a queue and a lock on etcd, beside bare transactions", run_w14},
#endif
    {"idle", "what 1000 sleepers cost", run_idle},
};

static void usage(FILE *file)
{
    fprintf(
        file,
        "Usage: bench [OPTION...]\n\n"
        "Measure shmkit, what people would otherwise use, and what the machine can do, turn by "
        "turn.\n\n"
        "  -s, --seconds=S      how long one measurement lasts (%g)\n"
        "  -r, --rounds=N       how many turns each subject gets (%u)\n"
        "  -f, --filter=TEXT    only rows with TEXT in WORKLOAD/ROW/PLACE, such as W1/8 or\n"
        "                       /pinned; several with commas\n"
        "  -q, --quick          a fifth of the time, for a first impression: too short for\n"
        "                       verdicts to mean much\n"
        "  -o, --ours           shmkit's subjects alone\n"
        "      --smoke          everything once, as short as can be: does it still work?\n"
        "  -j, --json=FILE      the figures of every round, too; - for standard output instead\n"
        "                       of the table\n"
        "  -p, --plot=FILE      a picture of the main rows (SVG), with gnuplot\n"
        "  -R, --results=FILE   the long account (Markdown): machine, rows, verdicts, causes\n"
        "  -w, --without=NAMES  what each of these heuristics brings, with commas, or all: only\n"
        "                       in tests/bench/bench-without; --without=list names them\n"
        "  -l, --list           the workloads\n"
        "  -h, --help\n\n"
        "The environment sets the defaults: BENCH_SECONDS, BENCH_ROUNDS, BENCH_FILTER,\n"
        "BENCH_WITHOUT.\n"
        "Exit status: 0 measured, 1 something could not be measured at all, 2 usage,\n"
        "130 interrupted.\n",
        bench.seconds, bench.rounds);
}

static double positive(const char *text, const char *what, double at_most)
{
    char *end;
    double value = strtod(text, &end);

    if (*end || end == text || !(value > 0) || value > at_most) {
        fprintf(stderr, "bench: %s is a number above 0, up to %g, not '%s'\n", what, at_most, text);
        exit(2);
    }
    return value;
}

static void list_workloads(void)
{
    for (size_t i = 0; i < sizeof(workloads) / sizeof(*workloads); i++) {
#ifdef HAVE_ETCD_LIBRARY
        if (workloads[i].run == run_w14 && !w14_is_there())
            continue;
#endif
        printf("%-4s %s\n", workloads[i].name, workloads[i].summary);
    }
}

void peers_text(char *text, size_t size)
{
    snprintf(text, size,
             "Beside: pipe, seqpacket socket, POSIX mq, textbook rings and pairs"
#ifdef HAVE_BOOST
             ", Boost.Interprocess"
#endif
#ifdef HAVE_ZEROMQ
             ", ZeroMQ"
#endif
#ifdef HAVE_NNG
             ", nng"
#endif
#ifdef HAVE_CK
             ", ck_ring"
#endif
#ifdef PYTHON
             ", Python"
#endif
#ifdef REDIS_SERVER
             ", Redis"
#endif
#ifdef HAVE_ETCD_LIBRARY
             ", etcd"
#endif
             ". Not there:"
#ifndef HAVE_BOOST
             " Boost.Interprocess,"
#endif
#ifndef HAVE_ZEROMQ
             " ZeroMQ,"
#endif
#ifndef HAVE_NNG
             " nng,"
#endif
#ifndef HAVE_CK
             " ck_ring,"
#endif
#ifndef PYTHON
             " Python,"
#endif
#ifndef REDIS_SERVER
             " Redis,"
#endif
#ifndef HAVE_ETCD_LIBRARY
             " etcd,"
#endif
             " iceoryx (it needs a daemon of its own).");
}

static void find_cpus(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) < 0) {
        perror("bench: sched_getaffinity");
        exit(1);
    }
    bench.cpus = (unsigned)CPU_COUNT(&set);
    for (int cpu = 0, found = 0; cpu < CPU_SETSIZE && found < 2; cpu++) {
        if (CPU_ISSET(cpu, &set))
            bench.cpu[found++] = cpu;
    }
    if (bench.cpus < 2)
        bench.cpu[1] = bench.cpu[0];
}

/* Where to write what; NULL: nowhere. */
struct files {
    const char *json, *plot, *results;
};

static void read_without(const char *names)
{
    if (strcmp(names, "list") == 0) {
        without_list();
        exit(0);
    }
    if (!without_parse(names)) {
        fprintf(stderr,
                "bench: cannot do without '%s': --without=list; and only "
                "tests/bench/bench-without can (make bench-without)\n",
                names);
        exit(2);
    }
}

static void read_options(int argc, char **argv, struct files *files)
{
    static const struct option options[] = {
        {"seconds", required_argument, NULL, 's'},
        {"rounds", required_argument, NULL, 'r'},
        {"filter", required_argument, NULL, 'f'},
        {"quick", no_argument, NULL, 'q'},
        {"smoke", no_argument, NULL, 'S'},
        {"json", required_argument, NULL, 'j'},
        {"plot", required_argument, NULL, 'p'},
        {"results", required_argument, NULL, 'R'},
        {"without", required_argument, NULL, 'w'},
        {"list", no_argument, NULL, 'l'},
        {"ours", no_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "s:r:f:oqj:p:R:w:lh", options, NULL)) != -1) {
        switch (option) {
        case 's':
            bench.seconds = positive(optarg, "--seconds", 3600);
            break;
        case 'r':
            bench.rounds = (unsigned)positive(optarg, "--rounds", 64);
            break;
        case 'f':
            bench.filter = optarg;
            break;
        case 'o':
            bench.ours = true;
            break;
        case 'q':
            bench.seconds /= 5;
            break;
        case 'S':
            bench.smoke = true;
            break;
        case 'j':
            files->json = optarg;
            break;
        case 'p':
            files->plot = optarg;
            break;
        case 'R':
            files->results = optarg;
            break;
        case 'w':
            read_without(optarg);
            break;
        case 'l':
            list_workloads();
            exit(0);
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(2);
        }
    }
    if (optind < argc || bench.rounds == 0) {
        usage(stderr);
        exit(2);
    }
    if (bench.smoke) {
        bench.seconds = 0.002;
        bench.rounds = 1;
    }
}

static void read_environment(void)
{
    const char *text;

    if ((text = getenv("BENCH_SECONDS")) && *text)
        bench.seconds = positive(text, "BENCH_SECONDS", 3600);
    if ((text = getenv("BENCH_ROUNDS")) && *text)
        bench.rounds = (unsigned)positive(text, "BENCH_ROUNDS", 64);
    bench.filter = getenv("BENCH_FILTER");
    if ((text = getenv("BENCH_WITHOUT")) && *text)
        read_without(text);
}

static void report(const double others[2])
{
    char peers[400];

    peers_text(peers, sizeof(peers));
    printf("make bench: %u rounds of %g s, %u CPUs; three times as many where a few percent decide "
           "(W3, W6 64), twice\n"
           "as many where a figure spreads. Medians; spread: between the quarters; the ratios to "
           "the best peer that can\n"
           "sleep and to the limit are medians of the rounds' own.\n%s\n",
           bench.rounds, bench.seconds, bench.cpus, peers);
    quiet_say_others("Before", others[0]);
    if (bench.without) {
        report_without();
    } else {
        report_table();
        report_spreads();
        report_verdicts();
    }
    if (!interrupted())
        quiet_say_others("Afterwards", others[1]);
    quiet_say_speed();
}

int main(int argc, char **argv)
{
    struct files files = {0};
    double others[2];
    bool well = true;

    read_environment();
    read_options(argc, argv, &files);
    find_cpus();
    team_start();
    unsetenv("SHK_SPIN");
    others[0] = quiet_others();
    for (size_t i = 0; i < sizeof(workloads) / sizeof(*workloads) && !interrupted(); i++)
        workloads[i].run();
    others[1] = interrupted() ? NAN : quiet_others();

    if (!files.json || strcmp(files.json, "-") != 0)
        report(others);
    if (files.json)
        well = report_json(files.json) && well;
    if (files.results && !interrupted())
        well = report_results(files.results, others) && well;
    if (files.plot && !interrupted())
        report_plot(files.plot);
    if (interrupted()) {
        fprintf(stderr, "bench: interrupted: what is there is not all\n");
        return 130;
    }
    if (report_failures() && bench.smoke)
        well = false;
    return well ? 0 : 1;
}
