/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/once/once_rebuild.h"

#include "common/base/json.h"
#include "common/base/secret.h"
#include "common/store/store_url.h"
#include "worker/job/rebuild.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATIENCE_S = 60 };

static void note(void *ctx, LogLevel level, const char *event, const char *text)
{
    (void)ctx;
    (void)level;
    fprintf(stderr, "%s: %s\n", event, text);
}

static bool step(void *ctx, const char *phase, uint64_t done, uint64_t total, Err *err)
{
    (void)ctx;
    (void)err;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%s: %llu of %llu \r", phase, (unsigned long long)done,
                (unsigned long long)total);
    return true;
}

static bool open_password(const OnceArgs *args, Secret **out, Err *err)
{
    if (args->password_file == NULL)
        return true;
    scoped(json_release) json_t *reference = json_pack("{s:s}", "file", args->password_file);
    SecretScope scope = {.daemon = true};
    return secret_resolve(reference, &scope, out, err);
}

/* What the catalogue is told of a store that it does not know; a policy says the rest. */
static void describe(const OnceArgs *args, Buf *out)
{
    scoped(json_release) json_t *config = NULL;
    char *path = store_url_is_s3(args->store) ? NULL : realpath(args->store, NULL);
    if (path != NULL)
        config = json_pack("{s:s, s:s}", "type", "local", "path", path);
    else
        config = json_pack("{s:s}", "type", "s3");
    free(path);
    json_canonical(config, out);
}

static void show(const OnceArgs *args, const json_t *report)
{
    if (args->json) {
        json_dumpf(report, stdout, JSON_COMPACT);
        putchar('\n');
        return;
    }
    printf("%llu backups came back, %llu were known, %llu had no marker and are whole\n",
           (unsigned long long)json_u64_or(report, "imported", 0),
           (unsigned long long)json_u64_or(report, "known", 0),
           (unsigned long long)json_u64_or(report, "recovered", 0));
    printf("%llu do not open, %llu lack chunks, %llu are lost, %llu were never committed, %llu "
           "gaps\n",
           (unsigned long long)json_u64_or(report, "bad", 0),
           (unsigned long long)json_u64_or(report, "incomplete", 0),
           (unsigned long long)json_u64_or(report, "lost", 0),
           (unsigned long long)json_u64_or(report, "zombies", 0),
           (unsigned long long)json_u64_or(report, "gaps", 0));
    printf("%llu packs, %llu chunks, %llu packs in no index, %llu gone\n",
           (unsigned long long)json_u64_or(report, "packs", 0),
           (unsigned long long)json_u64_or(report, "chunks", 0),
           (unsigned long long)json_u64_or(report, "strays", 0),
           (unsigned long long)json_u64_or(report, "gone", 0));
    printf("Retention and collection stand still until `holdfast retention resume`. Applying the "
           "fleet file brings its sources to life.\n");
}

static bool run(const OnceArgs *args, Repo *repo, Patient *catalog, bool *clean, Err *err)
{
    scoped(buf_free) Buf config = {0};
    scoped(json_release) json_t *report = NULL;
    describe(args, &config);
    RebuildParams params = {
        .repo = repo,
        .catalog = catalog,
        .place = {.store = text_of(args->as),
                  .key_set = strcmp(args->set, "plain") == 0 ? TEXT("") : text_of(args->set),
                  .config = buf_text(&config),
                  .what = text_of(args->verb)},
        .note = note,
        .go_on = step};
    if (!rebuild_store(&params, &report, err))
        return false;
    show(args, report);
    *clean = json_u64_or(report, "bad", 0) + json_u64_or(report, "incomplete", 0) +
                 json_u64_or(report, "lost", 0) + json_u64_or(report, "gaps", 0) ==
             0;
    return true;
}

bool once_rebuild(const OnceArgs *args, Repo *repo, bool *clean, Err *err)
{
    scoped(secret_release) Secret *password = NULL;
    Patient *catalog = NULL;
    if (args->catalogue == NULL)
        return err_set(err, ERR_USAGE, "once.catalogue",
                       "which catalogue? Say --catalogue CONNINFO, as its administrator, after "
                       "holdfast-scheduler migrate");
    if (!open_password(args, &password, err))
        return false;
    PatientParams params = {.conninfo = args->catalogue,
                            .password = password,
                            .application = "holdfast-worker once",
                            .patience_s = PATIENCE_S};
    bool fine = patient_open(&catalog, &params, err) && run(args, repo, catalog, clean, err);
    patient_close(catalog);
    return fine;
}
