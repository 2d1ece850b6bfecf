/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/runner.h"

#include "common/base/mem.h"
#include "worker/job/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* An order must fit the pipe whole, so that writing it never waits for the child. */
enum { PIPE_BYTES = 1 << 20, ENVIRONMENT_MOST = 256, LOW_FDS = 16 };

struct Runner {
    RunnerParams params;
    pid_t pid; /* 0: reaped */
    int orders, reports;
    ChannelOutput output;
    ChannelInput input;
    LoopWatch *watch;
    bool ended; /* the report pipe is at its end, or was broken */
};

/* --- in the child, between fork and exec: only what is safe there -------------------------- */

typedef struct Launch {
    char *const *argv;
    char **environment;
    int orders, reports; /* the child's ends */
    pid_t parent;
    RunnerLimits limits;
} Launch;

/* RLIMIT_DATA, not RLIMIT_AS: what a tool only reserves or maps from files is no use of memory. */
static bool limit(int what, uint64_t most)
{
    struct rlimit now;
    if (most == 0)
        return true;
    if (getrlimit((__rlimit_resource_t)what, &now) != 0)
        return false;
    if (now.rlim_max == RLIM_INFINITY || now.rlim_max > most)
        now.rlim_max = most;
    now.rlim_cur = now.rlim_max;
    return setrlimit((__rlimit_resource_t)what, &now) == 0;
}

static bool limit_all(const RunnerLimits *limits)
{
    struct rlimit no_core = {0, 0};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const uint64_t memory = 0; /* the shadow of a sanitizer is terabytes of private memory */
#else
    const uint64_t memory = limits->memory;
#endif
    return setrlimit(RLIMIT_CORE, &no_core) == 0 && limit(RLIMIT_NOFILE, limits->files) &&
           limit(RLIMIT_DATA, memory) && limit(RLIMIT_FSIZE, limits->file_bytes) &&
           limit(RLIMIT_NPROC, limits->processes);
}

_Noreturn static void launch(const Launch *launch)
{
    sigset_t none;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != launch->parent)
        _exit(127);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (!limit_all(&launch->limits))
        _exit(127);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) != 0 || dup2(launch->orders, CHANNEL_ORDER_FD) < 0 ||
        dup2(launch->reports, CHANNEL_REPORT_FD) < 0 || close_range(5, ~0u, 0) != 0)
        _exit(127);
    execve("/proc/self/exe", launch->argv, launch->environment);
    _exit(127);
}

/* --- in the parent -------------------------------------------------------------------------- */

/* What a job may know of our environment: where things are, never a secret. */
static bool wanted(const char *variable)
{
    static const char *const names[] = {"PATH=",
                                        "LANG=",
                                        "LC_",
                                        "TZ=",
                                        "HOME=",
                                        "USER=",
                                        "TMPDIR=",
                                        "CREDENTIALS_DIRECTORY=",
                                        "SSL_CERT_",
                                        "AWS_SHARED_CREDENTIALS_FILE=",
                                        "AWS_PROFILE=",
                                        "AWS_CONTAINER_CREDENTIALS_",
                                        "AWS_EC2_METADATA_",
                                        "ASAN_OPTIONS=",
                                        "UBSAN_OPTIONS=",
                                        "TSAN_OPTIONS="};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    /* Our own options, but not a password that was put into the environment. */
    const char *end = strchr(variable, '=');
    if (end == NULL || strncmp(variable, "HOLDFAST_", 9) != 0)
        return false;
    size_t len = (size_t)(end - variable);
    bool file = len > 5 && memcmp(end - 5, "_FILE", 5) == 0;
    bool password = memmem(variable, len, "PASSWORD", 8) != NULL;
    return file || !password;
}

static char **clean_environment(void)
{
    char **out = mem_array(char *, ENVIRONMENT_MOST + 1);
    size_t count = 0;
    for (char **at = environ; *at != NULL && count < ENVIRONMENT_MOST; at++)
        if (wanted(*at))
            out[count++] = *at;
    return out;
}

/* A pipe whose ends are out of the way of the child's fixed descriptors. */
static bool make_pipe(int ends[2], Err *err)
{
    int low[2];
    if (pipe2(low, O_CLOEXEC) != 0)
        return err_set_sys(err, ERR_FULL, "agent.pipe", "no pipe for a job child");
    for (int i = 0; i < 2; i++) {
        ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, LOW_FDS);
        close(low[i]);
    }
    if (ends[0] >= 0 && ends[1] >= 0)
        return true;
    return err_set_sys(err, ERR_FULL, "agent.pipe", "no descriptors for a job child");
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static bool start(Runner *runner, Err *err)
{
    int orders[2] = {-1, -1};
    int reports[2] = {-1, -1};
    bool ok = make_pipe(orders, err) && make_pipe(reports, err);
    if (ok) {
        (void)fcntl(orders[1], F_SETPIPE_SZ, PIPE_BYTES);
        Launch plan = {.argv = runner->params.argv,
                       .environment = clean_environment(),
                       .orders = orders[0],
                       .reports = reports[1],
                       .parent = getpid(),
                       .limits = runner->params.limits};
        runner->pid = fork();
        if (runner->pid == 0)
            launch(&plan);
        ok = runner->pid > 0 || err_set_sys(err, ERR_FULL, "agent.fork", "starting a job child");
        if (ok)
            setpgid(runner->pid, runner->pid); /* both sides: whoever comes first */
        mem_free(plan.environment);
    }
    close_fd(&orders[0]);
    close_fd(&reports[1]);
    runner->orders = orders[1];
    runner->reports = reports[0];
    return ok;
}

static void deliver(Runner *runner)
{
    Err err = {0};
    bool end = false, found = true;
    Slice frame;
    if (!channel_fill(&runner->input, runner->reports, &end, &err))
        end = true;
    while (found && channel_next(&runner->input, &frame, &found, &err))
        if (found)
            runner->params.on_frame(runner->params.ctx, frame);
    /* A child that writes no frames is not ours any more; it ends without a verdict. */
    if (err.code == ERR_CORRUPT)
        runner_signal(runner, SIGKILL);
    runner->ended = end || err.code != ERR_NONE;
    if (runner->ended) {
        loop_watch_free(runner->watch);
        runner->watch = NULL;
    }
}

static void on_report(void *ctx)
{
    deliver(ctx);
}

bool runner_start(Runner **out, const RunnerParams *params, const JobOrder *order, Err *err)
{
    Runner *runner = mem_new(Runner);
    runner->params = *params;
    runner->orders = runner->reports = -1;
    bool ok = start(runner, err);
    channel_output_init(&runner->output, runner->orders);
    if (ok && order->order.len > PIPE_BYTES - 4096)
        ok = err_set(err, ERR_FULL, "agent.order", "an order of %zu bytes", order->order.len);
    ok = ok && channel_send_job_order(&runner->output, order, err);
    if (!ok) {
        runner_free(runner);
        return false;
    }
    (void)fcntl(runner->reports, F_SETFL, O_NONBLOCK);
    runner->watch = loop_watch_new(params->loop, runner->reports, on_report, runner);
    *out = runner;
    return true;
}

void runner_cancel(Runner *runner, Text reason)
{
    Err ignored = {0}; /* a child that is gone needs no asking */
    JobCancel cancel = {.reason = reason};
    (void)!channel_send_job_cancel(&runner->output, &cancel, &ignored);
}

void runner_signal(Runner *runner, int number)
{
    if (runner->pid > 0)
        kill(-runner->pid, number);
}

void runner_hear(Runner *runner)
{
    if (!runner->ended)
        deliver(runner);
}

void runner_poll(Runner *runner)
{
    siginfo_t info = {0};
    int status = 0;
    if (runner->pid == 0 ||
        waitid(P_PID, (id_t)runner->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid != runner->pid)
        return;
    /* While it is not reaped its number, which is the group's, cannot be given away. */
    kill(-runner->pid, SIGKILL);
    waitpid(runner->pid, &status, 0);
    runner->pid = 0;
    while (!runner->ended) {
        size_t before = runner->input.bytes.len;
        deliver(runner);
        if (!runner->ended && runner->input.bytes.len <= before)
            break; /* nothing more came; somebody of the dying group still holds the pipe */
    }
    runner->params.on_exit(runner->params.ctx, status);
}

void runner_free(Runner *runner)
{
    if (runner == NULL)
        return;
    if (runner->pid > 0) {
        kill(-runner->pid, SIGKILL);
        kill(runner->pid, SIGKILL); /* before it had a group of its own */
        waitpid(runner->pid, NULL, 0);
    }
    loop_watch_free(runner->watch);
    close_fd(&runner->orders);
    close_fd(&runner->reports);
    channel_output_free(&runner->output);
    channel_input_free(&runner->input);
    mem_free(runner);
}

void runner_describe(int status, char *out, size_t room)
{
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        snprintf(out, room, "was killed by signal %d (%s)", WTERMSIG(status),
                 name == NULL ? "?" : name);
    } else {
        snprintf(out, room, "exited with status %d", WEXITSTATUS(status));
    }
}
