/*
 * wait_any SEGMENT QUEUE...: waits until one of the queues has an item, and prints which. For the
 * tests of 'shmctl why'.
 */
#include <shmkit.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#define MAX 8

int main(int argc, char **argv)
{
    struct shk_segment *segment = NULL;
    struct shk_ready set[MAX];
    struct shk_queue *queue;
    unsigned n = 0;
    int r;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    r = argc > 2 && argc - 2 <= MAX ? shk_segment_open(argv[1], 0, NULL, &segment) : -1;
    for (; r == 0 && argv[n + 2]; n++) {
        r = shk_queue_open(segment, argv[n + 2], 0, NULL, &queue);
        set[n] = (struct shk_ready){.kind = SHK_KIND_QUEUE, .want = SHK_READABLE, .object = queue};
    }
    if (r == 0)
        r = shk_wait_any(set, n, SHK_FOREVER);
    if (r >= 0)
        puts(argv[r + 2]);
    else
        fprintf(stderr, "wait_any: %s\n", shk_last_error());
    return r < 0;
}
