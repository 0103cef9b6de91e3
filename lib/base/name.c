#include "base/name.h"

#include "base/error.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

/*
 * The length of the UTF-8 character at s, which has n bytes at least 1; 0 if it is none (overlong,
 * surrogate, beyond U+10FFFF). RFC 3629.
 */
static size_t character(const unsigned char *s, size_t n)
{
    size_t length = s[0] < 0x80                    ? 1
                    : s[0] >= 0xc2 && s[0] <= 0xdf ? 2
                    : (s[0] & 0xf0) == 0xe0        ? 3
                    : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                   : 0;

    if (length == 0 || length > n)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return length;
}

/* C0, DEL, and C1 (U+0080 to U+009F, which some terminals obey). */
static bool is_control(const unsigned char *s, size_t length)
{
    return (length == 1 && (s[0] < 0x20 || s[0] == 0x7f)) ||
           (length == 2 && s[0] == 0xc2 && s[1] < 0xa0);
}

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
        length = character(s, n);
        if (length == 0)
            return shki_fail(-EILSEQ, "%s is not UTF-8", what);
        if (is_control(s, length))
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

void shki_copy_label(char *to, size_t size, const char *from, size_t length)
{
    size_t n = strnlen(from, length), used = 0;

    for (const unsigned char *s = (const unsigned char *)from; n > 0;) {
        size_t l = character(s, n);
        bool bad = l == 0 || is_control(s, l);

        if (used + (bad ? 1 : l) >= size)
            break;
        if (bad)
            to[used++] = '?';
        else
            memcpy(to + used, s, l), used += l;
        s += l ? l : 1;
        n -= l ? l : 1;
    }
    to[used] = '\0';
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
