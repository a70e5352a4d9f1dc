// SPDX-License-Identifier: Apache-2.0
// The cage: see cage.h. System calls that decoders need are allowed; those that only somebody who has broken in would
// make kill the process; all others fail, as libraries that ask for more than they need must live with.
#include "media/video/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static int limit(int what, uint64_t value, struct error *err)
{
    const struct rlimit most = {value, value};
    return setrlimit(what, &most) == 0 ? 0 : error_errno(err, ERR_INTERNAL, errno, "A decoder's limits cannot be set");
}

static uint64_t address_space(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%lu", &pages) != 1)
        pages = 0;
    fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int set_limits(const struct cage_limits *limits, struct error *err)
{
    mallopt(M_ARENA_MAX, 1); // an arena a thread would take address space that nobody uses
    if (limit(RLIMIT_CORE, 0, err) < 0 || limit(RLIMIT_CPU, (uint64_t)limits->cpu_s, err) < 0)
        return -1;
    if (SANITIZED) // they map terabytes, and keep books in files
        return 0;
    return limit(RLIMIT_FSIZE, 0, err) < 0 ? -1 : limit(RLIMIT_AS, address_space() + limits->memory, err);
}

static int close_files(int first_free, struct error *err)
{
    _cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2; fd++)
        if (null < 0 || (!(SANITIZED && fd == 2) && dup2(null, fd) < 0)) // reports of sanitizers are to be read
            return error_errno(err, ERR_INTERNAL, errno, "A decoder's files cannot be closed");
    if (close_range((unsigned)first_free, ~0U, 0) < 0 && errno != ENOSYS)
        return error_errno(err, ERR_INTERNAL, errno, "A decoder's files cannot be closed");
    return 0;
}

static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(pread64),
    SCMP_SYS(readv),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(close),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(mprotect),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    SCMP_SYS(getrlimit),
    SCMP_SYS(getrusage),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
#if SANITIZED
    SCMP_SYS(write),
    SCMP_SYS(prlimit64),
    SCMP_SYS(readlink),
    SCMP_SYS(openat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(getdents64),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(prctl),
#endif
};
static const int deadly[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(socket),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(ptrace),
    SCMP_SYS(kill),
    SCMP_SYS(unlink),
    SCMP_SYS(rename),
    SCMP_SYS(mount),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(bpf),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(open_by_handle_at),
};

static int add_rules(scmp_filter_ctx filter)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(allowed); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(deadly); i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
    if (rc == 0) // threads, and no processes; glibc falls back from the call whose flags cannot be seen
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (rc == 0)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (rc == 0 && !SANITIZED) // names of threads
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    return rc;
}

static int filter_calls(struct error *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int rc = filter ? add_rules(filter) : -ENOMEM;
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc == 0 ? 0 : error_errno(err, ERR_INTERNAL, -rc, "The system calls of a decoder cannot be filtered");
}

int cage_enter(const struct cage_limits *limits, int first_free, struct error *err)
{
    if (close_files(first_free, err) < 0 || set_limits(limits, err) < 0)
        return -1;
    return filter_calls(err);
}
