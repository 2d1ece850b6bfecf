/* SPDX-License-Identifier: Apache-2.0
 * plain_tar.c — tar headers and bodies. */
#include "worker/job/plain_tar.h"

#include "common/base/buf.h"
#include "common/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#define ZLIB_CONST
#include <zlib.h>

enum {
    BLOCK = 512,
    BUFFER = 1024 * 1024,
    NAME_FITS = 100,
    OCTAL_7 = 07777777, /* the largest number of a seven-digit field */
    LEVEL = 6,
    GZIP_WINDOW = 15 + 16,  /* zlib's way to say gzip */
    HOLE_LEAST = 64 * 1024, /* as a restore has it: shorter runs of zeros are written */
    HOLES_MOST = 32 * 1024, /* of one file; where it has more, the short ones are written */
};

/* Both are whole blocks, so that what lies between holes begins a block, as GNU tar has it. */
typedef struct Hole {
    uint64_t at, len;
} Hole;

typedef struct Holes {
    Hole *rows; /* HOLES_MOST; made for the first file that has one */
    size_t count, next;
    uint64_t least, total;
    uint64_t run_at, run_len; /* the run of zeros that may still grow */
    bool full;
} Holes;

struct PlainTar {
    RepoReader *reader;
    int fd;
    bool gzip;
    z_stream deflater;
    uint8_t *packed; /* BUFFER; with gzip */
    uint8_t *buffer;
    size_t filled;
    uint64_t written; /* of the current content */
    uint64_t entries;
    Holes holes; /* of the current content */
};

static bool write_out(const PlainTar *tar, const uint8_t *bytes, size_t len, Err *err)
{
    while (len > 0) {
        ssize_t wrote = write(tar->fd, bytes, len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return err_set_sys(err, err_code_of_errno(errno), "export.write",
                               "writing the archive");
        bytes += wrote;
        len -= (size_t)wrote;
    }
    return true;
}

static bool write_packed(PlainTar *tar, int how, Err *err)
{
    tar->deflater.next_in = tar->buffer;
    tar->deflater.avail_in = (uInt)tar->filled;
    do {
        tar->deflater.next_out = tar->packed;
        tar->deflater.avail_out = BUFFER;
        if (deflate(&tar->deflater, how) == Z_STREAM_ERROR)
            return err_set(err, ERR_BUG, "export.gzip", "zlib refuses its input");
        if (!write_out(tar, tar->packed, BUFFER - tar->deflater.avail_out, err))
            return false;
    } while (tar->deflater.avail_out == 0);
    return true;
}

static bool flush(PlainTar *tar, int how, Err *err)
{
    bool done =
        tar->gzip ? write_packed(tar, how, err) : write_out(tar, tar->buffer, tar->filled, err);
    tar->filled = 0;
    return done;
}

/* bytes.at NULL: zeros. */
static bool put(PlainTar *tar, const uint8_t *at, uint64_t len, Err *err)
{
    while (len > 0) {
        if (tar->filled == BUFFER && !flush(tar, Z_NO_FLUSH, err))
            return false;
        size_t room = BUFFER - tar->filled;
        size_t part = len < room ? (size_t)len : room;
        if (at == NULL) {
            memset(tar->buffer + tar->filled, 0, part);
        } else {
            memcpy(tar->buffer + tar->filled, at, part);
            at += part;
        }
        tar->filled += part;
        len -= part;
    }
    return true;
}

static bool pad(PlainTar *tar, uint64_t len, Err *err)
{
    return put(tar, NULL, (BLOCK - len % BLOCK) % BLOCK, err);
}

static void octal(uint8_t *at, size_t width, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%0*llo", (int)width - 1, (unsigned long long)value);
    memcpy(at, text, width - 1);
}

static void field(uint8_t *at, size_t width, Text text)
{
    if (text.len != 0) /* an empty text may point nowhere */
        memcpy(at, text.at, text.len < width ? text.len : width);
}

typedef struct Header {
    char type;
    Text name, link, user, group;
    uint32_t mode, uid, gid, major, minor;
    uint64_t size;
    int64_t mtime;
} Header;

static bool put_header(PlainTar *tar, const Header *h, Err *err)
{
    static const uint8_t magic[8] = {'u', 's', 't', 'a', 'r', 0, '0', '0'}; /* and version */
    uint8_t block[BLOCK] = {0};
    field(block, 100, h->name);
    octal(block + 100, 8, h->mode);
    octal(block + 108, 8, h->uid & OCTAL_7);
    octal(block + 116, 8, h->gid & OCTAL_7);
    octal(block + 124, 12, h->size < 1ull << 33 ? h->size : 0);
    octal(block + 136, 12, h->mtime < 0 || h->mtime >= 1ll << 33 ? 0 : (uint64_t)h->mtime);
    memset(block + 148, ' ', 8);
    block[156] = (uint8_t)h->type;
    field(block + 157, 100, h->link);
    memcpy(block + 257, magic, sizeof magic);
    field(block + 265, 31, h->user);
    field(block + 297, 31, h->group);
    octal(block + 329, 8, h->major & OCTAL_7);
    octal(block + 337, 8, h->minor & OCTAL_7);
    unsigned sum = 0;
    for (size_t i = 0; i < BLOCK; i++)
        sum += block[i];
    octal(block + 148, 7, sum);
    block[155] = ' ';
    return put(tar, block, BLOCK, err);
}

/* "LENGTH key=value\n", where LENGTH counts itself. */
static void add_record(Buf *out, const char *key, Text suffix, Slice value)
{
    size_t rest = 1 + strlen(key) + suffix.len + 1 + value.len + 1, digits = 1, total;
    for (;;) {
        char text[24];
        total = rest + digits;
        size_t needed = (size_t)snprintf(text, sizeof text, "%zu", total);
        if (needed == digits)
            break;
        digits = needed;
    }
    buf_printf(out, "%zu %s", total, key);
    buf_add_text(out, suffix);
    buf_add_byte(out, '=');
    buf_add_slice(out, value);
    buf_add_byte(out, '\n');
}

static void add_number(Buf *out, const char *key, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    add_record(out, key, (Text){0}, slice_of_text(text_of(text)));
}

static void add_mtime(Buf *out, int64_t ns)
{
    char text[40];
    int64_t seconds = ns / 1000000000, rest = ns % 1000000000;
    if (rest < 0) {
        seconds--;
        rest += 1000000000;
    }
    if (rest == 0 && seconds >= 0 && seconds < 1ll << 33)
        return;
    snprintf(text, sizeof text, "%lld.%09lld", (long long)seconds, (long long)rest);
    add_record(out, "mtime", (Text){0}, slice_of_text(text_of(text)));
}

static void sparse_records(Buf *out, Text name, uint64_t size)
{
    add_number(out, "GNU.sparse.major", 1);
    add_number(out, "GNU.sparse.minor", 0);
    add_record(out, "GNU.sparse.name", (Text){0}, slice_of_text(name));
    add_number(out, "GNU.sparse.realsize", size);
}

/* size: of what the archive holds of it. */
static void extended(Buf *out, const Entry *entry, Text name, bool sparse, uint64_t size)
{
    if (name.len > NAME_FITS && !sparse)
        add_record(out, "path", (Text){0}, slice_of_text(name));
    if (entry->link.len > NAME_FITS)
        add_record(out, "linkpath", (Text){0}, slice_of_text(entry->link));
    if (size >= 1ull << 33)
        add_number(out, "size", size);
    if (entry->uid > OCTAL_7)
        add_number(out, "uid", entry->uid);
    if (entry->gid > OCTAL_7)
        add_number(out, "gid", entry->gid);
    if (entry->user.len > 31)
        add_record(out, "uname", (Text){0}, slice_of_text(entry->user));
    if (entry->group.len > 31)
        add_record(out, "gname", (Text){0}, slice_of_text(entry->group));
    add_mtime(out, entry->mtime_ns);
    for (size_t i = 0; i < entry->attribute_count; i++)
        add_record(out, "SCHILY.xattr.", entry->attributes[i].name, entry->attributes[i].value);
}

static char type_of(const Entry *entry)
{
    switch (entry->type) {
    case ENTRY_FILE:
    case ENTRY_STREAM:
        return '0';
    case ENTRY_HARDLINK:
        return '1';
    case ENTRY_SYMLINK:
        return '2';
    case ENTRY_CHARDEV:
        return '3';
    case ENTRY_BLOCKDEV:
        return '4';
    case ENTRY_DIRECTORY:
        return '5';
    case ENTRY_FIFO:
        return '6';
    default:
        return 0; /* sockets: tar has none */
    }
}

static bool put_extended(PlainTar *tar, const Buf *records, Err *err)
{
    Header h = {.type = 'x', .name = TEXT("pax_header"), .mode = 0600, .size = records->len};
    return put_header(tar, &h, err) && put(tar, records->at, records->len, err) &&
           pad(tar, records->len, err);
}

/* --- holes ---------------------------------------------------------------------------------- */

static void end_run(Holes *holes)
{
    uint64_t at = (holes->run_at + BLOCK - 1) / BLOCK * BLOCK;
    uint64_t end = (holes->run_at + holes->run_len) / BLOCK * BLOCK;
    holes->run_len = 0;
    if (end < at + holes->least)
        return;
    holes->full |= holes->count == HOLES_MOST;
    if (holes->full)
        return;
    holes->rows[holes->count++] = (Hole){at, end - at};
    holes->total += end - at;
}

static bool add_run(void *ctx, uint64_t offset, uint64_t length, Err *err)
{
    Holes *holes = ctx;
    (void)err;
    if (holes->run_len == 0 || holes->run_at + holes->run_len != offset) {
        end_run(holes);
        holes->run_at = offset;
    }
    holes->run_len += length;
    return true;
}

/* The longest holes of a content, as many as there is room for. */
static bool find_holes(PlainTar *tar, const ReaderContent *content, Err *err)
{
    Holes *holes = &tar->holes;
    holes->least = HOLE_LEAST;
    if (holes->rows == NULL)
        holes->rows = mem_array(Hole, HOLES_MOST);
    do {
        holes->count = holes->next = 0;
        holes->total = holes->run_len = 0;
        holes->full = false;
        if (!reader_content_zeros(tar->reader, content, add_run, holes, err))
            return false;
        end_run(holes);
        holes->least *= 4;
    } while (holes->full);
    return true;
}

/* "3\n0\n512\n…": how many pieces of data there are, where each begins, how long it is. */
static void add_map(const Holes *holes, uint64_t size, Buf *out)
{
    uint64_t at = 0;
    buf_printf(out, "%zu\n", holes->count + 1);
    for (size_t i = 0; i <= holes->count; i++) {
        uint64_t end = i == holes->count ? size : holes->rows[i].at;
        buf_printf(out, "%llu\n%llu\n", (unsigned long long)at, (unsigned long long)(end - at));
        at = i == holes->count ? end : holes->rows[i].at + holes->rows[i].len;
    }
    size_t rest = (BLOCK - out->len % BLOCK) % BLOCK;
    memset(buf_extend(out, rest), 0, rest);
}

static bool take_data(void *ctx, Slice bytes, Err *err)
{
    PlainTar *tar = ctx;
    tar->written += bytes.len;
    return put(tar, bytes.at, bytes.len, err);
}

static bool take_zeros(void *ctx, uint64_t count, Err *err)
{
    PlainTar *tar = ctx;
    Holes *holes = &tar->holes;
    while (count > 0) {
        const Hole *hole = holes->next < holes->count ? &holes->rows[holes->next] : NULL;
        bool in = hole != NULL && tar->written >= hole->at;
        uint64_t end = hole == NULL ? UINT64_MAX : in ? hole->at + hole->len : hole->at;
        uint64_t some = count < end - tar->written ? count : end - tar->written;
        if (!in && !put(tar, NULL, some, err))
            return false;
        tar->written += some;
        count -= some;
        holes->next += in && tar->written == end;
    }
    return true;
}

/* --- entries -------------------------------------------------------------------------------- */

static Header header_of(const Entry *entry, char type, Text name, uint64_t size)
{
    return (Header){.type = type,
                    .name = name,
                    .link = entry->link,
                    .user = entry->user,
                    .group = entry->group,
                    .mode = entry->mode,
                    .uid = entry->uid,
                    .gid = entry->gid,
                    .major = entry->rdev_major,
                    .minor = entry->rdev_minor,
                    .size = size,
                    .mtime = entry->mtime_ns / 1000000000};
}

static bool put_content(PlainTar *tar, const Entry *entry, const ReaderContent *content, Err *err)
{
    ReaderSink sink = {tar, take_data, take_zeros};
    tar->written = 0;
    return reader_content(tar->reader, content, &sink, err) ||
           err_note(err, "%.*s", TEXT_ARG(entry->path));
}

static bool put_entry(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop,
                      Err *err)
{
    PlainTar *tar = ctx;
    char type = type_of(entry);
    (void)stop;
    if (type == 0)
        return true;
    scoped(buf_free) Buf name = {0}, records = {0}, map = {0};
    buf_add_text(&name, entry->path);
    if (type == '5')
        buf_add_byte(&name, '/');
    uint64_t size = type == '0' ? reader_content_size(content) : 0, held = size;
    tar->holes.count = 0;
    if (size >= HOLE_LEAST && !find_holes(tar, content, err))
        return err_note(err, "%.*s", TEXT_ARG(entry->path));
    bool sparse = tar->holes.count > 0;
    if (sparse) {
        add_map(&tar->holes, size, &map);
        held = map.len + size - tar->holes.total;
        sparse_records(&records, buf_text(&name), size);
    }
    extended(&records, entry, buf_text(&name), sparse, held);
    if (records.len > 0 && !put_extended(tar, &records, err))
        return false;
    Header h =
        header_of(entry, type, sparse ? TEXT("GNUSparseFile.0/file") : buf_text(&name), held);
    tar->entries++;
    return put_header(tar, &h, err) && put(tar, map.at, map.len, err) &&
           (size == 0 || put_content(tar, entry, content, err)) && pad(tar, held, err);
}

static bool open_gzip(PlainTar *tar, Err *err)
{
    tar->packed = mem_resize(NULL, BUFFER);
    if (deflateInit2(&tar->deflater, LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) == Z_OK)
        return true;
    return err_set(err, ERR_FULL, "export.gzip", "no memory for the compressor");
}

bool plain_tar_write(RepoReader *reader, const ReaderSelection *selection, int fd, bool gzip,
                     uint64_t *entries, Err *err)
{
    PlainTar tar = {.reader = reader, .fd = fd, .gzip = gzip, .buffer = mem_resize(NULL, BUFFER)};
    bool good = (!gzip || open_gzip(&tar, err)) &&
                reader_walk(reader, selection, put_entry, &tar, err) &&
                put(&tar, NULL, 2 * BLOCK, err) && flush(&tar, Z_FINISH, err);
    *entries = tar.entries;
    if (gzip)
        deflateEnd(&tar.deflater);
    mem_free(tar.holes.rows);
    mem_free(tar.packed);
    mem_free(tar.buffer);
    return good;
}

bool plain_tar_give(PlainTar *tar, Slice bytes, Err *err)
{
    return take_data(tar, bytes, err);
}

static bool put_file(PlainTar *tar, const PlainTarFile *file, Err *err)
{
    scoped(buf_free) Buf records = {0};
    Entry entry = {.type = ENTRY_FILE, .mode = 0600, .mtime_ns = file->mtime_s * 1000000000};
    Header h = header_of(&entry, '0', file->name, file->size);
    extended(&records, &entry, file->name, false, file->size);
    if ((records.len > 0 && !put_extended(tar, &records, err)) || !put_header(tar, &h, err) ||
        !file->fill(file->ctx, tar, err))
        return false;
    return tar->written == file->size
               ? pad(tar, file->size, err)
               : err_set(err, ERR_BUG, "export.size",
                         "%.*s came with another length than was counted", TEXT_ARG(file->name));
}

bool plain_tar_file(const PlainTarFile *file, int fd, Err *err)
{
    PlainTar tar = {.fd = fd, .gzip = true, .buffer = mem_resize(NULL, BUFFER)};
    bool good = open_gzip(&tar, err) && put_file(&tar, file, err) &&
                put(&tar, NULL, 2 * BLOCK, err) && flush(&tar, Z_FINISH, err);
    deflateEnd(&tar.deflater);
    mem_free(tar.packed);
    mem_free(tar.buffer);
    return good;
}
