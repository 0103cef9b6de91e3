#include "command.h"
#include "common.h"
#include "table.h"

#include <ctype.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 32

static const struct command *running; /* the one that has asked for its options */

static int left_column(char *buffer, size_t size, const struct option_row *row)
{
    char letter[5] = "    ";

    if (row->key <= UCHAR_MAX)
        snprintf(letter, sizeof(letter), "-%c, ", row->key);
    return snprintf(buffer, size, "  %s--%s%s%s", letter, row->name, row->argument ? " " : "",
                    row->argument ? row->argument : "");
}

static void print_options(const struct option_row *options)
{
    static const struct option_row help = {'h', "help", NULL, "print this help"};
    const struct option_row *row;
    char left[80];
    int width = left_column(left, sizeof(left), &help);

    for (row = options; row && row->name; row++) {
        int w = left_column(left, sizeof(left), row);
        width = w > width ? w : width;
    }
    puts("\nOptions:");
    for (row = options; row && row->name; row++) {
        left_column(left, sizeof(left), row);
        printf("%-*s  %s\n", width, left, row->help);
    }
    left_column(left, sizeof(left), &help);
    printf("%-*s  %s\n", width, left, help.help);
}

void print_help(const struct command *command)
{
    printf("Usage: shmctl %s %s\n\n%c%s.\n", command->name, command->arguments,
           toupper((unsigned char)*command->summary), command->summary + 1);
    print_options(command->options);
    for (size_t i = 0; command->tables && command->tables[i]; i++)
        table_print_columns(command->tables[i]);
    if (command->notes)
        printf("\n%s\n", command->notes);
}

#define OPERANDS_MAX 2u

/*
 * The options of a verb that runs a command may stand before its operands, and between those and
 * the command: OBJECT -t 1 COMMAND -t 2. getopt(3) stops at each operand; the first ones are kept,
 * and put beside the command in the end.
 */
static int next_before_command(const struct command *command, int argc, char **argv,
                               const char *letters, const struct option *longs)
{
    static char *operands[OPERANDS_MAX];
    static unsigned n;
    static bool ended;           /* the options, by "--" */
    static const char *argument; /* of the last option: "--" as an argument ends nothing */
    int key = ended ? -1 : getopt_long(argc, argv, letters, longs, NULL);

    while (key == -1 && n < command->runs_command && n < OPERANDS_MAX && optind < argc) {
        ended = ended || (strcmp(argv[optind - 1], "--") == 0 && argv[optind - 1] != argument);
        operands[n++] = argv[optind++];
        if (!ended)
            key = getopt_long(argc, argv, letters, longs, NULL);
        else if (n == command->runs_command && optind < argc && strcmp(argv[optind], "--") == 0)
            optind++;
    }
    argument = optarg;
    while (key == -1 && n > 0)
        argv[--optind] = operands[--n];
    return key;
}

int next_option(const struct command *command, int argc, char **argv)
{
    static struct option longs[OPTIONS_MAX + 2];
    static char letters[2 * OPTIONS_MAX + 4];
    int key;

    running = command;
    if (!longs[0].name) {
        bool stops = command->stops_at_operand || command->runs_command;
        char *letter = stpcpy(letters, stops ? "+h" : "h");
        size_t n = 0;

        longs[n++] = (struct option){"help", no_argument, NULL, 'h'};
        for (const struct option_row *row = command->options; row && row->name && n <= OPTIONS_MAX;
             row++) {
            longs[n++] = (struct option){row->name, row->argument ? required_argument : no_argument,
                                         NULL, row->key};
            if (row->key <= UCHAR_MAX)
                letter += sprintf(letter, "%c%s", row->key, row->argument ? ":" : "");
        }
    }
    key = command->runs_command ? next_before_command(command, argc, argv, letters, longs)
                                : getopt_long(argc, argv, letters, longs, NULL);
    if (key == 'h') {
        print_help(command);
        exit(finish(STATUS_DONE));
    }
    if (key == '?') {
        fprintf(stderr, "Try 'shmctl %s --help'.\n", command->name);
        exit(STATUS_USAGE);
    }
    return key;
}

void check_operands(int argc, int least, int most)
{
    if (argc - optind < least)
        usage_error("missing operand; usage: shmctl %s %s", running->name, running->arguments);
    if (argc - optind > most)
        usage_error("too many operands; usage: shmctl %s %s", running->name, running->arguments);
}
