#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char text[512];
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

const char *shk_last_error(void)
{
    return last;
}
