/* SPDX-License-Identifier: Apache-2.0
 * reseal_objects.c — what is no pack and is sealed to readers. A manifest is signed by the host
 * that made the backup, and its hash stands in its marker, in the next manifest and in the
 * catalogue: so it stays what it was and is sealed once more as it is. So are records of checks. A
 * hold may be said again at this very moment: whoever does that does it, by a job. */
#include "worker/job/reseal.h"

#include "common/base/crashpoint.h"
#include "common/base/mem.h"
#include "common/repo/repo_collect.h"
#include "common/repo/sealed_to.h"
#include "common/repo/survey.h"
#include "common/repo/wrap.h"

#include <inttypes.h>

enum { HOLDS_AT_ONCE = 500, NAME = 64 };

typedef struct Objects {
    Session *session;
    Job *job;
    ResealCounts *counts;
    uint8_t readers[DISK_READERS_MOST][16];
    unsigned reader_count;
    const char *folder; /* "manifests/" */
    Uuid holds[HOLDS_AT_ONCE];
    size_t hold_count;
    uint64_t jobs;
} Objects;

/* What is wrong with one object is told, and costs the others nothing. */
static bool about_it(Objects *o, const char *name, Err *err)
{
    if (err->code == ERR_MISSING)
        return *err = (Err){0}, true; /* it was forgotten meanwhile */
    if (err->code != ERR_CORRUPT && err->code != ERR_INVALID)
        return false;
    o->counts->left_objects++;
    job_log(o->job, LOG_WARN, "reseal.unreadable", "%s stays as it is: %s", name, err->text);
    *err = (Err){0};
    return true;
}

static bool is_under_others(const Objects *o, const char *name, bool *others, Err *err)
{
    SealedTo sealed;
    *others = false;
    if (!sealed_to_read(o->session->store, name, &sealed, err))
        return false;
    *others = sealed_to_others(&sealed, (const uint8_t(*)[16])o->readers, o->reader_count);
    return true;
}

/* A manifest that was forgotten while it was sealed must not come back. */
static bool take_back(const Objects *o, const char *name, const Uuid *id, Err *err)
{
    bool gone = false;
    uint64_t size;
    char text[UUID_TEXT], forgotten[NAME];
    if (strcmp(o->folder, "manifests/") != 0)
        return true;
    uuid_text(id, text);
    snprintf(forgotten, sizeof forgotten, "forgotten/%s", text);
    return store_head(o->session->store, forgotten, &gone, &size, err) &&
           (!gone || store_remove(o->session->store, name, err));
}

static bool seal_again(Objects *o, const char *name, const Uuid *id, Err *err)
{
    scoped(buf_free) Buf stored = {0}, wrapped = {0};
    const Keyring *keyring = o->session->keyring;
    bool found = false;
    if (!store_get(o->session->store, name, DISK_OBJECT_MOST * 2u, &found, &stored, err))
        return false;
    if (!found)
        return true;
    if (!wrap_strip(keyring, &stored, err) ||
        !wrap_pack(keyring, buf_slice(&stored), &wrapped, err) ||
        !store_replace(o->session->store, name, buf_slice(&wrapped), err))
        return false;
    o->counts->objects++;
    CRASHPOINT("reseal.object");
    return take_back(o, name, id, err);
}

typedef struct Say {
    Objects *objects;
    uint64_t jobs;
} Say;

static bool call_holds(Catalog *catalog, void *ctx, Err *err)
{
    Say *say = ctx;
    const Objects *o = say->objects;
    return catalog_reseal_holds(catalog, &o->job->fence, o->holds, o->hold_count, &say->jobs, err);
}

static bool say_holds(Objects *o, Err *err)
{
    Say say = {.objects = o};
    if (o->hold_count == 0)
        return true;
    if (!patient_call(o->job->catalog, call_holds, &say, err))
        return false;
    o->counts->objects += say.jobs;
    o->counts->left_objects += o->hold_count - say.jobs;
    o->hold_count = 0;
    return true;
}

static bool take(Objects *o, const Uuid *id, Err *err)
{
    char text[UUID_TEXT], name[NAME];
    bool others = false;
    uuid_text(id, text);
    snprintf(name, sizeof name, "%s%s", o->folder, text);
    if (!is_under_others(o, name, &others, err))
        return about_it(o, name, err);
    if (!others)
        return true;
    if (strcmp(o->folder, "holds/") != 0)
        return seal_again(o, name, id, err) || about_it(o, name, err);
    o->holds[o->hold_count++] = *id;
    return o->hold_count < HOLDS_AT_ONCE || say_holds(o, err);
}

static bool take_folder(Objects *o, const char *folder, Err *err)
{
    Uuid *ids = NULL;
    size_t count = 0;
    o->folder = folder;
    bool fine = survey_names(o->session->repo, folder, &ids, &count, err);
    for (size_t i = 0; fine && i < count; i++)
        fine = job_go_on(o->job, err) && take(o, &ids[i], err);
    mem_free(ids);
    return fine && say_holds(o, err);
}

bool reseal_objects(Session *session, Job *job, ResealCounts *counts, Err *err)
{
    static const char *const folders[] = {"manifests/", "audit/", "holds/"};
    scoped(mem_release) Objects *o = mem_new(Objects);
    o->session = session;
    o->job = job;
    o->counts = counts;
    o->reader_count = keyring_slots(session->keyring);
    keyring_reader_ids(session->keyring, o->readers);
    job_phase(job, "objects");
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (!take_folder(o, folders[i], err))
            return false;
    job_log(job, LOG_INFO, "reseal.objects",
            "%" PRIu64 " manifests and records sealed to the readers of generation %" PRIu64
            ", %" PRIu64 " stay as they are",
            counts->objects, counts->generation, counts->left_objects);
    return true;
}
