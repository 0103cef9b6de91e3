#include "base/name.h"

#include "base/error.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
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

const char *shki_user_name(char *to, size_t size, uid_t uid)
{
    struct passwd entry, *found;
    char line[1024];
    FILE *file = fopen("/etc/passwd", "re");

    snprintf(to, size, "a user");
    while (file && fgetpwent_r(file, &entry, line, sizeof(line), &found) == 0) {
        if (found->pw_uid != uid)
            continue;
        shki_copy_label(to, size, found->pw_name, strlen(found->pw_name));
        break;
    }
    if (file)
        fclose(file);
    return to;
}
