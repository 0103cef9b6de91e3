#include "logind.h"
#include "common.h"

#include <ctype.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The value of the last RemoveIPC= in the file, or what it was before. */
static bool read_file(const char *path, bool removes)
{
    static const char key[] = "RemoveIPC=";
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t room = 0;

    if (!file)
        return removes;
    while (getline(&line, &room, file) > 0) {
        char *c = line;

        while (isspace((unsigned char)*c))
            c++;
        if (strncmp(c, key, strlen(key)) == 0)
            removes = strchr("1yYtT", c[strlen(key)]) || strncasecmp(c + strlen(key), "on", 2) == 0;
    }
    free(line);
    fclose(file);
    return removes;
}

static const char *last_part(const char *path)
{
    return strrchr(path, '/') + 1;
}

static int by_last_part(const void *a, const void *b)
{
    return strcmp(last_part(*(char *const *)a), last_part(*(char *const *)b));
}

bool logind_removes_ipc(void)
{
    /*
     * A later directory goes before an earlier one where the names of files are equal; qsort() on
     * glibc is stable.
     */
    static const char *const directories[] = {"/usr/lib", "/usr/local/lib", "/run", "/etc"};
    bool removes = true;
    glob_t drop_ins = {0};

    if (access("/run/systemd/system", F_OK) != 0)
        return false;
    for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++) {
        char *main_file = print_to_memory("%s/systemd/logind.conf", directories[i]);
        char *pattern = print_to_memory("%s/systemd/logind.conf.d/*.conf", directories[i]);

        removes = read_file(main_file, removes);
        glob(pattern, i ? GLOB_APPEND : 0, NULL, &drop_ins);
        free(main_file);
        free(pattern);
    }
    qsort(drop_ins.gl_pathv, drop_ins.gl_pathc, sizeof(*drop_ins.gl_pathv), by_last_part);
    for (size_t i = 0; i < drop_ins.gl_pathc; i++)
        removes = read_file(drop_ins.gl_pathv[i], removes);
    globfree(&drop_ins);
    return removes;
}
