#include "table.h"
#include "common.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#ifdef HAVE_LIBSMARTCOLS
#include <libsmartcols.h>
#endif

#define SHOWN_MAX 64
#define CUT_TO    5 /* terminal columns that are left of what is cut, at least */

struct table {
    const struct table_kind *kind;
    struct table_style style;
    size_t columns; /* of the kind */
    int shown[SHOWN_MAX];
    size_t shown_columns;
    /* rows * columns; NULL: empty, or not shown. The strings of a list have '\n' in between */
    char **cells;
    size_t rows;
    size_t room; /* for so many rows */
};

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
    char *list = print_to_memory("%s", kind->columns[0].name);

    for (const struct column *c = kind->columns + 1; c->name; c++) {
        char *longer = print_to_memory("%s,%s", list, c->name);

        free(list);
        list = longer;
    }
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

static char **cell(const struct table *t, size_t row, int column)
{
    return &t->cells[row * t->columns + (size_t)column];
}

static const struct column *column(const struct table *t, size_t shown)
{
    return &t->kind->columns[t->shown[shown]];
}

/*
 * NULL: the column is not shown. Most are not, and what would be in them costs more than all that
 * is.
 */
static char **last_cell(const struct table *t, const char *name)
{
    assert(t->rows > 1 || find_column(t->kind, name, strlen(name)) >= 0);
    for (size_t i = 0; i < t->shown_columns; i++) {
        if (strcmp(column(t, i)->name, name) == 0)
            return cell(t, t->rows - 1, t->shown[i]);
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
    char *before;

    if (!place)
        return;
    va_start(arguments, format);
    text = vprint_to_memory(format, arguments);
    va_end(arguments);
    before = *place;
    *place = before ? print_to_memory("%s\n%s", before, text) : print_to_memory("%s", text);
    free(before);
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

const char *format_size(char *buffer, uint64_t bytes)
{
    static const char units[] = "KMGTPE";
    double value = (double)bytes;
    int unit = -1;

    while (value >= 1023.95) {
        value /= 1024;
        unit++;
    }
    if (unit < 0)
        snprintf(buffer, QUANTITY_MAX, "%d", (int)bytes);
    else if (value * 10 == (double)((int)value * 10) || value >= 99.95)
        snprintf(buffer, QUANTITY_MAX, "%.0f%c", value, units[unit]);
    else
        snprintf(buffer, QUANTITY_MAX, "%.1f%c", value, units[unit]);
    return buffer;
}

const char *format_duration(char *buffer, int64_t nanoseconds)
{
    int64_t ms = nanoseconds > 0 ? nanoseconds / 1000000 : 0;
    int64_t s = ms / 1000;

    if (nanoseconds == 0)
        strcpy(buffer, "0s");
    else if (ms < 1000)
        snprintf(buffer, QUANTITY_MAX, "%dms", (int)ms);
    else if (s < 10 && ms % 1000 >= 100)
        snprintf(buffer, QUANTITY_MAX, "%d.%ds", (int)s, (int)(ms % 1000 / 100));
    else if (s < 60)
        snprintf(buffer, QUANTITY_MAX, "%ds", (int)s);
    else if (s < 3600)
        snprintf(buffer, QUANTITY_MAX, "%dm%02ds", (int)(s / 60), (int)(s % 60));
    else if (s < 86400)
        snprintf(buffer, QUANTITY_MAX, "%dh%02dm", (int)(s / 3600), (int)(s % 3600 / 60));
    else
        snprintf(buffer, QUANTITY_MAX, "%lldd%02dh", (long long)(s / 86400),
                 (int)(s % 86400 / 3600));
    return buffer;
}

/* ---- printing ---- */

/* What a cell looks like for a person or for --raw. */
static char *cell_text(const struct table *t, size_t row, size_t shown)
{
    const char *content = *cell(t, row, t->shown[shown]);
    char *text = print_to_memory("%s", content ? content : "");

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
        print_raw_field(column(t, i)->name, i == t->shown_columns - 1);
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
        print_json_list(content ? content : "");
    else if (!content || !*content)
        fputs("null", stdout);
    else if (flags & COLUMN_BOOL)
        fputs(strcmp(content, "yes") == 0 ? "true" : "false", stdout);
    else if (flags & COLUMN_NUMBER)
        fputs(content, stdout);
    else
        print_json_string(content, strlen(content));
}

/* Not libsmartcols': its lists depend on its version, and an empty one is [null]. */
static int print_json(const struct table *t)
{
    printf("{\n   \"%s\": [", t->kind->name);
    for (size_t row = 0; row < t->rows; row++) {
        printf("%s\n      {\n", row ? "," : "");
        for (size_t i = 0; i < t->shown_columns; i++) {
            fputs("         \"", stdout);
            for (const char *c = column(t, i)->name; *c; c++)
                putchar(tolower((unsigned char)*c));
            fputs("\": ", stdout);
            print_json_value(*cell(t, row, t->shown[i]), column(t, i)->flags);
            puts(i < t->shown_columns - 1 ? "," : "");
        }
        fputs("      }", stdout);
    }
    puts(t->rows ? "\n   ]\n}" : "]\n}");
    return STATUS_DONE;
}

/* ---- to fit a terminal ---- */

/* One character at c: its bytes, and the columns of a terminal that it takes. */
static size_t next_character(const char *c, mbstate_t *state, int *width)
{
    wchar_t wide;
    size_t n = mbrtowc(&wide, c, strlen(c), state);

    if (n == (size_t)-1 || n == (size_t)-2 || n == 0) {
        memset(state, 0, sizeof(*state));
        *width = 1;
        return 1;
    }
    *width = wcwidth(wide);
    if (*width < 0)
        *width = 1;
    return n;
}

/* The columns that the text takes, up to max; *bytes is what fits. */
static int width_of(const char *text, int max, size_t *bytes)
{
    mbstate_t state = {0};
    int width = 0;
    const char *c = text;

    while (*c) {
        int w;
        size_t n = next_character(c, &state, &w);

        if (width + w > max)
            break;
        width += w;
        c += n;
    }
    *bytes = (size_t)(c - text);
    return width;
}

static bool belongs_to_number(const char *text, size_t at)
{
    if (isdigit((unsigned char)text[at]))
        return true;
    return at > 0 && text[at] && strchr(".,:/-", text[at]) &&
           isdigit((unsigned char)text[at - 1]) && isdigit((unsigned char)text[at + 1]);
}

/*
 * Where a cut at `at` has to go so that no number is left half: half of 7882 would be another
 * process. A letter or a sign that follows a digit is its unit. The blank and the parenthesis in
 * front of what is left out go with it.
 */
static size_t before_number(const char *text, size_t at)
{
    bool inside =
        at > 0 && belongs_to_number(text, at - 1) && text[at] &&
        (belongs_to_number(text, at) || isalpha((unsigned char)text[at]) || text[at] == '%');

    while (inside && at > 0 && belongs_to_number(text, at - 1))
        at--;
    if (at > 0 && text[at - 1] == '(')
        at--;
    if (at > 1 && text[at - 1] == ' ' && text[at - 2] != ' ')
        at--;
    return at;
}

static const char *ellipsis(void)
{
    size_t bytes;

    return MB_CUR_MAX > 1 && width_of("…", 2, &bytes) == 1 ? "…" : "+";
}

char *text_to_fit(const char *text, int width)
{
    size_t bytes;

    width_of(text, width, &bytes);
    if (!text[bytes])
        return print_to_memory("%s", text);
    if (width < 1)
        return print_to_memory("%s", "");
    width_of(text, width - 1, &bytes);
    bytes = before_number(text, bytes);
    return print_to_memory("%.*s%s", (int)bytes, text, ellipsis());
}

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
        widths[i] = t->style.noheadings ? 0 : (int)strlen(column(t, i)->name);
        for (size_t row = 0; row < t->rows; row++) {
            char *text = cell_text(t, row, i);
            int w = width_of(text, INT32_MAX, &bytes);

            widths[i] = w > widths[i] ? w : widths[i];
            free(text);
        }
        excess += widths[i] + (i > 0);
    }
    while (room && excess > 0) {
        size_t widest = t->shown_columns;

        for (size_t i = 0; i < t->shown_columns; i++) {
            if (column(t, i)->flags & COLUMN_CUT && widths[i] > narrowest(column(t, i)) &&
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
        int flags = column(t, i)->flags & COLUMN_RIGHT ? SCOLS_FL_RIGHT : 0;

        r = scols_table_new_column(out, column(t, i)->name, 0, flags) ? 0 : -1;
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
    int blanks = width - width_of(text, width, &bytes);
    bool right = column(t, shown)->flags & COLUMN_RIGHT;
    bool last = shown == t->shown_columns - 1;

    fprintf(stream, "%*s%s%*s%s", right ? blanks : 0, "", text, right || last ? 0 : blanks, "",
            last ? "\n" : " ");
    free(text);
}

static int print_fitted(const struct table *t, FILE *stream, const int *widths)
{
    for (size_t i = 0; i < t->shown_columns && !t->style.noheadings && t->rows; i++)
        print_cell(t, stream, i, column(t, i)->name, widths[i]);
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
    return t->style.json  ? print_json(t)
           : t->style.raw ? print_raw(t)
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
        int w = (int)strlen(column(t, i)->name);
        width = w > width ? w : width;
    }
    for (size_t i = 0; i < t->shown_columns; i++) {
        const char *content = *cell(t, 0, t->shown[i]);
        const char *text = content ? content : "";

        /*
         * What does not apply is left out, unless it was asked for, or the place of a line tells
         * what it is.
         */
        if (!*text && !t->style.output && !t->style.noheadings)
            continue;
        if (!t->style.noheadings)
            print_label(column(t, i)->name, width);
        /* The further strings of a list go below the first. */
        for (const char *end; (end = strchr(text, '\n')); text = end + 1)
            printf("%.*s\n%*s", (int)(end - text), text, t->style.noheadings ? 0 : width + 2, "");
        puts(text);
    }
    return STATUS_DONE;
}
