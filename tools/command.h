/*
 * A verb of shmctl: what it is called, what it takes, what it does. Its options feed
 * getopt_long(3), --help, and, through --help, the completion.
 */
#ifndef SHMCTL_COMMAND_H
#define SHMCTL_COMMAND_H

#include <stdbool.h>

struct table_kind;

struct option_row {
    int key; /* the short letter; over UCHAR_MAX if there is only the long name */
    const char *name;
    const char *argument; /* NULL: it takes none */
    const char *help;
};

struct command {
    const char *name;
    const char *arguments;                  /* for the usage line */
    const char *summary;                    /* for the list of verbs */
    const char *notes;                      /* for --help, after the options; may be NULL */
    const struct option_row *options;       /* the last has no name; NULL: none */
    const struct table_kind *const *tables; /* whose columns --help lists, then NULL; NULL: none */
    bool stops_at_operand; /* what follows the first operand belongs to another program */
    unsigned runs_command; /* behind so many operands is a command: what follows is the command's */
    int (*run)(const struct command *, int argc, char **argv);
};

/* Keys of options that several verbs have and that have no letter. */
enum { OPTION_ANY_OWNER = 256, OPTION_NOWAIT, OPTION_NO_CREATE, OPTION_PRIVATE };

#define ANY_OWNER_ROW                                                                        \
    {                                                                                        \
        OPTION_ANY_OWNER, "any-owner", NULL, "accept a segment that belongs to another user" \
    }
#define NO_CREATE_ROW                                                                    \
    {                                                                                    \
        OPTION_NO_CREATE, "no-create", NULL, "do not create it: exit status 4 if absent" \
    }
#define TIMEOUT_ROW(what)                               \
    {                                                   \
        't', "timeout", "TIME", what ": 2, 0.5s, 200ms" \
    }
#define NOWAIT_ROW                                                              \
    {                                                                           \
        OPTION_NOWAIT, "nowait", NULL, "do not wait: exit status 3 if it would" \
    }

/*
 * The next option's key, with its argument in optarg; -1 when there is none left, and the operands
 * begin at argv[optind]. Ends the program for --help, and for what is no option of the command.
 */
int next_option(const struct command *, int argc, char **argv);

/* End the program with a usage error unless there are so many operands left. */
void check_operands(int argc, int least, int most);

void print_help(const struct command *);

#endif
