/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/granting.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/secret.h"
#include "common/catalog/catalog_grant.h"
#include "common/codec/keyfile.h"
#include "common/repo/repo_grant.h"
#include "worker/job/opened.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>

/* --- the reader's side ------------------------------------------------------------------------ */

typedef struct Granting {
    Job *job;
    Opened opened;
    GrantWanted wanted;
    Signer host; /* for whom */
    GrantWriter *writer;
    Buf sealed;
    unsigned part;
    size_t at;
} Granting;

static bool call_wanted(Catalog *catalog, void *ctx, Err *err)
{
    Granting *g = ctx;
    buf_clear(&g->wanted.certificate);
    return catalog_grant_wanted(catalog, &g->job->fence, &g->wanted, err);
}

static bool call_put(Catalog *catalog, void *ctx, Err *err)
{
    const Granting *g = ctx;
    size_t left = g->sealed.len - g->at;
    size_t len = left < GRANT_PART ? left : GRANT_PART;
    return catalog_grant_put(catalog, &g->job->fence, g->part, (Slice){g->sealed.at + g->at, len},
                             len == left, err);
}

static bool go_on(void *ctx, Err *err)
{
    const Granting *g = ctx;
    return job_go_on(g->job, err);
}

/* Nothing that the catalogue says of the host is believed: the root says who it is, this worker's
 * own file whether it may be granted anything. */
static bool check_host(Granting *g, Err *err)
{
    scoped(buf_free) Buf certificate = {0};
    const Keyring *keyring = g->opened.session.keyring;
    size_t len = g->wanted.certificate.len / 2;
    if (!ids_unhex(buf_text(&g->wanted.certificate), buf_extend(&certificate, len), len, err) ||
        !keyring_check_certificate(keyring, buf_slice(&certificate), &g->host, err))
        return err_note(err, "the certificate of worker %s", g->wanted.worker);
    if (g->host.revoked != 0)
        return err_set(err, ERR_DENIED, "key.revoked",
                       "the certificate of %s was revoked: it is granted nothing", g->host.host);
    if (strcmp(g->host.role, "write") != 0)
        return err_set(err, ERR_DENIED, "grant.role",
                       "the certificate of %s is of the role %s: a grant needs a writer file there",
                       g->host.host, g->host.role);
    return allow_grant(g->job->settings->allow, text_of(g->host.host), err);
}

static bool seal(Granting *g, Err *err)
{
    GrantFacts facts = {.id = g->wanted.id,
                        .set_id = keyring_set_id(g->opened.session.keyring),
                        .backup = g->opened.row.backup,
                        .until_s = g->wanted.until_s};
    memcpy(facts.host, g->host.host, sizeof facts.host);
    return grant_seal(g->writer, &facts, g->host.box_public, &g->sealed, err);
}

static bool put_all(Granting *g, Err *err)
{
    do {
        if (!job_go_on(g->job, err) || !patient_call(g->job->catalog, call_put, g, err))
            return false;
        g->part++;
        g->at += GRANT_PART;
    } while (g->at < g->sealed.len);
    return true;
}

static bool make(Granting *g, Err *err)
{
    if (!patient_call(g->job->catalog, call_wanted, g, err) ||
        !opened_open(&g->opened, g->job, err) || !check_host(g, err))
        return false;
    job_phase(g->job, "grant");
    g->writer = grant_writer_new();
    return repo_grant(g->opened.session.repo, g->opened.locator, g->opened.reader,
                      &g->opened.row.backup, g->writer, go_on, g, err) &&
           seal(g, err) && put_all(g, err);
}

bool granting_run(Job *job, JobResult *result, Err *err)
{
    Granting g = {.job = job};
    char id[UUID_TEXT];
    bool fine = make(&g, err);
    if (fine) {
        uuid_text(&g.wanted.id, id);
        result->answer =
            json_pack("{s:s, s:s, s:s, s:I, s:I}", "grant", id, "worker", g.wanted.worker, "host",
                      g.host.host, "keys", (json_int_t)grant_count(g.writer), "until",
                      (json_int_t)g.wanted.until_s);
        snprintf(result->text, sizeof result->text, "%zu keys for %s", grant_count(g.writer),
                 g.host.host);
        job_log(job, LOG_INFO, "grant.made", "%s: %s", id, result->text);
    }
    grant_writer_free(g.writer);
    opened_close(&g.opened);
    buf_free(&g.wanted.certificate);
    buf_free(&g.sealed);
    return fine;
}

/* --- the host's side -------------------------------------------------------------------------- */

typedef struct Taking {
    const Fence *fence;
    Buf sealed;
} Taking;

static bool call_take(Catalog *catalog, void *ctx, Err *err)
{
    Taking *taking = ctx;
    buf_clear(&taking->sealed);
    return catalog_grant_take(catalog, taking->fence, &taking->sealed, err);
}

bool granting_named(const Job *job)
{
    return json_text_or(job->params, "grant", TEXT("")).len > 0;
}

bool granting_take(Job *job, Keyring *keyring, Err *err)
{
    Taking taking = {.fence = &job->fence};
    Uuid grant, backup;
    if (!uuid_parse(json_text_or(job->params, "grant", TEXT("")), &grant, err) ||
        !uuid_parse(json_text_or(job->params, "backup", TEXT("")), &backup, err))
        return err_note(err, "which grant, of which backup");
    bool fine = patient_call(job->catalog, call_take, &taking, err) &&
                keyring_take_grant(keyring, buf_slice(&taking.sealed), &grant, &backup,
                                   (int64_t)time(NULL), err);
    buf_free(&taking.sealed);
    return fine;
}

/* --- what a worker shows of itself ------------------------------------------------------------ */

static bool certificate_of(const char *directory, const char *name, Buf *hex)
{
    char path[PATH_MAX];
    Secret *bytes = NULL;
    WriterFile file = {0};
    Err ignored = {0};
    snprintf(path, sizeof path, "%s/%s", directory, name);
    bool done = secret_read_bytes(path, &bytes, &ignored) &&
                keyfile_writer_unpack(secret_slice(bytes), &file, &ignored);
    for (size_t i = 0; done && i < file.certificate.len; i++)
        buf_printf(hex, "%02x", file.certificate.at[i]);
    keyfile_writer_wipe(&file);
    secret_free(bytes);
    return done;
}

json_t *granting_certificates(const JobSettings *settings)
{
    static const char suffix[] = ".writer";
    json_t *out = json_object();
    DIR *directory = settings->keys == NULL ? NULL : opendir(settings->keys);
    for (const struct dirent *one; directory != NULL && (one = readdir(directory)) != NULL;) {
        size_t len = strlen(one->d_name), end = sizeof suffix - 1;
        scoped(buf_free) Buf hex = {0};
        char set[NAME_MAX + 1];
        if (one->d_name[0] == '.' || len <= end || strcmp(one->d_name + len - end, suffix) != 0 ||
            !certificate_of(settings->keys, one->d_name, &hex))
            continue;
        snprintf(set, sizeof set, "%.*s", (int)(len - end), one->d_name);
        json_object_set_new(out, set, json_string(buf_cstr(&hex)));
    }
    if (directory != NULL)
        closedir(directory);
    return out;
}
