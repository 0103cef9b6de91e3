#include "job.h"
#include "crew.h"
#include "journal.h"
#include "spawn.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ROOM_KEPT  ((size_t)64 << 10) /* bytes for items, by a job that has none */
#define SHOWN_MAX  60                 /* bytes of an item in a complaint */
#define FULL_RETRY SHK_MS(50)         /* where a target is full */

/* ---- what is said ---- */

void work_say(const struct work *w, const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = vprint_to_memory(format, arguments);
    va_end(arguments);
    if (w->shows_progress)
        fputs("\r\033[K", stderr);
    complain(w->path->text, "%s", text);
    free(text);
}

/* Of an item as much as may be printed of its beginning. */
static const char *show(char buffer[SHOWN_MAX + 4], const struct job *job)
{
    size_t n = 0;

    while (n < job->length && n < SHOWN_MAX && job->item[n] &&
           !iscntrl((unsigned char)job->item[n])) {
        buffer[n] = job->item[n];
        n++;
    }
    while (n == SHOWN_MAX && n > 0 && ((unsigned char)job->item[n] & 0xc0) == 0x80)
        n--; /* no half of a character */
    strcpy(buffer + n, n < job->length ? "..." : "");
    return buffer;
}

/* ---- room for the item ---- */

void job_make_room(struct job *job, size_t room)
{
    free(job->item);
    job->item = allocate(room + 1, 1);
    job->room = room;
}

/* What one large item has taken is not kept for small ones. */
static void drop_item(struct job *job)
{
    if (job->room <= ROOM_KEPT)
        return;
    free(job->item);
    job->item = NULL;
    job->room = 0;
}

/* An error that would meet the next item, too. */
static void end_work(struct work *w, int status)
{
    w->ended = true;
    if (w->status == STATUS_DONE)
        w->status = status;
}

/* For what reads the journal. What cannot be told ends the work, once what is in hand has ended. */
static void tell(struct work *w, const struct job *job, const char *event, const char *reason,
                 int64_t pause, const char *into)
{
    int r = w->has_journal ? journal_write(w, job, event, reason, pause, into) : 0;

    if (r == 0)
        return;
    w->has_journal = false;
    work_say(w, "standard output: %s; it ends", strerror(-r));
    end_work(w, STATUS_FAILED);
}

/* ---- the end of a lease ---- */

static void become_free(struct work *w, struct job *job)
{
    drop_item(job);
    if (job->output > 0)
        close(job->output);
    free(job->reason);
    job->output = 0;
    job->reason = NULL;
    job->state = FREE;
    w->busy--;
}

/* Back into its queue; delay as shk_queue_nack() has it. */
static void give_back(struct work *w, struct job *job, int64_t delay)
{
    char shown[SHOWN_MAX + 4];
    int r = shk_queue_nack(w->queue, job->ticket, delay);

    if (r < 0)
        tell(w, job, "lost", shk_last_error(), -1, NULL);
    else
        tell(w, job, delay < 0 ? "returned" : "retried", delay < 0 ? job->reason : NULL, delay,
             NULL);
    if (r < 0)
        work_say(w, "item '%s': %s", show(shown, job), shk_last_error());
    else if (delay < 0 && job->reason)
        work_say(w, "item '%s': %s; it has been given back", show(shown, job), job->reason);
    else if (delay < 0)
        work_say(w, "item '%s' has been given back", show(shown, job));
    become_free(w, job);
}

/* ---- results, and items that have failed ---- */

/* What the command has printed, NULL: it cannot be read. */
static char *read_output(const struct job *job, size_t *length)
{
    struct stat st;
    char *text;
    ssize_t n = 0;

    *length = 0;
    if (fstat(job->output, &st) < 0)
        return NULL;
    text = allocate((size_t)st.st_size + 1, 1);
    while (*length < (size_t)st.st_size && n >= 0) {
        n = pread(job->output, text + *length, (size_t)st.st_size - *length, (off_t)*length);
        if (n == 0)
            break;
        *length += n > 0 ? (size_t)n : 0;
    }
    return text;
}

static int put(const struct target *t, const char *item, size_t length, int64_t priority)
{
    int r = shk_queue_put_priority(t->queue, item, length, priority, SHK_NOWAIT);

    return r == -ENOTSUP ? shk_queue_put(t->queue, item, length, SHK_NOWAIT) : r;
}

static int put_result(const struct work *w, const struct job *job)
{
    size_t length;
    char *text = read_output(job, &length);
    int r = text ? put(&w->results, text, length, job->info.priority) : -EIO;

    free(text);
    return r;
}

static void fail(struct work *, struct job *, bool for_good, char *reason);

static void complain_of_target(struct work *w, struct job *job, const struct target *t, int error)
{
    failed(t->path.text, error);
    give_back(w, job, -1);
    end_work(w, STATUS_FAILED);
}

static void acknowledge(struct work *w, struct job *job)
{
    char shown[SHOWN_MAX + 4];

    /*
     * killed here: the item comes back, though it has been worked on, or has been put into another
     * queue.
     */
    if (shk_queue_ack(w->queue, job->ticket) < 0) {
        tell(w, job, "lost", shk_last_error(), -1, NULL);
        work_say(w, "item '%s': %s", show(shown, job), shk_last_error());
        end_work(w, STATUS_FAILED);
    } else if (job->state == DELIVERS) {
        w->done++;
        tell(w, job, "done", NULL, -1, w->results.queue ? w->results.path.text : NULL);
        if (w->verbose)
            work_say(w, "item '%s': done in %.3g s", show(shown, job),
                     (double)(monotonic_now() - job->started) / 1e9);
    } else {
        w->given_up++;
        tell(w, job, "given-up", job->reason, -1, w->failed.queue ? w->failed.path.text : NULL);
        work_say(w, "item '%s': %s; given up after %" PRIu32 " attempt%s%s%s", show(shown, job),
                 job->reason, job->info.attempts, job->info.attempts == 1 ? "" : "s",
                 w->failed.queue ? ", and put into " : "",
                 w->failed.queue ? w->failed.path.text : "");
        if (w->stops)
            end_work(w, job->status);
    }
    become_free(w, job);
}

/* Full, or busy; a signal that ends the wait for what is busy is seen to by the loop. */
static bool may_have_room_later(int r)
{
    return r == -EAGAIN || r == -EBUSY || r == -EINTR;
}

/* DELIVERS or GIVES_UP: as far as there is room, and else later. */
static void settle(struct work *w, struct job *job)
{
    const struct target *t = job->state == DELIVERS ? &w->results : &w->failed;
    int r = 0;

    if (t->queue)
        r = job->state == DELIVERS ? put_result(w, job)
                                   : put(t, job->item, job->length, job->info.priority);
    if (may_have_room_later(r) && w->haste >= ENDS_COMMANDS)
        give_back(w, job, -1);
    else if (may_have_room_later(r))
        job->due = monotonic_now() + FULL_RETRY;
    else if (r == -EMSGSIZE && job->state == DELIVERS)
        fail(w, job, false, print_to_memory("%s", shk_last_error()));
    else if (r < 0)
        complain_of_target(w, job, t, r);
    else
        acknowledge(w, job);
}

/* for_good: another attempt would fare no better. The reason becomes the job's. */
static void fail(struct work *w, struct job *job, bool for_good, char *reason)
{
    char shown[SHOWN_MAX + 4];

    free(job->reason);
    job->reason = reason;
    tell(w, job, "failed", reason, -1, NULL);
    if (w->haste >= ENDS_COMMANDS && !for_good) {
        give_back(w, job, -1);
    } else if (job->info.attempts <= w->retries && !for_good) {
        w->retried++;
        work_say(w, "item '%s': %s; attempt %" PRIu32 " of %" PRIu64, show(shown, job), reason,
                 job->info.attempts, w->retries + 1);
        give_back(w, job, w->delay);
    } else {
        job->state = GIVES_UP;
        settle(w, job);
    }
}

/* ---- the command ---- */

/* A file without a name, from its beginning: no process has to write while the command reads. */
static int file_of(const char *item, size_t length)
{
    int fd = memfd_create("item", MFD_CLOEXEC);
    size_t done = 0;

    while (fd >= 0 && done < length) {
        ssize_t n = write(fd, item + done, length - done);

        if (n < 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

/* Its standard input; -1: errno, EINVAL: it cannot be an argument. */
static int input_of(struct work *w, struct job *job)
{
    if (w->standard_input)
        return file_of(job->item, job->length);
    if (strlen(job->item) != job->length) {
        errno = EINVAL; /* an argument has no zero byte */
        return -1;
    }
    w->command[w->words] = job->item;
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Where its standard output goes, as crew_start() takes it: not among the lines of the journal. */
static int output_for(const struct work *w, const struct job *job)
{
    return job->output > 0 ? job->output : w->has_journal ? STDERR_FILENO : 0;
}

static void tell_by_environment(const struct job *job)
{
    char number[16];

    snprintf(number, sizeof(number), "%" PRIu32, job->info.attempts);
    setenv("SHMKIT_ATTEMPT", number, 1);
}

/* No process: an item that is too long for an argument is its own fault, all else is not. */
static void complain_of_start(struct work *w, struct job *job, int error)
{
    if (error == EINVAL && !w->standard_input)
        fail(w, job, true, print_to_memory("there is a zero byte in the item: --stdin is needed"));
    else if (error == E2BIG && !w->standard_input)
        fail(w, job, true, print_to_memory("too long for an argument: --stdin is needed"));
    else {
        if (w->shows_progress)
            fputs("\r\033[K", stderr);
        complain(*w->command, "%s", strerror(error));
        give_back(w, job, -1);
        end_work(w, status_not_executed(error));
    }
}

void job_begin(struct work *w, struct job *job)
{
    char shown[SHOWN_MAX + 4];
    int input;
    int error;

    w->busy++;
    job->state = RUNS;
    job->signal = job->output = job->process = 0;
    job->status = STATUS_FAILED;
    job->has_run = false;
    job->item[job->length] = '\0';
    job->started = monotonic_now();
    job->due = w->limit == SHK_FOREVER ? SHK_FOREVER : job->started + w->limit;
    if (shk_queue_lease_info(w->queue, job->ticket, &job->info) < 0)
        job->info = (struct shk_lease_info){.attempts = 1};
    if (job->info.attempts > w->retries + 1) {
        fail(w, job, true, print_to_memory("its command has failed, or its worker has died"));
        return;
    }
    input = input_of(w, job);
    error = errno;
    if (input >= 0 && w->results.path.text) {
        job->output = memfd_create("result", MFD_CLOEXEC);
        error = errno;
    }
    if (input >= 0 && job->output >= 0) {
        tell_by_environment(job);
        job->process = crew_start(w->command, input, output_for(w, job), &error);
    }
    if (input >= 0)
        close(input);
    if (!job->process) {
        complain_of_start(w, job, error);
        return;
    }
    job->has_run = true;
    tell(w, job, "started", NULL, -1, NULL);
    if (w->verbose)
        work_say(w, "item '%s': attempt %" PRIu32 " by process %d", show(shown, job),
                 job->info.attempts, (int)job->process);
}

void job_end(struct work *w, struct job *job, int status)
{
    char time[TIME_MAX];
    int killed = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

    job->status = killed ? 128 + killed : WEXITSTATUS(status);
    job->process = 0;
    if (job->signal) {
        fail(w, job, false,
             print_to_memory("%s took longer than %s", *w->command, say_time(time, w->limit)));
    } else if (killed) {
        fail(w, job, false,
             print_to_memory("%s was killed by signal %d (%s)", *w->command, killed,
                             strsignal(killed)));
    } else if (job->status != 0) {
        fail(w, job, false, print_to_memory("%s exited with %d", *w->command, job->status));
    } else {
        job->state = DELIVERS;
        settle(w, job);
    }
}

void job_look_after(struct work *w, struct job *job)
{
    if (job->state == FREE || job->due > monotonic_now())
        return;
    if (job->state != RUNS) {
        settle(w, job);
        return;
    }
    job->signal = job->signal ? SIGKILL : SIGTERM;
    job->due = job->signal == SIGTERM ? monotonic_now() + w->kill_after : SHK_FOREVER;
    crew_send(job->process, job->signal);
}
