/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/note.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void name_note(char path[NOTE_PATH], const char *cache, const char *kind, const Fence *fence)
{
    snprintf(path, NOTE_PATH, "%s/%s/%" PRIu64 ".%" PRIu64, cache, kind, fence->job,
             fence->attempt);
}

static bool sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return synced;
}

static bool write_all(int fd, Text text)
{
    while (text.len > 0) {
        ssize_t wrote = write(fd, text.at, text.len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return false;
        text.at += wrote;
        text.len -= (size_t)wrote;
    }
    return fsync(fd) == 0;
}

bool note_write(Note *note, const char *cache, const char *kind, const Fence *fence, Text text,
                Err *err)
{
    char directory[NOTE_PATH];
    note->fd = -1;
    if (text.len > NOTE_MOST)
        return err_set(err, ERR_FULL, "job.note", "a note of %zu bytes is not kept", text.len);
    snprintf(directory, sizeof directory, "%s/%s", cache, kind);
    if (mkdir(directory, 0700) == 0)
        (void)sync_directory(cache);
    name_note(note->path, cache, kind, fence);
    note->fd = open(note->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    /* Locked before it has content: a finder takes an empty one for unfinished. */
    if (note->fd >= 0 && flock(note->fd, LOCK_EX | LOCK_NB) == 0 && write_all(note->fd, text) &&
        sync_directory(directory))
        return true;
    err_set_sys(err, err_code_of_errno(errno), "job.note",
                "%s cannot be written; see to cache in worker.yaml", note->path);
    note_done(note);
    return false;
}

void note_done(Note *note)
{
    if (note->fd >= 0)
        unlink(note->path);
    note_leave(note);
}

void note_leave(Note *note)
{
    if (note->fd >= 0)
        close(note->fd);
    note->fd = -1;
}

static bool read_all(int fd, size_t size, Buf *text)
{
    uint8_t *at = buf_extend(text, size);
    size_t done = 0;
    while (done < size) {
        ssize_t got = read(fd, at + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

/* It is for its finder when it is a file of ours, whole, and unlocked. */
static bool take(Note *note, Buf *text)
{
    struct stat about;
    note->fd = open(note->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    bool ok = note->fd >= 0 && flock(note->fd, LOCK_EX | LOCK_NB) == 0 &&
              fstat(note->fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_uid == geteuid() &&
              about.st_nlink == 1 && about.st_size <= NOTE_MOST &&
              read_all(note->fd, (size_t)about.st_size, text);
    if (!ok)
        note_leave(note);
    return ok;
}

bool note_take(Note *note, const char *cache, const char *kind, const Fence *fence, Buf *text)
{
    name_note(note->path, cache, kind, fence);
    return take(note, text);
}

void note_left(const char *cache, const char *kind, NoteVisit *visit, void *ctx)
{
    char path[NOTE_PATH];
    snprintf(path, sizeof path, "%s/%s", cache, kind);
    DIR *directory = opendir(path);
    for (const struct dirent *one = directory == NULL ? NULL : readdir(directory); one != NULL;
         one = readdir(directory)) {
        scoped(buf_free) Buf text = {0};
        Note note = {.fd = -1};
        if (one->d_name[0] == '.' || strlen(one->d_name) > 64)
            continue;
        snprintf(note.path, sizeof note.path, "%s/%s/%s", cache, kind, one->d_name);
        if (!take(&note, &text))
            continue;
        if (text.len == 0)
            note_done(&note);
        else
            visit(ctx, &note, buf_text(&text));
    }
    if (directory != NULL)
        closedir(directory);
}
