/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/store_place.h"

#include "common/base/mem.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL_BYTES = 8 * 1024 * 1024, LIMIT_BYTES = 1024 * 1024 };

struct StorePlace {
    char top[64], root[80], aside[80];
    bool mounted; /* a file system of its own, which root can make */
};

static void must(bool good, const char *what)
{
    if (good)
        return;
    perror(what);
    abort();
}

static StorePlace *local_begin(bool small)
{
    StorePlace *place = mem_new(StorePlace);
    char options[40];
    snprintf(place->top, sizeof place->top, "/tmp/hf-place.XXXXXX");
    must(mkdtemp(place->top) != NULL, "mkdtemp");
    snprintf(place->root, sizeof place->root, "%s/store", place->top);
    snprintf(place->aside, sizeof place->aside, "%s/away", place->top);
    must(mkdir(place->root, 0700) == 0, "mkdir");
    snprintf(options, sizeof options, "size=%d,mode=0700", SMALL_BYTES);
    place->mounted = small && geteuid() == 0 &&
                     mount("none", place->root, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0;
    return place;
}

static bool local_open(StorePlace *place, Store **out, Err *err)
{
    if (!store_local_open(out, place->root, err))
        return false;
    store_let_remove(*out);
    return true;
}

static void local_away(StorePlace *place, bool away)
{
    must(away ? rename(place->root, place->aside) == 0 : rename(place->aside, place->root) == 0,
         "rename");
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void local_destroy(StorePlace *place)
{
    must(nftw(place->root, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, "removing the store");
}

/* With a file system of its own: a file that takes all of it. Else a limit to the files that this
 * process writes. */
static bool local_fill(StorePlace *place, bool full)
{
    char path[100];
    if (!place->mounted) {
        struct rlimit limit = {full ? LIMIT_BYTES : RLIM_INFINITY, RLIM_INFINITY};
        signal(SIGXFSZ, SIG_IGN);
        return setrlimit(RLIMIT_FSIZE, &limit) == 0;
    }
    snprintf(path, sizeof path, "%s/.filler", place->root);
    if (!full)
        return unlink(path) == 0;
    static const uint8_t block[65536];
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    must(file >= 0, "filler");
    while (write(file, block, sizeof block) > 0)
        continue;
    return close(file) == 0;
}

static int shut_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)walk;
    return kind == FTW_D ? chmod(path, st->st_mode & ~0222u) : 0;
}

static int free_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)walk;
    return kind == FTW_D ? chmod(path, st->st_mode | 0200u) : 0;
}

static bool local_freeze(StorePlace *place, bool frozen)
{
    if (place->mounted)
        return mount("none", place->root, NULL,
                     MS_REMOUNT | MS_NOSUID | MS_NODEV | (frozen ? MS_RDONLY : 0), NULL) == 0;
    return geteuid() != 0 && nftw(place->root, frozen ? shut_one : free_one, 16, FTW_PHYS) == 0;
}

static void local_end(StorePlace *place)
{
    if (place->mounted)
        umount2(place->root, MNT_DETACH);
    nftw(place->top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    mem_free(place);
}

static const StoreKind local_kind = {"local",       local_begin, local_open,   local_away,
                                     local_destroy, local_fill,  local_freeze, local_end};

const StoreKind *const STORE_KINDS[] = {&local_kind, &store_place_s3};
const size_t STORE_KIND_COUNT = sizeof STORE_KINDS / sizeof *STORE_KINDS;
