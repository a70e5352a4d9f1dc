// SPDX-License-Identifier: Apache-2.0
#include "server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGS_MAX = 16 };

static void become(const struct bench *b, const char *program, const char *const *args, int out)
{
    char path[4096];
    char *argv[ARGS_MAX + 2] = {path};
    if (snprintf(path, sizeof path, "%s/%s", b->build, program) >= (int)sizeof path)
        _exit(127);
    for (size_t i = 0; i < ARGS_MAX && args[i]; i++)
        argv[i + 1] = (char *)args[i];
    if (strcmp(b->model, "builtin") == 0)
        setenv("DEEPLENS_MODELS_DIR", "/nonexistent", 1);
    setenv("DEEPLENS_MODEL_DEFAULT", b->model, 1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(out, STDOUT_FILENO) >= 0)
        execv(path, argv);
    _exit(127);
}

static void read_address(struct server *s, const char *program)
{
    char line[256] = "";
    size_t len = 0;
    while (len < sizeof line - 1 && !strchr(line, '\n')) {
        ssize_t n = read(s->out, line + len, sizeof line - 1 - len);
        if (n <= 0)
            bench_fail("%s did not start", program);
        len += (size_t)n;
        line[len] = 0;
    }
    const char *at = strstr(line, "http://");
    if (!at || sscanf(at, "http://%63s", s->address) != 1)
        bench_fail("%s does not say where it answers: %s", program, line);
}

void server_start(const struct bench *b, const char *program, const char *const *args, struct server *out)
{
    int ends[2];
    if (pipe(ends) < 0)
        bench_fail("no pipe");
    pid_t pid = fork();
    if (pid < 0)
        bench_fail("%s cannot be started", program);
    if (pid == 0) {
        close(ends[0]);
        become(b, program, args, ends[1]);
    }
    close(ends[1]);
    *out = (struct server){.pid = pid, .out = ends[0]};
    read_address(out, program);
}

void server_start_on(const struct bench *b, const char *program, const char *data_dir, struct server *out)
{
    const char *args[] = {"serve",       "--data-dir",  data_dir, "--http-listen",
                          "127.0.0.1:0", "--log-level", "warn",   "--disk-reserve",
                          "0",           NULL};
    server_start(b, program, args, out);
}

static void end(struct server *s, int signal_number)
{
    int status;
    struct rusage used;
    kill(s->pid, signal_number);
    if (wait4(s->pid, &status, 0, &used) < 0)
        bench_fail("a server cannot be waited for");
    if (signal_number == SIGTERM && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
        bench_fail("a server did not end as it should (%d)", status);
    close(s->out);
    s->pid = 0;
    s->cpu = bench_cpu(&used);
}

void server_stop(struct server *s)
{
    end(s, SIGTERM);
}

void server_kill(struct server *s)
{
    end(s, SIGKILL);
}
