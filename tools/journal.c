#include "journal.h"
#include "print.h"
#include "printable.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ITEM_MAX 4096 /* bytes of an item in a line */

static const struct column columns[] = {
    {"TIME", "when it was", 0},
    {"EVENT", "started, done, failed, retried, given-up, returned, lost", 0},
    {"QUEUE", "the queue of the item", 0},
    {"ITEM", "the item, 4096 bytes at most; bytes that are no text as \\xHH", 0},
    {"LENGTH", "its bytes", COLUMN_NUMBER},
    {"ATTEMPT", "how often it was handed out, this time, too", COLUMN_NUMBER},
    {"PID", "started: the process of the command", COLUMN_NUMBER},
    {"STATUS", "done, failed: of the command, as a shell has it", COLUMN_NUMBER},
    {"FOR", "done, failed: how long the command has run", COLUMN_NUMBER},
    {"REASON", "failed, given-up, returned, lost: why", 0},
    {"PAUSE", "retried: until the next attempt", COLUMN_NUMBER},
    {"INTO", "done, given-up: the queue that has got the result, or the item", 0},
    {0},
};

static const struct table_kind event_table = {"events", columns};

static const struct table_style style = {.json = true, .lines = true, .bytes = true};

/* A handler, and not SIG_IGN, which would be that of the commands, too. */
static void do_nothing(int number)
{
    (void)number;
}

void journal_begin(void)
{
    const struct sigaction nothing = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};
    struct sigaction old;

    sigaction(SIGPIPE, NULL, &old);
    if (old.sa_handler == SIG_DFL)
        sigaction(SIGPIPE, &nothing, NULL);
}

static void set_item(struct table *t, const struct job *job)
{
    const unsigned char *bytes = (const unsigned char *)job->item;
    size_t n = job->length < ITEM_MAX ? job->length : ITEM_MAX;
    char *text;

    while (n < job->length && n > 0 && (bytes[n] & 0xc0) == 0x80)
        n--; /* no half of a character */
    text = to_printable(bytes, n);
    table_set(t, "ITEM", "%s", text);
    free(text);
}

static void set_end(struct table *t, const struct job *job)
{
    if (!job->has_run)
        return;
    table_set(t, "STATUS", "%d", job->status);
    table_set_duration(t, "FOR", monotonic_now() - job->started);
}

int journal_write(const struct work *w, const struct job *job, const char *event,
                  const char *reason, int64_t pause, const char *into)
{
    struct table *t =
        table_new(&event_table,
                  "TIME,EVENT,QUEUE,ITEM,LENGTH,ATTEMPT,PID,STATUS,FOR,REASON,PAUSE,INTO", &style);
    struct timespec now;
    int error;

    clock_gettime(CLOCK_REALTIME, &now);
    table_row(t);
    table_set_time(t, "TIME", &now);
    table_set(t, "EVENT", "%s", event);
    table_set(t, "QUEUE", "%s", w->path->text);
    set_item(t, job);
    table_set(t, "LENGTH", "%zu", job->length);
    table_set(t, "ATTEMPT", "%" PRIu32, job->info.attempts);
    if (strcmp(event, "started") == 0)
        table_set(t, "PID", "%d", (int)job->process);
    else if (strcmp(event, "done") == 0 || strcmp(event, "failed") == 0)
        set_end(t, job);
    if (reason)
        table_set(t, "REASON", "%s", reason);
    if (pause >= 0)
        table_set_duration(t, "PAUSE", pause);
    if (into)
        table_set(t, "INTO", "%s", into);
    table_print(t);
    table_free(t);
    if (fflush(stdout) == 0)
        return 0;
    error = errno;
    __fpurge(stdout); /* and it is complained of once */
    clearerr(stdout);
    return -error;
}
