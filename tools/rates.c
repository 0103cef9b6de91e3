#include "rates.h"

struct moves moves_of(const struct shk_snapshot *snapshot, const struct shk_object_info *o,
                      int64_t when)
{
    struct moves m = {
        .segment = shk_snapshot_segment(snapshot)->id, .object = o->serial, .when = when};

    if (o->kind == SHK_KIND_QUEUE && shk_snapshot_segment(snapshot)->revision != 0)
        return m; /* on etcd a put or a get is counted nowhere */
    if (o->kind == SHK_KIND_QUEUE) {
        m.puts = o->as.queue.puts;
        m.gets = o->as.queue.gets;
        m.has_puts = m.has_gets = true;
    } else if (o->kind == SHK_KIND_STREAM) {
        m.puts = o->as.stream.position;
        m.has_puts = true;
    }
    return m;
}

static double rate(uint64_t before, uint64_t after, int64_t elapsed)
{
    return after >= before && elapsed > 0 ? (double)(after - before) * 1e9 / (double)elapsed : -1;
}

struct rates rates_between(const struct moves *before, const struct moves *after)
{
    int64_t elapsed = after->when - before->when;
    struct rates r = {-1, -1};

    if (before->segment != after->segment || before->object != after->object)
        return r;
    if (after->has_puts)
        r.put = rate(before->puts, after->puts, elapsed);
    if (after->has_gets)
        r.get = rate(before->gets, after->gets, elapsed);
    return r;
}

void add_rates(struct table *t, const struct rates *r)
{
    if (r->put >= 0)
        table_set(t, "PUT-RATE", "%.1f", r->put);
    if (r->get >= 0)
        table_set(t, "GET-RATE", "%.1f", r->get);
}
