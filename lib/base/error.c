#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char text[SHKI_SENTENCE_MAX];
static _Thread_local const char *last = "";

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

void shki_error_save(struct shki_saved_error *saved)
{
    saved->last = last;
    if (last == text)
        strcpy(saved->text, text);
}

int shki_error_settle(int r, const struct shki_saved_error *saved)
{
    if (r < 0)
        return r;
    last = saved->last;
    if (last == text)
        strcpy(text, saved->text);
    return r;
}

const char *shk_last_error(void)
{
    return last;
}
