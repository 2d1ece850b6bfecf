/* SPDX-License-Identifier: Apache-2.0
 * survey.h — what a store holds, object by object, for whoever tells a catalogue again.
 * A listing is only a hint: what it does not show is asked for by name before anybody believes that
 * it is gone. Everything that is read is checked (signature, certificate, name); what fails its
 * check is a finding about that object, in *why, and stops nothing. */
#ifndef COMMON_REPO_SURVEY_H
#define COMMON_REPO_SURVEY_H

#include "common/codec/keyring.h"
#include "common/repo/manifest.h"
#include "common/repo/repo.h"
#include "common/repo/repo_audit.h"
#include "common/repo/repo_hold.h"

/* The uuids that name objects of a folder ("index/", "manifests/", "commits/", "forgotten/",
 * "holds/", "audit/"),
 * ascending, each once; freed with mem_free. Other names are passed over. */
MUST_CHECK bool survey_names(Repo *repo, const char *folder, Uuid **ids, size_t *count, Err *err);

typedef enum SurveyFinding {
    SURVEY_ABSENT = 1,
    SURVEY_WHOLE,
    SURVEY_BAD, /* it is there and fails its check: *why says how */
} SurveyFinding;

/* One index object with the packs and chunks that it names. Freed by survey_index_free. */
typedef struct SurveyIndex {
    Uuid object, backup; /* backup: whose session wrote it; nil where the head does not say */
    Sha256 sha256;
    Signer signer;
    PackRow *packs; /* their chunks point into `chunks` */
    size_t pack_count;
    ChunkRow *chunks;
    size_t chunk_count;
} SurveyIndex;
MUST_CHECK bool survey_index(Repo *repo, const Uuid *object, SurveyIndex *out,
                             SurveyFinding *finding, Err *why, Err *err);
void survey_index_free(SurveyIndex *index);

/* A manifest, with what its marker says of it. Freed by survey_backup_free. */
typedef struct SurveyBackup {
    Manifest manifest; /* points into body */
    Sha256 sha256;     /* of the stored manifest */
    Signer signer;     /* zeroed in a plain repository */
    bool marked;       /* and the marker is signed and names this manifest */
    Buf body;
} SurveyBackup;
MUST_CHECK bool survey_backup(Repo *repo, const Uuid *id, SurveyBackup *out, SurveyFinding *finding,
                              Err *why, Err *err);
void survey_backup_free(SurveyBackup *backup);

/* Was the backup forgotten? Only a hand whose certificate has the prune role forgets; what another
 * signed is as if it were not there. */
MUST_CHECK bool survey_forgotten(Repo *repo, const Uuid *id, SurveyFinding *finding, Err *why,
                                 Err *err);

/* Is it held? Only a hand whose certificate has the prune role holds. Freed by repo_hold_free. */
MUST_CHECK bool survey_hold(Repo *repo, const Uuid *id, RepoHold *hold, SurveyFinding *finding,
                            Err *why, Err *err);

/* What checks found, as somebody with the prune role said it. Freed by repo_audit_free. */
MUST_CHECK bool survey_audit(Repo *repo, const Uuid *id, RepoAudit *audit, SurveyFinding *finding,
                             Err *why, Err *err);

/* A pack as the store names it. */
typedef struct SurveyPack {
    Uuid object;
    uint64_t bytes;
} SurveyPack;
/* The packs whose object begins with this byte, ascending; freed with mem_free. */
MUST_CHECK bool survey_packs(Repo *repo, uint8_t first, SurveyPack **packs, size_t *count,
                             Err *err);
/* Is it there, in this length? Asked by name. */
MUST_CHECK bool survey_has_pack(Repo *repo, const Uuid *object, uint64_t bytes, bool *there,
                                Err *err);
/* A pack that no index names, from the table at its end, hashed as a whole. *chunks is freed with
 * mem_free; row->chunks points to it. */
MUST_CHECK bool survey_stray(Repo *repo, const SurveyPack *pack, PackRow *row, ChunkRow **chunks,
                             SurveyFinding *finding, Err *why, Err *err);

#endif
