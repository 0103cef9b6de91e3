#include "origin.h"
#include "common.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 4096, ANCESTORS_MAX = 8 };

static const char *chosen; /* by --name */

void set_member_name(const char *name)
{
    if (!*name || strlen(name) > SHK_NAME_MAX)
        usage_error("'%s' is no name; a name has 1 to %d bytes", name, SHK_NAME_MAX);
    for (const char *c = name; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            usage_error("a name has no control characters");
    }
    chosen = name;
}

bool has_chosen_name(void)
{
    return chosen != NULL;
}

/* A file of /proc/PID: how many bytes have been read, zero-terminated; 0: none. */
static size_t read_of(pid_t pid, const char *file, char *buffer, size_t size)
{
    char path[64];
    FILE *stream;
    size_t n;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    stream = fopen(path, "re");
    if (!stream)
        return 0;
    n = fread(buffer, 1, size - 1, stream);
    fclose(stream);
    buffer[n] = '\0';
    return n;
}

static pid_t parent_of(pid_t pid)
{
    char line[1024];
    const char *after_name;
    int parent = 0;

    if (!read_of(pid, "stat", line, sizeof(line)))
        return 0;
    after_name = strrchr(line, ')');
    return after_name && sscanf(after_name + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

static bool is_one_of(const char *word, const char *const *list)
{
    for (; *list; list++) {
        if (strcmp(word, *list) == 0)
            return true;
    }
    return false;
}

static bool begins_with_one_of(const char *word, const char *const *list)
{
    for (; *list; list++) {
        if (strncmp(word, *list, strlen(*list)) == 0)
            return true;
    }
    return false;
}

/* What starts another program and has no part in what that does. */
static bool only_starts(const char *program)
{
    static const char *const programs[] = {"shmctl", "timeout", "xargs", "parallel",
                                           "sudo",   "doas",    "env",   "time",
                                           "strace", "script",  NULL};

    return is_one_of(program, programs);
}

static bool is_shell(const char *program)
{
    static const char *const programs[] = {"sh",   "bash", "dash", "ash",     "ksh",
                                           "mksh", "zsh",  "fish", "busybox", NULL};

    return is_one_of(program, programs);
}

static bool interprets(const char *program)
{
    static const char *const versioned[] = {"python", "perl", "ruby",  "lua",
                                            "node",   "php",  "tclsh", NULL};

    return is_shell(program) || begins_with_one_of(program, versioned);
}

/*
 * The script in an interpreter's words, each zero-terminated: the first that is no option. NULL:
 * commands, not a file.
 */
static const char *find_script(const char *words, size_t size, bool shell)
{
    const char *commands = shell ? "c" : "ceEmr";    /* sh -ec, perl -e, python -m, php -r */
    const char *with_argument = shell ? "oO" : "WX"; /* bash -o pipefail, python -W error */
    const char *w = words + strlen(words) + 1;

    for (; w < words + size; w += strlen(w) + 1) {
        if (*w != '-' && *w != '+')
            return last_part(w);
        if (!w[1] || (*w == '-' && w[1] != '-' &&
                      (shell ? strpbrk(w, commands) != NULL : strchr(commands, w[1]) != NULL)))
            return NULL;
        if (w[1] != '-' && strchr(with_argument, w[strlen(w) - 1]))
            w += strlen(w) + 1;
    }
    return NULL;
}

/* The process that has started this one, and what /proc says of it. */
struct starter {
    pid_t pid;
    char command[64];
    char words[WORDS_MAX]; /* each zero-terminated */
    size_t size;           /* of the words */
    const char *program;   /* the first of them */
};

static void find_starter(struct starter *s)
{
    *s = (struct starter){.pid = getppid(), .program = ""};
    for (int i = 0; i < ANCESTORS_MAX && s->pid > 0; i++) {
        if (!read_of(s->pid, "comm", s->command, sizeof(s->command)))
            break;
        s->command[strcspn(s->command, "\n")] = '\0';
        s->size = read_of(s->pid, "cmdline", s->words, sizeof(s->words));
        /* a login shell's has a dash in front */
        s->program = last_part(*s->words == '-' ? s->words + 1 : s->words);
        if (!only_starts(s->command) && !only_starts(s->program))
            break;
        s->pid = parent_of(s->pid);
    }
}

static void origin(char name[SHK_NAME_MAX + 1])
{
    const char *script = NULL;
    struct starter s;

    find_starter(&s);
    if (s.size && interprets(s.program))
        script = find_script(s.words, s.size, is_shell(s.program));
    snprintf(name, SHK_NAME_MAX + 1, "%s", script ? script : s.command);
}

pid_t script_process(void)
{
    struct starter s;

    find_starter(&s);
    return s.pid;
}

void name_member(struct shk_segment *segment)
{
    char name[SHK_NAME_MAX + 1];
    int r;

    if (chosen) {
        r = shk_set_member_name(segment, chosen);
        if (r == -EINVAL || r == -EILSEQ) {
            shk_segment_close(segment); /* so that no dead member is left */
            usage_error("--name: %s", shk_last_error());
        }
        return;
    }
    origin(name);
    /*
     * One that is no good, such as half of a character at its end, is done without; why the segment
     * refuses it, the next call says.
     */
    if (*name)
        shk_set_member_name(segment, name);
}
