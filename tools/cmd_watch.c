/* shmctl watch: the objects as they change, on a screen or as plain text. */
#include "chains.h"
#include "common.h"
#include "fit.h"
#include "snapshots.h"
#include "print.h"
#include "quantity.h"
#include "rates.h"
#include "rows.h"
#include "shmctl.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

enum { OPTION_JSON_LINES = OPTION_PRIVATE + 1 };

enum order { BY_PATH, BY_RATE, BY_WAITERS, ORDERS };

/* One object, in the last snapshot. */
struct row {
    const struct shk_snapshot *snapshot;
    const struct shk_object_info *object;
    struct moves moves;
    struct rates rates;
};

struct watch {
    const char *operand; /* NULL: all segments */
    struct table_style style;
    int64_t interval;
    uint64_t count; /* of displays; 0: any number */
    enum order order;
    size_t first; /* row on the screen */
    struct shk_snapshot **snapshots;
    struct row *rows;
    size_t n;
    bool why;             /* tell what does not go on */
    int64_t judged;       /* when that was found out */
    char *stuck;          /* what was found, a line each; NULL: nothing */
    struct timespec read; /* when the snapshots were taken, by the clock of the day */
    int64_t away;         /* since when etcd has not answered; 0: it has */
};

/* ---- reading ---- */

static const struct row *find_before(const struct row *rows, size_t n, const struct moves *moves)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i].moves.segment == moves->segment && rows[i].moves.object == moves->object)
            return &rows[i];
    }
    return NULL;
}

static int by_path(const void *left, const void *right)
{
    const struct row *a = left;
    const struct row *b = right;
    int c =
        strcmp(shk_snapshot_segment(a->snapshot)->name, shk_snapshot_segment(b->snapshot)->name);

    return c ? c : strcmp(a->object->name, b->object->name);
}

static int by_rate(const void *left, const void *right)
{
    const struct row *a = left;
    const struct row *b = right;
    double x = a->rates.put + a->rates.get;
    double y = b->rates.put + b->rates.get;

    return x != y ? (x < y) - (x > y) : by_path(a, b);
}

static int by_waiters(const void *left, const void *right)
{
    const struct row *a = left;
    const struct row *b = right;
    uint64_t x = a->object->waiters;
    uint64_t y = b->object->waiters;

    return x != y ? (x < y) - (x > y) : by_path(a, b);
}

static void sort(struct watch *w)
{
    static int (*const compare[])(const void *, const void *) = {
        [BY_PATH] = by_path, [BY_RATE] = by_rate, [BY_WAITERS] = by_waiters};

    if (w->n)
        qsort(w->rows, w->n, sizeof(*w->rows), compare[w->order]);
}

static void forget(struct watch *w)
{
    drop_snapshots(w->snapshots);
    free(w->rows);
}

/* ---- what does not go on ---- */

/* Not what merely waits: most members do, most of the time. */
static bool is_stuck(const struct world *world, const struct thread *t, const void *arg)
{
    const struct watch *w = arg;
    struct path path;

    (void)world;
    if (t->verdict <= VERDICT_WAITING)
        return false;
    if (!w->operand)
        return true;
    if (is_all_of_etcd(w->operand))
        return shk_snapshot_segment(t->snapshot)->revision != 0;
    parse_path(w->operand, &path);
    return strcmp(shk_snapshot_segment(t->snapshot)->name, path.segment) == 0;
}

/*
 * As 'shmctl why' would. It takes a third of a second if anything is stuck: once a second at most.
 * 0 or an error.
 */
static int judge(struct watch *w)
{
    struct world world;
    int64_t now = monotonic_now();
    size_t size;
    FILE *to;
    int r;

    if (!w->why || (w->judged && now - w->judged < SHK_SEC(1)))
        return 0;
    w->judged = now;
    free(w->stuck);
    w->stuck = NULL;
    to = open_memstream(&w->stuck, &size);
    if (!to)
        return 0;
    r = judge_world(&world, w->operand && is_on_etcd(w->operand) ? w->operand : NULL);
    if (r == 0)
        print_chains(to, &world, is_stuck, w);
    drop_world(&world);
    fclose(to);
    return r;
}

/*
 * Read all again; the rates are since the snapshot before. 0 or an error: then that snapshot may
 * stay.
 */
static int refresh_snapshots(void *watch)
{
    struct watch *w = watch, before = *w;
    const struct shk_object_info *object;
    int64_t now = monotonic_now();
    size_t room = 0;
    int r;

    w->snapshots = try_snapshots(w->operand, &r);
    if (r != 0) {
        drop_snapshots(w->snapshots);
        w->snapshots = before.snapshots;
        return r;
    }
    clock_gettime(CLOCK_REALTIME, &w->read);
    for (struct shk_snapshot **l = w->snapshots; *l; l++)
        room += shk_snapshot_segment(*l)->objects;
    w->rows = allocate(room, sizeof(*w->rows));
    w->n = 0;
    for (struct shk_snapshot **l = w->snapshots; *l; l++) {
        for (size_t i = 0; (object = shk_snapshot_object(*l, i)); i++) {
            struct row *row = &w->rows[w->n++];
            const struct row *was;

            *row = (struct row){*l, object, moves_of(*l, object, now), {-1, -1}};
            was = find_before(before.rows, before.n, &row->moves);
            if (was)
                row->rates = rates_between(&was->moves, &row->moves);
        }
    }
    sort(w);
    r = judge(w);
    forget(&before);
    return r;
}

#ifdef HAVE_NCURSESW

/* The same, and note whether etcd answers. */
static int look(struct watch *w)
{
    int64_t now = monotonic_now();
    int r = look_once(&(struct look){.look = refresh_snapshots, .arg = w});

    if (r == 0)
        w->away = 0;
    else if (r == -EHOSTUNREACH && !w->away)
        w->away = now;
    return r;
}

#endif

/* ---- showing ---- */

#define USUAL "PATH,KIND,STATE,FILL,PUT-RATE,GET-RATE,WAITERS,USERS"

static struct table *make_table(const struct watch *w)
{
    struct table *t = table_new(&object_table, w->style.lines ? "TIME," USUAL : USUAL, &w->style);

    for (size_t i = 0; i < w->n; i++) {
        add_object(t, w->rows[i].snapshot, w->rows[i].object);
        table_set_time(t, "TIME", &w->read);
        add_rates(t, &w->rows[i].rates);
    }
    return t;
}

/* "unreachable for 12s, asked every 1s; as of 12:00:01: no majority …" */
static char *headline_away(const struct watch *w)
{
    char away[QUANTITY_MAX], interval[QUANTITY_MAX], as_of[32] = "";
    struct tm broken_down;

    if (w->read.tv_sec && localtime_r(&w->read.tv_sec, &broken_down))
        strftime(as_of, sizeof(as_of), "; as of %H:%M:%S", &broken_down);
    return print_to_memory("unreachable for %s, asked every %s%s: %s",
                           format_duration(away, monotonic_now() - w->away),
                           format_duration(interval, w->interval), as_of, shk_last_error());
}

/* "12:00:01, every 1s; segments: 2, objects: 5, members: 7, waiting: 3" */
static char *headline(const struct watch *w)
{
    const struct shk_member_info *m;
    char interval[QUANTITY_MAX], clock[16];
    size_t segments = 0, members = 0, waiting = 0;
    time_t now = time(NULL);
    struct tm broken_down;

    if (w->away)
        return headline_away(w);
    for (struct shk_snapshot **l = w->snapshots; *l; l++) {
        segments++;
        for (size_t i = 0; (m = shk_snapshot_member(*l, i)); i++) {
            members += m->alive != 0;
            waiting += m->alive && m->waits_for != SHK_WAITS_NOT;
        }
    }
    localtime_r(&now, &broken_down);
    strftime(clock, sizeof(clock), "%H:%M:%S", &broken_down);
    return print_to_memory("%s, every %s; segments: %zu, objects: %zu, members: %zu, waiting: %zu",
                           clock, format_duration(interval, w->interval), segments, w->n, members,
                           waiting);
}

static int print(const struct watch *w)
{
    struct table *t = make_table(w);
    char *line;
    int status;

    if (!w->style.json && !w->style.raw && !w->style.noheadings) {
        line = headline(w);
        puts(line);
        free(line);
    }
    status = table_print(t);
    table_free(t);
    if (w->stuck && !w->style.json && !w->style.raw)
        fputs(w->stuck, stdout);
    if (!w->style.json && !w->style.raw)
        putchar('\n');
    return fflush(stdout) == 0 ? status : STATUS_FAILED;
}

static int watch_plainly(struct watch *w)
{
    const struct look look = {.look = refresh_snapshots, .arg = w};
    int64_t next = monotonic_now(), now;
    int r = look_until_it_answers(w->operand, w->interval, &look), status = STATUS_DONE;

    for (uint64_t i = 0; r == 0 && status == STATUS_DONE && (!w->count || i < w->count); i++) {
        now = monotonic_now();
        next = next + w->interval < now ? now : next + w->interval;
        if (!sleep_until(next))
            break;
        r = look_until_it_answers(w->operand, w->interval, &look);
        if (r == 0)
            status = print(w);
    }
    return r == 0 || r == -EINTR ? status : snapshots_failed(w->operand, r);
}

/* ---- on a screen ---- */

#ifdef HAVE_NCURSESW
#include <curses.h>
#include <term.h>
#include <termios.h>
#undef columns /* macros of the latter */
#undef lines

/* What ends the screen, for a signal that ends the program while etcd is asked. */
static struct {
    struct termios modes;
    char text[64];
    size_t length;
} screen_end;

static int add_to_screen_end(int c)
{
    if (screen_end.length < sizeof(screen_end.text))
        screen_end.text[screen_end.length++] = (char)c;
    return c;
}

static void prepare_screen_end(void)
{
    static char names[][6] = {"cnorm", "rmcup"};

    screen_end.length = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const char *text = tigetstr(names[i]);

        if (text && text != (const char *)-1)
            tputs(text, 1, add_to_screen_end);
    }
}

/* In the handler of a signal. */
static void end_screen(void)
{
    ssize_t written = write(STDOUT_FILENO, screen_end.text, screen_end.length);

    (void)written; /* the terminal may have gone */
    tcsetattr(STDIN_FILENO, TCSANOW, &screen_end.modes);
}

static const char *const orders[] = {
    [BY_PATH] = "path", [BY_RATE] = "rate", [BY_WAITERS] = "waiters"};

static void put_text(int y, const char *text, size_t length, attr_t attributes)
{
    char *line = print_to_memory("%.*s", (int)length, text);
    char *fitting = text_to_fit(line, COLS);

    attrset(attributes);
    mvaddstr(y, 0, fitting);
    while (attributes == A_REVERSE && getcury(stdscr) == y && getcurx(stdscr) < COLS - 1)
        addch(' ');
    attrset(A_NORMAL);
    free(fitting);
    free(line);
}

/* Can the cursor be placed? (Not where TERM=dumb, or it is a printer.) */
static bool can_place_cursor(void)
{
    static char name[] = "cup";
    const char *how = tigetstr(name);

    return how && how != (const char *)-1;
}

static size_t count_lines(const char *text)
{
    size_t n = 0;

    for (; text && *text; text++)
        n += *text == '\n';
    return n;
}

/* From there on what is stuck, as far as there is room. */
static void paint_stuck(const struct watch *w, int y, size_t room)
{
    size_t lines = count_lines(w->stuck), n = lines <= room ? lines : room - 1;
    const char *at = w->stuck, *end;
    char *more;

    for (size_t i = 0; i < n; i++, at = end + 1) {
        end = strchrnul(at, '\n');
        put_text(y++, at, (size_t)(end - at), A_BOLD);
    }
    if (n == lines)
        return;
    more = print_to_memory("%zu lines more: shmctl why", lines - n);
    put_text(y, more, strlen(more), A_BOLD);
    free(more);
}

static void paint(struct watch *w)
{
    struct table *t = make_table(w);
    char *text = table_to_text(t, COLS);
    char *line = headline(w);
    size_t shown = LINES > 3 ? (size_t)LINES - 3 : 0; /* rows between headings and keys */
    size_t stuck = count_lines(w->stuck);
    size_t row = 0;
    int y = 0;

    /* The objects keep two thirds of it, and what they do not need. */
    if (w->n + stuck > shown && stuck > shown / 3)
        stuck = w->n < shown - shown / 3 ? shown - w->n : shown / 3;
    shown -= stuck;

    erase();
    put_text(y++, line, strlen(line), A_BOLD);
    if (w->first + shown > w->n)
        w->first = w->n > shown ? w->n - shown : 0;
    for (const char *at = text, *end; at && *at; at = end + (*end == '\n')) {
        end = strchrnul(at, '\n');
        if (row == 0 || (row > w->first && row <= w->first + shown))
            put_text(y++, at, (size_t)(end - at), row == 0 ? A_REVERSE : A_NORMAL);
        row++;
    }
    if (stuck)
        paint_stuck(w, y, stuck);
    free(line);
    line =
        print_to_memory("q quit   s order: %s   + - interval   space refresh   w why: %s%s",
                        orders[w->order], w->why ? "on" : "off", w->n > shown ? "   up down" : "");
    if (LINES > 2)
        put_text(LINES - 1, line, strlen(line), A_DIM);
    refresh();
    free(line);
    free(text);
    table_free(t);
}

/* Returns false for "quit". *again: do not wait for the end of the interval. */
static bool obey(struct watch *w, int key, bool *again)
{
    switch (key) {
    case 'q':
        return false;
    case 's':
        w->order = (w->order + 1) % ORDERS;
        sort(w);
        break;
    case '+':
        w->interval = w->interval < SHK_SEC(60) ? w->interval * 2 : w->interval;
        break;
    case '-':
        w->interval = w->interval > SHK_MS(100) ? w->interval / 2 : w->interval;
        break;
    case 'w':
        w->why = !w->why;
        w->judged = 0;
        free(w->stuck);
        w->stuck = NULL;
        *again = true;
        break;
    case ' ':
        *again = true;
        break;
    case KEY_DOWN:
        w->first++;
        break;
    case KEY_UP:
        w->first -= w->first > 0;
        break;
    case KEY_NPAGE:
        w->first += (size_t)LINES;
        break;
    case KEY_PPAGE:
        w->first -= w->first < (size_t)LINES ? w->first : (size_t)LINES;
        break;
    }
    return true;
}

/* Do what keys say until the interval is over. Returns whether to go on. */
static bool await_refresh(struct watch *w, int64_t since)
{
    struct pollfd pollfd = {.fd = STDIN_FILENO, .events = POLLIN};
    bool again = false;
    int key;

    while (!again && !interrupted()) {
        int64_t left = since + w->interval - monotonic_now();
        struct timespec timeout = {.tv_sec = (time_t)(left / SHK_SEC(1)),
                                   .tv_nsec = left % SHK_SEC(1)};

        if (left <= 0)
            break;
        ppoll(&pollfd, 1, &timeout, NULL);
        while ((key = getch()) != ERR) { /* KEY_RESIZE, too */
            if (!obey(w, key, &again))
                return false;
            paint(w);
        }
        if (pollfd.revents & (POLLHUP | POLLERR)) /* the terminal has gone */
            return false;
    }
    return !interrupted();
}

static int watch_on_screen(struct watch *w)
{
    char *type = getenv("TERM");
    SCREEN *terminal;
    int64_t now;
    int r;

    tcgetattr(STDIN_FILENO, &screen_end.modes);
    terminal = newterm(NULL, stdout, stdin);
    if (!terminal) {
        complain("watch", "a terminal of the type '%s' cannot be used; --batch needs none",
                 type ? type : "");
        return STATUS_FAILED;
    }
    if (!can_place_cursor()) {
        delscreen(terminal);
        return watch_plainly(w);
    }
    cbreak();
    noecho();
    keypad(stdscr, true);
    nodelay(stdscr, true);
    curs_set(0);
    prepare_screen_end();
    before_interrupts_kill(end_screen);
    for (uint64_t i = 0;;) {
        now = monotonic_now();
        r = look(w);
        if ((r != 0 && r != -EHOSTUNREACH) || (r == 0 && w->count && i++ == w->count))
            break;
        paint(w);
        if (!await_refresh(w, r == 0 ? now : monotonic_now()))
            break;
    }
    before_interrupts_kill(NULL);
    endwin();
    delscreen(terminal);
    return r == 0 || r == -EINTR || r == -EHOSTUNREACH ? STATUS_DONE
                                                       : snapshots_failed(w->operand, r);
}

#else

static int watch_on_screen(struct watch *w)
{
    (void)w;
    complain(
        "watch",
        "built without ncurses (Debian package: libncurses-dev): --batch prints without a screen");
    return STATUS_FAILED;
}

#endif

/* ---- */

static int run(const struct command *command, int argc, char **argv)
{
    struct watch w = {.interval = SHK_SEC(1)};
    bool batch = !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO);
    int status;
    int key;

    while ((key = next_option(command, argc, argv)) != -1) {
        if (key == 'i')
            w.interval = parse_timeout(optarg);
        else if (key == 'c')
            w.count = parse_number(optarg, UINT32_MAX);
        else if (key == OPTION_PRIVATE)
            batch = true;
        else if (key == 'w')
            w.why = true;
        else if (key == OPTION_JSON_LINES)
            w.style.lines = w.style.json = w.style.bytes = true;
        else
            table_option(&w.style, key);
    }
    check_operands(argc, 0, 1);
    if (w.interval < SHK_MS(10))
        usage_error("the interval is 10ms at least");
    w.operand = argv[optind];
    w.snapshots = allocate(1, sizeof(*w.snapshots));
    batch = batch || w.style.json || w.style.raw;
    w.why = w.why || !batch;
    catch_interrupts();
    status = batch ? watch_plainly(&w) : watch_on_screen(&w);
    forget(&w);
    free(w.stuck);
    return status;
}

static const struct option_row options[] = {
    {'i', "interval", "TIME", "between two displays (1s)"},
    {'c', "count", "N", "end after N displays"},
    {'w', "why", NULL, "tell what does not go on, as 'shmctl why'"},
    {OPTION_JSON_LINES, "json-lines", NULL, "print a line of JSON an object, with its time"},
    {OPTION_PRIVATE, "batch", NULL, "print one display after the other, without a screen"},
    TABLE_ROWS,
    {0},
};

const struct command cmd_watch = {
    .name = "watch",
    .arguments = "[OPTION...] [SEGMENT | etcd:]",
    .summary = "show the objects as they change: rates, fill, waiters",
    .notes = "Keys: q quit; s another order (path, rate, waiters); + - the interval; space\n"
             "refresh; w with or without what does not go on; arrows and page keys scroll.\n"
             "Where there is no terminal, and with --json, --json-lines or --raw, --batch is\n"
             "implied. While no majority of etcd answers it says so, and goes on asking.",
    .options = options,
    .tables = (const struct table_kind *const[]){&object_table, NULL},
    .run = run,
};
