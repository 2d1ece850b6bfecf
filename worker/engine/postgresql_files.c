/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_files.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/postgresql_manifest.h"
#include "worker/engine/postgresql_pages.h"
#include "worker/engine/postgresql_sum.h"
#include "worker/engine/postgresql_tar.h"
#include "worker/engine/postgresql_versions.h"

#include <inttypes.h>

static const char manifest_name[] = "backup_manifest";

struct PostgresqlFiles {
    PostgresqlBase *base;
    const EngineHost *host;
    PostgresqlManifest *manifest;
    PostgresqlPages *pages;
    PostgresqlFilesCount count;
    PostgresqlBasePiece piece; /* bytes: what is left of it */
    PostgresqlTarHead head;
    bool head_ready;     /* it was read and is not yet an entry */
    bool space_ready;    /* the tablespace's own directory is not yet an entry */
    bool manifest_begun; /* its entry is the current one, or was */
    uint32_t tablespace;
    Buf location;           /* of the tablespace; empty: the data directory */
    json_t *places, *place; /* place: the current one, borrowed */
    uint64_t place_files, place_bytes;
    uint64_t left, skip; /* of the current content; of what pads it */
    uint64_t size;       /* read of the current content */
    uint32_t crc, uid, gid;
    Buf path, note;
};

static bool broken_off(Err *err, const char *path)
{
    return err_set(err, ERR_SOURCE, "source.protocol",
                   "the base backup breaks off within %.160s; run it again", path);
}

/* Until there are bytes, or something that is none. */
static bool fill(PostgresqlFiles *f, Err *err)
{
    while (f->piece.bytes.len == 0 &&
           (f->piece.kind == POSTGRESQL_BASE_DATA || f->piece.kind == POSTGRESQL_BASE_MANIFEST))
        if (!postgresql_base_next(f->base, &f->piece, err))
            return false;
    return true;
}

static void consume(PostgresqlFiles *f, size_t len)
{
    f->piece.bytes.at += len;
    f->piece.bytes.len -= len;
}

static void end_place(PostgresqlFiles *f)
{
    if (f->place == NULL)
        return;
    json_object_set_new(f->place, "files", json_integer((json_int_t)f->place_files));
    json_object_set_new(f->place, "bytes", json_integer((json_int_t)f->place_bytes));
    f->place = NULL;
    f->place_files = f->place_bytes = 0;
}

static bool begin_archive(PostgresqlFiles *f, Err *err)
{
    end_place(f);
    f->tablespace = f->piece.tablespace;
    buf_clear(&f->location);
    buf_add_text(&f->location, f->piece.location);
    f->place = json_object();
    json_array_append_new(f->places, f->place);
    if (f->tablespace != 0) {
        json_object_set_new(f->place, "oid", json_integer(f->tablespace));
        json_object_set_new(f->place, "location", json_bytes(slice_of_text(f->piece.location)));
        f->space_ready = true;
        buf_clear(&f->note);
        json_canonical(f->place, &f->note);
    }
    return postgresql_base_next(f->base, &f->piece, err);
}

static bool skip_padding(PostgresqlFiles *f, Err *err)
{
    while (f->skip > 0) {
        if (!fill(f, err))
            return false;
        if (f->piece.kind != POSTGRESQL_BASE_DATA)
            return broken_off(err, f->head.path);
        size_t part = f->skip < f->piece.bytes.len ? (size_t)f->skip : f->piece.bytes.len;
        consume(f, part);
        f->skip -= part;
    }
    return true;
}

/* The next head of this archive into f->head; *none: the archive is over. */
static bool read_head(PostgresqlFiles *f, bool *none, Err *err)
{
    uint8_t block[POSTGRESQL_TAR_BLOCK];
    do {
        size_t have = 0;
        *none = false;
        while (have < sizeof block) {
            if (!fill(f, err))
                return false;
            if (f->piece.kind != POSTGRESQL_BASE_DATA) {
                *none = have == 0;
                return *none || broken_off(err, "the head of a file");
            }
            size_t part = sizeof block - have;
            part = f->piece.bytes.len < part ? f->piece.bytes.len : part;
            memcpy(block + have, f->piece.bytes.at, part);
            consume(f, part);
            have += part;
        }
        if (!postgresql_tar_head(block, &f->head, err))
            return false;
        /* The only links are those of tablespaces, whose archives say where they lie. */
    } while (f->head.kind == 0 || f->head.kind == 'l');
    return true;
}

/* Goes on until there is something to yield, or the end. */
static bool seek(PostgresqlFiles *f, bool *more, Err *err)
{
    *more = true;
    if (!skip_padding(f, err))
        return false;
    while (!f->head_ready && !f->space_ready) {
        bool none;
        switch (f->piece.kind) {
        case POSTGRESQL_BASE_ARCHIVE:
            if (!begin_archive(f, err))
                return false;
            break;
        case POSTGRESQL_BASE_DATA:
            if (!read_head(f, &none, err))
                return false;
            f->head_ready = !none;
            break;
        case POSTGRESQL_BASE_MANIFEST:
            end_place(f);
            if (!f->manifest_begun)
                return true;
            if (!fill(f, err))
                return false;
            if (f->piece.kind == POSTGRESQL_BASE_MANIFEST)
                return broken_off(err, manifest_name);
            break;
        case POSTGRESQL_BASE_END:
            *more = false;
            return f->manifest_begun ||
                   err_set(err, ERR_SOURCE, "source.manifest",
                           "the base backup came without the manifest that was asked for");
        }
    }
    return true;
}

static bool has_prefix(const char *path, const char *prefix)
{
    return strncmp(path, prefix, strlen(prefix)) == 0;
}

/* Relations, and the little files of pages that say what became of transactions. */
static uint8_t cut_of(const char *path)
{
    static const char *const paged[] = {"pg_xact/", "pg_multixact/", "pg_subtrans/",
                                        "pg_commit_ts/"};
    uint64_t number;
    bool pages = postgresql_pages_relation(text_of(path), &number);
    for (size_t i = 0; i < sizeof paged / sizeof *paged; i++)
        pages = pages || has_prefix(path, paged[i]);
    return pages ? CUT_IMAGE : CUT_DUMP;
}

static void describe(PostgresqlFiles *f, Entry *entry)
{
    const PostgresqlTarHead *head = &f->head;
    const char *path = buf_cstr(&f->path);
    bool control = strcmp(path, "global/pg_control") == 0;
    *entry = (Entry){.path = buf_text(&f->path),
                     .type = head->kind == 'd' ? ENTRY_DIRECTORY : ENTRY_FILE,
                     .mode = head->mode,
                     .uid = head->uid,
                     .gid = head->gid,
                     .mtime_ns = head->mtime_s * INT64_C(1000000000),
                     .size = head->size};
    entry->phase = head->kind == 'd' ? POSTGRESQL_PHASE_MAKE
                   : control         ? POSTGRESQL_PHASE_LAST
                                     : POSTGRESQL_PHASE_FILL;
    if (entry->type == ENTRY_FILE)
        entry->cut = cut_of(path);
    /* Hundreds of small relations lie in every database, and a few of them change. */
    entry->alone = entry->cut == CUT_IMAGE;
}

static void take_path(PostgresqlFiles *f, const char *below)
{
    buf_clear(&f->path);
    if (f->tablespace != 0 && !f->manifest_begun)
        buf_printf(&f->path, "pg_tblspc/%" PRIu32 "%s", f->tablespace, *below == 0 ? "" : "/");
    buf_add_text(&f->path, text_of(below));
}

static void yield_space(PostgresqlFiles *f, Entry *entry)
{
    f->space_ready = false;
    take_path(f, "");
    *entry = (Entry){.path = buf_text(&f->path),
                     .type = ENTRY_DIRECTORY,
                     .phase = POSTGRESQL_PHASE_MAKE,
                     .mode = 0700,
                     .uid = f->uid,
                     .gid = f->gid,
                     .note = buf_text(&f->note)};
}

bool postgresql_files_next(PostgresqlFiles *f, Entry *entry, bool *more, Err *err)
{
    const PostgresqlBaseFacts *facts = postgresql_base_facts(f->base);
    if (!seek(f, more, err))
        return false;
    f->size = 0;
    f->crc = 0;
    if (!*more) {
        postgresql_pages_judge(f->pages, facts->corrupt, facts->notices, f->host,
                               &f->count.wrong_pages);
    } else if (f->space_ready) {
        yield_space(f, entry);
    } else if (f->head_ready) {
        f->head_ready = false;
        take_path(f, f->head.path);
        describe(f, entry);
        f->left = f->head.size;
        if (entry->type == ENTRY_FILE)
            postgresql_pages_begin(f->pages, entry->path, buf_text(&f->location));
    } else {
        f->manifest_begun = true;
        take_path(f, manifest_name);
        *entry = (Entry){.path = buf_text(&f->path),
                         .type = ENTRY_FILE,
                         .cut = CUT_DUMP,
                         .phase = POSTGRESQL_PHASE_FILL,
                         .mode = 0600,
                         .uid = f->uid,
                         .gid = f->gid};
    }
    return true;
}

bool postgresql_files_read(PostgresqlFiles *f, uint8_t *at, size_t room, size_t *got, Err *err)
{
    *got = 0;
    if (!f->manifest_begun && f->left == 0)
        return true;
    if (!fill(f, err))
        return false;
    if (f->manifest_begun && f->piece.kind != POSTGRESQL_BASE_MANIFEST)
        return true;
    if (!f->manifest_begun && f->piece.kind != POSTGRESQL_BASE_DATA)
        return broken_off(err, buf_cstr(&f->path));
    size_t part = f->piece.bytes.len < room ? f->piece.bytes.len : room;
    if (!f->manifest_begun && part > f->left)
        part = (size_t)f->left;
    Slice bytes = {f->piece.bytes.at, part};
    memcpy(at, bytes.at, part);
    if (f->manifest_begun) {
        if (!postgresql_manifest_read(f->manifest, bytes, err))
            return false;
    } else {
        f->crc = postgresql_sum_crc(f->crc, bytes.at, bytes.len);
        postgresql_pages_add(f->pages, bytes);
        f->left -= part;
    }
    consume(f, part);
    f->size += part;
    *got = part;
    return true;
}

bool postgresql_files_end(PostgresqlFiles *f, Entry *entry, Err *err)
{
    if (entry->type != ENTRY_FILE)
        return true;
    entry->size = f->size;
    f->count.files++;
    f->count.bytes += f->size;
    if (f->manifest_begun)
        return postgresql_manifest_end(f->manifest, err);
    if (f->left > 0)
        return err_set(err, ERR_BUG, "source.order", "%s was not read to its end",
                       buf_cstr(&f->path));
    f->skip = postgresql_tar_padding(f->size);
    f->place_files++;
    f->place_bytes += f->size;
    postgresql_pages_end(f->pages);
    postgresql_manifest_came(f->manifest, entry->path, f->size, f->crc);
    return true;
}

bool postgresql_files_open(PostgresqlFiles **out, const PostgresqlBaseParams *params, Err *err)
{
    PostgresqlFiles *f = mem_new(PostgresqlFiles);
    bool more;
    f->host = params->host;
    const PostgresqlVersion *version = postgresql_version_find(params->system->version);
    f->manifest = postgresql_manifest_new();
    if (version != NULL)
        postgresql_manifest_expect(f->manifest, version->manifest, params->system->identifier);
    f->places = json_array();
    f->piece.kind = POSTGRESQL_BASE_DATA; /* and empty: asks for the first one */
    *out = f;
    bool ok = postgresql_base_open(&f->base, params, err);
    if (ok) {
        f->pages = postgresql_pages_new(params->system, postgresql_base_facts(f->base)->start);
        ok = fill(f, err) && seek(f, &more, err);
    }
    if (ok && f->space_ready) { /* its first file is what has an owner */
        f->space_ready = false;
        ok = seek(f, &more, err);
        f->space_ready = true;
    }
    f->uid = f->head.uid;
    f->gid = f->head.gid;
    if (ok)
        return true;
    postgresql_files_close(f);
    *out = NULL;
    return false;
}

const PostgresqlBaseFacts *postgresql_files_facts(const PostgresqlFiles *f)
{
    return postgresql_base_facts(f->base);
}

const PostgresqlFilesCount *postgresql_files_count(const PostgresqlFiles *f)
{
    return &f->count;
}

const json_t *postgresql_files_places(const PostgresqlFiles *f)
{
    return f->places;
}

void postgresql_files_owner(const PostgresqlFiles *f, uint32_t *uid, uint32_t *gid)
{
    *uid = f->uid;
    *gid = f->gid;
}

void postgresql_files_close(PostgresqlFiles *f)
{
    if (f == NULL)
        return;
    postgresql_base_close(f->base);
    postgresql_manifest_free(f->manifest);
    postgresql_pages_free(f->pages);
    json_decref(f->places);
    buf_free(&f->location);
    buf_free(&f->path);
    buf_free(&f->note);
    mem_free(f);
}
