#include "table.h"
#include "common.h"
#include "quantity.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- which columns ---- */

static int find_column(const struct table_kind *kind, const char *name, size_t length)
{
    for (int i = 0; kind->columns[i].name; i++) {
        if (strlen(kind->columns[i].name) == length &&
            strncasecmp(kind->columns[i].name, name, length) == 0)
            return i;
    }
    return -1;
}

/* "NAME,KIND,STATE" */
static char *list_columns(const struct table_kind *kind)
{
    char *list = NULL;

    for (const struct column *c = kind->columns; c->name; c++)
        list = add_to_list(list, ",", c->name);
    return list;
}

static bool is_shown(const struct table *t, int column)
{
    for (size_t i = 0; i < t->shown_columns; i++) {
        if (t->shown[i] == column)
            return true;
    }
    return false;
}

/* A column that is asked for again stays where it is: twice the same key is no JSON. */
static void show_columns(struct table *t, const char *list)
{
    while (*list) {
        size_t length = strcspn(list, ",");
        int column = find_column(t->kind, list, length);

        if (column < 0)
            usage_error("no column '%.*s'; the columns of %s are %s", (int)length, list,
                        t->kind->name, list_columns(t->kind));
        if (!is_shown(t, column))
            t->shown[t->shown_columns++] = column;
        list += length;
        list += *list == ',';
    }
}

void table_print_columns(const struct table_kind *kind)
{
    int width = 0;

    for (const struct column *c = kind->columns; c->name; c++)
        width = (int)strlen(c->name) > width ? (int)strlen(c->name) : width;
    printf("\nColumns of %s:\n", kind->name);
    for (const struct column *c = kind->columns; c->name; c++)
        printf("  %-*s  %s\n", width, c->name, c->help);
}

void table_option(struct table_style *style, int key)
{
    switch (key) {
    case 'o':
        style->output = optarg;
        break;
    case 'J':
        style->json = style->bytes = true;
        break;
    case 'r':
        style->raw = true;
        break;
    case 'n':
        style->noheadings = true;
        break;
    case 'b':
        style->bytes = true;
        break;
    }
}

/* ---- filling ---- */

struct table *table_new(const struct table_kind *kind, const char *usual,
                        const struct table_style *style)
{
    struct table *t = allocate(1, sizeof(*t));
    const char *list = style->output ? style->output : usual;

    t->kind = kind;
    t->style = *style;
    while (kind->columns[t->columns].name)
        t->columns++;
    assert(t->columns <= SHOWN_MAX);
    if (style->json && style->raw)
        usage_error("--json or --raw, not both");
    if (*list == '+') {
        show_columns(t, usual);
        list++;
    }
    show_columns(t, list);
    return t;
}

void table_free(struct table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->rows * t->columns; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
}

void table_row(struct table *t)
{
    char **cells;

    if (t->rows == t->room) {
        t->room = t->room ? 2 * t->room : 16;
        cells = allocate(t->room * t->columns, sizeof(*cells));
        if (t->rows)
            memcpy(cells, t->cells, t->rows * t->columns * sizeof(*cells));
        free(t->cells);
        t->cells = cells;
    }
    t->rows++;
}

static char **place_of(const struct table *t, size_t row, size_t shown)
{
    return &t->cells[row * t->columns + (size_t)t->shown[shown]];
}

const struct column *table_column(const struct table *t, size_t shown)
{
    return &t->kind->columns[t->shown[shown]];
}

const char *table_cell(const struct table *t, size_t row, size_t shown)
{
    const char *content = *place_of(t, row, shown);

    return content ? content : "";
}

/*
 * NULL: the column is not shown. Most are not, and what would be in them costs more than all that
 * is.
 */
static char **last_cell(const struct table *t, const char *name)
{
    assert(t->rows > 1 || find_column(t->kind, name, strlen(name)) >= 0);
    for (size_t i = 0; i < t->shown_columns; i++) {
        if (strcmp(table_column(t, i)->name, name) == 0)
            return place_of(t, t->rows - 1, i);
    }
    return NULL;
}

bool table_shows(const struct table *t, const char *name)
{
    return last_cell(t, name) != NULL;
}

void table_set(struct table *t, const char *column, const char *format, ...)
{
    char **place = last_cell(t, column);
    va_list arguments;

    if (!place)
        return;
    free(*place);
    va_start(arguments, format);
    *place = vprint_to_memory(format, arguments);
    va_end(arguments);
}

void table_append(struct table *t, const char *column, const char *format, ...)
{
    char **place = last_cell(t, column);
    va_list arguments;
    char *text;

    if (!place)
        return;
    va_start(arguments, format);
    text = vprint_to_memory(format, arguments);
    va_end(arguments);
    *place = add_to_list(*place, "\n", text);
    free(text);
}

void table_set_bool(struct table *t, const char *column, bool value)
{
    table_set(t, column, "%s", value ? "yes" : "no");
}

void table_set_size(struct table *t, const char *column, uint64_t bytes)
{
    char buffer[QUANTITY_MAX];

    if (t->style.bytes)
        table_set(t, column, "%llu", (unsigned long long)bytes);
    else
        table_set(t, column, "%s", format_size(buffer, bytes));
}

void table_set_duration(struct table *t, const char *column, int64_t nanoseconds)
{
    char buffer[QUANTITY_MAX];

    if (t->style.bytes)
        table_set(t, column, "%.3f", (double)nanoseconds / 1e9);
    else
        table_set(t, column, "%s", format_duration(buffer, nanoseconds));
}

void table_set_date(struct table *t, const char *column, int64_t seconds)
{
    char buffer[64];
    time_t when = (time_t)seconds;
    struct tm broken_down;

    if (!table_shows(t, column))
        return;
    /* A damaged segment may say any year at all. */
    if (!localtime_r(&when, &broken_down) ||
        !strftime(buffer, sizeof(buffer),
                  t->style.bytes ? "%Y-%m-%dT%H:%M:%S%z" : "%Y-%m-%d %H:%M:%S", &broken_down))
        snprintf(buffer, sizeof(buffer), "%lld", (long long)seconds);
    table_set(t, column, "%s", buffer);
}

void table_set_time(struct table *t, const char *column, const struct timespec *when)
{
    char day[32], zone[16];
    struct tm broken_down;

    localtime_r(&when->tv_sec, &broken_down);
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &broken_down);
    strftime(zone, sizeof(zone), "%z", &broken_down);
    table_set(t, column, "%s.%03ld%s", day, when->tv_nsec / 1000000, zone);
}
