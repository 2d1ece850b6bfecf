/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_manifest.h"

#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { LINE_MOST = 65536, SLOTS_FIRST = 1024 };

typedef struct Came {
    char *path;
    uint64_t size;
    uint32_t crc;
    bool listed;
} Came;

struct PostgresqlManifest {
    Came *files;
    size_t count, room;
    uint32_t *slots; /* by the path's CRC: index + 1 of `files` */
    size_t slot_count;
    Buf line;
    HashSha256 *hash; /* of the lines so far but the one that is being read */
    uint64_t listed;
    int version; /* 0: any */
    char system[24];
    bool head, named; /* the version came, and the system's number */
    bool own_sum;     /* the manifest's own checksum was there and right */
};

PostgresqlManifest *postgresql_manifest_new(void)
{
    PostgresqlManifest *manifest = mem_new(PostgresqlManifest);
    manifest->slot_count = SLOTS_FIRST;
    manifest->slots = mem_array(uint32_t, manifest->slot_count);
    manifest->hash = hash_sha256_new();
    return manifest;
}

void postgresql_manifest_free(PostgresqlManifest *manifest)
{
    if (manifest == NULL)
        return;
    for (size_t i = 0; i < manifest->count; i++)
        mem_free(manifest->files[i].path);
    mem_free(manifest->files);
    mem_free(manifest->slots);
    buf_free(&manifest->line);
    hash_sha256_free(manifest->hash);
    mem_free(manifest);
}

void postgresql_manifest_expect(PostgresqlManifest *manifest, int version, const char *system)
{
    manifest->version = version;
    snprintf(manifest->system, sizeof manifest->system, "%s", system);
}

/* FNV-1a; paths are the server's own, nobody chooses them to collide. */
static size_t slot_of(const PostgresqlManifest *manifest, Text path)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < path.len; i++)
        hash = (hash ^ (uint8_t)path.at[i]) * UINT64_C(0x100000001B3);
    size_t at = (size_t)(hash ^ hash >> 32) & (manifest->slot_count - 1);
    while (manifest->slots[at] != 0 &&
           !text_equal(text_of(manifest->files[manifest->slots[at] - 1].path), path))
        at = (at + 1) & (manifest->slot_count - 1);
    return at;
}

void postgresql_manifest_came(PostgresqlManifest *manifest, Text path, uint64_t size, uint32_t crc)
{
    if (manifest->count == manifest->room) {
        manifest->room = manifest->room == 0 ? 256 : manifest->room * 2;
        manifest->files = mem_resize(manifest->files, manifest->room * sizeof *manifest->files);
    }
    manifest->files[manifest->count++] = (Came){mem_text(path), size, crc, false};
    if (manifest->count * 2 > manifest->slot_count) {
        mem_free(manifest->slots);
        manifest->slot_count *= 2;
        manifest->slots = mem_array(uint32_t, manifest->slot_count);
        for (size_t i = 0; i < manifest->count; i++)
            manifest->slots[slot_of(manifest, text_of(manifest->files[i].path))] = (uint32_t)i + 1;
        return;
    }
    manifest->slots[slot_of(manifest, path)] = (uint32_t)manifest->count;
}

static bool differs(Err *err, const char *path, const char *how)
{
    return err_set(err, ERR_SOURCE, "source.manifest",
                   "the base backup does not hold what the server's manifest says: %.160s %s; run "
                   "it again, and look at the server's disk and the network if it stays",
                   path, how);
}

/* "0a1b2c3d", the four bytes as they lie in the server's memory, of either byte order. */
static bool same_crc(const char *said, uint32_t crc)
{
    char *end = NULL;
    unsigned long value = strtoul(said, &end, 16);
    return strlen(said) == 8 && *end == 0 && (value == crc || value == __builtin_bswap32(crc));
}

static bool unhex(Text hex, Buf *out)
{
    if (hex.len % 2 != 0)
        return false;
    for (size_t i = 0; i < hex.len; i += 2) {
        char digits[3] = {hex.at[i], hex.at[i + 1], 0}, *end = NULL;
        buf_add_byte(out, (uint8_t)strtoul(digits, &end, 16));
        if (*end != 0)
            return false;
    }
    return true;
}

static bool compare(PostgresqlManifest *manifest, const json_t *row, Err *err)
{
    scoped(buf_free) Buf path = {0};
    Text plain = json_text_or(row, "Path", (Text){0});
    Text hex = json_text_or(row, "Encoded-Path", (Text){0});
    if (plain.at != NULL)
        buf_add_text(&path, plain);
    else if (!unhex(hex, &path))
        return differs(err, "a file", "has a name in no form that is known");
    uint32_t index = manifest->slots[slot_of(manifest, text_of_slice(buf_slice(&path)))];
    const char *name = buf_cstr(&path);
    if (index == 0)
        return differs(err, name, "did not come");
    Came *came = &manifest->files[index - 1];
    if (came->listed)
        return differs(err, name, "is listed twice");
    if (json_u64_or(row, "Size", UINT64_MAX) != came->size)
        return differs(err, name, "has another size");
    Text algorithm = json_text_or(row, "Checksum-Algorithm", TEXT(""));
    if (!text_equal(algorithm, TEXT("CRC32C")))
        return differs(err, name, "has no CRC32C in it, which was asked for");
    if (!same_crc(json_text_or(row, "Checksum", TEXT("")).at, came->crc))
        return differs(err, name, "has another checksum");
    came->listed = true;
    manifest->listed++;
    return true;
}

/* The last line: {"Manifest-Checksum": "…"} of all lines before it. */
static bool own_sum(PostgresqlManifest *manifest, Text line, Err *err)
{
    Sha256 sum;
    char hex[2 * sizeof sum.bytes + 1];
    hash_sha256_end(manifest->hash, &sum);
    for (size_t i = 0; i < sizeof sum.bytes; i++)
        snprintf(hex + 2 * i, 3, "%02x", sum.bytes[i]);
    if (memmem(line.at, line.len, hex, strlen(hex)) == NULL)
        return differs(err, "backup_manifest", "has another checksum than it says itself");
    manifest->own_sum = true;
    return true;
}

static bool begins(Text line, const char *with)
{
    size_t len = strlen(with);
    return line.len >= len && memcmp(line.at, with, len) == 0;
}

/* Its first lines: the version, and the system's number where that has it. */
static bool read_head(PostgresqlManifest *manifest, Text line, Err *err)
{
    static const char version[] = "{ \"PostgreSQL-Backup-Manifest-Version\": ";
    static const char system[] = "\"System-Identifier\": ";
    char wanted[100];
    if (begins(line, version)) {
        snprintf(wanted, sizeof wanted, "%s%d,", version, manifest->version);
        manifest->head = true;
        return begins(line, wanted) ||
               differs(err, "backup_manifest", "is of another version than its server writes");
    }
    if (begins(line, system)) {
        snprintf(wanted, sizeof wanted, "%s%s,", system, manifest->system);
        manifest->named = true;
        return begins(line, wanted) || differs(err, "backup_manifest", "is of another cluster");
    }
    return true;
}

static bool read_line(PostgresqlManifest *manifest, Text line, Err *err)
{
    if (manifest->version > 0 && !read_head(manifest, line, err))
        return false;
    if (begins(line, "\"Manifest-Checksum\""))
        return own_sum(manifest, line, err);
    hash_sha256_add(manifest->hash, slice_of_text(line));
    /* The first file's line begins behind the bracket of the list. */
    size_t from = begins(line, "\"Files\": [") ? strlen("\"Files\": [") : 0;
    while (from < line.len && (line.at[from] == ' ' || line.at[from] == '\n'))
        from++;
    Text row = {line.at + from, line.len - from};
    if (!begins(row, "{ \"Path\"") && !begins(row, "{ \"Encoded-Path\""))
        return true;
    json_error_t problem;
    scoped(json_release) json_t *file =
        json_loadb(row.at, row.len, JSON_DISABLE_EOF_CHECK, &problem);
    if (file == NULL)
        return differs(err, "backup_manifest", "has a line in no form that is known");
    return compare(manifest, file, err);
}

bool postgresql_manifest_read(PostgresqlManifest *manifest, Slice bytes, Err *err)
{
    while (bytes.len > 0) {
        const uint8_t *end = memchr(bytes.at, '\n', bytes.len);
        size_t len = end == NULL ? bytes.len : (size_t)(end + 1 - bytes.at);
        buf_add(&manifest->line, bytes.at, len);
        bytes = (Slice){bytes.at + len, bytes.len - len};
        if (manifest->line.len > LINE_MOST)
            return differs(err, "backup_manifest", "has a line in no form that is known");
        if (end == NULL)
            return true;
        if (!read_line(manifest, buf_text(&manifest->line), err))
            return false;
        buf_clear(&manifest->line);
    }
    return true;
}

bool postgresql_manifest_end(PostgresqlManifest *manifest, Err *err)
{
    if (manifest->line.len > 0 && !read_line(manifest, buf_text(&manifest->line), err))
        return false;
    buf_clear(&manifest->line);
    for (size_t i = 0; i < manifest->count; i++)
        if (!manifest->files[i].listed)
            return differs(err, manifest->files[i].path, "came and is not listed");
    if (manifest->version > 0 && (!manifest->head || (manifest->version > 1 && !manifest->named)))
        return differs(err, "backup_manifest", "has no head");
    return manifest->own_sum || differs(err, "backup_manifest", "breaks off");
}

uint64_t postgresql_manifest_files(const PostgresqlManifest *manifest)
{
    return manifest->listed;
}
