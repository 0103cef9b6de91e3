/* shmctl peek: the items that wait in a queue, none of which is taken. */
#include "common.h"
#include "print.h"
#include "printable.h"
#include "shmctl.h"
#include "table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct column columns[] = {
    {"PLACE", "its place in the queue, from 1: the next to be taken", COLUMN_RIGHT | COLUMN_NUMBER},
    {"PRIORITY", "its priority in a priority queue, else 0", COLUMN_RIGHT | COLUMN_NUMBER},
    {"LENGTH", "its bytes", COLUMN_RIGHT | COLUMN_NUMBER},
    {"ITEM", "what is in it; bytes that are no text as \\xHH, a backslash as \\\\", COLUMN_CUT},
    {"HEX", "its bytes in hexadecimal", COLUMN_CUT},
    {0},
};

static const struct table_kind item_table = {"items", columns};

struct request {
    struct path path;
    uint64_t count; /* at most so many */
    char separator;
    bool as_table;
    struct table_style style;
};

static char *text_of(const struct shk_item_info *item)
{
    return to_printable(item->bytes, item->length);
}

static char *hexadecimal(const struct shk_item_info *item)
{
    char *text = allocate(item->length * 2 + 1, 1);

    for (size_t i = 0; i < item->length; i++)
        sprintf(text + 2 * i, "%02x", item->bytes[i]);
    return text;
}

static void set_text(struct table *t, const char *column,
                     char *(*to_text)(const struct shk_item_info *),
                     const struct shk_item_info *item)
{
    char *text;

    if (!table_shows(t, column))
        return;
    text = to_text(item);
    table_set(t, column, "%s", text);
    free(text);
}

static int print_table(const struct request *request, const struct shk_item_info *items, size_t n)
{
    struct table *t = table_new(&item_table, "PLACE,PRIORITY,LENGTH,ITEM", &request->style);
    int status;

    for (size_t i = 0; i < n; i++) {
        table_row(t);
        table_set(t, "PLACE", "%zu", i + 1);
        table_set(t, "PRIORITY", "%" PRId64, items[i].priority);
        table_set(t, "LENGTH", "%zu", items[i].length);
        set_text(t, "ITEM", text_of, &items[i]);
        set_text(t, "HEX", hexadecimal, &items[i]);
    }
    status = table_print(t);
    table_free(t);
    return status;
}

/* As 'shmctl get' would print them. */
static int print_plainly(const struct request *request, const struct shk_item_info *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fwrite(items[i].bytes, 1, items[i].length, stdout);
        putchar(request->separator);
    }
    return STATUS_DONE;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct request request = {.count = UINT64_MAX, .separator = '\n'};
    struct shk_item_info *items;
    ssize_t n;
    int status;
    int key;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == 'c') {
            request.count = parse_number(optarg, UINT64_MAX);
        } else if (key == '0') {
            request.separator = '\0';
        } else {
            request.as_table = true;
            table_option(&request.style, key);
        }
    }
    check_operands(argc, 1, 1);
    parse_object_path(argv[optind], &request.path);

    n = shk_item_list(request.path.segment, request.path.object,
                      request.count < SIZE_MAX ? (size_t)request.count : SIZE_MAX, &items);
    if (n < 0)
        return failed(request.path.text, (int)n);
    status = request.as_table ? print_table(&request, items, (size_t)n)
                              : print_plainly(&request, items, (size_t)n);
    free(items);
    return status;
}

static const struct option_row options[] = {
    {'c', "count", "N", "print no more than the first N"},
    {'0', "null", NULL, "end each item with a zero byte, not a newline"},
    TABLE_ROWS,
    {0},
};

const struct command cmd_peek = {
    .name = "peek",
    .arguments = "[OPTION...] QUEUE",
    .summary = "print the items that wait in a queue, and take none",
    .notes = "The next to be taken comes first. With an option that asks for a table, such as\n"
             "--json, each item has a row: with its priority, and as text that can be shown.",
    .options = options,
    .tables = (const struct table_kind *const[]){&item_table, NULL},
    .run = run,
};
