/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_server.h"

#include "common/base/clock.h"
#include "common/base/crashpoint.h"
#include "common/base/mem.h"
#include "worker/engine/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_ROOM = 600, START_S = 120, STOP_S = 600, LOOK_MS = 20, QUIT_LOOKS = 250, PORT = 5432 };

struct PostgresqlServer {
    PostgresqlTools tools;
    const EngineHost *host;
    Confine confine;
    uint64_t memory;
    char user[64];
    char folder[PATH_ROOM - 32], data[PATH_ROOM], sockets[PATH_ROOM], log[PATH_ROOM];
    json_t *config;
    pthread_mutex_t lock; /* of pid, between whoever waits for it and whoever kills it */
    pid_t pid;            /* 0: none runs */
    bool killed;
};

static const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", "PGTZ=UTC", NULL};

/* --- making --------------------------------------------------------------------------------- */

static bool make_folder(const PostgresqlServer *server, const char *path, Err *err)
{
    const Confine *confine = &server->confine;
    return (mkdir(path, 0700) == 0 &&
            (!confine->other_user || chown(path, confine->uid, confine->gid) == 0)) ||
           err_set_sys(err, ERR_IO, "sandbox.folder", "cannot make %s", path);
}

static bool add_to(const PostgresqlServer *server, const char *name, int how, const Buf *text,
                   Err *err)
{
    char path[PATH_ROOM + 32];
    const Confine *confine = &server->confine;
    snprintf(path, sizeof path, "%s/%s", server->data, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | how, 0600);
    bool done = fd >= 0 && write(fd, text->at, text->len) == (ssize_t)text->len &&
                (!confine->other_user || fchown(fd, confine->uid, confine->gid) == 0);
    if (!done)
        err_set_sys(err, ERR_IO, "sandbox.folder", "cannot write %s", path);
    if (fd >= 0)
        close(fd);
    return done;
}

/* Who we are is whom the server lets in, by what the kernel says of the socket. */
static bool let_us_in(const PostgresqlServer *server, Err *err)
{
    scoped(buf_free) Buf hba = {0};
    scoped(buf_free) Buf ident = {0};
    const struct passwd *user = getpwuid(geteuid());
    if (user == NULL)
        return err_set(err, ERR_MISSING, "sandbox.user",
                       "this worker's user %u has no name on this host, and a server knows people "
                       "by name: add it to /etc/passwd",
                       (unsigned)geteuid());
    buf_printf(&hba, "local all %s peer map=sandbox\n", server->user);
    buf_printf(&ident, "sandbox \"%s\" %s\n", user->pw_name, server->user);
    return add_to(server, "pg_hba.conf", O_TRUNC, &hba, err) &&
           add_to(server, "pg_ident.conf", O_TRUNC, &ident, err);
}

bool postgresql_server_configure(const PostgresqlServer *server, Text more, Err *err)
{
    scoped(buf_free) Buf text = {0};
    uint64_t share = server->memory / 4 / 1024;
    buf_printf(&text,
               "\nlisten_addresses = ''\nport = %d\nunix_socket_directories = '%s'\n"
               "unix_socket_permissions = 0700\nmax_connections = 40\nmax_worker_processes = 4\n"
               "max_parallel_workers = 2\nmax_parallel_maintenance_workers = 1\n"
               "shared_buffers = %" PRIu64 "kB\nmaintenance_work_mem = %" PRIu64 "kB\n"
               "work_mem = 16MB\nmax_locks_per_transaction = 512\n"
               "dynamic_shared_memory_type = mmap\nshared_memory_type = mmap\n"
               "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nautovacuum = off\n"
               "wal_level = minimal\nmax_wal_senders = 0\narchive_mode = off\n"
               "max_logical_replication_workers = 0\nmax_prepared_transactions = 1000\n"
               "hot_standby = off\n"
               "min_wal_size = 80MB\nmax_wal_size = 512MB\ncheckpoint_timeout = 30min\n"
               "restart_after_crash = off\njit = off\nlogging_collector = off\n"
               "log_min_messages = warning\nlc_messages = 'C'\n",
               PORT, server->sockets, share, share);
    buf_add_text(&text, more);
    return let_us_in(server, err) && add_to(server, "postgresql.conf", O_APPEND, &text, err);
}

static bool tick(void *ctx, Err *err)
{
    const PostgresqlServer *server = ctx;
    return server->host->cancelled == NULL || !server->host->cancelled(server->host->ctx) ||
           err_set(err, ERR_CANCELLED, "job.cancelled", "the job was cancelled");
}

bool postgresql_server_program(PostgresqlServer *server, const char *name,
                               const char *const *arguments, int input, const char *cause,
                               Buf *said, Err *err)
{
    char program[300];
    postgresql_tools_path(&server->tools, name, program);
    ChildParams params = {.program = program,
                          .arguments = arguments,
                          .environment = environment,
                          .input = input,
                          .cause = cause,
                          .tick = tick,
                          .ctx = server,
                          .confine = &server->confine};
    return child_output(&params, said, 1 << 20, err);
}

static bool run_initdb(PostgresqlServer *server, Err *err)
{
    char data[PATH_ROOM + 16];
    scoped(buf_free) Buf said = {0};
    snprintf(data, sizeof data, "--pgdata=%s", server->data);
    const char *const arguments[] = {
        data,         "--username=postgres", "--auth=peer", "--encoding=UTF8",
        "--locale=C", "--data-checksums",    "--no-sync",   NULL};
    return postgresql_server_program(server, "initdb", arguments, -1, "sandbox.initdb", &said,
                                     err) ||
           err_note(err, "making a throw-away server of PostgreSQL %d", server->tools.major);
}

/* --- starting ------------------------------------------------------------------------------- */

static _Noreturn void become(const PostgresqlServer *server, int log, const char *program,
                             pid_t parent)
{
    char *const argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t) "-D",
                          (char *)(uintptr_t)server->data, NULL};
    sigset_t none;
    sigemptyset(&none);
    for (int signo = 1; signo < NSIG; signo++)
        signal(signo, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(log, 1) < 0 || dup2(log, 2) < 0 || close_range(3, ~0U, 0) != 0 ||
        !confine_enter(&server->confine))
        _exit(127);
    /* Its own end for the whole server at once, and only of the thread that is here: the job's
     * first, which lives as long as the job. */
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    if (getppid() != parent)
        _exit(127);
    execve(program, argv, (char **)(uintptr_t)environment);
    _exit(127);
}

/* Written down for whoever finds the folder without us. */
static void note_server(const PostgresqlServer *server)
{
    char path[PATH_ROOM], stat[64], line[1024] = "", *at;
    unsigned long long started = 0;
    snprintf(stat, sizeof stat, "/proc/%d/stat", (int)server->pid);
    FILE *file = fopen(stat, "re");
    if (file != NULL && fgets(line, sizeof line, file) != NULL && (at = strrchr(line, ')')) != NULL)
        for (int field = 0; field < 20 && (at = strchr(at + 1, ' ')) != NULL; field++)
            started = strtoull(at + 1, NULL, 10);
    if (file != NULL)
        fclose(file);
    snprintf(path, sizeof path, "%s/server", server->folder);
    file = fopen(path, "we");
    if (file == NULL)
        return;
    fprintf(file, "%d %llu %s\n", (int)server->pid, started, server->data);
    fclose(file);
}

static bool has_ended(PostgresqlServer *server)
{
    pthread_mutex_lock(&server->lock);
    if (server->pid > 0 && waitpid(server->pid, NULL, WNOHANG) != 0)
        server->pid = 0;
    bool ended = server->pid == 0;
    pthread_mutex_unlock(&server->lock);
    return ended;
}

/* The end of what it wrote down says why it is not there. */
static void add_log(const PostgresqlServer *server, char out[300])
{
    char text[2048] = "";
    FILE *file = fopen(server->log, "re");
    out[0] = 0;
    if (file == NULL)
        return;
    (void)fseek(file, 0, SEEK_END);
    long size = ftell(file);
    (void)fseek(file, size > 2000 ? size - 2000 : 0, SEEK_SET);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    char *worst = strstr(text, "FATAL:");
    size_t n = 0;
    for (const char *at = worst == NULL ? text : worst; *at != 0 && n < 299; at++)
        out[n++] = (unsigned char)*at < ' ' ? ' ' : *at;
    out[n] = 0;
}

static bool fail_start(const PostgresqlServer *server, const char *what, Err *err)
{
    char why[300];
    add_log(server, why);
    return err_set(err, ERR_MISSING, "sandbox.start",
                   "the throw-away server of PostgreSQL %s %s: %s; look at memory and user of "
                   "allow.sandbox in worker.yaml",
                   server->tools.version, what, why[0] == 0 ? "it said nothing" : why);
}

static bool wait_for_it(PostgresqlServer *server, Err *err)
{
    char conninfo[PATH_ROOM + 160];
    int64_t until = clock_mono_ns() + (int64_t)START_S * 1000000000;
    snprintf(conninfo, sizeof conninfo, "host=%s port=%d user=%s dbname=template1", server->sockets,
             PORT, server->user);
    while (PQping(conninfo) != PQPING_OK) {
        if (has_ended(server))
            return fail_start(server, "does not start", err);
        if (!tick(server, err))
            return false;
        if (clock_mono_ns() > until)
            return fail_start(server, "starts for two minutes and takes nobody in", err);
        usleep(LOOK_MS * 1000);
    }
    return true;
}

bool postgresql_server_start(PostgresqlServer *server, Err *err)
{
    char program[300];
    int log = open(server->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log < 0)
        return err_set_sys(err, ERR_IO, "sandbox.folder", "cannot write %s", server->log);
    postgresql_tools_path(&server->tools, "postgres", program);
    pid_t parent = getpid();
    pthread_mutex_lock(&server->lock);
    bool may = !server->killed;
    pid_t pid = may ? fork() : -1;
    if (pid == 0)
        become(server, log, program, parent);
    if (pid > 0)
        server->pid = pid;
    pthread_mutex_unlock(&server->lock);
    close(log);
    if (!may)
        return err_set(err, ERR_CANCELLED, "job.cancelled", "the server was told to end");
    if (pid < 0)
        return err_set_sys(err, ERR_FULL, "sandbox.start", "no process for a server");
    note_server(server);
    CRASHPOINT("sandbox.server");
    return wait_for_it(server, err);
}

static void close_it(PostgresqlServer *server)
{
    json_decref(server->config);
    pthread_mutex_destroy(&server->lock);
    mem_free(server);
}

bool postgresql_server_promise(PostgresqlServer **out, const SandboxParams *params,
                               const PostgresqlTools *tools, const char *user, Err *err)
{
    struct sockaddr_un address;
    if (strlen(params->folder) + sizeof "/run/.s.PGSQL.5432" > sizeof address.sun_path)
        return err_set(err, ERR_INVALID, "sandbox.folder",
                       "a socket below %s would have a longer name than the kernel takes: choose a "
                       "shorter allow.sandbox.folder",
                       params->folder);
    PostgresqlServer *server = mem_new(PostgresqlServer);
    server->tools = *tools;
    server->host = params->host;
    server->confine = *params->confine;
    server->memory = params->memory_bytes;
    snprintf(server->user, sizeof server->user, "%s", user);
    snprintf(server->folder, sizeof server->folder, "%s", params->folder);
    snprintf(server->data, sizeof server->data, "%s/data", params->folder);
    snprintf(server->sockets, sizeof server->sockets, "%s/run", params->folder);
    snprintf(server->log, sizeof server->log, "%s/log", params->folder);
    server->confine.directory = server->folder;
    pthread_mutex_init(&server->lock, NULL);
    server->config = json_pack("{s:s, s:i, s:s, s:s}", "host", server->sockets, "port", PORT,
                               "user", server->user, "maintenance_database", "template1");
    *out = server;
    if (make_folder(server, server->sockets, err))
        return true;
    postgresql_server_close(server);
    return false;
}

bool postgresql_server_make(PostgresqlServer **out, const SandboxParams *params,
                            const PostgresqlTools *tools, Err *err)
{
    PostgresqlServer *server;
    if (!postgresql_server_promise(&server, params, tools, "postgres", err))
        return false;
    if (make_folder(server, server->data, err) && run_initdb(server, err) &&
        postgresql_server_configure(server, (Text){0}, err) &&
        postgresql_server_start(server, err)) {
        *out = server;
        return true;
    }
    postgresql_server_close(server);
    return false;
}

bool postgresql_server_restart(PostgresqlServer *server, Err *err)
{
    int64_t until = clock_mono_ns() + (int64_t)STOP_S * 1000000000;
    pthread_mutex_lock(&server->lock);
    if (server->pid > 0)
        kill(server->pid, SIGINT); /* ends sessions, writes everything */
    pthread_mutex_unlock(&server->lock);
    while (!has_ended(server)) {
        if (!tick(server, err))
            return false;
        if (clock_mono_ns() > until)
            return fail_start(server, "does not stop", err);
        usleep(LOOK_MS * 1000);
    }
    CRASHPOINT("sandbox.stopped");
    return postgresql_server_start(server, err);
}

/* --- ending --------------------------------------------------------------------------------- */

/* Its processes have sessions of their own; they are known by their parent. */
static void kill_children(pid_t parent)
{
    DIR *proc = opendir("/proc");
    if (proc == NULL)
        return;
    for (const struct dirent *one = readdir(proc); one != NULL; one = readdir(proc)) {
        char path[300], line[1024] = "";
        int number = (int)strtol(one->d_name, NULL, 10);
        snprintf(path, sizeof path, "/proc/%.20s/stat", one->d_name);
        FILE *file = number > 0 ? fopen(path, "re") : NULL;
        if (file == NULL)
            continue;
        const char *at = fgets(line, sizeof line, file) == NULL ? NULL : strrchr(line, ')');
        fclose(file);
        if (at != NULL && strlen(at) > 4 && strtol(at + 4, NULL, 10) == parent)
            kill(number, SIGKILL);
    }
    closedir(proc);
}

void postgresql_server_kill(PostgresqlServer *server)
{
    pthread_mutex_lock(&server->lock);
    server->killed = true;
    if (server->pid > 0) {
        /* Stopped, it starts no process while the others are counted. */
        kill(server->pid, SIGSTOP);
        kill_children(server->pid);
        kill(server->pid, SIGKILL);
    }
    pthread_mutex_unlock(&server->lock);
}

void postgresql_server_close(PostgresqlServer *server)
{
    if (server == NULL)
        return;
    pthread_mutex_lock(&server->lock);
    if (server->pid > 0)
        kill(server->pid, SIGQUIT);
    pthread_mutex_unlock(&server->lock);
    for (int looks = 0; !has_ended(server) && looks < QUIT_LOOKS; looks++)
        usleep(LOOK_MS * 1000);
    if (!has_ended(server)) {
        postgresql_server_kill(server);
        while (!has_ended(server))
            usleep(LOOK_MS * 1000);
    }
    close_it(server);
}

const json_t *postgresql_server_config(const PostgresqlServer *server)
{
    return server->config;
}

int postgresql_server_pid(const PostgresqlServer *server)
{
    return (int)server->pid;
}

const char *postgresql_server_data(const PostgresqlServer *server)
{
    return server->data;
}

const Confine *postgresql_server_confine(const PostgresqlServer *server)
{
    return &server->confine;
}
