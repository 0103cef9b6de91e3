/* The live plot in a terminal: ncurses, and braille characters of 2 by 4 dots. */
#include "screen.h"
#include "curve.h"
#include "picture.h"

#ifdef HAVE_NCURSESW

#include <errno.h>
#include <math.h>
#include <ncurses.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

/*
 * In cells: the least plot area, the least height of a strip, and what is around the strips of a
 * stream: a title above, an axis and its numbers below.
 */
enum { LEAST_WIDTH = 20, LEAST_HEIGHT = 1, AROUND = 3, MOST_CELLS = 1024 };

/* Rows of a strip for each number on its axis; less than two numbers' are low: see there. */
enum { ROWS_A_NUMBER = 3, LOW = 4 };

static const short colours[] = {COLOR_CYAN,    COLOR_YELLOW, COLOR_GREEN,
                                COLOR_MAGENTA, COLOR_BLUE,   COLOR_RED};
enum { COLOURS = sizeof(colours) / sizeof(*colours) };

struct screen {
    struct plot *plot;  /* what is fetched */
    struct plot frozen; /* what is shown while it is frozen: copies of the samples */
    bool freeze;
    struct axis axes[MOST_STRIPS];
    cchar_t braille[COLOURS][PATTERNS]; /* each pattern of dots as a character */
    char message[400];                  /* instead of the keys, until the next one */
};

/* ---- a stream's part of the screen ---- */

static void put_curve(const cchar_t *braille, const struct span *spans, int top, int left,
                      int width, int height)
{
    for (int row = 0; row < height; row++) {
        int above = (height - row) * DOTS_Y - 1; /* the highest dot of this row of cells */
        cchar_t cells[MOST_CELLS];

        for (int column = 0; column < width; column++)
            cells[column] = braille[pattern_of(spans, column, above)];
        mvadd_wchnstr(top + row, left, cells, width);
    }
}

/* A low strip has room for the two ends of its axis, of which a row alone has the upper one. */
static void put_ends(const struct axis *axis, int top, int left, int height)
{
    char text[32];

    print_number(text, sizeof(text), axis->low, axis->step);
    mvprintw(top + height - 1, 0, "%*.*s", left - 2, left - 2, text);
    print_number(text, sizeof(text), axis->high, axis->step);
    mvprintw(top, 0, "%*.*s", left - 2, left - 2, text);
}

static void put_value_axis(const struct axis *axis, int top, int left, int height)
{
    mvvline_set(top, left - 1, WACS_VLINE, height);
    if (height < LOW) {
        put_ends(axis, top, left, height);
        return;
    }
    for (double value = ceil(axis->low / axis->step - 1e-9) * axis->step;
         value <= axis->high + axis->step * 1e-9; value += axis->step) {
        double share = (value - axis->low) / (axis->high - axis->low);
        int dot = lround(share * (height * DOTS_Y - 1)), row = top + height - 1 - dot / DOTS_Y;
        char text[32];

        print_number(text, sizeof(text), value, axis->step);
        mvprintw(row, 0, "%*.*s", left - 2, left - 2, text);
        mvadd_wch(row, left - 1, WACS_RTEE);
    }
}

/*
 * How far back from the newest sample, which is at 0: in seconds if the rate is known, else in
 * samples.
 */
static void put_time_axis(const struct plot *plot, const struct trace *trace, int top, int left,
                          int width)
{
    enum { BETWEEN = 14 };
    double range = (plot->window - 1) * step_of(plot, trace);
    double step = nice_step(range, width / BETWEEN > 0 ? width / BETWEEN : 1);
    bool seconds = has_seconds(plot, trace);

    if (!seconds)
        step = fmax(1, step);
    mvhline_set(top, left, WACS_HLINE, width);
    mvadd_wch(top, left - 1, WACS_LLCORNER);
    for (int i = 0; i * step <= range * (1 + 1e-9); i++) {
        int column = left + (width - 1) - lround(i * step / range * (width - 1)), start;
        char text[32];

        mvadd_wch(top, column, WACS_TTEE);
        print_number(text, sizeof(text), -i * step, step);
        start = column - (int)strlen(text) / 2;
        if (i == 0) {
            snprintf(text, sizeof(text), seconds ? "0 s" : "0 samples");
            start = left + width - (int)strlen(text);
        }
        if (start >= left - 3)
            mvaddstr(top + 1, start, text);
    }
}

static void put_title(const struct plot *plot, const struct feed *feed, int top, int width)
{
    char numbers[200], rate[40] = "-",
                       *path = printable(feed->place.path, strlen(feed->place.path));
    int length;

    if (feed->rate >= 0)
        snprintf(rate, sizeof(rate), feed->rate < 100 ? "%.1f" : "%.0f", feed->rate);
    length = snprintf(numbers, sizeof(numbers), "%s%s samples/s  dropped %lld",
                      feed->ended == -EOWNERDEAD ? "a writer has died  "
                      : feed->ended              ? "the writer has ended  "
                                                 : "",
                      rate, (long long)feed->dropped);
    attron(A_BOLD);
    if (path)
        mvaddnstr(top, 1, path, -1);
    if (*plot->unit)
        printw("  [%s]", plot->unit);
    attroff(A_BOLD);
    if (length + 2 < width)
        mvprintw(top, width - length - 3, "  %s ", numbers);
    free(path);
}

/* The strip of one channel. */
static void put_strip(struct screen *screen, const struct plot *plot, int i, int top, int left,
                      int width, int height)
{
    const struct trace *trace = &plot->traces[i];
    const struct feed *feed = &plot->feeds[trace->feed];
    struct axis *axis = &screen->axes[i];
    struct span spans[MOST_CELLS * DOTS_X];
    size_t count;
    const double *samples = window_of(plot, trace, &count);

    adjust(axis, samples, count, height < LOW ? LOW : 1 + height / ROWS_A_NUMBER);
    trace_curve(spans, width * DOTS_X, height * DOTS_Y, axis, samples, count, plot->window);
    put_value_axis(axis, top, left, height);
    if (feed->channels > 1) {
        attron(A_BOLD);
        mvprintw(top, 1, "%d", i - feed->first + 1);
        attroff(A_BOLD);
    }
    put_curve(screen->braille[i % COLOURS], spans, top, left, width, height);
    if (count == 0)
        mvaddnstr(top, left + 1, "no samples yet", width - 1);
    else if (!has_number(samples, count))
        mvaddnstr(top, left + 1, "no finite number among the samples", width - 1);
}

/* ---- the screen ---- */

static void put_last_line(const struct screen *screen, const struct plot *plot, int row)
{
    move(row, 1);
    if (*screen->message)
        addstr(screen->message);
    else
        printw("q quit  space %s  +/- window %zu  s save", screen->freeze ? "go on" : "freeze",
               plot->window);
    if (screen->freeze) {
        addstr("  ");
        attron(A_REVERSE);
        addstr(" FROZEN ");
        attroff(A_REVERSE);
    }
}

/* A stream: its title, a strip for each of its channels, its axis. All strips are about as high. */
static void put_screen(struct screen *screen)
{
    enum { LEFT = 10, LEFT_OF_CHANNELS = 14 };
    const struct plot *plot = screen->freeze ? &screen->frozen : screen->plot;
    int rows = LINES - 1 - AROUND * plot->n_feeds, height = rows / plot->n, more = rows % plot->n;
    int top = 0;

    erase();
    if (height < LEAST_HEIGHT || COLS < LEAST_WIDTH)
        mvaddstr(0, 0, "The terminal is too small.");
    for (int f = 0; height >= LEAST_HEIGHT && COLS >= LEAST_WIDTH && f < plot->n_feeds; f++) {
        const struct feed *feed = &plot->feeds[f];
        int left = feed->channels > 1 ? LEFT_OF_CHANNELS : LEFT, width = COLS - left - 1;

        if (width > MOST_CELLS)
            width = MOST_CELLS;
        put_title(plot, feed, top++, COLS);
        for (int i = feed->first; i < feed->first + feed->channels; i++) {
            put_strip(screen, plot, i, top, left, width, height + (i < more));
            top += height + (i < more);
        }
        put_time_axis(plot, &plot->traces[feed->first], top, left, width);
        top += AROUND - 1;
    }
    put_last_line(screen, plot, LINES - 1);
    refresh();
}

/*
 * Copy what is shown, so that the streams can be fetched all the same. Returns whether there was
 * memory.
 */
static bool freeze(struct screen *screen)
{
    screen->frozen = *screen->plot;
    for (int i = 0; i < screen->frozen.n; i++) {
        struct trace *copy = &screen->frozen.traces[i];
        const struct trace *trace = &screen->plot->traces[i];
        size_t there = screen->plot->feeds[trace->feed].count,
               *count = &screen->frozen.feeds[trace->feed].count;

        *count = there < MOST_WINDOW ? there : MOST_WINDOW;
        copy->samples = calloc(*count + 1, sizeof(double));
        if (!copy->samples) {
            while (i > 0)
                free(screen->frozen.traces[--i].samples);
            return false;
        }
        memcpy(copy->samples, trace->samples + there - *count, *count * sizeof(double));
    }
    return true;
}

static void thaw(struct screen *screen)
{
    for (int i = 0; screen->freeze && i < screen->frozen.n; i++)
        free(screen->frozen.traces[i].samples);
    screen->freeze = false;
}

/* The windows are 1, 2 and 5 times powers of ten, and what the person has asked for. */
static void change_window(struct screen *screen, bool more)
{
    static const size_t windows[] = {10,   20,   50,    100,   200,   500,        1000,
                                     2000, 5000, 10000, 20000, 50000, MOST_WINDOW};
    enum { WINDOWS = sizeof(windows) / sizeof(*windows) };
    size_t window = screen->plot->window;
    int i;

    if (more)
        for (i = 0; i < WINDOWS - 1 && windows[i] <= window; i++)
            continue;
    else
        for (i = WINDOWS - 1; i > 0 && windows[i] >= window; i--)
            continue;
    screen->plot->window = screen->frozen.window = windows[i];
}

/* A picture of what is shown, in a file of a name that tells the stream and the time. */
static void save_picture(struct screen *screen)
{
    const struct plot *plot = screen->freeze ? &screen->frozen : screen->plot;
    char file[300], clock[32], why[300];
    time_t time_now = time(NULL);

    strftime(clock, sizeof(clock), "%Y%m%d-%H%M%S", localtime(&time_now));
    snprintf(file, sizeof(file), "%s-%s.svg", plot->feeds[0].place.object, clock);
    for (char *c = file; *c; c++) {
        if (*c == '/')
            *c = '-';
    }
    if (make_picture(plot, file, why, sizeof(why)))
        snprintf(screen->message, sizeof(screen->message), "saved %.300s", file);
    else
        snprintf(screen->message, sizeof(screen->message), "not saved: %.300s", why);
}

/* Returns whether to go on. */
static bool obey(struct screen *screen, int key)
{
    *screen->message = '\0';
    switch (key) {
    case 'q':
    case 'Q':
        return false;
    case ' ':
        if (screen->freeze)
            thaw(screen);
        else
            screen->freeze = freeze(screen);
        break;
    case '+':
    case '=':
        change_window(screen, true);
        break;
    case '-':
        change_window(screen, false);
        break;
    case 's':
        save_picture(screen);
        break;
    }
    return true;
}

/*
 * Do what keys say until it is time for the next frame. Returns whether to go on; sets *changed if
 * there were any.
 */
static bool await_frame(struct screen *screen, int64_t frame, bool *changed)
{
    struct pollfd pollfd = {.fd = STDIN_FILENO, .events = POLLIN};
    int key;

    do {
        int64_t left = frame - now();
        struct timespec timeout = {.tv_nsec = left > 0 ? left : 0};

        ppoll(&pollfd, 1, &timeout, NULL);
        while ((key = getch()) != ERR) { /* KEY_RESIZE, too */
            *changed = true;
            if (!obey(screen, key))
                return false;
        }
        if (pollfd.revents & (POLLHUP | POLLERR)) /* the terminal has gone */
            return false;
    } while (now() < frame && !*changed && !interrupted);
    return !interrupted;
}

/* Returns the library's error, or 0 when a key has ended it. */
static int run(struct screen *screen, struct feed **failing)
{
    const int64_t period = SHK_SEC(1) / FRAMES_A_SECOND;
    int64_t frame = now(), second = 0;
    bool changed = true;

    for (;;) {
        ssize_t n = fetch(screen->plot, failing);

        if (n < 0)
            return n;
        /* When nothing comes, the rate still has to be seen to fall. */
        if (changed || (n > 0 && !screen->freeze) || now() / SHK_SEC(1) != second)
            put_screen(screen);
        second = now() / SHK_SEC(1);
        changed = false;
        frame += period;
        if (frame < now() || frame > now() + period) /* held up, or there was a key */
            frame = now() + period;
        if (!await_frame(screen, frame, &changed))
            return 0;
    }
}

static void prepare(struct screen *screen)
{
    bool coloured;

    cbreak();
    noecho();
    keypad(stdscr, true);
    nodelay(stdscr, true);
    curs_set(0);
    coloured = has_colors() && start_color() == OK && use_default_colors() == OK;
    for (int i = 0; i < COLOURS; i++) {
        if (coloured)
            init_pair(i + 1, colours[i], -1);
        for (int pattern = 0; pattern < PATTERNS; pattern++) {
            wchar_t text[] = {(wchar_t)(pattern ? 0x2800 + pattern : ' '), L'\0'};

            setcchar(&screen->braille[i][pattern], text, A_NORMAL, coloured ? i + 1 : 0, NULL);
        }
    }
}

/* Not where TERM=dumb, or it is a printer: it would be sent blanks for ever. */
static bool can_place_cursor(void)
{
    static char name[] = "cup";
    const char *how = tigetstr(name);

    return how && how != (const char *)-1;
}

int show_on_screen(struct plot *plot)
{
    struct screen *screen = calloc(1, sizeof(*screen));
    SCREEN *terminal;
    struct feed *failing;
    int r;

    if (!screen) {
        complain("%s", strerror(ENOMEM));
        return FAILED;
    }
    terminal = newterm(NULL, stdout, stdin);
    if (!terminal) {
        complain("a terminal of the type '%s' cannot be used",
                 getenv("TERM") ? getenv("TERM") : "");
        free(screen);
        return FAILED;
    }
    if (!can_place_cursor()) {
        delscreen(terminal);
        free(screen);
        complain("a terminal of the type '%s' cannot place its cursor: --output FILE makes a "
                 "picture, --window-system shows a window",
                 getenv("TERM") ? getenv("TERM") : "");
        return FAILED;
    }
    screen->plot = plot;
    prepare(screen);
    r = run(screen, &failing);
    endwin();
    delscreen(terminal);
    thaw(screen);
    free(screen);
    if (r < 0)
        return failed(&failing->place, r);
    return interrupted ? FAILED : DONE;
}

#else

int show_on_screen(struct plot *plot)
{
    (void)plot;
    complain("built without ncurses (Debian package: libncurses-dev): --output FILE makes a "
             "picture, --window-system shows a window");
    return FAILED;
}

#endif
