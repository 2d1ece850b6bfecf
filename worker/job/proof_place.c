/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/proof_place.h"

#include "common/base/crashpoint.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "worker/job/proof_clear.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PREFIX "proof-"

enum { LOOKS = 500, LOOK_MS = 20, PATH_ROOM = PROOF_PATH + 300 };

/* --- may we? -------------------------------------------------------------------------------- */

static bool look_at_folder(const char *folder, Err *err)
{
    struct stat about;
    if (mkdir(folder, 0711) != 0 && errno != EEXIST)
        return err_set_sys(err, ERR_IO, "sandbox.folder",
                           "allow.sandbox.folder %s is not there and cannot be made; make it",
                           folder);
    if (lstat(folder, &about) != 0)
        return err_set_sys(err, ERR_IO, "sandbox.folder", "looking at %s", folder);
    if (!S_ISDIR(about.st_mode))
        return err_set(err, ERR_INVALID, "sandbox.folder",
                       "allow.sandbox.folder %s is no folder; name one that is", folder);
    if (about.st_uid != geteuid())
        return err_set(err, ERR_DENIED, "sandbox.folder",
                       "allow.sandbox.folder %s belongs to user %u and this worker runs as %u: "
                       "chown it, so that nobody else puts anything into it",
                       folder, (unsigned)about.st_uid, (unsigned)geteuid());
    if ((about.st_mode & 022) != 0)
        return err_set(err, ERR_DENIED, "sandbox.folder",
                       "others may write into allow.sandbox.folder %s: chmod it to 0711", folder);
    return true;
}

static bool choose_user(const AllowSandbox *allowed, Confine *confine, Err *err)
{
    *confine = (Confine){.other_user = geteuid() == 0, .uid = geteuid(), .gid = getegid()};
    if (!confine->other_user)
        return true;
    const struct passwd *user = allowed->user == NULL ? NULL : getpwnam(allowed->user);
    if (allowed->user == NULL || user == NULL || user->pw_uid == 0)
        return err_set(err, ERR_DENIED, "sandbox.user",
                       "this worker is root and what it restores must not be: name in "
                       "allow.sandbox.user a user of this host that owns nothing else%s%s",
                       allowed->user == NULL ? "" : ", not ",
                       allowed->user == NULL ? "" : allowed->user);
    confine->uid = user->pw_uid;
    confine->gid = user->pw_gid;
    return true;
}

bool proof_place_look(const AllowSandbox *allowed, uint64_t bytes, Err *err)
{
    struct statvfs disk;
    Confine confine;
    if (!look_at_folder(allowed->folder, err) || !choose_user(allowed, &confine, err))
        return false;
    if (allowed->most_bytes > 0 && bytes > allowed->most_bytes)
        return err_set(err, ERR_FULL, "sandbox.space",
                       "it takes about %" PRIu64 " MiB and allow.sandbox.most gives %" PRIu64
                       ": raise it, or name a pool whose worker gives more",
                       bytes >> 20, allowed->most_bytes >> 20);
    if (statvfs(allowed->folder, &disk) != 0)
        return err_set_sys(err, ERR_IO, "sandbox.folder", "looking at the disk of %s",
                           allowed->folder);
    uint64_t there = (uint64_t)disk.f_bavail * disk.f_frsize;
    return there >= bytes || err_set(err, ERR_FULL, "sandbox.space",
                                     "it takes about %" PRIu64 " MiB below %s and %" PRIu64
                                     " MiB are free: make room, or name a pool whose worker has it",
                                     bytes >> 20, allowed->folder, there >> 20);
}

/* --- what runs in it ------------------------------------------------------------------------ */

typedef struct Process {
    pid_t pid, parent;
    unsigned long long started;
    char state;
} Process;

static bool look_at_process(const char *name, Process *out)
{
    char path[64], line[1024] = "";
    out->pid = (pid_t)strtol(name, NULL, 10);
    if (out->pid <= 0)
        return false;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)out->pid);
    FILE *file = fopen(path, "re");
    char *at = file == NULL || fgets(line, sizeof line, file) == NULL ? NULL : strrchr(line, ')');
    if (file != NULL)
        fclose(file);
    if (at == NULL || strlen(at) < 5)
        return false;
    out->state = at[2];
    out->parent = (pid_t)strtol(at + 4, NULL, 10);
    for (int field = 0; field < 20 && at != NULL; field++)
        at = strchr(at + 1, ' ');
    out->started = at == NULL ? 0 : strtoull(at + 1, NULL, 10);
    return out->state != 'Z' && out->state != 'X';
}

static bool works_in(pid_t pid, const char *folder)
{
    char path[64], where[PATH_MAX];
    size_t len = strlen(folder);
    snprintf(path, sizeof path, "/proc/%d/cwd", (int)pid);
    ssize_t got = readlink(path, where, sizeof where - 1);
    if (got < (ssize_t)len)
        return false;
    where[got] = 0;
    return strncmp(where, folder, len) == 0 && (where[len] == '/' || where[len] == 0);
}

/* The server that was written down, where the kernel does not say where another user's process
 * works: its number and when that was given. */
static Process noted_server(const char *folder)
{
    char path[PATH_ROOM], line[200] = "", *after;
    Process server = {0};
    snprintf(path, sizeof path, "%s/server", folder);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return server;
    if (fgets(line, sizeof line, file) != NULL) {
        server.pid = (int)strtol(line, &after, 10);
        server.started = strtoull(after, NULL, 10);
    }
    fclose(file);
    return server;
}

/* Kills what it finds; how much that was. */
static size_t kill_inside(const char *folder)
{
    size_t found = 0;
    Process server = noted_server(folder), one;
    DIR *proc = opendir("/proc");
    if (proc == NULL)
        return 0;
    if (server.pid > 0) {
        char name[24];
        unsigned long long started = server.started;
        snprintf(name, sizeof name, "%d", (int)server.pid);
        if (!look_at_process(name, &server) || server.started != started)
            server.pid = 0; /* the number is another's by now */
        else
            kill(server.pid, SIGSTOP); /* it starts nothing while the others are counted */
    }
    for (const struct dirent *at = readdir(proc); at != NULL; at = readdir(proc)) {
        if (!look_at_process(at->d_name, &one) || one.pid == getpid())
            continue;
        if (works_in(one.pid, folder) ||
            (server.pid > 0 && (one.pid == server.pid || one.parent == server.pid))) {
            found++;
            if (one.pid != server.pid)
                kill(one.pid, SIGKILL);
        }
    }
    closedir(proc);
    if (server.pid > 0)
        kill(server.pid, SIGKILL);
    return found;
}

/* A server that was killed leaves a few bytes of System V memory: line 7 of postmaster.pid names
 * them. As root it has a namespace of its own, which is gone with it. */
static void forget_memory(const char *folder)
{
    char path[PATH_ROOM], line[200], *after;
    struct shmid_ds about;
    int id = -1;
    snprintf(path, sizeof path, "%s/data/postmaster.pid", folder);
    FILE *file = geteuid() == 0 ? NULL : fopen(path, "re");
    for (int n = 1; file != NULL && fgets(line, sizeof line, file) != NULL; n++)
        if (n == 7 && strtol(line, &after, 10) >= 0 && *after == ' ')
            id = (int)strtol(after, NULL, 10);
    if (file != NULL)
        fclose(file);
    if (id >= 0 && shmctl(id, IPC_STAT, &about) == 0 && about.shm_nattch == 0 &&
        about.shm_perm.cuid == geteuid())
        shmctl(id, IPC_RMID, NULL);
}

/* --- removing ------------------------------------------------------------------------------- */

static bool end_folder(const char *folder, Err *err)
{
    for (int looks = 0; kill_inside(folder) > 0; looks++) {
        if (looks == LOOKS)
            return err_set(err, ERR_BUSY, "sandbox.remains",
                           "processes in %s do not end: look at them, and remove it", folder);
        usleep(LOOK_MS * 1000);
    }
    forget_memory(folder);
    if (proof_clear(folder))
        return true;
    return err_set_sys(err, ERR_IO, "sandbox.remains", "%s could not be removed; remove it",
                       folder);
}

/* --- one ------------------------------------------------------------------------------------ */

static int lock_of(const char *folder, int how)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof path, "%s/lock", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && flock(fd, how) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

bool proof_place_make(ProofPlace *place, const AllowSandbox *allowed, uint64_t job, Err *err)
{
    char name[40];
    *place = (ProofPlace){.lock = -1};
    if (!choose_user(allowed, &place->confine, err))
        return false;
    /* While it is held nobody takes a folder for left that has no lock yet. */
    int all = lock_of(allowed->folder, LOCK_EX);
    snprintf(name, sizeof name, PREFIX "%" PRIu64 "-XXXXXX", job);
    snprintf(place->folder, sizeof place->folder, "%s/%s", allowed->folder, name);
    bool made = all >= 0 && mkdtemp(place->folder) != NULL;
    if (made)
        place->lock = lock_of(place->folder, LOCK_EX | LOCK_NB);
    if (all >= 0)
        close(all);
    if (made && place->lock >= 0 && chmod(place->folder, 0711) == 0) {
        place->confine.directory = place->folder;
        CRASHPOINT("proof.made");
        return true;
    }
    err_set_sys(err, ERR_IO, "sandbox.folder", "cannot make a folder below %s", allowed->folder);
    if (made)
        rmdir(place->folder);
    place->folder[0] = 0;
    return false;
}

bool proof_place_drop(ProofPlace *place, Err *err)
{
    bool gone = place->folder[0] == 0 || end_folder(place->folder, err);
    if (place->lock >= 0)
        close(place->lock);
    *place = (ProofPlace){.lock = -1};
    return gone;
}

/* --- what others left ----------------------------------------------------------------------- */

static bool is_left(const char *folder, int *lock)
{
    *lock = lock_of(folder, LOCK_EX | LOCK_NB);
    return *lock >= 0;
}

size_t proof_place_sweep(const AllowSandbox *allowed)
{
    size_t found = 0;
    struct stat about;
    DIR *folder = allowed == NULL ? NULL : opendir(allowed->folder);
    if (folder == NULL)
        return 0;
    int all = lock_of(allowed->folder, LOCK_EX);
    for (const struct dirent *one = all < 0 ? NULL : readdir(folder); one != NULL;
         one = readdir(folder)) {
        char path[PATH_ROOM];
        Err err = {0};
        int lock = -1;
        snprintf(path, sizeof path, "%s/%s", allowed->folder, one->d_name);
        if (strncmp(one->d_name, PREFIX, strlen(PREFIX)) != 0 || lstat(path, &about) != 0 ||
            !S_ISDIR(about.st_mode) || about.st_uid != geteuid() || !is_left(path, &lock))
            continue;
        found++;
        if (end_folder(path, &err))
            log_info("sandbox.swept", "folder=%s its job died", path);
        else
            log_err("sandbox.swept", &err);
        close(lock);
    }
    if (all >= 0)
        close(all);
    closedir(folder);
    return found;
}

static atomic_bool sweeping;

static void *sweep(void *ctx)
{
    const AllowSandbox *allowed = ctx;
    proof_place_sweep(allowed);
    sweeping = false;
    return NULL;
}

void proof_place_sweep_later(const AllowSandbox *allowed)
{
    pthread_t thread;
    bool none = false;
    if (allowed == NULL || !atomic_compare_exchange_strong(&sweeping, &none, true))
        return;
    if (pthread_create(&thread, NULL, sweep, (void *)(uintptr_t)allowed) == 0)
        pthread_detach(thread);
    else
        sweeping = false;
}
