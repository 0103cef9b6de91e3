/* worker EVENT: says that it has started, waits for the event, says that it goes on. */
#include "common.h"

static const char *name;
static int64_t timeout = SHK_FOREVER;

static const struct option_row options[] = {
    {"name", "NAME", "its name, here and in shmctl ps (process-PID)", .text = &name},
    {"timeout", "DURATION", "wait that long at most (for ever)", .duration = &timeout},
    {0},
};

static const struct program program = {
    .name = "worker",
    .operand = "SEGMENT/EVENT",
    .purpose = "Wait for an event of other processes: 'shmctl event set SEGMENT/EVENT'.",
    .notes = "The event is made, clear, if it is absent.\n",
    .options = options,
};

static int wait_and_work(const struct place *place, struct shk_event *event)
{
    int r, status = say("%s 启动\n", name);

    if (status == DONE)
        status = say("%s 准备开始计算状态\n", name);
    if (status != DONE)
        return status;
    r = shk_event_wait(event, timeout);
    if (r < 0)
        return failed(place, r);
    status = say("%s 收到通知了.\n", name);
    if (status == DONE)
        status = say("%s 正式开始计算！\n", name);
    return status;
}

int main(int argc, char **argv)
{
    struct place place;
    struct shk_event *event = NULL;
    int r, status = enter(argc, argv, &program, &name, &place);

    if (status == DONE) {
        r = shk_event_open(place.segment, place.object, SHK_CREATE, NULL, &event);
        status = r == 0 ? wait_and_work(&place, event) : failed(&place, r);
    }
    shk_event_close(event);
    return leave(&place, status);
}
