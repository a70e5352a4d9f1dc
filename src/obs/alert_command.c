// SPDX-License-Identifier: Apache-2.0
// A command of the operator's that gets a text on its stdin.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "obs/alert_send_int.h"

enum { CHILD_LOOK_MS = 20 };

// The command gets signals as a shell does, none of our descriptors, and our log as its output.
static int spawn(const char *command, int input, pid_t *pid, struct error *err)
{
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t actions;
    sigset_t none, all;
    char *argv[] = {"sh", "-c", (char *)command, NULL};
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    int rc = posix_spawn(pid, "/bin/sh", &actions, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return rc ? error_errno(err, ERR_UNAVAILABLE, rc, "alert.command cannot be started") : 0;
}

static int wait_child(pid_t pid, int64_t timeout_ms, const _Atomic bool *stopping, struct error *err)
{
    int64_t until = clock_mono_us() + timeout_ms * 1000;
    int status;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (*stopping || clock_mono_us() > until) {
            kill(-pid, SIGKILL);
            waitpid(pid, &status, 0);
            return error_set(err, ERR_TIMEOUT, "alert.command did not end in time, and was killed");
        }
        clock_sleep_ms(CHILD_LOOK_MS);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return error_set(err, ERR_UNAVAILABLE, "alert.command failed: %s %d", WIFEXITED(status) ? "exit code" : "signal",
                     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

// A file in memory, not a pipe: a command that does not read keeps nobody waiting.
static int make_input(const char *text, struct error *err)
{
    _cleanup_close_ int input = memfd_create("alert", MFD_CLOEXEC);
    size_t len = strlen(text);
    if (input < 0 || write(input, text, len) != (ssize_t)len || lseek(input, 0, SEEK_SET) < 0)
        return error_errno(err, ERR_UNAVAILABLE, errno, "alert.command cannot be told");
    return take_fd(input);
}

int alert_run_command(const struct alert_config *config, const json_t *message, const _Atomic bool *stopping,
                      struct error *err)
{
    pid_t pid;
    _cleanup_free_ char *text = js_dumps(message);
    if (!text)
        return error_set(err, ERR_NO_MEMORY, "No memory for an alert");
    _cleanup_close_ int input = make_input(text, err);
    if (input < 0 || spawn(config->command, input, &pid, err) < 0)
        return -1;
    return wait_child(pid, config->timeout_ms, stopping, err);
}
