/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/redis.h"

#include "common/base/mem.h"
#include "protocol/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORDS_MOST = 48 };

struct RedisServer {
    char directory[64];
    char url[96], socket_url[128], ca[128], pidfile[96];
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

static bool accepts(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static void pause_ms(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void word(RedisServer *server, const char *format, ...) PRINTF_LIKE(2, 3);
static void word(RedisServer *server, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (server->word_count + 1 == WORDS_MOST)
        fail("too many words");
    server->words[server->word_count++] = mem_string(text);
}

static RedisServer *prepare(void)
{
    RedisServer *server = mem_new(RedisServer);
    const char *base = getenv("TMPDIR");
    snprintf(server->directory, sizeof server->directory, "%.40s/hf-redis.XXXXXX",
             base == NULL ? "/tmp" : base);
    if (mkdtemp(server->directory) == NULL)
        fail("mkdtemp");
    server->port = free_port();
    snprintf(server->url, sizeof server->url, "redis://127.0.0.1:%u", server->port);
    snprintf(server->socket_url, sizeof server->socket_url, "unix://%s/s", server->directory);
    snprintf(server->ca, sizeof server->ca, "%s/ca.pem", server->directory);
    return server;
}

static void begin(RedisServer *server)
{
    pid_t parent = getpid();
    server->pid = fork();
    if (server->pid < 0)
        fail("fork");
    if (server->pid == 0) {
        char log[96];
        snprintf(log, sizeof log, "%s/log", server->directory);
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fd < 0 || getppid() != parent)
            _exit(127);
        dup2(fd, 1);
        dup2(fd, 2);
        execvp(server->words[0], server->words);
        _exit(127);
    }
    for (int tries = 0; tries < 1000; tries++) {
        if (accepts(server->port))
            return;
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid)
            break;
        pause_ms(10);
    }
    fail("redis-server does not start");
}

/* A CA of its own and one certificate; the openssl program spares a hundred lines of API. */
static void make_certificates(const RedisServer *server)
{
    char command[1024];
    snprintf(command, sizeof command,
             "cd %s && { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
             "-keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca && "
             "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout redis.key "
             "-out redis.csr -subj /CN=localhost && "
             "printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' >ext && "
             "openssl x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial "
             "-out redis.pem -days 2 -extfile ext; } >/dev/null 2>&1",
             server->directory);
    if (system(command) != 0)
        fail("openssl makes no certificates");
}

/* plain: also serve that port without TLS; 0: none. */
static void tls_words(RedisServer *server, uint16_t port, uint16_t plain)
{
    make_certificates(server);
    snprintf(server->url, sizeof server->url, "rediss://localhost:%u", port);
    word(server, "--port"), word(server, "%u", plain);
    word(server, "--tls-port"), word(server, "%u", port);
    word(server, "--tls-cert-file"), word(server, "%s/redis.pem", server->directory);
    word(server, "--tls-key-file"), word(server, "%s/redis.key", server->directory);
    word(server, "--tls-ca-cert-file"), word(server, "%s/ca.pem", server->directory);
    word(server, "--tls-auth-clients"), word(server, "no");
    if (plain != 0) /* where OpenSSL looks when nobody names a CA, here and in our children */
        setenv("SSL_CERT_FILE", server->ca, 1);
}

/* HOLDFAST_TEST_REDIS=tls: every test that asks for no more than a server talks to it over TLS. */
static bool tls_wanted(void)
{
    const char *how = getenv("HOLDFAST_TEST_REDIS");
    return how != NULL && strcmp(how, "tls") == 0;
}

static void server_words(RedisServer *server)
{
    word(server, "redis-server");
    /* The second address is one that no certificate of ours names. */
    word(server, "--bind"), word(server, "127.0.0.1"), word(server, "127.0.0.2");
    word(server, "--dir"), word(server, "%s", server->directory);
    word(server, "--unixsocket"), word(server, "%s/s", server->directory);
    word(server, "--save"), word(server, "%s", "");
    word(server, "--repl-diskless-sync-delay"), word(server, "0");
}

RedisServer *redis_server_start(const RedisServerParams *params)
{
    static const RedisServerParams none;
    RedisServer *server = prepare();
    if (params == NULL)
        params = &none;
    server_words(server);
    if (params->tls)
        tls_words(server, server->port, 0);
    else if (params == &none && tls_wanted())
        tls_words(server, free_port(), server->port);
    else
        word(server, "--port"), word(server, "%u", server->port);
    word(server, "--appendonly"), word(server, params->append_only ? "yes" : "no");
    if (params->password != NULL)
        word(server, "--requirepass"), word(server, "%s", params->password);
    for (size_t i = 0; i < 8 && params->options[i] != NULL; i++)
        word(server, "%s", params->options[i]);
    begin(server);
    return server;
}

RedisServer *redis_server_replica(const RedisServer *primary)
{
    RedisServer *server = prepare();
    server_words(server);
    word(server, "--port"), word(server, "%u", server->port);
    word(server, "--replicaof"), word(server, "127.0.0.1"), word(server, "%u", primary->port);
    begin(server);
    return server;
}

RedisServer *redis_server_sentinel(const RedisServer *primary)
{
    RedisServer *server = prepare();
    char path[96];
    snprintf(path, sizeof path, "%s/sentinel.conf", server->directory);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        fail("sentinel.conf");
    fprintf(file,
            "port %u\nbind 127.0.0.1\ndir %s\nsentinel monitor main 127.0.0.1 %u 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
            server->port, server->directory, primary->port);
    if (fclose(file) != 0)
        fail("sentinel.conf");
    word(server, "redis-server"), word(server, "%s", path), word(server, "--sentinel");
    begin(server);
    return server;
}

const char *redis_server_url(const RedisServer *server)
{
    return server->url;
}

const char *redis_server_socket(const RedisServer *server)
{
    return server->socket_url;
}

const char *redis_server_ca(const RedisServer *server)
{
    return server->ca;
}

uint16_t redis_server_port(const RedisServer *server)
{
    return server->port;
}

int redis_server_pid(const RedisServer *server)
{
    return server->pid;
}

void redis_server_kill(RedisServer *server)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGCONT);
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

void redis_server_again(RedisServer *server)
{
    begin(server);
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *where)
{
    (void)about, (void)type, (void)where;
    return remove(path);
}

void redis_server_stop(RedisServer *server)
{
    if (server == NULL)
        return;
    redis_server_kill(server);
    nftw(server->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    for (size_t i = 0; i < server->word_count; i++)
        mem_free(server->words[i]);
    mem_free(server);
}
