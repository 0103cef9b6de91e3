#include "base/error.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The parts of a sentence that shk_last_error() has not made yet. */
struct parts {
    char segment[SHK_SEGMENT_NAME_MAX + 1], object[SHK_NAME_MAX + 1], holder[SHK_NAME_MAX + 1];
    const char *state;
    int64_t timeout;
    int32_t pid; /* 0: no holder is known */
};

_Static_assert(sizeof(struct parts) <= SHKI_SENTENCE_MAX,
               "shki_error_save() keeps them where the text would be");

static _Thread_local char text[SHKI_SENTENCE_MAX];
static _Thread_local struct parts parts;
static _Thread_local const char *last = "";

/* `last` points to this one: the sentence has still to be made of the parts. */
static const char in_parts[] = "not made yet";

int shki_fail(int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    last = text;
    return code;
}

void shki_note(const char *sentence)
{
    last = sentence;
}

static void copy(char *to, size_t room, const char *from)
{
    size_t length = from ? strnlen(from, room - 1) : 0;

    memcpy(to, from ? from : "", length);
    to[length] = '\0';
}

int shki_say_unmet(int code, const struct shki_unmet *unmet)
{
    copy(parts.segment, sizeof(parts.segment), unmet->segment);
    copy(parts.object, sizeof(parts.object), unmet->object);
    parts.state = unmet->state;
    parts.timeout = unmet->timeout;
    parts.pid = 0;
    last = in_parts;
    return code;
}

void shki_note_holder(const char *name, int32_t pid)
{
    if (last != in_parts)
        return;
    memcpy(parts.holder, name, sizeof(parts.holder)); /* cleaned when the sentence is made */
    parts.pid = pid;
}

static void add(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void add(const char *format, ...)
{
    size_t length = strlen(text);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text + length, sizeof(text) - length, format, arguments);
    va_end(arguments);
}

static void add_duration(int64_t ns)
{
    static const struct {
        int64_t least;
        const char *name;
    } units[] = {{SHK_SEC(1), "s"}, {SHK_MS(1), "ms"}, {1000, "us"}, {0, "ns"}};
    size_t i = 0;

    while (ns < units[i].least)
        i++;
    if (units[i].least)
        add("%.15g %s", (double)ns / (double)units[i].least, units[i].name);
    else
        add("%d ns", (int)ns);
}

static void make_sentence(void)
{
    char holder[sizeof(parts.holder)];

    text[0] = '\0';
    if (*parts.object)
        add("%s/%s: ", parts.segment, parts.object);
    else if (*parts.segment)
        add("segment /%s: ", parts.segment);
    if (parts.timeout > 0) {
        add("timed out after ");
        add_duration(parts.timeout);
    } else if (parts.timeout < 0) {
        add("timed out at once, since the timeout is negative");
    }
    if (parts.state)
        add("%s%s", parts.timeout ? "; " : "", parts.state);
    if (parts.pid) {
        shki_copy_label(holder, sizeof(holder), parts.holder, sizeof(parts.holder));
        add(" by %s (%d)", holder, (int)parts.pid);
    }
    last = text;
}

void shki_error_save(struct shki_saved_error *saved)
{
    saved->last = last;
    if (last == text)
        strcpy(saved->text, text);
    else if (last == in_parts)
        memcpy(saved->text, &parts, sizeof(parts));
}

int shki_error_settle(int r, const struct shki_saved_error *saved)
{
    if (r < 0)
        return r;
    last = saved->last;
    if (last == text)
        strcpy(text, saved->text);
    else if (last == in_parts)
        memcpy(&parts, saved->text, sizeof(parts));
    return r;
}

const char *shk_last_error(void)
{
    if (last == in_parts)
        make_sentence();
    return last;
}
