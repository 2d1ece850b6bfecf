/* SPDX-License-Identifier: Apache-2.0
 * faultio.c — a library to be preloaded: the n-th call of a kind fails, the wall clock is off, what
 * is done to files is written down. The plan lies in the file that FAULTIO_PLAN names, mapped, so
 * that a test changes and reads it while the program runs (faultio.py); FAULTIO_LOG names the log.
 * A program that executes itself with a clean environment is given both again. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { PATH_MOST = 256, PLACE = 4096, ENVIRONMENT_MOST = 1024 };

/* The order is that of faultio.py's CALLS. */
typedef enum Call {
    CALL_WRITE,
    CALL_PWRITE,
    CALL_FSYNC,
    CALL_FDATASYNC,
    CALL_RENAME,
    CALL_LINK,
    CALL_OPEN,
    CALL_CONNECT,
    CALL_MALLOC,
    CALL_COUNT
} Call;

typedef struct Row {
    _Atomic uint64_t calls, at, times;
    _Atomic int64_t error;
    _Atomic uint64_t failed;
} Row;

typedef struct Plan {
    Row rows[CALL_COUNT];
    _Atomic int64_t clock_ns;
    char path[PATH_MOST]; /* only files whose path has this in it; empty: all */
} Plan;

static Plan *plan;
static int log_fd = -1;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char plan_variable[PLACE], log_variable[PLACE], preload_variable[PLACE];

static void keep_variable(char out[PLACE], const char *name)
{
    const char *value = getenv(name);
    if (value != NULL)
        snprintf(out, PLACE, "%s=%s", name, value);
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULTIO_PLAN");
    const char *log = getenv("FAULTIO_LOG");
    if (path == NULL)
        return;
    keep_variable(plan_variable, "FAULTIO_PLAN");
    keep_variable(log_variable, "FAULTIO_LOG");
    keep_variable(preload_variable, "LD_PRELOAD");
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    void *at =
        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        _exit(126);
    syscall(SYS_close, fd);
    plan = at;
    if (log != NULL) {
        int low = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
                               0600);
        log_fd = fcntl(low, F_DUPFD_CLOEXEC, 700); /* out of the way of fixed descriptors */
        syscall(SYS_close, low);
    }
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

#define NEXT(function)                                                                             \
    static __typeof__(&function) real_##function;                                                  \
    if (real_##function == NULL)                                                                   \
    *(void **)&real_##function = next(#function)

/* Until the plan is taken back: a disk or a server that does not answer. */
static void hang(const Row *row)
{
    struct timespec step = {.tv_nsec = 20000000};
    while (row->at != 0)
        syscall(SYS_nanosleep, &step, NULL);
}

/* True: this call is the one that fails, errno is set. An error below zero: it hangs, and then is
 * done after all. */
static bool fails(Call call)
{
    Row *row = &plan->rows[call];
    uint64_t number = atomic_fetch_add(&row->calls, 1) + 1;
    uint64_t at = row->at;
    if (at == 0 || number < at || number >= at + row->times)
        return false;
    atomic_fetch_add(&row->failed, 1);
    if (row->error < 0) {
        hang(row);
        return false;
    }
    errno = (int)row->error;
    return true;
}

static void path_of_fd(int fd, char out[PLACE])
{
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, out, PLACE - 1);
    out[len > 0 ? len : 0] = '\0';
}

static void path_at(int directory, const char *path, char out[PLACE])
{
    out[0] = '\0';
    if (path[0] == '/' || directory == AT_FDCWD) {
        snprintf(out, PLACE, "%s", path);
        return;
    }
    char above[PLACE / 2];
    char whole[PLACE];
    path_of_fd(directory, whole);
    snprintf(above, sizeof above, "%.*s", PLACE / 2 - 1, whole);
    snprintf(out, PLACE, "%s/%.*s", above, PLACE / 2 - 2, path);
}

/* Does the plan mean this file? The path is only asked for when something wants it. */
static bool meant(const char *path)
{
    return plan->path[0] == '\0' || strstr(path, plan->path) != NULL;
}

static bool fd_meant(int fd, char path[PLACE])
{
    path[0] = '\0';
    if (plan == NULL || (plan->path[0] == '\0' && log_fd < 0))
        return plan != NULL;
    path_of_fd(fd, path);
    return path[0] == '/' && meant(path);
}

/* One operation: a line of fields ended by tabs, then `len` bytes. */
static void note(const char *what, const char *path, const char *other, int64_t offset,
                 const void *bytes, size_t len)
{
    char head[2 * PLACE + 64];
    if (log_fd < 0)
        return;
    int size = snprintf(head, sizeof head, "%s\t%s\t%s\t%lld\t%zu\n", what, path, other,
                        (long long)offset, len);
    struct iovec parts[2] = {{head, (size_t)size}, {(void *)(uintptr_t)bytes, len}};
    pthread_mutex_lock(&log_lock);
    if (writev(log_fd, parts, 2) != size + (ssize_t)len)
        _exit(125);
    pthread_mutex_unlock(&log_lock);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    NEXT(write);
    char path[PLACE];
    bool ours = fd_meant(fd, path);
    if (ours && fails(CALL_WRITE))
        return -1;
    off_t at = ours && log_fd >= 0 ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t done = real_write(fd, bytes, len);
    if (ours && done > 0)
        note("write", path, "", at, bytes, (size_t)done);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    NEXT(pwrite);
    char path[PLACE];
    bool ours = fd_meant(fd, path);
    if (ours && fails(CALL_PWRITE))
        return -1;
    ssize_t done = real_pwrite(fd, bytes, len, at);
    if (ours && done > 0)
        note("write", path, "", at, bytes, (size_t)done);
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t at)
{
    return pwrite(fd, bytes, len, at);
}

int fsync(int fd)
{
    NEXT(fsync);
    char path[PLACE];
    bool ours = fd_meant(fd, path);
    if (ours && fails(CALL_FSYNC))
        return -1;
    int done = real_fsync(fd);
    if (ours && done == 0)
        note("fsync", path, "", 0, NULL, 0);
    return done;
}

int fdatasync(int fd)
{
    NEXT(fdatasync);
    char path[PLACE];
    bool ours = fd_meant(fd, path);
    if (ours && fails(CALL_FDATASYNC))
        return -1;
    int done = real_fdatasync(fd);
    if (ours && done == 0)
        note("fsync", path, "", 0, NULL, 0);
    return done;
}

static bool pair_fails(Call call, const char *from, const char *to)
{
    return plan != NULL && (meant(from) || meant(to)) && fails(call);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    NEXT(renameat);
    char one[PLACE], other[PLACE];
    path_at(from_fd, from, one);
    path_at(to_fd, to, other);
    if (pair_fails(CALL_RENAME, one, other))
        return -1;
    int done = real_renameat(from_fd, from, to_fd, to);
    if (plan != NULL && done == 0 && meant(other))
        note("rename", one, other, 0, NULL, 0);
    return done;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    char one[PLACE], other[PLACE];
    path_at(from_fd, from, one);
    path_at(to_fd, to, other);
    if (pair_fails(CALL_RENAME, one, other))
        return -1;
    int done = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
    if (plan != NULL && done == 0 && meant(other))
        note("rename", one, other, 0, NULL, 0);
    return done;
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    NEXT(linkat);
    char one[PLACE], other[PLACE];
    path_at(to_fd, to, other);
    if (strncmp(from, "/proc/self/fd/", 14) == 0) /* an unnamed file gets its name */
        path_of_fd(atoi(from + 14), one);
    else
        path_at(from_fd, from, one);
    if (pair_fails(CALL_LINK, other, other))
        return -1;
    int done = real_linkat(from_fd, from, to_fd, to, flags);
    if (plan != NULL && done == 0 && meant(other))
        note("link", one, other, 0, NULL, 0);
    return done;
}

int mkdirat(int directory, const char *path, mode_t mode)
{
    NEXT(mkdirat);
    char whole[PLACE];
    int done = real_mkdirat(directory, path, mode);
    if (plan != NULL && done == 0 && log_fd >= 0) {
        char how[32];
        snprintf(how, sizeof how, "%o", mode);
        path_at(directory, path, whole);
        if (meant(whole))
            note("mkdir", whole, how, 0, NULL, 0);
    }
    return done;
}

static void note_fd(const char *what, int fd, int64_t value)
{
    char path[PLACE], how[32];
    if (log_fd < 0 || !fd_meant(fd, path))
        return;
    snprintf(how, sizeof how, "%llo", (unsigned long long)value);
    note(what, path, how, 0, NULL, 0);
}

int fchmod(int fd, mode_t mode)
{
    NEXT(fchmod);
    int done = real_fchmod(fd, mode);
    if (plan != NULL && done == 0)
        note_fd("mode", fd, mode);
    return done;
}

int fchown(int fd, uid_t owner, gid_t group)
{
    NEXT(fchown);
    int done = real_fchown(fd, owner, group);
    if (plan != NULL && done == 0)
        note_fd("owner", fd, owner);
    return done;
}

int unlinkat(int directory, const char *path, int flags)
{
    NEXT(unlinkat);
    char whole[PLACE];
    int done = real_unlinkat(directory, path, flags);
    if (plan != NULL && done == 0 && log_fd >= 0) {
        path_at(directory, path, whole);
        if (meant(whole))
            note("unlink", whole, "", 0, NULL, 0);
    }
    return done;
}

int openat(int directory, const char *path, int flags, ...)
{
    va_list args;
    char whole[PLACE];
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    bool makes = plan != NULL && (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE);
    if (makes) {
        path_at(directory, path, whole);
        if (meant(whole) && fails(CALL_OPEN))
            return -1;
    }
    int fd = (int)syscall(SYS_openat, directory, path, flags, mode);
    if (makes && fd >= 0 && meant(whole)) {
        char how[32];
        snprintf(how, sizeof how, "%s%o", flags & O_EXCL ? "new " : "", mode);
        note(flags & O_CREAT ? "create" : "unnamed", whole, how, 0, NULL, 0);
    }
    return fd;
}

int connect(int fd, __CONST_SOCKADDR_ARG to, socklen_t len)
{
    NEXT(connect);
    if (plan != NULL && fails(CALL_CONNECT))
        return -1;
    return real_connect(fd, to, len);
}

void *malloc(size_t size)
{
    static void *(*real)(size_t);
    if (real == NULL)
        *(void **)&real = next("malloc");
    if (plan != NULL && plan->rows[CALL_MALLOC].at != 0 && fails(CALL_MALLOC))
        return NULL;
    return real(size);
}

static void shift(struct timespec *time)
{
    int64_t ns = plan->clock_ns + time->tv_nsec;
    int64_t seconds = ns / 1000000000;
    ns %= 1000000000;
    if (ns < 0) {
        ns += 1000000000;
        seconds--;
    }
    time->tv_sec += seconds;
    time->tv_nsec = ns;
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int done = (int)syscall(SYS_clock_gettime, clock, out);
    if (done == 0 && plan != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        shift(out);
    return done;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    *out = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}

/* A worker gives its job child a clean environment; the faults go along. */
int execve(const char *path, char *const argv[], char *const envp[])
{
    NEXT(execve);
    char *own[ENVIRONMENT_MOST];
    size_t count = 0;
    if (plan == NULL || strcmp(path, "/proc/self/exe") != 0)
        return real_execve(path, argv, envp);
    while (envp[count] != NULL && count < ENVIRONMENT_MOST - 4) {
        own[count] = envp[count];
        count++;
    }
    if (preload_variable[0] != '\0')
        own[count++] = preload_variable;
    own[count++] = plan_variable;
    if (log_variable[0] != '\0')
        own[count++] = log_variable;
    own[count] = NULL;
    return real_execve(path, argv, own);
}
