/* SPDX-License-Identifier: Apache-2.0 */
#include "common/store/s3_problem.h"

#include <stdio.h>

typedef struct Row {
    const char *server_code; /* NULL: a status alone */
    int status;              /* where the server sent no code, or one that is not here */
    S3Verdict verdict;
    ErrCode code;
    const char *cause;
    const char *next;
} Row;

#define RIGHTS "give its access key the right: put, get and list suffice for backup and restore"
#define KEYS   "correct the store's access_key and secret_key on this host"
#define LATER  "it is tried again later; look at the server if it goes on"
#define ROOM   "free some room or raise the quota; what is stored already stays whole"

/* Codes first, statuses behind them: the first row that fits counts. */
static const Row rows[] = {
    {"NoSuchBucket", 0, S3_GIVE_UP, ERR_UNREACHABLE, "store.gone",
     "the bucket is gone or never was: correct the store's bucket, or make it anew"},
    {"SlowDown", 0, S3_TRY_AGAIN, ERR_UNREACHABLE, "store.busy", LATER},
    {"ServiceUnavailable", 0, S3_TRY_AGAIN, ERR_UNREACHABLE, "store.busy", LATER},
    {"InternalError", 0, S3_TRY_AGAIN, ERR_UNREACHABLE, "store.busy", LATER},
    {"TooManyRequests", 0, S3_TRY_AGAIN, ERR_UNREACHABLE, "store.busy", LATER},
    {"Throttling", 0, S3_TRY_AGAIN, ERR_UNREACHABLE, "store.busy", LATER},
    {"OperationAborted", 0, S3_TRY_AGAIN, ERR_UNREACHABLE, "store.busy", LATER},
    {"ConditionalRequestConflict", 0, S3_TRY_AGAIN, ERR_UNREACHABLE, "store.busy", LATER},
    {"RequestTimeout", 0, S3_TRY_AGAIN, ERR_TIMEOUT, "store.timeout", LATER},
    {"BadDigest", 0, S3_TRY_AGAIN, ERR_CORRUPT, "store.digest",
     "bytes changed on their way: test this host's memory and network"},
    {"XAmzContentSHA256Mismatch", 0, S3_TRY_AGAIN, ERR_CORRUPT, "store.digest",
     "bytes changed on their way: test this host's memory and network"},
    {"IncompleteBody", 0, S3_TRY_AGAIN, ERR_UNREACHABLE, "store.unreachable", LATER},
    {"RequestTimeTooSkewed", 0, S3_GIVE_UP, ERR_UNREACHABLE, "store.clock",
     "this host's clock differs from the server's by more than it allows: set it by NTP"},
    {"InvalidAccessKeyId", 0, S3_NEW_KEYS, ERR_DENIED, "store.credentials", KEYS},
    {"SignatureDoesNotMatch", 0, S3_NEW_KEYS, ERR_DENIED, "store.credentials", KEYS},
    {"InvalidToken", 0, S3_NEW_KEYS, ERR_DENIED, "store.credentials", KEYS},
    {"ExpiredToken", 0, S3_NEW_KEYS, ERR_DENIED, "store.credentials", KEYS},
    {"TokenRefreshRequired", 0, S3_NEW_KEYS, ERR_DENIED, "store.credentials", KEYS},
    {"AuthorizationHeaderMalformed", 0, S3_GIVE_UP, ERR_INVALID, "store.region",
     "correct the store's region"},
    {"PermanentRedirect", 0, S3_GIVE_UP, ERR_INVALID, "store.redirect",
     "no redirect is followed: correct the store's endpoint and region"},
    {"TemporaryRedirect", 0, S3_GIVE_UP, ERR_INVALID, "store.redirect",
     "no redirect is followed: correct the store's endpoint and region"},
    {"QuotaExceeded", 0, S3_GIVE_UP, ERR_FULL, "store.full", ROOM},
    {"EntityTooLarge", 0, S3_GIVE_UP, ERR_FULL, "store.full", ROOM},
    {"InsufficientStorage", 0, S3_GIVE_UP, ERR_FULL, "store.full", ROOM},
    {"InsufficientCapacity", 0, S3_GIVE_UP, ERR_FULL, "store.full", ROOM},
    {"XMinioStorageFull", 0, S3_GIVE_UP, ERR_FULL, "store.full", ROOM},
    {"AccessDenied", 0, S3_NEW_KEYS, ERR_DENIED, "store.denied", RIGHTS},
    {"NoSuchUpload", 0, S3_GIVE_UP, ERR_IO, "store.lost",
     "its upload was aborted meanwhile: another try begins it anew"},
    {"NotImplemented", 0, S3_GIVE_UP, ERR_INVALID, "store.unsupported",
     "the server lacks what the store asks for: `holdfast store test` says what"},
    {"InvalidStorageClass", 0, S3_GIVE_UP, ERR_INVALID, "store.unsupported",
     "the server does not know the store's storage_class"},
    {NULL, 301, S3_GIVE_UP, ERR_INVALID, "store.redirect",
     "no redirect is followed: correct the store's endpoint and region"},
    {NULL, 302, S3_GIVE_UP, ERR_INVALID, "store.redirect",
     "no redirect is followed: correct the store's endpoint"},
    {NULL, 303, S3_GIVE_UP, ERR_INVALID, "store.redirect",
     "no redirect is followed: correct the store's endpoint"},
    {NULL, 307, S3_GIVE_UP, ERR_INVALID, "store.redirect",
     "no redirect is followed: correct the store's endpoint and region"},
    {NULL, 308, S3_GIVE_UP, ERR_INVALID, "store.redirect",
     "no redirect is followed: correct the store's endpoint"},
    {NULL, 401, S3_NEW_KEYS, ERR_DENIED, "store.credentials", KEYS},
    {NULL, 403, S3_NEW_KEYS, ERR_DENIED, "store.denied", RIGHTS},
    {NULL, 408, S3_TRY_AGAIN, ERR_TIMEOUT, "store.timeout", LATER},
    {NULL, 412, S3_GIVE_UP, ERR_CONFLICT, "store.exists", "a name is written once"},
    {NULL, 413, S3_GIVE_UP, ERR_FULL, "store.full", ROOM},
    {NULL, 429, S3_TRY_AGAIN, ERR_UNREACHABLE, "store.busy", LATER},
    {NULL, 501, S3_GIVE_UP, ERR_INVALID, "store.unsupported",
     "the server lacks what the store asks for: `holdfast store test` says what"},
    {NULL, 507, S3_GIVE_UP, ERR_FULL, "store.full", ROOM},
    {NULL, 500, S3_TRY_AGAIN, ERR_UNREACHABLE, "store.busy", LATER}, /* and every other of 5xx */
    {NULL, 0, S3_GIVE_UP, ERR_INVALID, "store.refused",
     "correct the store's settings, or ask who runs the server"},
};

static bool fits(const Row *row, const S3Problem *problem)
{
    if (row->server_code != NULL)
        return strcmp(row->server_code, problem->code) == 0;
    return row->status == 0 || row->status == problem->status ||
           (row->status == 500 && problem->status > 500 && problem->status < 600);
}

static const Row *row_of(const S3Problem *problem)
{
    const Row *row = rows;
    while (!fits(row, problem))
        row++;
    return row;
}

void s3_problem_words(Text text, char *out, size_t room)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len && len + 1 < room; i++) {
        char c = text.at[i];
        out[len++] = c >= ' ' && c < 0x7f ? c : '?';
    }
    out[len] = 0;
}

S3Verdict s3_problem_verdict(const S3Problem *problem)
{
    return row_of(problem)->verdict;
}

bool s3_problem_no_bucket(const S3Problem *problem)
{
    return strcmp(problem->code, "NoSuchBucket") == 0;
}

bool s3_problem_raise(const S3Problem *problem, const char *what, Err *err)
{
    const Row *row = row_of(problem);
    bool silent = problem->code[0] == 0;
    bool elsewhere = problem->region[0] != 0;
    return err_set(err, row->code, row->cause, "%s: the server answers %d%s%s%s%s; %s%s%s", what,
                   problem->status, silent ? "" : " ", problem->code, silent ? "" : ": ",
                   problem->message, row->next, elsewhere ? "; the bucket is in " : "",
                   problem->region);
}
