/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/child.h"

#include "common/base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    WORDS_KEPT = 4096, /* of each end of standard error: enough for any real complaint */
    LINE_HEAD = 120,   /* bytes before that word that are worth quoting: program and table */
    TICK_MS = 1000,
    STOP_PATIENCE = 200, /* times 10 ms between SIGTERM and SIGKILL */
};

struct Child {
    pid_t pid; /* 0 once reaped */
    int output, errors;
    int status;
    const char *cause;
    bool (*tick)(void *ctx, Err *err);
    void *ctx;
    char *name;
    Buf head, tail; /* of standard error */
    Buf words;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Between fork and exec only async-signal-safe calls: other threads may hold any lock. */
static _Noreturn void become(const ChildParams *params, char **argv, char **envp, const int fds[3],
                             pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    for (int signo = 1; signo < NSIG; signo++)
        signal(signo, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    /* The three may overlap 0..2 when the parent started without them: go through high numbers. */
    int high[3];
    for (int i = 0; i < 3; i++)
        if ((high[i] = fcntl(fds[i], F_DUPFD, 10)) < 0)
            _exit(127);
    for (int i = 0; i < 3; i++)
        if (dup2(high[i], i) < 0)
            _exit(127);
    if (close_range(3, ~0U, 0) != 0)
        _exit(127);
    if (params->confine != NULL) {
        if (!confine_enter(params->confine))
            _exit(127);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user forgets it */
        if (getppid() != parent)
            _exit(127);
    }
    execve(params->program, argv, envp);
    _exit(127);
}

static char **vector(const char *first, const char *const *rest)
{
    size_t count = 0;
    while (rest != NULL && rest[count] != NULL)
        count++;
    char **out = mem_array(char *, count + 2);
    size_t at = 0;
    if (first != NULL)
        out[at++] = mem_string(first);
    for (size_t i = 0; i < count; i++)
        out[at++] = mem_string(rest[i]);
    return out;
}

static void vector_free(char **words)
{
    for (size_t i = 0; words[i] != NULL; i++)
        mem_free(words[i]);
    mem_free(words);
}

static bool spawn(Child *child, const ChildParams *params, Err *err)
{
    int out[2] = {-1, -1}, errors[2] = {-1, -1};
    int input = params->input >= 0 ? fcntl(params->input, F_DUPFD_CLOEXEC, 3)
                                   : open("/dev/null", O_RDONLY | O_CLOEXEC);
    bool ok = input >= 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(errors, O_CLOEXEC) == 0;
    if (!ok)
        err_set_sys(err, ERR_IO, params->cause, "cannot make a pipe for %s", params->program);
    if (ok) {
        /* 1 MiB, the most an unprivileged process may ask for: fewer switches between the two. */
        (void)fcntl(out[0], F_SETPIPE_SZ, 1 << 20);
        char **argv = vector(params->program, params->arguments);
        char **envp = vector(NULL, params->environment);
        pid_t parent = getpid();
        pid_t pid = fork();
        if (pid == 0)
            become(params, argv, envp, (int[]){input, out[1], errors[1]}, parent);
        vector_free(argv);
        vector_free(envp);
        ok = pid > 0;
        if (ok)
            child->pid = pid;
        else
            err_set_sys(err, ERR_IO, params->cause, "cannot start %s", params->program);
    }
    close_fd(&input);
    close_fd(&out[1]);
    close_fd(&errors[1]);
    child->output = out[0];
    child->errors = errors[0];
    if (child->errors >= 0)
        (void)fcntl(child->errors, F_SETFL, O_NONBLOCK);
    return ok;
}

bool child_start(Child **out, const ChildParams *params, Err *err)
{
    Child *child = mem_new(Child);
    const char *slash = strrchr(params->program, '/');
    child->output = child->errors = -1;
    child->cause = params->cause;
    child->tick = params->tick;
    child->ctx = params->ctx;
    child->name = mem_string(slash == NULL ? params->program : slash + 1);
    *out = child;
    if (access(params->program, X_OK) != 0) {
        child_close(child);
        *out = NULL;
        err_set_sys(err, ERR_MISSING, params->cause,
                    "cannot run %s; install it, or correct the path", params->program);
        return false;
    }
    if (spawn(child, params, err))
        return true;
    child_close(child);
    *out = NULL;
    return false;
}

static void keep_words(Child *child, const uint8_t *at, size_t len)
{
    size_t head = WORDS_KEPT - child->head.len;
    if (head > len)
        head = len;
    buf_add(&child->head, at, head);
    if (len > head)
        buf_add(&child->tail, at + head, len - head);
    if (child->tail.len > WORDS_KEPT) {
        memmove(child->tail.at, child->tail.at + child->tail.len - WORDS_KEPT, WORDS_KEPT);
        child->tail.len = WORDS_KEPT;
    }
}

static void listen_to_errors(Child *child)
{
    uint8_t piece[4096];
    ssize_t n;
    while (child->errors >= 0 && (n = read(child->errors, piece, sizeof piece)) != 0) {
        if (n > 0)
            keep_words(child, piece, (size_t)n);
        else if (errno == EAGAIN)
            return;
        else if (errno != EINTR)
            break;
    }
    close_fd(&child->errors);
}

bool child_read(Child *child, uint8_t *at, size_t room, size_t *got, Err *err)
{
    *got = 0;
    while (child->output >= 0) {
        struct pollfd fds[2] = {{.fd = child->output, .events = POLLIN},
                                {.fd = child->errors, .events = POLLIN}};
        int ready = poll(fds, 2, child->tick == NULL ? -1 : TICK_MS);
        if (ready < 0 && errno != EINTR)
            return err_set_sys(err, ERR_IO, child->cause, "waiting for %s", child->name);
        if (ready == 0 && child->tick != NULL && !child->tick(child->ctx, err))
            return false;
        if (fds[1].revents != 0)
            listen_to_errors(child);
        if (fds[0].revents == 0)
            continue;
        ssize_t n = read(child->output, at, room);
        if (n > 0) {
            *got = (size_t)n;
            return true;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_sys(err, ERR_IO, child->cause, "reading from %s", child->name);
        close_fd(&child->output);
    }
    return true;
}

Text child_words(const Child *child)
{
    return text_of_slice(buf_slice(&child->words));
}

static const char *trouble_in(const char *at, size_t len)
{
    static const char *const words[] = {"error:", "FATAL:", "ERROR:"};
    for (size_t i = 0; len > 0 && i < sizeof words / sizeof *words; i++) {
        const char *found = memmem(at, len, words[i], strlen(words[i]));
        if (found != NULL)
            return found;
    }
    return NULL;
}

/* The line that says what went wrong: the first with "error:" or "FATAL:", else the last one. */
static Text telling_line(Text words)
{
    Text last = {words.at, 0};
    for (size_t start = 0; start < words.len;) {
        const char *at = words.at + start;
        const char *newline = memchr(at, '\n', words.len - start);
        size_t len = newline == NULL ? words.len - start : (size_t)(newline - at);
        const char *word = trouble_in(at, len);
        if (word != NULL) { /* of a line without end only what the word begins */
            size_t before = (size_t)(word - at) > LINE_HEAD ? (size_t)(word - at) : 0;
            return (Text){at + before, len - before};
        }
        if (len > 0)
            last = (Text){at, len};
        start += len + 1;
    }
    return last;
}

static bool complained(Text words)
{
    Text line = telling_line(words);
    return line.len > 0 && memmem(line.at, line.len, "error:", 6) != NULL;
}

bool child_finish(Child *child, Err *err)
{
    struct pollfd errors = {.fd = child->errors, .events = POLLIN};
    close_fd(&child->output);
    while (child->errors >= 0) {
        if (poll(&errors, 1, -1) > 0)
            listen_to_errors(child);
        errors.fd = child->errors;
    }
    while (child->pid > 0 && waitpid(child->pid, &child->status, 0) < 0)
        if (errno != EINTR)
            return err_set_sys(err, ERR_BUG, child->cause, "waiting for %s", child->name);
    child->pid = 0;
    buf_clear(&child->words);
    buf_add_slice(&child->words, buf_slice(&child->head));
    buf_add_slice(&child->words, buf_slice(&child->tail));
    Text line = telling_line(child_words(child));
    if (WIFSIGNALED(child->status))
        return err_set(err, ERR_SOURCE, child->cause, "%s was stopped by signal %d: %.*s",
                       child->name, WTERMSIG(child->status), TEXT_ARG(line));
    if (WEXITSTATUS(child->status) != 0)
        return err_set(err, ERR_SOURCE, child->cause, "%s ended with status %d: %.*s", child->name,
                       WEXITSTATUS(child->status), TEXT_ARG(line));
    if (complained(child_words(child)))
        return err_set(err, ERR_SOURCE, child->cause, "%s ended with status 0 but said: %.*s",
                       child->name, TEXT_ARG(line));
    return true;
}

void child_close(Child *child)
{
    if (child == NULL)
        return;
    close_fd(&child->output);
    close_fd(&child->errors);
    if (child->pid > 0) {
        kill(child->pid, SIGTERM);
        for (int i = 0; child->pid > 0 && i < STOP_PATIENCE; i++) {
            if (waitpid(child->pid, &child->status, WNOHANG) != 0)
                child->pid = 0;
            else
                usleep(10000);
        }
        if (child->pid > 0) {
            kill(child->pid, SIGKILL);
            while (waitpid(child->pid, &child->status, 0) < 0 && errno == EINTR)
                ;
        }
    }
    buf_free(&child->head);
    buf_free(&child->tail);
    buf_free(&child->words);
    mem_free(child->name);
    mem_free(child);
}

void child_release(Child **child)
{
    child_close(*child);
    *child = NULL;
}

bool child_output(const ChildParams *params, Buf *out, size_t limit, Err *err)
{
    scoped(child_release) Child *child = NULL;
    size_t start = out->len, got = 0;
    if (!child_start(&child, params, err))
        return false;
    do {
        buf_reserve(out, 65536);
        if (!child_read(child, out->at + out->len, 65536, &got, err))
            return false;
        out->len += got;
        if (out->len - start > limit)
            return err_set(err, ERR_FULL, params->cause, "%s wrote more than %zu bytes",
                           child->name, limit);
    } while (got > 0);
    return child_finish(child, err);
}
