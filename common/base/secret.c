/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/secret.h"

#include "common/base/buf.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum { SECRET_MOST = 1 << 20 };

struct Secret {
    size_t len;
    size_t mapped;
    uint8_t *bytes;
};

/* Room for `most` bytes, none taken yet. */
static Secret *map_secret(size_t most)
{
    Secret *secret = mem_new(Secret);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    secret->mapped = (most / page + 1) * page;
    secret->bytes =
        mmap(NULL, secret->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (secret->bytes == MAP_FAILED)
        abort();
    /* A lock may be refused by RLIMIT_MEMLOCK; the secret is then only kept out of core dumps. */
    if (mlock(secret->bytes, secret->mapped) != 0)
        errno = 0;
    madvise(secret->bytes, secret->mapped, MADV_DONTDUMP);
    return secret;
}

Secret *secret_new(Slice bytes)
{
    Secret *secret = map_secret(bytes.len);
    secret->len = bytes.len;
    if (bytes.len != 0)
        memcpy(secret->bytes, bytes.at, bytes.len);
    return secret;
}

Slice secret_slice(const Secret *secret)
{
    return (Slice){secret->bytes, secret->len};
}

void secret_free(Secret *secret)
{
    if (secret == NULL)
        return;
    explicit_bzero(secret->bytes, secret->mapped);
    munmap(secret->bytes, secret->mapped);
    mem_free(secret);
}

void secret_release(Secret **secret)
{
    secret_free(*secret);
    *secret = NULL;
}

/* Owner's eyes only, or root's file shown to one group (systemd's credentials are 0400 or 0440). */
static bool kept_private(const char *path, const struct stat *st, Err *err)
{
    bool others = (st->st_mode & S_IRWXO) != 0;
    bool group = (st->st_mode & S_IRWXG) != 0 && st->st_uid != 0;
    if (S_ISREG(st->st_mode) && !others && !group)
        return true;
    return err_set(err, ERR_DENIED, "secret.readable",
                   "%s can be read by others; run: chmod 600 %s", path, path);
}

/* Reads into locked memory from the first byte on, so that no copy stays behind. */
static bool read_all(int fd, const char *path, bool text, Secret **out, Err *err)
{
    Secret *whole = map_secret(SECRET_MOST + 1);
    ssize_t got;
    do {
        got = read(fd, whole->bytes + whole->len, SECRET_MOST + 1 - whole->len);
        whole->len += got > 0 ? (size_t)got : 0;
    } while ((got < 0 && errno == EINTR) || (got > 0 && whole->len <= SECRET_MOST));
    bool done = got == 0;
    if (got < 0)
        err_set_sys(err, err_code_of_errno(errno), "secret.read", "%s", path);
    else if (!done)
        err_set(err, ERR_INVALID, "secret.large", "%s is over 1 MiB", path);
    if (done) {
        bool newline = text && whole->len != 0 && whole->bytes[whole->len - 1] == '\n';
        *out = secret_new((Slice){whole->bytes, whole->len - newline});
    }
    secret_free(whole);
    return done;
}

static bool read_private(const char *path, bool text, Secret **out, Err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return err_set_sys(err, err_code_of_errno(errno), "secret.open", "%s", path);
    bool done = fstat(fd, &st) == 0
                    ? kept_private(path, &st, err) && read_all(fd, path, text, out, err)
                    : err_set_sys(err, ERR_IO, "secret.stat", "%s", path);
    close(fd);
    return done;
}

bool secret_read_file(const char *path, Secret **out, Err *err)
{
    return read_private(path, true, out, err);
}

bool secret_read_bytes(const char *path, Secret **out, Err *err)
{
    return read_private(path, false, out, err);
}

bool secret_read_fd(int fd, const char *name, Secret **out, Err *err)
{
    return read_all(fd, name, true, out, err);
}

/* Up to the end of the line, a byte at a time: what was typed after it is not ours. */
static bool read_line(int tty, Secret **out, Err *err)
{
    Secret *line = map_secret(SECRET_MOST);
    ssize_t got = 0;
    bool end = false;
    while (!end && line->len < SECRET_MOST) {
        got = read(tty, line->bytes + line->len, 1);
        end = got <= 0 || line->bytes[line->len] == '\n';
        line->len += !end;
    }
    if (got >= 0)
        *out = secret_new(secret_slice(line));
    secret_free(line);
    return got >= 0 || err_set_sys(err, ERR_IO, "secret.read", "the terminal");
}

static bool ask_terminal(const char *prompt, Secret **out, Err *err)
{
    struct termios was, quiet;
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (tty < 0 || tcgetattr(tty, &was) != 0) {
        if (tty >= 0)
            close(tty);
        return err_set(err, ERR_USAGE, "secret.no_terminal",
                       "there is no terminal to ask for the passphrase: name a file that has it, "
                       "or fd:N");
    }
    quiet = was;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(tty, TCSAFLUSH, &quiet);
    dprintf(tty, "%s: ", prompt);
    bool done = read_line(tty, out, err);
    dprintf(tty, "\n");
    tcsetattr(tty, TCSAFLUSH, &was);
    close(tty);
    return done;
}

bool secret_ask(const char *from, const char *prompt, Secret **out, Err *err)
{
    char *end = NULL;
    if (from == NULL)
        return ask_terminal(prompt, out, err);
    if (strncmp(from, "fd:", 3) != 0)
        return secret_read_file(from, out, err);
    long fd = strtol(from + 3, &end, 10);
    if (from[3] == 0 || *end != 0 || fd < 0 || fd > 1 << 20)
        return err_set(err, ERR_USAGE, "secret.fd", "%.40s is not fd:N", from);
    return secret_read_fd((int)fd, from, out, err);
}

static bool proper_name(const char *name)
{
    size_t len = strlen(name);
    return len != 0 && len <= 128 && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

/* One place to look: *found tells whether the file is there at all. */
static bool look_in(const char *directory, const char *prefix, const char *name, bool *found,
                    Secret **out, Err *err)
{
    char path[PATH_MAX];
    *found = false;
    if (directory == NULL)
        return true;
    snprintf(path, sizeof path, "%s/%s%s", directory, prefix, name);
    *found = access(path, F_OK) == 0;
    return !*found || secret_read_file(path, out, err);
}

static bool credential(const char *name, const SecretScope *scope, Secret **out, Err *err)
{
    bool found;
    if (!proper_name(name))
        return err_set(err, ERR_INVALID, "no-credential",
                       "a credential's name is letters, digits, "
                       "dot, dash and underscore");
    if (!look_in(getenv("CREDENTIALS_DIRECTORY"), "hf_", name, &found, out, err) || found)
        return found && *out != NULL;
    if (!look_in(scope->credentials, "", name, &found, out, err) || found)
        return found && *out != NULL;
    if (!look_in("/run/secrets", "", name, &found, out, err) || found)
        return found && *out != NULL;
    return err_set(err, ERR_MISSING, "no-credential",
                   "this host has no credential '%s'; put it in %s/%s, mode 0600", name,
                   scope->credentials == NULL ? "/run/secrets" : scope->credentials, name);
}

static bool is_below(const char *path, const SecretScope *scope)
{
    char real[PATH_MAX];
    char root[PATH_MAX];
    if (scope->below == NULL)
        return true;
    if (realpath(path, real) == NULL)
        return false;
    for (size_t i = 0; i < scope->below_count; i++) {
        if (scope->below[i] == NULL || realpath(scope->below[i], root) == NULL)
            continue;
        size_t len = strlen(root);
        if (strncmp(real, root, len) == 0 && real[len] == '/')
            return true;
    }
    return false;
}

bool secret_resolve(const json_t *reference, const SecretScope *scope, Secret **out, Err *err)
{
    const char *name = json_string_value(json_object_get(reference, "credential"));
    const char *file = json_string_value(json_object_get(reference, "file"));
    const char *env = json_string_value(json_object_get(reference, "env"));
    *out = NULL;
    if (json_object_size(reference) != 1)
        return err_set(err, ERR_INVALID, "secret.reference",
                       "a secret is written {credential: NAME} or {file: PATH}");
    if (name != NULL)
        return credential(name, scope, out, err);
    if (file != NULL) {
        if (!is_below(file, scope))
            return err_set(err, ERR_DENIED, "not-allowed-here",
                           "%s is not below this worker's credentials or keys", file);
        return secret_read_file(file, out, err);
    }
    if (env != NULL && scope->daemon) {
        const char *value = getenv(env);
        if (value == NULL)
            return err_set(err, ERR_MISSING, "no-credential", "the variable %s is not set", env);
        *out = secret_new((Slice){(const uint8_t *)value, strlen(value)});
        return true;
    }
    return err_set(err, ERR_INVALID, "secret.reference",
                   "a secret is written {credential: NAME} or {file: PATH}");
}
