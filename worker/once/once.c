/* SPDX-License-Identifier: Apache-2.0
 * once.c — the offline verbs. */
#include "worker/once/once.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/secret.h"
#include "common/codec/keyring.h"
#include "common/repo/verify.h"
#include "common/store/store_url.h"
#include "worker/engine/engine.h"
#include "worker/engine/postgresql_export.h"
#include "worker/job/feed.h"
#include "worker/job/plain_tar.h"
#include "worker/job/restore.h"
#include "worker/once/once_args.h"
#include "worker/once/once_rebuild.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LANES = 4, EXIT_DAMAGED = 1 };

typedef struct Once {
    OnceArgs args;
    Store *store;
    Keyring *keyring;
    Repo *repo;
    RepoLocator *locator;
    RepoReader *reader;
    uint64_t index_damaged;
    bool tolerant; /* files stand alone: damage to one does not spoil the others */
    atomic_uint_fast64_t entries, bytes, damaged, issues;
} Once;

static bool ask_passphrase(void *ctx, Secret **out, Err *err)
{
    const OnceArgs *args = ctx;
    return secret_ask(args->passphrase, "passphrase of the reader file", out, err);
}

static bool open_repository(Once *once, Err *err)
{
    const OnceArgs *args = &once->args;
    KeyringPlace place = {args->keys, ask_passphrase, &once->args};
    return store_url_open(&once->store, args->store, args->set, err) &&
           keyring_open_at(&once->keyring, &place, args->set, false, err) &&
           repo_open(&once->repo, once->store, once->keyring, NULL, err);
}

static void close_all(Once *once)
{
    reader_close(once->reader);
    locator_close(once->locator);
    repo_close(once->repo);
    keyring_close(once->keyring);
    store_close(once->store);
}

/* --- list and choice ------------------------------------------------------------------------ */

static json_t *json_of(const RepoBackup *backup, bool marked, const Err *why)
{
    char id[BACKUP_ID_TEXT], when[CLOCK_TEXT];
    uuid_backup_text(&backup->id, id);
    if (why != NULL)
        return json_pack("{s:s, s:b, s:s, s:s}", "backup", id, "marked", marked, "cause",
                         why->cause, "problem", why->text);
    clock_rfc3339(backup->consistent_ns, when);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b}", "backup", id, "source",
                     backup->source, "consistent", when, "sequence", (json_int_t)backup->sequence,
                     "entries", (json_int_t)backup->entries, "bytes", (json_int_t)backup->bytes,
                     "issues", (json_int_t)backup->issues, "marked", marked);
}

static bool list_one(void *ctx, const RepoBackup *backup, bool marked, const Err *why, Err *err)
{
    Once *once = ctx;
    (void)err;
    if (once->args.source != NULL && why == NULL && strcmp(once->args.source, backup->source) != 0)
        return true;
    once->entries++;
    once->damaged += why != NULL;
    if (once->args.json) {
        scoped(json_release) json_t *line = json_of(backup, marked, why);
        json_dumpf(line, stdout, JSON_COMPACT);
        putchar('\n');
        return true;
    }
    char id[BACKUP_ID_TEXT], when[CLOCK_TEXT];
    uuid_backup_text(&backup->id, id);
    if (why != NULL) {
        printf("%s  DAMAGED  %s\n", id, why->text);
        return true;
    }
    clock_rfc3339(backup->consistent_ns, when);
    printf("%s  %s  %-20s %10llu entries %12.1f MB%s%s\n", id, when, backup->source,
           (unsigned long long)backup->entries, (double)backup->bytes / 1e6,
           backup->issues > 0 ? "  with issues" : "", marked ? "" : "  not committed");
    return true;
}

static int run_list(Once *once, Err *err)
{
    if (!open_repository(once, err) || !repo_backups(once->repo, list_one, once, err))
        return err_exit_code(err->code);
    return once->damaged > 0 ? EXIT_DAMAGED : 0;
}

typedef struct Choice {
    const OnceArgs *args;
    bool latest;
    Uuid first, last, found;
    unsigned count;
} Choice;

static bool consider(void *ctx, const RepoBackup *backup, bool marked, const Err *why, Err *err)
{
    Choice *choice = ctx;
    (void)err;
    bool source = choice->args->source == NULL ||
                  (why == NULL && strcmp(choice->args->source, backup->source) == 0);
    if (choice->latest ? why != NULL || !marked || !source
                       : uuid_compare(&backup->id, &choice->first) < 0 ||
                             uuid_compare(&backup->id, &choice->last) > 0)
        return true;
    choice->found = backup->id;
    choice->count++;
    return true;
}

static bool choose(Once *once, Uuid *out, Err *err)
{
    Choice choice = {.args = &once->args};
    if (once->args.backup == NULL)
        return err_set(err, ERR_USAGE, "once.backup",
                       "which backup? `once list` shows them; \"latest\" is the newest");
    choice.latest = strcmp(once->args.backup, "latest") == 0;
    if (!choice.latest &&
        !uuid_backup_range(text_of(once->args.backup), &choice.first, &choice.last, err))
        return false;
    if (!repo_backups(once->repo, consider, &choice, err))
        return false;
    *out = choice.found;
    if (choice.count == 1 || (choice.latest && choice.count > 0))
        return true;
    return err_set(err, choice.count == 0 ? ERR_MISSING : ERR_USAGE, "once.backup",
                   choice.count == 0 ? "no backup here is %s; `once list` shows them"
                                     : "several backups begin with %s; say more of it",
                   once->args.backup);
}

static bool open_index(Once *once, Err *err)
{
    if (!locator_open_index(&once->locator, once->repo, &once->index_damaged, err))
        return false;
    if (once->index_damaged > 0)
        fprintf(stderr,
                "holdfast-worker: %llu index objects do not open; what only they name is looked "
                "up in the packs themselves\n",
                (unsigned long long)once->index_damaged);
    return true;
}

static bool open_reader(Once *once, Err *err)
{
    Uuid backup;
    if (!open_repository(once, err) || !choose(once, &backup, err) || !open_index(once, err))
        return false;
    ReaderParams params = {.repo = once->repo, .locator = once->locator, .backup = backup};
    return reader_open(&once->reader, &params, err);
}

/* --- verify --------------------------------------------------------------------------------- */

static void report_damage(void *ctx, const VerifyDamage *damage)
{
    (void)ctx;
    scoped(buf_free) Buf path = {0};
    json_escape_bytes(slice_of_text(damage->path), &path);
    fprintf(stderr, "damaged: %s%s%s\n", buf_cstr(&path), path.len > 0 ? ": " : "",
            damage->why.text);
}

static const VerifyWatch ON_TERMINAL = {.damaged = report_damage};

static bool verify_pack(void *ctx, const PackRow *row, Err *err)
{
    Once *once = ctx;
    bool good;
    Err why;
    if (!verify_stored(once->repo, row, &good, &why, err))
        return false;
    once->entries++;
    once->bytes += row->bytes;
    once->damaged += !good;
    if (!good)
        fprintf(stderr, "damaged: %s\n", why.text);
    return true;
}

/* The head of an index says what a pack must be; without a catalogue all packs are looked at. */
static int verify_all_packs(Once *once, Err *err)
{
    if (!open_repository(once, err) ||
        !locator_open_index(&once->locator, once->repo, &once->index_damaged, err) ||
        !locator_packs(once->locator, verify_pack, once, err))
        return err_exit_code(err->code);
    uint64_t strays = 0;
    if (!locator_strays(once->locator, &strays, err))
        return err_exit_code(err->code);
    printf("%llu packs, %.1f MB: %llu damaged\n", (unsigned long long)once->entries,
           (double)once->bytes / 1e6, (unsigned long long)once->damaged);
    if (strays > 0)
        printf(
            "%llu packs are in no index, so their sha256 is not known: `once verify BACKUP` reads "
            "what a backup needs of them\n",
            (unsigned long long)strays);
    return once->damaged + once->index_damaged > 0 ? EXIT_DAMAGED : 0;
}

static void print_counts(const VerifyCounts *counts)
{
    printf("%llu entries, %llu chunks, %.1f MB: %llu damaged, %llu missing\n",
           (unsigned long long)counts->entries, (unsigned long long)counts->chunks,
           (double)counts->bytes / 1e6, (unsigned long long)counts->damaged,
           (unsigned long long)counts->missing);
}

static bool wanted(const Once *once, const RepoBackup *backup, const Err *why)
{
    return once->args.source == NULL || why != NULL ||
           strcmp(once->args.source, backup->source) == 0;
}

/* A backup that does not open is damage like any other: the next one is looked at. What has no
 * marker is told and counts for nothing: its committer died, or it never had one. */
static bool verify_backup(void *ctx, const RepoBackup *backup, bool marked, const Err *why,
                          Err *err)
{
    Once *once = ctx;
    Err problem = {0};
    VerifyCounts counts = {0};
    char id[BACKUP_ID_TEXT];
    if (!wanted(once, backup, why))
        return true;
    uuid_backup_text(&backup->id, id);
    ReaderParams params = {.repo = once->repo, .locator = once->locator, .backup = backup->id};
    if (why != NULL)
        problem = *why;
    bool good = why == NULL && reader_open(&once->reader, &params, &problem) &&
                verify_content(once->reader, &ON_TERMINAL, &counts, &problem);
    reader_close(once->reader);
    once->reader = NULL;
    if (!good && err_retry(problem.code)) {
        *err = problem;
        return false;
    }
    once->entries += marked;
    once->damaged += marked && (!good || counts.damaged + counts.missing > 0);
    printf("%s  %s", id, marked ? "" : "not committed  ");
    if (good)
        print_counts(&counts);
    else
        printf("DAMAGED  %s\n", problem.text);
    return true;
}

static int verify_all_backups(Once *once, Err *err)
{
    if (!open_repository(once, err) || !open_index(once, err) ||
        !repo_backups(once->repo, verify_backup, once, err))
        return err_exit_code(err->code);
    printf("%llu backups: %llu damaged\n", (unsigned long long)once->entries,
           (unsigned long long)once->damaged);
    return once->damaged > 0 ? EXIT_DAMAGED : 0;
}

static int run_verify(Once *once, Err *err)
{
    VerifyCounts counts;
    if (strcmp(once->args.level, "stored") == 0)
        return verify_all_packs(once, err);
    if (strcmp(once->args.level, "content") != 0) {
        err_set(err, ERR_USAGE, "once.level", "--level is content or stored");
        return err_exit_code(err->code);
    }
    if (once->args.backup != NULL && strcmp(once->args.backup, "all") == 0)
        return verify_all_backups(once, err);
    if (!open_reader(once, err) || !verify_content(once->reader, &ON_TERMINAL, &counts, err))
        return err_exit_code(err->code);
    print_counts(&counts);
    return counts.damaged + counts.missing > 0 ? EXIT_DAMAGED : 0;
}

/* --- restore and export --------------------------------------------------------------------- */

static void on_issue(void *ctx, const Issue *issue)
{
    Once *once = ctx;
    scoped(buf_free) Buf path = {0};
    json_escape_bytes(slice_of_text(issue->path), &path);
    once->issues += issue->kind != ISSUE_NOTE;
    fprintf(stderr, "%s: %.*s\n", buf_cstr(&path), TEXT_ARG(issue->text));
}

static void on_note(void *ctx, const char *event, const char *text)
{
    (void)ctx;
    fprintf(stderr, "%s: %s\n", event, text);
}

static bool on_cancelled(void *ctx)
{
    (void)ctx;
    return false;
}

/* A request's references are resolved from files alone: {"file": P}. */
static bool on_secret(void *ctx, const json_t *reference, Buf *secret, Err *err)
{
    (void)ctx;
    scoped(secret_release) Secret *found = NULL;
    SecretScope scope = {.daemon = true};
    if (!secret_resolve(reference, &scope, &found, err))
        return false;
    buf_add_slice(secret, secret_slice(found));
    return true;
}

static void on_fed(void *ctx, uint64_t bytes, bool entry)
{
    Once *once = ctx;
    once->bytes += bytes;
    once->entries += entry;
}

static void on_damage(void *ctx, Text path, const Err *why)
{
    Once *once = ctx;
    scoped(buf_free) Buf name = {0};
    json_escape_bytes(slice_of_text(path), &name);
    once->damaged++;
    fprintf(stderr, "damaged: %s: %s\n", buf_cstr(&name), why->text);
}

static bool on_go_on(void *ctx, Err *err)
{
    (void)ctx;
    (void)err;
    return true;
}

static bool feed(Once *once, Target *target, json_t **report, Err *err)
{
    ReaderSelection selection = {
        .paths = once->args.paths, .path_count = once->args.path_count, .phase = -1};
    FeedParams params = {.reader = once->reader,
                         .target = target,
                         .selection = &selection,
                         .whole = once->args.path_count == 0,
                         .tolerant = once->tolerant,
                         .ctx = once,
                         .fed = on_fed,
                         .damaged = on_damage,
                         .go_on = on_go_on};
    reader_on_damage(once->reader, on_damage, once);
    return feed_run(&params, err) && target->ops->finish(target, report, err);
}

static bool read_request(const Once *once, json_t **out, Err *err)
{
    const OnceArgs *args = &once->args;
    if (args->request == NULL && args->to == NULL)
        return err_set(err, ERR_USAGE, "once.to", "restore to where? Say --to DIR");
    if (args->request == NULL) {
        unsigned with = args->with;
        *out = json_pack("{s:{s:s}, s:b, s:{s:b, s:b, s:b, s:b}}", "target", "path", args->to,
                         "in_place", (int)args->in_place, "options", "devices",
                         (with & ONCE_DEVICES) != 0, "setuid", (with & ONCE_SETUID) != 0,
                         "security", (with & ONCE_SECURITY) != 0, "numeric_owner",
                         (with & ONCE_NUMERIC_OWNER) != 0);
        return true;
    }
    json_error_t problem;
    *out = json_load_file(args->request, JSON_REJECT_DUPLICATES, &problem);
    if (*out != NULL)
        return true;
    return err_set(err, ERR_INVALID, "once.request", "%s, line %d: %s", args->request, problem.line,
                   problem.text);
}

static int result_of(Once *once, const char *what)
{
    fprintf(stderr, "%s: %llu entries, %.1f MB; %llu damaged, %llu with issues\n", what,
            (unsigned long long)once->entries, (double)once->bytes / 1e6,
            (unsigned long long)once->damaged, (unsigned long long)once->issues);
    return once->damaged + once->issues > 0 ? EXIT_DAMAGED : 0;
}

static bool restore_into(Once *once, const json_t *request, const char *scratch, Err *err)
{
    const char *name = once->args.engine == NULL ? "files" : once->args.engine;
    const Engine *engine = engine_find(text_of(name));
    scoped(json_release) json_t *config = json_object();
    scoped(json_release) json_t *report = NULL;
    EngineHost host = {.ctx = once,
                       .secret = on_secret,
                       .issue = on_issue,
                       .note = on_note,
                       .cancelled = on_cancelled,
                       .scratch = scratch};
    EngineParams params = {.config = config, .request = request, .host = &host, .lanes = LANES};
    Target *target;
    if (engine == NULL)
        return err_set(err, ERR_USAGE, "once.engine", "there is no engine called %s", name);
    if (!engine->open_target(&target, &params, err))
        return false;
    bool good = feed(once, target, &report, err);
    target->ops->close(target);
    return good;
}

static int run_restore(Once *once, Err *err)
{
    once->tolerant = once->args.engine == NULL || strcmp(once->args.engine, "files") == 0;
    scoped(json_release) json_t *request = NULL;
    char scratch[] = "/tmp/holdfast-once.XXXXXX";
    if (!read_request(once, &request, err) || !open_reader(once, err) ||
        !restore_details(once->reader, request, err))
        return err_exit_code(err->code);
    if (mkdtemp(scratch) == NULL) {
        err_set_sys(err, ERR_IO, "once.scratch", "making a temporary directory");
        return err_exit_code(err->code);
    }
    bool good = restore_into(once, request, scratch, err);
    rmdir(scratch);
    return good ? result_of(once, "restored") : err_exit_code(err->code);
}

static bool first_type(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop,
                       Err *err)
{
    (void)content;
    (void)err;
    *(uint8_t *)ctx = entry->type;
    *stop = true;
    return true;
}

static bool export_sql(Once *once, Err *err)
{
    PostgresqlExportParams params = {
        .fd = STDOUT_FILENO, .database = text_of(once->args.database), .all = once->args.all};
    scoped(json_release) json_t *report = NULL;
    Target *target;
    if (!postgresql_export_open(&target, &params, err))
        return false;
    bool good = feed(once, target, &report, err);
    target->ops->close(target);
    if (good && once->damaged > 0)
        return err_set(err, ERR_CORRUPT, "repo.damaged",
                       "the export lacks what is damaged: take another backup");
    return good;
}

static bool export_tar(Once *once, Err *err)
{
    ReaderSelection selection = {
        .paths = once->args.paths, .path_count = once->args.path_count, .phase = -1};
    uint64_t entries;
    bool good = plain_tar_write(once->reader, &selection, STDOUT_FILENO, false, &entries, err);
    once->entries = entries;
    once->bytes = reader_backup(once->reader)->bytes;
    return good;
}

static int run_export(Once *once, Err *err)
{
    uint8_t type = ENTRY_FILE;
    ReaderSelection all = {.phase = -1};
    if (!open_reader(once, err))
        return err_exit_code(err->code);
    if (isatty(STDOUT_FILENO)) {
        err_set(err, ERR_USAGE, "once.terminal",
                "an archive is no use on a terminal: "
                "write it to a file with >");
        return err_exit_code(err->code);
    }
    bool good = reader_walk(once->reader, &all, first_type, &type, err) &&
                (type == ENTRY_STREAM ? export_sql(once, err) : export_tar(once, err));
    return good ? result_of(once, "exported") : err_exit_code(err->code);
}

static int run_rebuild(Once *once, Err *err)
{
    bool clean = false;
    if (!open_repository(once, err) || !once_rebuild(&once->args, once->repo, &clean, err))
        return err_exit_code(err->code);
    return clean ? 0 : EXIT_DAMAGED;
}

int once_main(int argc, char **argv)
{
    static const struct {
        const char *verb;
        int (*run)(Once *once, Err *err);
    } VERBS[] = {{"list", run_list},     {"restore", run_restore}, {"verify", run_verify},
                 {"export", run_export}, {"rebuild", run_rebuild}, {"merge", run_rebuild}};
    Once once = {0};
    Err err = {0};
    int code = -1;
    mem_share_heap();
    if (!once_args_read(&once.args, argc, argv, &err)) {
        code = err_exit_code(err.code);
    } else if (once.args.help) {
        once_args_help();
        return 0;
    }
    for (size_t i = 0; code < 0 && i < sizeof VERBS / sizeof VERBS[0]; i++)
        if (strcmp(VERBS[i].verb, once.args.verb) == 0)
            code = VERBS[i].run(&once, &err);
    if (code < 0) {
        err_set(&err, ERR_USAGE, "once.verb",
                "\"%s\" is not list, restore, verify, export, rebuild or merge", once.args.verb);
        code = err_exit_code(ERR_USAGE);
    }
    if (err.code != ERR_NONE)
        fprintf(stderr, "holdfast-worker: %s (%s)\n", err.text, err.cause);
    close_all(&once);
    return code;
}
