#include "base/name.h"

#include "base/error.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int shki_check_label(const char *what, const char *label, size_t longest)
{
    const unsigned char *s = (const unsigned char *)label;
    size_t n, length;

    if (label == NULL || *label == '\0')
        return shki_fail(-EINVAL, "%s is empty", what);
    n = strnlen(label, longest + 1);
    if (n > longest)
        return shki_fail(-ENAMETOOLONG, "%s is longer than %zu bytes", what, longest);
    for (; n > 0; s += length, n -= length) {
        length = shki_utf8_length(s, n);
        if (length == 0)
            return shki_fail(-EILSEQ, "%s is not UTF-8", what);
        if (shki_utf8_is_control(s, length))
            return shki_fail(-EINVAL, "%s contains a control character", what);
    }
    return 0;
}

int shki_check_name(const char *what, const char *name, size_t longest)
{
    int r = shki_check_label(what, name, longest);

    if (r == 0 && (*name == '.' || strchr(name, '/')))
        return shki_fail(-EINVAL, "%s has a dot in front, or contains a slash", what);
    return r;
}

/*
 * Whether a line of /etc/passwd, "NAME:PASSWORD:UID:…", is that user's; cuts it behind the name.
 * Read here because getpwuid_r() loads modules, and musl has no fgetpwent_r().
 */
static bool is_line_of(char *line, uid_t uid)
{
    char *password = strchr(line, ':'), *id = password ? strchr(password + 1, ':') : NULL, *end;

    if (id == NULL || !isdigit((unsigned char)id[1]))
        return false;
    *password = '\0';
    return strtoul(id + 1, &end, 10) == uid && *end == ':';
}

const char *shki_user_name(char *to, size_t size, uid_t uid)
{
    char line[1024];
    FILE *file = fopen("/etc/passwd", "re");

    snprintf(to, size, "a user");
    while (file && fgets(line, sizeof(line), file)) {
        if (!is_line_of(line, uid))
            continue;
        shki_copy_label(to, size, line, strlen(line));
        break;
    }
    if (file)
        fclose(file);
    return to;
}
