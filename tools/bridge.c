#include "bridge.h"
#include "fit.h"
#include "origin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#define PAUSE_FIRST SHK_MS(100) /* after a try in vain; doubled each time */
#define PAUSE_MOST  SHK_SEC(5)
#define SHOWN_EACH  SHK_SEC(0.5)

/* ---- What is told ---- */

void bridge_end_line(struct bridge *b)
{
    if (b->shows && b->shown)
        fputs("\r\033[K", stderr);
}

static double seconds_since(int64_t when)
{
    return (double)(monotonic_now() - when) / 1e9;
}

static int width_of_terminal(void)
{
    struct winsize terminal;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &terminal) == 0 && terminal.ws_col > 1
               ? terminal.ws_col - 1 /* in the last column some terminals go on to the next line */
               : 79;
}

/* "12 s", "3m04s", "2h07m" */
static void add_duration(FILE *to, int64_t since)
{
    int64_t seconds = (monotonic_now() - since) / SHK_SEC(1);

    if (seconds < 60)
        fprintf(to, "%" PRId64 " s", seconds);
    else if (seconds < 3600)
        fprintf(to, "%" PRId64 "m%02" PRId64 "s", seconds / 60, seconds % 60);
    else
        fprintf(to, "%" PRId64 "h%02" PRId64 "m", seconds / 3600, seconds / 60 % 60);
}

/* "1200 items carried, 512/s, 37 waiting, etcd unreachable for 12 s" */
static void write_progress(const struct bridge *b, uint64_t waiting, FILE *to)
{
    fprintf(to, "%" PRIu64 " %s%s carried, %.*f/s", b->carried, b->what, b->carried == 1 ? "" : "s",
            b->rate < 100 ? 1 : 0, b->rate);
    if (waiting != BRIDGE_NO_COUNT)
        fprintf(to, ", %" PRIu64 " waiting", waiting);
    if (b->lost)
        fprintf(to, ", %" PRIu64 " lost", b->lost);
    if (b->away_since) {
        fputs(", etcd unreachable for ", to);
        add_duration(to, b->away_since);
    } else if (b->full_since) {
        fputs(", queue on etcd full for ", to);
        add_duration(to, b->full_since);
    }
}

/* Between two looks, and half of what it was before: it does not jump. */
static void note_rate(struct bridge *b)
{
    double now;

    if (b->shown) {
        now = (double)(b->carried - b->shown_count) / seconds_since(b->shown);
        b->rate = b->rate > 0 && now > 0 ? (b->rate + now) / 2 : now;
    }
    b->shown = monotonic_now();
    b->shown_count = b->carried;
}

void bridge_show(struct bridge *b, uint64_t waiting)
{
    char *line = NULL, *fitting;
    size_t size;
    FILE *to;

    if (!b->shows || monotonic_now() - b->shown < SHOWN_EACH)
        return;
    note_rate(b);
    to = open_memstream(&line, &size);
    if (!to)
        return;
    write_progress(b, waiting, to);
    if (fclose(to) == 0) {
        fitting = text_to_fit(line, width_of_terminal());
        fprintf(stderr, "\r%s\033[K", fitting);
        free(fitting);
    }
    free(line);
}

/* For ps, why and show. A name that the segment refuses stays as it was. */
static void name_state(const struct bridge *b)
{
    time_t now = time(NULL);
    struct tm local;
    char name[SHK_NAME_MAX + 1], since[48] = "";

    if (b->away_since && localtime_r(&now, &local))
        strftime(since, sizeof(since), ", unreachable since %F %T", &local);
    snprintf(name, sizeof(name), "%.*s%s", (int)(sizeof(name) - sizeof(since)), "bridge", since);
    if (b->away_since || !has_chosen_name())
        shk_set_member_name(b->local, name);
    else
        name_member(b->local);
}

void bridge_begin(const struct bridge *b)
{
    name_state(b);
}

/* ---- Waiting ---- */

static void note_away(struct bridge *b)
{
    if (b->away_since)
        return;
    b->away_since = monotonic_now();
    b->full_since = 0;
    if (!b->quiet) {
        bridge_end_line(b);
        complain(b->to.text, "%s", shk_last_error());
    }
    name_state(b);
}

void bridge_reached(struct bridge *b, uint64_t waiting)
{
    int64_t since = b->away_since;

    b->pause = 0;
    b->full_since = 0;
    b->away_since = 0;
    if (since == 0)
        return;
    if (!b->quiet) {
        bridge_end_line(b);
        if (waiting == BRIDGE_NO_COUNT)
            complain(b->to.text, "reached again after %.1f s", seconds_since(since));
        else
            complain(b->to.text, "reached again after %.1f s; %" PRIu64 " waiting",
                     seconds_since(since), waiting);
    }
    name_state(b);
}

/* Sleep; what is shown goes on. false: a signal that ends the program has come. */
static bool sleep_for(struct bridge *b, int64_t pause, uint64_t waiting)
{
    int64_t until = monotonic_now() + pause, next;

    for (;;) {
        bridge_show(b, waiting);
        next = monotonic_now() + SHOWN_EACH;
        if (!sleep_until(next < until ? next : until))
            return false;
        if (monotonic_now() >= until)
            return true;
    }
}

static bool is_over(const struct bridge *b)
{
    int64_t since = b->away_since ? b->away_since : b->full_since;

    return b->acting.timeout != SHK_FOREVER && since &&
           monotonic_now() - since >= b->acting.timeout;
}

int bridge_may_wait(struct bridge *b, int error, uint64_t waiting)
{
    if (interrupted())
        return -EINTR;
    if (error == -ETIMEDOUT) { /* full: the call itself has waited */
        int64_t since = b->full_since ? b->full_since : monotonic_now() - BRIDGE_TURN;

        bridge_reached(b, waiting);
        b->full_since = since;
        bridge_show(b, waiting);
        return is_over(b) ? -ETIMEDOUT : 0;
    }
    if (error != -EHOSTUNREACH && error != -ENOSPC) /* -ENOSPC: its quota, which is mended there */
        return error;
    note_away(b);
    if (is_over(b))
        return -EHOSTUNREACH;
    b->pause = b->pause == 0 ? PAUSE_FIRST : b->pause * 2 < PAUSE_MOST ? b->pause * 2 : PAUSE_MOST;
    return sleep_for(b, b->pause, waiting) ? 0 : -EINTR;
}

/* ---- The other end ---- */

static int open_segment(struct bridge *b)
{
    bool made;

    return b->remote ? 0
           : b->acting.flags & SHK_CREATE
               ? open_or_make_segment(b->to.segment, 0, NULL, &made, &b->remote)
               : shk_segment_open(b->to.segment, 0, NULL, &b->remote);
}

int bridge_open(struct bridge *b, const char *kind, int (*open)(struct bridge *, void *arg),
                void *arg)
{
    const struct opening opening = {.path = &b->to, .kind = kind};
    int r;

    do {
        /* it waits for a server for seconds, and has nothing in hand */
        r = let_interrupts_kill(true) ? -EINTR : open_segment(b);
        if (r == 0)
            r = open(b, arg);
        let_interrupts_kill(false);
        if (r == 0) {
            set_interrupt(b->remote);
            return STATUS_DONE;
        }
        r = bridge_may_wait(b, r, BRIDGE_NO_COUNT);
    } while (r == 0);
    return r == -ENOENT ? failed_to_open(&opening, r) : bridge_failed(b, &b->to, r);
}

int bridge_failed(struct bridge *b, const struct path *about, int error)
{
    char time[TIME_MAX];

    bridge_end_line(b);
    if (error == BRIDGE_COMPLAINED)
        return STATUS_FAILED;
    if (error == -ETIMEDOUT && about == &b->to) {
        complain(about->text, "the queue has been full for %s", say_time(time, b->acting.timeout));
        return STATUS_BLOCKED;
    }
    if (error == -EHOSTUNREACH) {
        complain(about->text, "unreachable for %s: %s", say_time(time, b->acting.timeout),
                 shk_last_error());
        return STATUS_BLOCKED;
    }
    return failed(about->text, error);
}
