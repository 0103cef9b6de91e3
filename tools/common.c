#include "common.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t caught; /* the signal, 0: none */
static volatile sig_atomic_t may_kill;
static void (*before_kill)(void);

static const char *verb = "";

void set_current_verb(const char *name)
{
    verb = name;
}

void usage_error(const char *format, ...)
{
    va_list arguments;

    fputs("shmctl: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nTry 'shmctl %s%s--help'.\n", verb, *verb ? " " : "");
    exit(STATUS_USAGE);
}

void complain(const char *what, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "shmctl: %s: ", what);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static int status_of(int error)
{
    switch (error) {
    case -EAGAIN:
    case -ETIMEDOUT:
        return STATUS_BLOCKED;
    case -ENOENT:
    case -ESTALE:
        return STATUS_ABSENT;
    case -EPIPE:
        return STATUS_SHUT_DOWN;
    default:
        return STATUS_FAILED;
    }
}

int failed(const char *what, int error)
{
    const char *sentence = shk_last_error();

    if (error == -EINTR && caught)
        return status_of(error); /* the user that pressed Ctrl-C knows */
    if (strncmp(sentence, what, strlen(what)) == 0)
        fprintf(stderr, "shmctl: %s\n", sentence); /* it begins so by itself */
    else
        complain(what, "%s", sentence);
    return status_of(error);
}

void parse_path(const char *text, struct path *out)
{
    const char *slash;
    size_t length;

    out->text = text + (*text == '/');
    slash = strchr(out->text, '/');
    length = slash ? (size_t)(slash - out->text) : strlen(out->text);
    if (length == 0 || (slash && !slash[1]))
        usage_error("invalid path '%s': a path is SEGMENT or SEGMENT/OBJECT", text);
    if (length > SHK_SEGMENT_NAME_MAX)
        usage_error("invalid path '%s': the segment's name is longer than %d bytes", text,
                    SHK_SEGMENT_NAME_MAX);
    if (slash && strlen(slash + 1) > SHK_NAME_MAX)
        usage_error("invalid path '%s': the object's name is longer than %d bytes", text,
                    SHK_NAME_MAX);
    memcpy(out->segment, out->text, length);
    out->segment[length] = '\0';
    strcpy(out->object, slash ? slash + 1 : "");
}

#define ETCD "etcd:"

bool is_on_etcd(const char *segment)
{
    return strncmp(segment, ETCD, strlen(ETCD)) == 0;
}

bool is_all_of_etcd(const char *operand)
{
    return strcmp(operand, ETCD) == 0;
}

void parse_object_path(const char *text, struct path *out)
{
    parse_path(text, out);
    if (!*out->object)
        usage_error("'%s' is a segment, not an object: SEGMENT/OBJECT", text);
}

struct unit {
    const char *name;
    double factor;
};

/* A decimal number and one of the units, the last of which has no name. */
static double parse_quantity(const char *text, const struct unit *units, double max,
                             const char *what, const char *examples)
{
    char *end;
    double value;

    if (!isdigit((unsigned char)*text) && *text != '.')
        usage_error("invalid %s '%s'; examples: %s", what, text, examples);
    value = strtod(text, &end);
    while (*units->name && strcmp(end, units->name) != 0)
        units++;
    if (end == text || strcmp(end, units->name) != 0)
        usage_error("invalid %s '%s'; examples: %s", what, text, examples);
    value *= units->factor;
    if (!(value < max))
        usage_error("%s '%s' is too large", what, text);
    return value;
}

int64_t parse_timeout(const char *text)
{
    static const struct unit units[] = {{"ns", 1},     {"us", 1e3},   {"ms", 1e6}, {"s", 1e9},
                                        {"min", 60e9}, {"h", 3600e9}, {"", 1e9}};

    bool over = *text == '-'; /* a deadline that was computed too late */
    double time = parse_quantity(text + over, units, (double)INT64_MAX, "time", "2, 0.5s, 200ms");

    return over ? -1 : (int64_t)time;
}

size_t parse_size(const char *text)
{
    static const struct unit units[] = {{"K", 0x1p10},   {"M", 0x1p20},   {"G", 0x1p30},
                                        {"T", 0x1p40},   {"KiB", 0x1p10}, {"MiB", 0x1p20},
                                        {"GiB", 0x1p30}, {"TiB", 0x1p40}, {"", 1}};

    return (size_t)parse_quantity(text, units, 0x1p53, "size", "4096, 64K, 1G");
}

uint64_t parse_number(const char *text, uint64_t max)
{
    char *end;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end)
        usage_error("invalid number '%s'", text);
    if (errno || value > max)
        usage_error("number '%s' is too large", text);
    return value;
}

int64_t parse_signed(const char *text)
{
    const char *digits = text + (*text == '-' || *text == '+');
    char *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (!isdigit((unsigned char)*digits) || *end)
        usage_error("invalid number '%s'", text);
    if (errno)
        usage_error("number '%s' is too %s", text, *text == '-' ? "small" : "large");
    return value;
}

static void on_signal(int number)
{
    if (!may_kill) {
        caught = number;
        return;
    }
    if (before_kill)
        before_kill();
    signal(number, SIG_DFL);
    raise(number); /* it is blocked in here, and ends the program on return */
}

void catch_interrupts(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
    struct sigaction old;

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
        /* What nohup or a shell's & has set to be ignored stays ignored. */
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
}

void set_interrupt(struct shk_segment *segment)
{
    shk_set_interrupt(segment, &caught);
}

void interrupt(int signal)
{
    caught = signal;
}

bool let_interrupts_kill(bool on)
{
    may_kill = on; /* before the load: a signal from here on does not set `caught` */
    return caught != 0;
}

void before_interrupts_kill(void (*handler)(void))
{
    before_kill = handler;
}

bool interrupted(void)
{
    return caught != 0;
}

int finish(int status)
{
    bool unwritten = ferror(stdout);

    if ((fclose(stdout) != 0 || unwritten) && !caught) {
        complain("standard output", "%s", unwritten ? "write error" : strerror(errno));
        status = STATUS_FAILED;
    }
    if (caught > 0) {
        signal(caught, SIG_DFL);
        raise(caught);
    }
    return status;
}

void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);

    if (!memory) {
        fputs("shmctl: out of memory\n", stderr);
        exit(STATUS_FAILED);
    }
    return memory;
}

char *vprint_to_memory(const char *format, va_list arguments)
{
    char *text;

    if (vasprintf(&text, format, arguments) < 0) {
        fputs("shmctl: out of memory\n", stderr);
        exit(STATUS_FAILED);
    }
    return text;
}

char *print_to_memory(const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = vprint_to_memory(format, arguments);
    va_end(arguments);
    return text;
}

char *add_to_list(char *list, const char *separator, const char *more)
{
    char *longer =
        list ? print_to_memory("%s%s%s", list, separator, more) : print_to_memory("%s", more);

    free(list);
    return longer;
}

int64_t monotonic_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return SHK_SEC(now.tv_sec) + now.tv_nsec;
}

bool sleep_until(int64_t when)
{
    struct timespec until = {.tv_sec = (time_t)(when / SHK_SEC(1)), .tv_nsec = when % SHK_SEC(1)};

    while (!interrupted() && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
        continue;
    return !interrupted();
}
