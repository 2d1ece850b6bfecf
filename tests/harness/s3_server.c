/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/s3_server.h"

#include "common/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct S3Server {
    char directory[64], endpoint[64];
    pid_t pid;
    int input;       /* of the server: it ends when this is closed */
    unsigned secret; /* the number of the newest */
    char rights[80];
    Buf members;
    json_t *id, *key; /* references */
    SecretScope scope;
};

static void fail(const char *what)
{
    fprintf(stderr, "harness: s3 server: %s: %s\n", what, strerror(errno));
    abort();
}

static void write_file(const S3Server *server, const char *name, const char *text)
{
    char path[128], fresh[140];
    snprintf(path, sizeof path, "%s/%s", server->directory, name);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t len = strlen(text);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len || close(fd) != 0 ||
        rename(fresh, path) != 0)
        fail(path);
}

static void write_control(S3Server *server)
{
    scoped(buf_free) Buf text = {0};
    buf_printf(
        &text,
        "{\"keys\": {\"WRITER\": {\"secret\": \"secret/%u\", \"rights\": \"%s\"}}, \"part\": "
        "1048576%s%.*s}",
        server->secret, server->rights, server->members.len == 0 ? "" : ", ",
        TEXT_ARG(buf_text(&server->members)));
    write_file(server, "control.json", buf_cstr(&text));
}

void s3_server_control(S3Server *server, const char *rights, const char *members)
{
    snprintf(server->rights, sizeof server->rights, "%s",
             rights == NULL ? "put,get,list,delete,abort" : rights);
    buf_clear(&server->members);
    if (members != NULL)
        buf_add_text(&server->members, text_of(members));
    write_control(server);
}

static void write_secret(S3Server *server)
{
    char text[40];
    snprintf(text, sizeof text, "secret/%u\n", server->secret);
    write_file(server, "secret", text);
}

void s3_server_rotate(S3Server *server, bool told)
{
    server->secret++;
    write_control(server);
    if (told)
        write_secret(server);
}

static void start(S3Server *server, bool tls)
{
    int to[2], from[2];
    char port[16] = "";
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
        fail("pipe");
    server->pid = fork();
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        execl("/usr/bin/python3", "python3", "-B", "tests/harness/s3_server.py", server->directory,
              tls ? "--tls" : (char *)NULL, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    server->input = to[1];
    for (size_t len = 0; strchr(port, '\n') == NULL && len + 1 < sizeof port; len++)
        if (server->pid < 0 || read(from[0], port + len, 1) != 1)
            fail("it does not start");
    close(from[0]);
    snprintf(server->endpoint, sizeof server->endpoint,
             tls ? "https://localhost:%d" : "http://127.0.0.1:%d", atoi(port));
}

static S3Server *begin(bool tls)
{
    char path[128];
    S3Server *server = mem_new(S3Server);
    snprintf(server->directory, sizeof server->directory, "/tmp/hf-s3.XXXXXX");
    if (mkdtemp(server->directory) == NULL)
        fail("mkdtemp");
    snprintf(path, sizeof path, "%s/data", server->directory);
    if (mkdir(path, 0700) != 0)
        fail(path);
    snprintf(path, sizeof path, "%s/data/backups", server->directory);
    if (mkdir(path, 0700) != 0)
        fail(path);
    s3_server_control(server, NULL, NULL);
    write_file(server, "id", "WRITER\n");
    write_secret(server);
    server->id = json_sprintf("%s/id", server->directory);
    server->key = json_sprintf("%s/secret", server->directory);
    server->id = json_pack("{s:o}", "file", server->id);
    server->key = json_pack("{s:o}", "file", server->key);
    start(server, tls);
    return server;
}

S3Server *s3_server_start(void)
{
    return begin(false);
}

S3Server *s3_server_start_tls(void)
{
    return begin(true);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

void s3_server_stop(S3Server *server)
{
    close(server->input);
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    nftw(server->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    json_decref(server->id);
    json_decref(server->key);
    buf_free(&server->members);
    mem_free(server);
}

StoreS3Params s3_server_params(S3Server *server)
{
    return (StoreS3Params){.endpoint = server->endpoint,
                           .bucket = "backups",
                           .prefix = "prod/",
                           .access_key = server->id,
                           .secret_key = server->key,
                           .scope = &server->scope,
                           .part_bytes = 1 << 20,
                           .pause_ms = 5,
                           .idle_ms = 10000,
                           .tries = 5};
}

const char *s3_server_directory(const S3Server *server)
{
    return server->directory;
}

unsigned s3_server_logged(const S3Server *server, const char *word)
{
    char path[128], line[4096];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/log", server->directory);
    FILE *log = fopen(path, "re");
    while (log != NULL && fgets(line, sizeof line, log) != NULL)
        count += word == NULL || strstr(line, word) != NULL;
    if (log != NULL)
        fclose(log);
    return count;
}

void s3_server_forget(S3Server *server)
{
    char path[128];
    snprintf(path, sizeof path, "%s/log", server->directory);
    unlink(path);
}

void s3_server_age_uploads(const S3Server *server, long seconds)
{
    char command[200];
    snprintf(command, sizeof command,
             "find %s/uploads -name about -exec touch -d @$(($(date +%%s) - %ld)) {} +",
             server->directory, seconds);
    if (system(command) != 0)
        fail(command);
}

unsigned s3_server_bodies(const S3Server *server)
{
    char path[128], line[4096];
    unsigned most = 0;
    snprintf(path, sizeof path, "%s/log", server->directory);
    FILE *log = fopen(path, "re");
    while (log != NULL && fgets(line, sizeof line, log) != NULL) {
        const char *told = strstr(line, "\"bodies\": ");
        unsigned now = told == NULL ? 0 : (unsigned)strtoul(told + 10, NULL, 10);
        most = now > most ? now : most;
    }
    if (log != NULL)
        fclose(log);
    return most;
}

unsigned s3_server_uploads(const S3Server *server)
{
    char path[128];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/uploads", server->directory);
    DIR *open = opendir(path);
    for (struct dirent *item; open != NULL && (item = readdir(open)) != NULL;)
        count += item->d_name[0] != '.';
    if (open != NULL)
        closedir(open);
    return count;
}
