#include "arguments.h"
#include "output.h"

#include <shmkit.h>

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void exit_usage(void)
{
    complain("try '%s --help'", program_name);
    exit(USAGE);
}

static int64_t parse_number(const struct option_row *row, const char *text)
{
    int64_t most = row->most ? row->most : INT64_MAX;
    char *end;
    long long number;

    errno = 0;
    number = strtoll(text, &end, 10);
    if (end == text || *end)
        complain("--%s: '%s' is not a whole number", row->name, text);
    else if (number < row->least || (number < 0 && errno == ERANGE))
        complain("--%s: %s is less than %lld", row->name, text, (long long)row->least);
    else if (number > most || errno == ERANGE)
        complain("--%s: %s is more than %lld", row->name, text, (long long)most);
    else
        return number;
    exit_usage();
}

static uint32_t parse_order(const struct option_row *row, const char *text)
{
    static const char *const orders[] = {
        [SHK_FIFO] = "fifo", [SHK_LIFO] = "lifo", [SHK_PRIORITY] = "priority"};

    for (uint32_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
        if (strcmp(text, orders[i]) == 0)
            return i;
    }
    complain("--%s: there is no order '%s'; fifo, lifo and priority are", row->name, text);
    exit_usage();
}

/* Seconds, or with a unit. 30 years are taken for a typing error. */
static int64_t parse_duration(const struct option_row *row, const char *text)
{
    static const struct {
        const char *name;
        double nanoseconds;
    } units[] = {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"min", 60e9}};
    size_t digits = strspn(text, "0123456789.");
    char *end;
    double value = strtod(text, &end);

    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (digits == 0 || end != text + digits || strcmp(end, units[i].name) != 0)
            continue;
        if (value * units[i].nanoseconds > 1e18)
            break;
        return value * units[i].nanoseconds;
    }
    complain("--%s: '%s' is not a duration such as 0.2, 200ms or 2s", row->name, text);
    exit_usage();
}

static _Noreturn void exit_help(const struct program *program)
{
    const struct option_row *row;

    printf("Usage: %s [OPTION]... %s\n%s\n\nOptions:\n", program->name, program->operand,
           program->purpose);
    for (row = program->options; row->name; row++) {
        int width = printf("  --%s%s%s", row->name, row->argument ? " " : "",
                           row->argument ? row->argument : "");
        const char *line = row->help;

        for (;;) {
            int length = strcspn(line, "\n");

            printf("%*s%.*s\n", width < 24 ? 24 - width : 1, "", length, line);
            if (!line[length])
                break;
            line += length + 1;
            width = 0;
        }
    }
    printf("  --help                this text\n"
           "  --version             the version of shmkit\n"
           "\n%s\n"
           "A DURATION is in seconds (0.2), or has a unit (200ms, 2s, 1min).\n"
           "\n"
           "Exit status: 0 done, 1 failed, 2 wrong usage, 3 would block or timed out,\n"
           "4 no such object (any more), 5 shut down.\n",
           program->notes);
    exit(fflush(stdout) == 0 ? DONE : FAILED);
}

static _Noreturn void exit_version(const struct program *program)
{
    printf("%s (shmkit) %s\n", program->name, PACKAGE_VERSION);
    exit(fflush(stdout) == 0 ? DONE : FAILED);
}

char **parse_arguments(int argc, char **argv, const struct program *program)
{
    enum { MOST_OPTIONS = 16, HELP = MOST_OPTIONS, VERSION };
    struct option options[MOST_OPTIONS + 3] = {{0}};
    const struct option_row *rows = program->options;
    int n = 0, i;

    for (; n < MOST_OPTIONS && rows[n].name; n++)
        options[n] =
            (struct option){rows[n].name, rows[n].flag ? no_argument : required_argument, NULL, n};
    options[n] = (struct option){"help", no_argument, NULL, HELP};
    options[n + 1] = (struct option){"version", no_argument, NULL, VERSION};

    argv[0] = (char *)program->name; /* getopt_long() begins its messages with it */
    while ((i = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (i == HELP)
            exit_help(program);
        if (i == VERSION)
            exit_version(program);
        if (i == '?')
            exit_usage();
        if (rows[i].flag)
            *rows[i].flag = true;
        else if (rows[i].text)
            *rows[i].text = optarg;
        else if (rows[i].order)
            *rows[i].order = parse_order(&rows[i], optarg);
        else if (rows[i].number)
            *rows[i].number = parse_number(&rows[i], optarg);
        else
            *rows[i].duration = parse_duration(&rows[i], optarg);
    }
    if (argc == optind || (argc - optind > 1 && !program->several)) {
        complain(argc == optind ? "%s is missing" : "too many arguments: one %s is wanted",
                 program->operand);
        exit_usage();
    }
    return argv + optind;
}
