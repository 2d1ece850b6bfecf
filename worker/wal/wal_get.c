/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/wal/wal_fetch.h"

#include "common/base/mem.h"
#include "common/base/secret.h"
#include "common/codec/keyring.h"
#include "common/store/store_url.h"
#include "worker/engine/postgresql_spool.h"
#include "worker/engine/postgresql_wal_file.h"
#include "worker/wal/wal_control.h"
#include "worker/wal/wal_lay.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char own_folder[] = "holdfast_fetch";

typedef struct Fetch {
    const WalFetch *params;
    PostgresqlWalKind kind;
    uint32_t timeline;
    char system[WAL_SYSTEM];
    const char *name; /* of %p, in: */
    int folder, own;  /* own: what is known, and what was fetched ahead */
    PostgresqlSpool spool;
    bool spooled; /* there is a spool for this cluster */
    Err damaged;  /* what the spool has of it */
    Store *store;
    Keyring *keyring;
    Repo *repo;
    RepoLocator *locator;
    WalKnown known;
} Fetch;

static WalLay lay_of(const Fetch *f)
{
    return (WalLay){f->folder, f->name, f->params->file, f->system};
}

/* --- fetched ahead -------------------------------------------------------------------------- */

/* What lies before what is asked for now was used, or will not be. */
static void tidy_ahead(const Fetch *f)
{
    PostgresqlSpool own = {.fd = f->own, .path = "holdfast_fetch"};
    PostgresqlSpoolNames names;
    Err ignored = {0};
    uint32_t timeline;
    if (!postgresql_spool_list(&own, f->own, &names, &ignored))
        return;
    for (size_t i = 0; i < names.count; i++)
        if (postgresql_wal_kind(text_of(names.at[i]), &timeline) == POSTGRESQL_WAL_SEGMENT &&
            strcmp(names.at[i], f->params->file) < 0)
            (void)unlinkat(f->own, names.at[i], 0);
    postgresql_spool_names_free(&names);
}

static bool take_ahead(const Fetch *f, bool *found, Err *err)
{
    *found = renameat(f->own, f->params->file, f->folder, f->name) == 0;
    if (!*found && errno == ENOENT)
        return true;
    return (*found && fsync(f->folder) == 0) ||
           err_set_sys(err, ERR_IO, "wal.write", "taking %s, which was fetched ahead",
                       f->params->file);
}

/* --- the spool ------------------------------------------------------------------------------ */

static bool open_spool(Fetch *f, Err *err)
{
    const char *root = f->params->spool;
    if (root[0] == '\0' || (!f->params->spool_named && access(root, F_OK) != 0 && errno == ENOENT))
        return true;
    f->spooled = postgresql_spool_open(&f->spool, root, f->system, false, err);
    if (f->spooled || strcmp(err->cause, "wal.no_spool") != 0)
        return f->spooled;
    *err = (Err){0}; /* this cluster never pushed here */
    return true;
}

/* A damaged one may be whole in the repository: then it is no matter. */
static bool take_spooled(Fetch *f, bool *found, Err *err)
{
    const char *file = f->params->file;
    bool history = f->kind == POSTGRESQL_WAL_HISTORY;
    int fd = postgresql_spool_file(&f->spool, history ? f->spool.history : f->spool.fd, file, err);
    *found = fd >= 0;
    if (fd < 0)
        return err->code == ERR_NONE;
    WalLay lay = lay_of(f);
    bool fine = wal_lay_file(&lay, fd, err);
    close(fd);
    if (fine || (err->code != ERR_CORRUPT && err->code != ERR_INVALID))
        return fine;
    f->damaged = *err;
    (void)err_note(&f->damaged, "%s", f->spool.path);
    *found = false;
    *err = (Err){0};
    return true;
}

/* Does something of the same timeline that comes after it wait in the spool? */
static bool spool_behind(const Fetch *f, bool *behind, Err *err)
{
    PostgresqlSpoolNames names;
    const char *file = f->params->file;
    uint32_t timeline;
    *behind = false;
    if (!f->spooled)
        return true;
    if (!postgresql_spool_list(&f->spool, f->spool.fd, &names, err))
        return false;
    for (size_t i = 0; i < names.count; i++)
        *behind = *behind ||
                  (postgresql_wal_kind(text_of(names.at[i]), &timeline) == POSTGRESQL_WAL_SEGMENT &&
                   timeline == f->timeline && strcmp(names.at[i], file) > 0);
    postgresql_spool_names_free(&names);
    return true;
}

/* --- the repository ------------------------------------------------------------------------- */

static bool give_passphrase(void *ctx, Secret **out, Err *err)
{
    return secret_ask(ctx, "", out, err);
}

static bool open_repository(Fetch *f, Err *err)
{
    const WalFetch *p = f->params;
    KeyringPlace place = {p->keys, p->passphrase == NULL ? NULL : give_passphrase,
                          (void *)(uintptr_t)p->passphrase};
    if (!store_url_open(&f->store, p->store, p->key_set, err) ||
        !keyring_open_at(&f->keyring, &place, p->key_set, false, err))
        return false;
    if (!keyring_can_read(f->keyring))
        return err_set(err, ERR_DENIED, "repo.no_reader",
                       "%s/%s.reader is not there, and without it nobody opens what is stored: "
                       "bring it to this host for as long as it recovers, readable by the server's "
                       "user alone, or restore with: holdfast restore %s --until",
                       p->keys, p->key_set, p->source);
    return repo_open(&f->repo, f->store, f->keyring, NULL, err);
}

static bool learn(Fetch *f, Err *err)
{
    char source[WAL_SOURCE_MOST];
    if (snprintf(source, sizeof source, "%s-wal", f->params->source) >= (int)sizeof source)
        return err_set(err, ERR_USAGE, "usage.flag", "--source is too long a name");
    wal_known_load(&f->known, f->own, source, f->system, &repo_facts(f->repo)->id);
    return wal_known_refresh(&f->known, f->repo, err) && wal_known_save(&f->known, f->own, err);
}

static bool lay(Fetch *f, const WalLay *lay, const Uuid *batch, const WalSegment *segment,
                bool *found, Err *err)
{
    if (f->locator == NULL && !locator_open_index(&f->locator, f->repo, NULL, err))
        return false;
    return wal_lay_stored(lay, f->repo, f->locator, batch, segment, found, err);
}

/* Whatever hinders it is met again, with a name, when that file is asked for. */
static void fetch_ahead(Fetch *f, const WalSegment *after)
{
    WalSegment next, one = *after;
    for (uint64_t left = f->params->ahead; left >= one.segment_bytes;
         left -= one.segment_bytes, one = next) {
        char name[POSTGRESQL_WAL_NAME];
        Err ignored = {0};
        bool found;
        postgresql_wal_name(one.timeline, one.start + one.segment_bytes, one.segment_bytes, name);
        WalLay into = {f->own, name, name, f->system};
        if (!wal_known_find(&f->known, name, &next) ||
            next.end != next.start + next.segment_bytes ||
            next.segment_bytes != one.segment_bytes ||
            !lay(f, &into, &next.batch, &next, &found, &ignored))
            return;
    }
}

static bool take_segment(Fetch *f, bool *found, Err *err)
{
    WalSegment segment;
    WalLay into = lay_of(f);
    *found = wal_known_find(&f->known, f->params->file, &segment);
    if (!*found)
        return true;
    if (!lay(f, &into, &segment.batch, &segment, found, err))
        return false;
    if (segment.end == segment.start + segment.segment_bytes)
        fetch_ahead(f, &segment);
    return true;
}

/* A batch that was full before it came to the server's own timeline has no file of it. */
static bool take_history(Fetch *f, bool *found, Err *err)
{
    WalLay into = lay_of(f);
    Uuid batch;
    *found = false;
    for (unsigned n = 0; !*found && wal_known_history(&f->known, f->timeline, n, &batch); n++)
        if (!lay(f, &into, &batch, NULL, found, err))
            return false;
    return true;
}

/* --- "not there" ---------------------------------------------------------------------------- */

static bool refuse_hole(const Fetch *f, Err *err)
{
    WalSegment later = {0};
    bool behind;
    if (f->kind != POSTGRESQL_WAL_SEGMENT || f->params->standby)
        return true;
    if (wal_known_behind(&f->known, f->params->file, &later))
        return err_set(err, ERR_CORRUPT, "wal.hole",
                       "it is not stored, and %s, which comes after it, is: the log has a hole "
                       "here, or its beginning was let go; holdfast windows %s shows from when to "
                       "when there is none; a standby that has a primary says --standby",
                       later.entry, f->params->source);
    return spool_behind(f, &behind, err) &&
           (!behind ||
            err_set(err, ERR_CORRUPT, "wal.hole",
                    "it is neither stored nor in %s, and a later one waits there", f->spool.path));
}

/* Everybody who could have it was asked. Is there anybody who could not answer? */
static bool refuse_doubt(const Fetch *f, Err *err)
{
    char stored[POSTGRESQL_SPOOL_SHA256] = "", id[BACKUP_ID_TEXT];
    if (f->damaged.code != ERR_NONE) {
        *err = f->damaged;
        return false;
    }
    if (uuid_is_nil(&f->known.newest) && uuid_is_nil(&f->known.unreadable))
        return err_set(err, ERR_MISSING, "wal.no_log",
                       "%s holds no log of %s of the cluster %s: is it the right store, key set "
                       "and source? holdfast-worker once list --source %s shows what there is",
                       f->params->store, f->params->source, f->system, f->known.source);
    if (f->spooled && f->kind == POSTGRESQL_WAL_SEGMENT &&
        !postgresql_spool_stored(&f->spool, f->params->file, stored, err))
        return false;
    if (stored[0] != '\0' && !f->params->standby)
        return err_set(err, ERR_BUSY, "wal.not_found",
                       "%s/stored says that it was stored, and %s has it not, or not yet: is it "
                       "the right store, and is the log of %s in it?",
                       f->spool.path, f->params->store, f->params->source);
    if (wal_known_blind(&f->known)) {
        uuid_backup_text(&f->known.unreadable, id);
        *err = f->known.unreadable_as;
        return err_note(err, "it may be in %s, which does not open", id);
    }
    return refuse_hole(f, err);
}

/* --- all of it ------------------------------------------------------------------------------ */

static bool open_folders(Fetch *f, const char *folder, Err *err)
{
    f->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool fine = f->folder >= 0 && (mkdirat(f->folder, own_folder, 0700) == 0 || errno == EEXIST) &&
                (f->own = openat(f->folder, own_folder,
                                 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) >= 0;
    return fine || err_set_sys(err, ERR_IO, "wal.write", "making %s/%s", folder, own_folder);
}

static bool fetch(Fetch *f, const char *folder, bool *found, Err *err)
{
    uint64_t system;
    if (!wal_control_system(folder, &system, err))
        return false;
    snprintf(f->system, sizeof f->system, "%llu", (unsigned long long)system);
    if (!open_folders(f, folder, err) || !take_ahead(f, found, err))
        return false;
    if (*found)
        return true;
    tidy_ahead(f);
    if (!open_spool(f, err) || (f->spooled && !take_spooled(f, found, err)))
        return false;
    if (*found)
        return true;
    if (!open_repository(f, err) || !learn(f, err) ||
        !(f->kind == POSTGRESQL_WAL_HISTORY ? take_history(f, found, err)
                                            : take_segment(f, found, err)))
        return false;
    return *found || refuse_doubt(f, err);
}

static void close_all(Fetch *f)
{
    wal_known_free(&f->known);
    locator_close(f->locator);
    repo_close(f->repo);
    keyring_close(f->keyring);
    store_close(f->store);
    if (f->spooled)
        postgresql_spool_close(&f->spool);
    if (f->own >= 0)
        close(f->own);
    if (f->folder >= 0)
        close(f->folder);
}

bool wal_fetch(const WalFetch *params, bool *found, Err *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(params->path, '/');
    Fetch f = {.params = params, .folder = -1, .own = -1};
    *found = false;
    f.kind = postgresql_wal_kind(text_of(params->file), &f.timeline);
    if (f.kind == POSTGRESQL_WAL_OTHER)
        return err_set(err, ERR_USAGE, "wal.name",
                       "%.80s is no file of a server's log: restore_command = 'holdfast-worker "
                       "wal-fetch --store PLACE --source NAME %%f %%p'",
                       params->file);
    if (f.kind != POSTGRESQL_WAL_SEGMENT && f.kind != POSTGRESQL_WAL_HISTORY)
        return true; /* no recovery needs it, and none is stored */
    snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int)(slash - params->path),
             slash == NULL ? "." : params->path);
    f.name = slash == NULL ? params->path : slash + 1;
    bool fine = fetch(&f, folder, found, err);
    close_all(&f);
    return fine;
}
