/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_dirs.h"

#include "common/base/buf.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEMORY = 8 << 20 };

/* A record: the struct, the path, then name and value of each attribute behind their lengths. */
typedef struct Record {
    int64_t mtime_ns;
    uint32_t mode, uid, gid, path_len, attribute_count;
    bool implied;
} Record;

typedef struct Length {
    uint32_t name, value;
} Length;

struct FilesDirs {
    pthread_mutex_t lock;
    char *scratch;
    Buf pending; /* not yet in the file */
    int fd;      /* -1: everything is in `pending` */
    uint64_t written;
    uint64_t *offsets;
    size_t count, room;
};

FilesDirs *files_dirs_new(const char *scratch)
{
    FilesDirs *dirs = mem_new(FilesDirs);
    pthread_mutex_init(&dirs->lock, NULL);
    dirs->scratch = mem_string(scratch);
    dirs->fd = -1;
    return dirs;
}

void files_dirs_free(FilesDirs *dirs)
{
    if (dirs == NULL)
        return;
    if (dirs->fd >= 0)
        close(dirs->fd);
    buf_free(&dirs->pending);
    mem_free(dirs->scratch);
    mem_free(dirs->offsets);
    pthread_mutex_destroy(&dirs->lock);
    mem_free(dirs);
}

static bool spill(FilesDirs *dirs, Err *err)
{
    if (dirs->fd < 0)
        dirs->fd = open(dirs->scratch, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (dirs->fd < 0)
        return err_set_sys(err, err_code_of_errno(errno), "files.scratch",
                           "no temporary file could be made in %s", dirs->scratch);
    for (size_t at = 0; at < dirs->pending.len;) {
        ssize_t put = pwrite(dirs->fd, dirs->pending.at + at, dirs->pending.len - at,
                             (off_t)(dirs->written + at));
        if (put < 0 && errno != EINTR)
            return err_set_sys(err, err_code_of_errno(errno), "files.scratch",
                               "the temporary file in %s could not be written", dirs->scratch);
        at += put > 0 ? (size_t)put : 0;
    }
    dirs->written += dirs->pending.len;
    buf_clear(&dirs->pending);
    return true;
}

bool files_dirs_add(FilesDirs *dirs, const Entry *entry, bool implied, Err *err)
{
    Record record = {.mtime_ns = entry->mtime_ns,
                     .mode = entry->mode,
                     .uid = entry->uid,
                     .gid = entry->gid,
                     .path_len = (uint32_t)entry->path.len,
                     .attribute_count = (uint32_t)entry->attribute_count,
                     .implied = implied};
    bool fine = true;
    pthread_mutex_lock(&dirs->lock);
    if (dirs->count == dirs->room) {
        dirs->room = dirs->room == 0 ? 256 : dirs->room * 2;
        dirs->offsets = mem_resize(dirs->offsets, dirs->room * sizeof dirs->offsets[0]);
    }
    dirs->offsets[dirs->count++] = dirs->written + dirs->pending.len;
    buf_add(&dirs->pending, &record, sizeof record);
    buf_add_text(&dirs->pending, entry->path);
    for (size_t i = 0; i < entry->attribute_count; i++) {
        const EntryAttribute *one = &entry->attributes[i];
        Length length = {(uint32_t)one->name.len, (uint32_t)one->value.len};
        buf_add(&dirs->pending, &length, sizeof length);
        buf_add_text(&dirs->pending, one->name);
        buf_add_slice(&dirs->pending, one->value);
    }
    if (dirs->pending.len > MEMORY && dirs->scratch != NULL)
        fine = spill(dirs, err);
    pthread_mutex_unlock(&dirs->lock);
    return fine;
}

static Record record_at(const uint8_t *base, uint64_t offset, Text *path)
{
    Record record;
    memcpy(&record, base + offset, sizeof record);
    *path = (Text){(const char *)base + offset + sizeof record, record.path_len};
    return record;
}

/* Descending paths put children before parents; of one path the real row comes before the implied.
 */
static int compare(const void *a, const void *b, void *ctx)
{
    Text left, right;
    Record left_record = record_at(ctx, *(const uint64_t *)a, &left);
    Record right_record = record_at(ctx, *(const uint64_t *)b, &right);
    int order = text_compare(right, left);
    return order != 0 ? order : left_record.implied - right_record.implied;
}

static bool visit_one(const uint8_t *base, uint64_t offset, FilesDirsVisit *visit, void *ctx,
                      Err *err)
{
    Entry entry = {.type = ENTRY_DIRECTORY};
    Record record = record_at(base, offset, &entry.path);
    EntryAttribute *list = mem_array(EntryAttribute, record.attribute_count);
    const uint8_t *at = base + offset + sizeof record + record.path_len;
    for (size_t i = 0; i < record.attribute_count; i++) {
        Length length;
        memcpy(&length, at, sizeof length);
        at += sizeof length;
        list[i].name = (Text){(const char *)at, length.name};
        list[i].value = (Slice){at + length.name, length.value};
        at += length.name + length.value;
    }
    entry.mode = record.mode;
    entry.uid = record.uid;
    entry.gid = record.gid;
    entry.mtime_ns = record.mtime_ns;
    entry.attributes = list;
    entry.attribute_count = record.attribute_count;
    bool fine = visit(ctx, &entry, record.implied, err);
    mem_free(list);
    return fine;
}

bool files_dirs_each(FilesDirs *dirs, FilesDirsVisit *visit, void *ctx, Err *err)
{
    const uint8_t *base = dirs->pending.at;
    void *mapped = NULL;
    bool fine = true;
    if (dirs->fd >= 0) {
        if (!spill(dirs, err))
            return false;
        mapped = mmap(NULL, dirs->written, PROT_READ, MAP_SHARED, dirs->fd, 0);
        if (mapped == MAP_FAILED)
            return err_set_sys(err, ERR_IO, "files.scratch", "the list of directories is gone");
        base = mapped;
    }
    if (dirs->count > 1)
        qsort_r(dirs->offsets, dirs->count, sizeof dirs->offsets[0], compare,
                (void *)(uintptr_t)base);
    Text before = {NULL, 0};
    for (size_t i = 0; fine && i < dirs->count; i++) {
        Text path;
        Record record = record_at(base, dirs->offsets[i], &path);
        if (!(record.implied && text_equal(path, before)))
            fine = visit_one(base, dirs->offsets[i], visit, ctx, err);
        before = path;
    }
    if (mapped != NULL)
        munmap(mapped, dirs->written);
    return fine;
}
