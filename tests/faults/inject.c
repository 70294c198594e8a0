/* Make chosen system calls of a process and its descendants fail.
 *
 * trap() installs a seccomp filter in the calling process: every call below that changes files stops until the
 * supervisor answers. serve() is the supervisor, in another process: it counts the calls that are about paths with a
 * given beginning, and answers each with "continue" or with an error. Calls of libc, of native libraries and of
 * compilers are all seen, because the kernel reports them (Linux 5.9 or newer, no privileges needed).
 *
 * Refuses nothing by itself: both functions return -1 with errno where the kernel lacks the mechanism.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum form { DESCRIPTOR, PATH, PATH_AT, OPEN, OPEN_AT };

struct call {
    int number;
    enum form form;
    int argument; /* of the descriptor or path; PATH_AT: of the folder, the path follows */
    const char* name;
};

static const struct call CALLS[] = {
    {SYS_write, DESCRIPTOR, 0, "write"},
    {SYS_pwrite64, DESCRIPTOR, 0, "write"},
    {SYS_writev, DESCRIPTOR, 0, "write"},
    {SYS_pwritev, DESCRIPTOR, 0, "write"},
    {SYS_sendfile, DESCRIPTOR, 0, "write"},
    {SYS_copy_file_range, DESCRIPTOR, 2, "write"},
    {SYS_fsync, DESCRIPTOR, 0, "fsync"},
    {SYS_fdatasync, DESCRIPTOR, 0, "fsync"},
    {SYS_ftruncate, DESCRIPTOR, 0, "truncate"},
    {SYS_fallocate, DESCRIPTOR, 0, "truncate"},
    {SYS_fchmod, DESCRIPTOR, 0, "chmod"},
    {SYS_truncate, PATH, 0, "truncate"},
    {SYS_openat, OPEN_AT, 0, "open"},
    {SYS_mkdirat, PATH_AT, 0, "mkdir"},
    {SYS_unlinkat, PATH_AT, 0, "unlink"},
    {SYS_renameat2, PATH_AT, 0, "rename"},
    {SYS_linkat, PATH_AT, 2, "link"},
    {SYS_symlinkat, PATH_AT, 1, "link"},
    {SYS_fchmodat, PATH_AT, 0, "chmod"},
#ifdef SYS_open
    {SYS_open, OPEN, 0, "open"},
    {SYS_creat, PATH, 0, "open"},
    {SYS_mkdir, PATH, 0, "mkdir"},
    {SYS_unlink, PATH, 0, "unlink"},
    {SYS_rmdir, PATH, 0, "unlink"},
    {SYS_rename, PATH, 0, "rename"},
    {SYS_link, PATH, 1, "link"},
    {SYS_symlink, PATH, 1, "link"},
    {SYS_chmod, PATH, 0, "chmod"},
#endif
#ifdef SYS_renameat
    {SYS_renameat, PATH_AT, 0, "rename"},
#endif
};
enum { N_CALLS = sizeof CALLS / sizeof CALLS[0] };

/* Install the filter; returns the descriptor to serve, or -1. */
int trap(void) {
    struct sock_filter filter[N_CALLS + 4];
    unsigned short n = 0;
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < N_CALLS; i++)
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)CALLS[i].number,
                                                   (unsigned char)(N_CALLS - i), 0);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog program = {n, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

/* The target of a link in /proc, such as the path of an open file. */
static void read_link(const char* link, char* path) {
    const ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = '\0';
}

static void path_of_descriptor(unsigned process, int descriptor, char* path) {
    char link[64];
    if (descriptor == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/%u/cwd", process);
    else
        snprintf(link, sizeof link, "/proc/%u/fd/%d", process, descriptor);
    read_link(link, path);
}

/* The path argument at `address` of the process; relative ones start from `folder`. */
static void path_of_argument(unsigned process, int folder, unsigned long long address, char* path) {
    char text[PATH_MAX] = "";
    size_t length = 0;
    while (length < sizeof text - 1) { /* by pages: the string may end just before an unmapped one */
        const size_t step = 256 - (size_t)((address + length) % 256);
        struct iovec here = {text + length, step < sizeof text - 1 - length ? step : sizeof text - 1 - length};
        struct iovec there = {(void*)(address + length), here.iov_len};
        if (process_vm_readv((pid_t)process, &here, 1, &there, 1, 0) <= 0)
            break;
        if (memchr(here.iov_base, '\0', here.iov_len))
            break;
        length += here.iov_len;
    }
    text[sizeof text - 1] = '\0';
    path[0] = '\0';
    if (text[0] != '/') {
        path_of_descriptor(process, folder, path);
        strncat(path, "/", PATH_MAX - 1 - strlen(path));
    }
    strncat(path, text, PATH_MAX - 1 - strlen(path));
}

static const struct call* call_of(int number) {
    for (int i = 0; i < N_CALLS; i++)
        if (CALLS[i].number == number)
            return &CALLS[i];
    return NULL;
}

/* The path that a stopped call is about; returns whether it opens a file for reading only. */
static int path_of_call(const struct call* call, const struct seccomp_notif* stopped, char* path) {
    const unsigned long long* argument = (const unsigned long long*)stopped->data.args;
    const int at = call->argument;
    switch (call->form) {
    case DESCRIPTOR:
        path_of_descriptor(stopped->pid, (int)argument[at], path);
        return 0;
    case PATH:
    case OPEN:
        path_of_argument(stopped->pid, AT_FDCWD, argument[at], path);
        break;
    default:
        path_of_argument(stopped->pid, (int)argument[at], argument[at + 1], path);
    }
    const unsigned long long flags = call->form == OPEN ? argument[1] : argument[2];
    const int opens = call->form == OPEN || call->form == OPEN_AT;
    return opens && !(flags & (O_WRONLY | O_RDWR | O_CREAT));
}

struct plan {
    const char* beginning; /* of the paths that count */
    const char* calls;     /* names with spaces around them; "read" stands for opening a file for reading */
    long first;            /* number of the call that fails, from 1; 0 for none */
    int error;             /* errno of the failed call */
    int persistent;        /* whether all later calls fail too */
};

/* Answer all stopped calls until the last process with the filter has ended; each counted one is a line of `log`.
 * Returns the number of counted calls, or -1. */
long serve(int listener, struct plan plan, int log) {
    long count = 0;
    for (;;) {
        struct pollfd ready = {listener, POLLIN, 0};
        if (poll(&ready, 1, -1) < 0 && errno != EINTR)
            return -1;
        if (!(ready.revents & POLLIN)) {
            if (ready.revents & (POLLHUP | POLLERR))
                return count;
            continue;
        }
        struct seccomp_notif stopped;
        memset(&stopped, 0, sizeof stopped);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &stopped) != 0) {
            if (errno == EINTR || errno == ENOENT)
                continue; /* the process was ended meanwhile */
            return -1;
        }
        struct seccomp_notif_resp answer;
        memset(&answer, 0, sizeof answer);
        answer.id = stopped.id;
        answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        const struct call* call = call_of(stopped.data.nr);
        char path[PATH_MAX], name[32];
        if (call != NULL) {
            const int reads = path_of_call(call, &stopped, path);
            snprintf(name, sizeof name, " %s ", reads ? "read" : call->name);
            if (strncmp(path, plan.beginning, strlen(plan.beginning)) == 0 && strstr(plan.calls, name)) {
                count++;
                const int fails = plan.first != 0 && (count == plan.first || (plan.persistent && count > plan.first));
                dprintf(log, "%ld\t%s\t%s\t%s\n", count, reads ? "read" : call->name, fails ? "failed" : "", path);
                if (fails) {
                    answer.flags = 0;
                    answer.error = -plan.error;
                }
            }
        }
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer); /* ENOENT: the process was ended meanwhile */
    }
}
