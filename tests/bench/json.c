/* The figures of every round, for programs. */
#include "report.h"

#include <math.h>
#include <string.h>

static void json_text(FILE *file, const char *text)
{
    putc('"', file);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putc('\\', file);
        putc(*text, file);
    }
    putc('"', file);
}

static void json_number(FILE *file, double value)
{
    if (isfinite(value))
        fprintf(file, "%.6g", value);
    else
        fputs("null", file);
}

static void json_pair(FILE *file, const char *name, const char *text)
{
    fprintf(file, "\"%s\": ", name);
    json_text(file, text);
    fprintf(file, ", ");
}

static void json_row(FILE *file, const struct series *s)
{
    json_pair(file, "workload", s->workload);
    json_pair(file, "row", s->row);
    json_pair(file, "place", s->place);
    json_pair(file, "subject", s->subject);
}

static void json_figures(FILE *file, const struct series *s, int figure)
{
    json_text(file, figure ? s->unit->also[figure - 1] : s->unit->name);
    fprintf(file, ": [");
    for (unsigned k = 0; k < s->rounds; k++) {
        fputs(k ? ", " : "", file);
        json_number(file, s->figure[figure][k] / (figure ? 1 : s->unit->scale));
    }
    fprintf(file, "], ");
}

static void json_circumstances(FILE *file, const struct series *s)
{
    for (int which = 0; which < CIRCUMSTANCES; which++) {
        json_text(file, circumstance[which].name);
        fprintf(file, ": [");
        for (unsigned k = 0; k < s->rounds; k++) {
            fputs(k ? ", " : "", file);
            json_number(file, s->circumstances[k].value[which]);
        }
        fprintf(file, "], ");
    }
}

static void json_series(FILE *file, const struct series *s)
{
    fprintf(file, "    {");
    json_row(file, s);
    json_pair(file, "is", s->is & OURS ? "shmkit" : s->is & PEER ? "peer" : "limit");
    if (s->trouble[0])
        json_pair(file, "trouble", s->trouble);
    for (int i = 0; i < FIGURES; i++) {
        if (i == 0 || s->unit->also[i - 1])
            json_figures(file, s, i);
    }
    json_circumstances(file, s);
    fprintf(file, "\"spins\": %s}", s->is & SPINS ? "true" : "false");
}

struct output {
    FILE *file;
    bool any;
};

static void json_verdict(const struct verdict *v, void *arg)
{
    struct output *out = arg;
    const struct target *t = v->target;

    fprintf(out->file, "%s    {", out->any ? ",\n" : "");
    out->any = true;
    json_row(out->file, v->ours);
    json_pair(out->file, "against", v->against ? v->against->subject : t->what);
    json_pair(out->file, "way", t->at_least ? "at least" : "at most");
    fprintf(out->file, "\"must\": %.4g, \"is\": %.6g, \"reached\": %s}", t->factor, v->value,
            v->reached ? "true" : "false");
}

bool report_json(const char *path)
{
    struct output out = {strcmp(path, "-") == 0 ? stdout : fopen(path, "w"), false};
    const struct series *s;

    if (!out.file) {
        perror(path);
        return false;
    }
    fprintf(out.file, "{\n  \"seconds\": %g, \"rounds\": %u, \"cpus\": %u, \"at_full_speed\": [",
            bench.seconds, bench.rounds, bench.cpus);
    for (int i = 0; i < 2; i++) {
        fputs(i ? ", " : "", out.file);
        json_number(out.file, quiet_full_speed(i));
    }
    fputs("],\n  \"results\": [\n", out.file);
    for (unsigned i = 0; (s = series_at(i)); i++) {
        json_series(out.file, s);
        fprintf(out.file, "%s\n", series_at(i + 1) ? "," : "");
    }
    fprintf(out.file, "  ],\n  \"verdicts\": [\n");
    verdicts(json_verdict, &out);
    fprintf(out.file, "\n  ]\n}\n");
    return out.file == stdout ? fflush(out.file) == 0 : fclose(out.file) == 0;
}
