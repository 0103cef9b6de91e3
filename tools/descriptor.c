#include "descriptor.h"
#include "common.h"
#include "hold.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* "lock:	1: OFDLCK  ADVISORY  WRITE -1 00:05:4 123 123": proc_pid_fdinfo(5). */
static bool has_lock(int directory, const char *descriptor, off_t byte)
{
    int fd = openat(directory, descriptor, O_RDONLY | O_CLOEXEC);
    FILE *stream = fd < 0 ? NULL : fdopen(fd, "r");
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    intmax_t first;

    if (!stream)
        return false;
    while (!found && getline(&line, &room, stream) > 0)
        found = sscanf(line, "lock: %*d: OFDLCK %*s %*s %*s %*s %jd", &first) == 1 && first == byte;
    free(line);
    fclose(stream);
    return found;
}

/* The process's descriptor with that lock; -1: none, or it may not be known. */
static int find_descriptor(int32_t pid, off_t byte)
{
    char path[64];
    DIR *directory;
    struct dirent *entry;
    int found = -1;

    snprintf(path, sizeof(path), "/proc/%" PRId32 "/fdinfo", pid);
    directory = opendir(path);
    while (directory && found < 0 && (entry = readdir(directory))) {
        if (isdigit((unsigned char)*entry->d_name) &&
            has_lock(dirfd(directory), entry->d_name, byte))
            found = (int)strtol(entry->d_name, NULL, 10);
    }
    if (directory)
        closedir(directory);
    return found;
}

size_t list_openers(const struct processes *all, int32_t holder, const char *path,
                    struct opener **out)
{
    struct opener *openers = allocate(all->n, sizeof(*openers));
    off_t byte = holder_byte(holder, path);
    size_t n = 0;

    for (size_t i = 0; i < all->n; i++) {
        const struct process *p = &all->list[i];
        int descriptor = p->pid == holder ? -1 : find_descriptor(p->pid, byte);

        if (descriptor < 0)
            continue;
        openers[n] = (struct opener){.pid = p->pid, .descriptor = descriptor};
        memcpy(openers[n].command, p->command, sizeof(p->command));
        n++;
    }
    *out = openers;
    return n;
}
