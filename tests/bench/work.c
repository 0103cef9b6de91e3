/* W11: what it costs that a job survives its worker: lease and ack beside get, and beside Redis. */
#include "channel.h"

extern const struct channel channel_shmkit, channel_shmkit_lease, channel_redis_port,
    channel_redis_path;

static const struct subject subjects[] = {
    {"shmkit get", OURS | LIMIT, &channel_shmkit},
    {"shmkit lease, ack", OURS, &channel_shmkit_lease},
#ifdef REDIS_SERVER
    {"Redis loopback", PEER, &channel_redis_port},
    {"Redis unix socket", PEER, &channel_redis_path},
#endif
};

static void work_alone(void *argument, unsigned role)
{
    struct line *line = argument;

    line_attach(line, SENDER | RECEIVER);
    stage_ready();
    stage->role[role].figure[0] = line->channel->loops->alone(line);
}

/* One process puts each job and takes it. */
static bool measure_alone(const struct contest *contest, const struct subject *subject,
                          double figures[FIGURES])
{
    struct line line;

    if (!line_create(&line, subject->what, 0, contest->item, contest->capacity, 1))
        return false;
    team_start();
    team_add(work_alone, &line, contest_cpu(contest, 1));
    bool well = team_run(contest_seconds(contest));
    line_destroy(&line);
    figures[0] = stage->role[0].figure[0];
    return well;
}

void run_w11(void)
{
    static const struct unit job = {.name = "us", .scale = 1e3},
                             jobs = {.name = "k/s", .more_is_better = true, .scale = 1e3};
    struct contest contest = {.workload = "W11",
                              .row = "put and take, 64 B",
                              .place = "alone",
                              .unit = &job,
                              .measure = measure_alone,
                              .item = 64,
                              .capacity = 1024,
                              .pinned = true};

    contest_run(&contest, subjects, COUNT(subjects));
    contest.row = "1 to 1, 64 B";
    contest.unit = &jobs;
    contest.measure = measure_one_way;
    contest.n = 1;
    for (int pinned = 1; pinned >= 0; pinned--) {
        contest.pinned = pinned;
        contest.place = pinned ? "pinned" : "unpinned";
        contest_run(&contest, subjects, COUNT(subjects));
    }
}
