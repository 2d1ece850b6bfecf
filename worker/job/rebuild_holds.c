/* SPDX-License-Identifier: Apache-2.0
 * rebuild_holds.c — what must not be deleted, as the store itself says it. */
#include "common/base/mem.h"
#include "worker/job/rebuild_internal.h"

static const int64_t NS_A_S = 1000000000;

typedef struct Said {
    const Rebuild *rebuild;
    const RepoHold *hold;
    bool news;
} Said;

static bool call_hold(Catalog *catalog, void *ctx, Err *err)
{
    Said *said = ctx;
    const RepoHold *hold = said->hold;
    return catalog_rebuild_hold(catalog, &said->rebuild->who, &hold->backup, hold->until_s * NS_A_S,
                                buf_text(&hold->reason), &said->news, err);
}

/* A hold that was released is of no more use; what nobody with that right said is told. */
static bool take_hold(Rebuild *rebuild, const Uuid *id, Err *err)
{
    RepoHold hold = {0};
    SurveyFinding finding;
    Err why = {0};
    char text[BACKUP_ID_TEXT];
    uuid_backup_text(id, text);
    bool fine = survey_hold(rebuild->params->repo, id, &hold, &finding, &why, err);
    if (fine && finding != SURVEY_WHOLE) {
        rebuild_find(rebuild, "hold",
                     "the store has a hold of %s that the prune role did not sign: say it again "
                     "with `holdfast backup hold` if it is to be kept%s%s",
                     text, why.text[0] == 0 ? "" : "; ", why.text);
    } else if (fine && hold.until_s > 0) {
        Said said = {.rebuild = rebuild, .hold = &hold};
        fine = patient_call(rebuild->params->catalog, call_hold, &said, err);
        rebuild->counts.holds += said.news;
    }
    repo_hold_free(&hold);
    return fine;
}

bool rebuild_holds(Rebuild *rebuild, Err *err)
{
    const RebuildParams *params = rebuild->params;
    Uuid *ids = NULL;
    size_t count = 0;
    bool fine = survey_names(params->repo, "holds/", &ids, &count, err);
    for (size_t i = 0; fine && i < count; i++)
        fine =
            params->go_on(params->ctx, "holds", i, count, err) && take_hold(rebuild, &ids[i], err);
    mem_free(ids);
    return fine;
}
