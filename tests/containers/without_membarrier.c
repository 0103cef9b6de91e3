/*
 * without_membarrier COMMAND...: runs a command that may not call membarrier(2), as under a seccomp
 * profile that does not know it. Exit status 125 if there is no seccomp here.
 * without_membarrier --allowed: nothing but exit status 0 if the kernel has it, and it is allowed.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NO_SECCOMP 125

int main(int argc, char **argv)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof(rules) / sizeof(rules[0]), .filter = rules};

    if (argc < 2) {
        fprintf(stderr, "usage: without_membarrier COMMAND...\n");
        return NO_SECCOMP;
    }
    if (strcmp(argv[1], "--allowed") == 0)
        return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) != 0;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) != 0) {
        fprintf(stderr, "without_membarrier: seccomp: %s\n", strerror(errno));
        return NO_SECCOMP;
    }
    if (syscall(SYS_membarrier, 0, 0, 0) >= 0 || errno != EPERM) {
        fprintf(stderr, "without_membarrier: membarrier(2) is allowed all the same\n");
        return NO_SECCOMP;
    }
    execvp(argv[1], argv + 1);
    fprintf(stderr, "without_membarrier: %s: %s\n", argv[1], strerror(errno));
    return NO_SECCOMP;
}
