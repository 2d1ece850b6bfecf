/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/wal/wal_lay.h"

#include "common/base/crashpoint.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "worker/engine/postgresql_spool.h"
#include "worker/engine/postgresql_wal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 16, HALF_NAME = 300, MEMORY = 64 << 20 };

/* A file on its way. */
typedef struct Laying {
    const WalLay *lay;
    char half[HALF_NAME];
    int fd;
    uint64_t bytes;
    HashSha256 *hash;
} Laying;

static bool write_failed(const Laying *l, Err *err)
{
    return err_set_sys(err, errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO, "wal.write",
                       "writing %s", l->lay->name);
}

static bool begin(Laying *l, const WalLay *lay, Err *err)
{
    *l = (Laying){.lay = lay};
    snprintf(l->half, sizeof l->half, ".%s.holdfast", lay->name);
    l->fd = openat(lay->folder, l->half, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (l->fd < 0)
        return write_failed(l, err);
    l->hash = hash_sha256_new();
    return true;
}

static bool add(Laying *l, Slice bytes, Err *err)
{
    if (!postgresql_spool_write(l->fd, bytes))
        return write_failed(l, err);
    hash_sha256_add(l->hash, bytes);
    l->bytes += bytes.len;
    return true;
}

/* The first `stored` bytes must be pages of this segment of this cluster. */
static bool look_through(const Laying *l, uint64_t stored, uint32_t *segment_bytes, Err *err)
{
    uint8_t head[POSTGRESQL_WAL_HEAD] = {0};
    uint8_t *bytes = mem_array(uint8_t, PIECE);
    PostgresqlWalScan *scan = mem_new(PostgresqlWalScan);
    char system[WAL_SYSTEM];
    ssize_t got = pread(l->fd, head, sizeof head, 0);
    uint64_t at = 0;
    bool fine = postgresql_wal_head_parse(
        text_of(l->lay->file), (Slice){head, got < 0 ? 0 : (size_t)got}, &scan->head, err);
    PostgresqlWalHead found = scan->head;
    snprintf(system, sizeof system, "%llu", (unsigned long long)found.system);
    if (fine && strcmp(system, l->lay->system) != 0)
        fine = err_set(err, ERR_CORRUPT, "wal.other_system",
                       "%s is of the cluster %s, and this server is %s", l->lay->file, system,
                       l->lay->system);
    if (fine)
        postgresql_wal_scan_begin(scan, &found);
    while (fine && at < stored && (got = pread(l->fd, bytes, PIECE, (off_t)at)) > 0) {
        postgresql_wal_scan_add(scan, (Slice){bytes, (size_t)got});
        at += (uint64_t)got;
    }
    if (fine && (at < stored || stored > found.segment_bytes ||
                 scan->sound < stored - stored % found.page_bytes))
        fine = err_set(err, ERR_CORRUPT, "wal.pages",
                       "%s is no log of this segment after %llu bytes: it is damaged", l->lay->file,
                       (unsigned long long)scan->sound);
    *segment_bytes = found.segment_bytes;
    mem_free(scan);
    mem_free(bytes);
    return fine;
}

static bool check(const Laying *l, const WalSegment *segment, uint64_t *whole, Err *err)
{
    uint32_t timeline, size = 0;
    *whole = l->bytes;
    if (postgresql_wal_kind(text_of(l->lay->file), &timeline) != POSTGRESQL_WAL_SEGMENT)
        return true;
    if (!look_through(l, l->bytes, &size, err))
        return false;
    *whole = size;
    return segment != NULL || l->bytes == size ||
           err_set(err, ERR_CORRUPT, "wal.size", "%s has %llu bytes, and a segment of it has %u",
                   l->lay->file, (unsigned long long)l->bytes, size);
}

/* fine: it is all there. Nothing is left of what is not. */
static bool end(Laying *l, const WalSegment *segment, bool fine, Err *err)
{
    uint64_t whole = 0;
    fine = fine && check(l, segment, &whole, err);
    if (fine && (ftruncate(l->fd, (off_t)whole) != 0 || fsync(l->fd) != 0))
        fine = write_failed(l, err);
    if (close(l->fd) != 0 && fine)
        fine = write_failed(l, err);
    CRASHPOINT("wal.fetched");
    if (fine && (renameat(l->lay->folder, l->half, l->lay->folder, l->lay->name) != 0 ||
                 fsync(l->lay->folder) != 0))
        fine = write_failed(l, err);
    if (!fine)
        (void)unlinkat(l->lay->folder, l->half, 0);
    hash_sha256_free(l->hash);
    return fine;
}

bool wal_lay_file(const WalLay *lay, int from, Err *err)
{
    Laying l;
    uint8_t *bytes = mem_array(uint8_t, PIECE);
    ssize_t got = 0;
    bool fine = begin(&l, lay, err), begun = fine;
    while (fine && ((got = read(from, bytes, PIECE)) > 0 || (got < 0 && errno == EINTR)))
        fine = got < 0 || add(&l, (Slice){bytes, (size_t)got}, err);
    if (fine && got < 0)
        fine = err_set_sys(err, ERR_IO, "wal.read", "reading %s", lay->file);
    mem_free(bytes);
    return begun && end(&l, NULL, fine, err);
}

/* --- out of a batch ------------------------------------------------------------------------- */

static bool on_entry(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop,
                     Err *err)
{
    ReaderContent **out = ctx;
    (void)err;
    if (entry->type == ENTRY_STREAM)
        *out = reader_content_copy(content);
    *stop = true;
    return true;
}

static bool on_data(void *ctx, Slice bytes, Err *err)
{
    return add(ctx, bytes, err);
}

static bool on_zeros(void *ctx, uint64_t count, Err *err)
{
    static const uint8_t zeros[PIECE];
    bool fine = true;
    for (; fine && count > 0; count -= count < PIECE ? count : PIECE)
        fine = add(ctx, (Slice){zeros, count < PIECE ? (size_t)count : PIECE}, err);
    return fine;
}

static bool check_stored(Laying *l, const WalSegment *segment, Err *err)
{
    Sha256 sha256;
    if (segment == NULL)
        return true;
    hash_sha256_end(l->hash, &sha256);
    return (l->bytes == segment->end - segment->start &&
            memcmp(&sha256, &segment->sha256, sizeof sha256) == 0) ||
           err_set(err, ERR_CORRUPT, "wal.other_bytes",
                   "%s is not what its batch says of it (%llu bytes of %llu, or another sha256)",
                   segment->entry, (unsigned long long)l->bytes,
                   (unsigned long long)(segment->end - segment->start));
}

static bool lay_content(const WalLay *lay, RepoReader *reader, const ReaderContent *content,
                        const WalSegment *segment, Err *err)
{
    Laying l;
    ReaderSink sink = {&l, on_data, on_zeros};
    if (!begin(&l, lay, err))
        return false;
    bool fine = reader_content(reader, content, &sink, err) && check_stored(&l, segment, err);
    return end(&l, segment, fine, err);
}

bool wal_lay_stored(const WalLay *lay, Repo *repo, RepoLocator *locator, const Uuid *batch,
                    const WalSegment *segment, bool *found, Err *err)
{
    RepoReader *reader = NULL;
    ReaderContent *content = NULL;
    char id[BACKUP_ID_TEXT];
    Text path = text_of(segment == NULL ? lay->file : segment->entry);
    ReaderSelection selection = {.paths = &path, .path_count = 1, .phase = -1};
    ReaderParams params = {
        .repo = repo, .locator = locator, .backup = *batch, .memory_bytes = MEMORY};
    uuid_backup_text(batch, id);
    bool fine = reader_open(&reader, &params, err) &&
                reader_walk(reader, &selection, on_entry, &content, err);
    *found = fine && content != NULL;
    if (fine && content == NULL && segment != NULL)
        fine = err_set(err, ERR_CORRUPT, "wal.batch_lacks", "its receipt names %s, and it has none",
                       segment->entry);
    if (fine && content != NULL)
        fine = lay_content(lay, reader, content, segment, err);
    reader_content_free(content);
    reader_close(reader);
    return fine || err_note(err, "%s, a batch of the log", id);
}
