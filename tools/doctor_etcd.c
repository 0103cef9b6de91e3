/* What 'shmctl doctor etcd:' finds: the servers that carry segments on etcd. */
#include "common.h"
#include "quantity.h"
#include "report.h"

#include <shmkit/inspect.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Revisions: etcd compacts each 5 minutes, in which there may be so many. */
#define LONG_HISTORY 500000
#define FULL         80          /* per cent of the quota */
#define SLOW_WRITE   SHK_MS(500) /* a leader is given up after 1 s without a sign of life */
#define CLOCKS_APART 5           /* s */
#define LEASE_ASKED  5           /* s */

#define COMPACTION "--auto-compaction-mode=revision --auto-compaction-retention=10000"

static void check_size(struct report *report, const char *about, const struct shk_server_info *s)
{
    char size[QUANTITY_MAX], quota[QUANTITY_MAX];
    bool is_full = s->quota && s->size * 100 / s->quota >= FULL;

    if (s->quota)
        found(report, about,
              is_full
                  ? "compact the history (etcdctl compact REVISION), then etcdctl defrag; start "
                    "the servers with " COMPACTION ", or with a larger --quota-backend-bytes"
                  : NULL,
              "its database has %s, of %s that it may have", format_size(size, s->size),
              format_size(quota, s->quota));
    else
        found(report, about, NULL, "its database has %s", format_size(size, s->size));
}

static void check_clock(struct report *report, const char *about, const struct shk_server_info *s)
{
    int64_t apart = s->ahead < 0 ? -s->ahead : s->ahead;

    if (apart > CLOCKS_APART)
        found(report, about,
              "set both clocks by NTP (timedatectl set-ntp true): leases do not depend on it, but "
              "certificates and the times in 'shmctl ps' do",
              "its clock is %" PRId64 " s %s that of this machine", apart,
              s->ahead < 0 ? "behind" : "ahead of");
}

static void check_server(struct report *report, const struct shk_server_info *s)
{
    char *about = *s->name ? print_to_memory("%s (%s)", s->endpoint, s->name)
                           : print_to_memory("%s", s->endpoint);
    char delay[QUANTITY_MAX];

    switch (s->state) {
    case SHK_SERVER_GOOD:
        found(report, about, NULL, "%s, etcd %s, answers in %s", s->leads ? "leads" : "follows",
              s->version, format_duration(delay, s->delay));
        check_size(report, about, s);
        check_clock(report, about, s);
        break;
    case SHK_SERVER_AWAY:
        found(report, about,
              "see that etcd runs there, and that it can be reached; ETCDCTL_ENDPOINTS says where "
              "the servers are",
              "it does not answer: %s", s->problem);
        break;
    case SHK_SERVER_REFUSES:
        found(report, about,
              "see ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY, ETCDCTL_USER and ETCDCTL_PASSWORD",
              "it refuses: %s", s->problem);
        break;
    case SHK_SERVER_NO_LEADER:
        found(report, about, "start the other servers, or see why they do not reach it",
              "etcd %s answers, and knows no leader: it has no majority", s->version);
        break;
    default:
        found(report, about, NULL,
              "a server of the cluster that is not in ETCDCTL_ENDPOINTS: it is not asked if others "
              "do not answer");
    }
    free(about);
}

static void check_majority(struct report *report, const struct shk_cluster_info *c,
                           const struct shk_server_info *list, size_t n)
{
    unsigned answer = 0;
    char delay[QUANTITY_MAX];

    for (size_t i = 0; i < n; i++)
        answer += list[i].state == SHK_SERVER_GOOD;
    if (!c->has_majority)
        found(report, "majority",
              "start more of the servers: calls on segments on etcd wait until a majority answers",
              "a read is not answered: %s", c->problem);
    else if (c->members < 3)
        found(report, "majority", NULL,
              "there is one, of %" PRIu32 ": no server may fail; a read takes %s", c->members,
              format_duration(delay, c->read_time));
    else
        found(report, "majority", NULL,
              "there is one, of %" PRIu32 " members (%u seen to answer); a read takes %s",
              c->members, answer, format_duration(delay, c->read_time));
}

static void check_alarms(struct report *report, const struct shk_cluster_info *c)
{
    if (c->no_space)
        found(report, "alarm NOSPACE",
              "compact the history (etcdctl compact REVISION), etcdctl defrag, then etcdctl alarm "
              "disarm; start the servers with " COMPACTION,
              "a database has reached its quota: nothing can be put");
    if (c->corrupt)
        found(report, "alarm CORRUPT",
              "stop all programs that use it; see etcd's page on corruption, and restore a backup",
              "two servers have different data");
    if (!c->no_space && !c->corrupt && c->has_majority)
        found(report, "alarms", NULL, "none");
}

static void check_history(struct report *report, const struct shk_cluster_info *c)
{
    uint64_t kept = c->revision - c->oldest;

    if (!c->has_majority || c->revision == 0)
        return;
    if (kept >= LONG_HISTORY)
        found(report, "compaction",
              "start the servers with " COMPACTION ": else their quota is reached one day",
              "the last %" PRIu64 " of %" PRIu64 " changes are kept", kept, c->revision);
    else if (c->oldest <= 1)
        found(report, "compaction", NULL,
              "none so far, in %" PRIu64 " changes; the servers should have been started "
              "with " COMPACTION,
              c->revision);
    else
        found(report, "compaction", NULL, "the last %" PRIu64 " of %" PRIu64 " changes are kept",
              kept, c->revision);
}

static void check_writes(struct report *report, const struct shk_cluster_info *c)
{
    char delay[QUANTITY_MAX];

    if (!c->has_majority || c->no_space)
        return;
    if (!c->write_time) {
        if (c->revision != 0)
            found(report, "writes", "see the rights of the user (etcdctl user get, role get)",
                  "none was possible: %s", c->problem);
        return;
    }
    found(
        report, "writes",
        c->write_time > SLOW_WRITE
            ? "give etcd a faster disk: each change is on the disks of a majority before it counts"
            : NULL,
        "one takes %s", format_duration(delay, c->write_time));
    found(report, "leases",
          c->lease_ttl > LEASE_ASKED
              ? "start the servers with a shorter --election-timeout: a death is found that late"
              : NULL,
          "one of %d s lasts %" PRIu32 " s", LEASE_ASKED, c->lease_ttl);
}

/* A user whose roles name its segments alone is refused what is about all of them. */
static void check_rights(struct report *report, const struct shk_cluster_info *c)
{
    bool is_allowed = c->revision != 0 && c->may_write;

    if (!c->has_majority || c->no_space || is_allowed)
        return;
    if (c->revision == 0 && !strstr(c->problem, "permission denied"))
        found(report, "rights", "see ETCDCTL_USER and ETCDCTL_PASSWORD", "a read is refused: %s",
              c->problem);
    else
        found(report, "rights", NULL,
              "this user may not %s all that begins with /shmkit/: only segments that its roles "
              "name%s",
              c->revision == 0 ? "read" : "write",
              c->revision == 0 ? "; so it is not seen how much history is kept" : "");
}

int check_etcd(struct report *report)
{
    struct shk_cluster_info cluster;
    struct shk_server_info *list;
    ssize_t n = shk_server_list(&cluster, &list);

    if (n < 0)
        return failed("etcd:", (int)n);
    for (ssize_t i = 0; i < n; i++)
        check_server(report, &list[i]);
    check_majority(report, &cluster, list, (size_t)n);
    check_alarms(report, &cluster);
    check_history(report, &cluster);
    check_writes(report, &cluster);
    check_rights(report, &cluster);
    free(list);
    return STATUS_DONE;
}
