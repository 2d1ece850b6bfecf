/* SPDX-License-Identifier: Apache-2.0
 * rebuild_backups.c — backups: those with a marker, then those without, then the chain of each. */
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/repo/needs.h"
#include "worker/job/rebuild_internal.h"

#include <stdlib.h>

/* What is remembered of a backup to look at the chains in the end. */
typedef struct Link {
    Uuid id, parent; /* parent nil: it says that it has none */
    Sha256 manifest, parent_manifest;
} Link;

/* Without a marker: committed and its committer died just then, or never committed. */
typedef struct Unmarked {
    Uuid id;
    uint64_t attempt;
} Unmarked;

typedef struct Import {
    Rebuild *rebuild;
    Needs *needs;
    RepoLocator *locator;
    Uuid *manifests, *markers, *forgotten, *all; /* names, ascending; all: manifests and markers */
    size_t manifest_count, marker_count, forgotten_count, all_count;
    Link *links;
    size_t link_count, link_room;
    Unmarked *unmarked;
    size_t unmarked_count, unmarked_room;
} Import;

static int compare_uuids(const void *a, const void *b)
{
    return uuid_compare(a, b);
}

static bool is_in(const Uuid *id, const Uuid *sorted, size_t count)
{
    return count > 0 && bsearch(id, sorted, count, sizeof *id, compare_uuids) != NULL;
}

static void link_add(Import *import, const Link *link)
{
    if (import->link_count == import->link_room) {
        import->link_room = import->link_room == 0 ? 1024 : import->link_room * 2;
        import->links = mem_resize(import->links, import->link_room * sizeof import->links[0]);
    }
    import->links[import->link_count++] = *link;
}

static void unmarked_add(Import *import, const SurveyBackup *backup)
{
    if (import->unmarked_count == import->unmarked_room) {
        import->unmarked_room = import->unmarked_room == 0 ? 64 : import->unmarked_room * 2;
        import->unmarked =
            mem_resize(import->unmarked, import->unmarked_room * sizeof import->unmarked[0]);
    }
    import->unmarked[import->unmarked_count++] =
        (Unmarked){backup->manifest.backup, backup->manifest.origin.attempt};
}

/* --- one backup ----------------------------------------------------------------------------- */

typedef struct Tell {
    const Rebuild *rebuild;
    RebuildBackup row;
    RebuildAnswer answer;
    char why[256];
} Tell;

static bool call_tell(Catalog *catalog, void *ctx, Err *err)
{
    Tell *tell = ctx;
    return catalog_rebuild_backup(catalog, &tell->rebuild->who, &tell->row, &tell->answer,
                                  tell->why, err);
}

static void note_answer(Import *import, const SurveyBackup *backup, const Tell *tell,
                        uint64_t missing)
{
    RebuildCounts *counts = &import->rebuild->counts;
    const Manifest *m = &backup->manifest;
    char id[BACKUP_ID_TEXT];
    uuid_backup_text(&m->backup, id);
    counts->imported += tell->answer == REBUILD_IMPORTED;
    counts->recovered += tell->answer == REBUILD_RECOVERED;
    counts->known += tell->answer == REBUILD_KNOWN;
    counts->zombies += tell->answer == REBUILD_ZOMBIE;
    if (tell->answer == REBUILD_ZOMBIE) {
        rebuild_find(import->rebuild, "zombie", "%s of %.*s was never committed and is left: %s",
                     id, TEXT_ARG(m->source), tell->why);
        return;
    }
    if (tell->answer == REBUILD_RECOVERED)
        rebuild_find(import->rebuild, "recovered", "%s of %.*s had no marker and is whole", id,
                     TEXT_ARG(m->source));
    if (missing > 0 && tell->answer == REBUILD_IMPORTED) {
        counts->incomplete++;
        rebuild_find(import->rebuild, "incomplete",
                     "%s of %.*s: %llu of its chunks are nowhere; what does not need them restores",
                     id, TEXT_ARG(m->source), (unsigned long long)missing);
    }
    link_add(import, &(Link){.id = m->backup,
                             .parent = m->parent,
                             .manifest = backup->sha256,
                             .parent_manifest = m->parent_manifest});
}

static void note_bad(Import *import, const Uuid *id, const Err *why)
{
    char text[BACKUP_ID_TEXT];
    uuid_backup_text(id, text);
    import->rebuild->counts.bad++;
    rebuild_find(import->rebuild, "backup", "%s: %s", text, why->text);
}

/* Who may write may say anything of a backup, and sign it. It stays where it is. */
static void note_refused(Import *import, const SurveyBackup *backup, const Err *why)
{
    char id[BACKUP_ID_TEXT];
    uuid_backup_text(&backup->manifest.backup, id);
    import->rebuild->counts.bad++;
    rebuild_find(
        import->rebuild, "backup",
        "%s of %.*s, signed by host %s, says what the catalogue does not take; it stays in "
        "the store, `holdfast-worker once restore` reads it: %s",
        id, TEXT_ARG(backup->manifest.source), backup->signer.host, why->text);
}

static bool tell_backup(Import *import, const SurveyBackup *backup, Err *err)
{
    PackSet packs = {0};
    uint64_t missing = 0;
    scoped(buf_free) Buf text = {0};
    if (!needs_of(import->needs, &backup->manifest, &packs, &missing, err)) {
        packset_free(&packs);
        return false;
    }
    /* What a revoked host stored is nobody's to share before a reader has seen it. */
    static const uint8_t nobody[sizeof backup->signer.sign_public];
    const uint8_t *signer = backup->signer.revoked != 0 ? nobody : backup->signer.sign_public;
    scoped(json_release) json_t *facts = rebuild_facts(backup, missing);
    scoped(mem_release) uint64_t *sorted = packset_sorted(&packs);
    json_canonical(facts, &text);
    Tell tell = {.rebuild = import->rebuild,
                 .row = {.id = backup->manifest.backup,
                         .index = backup->manifest.index,
                         .manifest = backup->sha256,
                         .signer = {signer, sizeof backup->signer.sign_public},
                         .pack_nos = sorted,
                         .pack_count = packs.count,
                         .facts = buf_text(&text)}};
    packset_free(&packs);
    Err why = {0};
    if (!patient_call(import->rebuild->params->catalog, call_tell, &tell, &why)) {
        if (!rebuild_refused(&why)) {
            *err = why;
            return false;
        }
        note_refused(import, backup, &why);
        return true;
    }
    note_answer(import, backup, &tell, missing);
    return true;
}

/* --- forgotten ones ------------------------------------------------------------------------- */

typedef struct Ask {
    const Rebuild *rebuild;
    const Uuid *id;
    Text why;
    bool flag;
} Ask;

static bool call_forgotten(Catalog *catalog, void *ctx, Err *err)
{
    Ask *ask = ctx;
    return catalog_rebuild_forgotten(catalog, &ask->rebuild->who, ask->id, &ask->flag, err);
}

/* Forgetting goes before the marker and the manifest, so either may still be there. A record that
 * the prune role did not sign forgets nothing. */
static bool is_forgotten(Import *import, const Uuid *id, bool *yes, Err *err)
{
    SurveyFinding finding;
    Err why = {0};
    if (!survey_forgotten(import->rebuild->params->repo, id, &finding, &why, err))
        return false;
    *yes = finding == SURVEY_WHOLE;
    char text[BACKUP_ID_TEXT];
    uuid_backup_text(id, text);
    if (finding != SURVEY_WHOLE)
        rebuild_find(import->rebuild, "forgotten",
                     "the store has a record that %s was forgotten, which the prune role did not "
                     "sign: it forgets nothing%s%s",
                     text, why.text[0] == 0 ? "" : "; ", why.text);
    import->rebuild->counts.forgotten += *yes;
    return true;
}

/* What the catalogue still has although the store says that it was forgotten. */
static bool forget_known(Import *import, Err *err)
{
    for (size_t i = 0; i < import->forgotten_count; i++) {
        Ask ask = {.rebuild = import->rebuild, .id = &import->forgotten[i]};
        bool yes = false;
        if (!is_forgotten(import, ask.id, &yes, err) ||
            (yes && !patient_call(import->rebuild->params->catalog, call_forgotten, &ask, err)))
            return false;
    }
    return true;
}

/* --- all of them ---------------------------------------------------------------------------- */

typedef struct Known {
    const Rebuild *rebuild;
    const Uuid *ids;
    size_t count;
    bool flags[REBUILD_BATCH];
} Known;

static bool call_known(Catalog *catalog, void *ctx, Err *err)
{
    Known *known = ctx;
    return catalog_rebuild_known(catalog, &known->rebuild->who, known->ids, known->count,
                                 known->flags, err);
}

static bool look_at(Import *import, const Uuid *id, Err *err)
{
    SurveyBackup backup;
    SurveyFinding finding;
    Err why = {0};
    if (is_in(id, import->forgotten, import->forgotten_count)) {
        bool yes = false;
        if (!is_forgotten(import, id, &yes, err) || yes)
            return yes;
    }
    bool fine = survey_backup(import->rebuild->params->repo, id, &backup, &finding, &why, err);
    if (fine && finding == SURVEY_ABSENT) {
        err_set(&why, ERR_CORRUPT, "repo.no_manifest",
                "its marker is there and its manifest is not: put manifests/ back from a copy of "
                "the store");
        note_bad(import, id, &why);
    } else if (fine && finding == SURVEY_BAD) {
        note_bad(import, id, &why);
    } else if (fine) {
        if (why.code != ERR_NONE)
            note_bad(import, id, &why); /* its marker; the backup may be whole */
        if (backup.marked)
            fine = tell_backup(import, &backup, err);
        else
            unmarked_add(import, &backup);
    }
    survey_backup_free(&backup);
    return fine;
}

static bool import_marked(Import *import, Err *err)
{
    const RebuildParams *params = import->rebuild->params;
    for (size_t at = 0; at < import->all_count; at += REBUILD_BATCH) {
        size_t left = import->all_count - at;
        Known known = {.rebuild = import->rebuild,
                       .ids = import->all + at,
                       .count = left < REBUILD_BATCH ? left : REBUILD_BATCH};
        if (!params->go_on(params->ctx, "backups", at, import->all_count, err) ||
            !patient_call(params->catalog, call_known, &known, err))
            return false;
        for (size_t i = 0; i < known.count; i++) {
            import->rebuild->counts.known += known.flags[i];
            if (!known.flags[i] && !look_at(import, &import->all[at + i], err))
                return false;
        }
    }
    return true;
}

/* The highest attempt comes first; of equal ones the newest. */
static int compare_unmarked(const void *a, const void *b)
{
    const Unmarked *left = a, *right = b;
    if (left->attempt != right->attempt)
        return left->attempt < right->attempt ? 1 : -1;
    return uuid_compare(&right->id, &left->id);
}

static bool import_unmarked(Import *import, Err *err)
{
    if (import->unmarked_count > 0)
        qsort(import->unmarked, import->unmarked_count, sizeof import->unmarked[0],
              compare_unmarked);
    for (size_t i = 0; i < import->unmarked_count; i++) {
        SurveyBackup backup;
        SurveyFinding finding;
        Err why = {0};
        bool fine = survey_backup(import->rebuild->params->repo, &import->unmarked[i].id, &backup,
                                  &finding, &why, err);
        if (fine && finding == SURVEY_WHOLE)
            fine = tell_backup(import, &backup, err);
        survey_backup_free(&backup);
        if (!fine)
            return false;
    }
    return true;
}

/* --- what the catalogue has and the store has not -------------------------------------------- */

static bool call_lost(Catalog *catalog, void *ctx, Err *err)
{
    Ask *ask = ctx;
    return catalog_rebuild_lost(catalog, &ask->rebuild->who, ask->id, ask->why, &ask->flag, err);
}

static bool check_known(Import *import, const RebuildKnown *known, Err *err)
{
    const RebuildParams *params = import->rebuild->params;
    bool there = is_in(&known->backup, import->manifests, import->manifest_count);
    char id[BACKUP_ID_TEXT];
    if (!there && !repo_has_manifest(params->repo, &known->backup, &there, err))
        return false;
    link_add(import, &(Link){.id = known->backup, .manifest = known->manifest});
    if (there)
        return true;
    Ask ask = {.rebuild = import->rebuild,
               .id = &known->backup,
               .why = TEXT("its manifest is not in the store")};
    if (!patient_call(params->catalog, call_lost, &ask, err))
        return false;
    uuid_backup_text(&known->backup, id);
    import->rebuild->counts.lost++;
    rebuild_find(import->rebuild, "lost",
                 "%s is in the catalogue, its manifest is not in the store any more: restore "
                 "another, or put it back from a copy of the store",
                 id);
    return true;
}

typedef struct Page {
    const Rebuild *rebuild;
    Uuid after;
    RebuildKnown rows[REBUILD_BATCH];
    size_t count;
} Page;

static bool call_page(Catalog *catalog, void *ctx, Err *err)
{
    Page *page = ctx;
    return catalog_rebuild_backups(catalog, &page->rebuild->who, &page->after, REBUILD_BATCH,
                                   page->rows, &page->count, err);
}

/* Before anything is imported: what the catalogue had. */
static bool check_all_known(Import *import, Err *err)
{
    const RebuildParams *params = import->rebuild->params;
    Page *page = mem_new(Page);
    page->rebuild = import->rebuild;
    bool fine;
    do {
        fine = params->go_on(params->ctx, "known", 0, 0, err) &&
               patient_call(params->catalog, call_page, page, err);
        for (size_t i = 0; fine && i < page->count; i++) {
            page->after = page->rows[i].backup;
            fine = check_known(import, &page->rows[i], err);
        }
    } while (fine && page->count == REBUILD_BATCH);
    mem_free(page);
    return fine;
}

/* --- chains --------------------------------------------------------------------------------- */

static int compare_links(const void *a, const void *b)
{
    const Link *left = a, *right = b;
    return uuid_compare(&left->id, &right->id);
}

static const Link *link_of(const Import *import, const Uuid *id)
{
    Link wanted = {.id = *id};
    return bsearch(&wanted, import->links, import->link_count, sizeof wanted, compare_links);
}

/* A backup names the one before it, by id and hash. That one is here, or somebody with the right
 * to forget it said so, or there is a gap. */
static bool check_link(Import *import, const Link *link, Err *err)
{
    const RebuildParams *params = import->rebuild->params;
    char id[BACKUP_ID_TEXT], parent[BACKUP_ID_TEXT];
    if (uuid_is_nil(&link->parent))
        return true;
    const Link *before = link_of(import, &link->parent);
    uuid_backup_text(&link->id, id);
    uuid_backup_text(&link->parent, parent);
    if (before != NULL) {
        if (memcmp(&before->manifest, &link->parent_manifest, sizeof(Sha256)) == 0)
            return true;
        import->rebuild->counts.gaps++;
        rebuild_find(import->rebuild, "chain",
                     "%s was made after a %s that is not the one in the store: compare "
                     "manifests/ with a copy of the store",
                     id, parent);
        return true;
    }
    Known known = {.rebuild = import->rebuild, .ids = &link->parent, .count = 1};
    SurveyFinding finding;
    Err why = {0};
    if (!patient_call(params->catalog, call_known, &known, err) ||
        !survey_forgotten(params->repo, &link->parent, &finding, &why, err))
        return false;
    if (known.flags[0] || finding == SURVEY_WHOLE)
        return true;
    import->rebuild->counts.gaps++;
    rebuild_find(import->rebuild, "chain",
                 "%s was made after %s, which is not in the store, and nothing that the prune "
                 "role signed says that it was forgotten",
                 id, parent);
    return true;
}

static bool check_chains(Import *import, Err *err)
{
    if (import->link_count > 0)
        qsort(import->links, import->link_count, sizeof import->links[0], compare_links);
    for (size_t i = 0; i < import->link_count; i++)
        if (!check_link(import, &import->links[i], err))
            return false;
    return true;
}

/* --- the whole ------------------------------------------------------------------------------ */

static void unite(Import *import)
{
    size_t m = 0, c = 0;
    import->all = mem_array(Uuid, import->manifest_count + import->marker_count);
    while (m < import->manifest_count || c < import->marker_count) {
        int order = m == import->manifest_count ? 1
                    : c == import->marker_count
                        ? -1
                        : uuid_compare(&import->manifests[m], &import->markers[c]);
        import->all[import->all_count++] = order <= 0 ? import->manifests[m] : import->markers[c];
        m += order <= 0;
        c += order >= 0;
    }
}

/* Neither list is believed alone: a manifest or a marker that only one of them shows is asked for
 * by name. */
static bool list_all(Import *import, Err *err)
{
    Repo *repo = import->rebuild->params->repo;
    if (!survey_names(repo, "manifests/", &import->manifests, &import->manifest_count, err) ||
        !survey_names(repo, "commits/", &import->markers, &import->marker_count, err) ||
        !survey_names(repo, "forgotten/", &import->forgotten, &import->forgotten_count, err))
        return false;
    unite(import);
    return true;
}

bool rebuild_backups(Rebuild *rebuild, Err *err)
{
    Import import = {.rebuild = rebuild, .locator = rebuild_locator(rebuild)};
    import.needs = needs_new(rebuild->params->repo, import.locator, rebuild->params->memory_bytes);
    bool fine = list_all(&import, err) && forget_known(&import, err) &&
                check_all_known(&import, err) && import_marked(&import, err) &&
                import_unmarked(&import, err) && check_chains(&import, err);
    needs_free(import.needs);
    locator_close(import.locator);
    mem_free(import.manifests);
    mem_free(import.markers);
    mem_free(import.forgotten);
    mem_free(import.all);
    mem_free(import.links);
    mem_free(import.unmarked);
    return fine;
}
