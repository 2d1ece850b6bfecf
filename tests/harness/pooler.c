/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/pooler.h"

#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct Pooler {
    char directory[80], config[96], admin[64];
    uint16_t port;
    pid_t pid;
};

static void fail(const char *what)
{
    fprintf(stderr, "harness: pooler: %s: %s\n", what, strerror(errno));
    abort();
}

static void write_config(const Pooler *pooler, const Postgres *pg, const char *const *users)
{
    char path[112];
    snprintf(path, sizeof path, "%s/users", pooler->directory);
    FILE *file = fopen(path, "w");
    for (size_t i = 0; file != NULL && users[i] != NULL; i++)
        fprintf(file, "\"%s\" \"\"\n", users[i]);
    if (file == NULL || fclose(file) != 0)
        fail(path);
    file = fopen(pooler->config, "w");
    if (file == NULL)
        fail(pooler->config);
    fprintf(file,
            "[databases]\n* = host=%s port=%u\n[pgbouncer]\npool_mode = transaction\n"
            "listen_addr =\nlisten_port = %u\nunix_socket_dir = %s\nauth_type = trust\n"
            "auth_file = %s/users\nadmin_users = %s\nmax_client_conn = 200\ndefault_pool_size = 2\n"
            "server_reset_query_always = 0\nserver_fast_close = 1\nserver_login_retry = 0.1\n",
            postgres_socket(pg), postgres_port(pg), pooler->port, pooler->directory,
            pooler->directory, users[0]);
    if (fclose(file) != 0)
        fail(pooler->config);
}

static void give_away(const Pooler *pooler)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    char path[112];
    if (user == NULL)
        return;
    snprintf(path, sizeof path, "%s/users", pooler->directory);
    if (chown(pooler->directory, user->pw_uid, user->pw_gid) != 0 ||
        chown(pooler->config, user->pw_uid, user->pw_gid) != 0 ||
        chown(path, user->pw_uid, user->pw_gid) != 0)
        fail("chown");
}

static void run(const Pooler *pooler, pid_t parent)
{
    char log[112];
    snprintf(log, sizeof log, "%s/log", pooler->directory);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fd < 0 || getppid() != parent)
        _exit(127);
    dup2(fd, 1);
    dup2(fd, 2);
    setenv("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", 1);
    if (geteuid() == 0)
        execlp("setpriv", "setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups",
               "--pdeathsig=KILL", "pgbouncer", pooler->config, (char *)NULL);
    else
        execlp("pgbouncer", "pgbouncer", pooler->config, (char *)NULL);
    _exit(127);
}

static bool accepts(const Pooler *pooler, const char *user)
{
    char conninfo[256];
    pooler_as(pooler, user, "postgres", conninfo);
    return PQping(conninfo) == PQPING_OK;
}

Pooler *pooler_start(const Postgres *pg, const char *const *users)
{
    Pooler *pooler = mem_new(Pooler);
    snprintf(pooler->directory, sizeof pooler->directory, "%s/pooler", postgres_socket(pg));
    snprintf(pooler->config, sizeof pooler->config, "%s/ini", pooler->directory);
    snprintf(pooler->admin, sizeof pooler->admin, "%s", users[0]);
    pooler->port = postgres_port(pg); /* only names its socket: no other network is listened on */
    if (mkdir(pooler->directory, 0700) != 0)
        fail(pooler->directory);
    write_config(pooler, pg, users);
    give_away(pooler);
    pid_t parent = getpid();
    pooler->pid = fork();
    if (pooler->pid == 0)
        run(pooler, parent);
    for (int tries = 0; tries < 500; tries++) {
        if (accepts(pooler, users[0]))
            return pooler;
        if (waitpid(pooler->pid, NULL, WNOHANG) == pooler->pid)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    fail("pgbouncer does not start");
    return NULL;
}

void pooler_as(const Pooler *pooler, const char *role, const char *database, char out[256])
{
    snprintf(out, 256, "host=%s port=%u user=%s dbname=%s", pooler->directory, pooler->port, role,
             database);
}

void pooler_reconnect(const Pooler *pooler)
{
    static const char *const words[] = {"RECONNECT", "WAIT_CLOSE"};
    char conninfo[256];
    pooler_as(pooler, pooler->admin, "pgbouncer", conninfo);
    PGconn *console = PQconnectdb(conninfo);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        PGresult *result = PQexec(console, words[i]);
        if (PQresultStatus(result) != PGRES_COMMAND_OK) {
            fprintf(stderr, "harness: pooler: %s: %s\n", words[i], PQerrorMessage(console));
            abort();
        }
        PQclear(result);
    }
    PQfinish(console);
}

void pooler_stop(Pooler *pooler)
{
    if (pooler == NULL)
        return;
    kill(pooler->pid, SIGKILL);
    while (waitpid(pooler->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    mem_free(pooler);
}
