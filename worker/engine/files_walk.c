/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_walk.h"

#include "common/base/mem.h"
#include "worker/engine/files_beneath.h"
#include "worker/engine/files_window.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum {
    DEFAULT_BUDGET = 8 << 20, /* about 200 000 names of usual length at once */
    LEAST_BUDGET = 32 << 10,  /* what the deepest level gets when the others took all */
    OPEN_LEVELS = 64,         /* directories above these are closed and opened again */
};

struct FilesDirectory {
    int fd;
    atomic_uint keepers;
};

typedef struct Level {
    int fd;               /* -1: the level of roots, or closed to save descriptors */
    FilesDirectory *open; /* owns fd; NULL: there is none */
    dev_t device;
    ino_t inode;
    size_t path_len; /* of walk->path, the directory's own path */
    size_t root;
    bool filled, marked;
    struct timespec modified; /* when it was opened */
    FilesWindow window;
} Level;

typedef struct Root {
    char *path; /* without the leading slash; "" is "/" */
    size_t len;
    int parent; /* O_PATH */
    const char *name;
    bool nested;  /* lies in another root */
    bool reached; /* a nested one was met on the way */
} Root;

struct FilesWalk {
    FilesWalkParams params;
    Root *roots;
    size_t root_count;
    Level *levels;
    size_t depth, room;
    Buf path;
    uint64_t excluded;
    bool ended;
};

static FilesDirectory *directory_new(int fd)
{
    FilesDirectory *directory = mem_new(FilesDirectory);
    directory->fd = fd;
    atomic_init(&directory->keepers, 1);
    return directory;
}

void files_directory_keep(FilesDirectory *directory)
{
    atomic_fetch_add(&directory->keepers, 1);
}

void files_directory_release(FilesDirectory *directory)
{
    if (atomic_fetch_sub(&directory->keepers, 1) != 1)
        return;
    close(directory->fd);
    mem_free(directory);
}

/* The level reads it no more; whoever was given one of its names may still. */
static void let_go(Level *level)
{
    if (level->open != NULL)
        files_directory_release(level->open);
    level->open = NULL;
    level->fd = -1;
}

static void raise_issue(FilesWalk *walk, IssueKind kind, int sys, Text path, const char *text)
{
    Issue issue = {kind, sys, path, text_of(text)};
    walk->params.issue(walk->params.ctx, &issue);
}

static void issue_of_errno(FilesWalk *walk, int sys, Text path)
{
    if (sys == ENOENT)
        raise_issue(walk, ISSUE_NOTE, sys, path, "vanished between listing and opening");
    else if (sys == EACCES || sys == EPERM)
        raise_issue(walk, ISSUE_DENIED, sys, path,
                    "permission refused: nothing below it is in the backup; let the worker read "
                    "it, for example by CAP_DAC_READ_SEARCH, or exclude it");
    else
        raise_issue(walk, ISSUE_IO, sys, path,
                    "the directory could not be read: not all below it is in the backup");
}

static Text below_root(const FilesWalk *walk, size_t root, Text path)
{
    size_t skip = walk->roots[root].len;
    if (skip == 0)
        return path;
    return path.len <= skip ? (Text){path.at, 0} : (Text){path.at + skip + 1, path.len - skip - 1};
}

static bool is_excluded(const FilesWalk *walk, size_t root, Text path, bool directory)
{
    Text below = below_root(walk, root, path);
    return below.len > 0 && walk->params.exclude != NULL &&
           files_glob_match(walk->params.exclude, below, path, directory);
}

static Root *root_at(FilesWalk *walk, Text path)
{
    for (size_t i = 0; i < walk->root_count; i++)
        if (text_equal((Text){walk->roots[i].path, walk->roots[i].len}, path))
            return &walk->roots[i];
    return NULL;
}

static Text path_of(FilesWalk *walk, const Level *level, Text name)
{
    walk->path.len = level->path_len;
    if (level->path_len > 0)
        buf_add_byte(&walk->path, '/');
    buf_add_text(&walk->path, name);
    buf_cstr(&walk->path);
    return buf_text(&walk->path);
}

static void pop(FilesWalk *walk)
{
    Level *level = &walk->levels[--walk->depth];
    let_go(level);
    files_window_free(&level->window);
}

static void push(FilesWalk *walk, const Level *made)
{
    if (walk->depth == walk->room) {
        walk->room = walk->room == 0 ? 16 : walk->room * 2;
        walk->levels = mem_resize(walk->levels, walk->room * sizeof walk->levels[0]);
    }
    walk->levels[walk->depth++] = *made;
    if (walk->depth > OPEN_LEVELS)
        let_go(&walk->levels[walk->depth - 1 - OPEN_LEVELS]);
}

/* A level whose descriptor was given up is opened again by its path, and must be what it was. */
static bool reopen(FilesWalk *walk, Level *level)
{
    struct stat status;
    if (level->fd >= 0)
        return true;
    scoped(buf_free) Buf path = {0};
    buf_add_byte(&path, '/');
    buf_add(&path, walk->path.at, level->path_len);
    level->fd = files_beneath_open_absolute(buf_text(&path), O_RDONLY | O_DIRECTORY);
    if (level->fd >= 0)
        level->open = directory_new(level->fd);
    if (level->fd >= 0 && fstat(level->fd, &status) == 0 && status.st_dev == level->device &&
        status.st_ino == level->inode)
        return true;
    raise_issue(walk, ISSUE_IO, errno, (Text){(char *)walk->path.at, level->path_len},
                "the directory was moved while it was read: not all below it is in the backup");
    return false;
}

static size_t budget_left(const FilesWalk *walk)
{
    size_t budget = walk->params.budget == 0 ? DEFAULT_BUDGET : walk->params.budget, used = 0;
    for (size_t i = 0; i < walk->depth; i++)
        used += walk->levels[i].window.names.room;
    size_t half = used >= budget ? 0 : (budget - used) / 2;
    return half < LEAST_BUDGET ? LEAST_BUDGET : half;
}

/* Of a directory that is marked nothing is told but the mark. */
static void keep_mark_only(FilesWalk *walk, Level *made)
{
    const char *mark = files_marks_found(walk->params.marks, made->fd);
    if (mark == NULL)
        return;
    files_window_add(&made->window, text_of(mark));
    made->filled = made->marked = true;
    walk->excluded++;
}

/* Opens the directory `name` of the level and makes it the top. */
static void descend(FilesWalk *walk, size_t at, Text name)
{
    struct stat status;
    Level *level = &walk->levels[at];
    Text path = path_of(walk, level, name);
    Level made = {.fd = -1, .path_len = path.len, .root = level->root};
    if (at == 0) {
        Root *root = root_at(walk, path);
        made.root = (size_t)(root - walk->roots);
        made.fd = openat(root->parent, root->name,
                         O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    } else {
        if (is_excluded(walk, level->root, path, true))
            return;
        made.fd = openat(level->fd, (const char *)walk->path.at + path.len - name.len,
                         O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    }
    if (made.fd < 0 || fstat(made.fd, &status) != 0) {
        /* Not a directory: the kind was not told by the listing, or has changed since. */
        if (errno != ENOTDIR && errno != ELOOP)
            issue_of_errno(walk, errno, path);
        if (made.fd >= 0)
            close(made.fd);
        return;
    }
    made.device = status.st_dev;
    made.inode = status.st_ino;
    made.modified = status.st_mtim;
    Root *nested = at == 0 ? NULL : root_at(walk, path);
    if (nested != NULL)
        nested->reached = true;
    if (at != 0 && walk->params.one_file_system && status.st_dev != level->device && !nested) {
        close(made.fd);
        return;
    }
    made.open = directory_new(made.fd);
    if (at != 0 && nested == NULL)
        keep_mark_only(walk, &made);
    push(walk, &made);
}

/* Looks at one name. False: there is nothing to tell. */
static bool look(FilesWalk *walk, size_t at, Text name, FilesFound *found)
{
    const Level *level = &walk->levels[at];
    Text path = path_of(walk, level, name);
    if (path.len == 0)
        return false; /* "/" itself has no name to be restored by */
    *found = (FilesFound){
        .path = path, .root = level->root, .directory = level->fd, .open = level->open};
    found->name = (const char *)walk->path.at + path.len - name.len;
    if (at == 0) {
        Root *root = root_at(walk, path);
        found->root = (size_t)(root - walk->roots);
        found->directory = root->parent;
        found->name = root->name;
    }
    if (fstatat(found->directory, found->name, &found->status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT)
            raise_issue(walk, ISSUE_NOTE, errno, path, "vanished between listing and opening");
        else
            raise_issue(walk, errno == EACCES || errno == EPERM ? ISSUE_DENIED : ISSUE_IO, errno,
                        path, "its metadata could not be read: it is not in the backup");
        return false;
    }
    if (!is_excluded(walk, found->root, path, S_ISDIR(found->status.st_mode)))
        return true;
    walk->excluded++;
    return false;
}

/* Does the name by which it was entered lead elsewhere now? Not known of very deep ones, whose
 * parent was closed: opening that again tells. */
static bool moved(const FilesWalk *walk, size_t at)
{
    const Level *level = &walk->levels[at], *above = level - 1;
    const Root *root = &walk->roots[level->root];
    Text path = {(const char *)walk->path.at, level->path_len}, directory, base;
    char name[256];
    struct stat now;
    files_beneath_split(path, &directory, &base);
    snprintf(name, sizeof name, "%.*s", TEXT_ARG(base));
    if (at > 1 && above->fd < 0)
        return false;
    return (at == 1 ? fstatat(root->parent, root->name, &now, AT_SYMLINK_NOFOLLOW)
                    : fstatat(above->fd, name, &now, AT_SYMLINK_NOFOLLOW)) != 0 ||
           now.st_dev != level->device || now.st_ino != level->inode;
}

/* A level was read to its end: was it what and where it was when it was opened? All that was listed
 * of it was read all the same, as it is known by its descriptor. */
static void settle(FilesWalk *walk, size_t at)
{
    const Level *level = &walk->levels[at];
    Text path = {(const char *)walk->path.at, level->path_len};
    struct stat now;
    if (at == 0 || level->fd < 0 || level->marked)
        return;
    if (moved(walk, at))
        raise_issue(walk, ISSUE_NOTE, 0, path,
                    "the directory was moved or removed while it was read: what was read below it "
                    "is in the backup under this name");
    else if (fstat(level->fd, &now) == 0 && (now.st_mtim.tv_sec != level->modified.tv_sec ||
                                             now.st_mtim.tv_nsec != level->modified.tv_nsec))
        raise_issue(walk, ISSUE_NOTE, 0, path,
                    "names came, went or were changed in it while it was read: what was renamed "
                    "meanwhile may be missing");
}

static void finish_walk(FilesWalk *walk)
{
    for (size_t i = 0; i < walk->root_count; i++)
        if (walk->roots[i].nested && !walk->roots[i].reached && walk->params.one_file_system)
            raise_issue(walk, ISSUE_IO, 0, (Text){walk->roots[i].path, walk->roots[i].len},
                        "it lies in another path behind a mount point and was not reached: make it "
                        "a source of its own");
    walk->ended = true;
}

bool files_walk_next(FilesWalk *walk, FilesFound *found, bool *more, Err *err)
{
    (void)err;
    *more = true;
    while (walk->depth > 0) {
        size_t at = walk->depth - 1;
        Level *level = &walk->levels[at];
        Text key;
        if (at > 0 && !reopen(walk, level)) {
            pop(walk);
        } else if (files_window_take(&level->window, &key)) {
            if (key.len > 0 && key.at[key.len - 1] == '/')
                descend(walk, at, (Text){key.at, key.len - 1});
            else if (look(walk, at, key, found))
                return true;
        } else if (at == 0 || (level->filled && files_window_done(&level->window))) {
            settle(walk, at);
            pop(walk);
        } else {
            level->filled = true;
            if (files_window_fill(&level->window, level->fd, budget_left(walk)))
                continue;
            issue_of_errno(walk, errno, (Text){(char *)walk->path.at, level->path_len});
            pop(walk);
        }
    }
    if (!walk->ended)
        finish_walk(walk);
    *more = false;
    return true;
}

static bool root_refused(Text root, int sys, Err *err)
{
    errno = sys;
    if (sys == ELOOP)
        return err_set(err, ERR_SOURCE, "files.root_is_symlink",
                       "%.*s is, or leads through, a symbolic link: name the real path, as "
                       "`realpath` prints it",
                       TEXT_ARG(root));
    if (sys == ENOENT || sys == ENOTDIR)
        return err_set(err, ERR_SOURCE, "files.root_missing",
                       "%.*s is not there: mount it or take it out of the source's paths",
                       TEXT_ARG(root));
    return err_set_sys(err, ERR_SOURCE, "files.root_denied",
                       "%.*s cannot be opened by this worker; give it the right to read, for "
                       "example CAP_DAC_READ_SEARCH",
                       TEXT_ARG(root));
}

static bool add_root(FilesWalk *walk, Text given, Err *err)
{
    struct stat status;
    Text path = given;
    while (path.len > 0 && path.at[path.len - 1] == '/')
        path.len--;
    if (given.len == 0 || given.at[0] != '/' ||
        (path.len > 0 && !files_beneath_check((Text){path.at + 1, path.len - 1}, err)))
        return err_set(err, ERR_INVALID, "files.root_not_absolute",
                       "the path '%.*s' must start with '/' and hold no '.', '..' or '//'",
                       TEXT_ARG(given));
    Text inner = path.len > 0 ? (Text){path.at + 1, path.len - 1} : path, directory, name;
    if (root_at(walk, inner) != NULL)
        return true;
    Root *root = &walk->roots[walk->root_count++];
    *root = (Root){.path = mem_text(inner), .len = inner.len, .name = "."};
    files_beneath_split(inner, &directory, &name);
    if (inner.len > 0)
        root->name = root->path + (inner.len - name.len);
    scoped(buf_free) Buf parent = {0};
    buf_add_byte(&parent, '/');
    buf_add_text(&parent, directory);
    root->parent = files_beneath_open_absolute(buf_text(&parent), O_PATH | O_DIRECTORY);
    if (root->parent < 0)
        return root_refused(given, errno, err);
    if (fstatat(root->parent, root->name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return root_refused(given, errno, err);
    if (S_ISLNK(status.st_mode))
        return root_refused(given, ELOOP, err);
    if (!S_ISDIR(status.st_mode))
        return true;
    int fd = openat(root->parent, root->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return root_refused(given, errno, err);
    close(fd);
    return true;
}

static bool lies_in(const Root *inner, const Root *outer)
{
    return inner != outer && inner->len > outer->len &&
           memcmp(inner->path, outer->path, outer->len) == 0 &&
           (outer->len == 0 || inner->path[outer->len] == '/');
}

/* The level of roots: a directory that exists only here, with paths in place of names. */
static void push_roots(FilesWalk *walk)
{
    Level top = {.fd = -1, .filled = true};
    for (size_t i = 0; i < walk->root_count; i++) {
        scoped(buf_free) Buf key = {0};
        for (size_t j = 0; j < walk->root_count; j++)
            walk->roots[i].nested |= lies_in(&walk->roots[i], &walk->roots[j]);
        if (walk->roots[i].nested)
            continue;
        buf_add(&key, walk->roots[i].path, walk->roots[i].len);
        files_window_add(&top.window, buf_text(&key));
        buf_add_byte(&key, '/');
        files_window_add(&top.window, buf_text(&key));
    }
    files_window_sort(&top.window);
    push(walk, &top);
}

bool files_walk_open(FilesWalk **out, const FilesWalkParams *params, Err *err)
{
    FilesWalk *walk = mem_new(FilesWalk);
    *out = NULL;
    walk->params = *params;
    walk->roots = mem_array(Root, params->root_count);
    for (size_t i = 0; i < params->root_count; i++)
        if (!add_root(walk, params->roots[i], err)) {
            files_walk_close(walk);
            return false;
        }
    push_roots(walk);
    *out = walk;
    return true;
}

size_t files_walk_root_count(const FilesWalk *walk)
{
    return walk->root_count;
}

Text files_walk_root(const FilesWalk *walk, size_t root)
{
    return (Text){walk->roots[root].path, walk->roots[root].len};
}

uint64_t files_walk_excluded(const FilesWalk *walk)
{
    return walk->excluded;
}

void files_walk_close(FilesWalk *walk)
{
    if (walk == NULL)
        return;
    while (walk->depth > 0)
        pop(walk);
    for (size_t i = 0; i < walk->root_count; i++) {
        if (walk->roots[i].parent >= 0)
            close(walk->roots[i].parent);
        mem_free(walk->roots[i].path);
    }
    mem_free(walk->roots);
    mem_free(walk->levels);
    buf_free(&walk->path);
    mem_free(walk);
}
