/*
 * two_locks SEGMENT NAME FIRST SECOND: takes the first lock, waits until the event "go" is set, and
 * then for the second lock, for an hour at most; gives both back. For the tests of 'shmctl why':
 * two of these, crosswise, are a deadlock.
 */
#include <shmkit.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

static struct shk_segment *segment;
static struct shk_lock *first;
static struct shk_lock *second;
static struct shk_event *go;

static int open_all(char **names)
{
    if (shk_segment_open(names[1], 0, NULL, &segment) < 0 ||
        shk_set_member_name(segment, names[2]) < 0 ||
        shk_lock_open(segment, names[3], 0, NULL, &first) < 0 ||
        shk_lock_open(segment, names[4], 0, NULL, &second) < 0)
        return -1;
    return shk_event_open(segment, "go", 0, NULL, &go);
}

static int take_both(void)
{
    int r = shk_lock_acquire(first, SHK_FOREVER);

    if (r < 0)
        return r;
    r = shk_event_wait(go, SHK_FOREVER);
    if (r == 0)
        r = shk_lock_acquire(second, SHK_SEC(3600));
    if (r >= 0)
        shk_lock_release(second);
    shk_lock_release(first);
    return r;
}

int main(int argc, char **argv)
{
    int r = -1;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc == 5 && open_all(argv) == 0)
        r = take_both();
    if (r < 0)
        fprintf(stderr, "two_locks: %s\n", shk_last_error());
    shk_event_close(go);
    shk_lock_close(second);
    shk_lock_close(first);
    shk_segment_close(segment);
    return r < 0;
}
