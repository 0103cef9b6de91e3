#include "print.h"
#include "common.h"
#include "fit.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifdef HAVE_LIBSMARTCOLS
#include <libsmartcols.h>
#endif

#define CUT_TO 5 /* terminal columns that are left of what is cut, at least */

/* ---- for scripts ---- */

/* A cell as it is printed for a person or for --raw. */
static char *cell_text(const struct table *t, size_t row, size_t shown)
{
    char *text = print_to_memory("%s", table_cell(t, row, shown));

    for (char *c = text; *c; c++) {
        if (*c == '\n')
            *c = ',';
    }
    return text;
}

/* Fields are separated by blanks: one within a field is written \x20, as lsblk does. */
static void print_raw_field(const char *field, bool last)
{
    if (!*field)
        field = "-";
    for (; *field; field++) {
        if (*field == ' ' || *field == '\\')
            printf("\\x%02x", (unsigned char)*field);
        else
            putchar(*field);
    }
    putchar(last ? '\n' : ' ');
}

static int print_raw(const struct table *t)
{
    for (size_t i = 0; i < t->shown_columns && !t->style.noheadings && t->rows; i++)
        print_raw_field(table_column(t, i)->name, i == t->shown_columns - 1);
    for (size_t row = 0; row < t->rows; row++) {
        for (size_t i = 0; i < t->shown_columns; i++) {
            char *text = cell_text(t, row, i);
            print_raw_field(text, i == t->shown_columns - 1);
            free(text);
        }
    }
    return STATUS_DONE;
}

static void print_json_string(const char *text, size_t length)
{
    putchar('"');
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"' || text[i] == '\\')
            printf("\\%c", text[i]);
        else if ((unsigned char)text[i] < ' ')
            printf("\\u%04x", (unsigned char)text[i]);
        else
            putchar(text[i]);
    }
    putchar('"');
}

static void print_json_list(const char *content)
{
    putchar('[');
    while (*content) {
        size_t length = strcspn(content, "\n");

        print_json_string(content, length);
        content += length;
        if (*content == '\n' && content++)
            fputs(", ", stdout);
    }
    putchar(']');
}

static void print_json_value(const char *content, unsigned flags)
{
    if (flags & COLUMN_LIST)
        print_json_list(content);
    else if (!*content)
        fputs("null", stdout);
    else if (flags & COLUMN_BOOL)
        fputs(strcmp(content, "yes") == 0 ? "true" : "false", stdout);
    else if (flags & COLUMN_NUMBER)
        fputs(content, stdout);
    else
        print_json_string(content, strlen(content));
}

static void print_json_key(const char *column)
{
    putchar('"');
    for (; *column; column++)
        putchar(tolower((unsigned char)*column));
    fputs("\": ", stdout);
}

/* JSON lines: each row is a document of its own, for what reads a log line by line. */
static int print_json_lines(const struct table *t)
{
    for (size_t row = 0; row < t->rows; row++) {
        for (size_t i = 0; i < t->shown_columns; i++) {
            fputs(i ? ", " : "{", stdout);
            print_json_key(table_column(t, i)->name);
            print_json_value(table_cell(t, row, i), table_column(t, i)->flags);
        }
        puts("}");
    }
    return STATUS_DONE;
}

/* Not libsmartcols': its lists depend on its version, and an empty one is [null]. */
static int print_json(const struct table *t)
{
    printf("{\n   \"%s\": [", t->kind->name);
    for (size_t row = 0; row < t->rows; row++) {
        printf("%s\n      {\n", row ? "," : "");
        for (size_t i = 0; i < t->shown_columns; i++) {
            fputs("         ", stdout);
            print_json_key(table_column(t, i)->name);
            print_json_value(table_cell(t, row, i), table_column(t, i)->flags);
            puts(i < t->shown_columns - 1 ? "," : "");
        }
        fputs("      }", stdout);
    }
    puts(t->rows ? "\n   ]\n}" : "]\n}");
    return STATUS_DONE;
}

/* ---- aligned, to fit a terminal ---- */

/* The terminal's columns; 0: it goes somewhere else. */
static int terminal_width(void)
{
    struct winsize terminal;

    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &terminal) == 0
               ? terminal.ws_col
               : 0;
}

/* How narrow a column may become. */
static int narrowest(const struct column *c)
{
    int heading = (int)strlen(c->name);

    return heading > CUT_TO ? heading : CUT_TO;
}

/*
 * The widths of the shown columns: as the cells want it, or less, the widest giving way first, for
 * a room that is not 0.
 */
static void find_widths(const struct table *t, int room, int *widths)
{
    int excess = -room;
    size_t bytes;

    for (size_t i = 0; i < t->shown_columns; i++) {
        widths[i] = t->style.noheadings ? 0 : (int)strlen(table_column(t, i)->name);
        for (size_t row = 0; row < t->rows; row++) {
            char *text = cell_text(t, row, i);
            int w = text_width(text, INT32_MAX, &bytes);

            widths[i] = w > widths[i] ? w : widths[i];
            free(text);
        }
        excess += widths[i] + (i > 0);
    }
    while (room && excess > 0) {
        size_t widest = t->shown_columns;

        for (size_t i = 0; i < t->shown_columns; i++) {
            if (table_column(t, i)->flags & COLUMN_CUT &&
                widths[i] > narrowest(table_column(t, i)) &&
                (widest == t->shown_columns || widths[i] >= widths[widest]))
                widest = i;
        }
        if (widest == t->shown_columns)
            return;
        widths[widest]--;
        excess--;
    }
}

#ifdef HAVE_LIBSMARTCOLS

static int fill_line(const struct table *t, size_t row, const int *widths,
                     struct libscols_line *line)
{
    for (size_t i = 0; i < t->shown_columns; i++) {
        char *whole = cell_text(t, row, i);
        char *text = text_to_fit(whole, widths[i]);

        free(whole);
        if (scols_line_refer_data(line, i, text) < 0) {
            free(text);
            return -1;
        }
    }
    return 0;
}

/* It aligns what has been made to fit: its own cuts leave no mark. */
static int print_fitted(const struct table *t, FILE *stream, const int *widths)
{
    struct libscols_table *out = scols_new_table();
    int r = out ? 0 : -1;

    for (size_t i = 0; i < t->shown_columns && r == 0; i++) {
        int flags = table_column(t, i)->flags & COLUMN_RIGHT ? SCOLS_FL_RIGHT : 0;

        r = scols_table_new_column(out, table_column(t, i)->name, 0, flags) ? 0 : -1;
    }
    for (size_t row = 0; row < t->rows && r == 0; row++) {
        struct libscols_line *line = scols_table_new_line(out, NULL);
        r = line ? fill_line(t, row, widths, line) : -1;
    }
    if (r == 0) {
        scols_table_enable_noheadings(out, t->style.noheadings);
        scols_table_set_stream(out, stream);
        scols_table_set_termforce(out, SCOLS_TERMFORCE_NEVER);
        r = scols_print_table(out);
    }
    scols_unref_table(out);
    if (r != 0)
        complain("table", "libsmartcols could not print it");
    return r == 0 ? STATUS_DONE : STATUS_FAILED;
}

#else

static void print_cell(const struct table *t, FILE *stream, size_t shown, const char *whole,
                       int width)
{
    char *text = text_to_fit(whole, width);
    size_t bytes;
    int blanks = width - text_width(text, width, &bytes);
    bool right = table_column(t, shown)->flags & COLUMN_RIGHT;
    bool last = shown == t->shown_columns - 1;

    fprintf(stream, "%*s%s%*s%s", right ? blanks : 0, "", text, right || last ? 0 : blanks, "",
            last ? "\n" : " ");
    free(text);
}

static int print_fitted(const struct table *t, FILE *stream, const int *widths)
{
    for (size_t i = 0; i < t->shown_columns && !t->style.noheadings && t->rows; i++)
        print_cell(t, stream, i, table_column(t, i)->name, widths[i]);
    for (size_t row = 0; row < t->rows; row++) {
        for (size_t i = 0; i < t->shown_columns; i++) {
            char *text = cell_text(t, row, i);
            print_cell(t, stream, i, text, widths[i]);
            free(text);
        }
    }
    return STATUS_DONE;
}

#endif

/* width: 0: the terminal's, if it goes to one. */
static int print_aligned(const struct table *t, FILE *stream, int width)
{
    int widths[SHOWN_MAX];

    find_widths(t, width ? width : terminal_width(), widths);
    return print_fitted(t, stream, widths);
}

int table_print(const struct table *t)
{
    return t->style.lines  ? print_json_lines(t)
           : t->style.json ? print_json(t)
           : t->style.raw  ? print_raw(t)
                           : print_aligned(t, stdout, 0);
}

char *table_to_text(const struct table *t, int width)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    int status;

    if (!stream)
        return NULL;
    status = print_aligned(t, stream, width);
    if (fclose(stream) != 0 || status != STATUS_DONE) {
        free(text);
        return NULL;
    }
    return text;
}

/* "ITEM-SIZE" -> "Item size" */
static void print_label(const char *name, int width)
{
    int i;

    for (i = 0; name[i]; i++)
        putchar(name[i] == '-' ? ' ' : i == 0 ? name[i] : tolower((unsigned char)name[i]));
    printf("%*s", width + 2 - i, "");
}

int table_print_vertical(const struct table *t)
{
    int width = 0;

    if (t->style.json || t->style.raw)
        return table_print(t);
    for (size_t i = 0; i < t->shown_columns; i++) {
        int w = (int)strlen(table_column(t, i)->name);
        width = w > width ? w : width;
    }
    for (size_t i = 0; i < t->shown_columns; i++) {
        const char *text = table_cell(t, 0, i);

        /*
         * What does not apply is left out, unless it was asked for, or the place of a line tells
         * what it is.
         */
        if (!*text && !t->style.output && !t->style.noheadings)
            continue;
        if (!t->style.noheadings)
            print_label(table_column(t, i)->name, width);
        /* The further strings of a list go below the first. */
        for (const char *end; (end = strchr(text, '\n')); text = end + 1)
            printf("%.*s\n%*s", (int)(end - text), text, t->style.noheadings ? 0 : width + 2, "");
        puts(text);
    }
    return STATUS_DONE;
}
