#include "report.h"
#include "common.h"

#include <stdlib.h>

static const struct column columns[] = {
    {"STATE", "ok or problem", 0},
    {"ABOUT", "what was checked", 0},
    {"FINDING", "how it is", COLUMN_CUT},
    {"FIX", "what helps", COLUMN_CUT},
    {0},
};

const struct table_kind finding_table = {"findings", columns};

void found(struct report *report, const char *about, const char *fix, const char *format, ...)
{
    va_list arguments;
    char *finding;

    va_start(arguments, format);
    finding = vprint_to_memory(format, arguments);
    va_end(arguments);
    report->problems = report->problems || fix;
    if (report->table) {
        table_row(report->table);
        table_set(report->table, "STATE", "%s", fix ? "problem" : "ok");
        table_set(report->table, "ABOUT", "%s", about);
        table_set(report->table, "FINDING", "%s", finding);
        if (fix)
            table_set(report->table, "FIX", "%s", fix);
    } else {
        printf("%-7s  %s: %s\n", fix ? "problem" : "ok", about, finding);
        if (fix)
            printf("         %s\n", fix);
    }
    free(finding);
}
