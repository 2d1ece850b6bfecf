/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/postgres.h"

#include "common/base/mem.h"
#include "protocol/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORDS_MOST = 64 };

struct Postgres {
    char directory[64];
    char data[80];
    char url[256];
    char binaries[128];
    char *words[WORDS_MOST];
    size_t word_count;
    uint16_t port;
    pid_t pid;
};

static void fail(const char *what)
{
    fprintf(stderr, "harness: %s: %s\n", what, strerror(errno));
    abort();
}

static void run(const char *format, ...) PRINTF_LIKE(1, 2);
static void run(const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0)
        fail(command);
}

/* The highest version that Debian's packages put there, else what PATH has. */
static void find_binaries(char out[128])
{
    glob_t found;
    out[0] = '\0';
    if (glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &found) == 0)
        snprintf(out, 128, "%.*s/", (int)(strlen(found.gl_pathv[found.gl_pathc - 1]) - 9),
                 found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
}

/* Where private things live: what the runner of the tests says, and cleans up. */
static const char *scratch(void)
{
    const char *said = getenv("TMPDIR");
    return said != NULL && strlen(said) < 40 ? said : "/tmp";
}

/* A shell prefix that makes root be postgres; nobody else needs one. */
static const char *as_server(void)
{
    return geteuid() == 0 ? "setpriv --reuid=postgres --regid=postgres --init-groups " : "";
}

static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        fail("no free port");
    close(fd);
    return ntohs(at.sin_port);
}

static void own(const char *path)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;
    if (geteuid() == 0 && (user == NULL || chown(path, user->pw_uid, user->pw_gid) != 0))
        fail("no user postgres to give a directory to");
}

/* initdb takes seconds, a copy of its result a tenth of one. */
static void copy_of_template(const Postgres *pg)
{
    char base[96], lock[128], ready[128];
    struct stat there;
    snprintf(base, sizeof base, "%s/hf-postgres-template-%u", scratch(), (unsigned)geteuid());
    snprintf(lock, sizeof lock, "%s.lock", base);
    snprintf(ready, sizeof ready, "%s/ready", base);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) != 0)
        fail(lock);
    if (stat(ready, &there) != 0) {
        run("rm -rf %s && mkdir -m 700 %s", base, base);
        own(base);
        run("cd / && %s%sinitdb -D %s/data -U postgres -A trust -E UTF8 --locale=C.UTF-8 "
            "--no-sync --no-instructions >/dev/null && touch %s",
            as_server(), pg->binaries, base, ready);
    }
    run("cp -a %s/data %s/data", base, pg->directory);
    close(fd);
}

static bool accepts(const Postgres *pg)
{
    char command[256];
    snprintf(command, sizeof command, "%spg_isready -q -h %s -p %u -t 1", pg->binaries,
             pg->directory, pg->port);
    return system(command) == 0;
}

static void word(Postgres *pg, const char *format, ...) PRINTF_LIKE(2, 3);
static void word(Postgres *pg, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (pg->word_count + 1 == WORDS_MOST)
        fail("too many words");
    pg->words[pg->word_count++] = mem_string(text);
}

static void server_words(Postgres *pg, const char *const *options)
{
    if (geteuid() == 0) {
        word(pg, "setpriv");
        word(pg, "--reuid=postgres");
        word(pg, "--regid=postgres");
        word(pg, "--init-groups");
        word(pg, "--pdeathsig=QUIT"); /* a change of user forgets the one of prctl */
    }
    word(pg, "%spostgres", pg->binaries);
    word(pg, "-D");
    word(pg, "%s/data", pg->directory);
    word(pg, "-k");
    word(pg, "%s", pg->directory);
    word(pg, "-h");
    word(pg, "127.0.0.1");
    word(pg, "-p");
    word(pg, "%u", pg->port);
    /* A test's data need not survive the machine; a killed server's does survive the kill. */
    static const char *const settings[] = {"fsync=off", "shared_buffers=24MB", "max_connections=80",
                                           "log_min_messages=warning", "deadlock_timeout=200ms"};
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        word(pg, "-c");
        word(pg, "%s", settings[i]);
    }
    for (size_t i = 0; options != NULL && options[i] != NULL; i++)
        word(pg, "%s", options[i]);
}

static void begin(Postgres *pg)
{
    struct timespec pause = {.tv_nsec = 20000000};
    pid_t parent = getpid();
    pg->pid = fork();
    if (pg->pid < 0)
        fail("fork");
    if (pg->pid == 0) {
        char log[96];
        snprintf(log, sizeof log, "%s/log", pg->directory);
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        prctl(PR_SET_PDEATHSIG, SIGQUIT);
        if (fd < 0 || getppid() != parent || chdir("/") != 0)
            _exit(127);
        dup2(fd, 1);
        dup2(fd, 2);
        execvp(pg->words[0], pg->words);
        _exit(127);
    }
    for (int tries = 0; tries < 1000; tries++) {
        if (accepts(pg))
            return;
        if (waitpid(pg->pid, NULL, WNOHANG) == pg->pid)
            break;
        nanosleep(&pause, NULL);
    }
    run("cat %s/log >&2", pg->directory);
    fail("postgres does not start");
}

Postgres *postgres_prepare(const char *const *options)
{
    Postgres *pg = mem_new(Postgres);
    snprintf(pg->directory, sizeof pg->directory, "%s/hf-postgres.XXXXXX", scratch());
    if (mkdtemp(pg->directory) == NULL)
        fail("mkdtemp");
    own(pg->directory);
    find_binaries(pg->binaries);
    pg->port = free_port();
    snprintf(pg->data, sizeof pg->data, "%s/data", pg->directory);
    server_words(pg, options);
    postgres_as(pg, "postgres", "postgres", pg->url);
    return pg;
}

Postgres *postgres_start(const char *const *options)
{
    Postgres *pg = postgres_prepare(options);
    copy_of_template(pg);
    begin(pg);
    return pg;
}

Postgres *postgres_checked(const char *const *options)
{
    Postgres *pg = postgres_prepare(options);
    copy_of_template(pg);
    run("cd / && %s%spg_checksums --enable --no-sync -D %s >/dev/null", as_server(), pg->binaries,
        pg->data);
    begin(pg);
    return pg;
}

Postgres *postgres_standby(const Postgres *primary, const char *const *options)
{
    Postgres *pg = postgres_prepare(options);
    run("cd / && %s%spg_basebackup -D %s -R -c fast -N -d '%s'", as_server(), pg->binaries,
        pg->data, primary->url);
    begin(pg);
    return pg;
}

const char *postgres_url(const Postgres *pg)
{
    return pg->url;
}

const char *postgres_data(const Postgres *pg)
{
    return pg->data;
}

const char *postgres_binaries(const Postgres *pg)
{
    return pg->binaries;
}

const char *postgres_socket(const Postgres *pg)
{
    return pg->directory;
}

uint16_t postgres_port(const Postgres *pg)
{
    return pg->port;
}

int postgres_pid(const Postgres *pg)
{
    return pg->pid;
}

void postgres_as(const Postgres *pg, const char *role, const char *database, char out[256])
{
    snprintf(out, 256, "host=%s port=%u user=%s dbname=%s", pg->directory, pg->port, role,
             database);
}

void postgres_do(const Postgres *pg, const char *role, const char *database, const char *sql)
{
    char conninfo[256], path[96];
    snprintf(path, sizeof path, "%s/hf-postgres-do.XXXXXX", scratch());
    int fd = mkstemp(path);
    postgres_as(pg, role, database, conninfo);
    if (fd < 0 || write(fd, sql, strlen(sql)) != (ssize_t)strlen(sql))
        fail(path);
    close(fd);
    run("psql -qAtX -v ON_ERROR_STOP=1 -d '%s' -f %s >/dev/null", conninfo, path);
    unlink(path);
}

static void end(Postgres *pg, int signal_number)
{
    if (pg->pid <= 0)
        return;
    kill(pg->pid, signal_number);
    while (waitpid(pg->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    pg->pid = 0;
}

void postgres_kill(Postgres *pg)
{
    end(pg, SIGQUIT);
}

void postgres_again(Postgres *pg)
{
    begin(pg);
}

void postgres_stop(Postgres *pg)
{
    if (pg == NULL)
        return;
    end(pg, SIGQUIT);
    run("rm -rf %s", pg->directory);
    for (size_t i = 0; i < pg->word_count; i++)
        mem_free(pg->words[i]);
    mem_free(pg);
}
