#include "common.h"

#include <errno.h>
#include <getopt.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

/* How soon a sleep notices a signal that came just before it began. */
#define SLICE SHK_MS(100)

volatile sig_atomic_t interrupted;

static const char *program_name = "";

/* ---- lines ---- */

/* Wait until fd can be written, or until interrupted. */
static void wait_writable(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLOUT};

    while (!interrupted && poll(&pollfd, 1, SLICE / SHK_MS(1)) <= 0)
        continue;
}

/* Everything, in one system call unless the other end takes less. Returns 0 or -errno. */
static int write_all(int fd, struct iovec *parts, int n)
{
    while (n > 0) {
        ssize_t written = writev(fd, parts, n);

        if (written < 0) {
            if (interrupted || (errno != EINTR && errno != EAGAIN))
                return -errno;
            if (errno == EAGAIN) /* somebody who shares it has made it non-blocking */
                wait_writable(fd);
            continue;
        }
        while (n > 0 && (size_t)written >= parts->iov_len) {
            written -= parts->iov_len;
            parts++;
            n--;
        }
        if (n > 0) {
            parts->iov_base = (char *)parts->iov_base + written;
            parts->iov_len -= written;
        }
    }
    return 0;
}

void complain(const char *format, ...)
{
    struct iovec parts[4];
    char *sentence;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vasprintf(&sentence, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    parts[0] = (struct iovec){(char *)program_name, strlen(program_name)};
    parts[1] = (struct iovec){": ", 2};
    parts[2] = (struct iovec){sentence, length};
    parts[3] = (struct iovec){"\n", 1};
    write_all(STDERR_FILENO, parts, 4);
    free(sentence);
}

int wait_to_say(void)
{
    wait_writable(STDOUT_FILENO);
    return interrupted ? FAILED : DONE;
}

int say_bytes(struct iovec *parts, int n)
{
    int r = write_all(STDOUT_FILENO, parts, n);

    if (r == 0)
        return DONE;
    if (!interrupted)
        complain("standard output: %s", strerror(-r));
    return FAILED;
}

int say(const char *format, ...)
{
    char *line;
    va_list arguments;
    int length, status;

    va_start(arguments, format);
    length = vasprintf(&line, format, arguments);
    va_end(arguments);
    if (length < 0) {
        complain("%s", strerror(ENOMEM));
        return FAILED;
    }
    status = say_bytes(&(struct iovec){line, length}, 1);
    free(line);
    return status;
}

int padding(const char *text, int columns)
{
    mbstate_t state = {0};
    wchar_t c;
    size_t length;

    while (columns > 0 && (length = mbrtowc(&c, text, MB_CUR_MAX, &state)) != 0) {
        int width = 1;

        if (length == (size_t)-1 || length == (size_t)-2) {
            length = 1;
            state = (mbstate_t){0};
        } else if (wcwidth(c) >= 0) {
            width = wcwidth(c);
        }
        text += length;
        columns -= width;
    }
    return columns > 0 ? columns : 0;
}

char *printable(const char *bytes, size_t length)
{
    mbstate_t state = {0};
    char *text = malloc(length + 1), *end = text;

    if (!text)
        return NULL;
    while (length > 0) {
        wchar_t c;
        size_t n = mbrtowc(&c, bytes, length, &state);

        if (n == 0 || n > length || !iswprint(c)) {
            if (n == 0 || n > length)
                n = 1;
            state = (mbstate_t){0};
            *end++ = '?';
        } else {
            end = mempcpy(end, bytes, n);
        }
        bytes += n;
        length -= n;
    }
    *end = '\0';
    return text;
}

/* ---- time and signals ---- */

int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return SHK_SEC(time.tv_sec) + time.tv_nsec;
}

void pause_until(int64_t end)
{
    int64_t time;

    while (!interrupted && (time = now()) < end) {
        int64_t next = end - time < SLICE ? end : time + SLICE;
        struct timespec when = {.tv_sec = next / SHK_SEC(1), .tv_nsec = next % SHK_SEC(1)};

        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
    }
}

void pause_for(int64_t nanoseconds)
{
    pause_until(now() + nanoseconds);
}

static void interrupt(int signal_number)
{
    interrupted = signal_number;
}

/*
 * Without SA_RESTART, so that a blocked write ends; reset once used, so that a second Ctrl-C ends
 * the program anyhow.
 */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESETHAND};

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/*
 * Names and items are UTF-8: where the environment names no such locale, the plain one will do.
 * Numbers keep their point.
 */
static void use_utf8(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

/* ---- arguments ---- */

static _Noreturn void exit_usage(void)
{
    complain("try '%s --help'", program_name);
    exit(USAGE);
}

static int64_t parse_number(const struct option_row *row, const char *text)
{
    int64_t most = row->most ? row->most : INT64_MAX;
    char *end;
    long long number;

    errno = 0;
    number = strtoll(text, &end, 10);
    if (end == text || *end)
        complain("--%s: '%s' is not a whole number", row->name, text);
    else if (number < row->least || (number < 0 && errno == ERANGE))
        complain("--%s: %s is less than %lld", row->name, text, (long long)row->least);
    else if (number > most || errno == ERANGE)
        complain("--%s: %s is more than %lld", row->name, text, (long long)most);
    else
        return number;
    exit_usage();
}

static uint32_t parse_order(const struct option_row *row, const char *text)
{
    static const char *const orders[] = {
        [SHK_FIFO] = "fifo", [SHK_LIFO] = "lifo", [SHK_PRIORITY] = "priority"};

    for (uint32_t i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
        if (strcmp(text, orders[i]) == 0)
            return i;
    }
    complain("--%s: there is no order '%s'; fifo, lifo and priority are", row->name, text);
    exit_usage();
}

/* Seconds, or with a unit. 30 years are taken for a typing error. */
static int64_t parse_duration(const struct option_row *row, const char *text)
{
    static const struct {
        const char *name;
        double nanoseconds;
    } units[] = {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"min", 60e9}};
    size_t digits = strspn(text, "0123456789.");
    char *end;
    double value = strtod(text, &end);

    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (digits == 0 || end != text + digits || strcmp(end, units[i].name) != 0)
            continue;
        if (value * units[i].nanoseconds > 1e18)
            break;
        return value * units[i].nanoseconds;
    }
    complain("--%s: '%s' is not a duration such as 0.2, 200ms or 2s", row->name, text);
    exit_usage();
}

static _Noreturn void exit_help(const struct program *program)
{
    const struct option_row *row;

    printf("Usage: %s [OPTION]... %s\n%s\n\nOptions:\n", program->name, program->operand,
           program->purpose);
    for (row = program->options; row->name; row++) {
        int width = printf("  --%s%s%s", row->name, row->argument ? " " : "",
                           row->argument ? row->argument : "");
        const char *line = row->help;

        for (;;) {
            int length = strcspn(line, "\n");

            printf("%*s%.*s\n", width < 24 ? 24 - width : 1, "", length, line);
            if (!line[length])
                break;
            line += length + 1;
            width = 0;
        }
    }
    printf("  --help                this text\n"
           "  --version             the version of shmkit\n"
           "\n%s\n"
           "A DURATION is in seconds (0.2), or has a unit (200ms, 2s, 1min).\n"
           "\n"
           "Exit status: 0 done, 1 failed, 2 wrong usage, 3 would block or timed out,\n"
           "4 no such object (any more), 5 shut down.\n",
           program->notes);
    exit(fflush(stdout) == 0 ? DONE : FAILED);
}

static _Noreturn void exit_version(const struct program *program)
{
    printf("%s (shmkit) %s\n", program->name, PACKAGE_VERSION);
    exit(fflush(stdout) == 0 ? DONE : FAILED);
}

/* Returns the operands. */
static char **parse_arguments(int argc, char **argv, const struct program *program)
{
    enum { MOST_OPTIONS = 16, HELP = MOST_OPTIONS, VERSION };
    struct option options[MOST_OPTIONS + 3] = {{0}};
    const struct option_row *rows = program->options;
    int n = 0, i;

    for (; rows[n].name && n < MOST_OPTIONS; n++)
        options[n] =
            (struct option){rows[n].name, rows[n].flag ? no_argument : required_argument, NULL, n};
    options[n] = (struct option){"help", no_argument, NULL, HELP};
    options[n + 1] = (struct option){"version", no_argument, NULL, VERSION};

    argv[0] = (char *)program->name; /* getopt_long() begins its messages with it */
    while ((i = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (i == HELP)
            exit_help(program);
        if (i == VERSION)
            exit_version(program);
        if (i == '?')
            exit_usage();
        if (rows[i].flag)
            *rows[i].flag = true;
        else if (rows[i].text)
            *rows[i].text = optarg;
        else if (rows[i].order)
            *rows[i].order = parse_order(&rows[i], optarg);
        else if (rows[i].number)
            *rows[i].number = parse_number(&rows[i], optarg);
        else
            *rows[i].duration = parse_duration(&rows[i], optarg);
    }
    if (argc == optind || (argc - optind > 1 && !program->several)) {
        complain(argc == optind ? "%s is missing" : "too many arguments: one %s is wanted",
                 program->operand);
        exit_usage();
    }
    return argv + optind;
}

/* SEGMENT/OBJECT; the segment may have its slash in front. */
static int split_path(const char *path, struct place *place)
{
    char *slash;

    place->path = path;
    place->segment_name = strdup(path);
    if (!place->segment_name) {
        complain("%s", strerror(ENOMEM));
        return FAILED;
    }
    slash = *path ? strchr(place->segment_name + 1, '/') : NULL;
    if (!slash || !slash[1]) {
        complain("%s: not of the form SEGMENT/OBJECT", path);
        return USAGE;
    }
    *slash = '\0';
    place->object = slash + 1;
    return DONE;
}

/* ---- coming and going ---- */

int failed(const struct place *place, int r)
{
    if (r == -EINTR && interrupted)
        return FAILED;
    complain("%s: %s", place->path, shk_last_error());
    switch (r) {
    case -EAGAIN:
    case -ETIMEDOUT:
        return NOT_NOW;
    case -ENOENT:
    case -ESTALE:
        return ABSENT;
    case -EPIPE:
        return SHUT_DOWN;
    case -EINVAL:
    case -ENAMETOOLONG:
    case -EILSEQ:
        return USAGE;
    default:
        return FAILED;
    }
}

char **begin(int argc, char **argv, const struct program *program)
{
    program_name = program->name;
    use_utf8();
    catch_signals();
    return parse_arguments(argc, argv, program);
}

/* The language of messages, as the C library finds it in the environment. */
static bool is_chinese(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_MESSAGES", "LANG"};

    for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
        const char *language = getenv(variables[i]);

        if (language && *language)
            return strncmp(language, "zh", 2) == 0;
    }
    return false;
}

/*
 * Open the segment and name this process in it. With found, the segment is not created, and the
 * library's code is stored there: -ENOENT is no failure then. Returns an exit code.
 */
static int open_place(struct place *place, const char *path, const char **member, int *found)
{
    static char process[32];
    int r, status;

    *place = (struct place){0};
    status = split_path(path, place);
    if (status != DONE)
        return status;
    if (!*member) {
        snprintf(process, sizeof(process), is_chinese() ? "进程-%d" : "process-%d", (int)getpid());
        *member = process;
    }
    r = shk_segment_open(place->segment_name, found ? 0 : SHK_CREATE, NULL, &place->segment);
    if (found) {
        *found = r;
        if (r == -ENOENT)
            return DONE;
    }
    if (r == 0)
        r = shk_set_interrupt(place->segment, &interrupted);
    if (r == 0)
        r = shk_set_member_name(place->segment, *member);
    return r == 0 ? DONE : failed(place, r);
}

int place_enter(struct place *place, const char *path, const char **member)
{
    return open_place(place, path, member, NULL);
}

int place_find(struct place *place, const char *path, const char **member, int *found)
{
    return open_place(place, path, member, found);
}

int enter(int argc, char **argv, const struct program *program, const char **member,
          struct place *place)
{
    return place_enter(place, *begin(argc, argv, program), member);
}

void place_leave(struct place *place)
{
    shk_segment_close(place->segment);
    free(place->segment_name);
}

int finish(int status)
{
    if (interrupted) {
        signal(interrupted, SIG_DFL);
        raise(interrupted);
    }
    return status;
}

int leave(struct place *place, int status)
{
    place_leave(place);
    return finish(status);
}

/* Is it as it is wished? Its order has been looked at before. */
static int check_queue(const struct place *place, const struct queue_wish *wish,
                       struct shk_queue *queue)
{
    ssize_t capacity = shk_queue_capacity(queue);
    ssize_t item_size = shk_queue_item_size(queue);

    if (capacity < 0 || item_size < 0)
        return failed(place, capacity < 0 ? capacity : item_size);
    if ((wish->capacity == ANY || wish->capacity == capacity) &&
        (wish->item_size == 0 || wish->item_size == item_size))
        return DONE;
    if (capacity == 0)
        complain("%s: it is a queue without a limit, for items of at most %zd bytes", place->path,
                 item_size);
    else
        complain("%s: it is a queue for %zd items of at most %zd bytes", place->path, capacity,
                 item_size);
    return FAILED;
}

int open_queue(const struct place *place, const struct queue_wish *wish, struct shk_queue **queue)
{
    struct shk_queue_options of_order = {.order = wish->order};
    struct shk_queue_options made = {
        .order = wish->order == (uint32_t)ANY ? SHK_FIFO : wish->order,
        .capacity = wish->capacity == ANY ? DEFAULT_CAPACITY : wish->capacity,
        .item_size = wish->item_size ? wish->item_size : DEFAULT_ITEM_SIZE,
    };
    int r;

    do {
        r = shk_queue_open(place->segment, place->object, 0,
                           wish->order == (uint32_t)ANY ? NULL : &of_order, queue);
        if (r == -ENOENT)
            r = shk_queue_open(place->segment, place->object, SHK_CREATE | SHK_EXCL, &made, queue);
    } while (r == -EEXIST && !interrupted); /* somebody made it between the two: find it */
    return r == 0 ? check_queue(place, wish, *queue) : failed(place, r);
}

int open_stream(const struct place *place, int64_t history, struct shk_stream **stream)
{
    struct shk_stream_options found = {.sample_size = sizeof(double), .history = history};
    struct shk_stream_options made = {
        .sample_size = sizeof(double),
        .history = history ? history : DEFAULT_HISTORY,
    };
    int r;

    do {
        r = shk_stream_open(place->segment, place->object, 0, &found, stream);
        if (r == -ENOENT)
            r = shk_stream_open(place->segment, place->object, SHK_CREATE | SHK_EXCL, &made,
                                stream);
    } while (r == -EEXIST && !interrupted);
    return r == 0 ? DONE : failed(place, r);
}
