#include "quantity.h"

#include <stdio.h>
#include <string.h>

const char *format_size(char *buffer, uint64_t bytes)
{
    static const char units[] = "KMGTPE";
    double value = (double)bytes;
    int unit = -1;

    while (value >= 1023.95) {
        value /= 1024;
        unit++;
    }
    if (unit < 0)
        snprintf(buffer, QUANTITY_MAX, "%d", (int)bytes);
    else if (value * 10 == (double)((int)value * 10) || value >= 99.95)
        snprintf(buffer, QUANTITY_MAX, "%.0f%c", value, units[unit]);
    else
        snprintf(buffer, QUANTITY_MAX, "%.1f%c", value, units[unit]);
    return buffer;
}

const char *format_duration(char *buffer, int64_t nanoseconds)
{
    int64_t ms = nanoseconds > 0 ? nanoseconds / 1000000 : 0;
    int64_t s = ms / 1000;

    if (nanoseconds == 0)
        strcpy(buffer, "0s");
    else if (ms < 1000)
        snprintf(buffer, QUANTITY_MAX, "%dms", (int)ms);
    else if (s < 10 && ms % 1000 >= 100)
        snprintf(buffer, QUANTITY_MAX, "%d.%ds", (int)s, (int)(ms % 1000 / 100));
    else if (s < 60)
        snprintf(buffer, QUANTITY_MAX, "%ds", (int)s);
    else if (s < 3600)
        snprintf(buffer, QUANTITY_MAX, "%dm%02ds", (int)(s / 60), (int)(s % 60));
    else if (s < 86400)
        snprintf(buffer, QUANTITY_MAX, "%dh%02dm", (int)(s / 3600), (int)(s % 3600 / 60));
    else
        snprintf(buffer, QUANTITY_MAX, "%lldd%02dh", (long long)(s / 86400),
                 (int)(s % 86400 / 3600));
    return buffer;
}
