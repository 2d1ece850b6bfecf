/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/hook_run.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    WORDS_MOST = 4096,
    STEP_MS = 100,
    GRACE_MS = 2000, /* between SIGTERM and SIGKILL */
    ENVIRONMENT_MOST = 32,
};

static bool is_safe(const struct stat *status)
{
    return (status->st_uid == 0 || status->st_uid == geteuid()) &&
           (status->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* A descriptor of the program: the file that was checked is the file that is run. */
static int open_program(const HookRun *run, Err *err)
{
    struct stat status;
    scoped(mem_release) char *name = mem_text(run->name);
    if (run->name.len == 0 || name[0] == '.' || memchr(name, '/', run->name.len) != NULL ||
        strlen(name) != run->name.len)
        return err_set(err, ERR_DENIED, "hook.unsafe", "'%.80s' is no name of a hook", name), -1;
    if (run->directory == NULL)
        return err_set(err, ERR_MISSING, "hook.missing",
                       "this worker has no hooks directory: set `hooks` in worker.yaml"),
               -1;
    int directory = open(run->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return err_set_sys(err, ERR_MISSING, "hook.missing", "the hooks directory %s",
                           run->directory),
               -1;
    bool safe = fstat(directory, &status) == 0 && is_safe(&status);
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int failure = errno;
    close(directory);
    errno = failure;
    if (fd < 0)
        return err_set_sys(err, ERR_MISSING, "hook.missing", "the hook %s in %s", name,
                           run->directory),
               -1;
    if (safe && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && is_safe(&status) &&
        (status.st_mode & S_IXUSR) != 0)
        return fd;
    close(fd);
    return err_set(err, ERR_DENIED, "hook.unsafe",
                   "the hook %s or its directory %s may be written by others, or it is no program: "
                   "chown root, chmod 755",
                   name, run->directory),
           -1;
}

/* In the child: only async-signal-safe calls from here to execve. */
static void become(int program, int output, const char *path, char *const environment[])
{
    char *const arguments[] = {(char *)(uintptr_t)path, NULL};
    sigset_t none;
    int nothing = open("/dev/null", O_RDONLY);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(nothing, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
        _exit(126);
    /* The program's own descriptor stays open: a script's interpreter reads it by /dev/fd. */
    if (program != 3 && dup2(program, 3) < 0)
        _exit(126);
    close_range(4, ~0U, 0);
    fcntl(3, F_SETFD, 0);
    if (chdir("/") == 0)
        fexecve(3, arguments, environment);
    _exit(127);
}

static pid_t start(const HookRun *run, int program, int *output, Err *err)
{
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    static char language[] = "LANG=C.UTF-8";
    char *environment[ENVIRONMENT_MOST + 3] = {path, language};
    int ends[2];
    scoped(mem_release) char *name = mem_text(run->name);
    for (size_t i = 0; i < ENVIRONMENT_MOST && run->environment[i] != NULL; i++)
        environment[i + 2] = (char *)(uintptr_t)run->environment[i];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_set_sys(err, ERR_FULL, "hook.start", "no pipe for the hook %s", name), -1;
    pid_t child = fork();
    if (child == 0)
        become(program, ends[1], name, environment);
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return err_set_sys(err, ERR_FULL, "hook.start", "the hook %s could not be started", name),
               -1;
    }
    setpgid(child, child);
    *output = ends[0];
    return child;
}

static void keep_words(Buf *words, const char *at, size_t len)
{
    buf_add(words, at, len);
    if (words->len > WORDS_MOST) {
        size_t over = words->len - WORDS_MOST;
        memmove(words->at, words->at + over, WORDS_MOST);
        words->len = WORDS_MOST;
    }
}

/* True while the pipe is open. */
static bool listen_a_step(int output, Buf *words)
{
    char some[1024];
    struct pollfd poll_on = {.fd = output, .events = POLLIN};
    if (poll(&poll_on, 1, STEP_MS) <= 0)
        return true;
    ssize_t got = read(output, some, sizeof some);
    if (got > 0)
        keep_words(words, some, (size_t)got);
    return got > 0 || (got < 0 && errno == EINTR);
}

typedef enum Ending { ENDED, LATE, STOPPED } Ending;

/* Waits for the program itself; what it left running in its group is ended with it. */
static Ending watch(const HookRun *run, pid_t child, int output, Buf *words, int *status)
{
    int64_t until = clock_boot_ns() + run->timeout_ms * 1000000, kill_at = 0;
    Ending ending = ENDED;
    bool open = true;
    for (;;) {
        if (open)
            open = listen_a_step(output, words);
        else
            poll(NULL, 0, 10);
        if (waitpid(child, status, WNOHANG) == child)
            break;
        int64_t now = clock_boot_ns();
        bool stop = run->cancelled != NULL && run->cancelled(run->ctx);
        if (kill_at == 0 && (now >= until || stop)) {
            ending = stop ? STOPPED : LATE;
            kill(-child, SIGTERM);
            kill_at = now + GRACE_MS * INT64_C(1000000);
        } else if (kill_at != 0 && now >= kill_at) {
            kill(-child, SIGKILL);
        }
    }
    kill(-child, SIGKILL);
    while (open && poll(&(struct pollfd){.fd = output, .events = POLLIN}, 1, 0) > 0)
        open = listen_a_step(output, words);
    return ending;
}

bool hook_run(const HookRun *run, Buf *words, Err *err)
{
    int output, status = 0, program = open_program(run, err);
    if (program < 0)
        return false;
    pid_t child = start(run, program, &output, err);
    close(program);
    if (child < 0)
        return false;
    Ending ending = watch(run, child, output, words, &status);
    close(output);
    if (ending == LATE)
        return err_set(err, ERR_TIMEOUT, "hook.timeout",
                       "the hook %.*s did not end within %lld s and was stopped: give it more time "
                       "or make it faster",
                       TEXT_ARG(run->name), (long long)(run->timeout_ms / 1000));
    if (ending == STOPPED)
        return err_set(err, ERR_CANCELLED, "job.cancelled", "cancelled while the hook %.*s ran",
                       TEXT_ARG(run->name));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    return err_set(err, ERR_SOURCE, "hook.failed",
                   "the hook %.*s ended with %s %d: its words are in the job's log",
                   TEXT_ARG(run->name), WIFEXITED(status) ? "status" : "signal",
                   WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}
