/* shmctl value: set the newest value, get it, wait for a newer one, add to a number. */
#include "common.h"
#include "open.h"
#include "shmctl.h"
#include "table.h"
#include "print.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SET, GET, WAIT, ADD, ACTIONS };

static const char *const actions[] = {[SET] = "set", [GET] = "get", [WAIT] = "wait", [ADD] = "add"};

enum { OPTION_IF_VERSION = OPTION_PRIVATE, OPTION_NEWER_THAN };

struct request {
    int action;
    struct path path;
    struct acting acting;
    char **operands;     /* behind the value; NULL at the end */
    bool standard_input; /* what is to be set */
    bool number, json, whole;
    bool has_version; /* --if-version or --newer-than */
    uint64_t version;
    struct shk_value *value;
};

static const struct column columns[] = {
    {"VERSION", "how often it has been set", COLUMN_RIGHT | COLUMN_NUMBER},
    {"LENGTH", "how many bytes it has", COLUMN_RIGHT | COLUMN_NUMBER},
    {"VALUE", "the bytes, as text", 0},
    {0},
};

static const struct table_kind values = {"values", columns};

/* ---- what is printed ---- */

static int print_table(const char *text, ssize_t length, uint64_t version)
{
    const struct table_style style = {.json = true};
    struct table *t = table_new(&values, "VERSION,LENGTH,VALUE", &style);
    int status;

    table_row(t);
    table_set(t, "VERSION", "%" PRIu64, version);
    table_set(t, "LENGTH", "%zd", length);
    table_set(t, "VALUE", "%.*s", (int)length, text);
    status = table_print(t);
    table_free(t);
    return status;
}

static int print_bytes(const struct request *q, const char *bytes, ssize_t length)
{
    int64_t number;

    if (q->number && length != sizeof(number)) {
        complain(q->path.text, "it is no number: it has %zd bytes, not 8", length);
        return STATUS_FAILED;
    }
    if (q->number) {
        memcpy(&number, bytes, sizeof(number));
        printf("%" PRId64 "\n", number);
        return STATUS_DONE;
    }
    fwrite(bytes, 1, (size_t)length, stdout);
    if (!q->whole)
        putchar('\n');
    return STATUS_DONE;
}

static int get(const struct request *q)
{
    size_t size = (size_t)shk_value_size(q->value);
    char *bytes = allocate(size + 1, 1);
    uint64_t version = 0;
    ssize_t length = shk_value_get(q->value, bytes, size, &version);
    int status;

    if (length < 0) {
        status = failed(q->path.text, (int)length);
    } else if (version == 0) {
        complain(q->path.text, "it has never been set");
        status = STATUS_ABSENT;
    } else {
        status = q->json ? print_table(bytes, length, version) : print_bytes(q, bytes, length);
    }
    free(bytes);
    return status;
}

static int wait_newer(const struct request *q)
{
    int64_t version = q->has_version ? (int64_t)q->version : shk_value_version(q->value);

    if (version >= 0)
        version = shk_value_wait(q->value, (uint64_t)version, q->acting.timeout);
    if (version < 0)
        return failed_to_wait(&q->path, &q->acting, (int)version, "there is no newer version");
    if (q->json)
        return get(q);
    printf("%" PRId64 "\n", version);
    return STATUS_DONE;
}

/* ---- what is set ---- */

/* All of the input, or a byte more than is taken: how many bytes; -1 after a complaint. */
static ssize_t read_input(char *bytes, size_t room)
{
    size_t length = 0;

    if (let_interrupts_kill(true))
        return -1;
    while (length < room && !feof(stdin) && !ferror(stdin))
        length += fread(bytes + length, 1, room - length, stdin);
    let_interrupts_kill(false);
    if (!ferror(stdin))
        return (ssize_t)length;
    complain("standard input", "%s", strerror(errno));
    return -1;
}

static int set_bytes(const struct request *q, const void *bytes, size_t length)
{
    int64_t r = q->has_version ? shk_value_compare_and_set(q->value, q->version, bytes, length)
                               : shk_value_set(q->value, bytes, length);

    return r < 0 ? failed(q->path.text, (int)r) : STATUS_DONE;
}

static int set(const struct request *q)
{
    size_t room = (size_t)shk_value_size(q->value) + 1;
    int status = STATUS_FAILED;
    int64_t number;
    ssize_t length;
    char *bytes;

    if (q->number) {
        number = parse_signed(*q->operands);
        return set_bytes(q, &number, sizeof(number));
    }
    if (*q->operands)
        return set_bytes(q, *q->operands, strlen(*q->operands));
    bytes = allocate(room, 1);
    length = read_input(bytes, room);
    if (length >= 0)
        status = set_bytes(q, bytes, (size_t)length);
    free(bytes);
    return status;
}

static int add(const struct request *q)
{
    int64_t sum, r = shk_value_add(q->value, parse_signed(*q->operands), &sum);

    if (r < 0)
        return failed(q->path.text, (int)r);
    printf("%" PRId64 "\n", sum);
    return STATUS_DONE;
}

/* ---- */

static int open_value(struct shk_segment *segment, const char *name, unsigned flags, void *to)
{
    return shk_value_open(segment, name, flags, NULL, &((struct request *)to)->value);
}

static int act(struct request *q)
{
    static int (*const functions[])(const struct request *) = {
        [SET] = set, [GET] = get, [WAIT] = wait_newer, [ADD] = add};
    struct opening opening = {.path = &q->path, .kind = "value", .open = open_value, .to = q};
    struct shk_segment *segment = NULL;
    int status;

    opening.flags = q->action == GET ? q->acting.flags & ~SHK_CREATE : q->acting.flags;
    status = open_object(&opening, &segment);
    if (status == STATUS_DONE)
        status = functions[q->action](q);
    shk_value_close(q->value);
    shk_segment_close(segment);
    return status;
}

static int find_action(const char *name)
{
    for (int i = 0; i < ACTIONS; i++) {
        if (strcmp(actions[i], name) == 0)
            return i;
    }
    usage_error("unknown action '%s'; known: set, get, wait, add", name);
}

/* Which action an option is for. */
static void check_options(const struct request *q, int version_key)
{
    if (version_key && q->action != (version_key == OPTION_IF_VERSION ? SET : WAIT))
        usage_error(version_key == OPTION_IF_VERSION ? "--if-version is for 'value set'"
                                                     : "--newer-than is for 'value wait'");
    if (q->acting.timeout != SHK_FOREVER && q->action != WAIT)
        usage_error("--timeout and --nowait are for 'value wait'");
    if (q->standard_input && q->action != SET)
        usage_error("--stdin is for 'value set'");
    if (q->number && (q->action == WAIT || q->action == ADD))
        usage_error("--number is for 'value set' and 'value get'");
    if (q->json && (q->action == SET || q->action == ADD))
        usage_error("--json is for 'value get' and 'value wait'");
    if (q->whole && q->action != GET)
        usage_error("--whole is for 'value get'");
    if (q->number + q->json + q->whole > 1 || (q->number && q->standard_input))
        usage_error("--number, --json, --whole and --stdin exclude each other");
}

static int run(const struct command *command, int argc, char **argv)
{
    struct request q = {.acting = ACTING_DEFAULTS};
    int version_key = 0, operands;
    int key;

    while ((key = next_own_option(command, argc, argv, &q.acting)) != -1) {
        switch (key) {
        case 's':
            q.standard_input = true;
            break;
        case 'N':
            q.number = true;
            break;
        case 'J':
            q.json = true;
            break;
        case 'w':
            q.whole = true;
            break;
        default:
            version_key = key;
            q.has_version = true;
            q.version = parse_number(optarg, INT64_MAX);
        }
    }
    check_operands(argc, 2, 3);
    q.action = find_action(argv[optind]);
    check_options(&q, version_key);
    operands = q.action == ADD || (q.action == SET && !q.standard_input) ? 3 : 2;
    check_operands(argc, operands, operands);
    parse_object_path(argv[optind + 1], &q.path);
    q.operands = argv + optind + 2;
    if (q.number || q.action == ADD) /* before anything is created */
        *q.operands ? (void)parse_signed(*q.operands) : (void)0;
    return act(&q);
}

static const struct option_row options[] = {
    {'s', "stdin", NULL, "with set: all of the input, as it is"},
    {'N', "number", NULL, "with set and get: a 64-bit number"},
    {OPTION_IF_VERSION, "if-version", "N", "set it only if it still has that version"},
    {OPTION_NEWER_THAN, "newer-than", "N", "with wait: than that version (the one there is)"},
    {'J', "json", NULL, "with get and wait: version, length and value"},
    {'w', "whole", NULL, "with get: nothing behind it, not even a newline"},
    TIMEOUT_ROW("with wait: no longer than this"),
    NOWAIT_ROW,
    NO_CREATE_ROW,
    ANY_OWNER_ROW,
    {0},
};

const struct command cmd_value = {
    .name = "value",
    .arguments = "[OPTION...] set|get|wait|add VALUE [TEXT|NUMBER]",
    .summary = "set a value, get it, wait for a newer one, or add to it",
    .notes = "'wait' prints the newest version, 'add' the sum. A number that is negative goes\n"
             "after '--'. What was never set is 0 for 'add', and exit status 4 for 'get'.",
    .options = options,
    .run = run,
};
