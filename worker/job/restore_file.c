/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/restore_file.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/job/apps.h"
#include "worker/job/ceiling.h"
#include "worker/job/counts.h"
#include "worker/job/restore.h"
#include "worker/job/safety.h"
#include "worker/job/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct RestoreFile {
    Job *job;
    char *path;
    int fd;
    uint64_t bytes;
    Unpack *unpack;
    const Engine *engine;
    json_t *request;
    EngineHost host;
    size_t stopped; /* applications */
    bool began;     /* the target may be other than it was */
} RestoreFile;

bool restore_file_asked(const Job *job)
{
    return json_object_get(job->params, "file") != NULL;
}

static void no_issue(void *ctx, const Issue *issue)
{
    (void)ctx;
    (void)issue;
}

/* Where the descriptor really leads, whatever the path was when it was looked at first. */
static bool check_opened(const RestoreFile *file, Err *err)
{
    char link[64], real[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file->fd);
    ssize_t len = readlink(link, real, sizeof real - 1);
    if (len <= 0 || len >= (ssize_t)sizeof real - 1)
        return err_set_sys(err, ERR_IO, "file.open", "looking where %s leads", file->path);
    real[len] = '\0';
    return allow_restore_file(file->job->settings->allow, real, err);
}

static bool open_it(RestoreFile *file, Err *err)
{
    struct stat is;
    if (!allow_restore_file(file->job->settings->allow, file->path, err))
        return false;
    /* Without waiting: a pipe that nobody writes is opened at once, and refused. */
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd < 0 || fstat(file->fd, &is) != 0)
        return err_set_sys(err, err_code_of_errno(errno), "file.open",
                           "cannot open %s on host %s: is it there, and may the worker read it?",
                           file->path, file->job->settings->host);
    if (!S_ISREG(is.st_mode))
        return err_set(err, ERR_USAGE, "file.open",
                       "%s is no regular file; of a dump in a folder nothing is read", file->path);
    file->bytes = (uint64_t)is.st_size;
    return check_opened(file, err) && unpack_open(&file->unpack, file->fd, file->path, err);
}

static bool open_all(RestoreFile *file, Job *job, Err *err)
{
    Text type = json_text_or(job->source, "type", TEXT(""));
    file->job = job;
    file->fd = -1;
    file->host = job_host(job, no_issue);
    file->path = mem_text(json_text_or(job->params, "file", TEXT("")));
    if (!restore_confirmed(job, err) || !job_engine(job, type, &file->engine, err))
        return false;
    if (file->engine->restore_file == NULL)
        return err_set(err, ERR_USAGE, "file.engine",
                       "no file is restored into a source of type %.*s: into postgresql only",
                       TEXT_ARG(type));
    file->request = json_deep_copy(job->params);
    json_object_del(file->request, "details"); /* of a backup; they would turn the ceiling */
    if (json_object_get(json_object_get(file->request, "target"), "server") != NULL)
        return err_set(err, ERR_USAGE, "file.server",
                       "a file is restored into the source's own server: name a source of the "
                       "other one, and leave target.server out");
    json_object_set_new(file->request, "confirmed",
                        json_boolean(json_bool_or(job->params, "in_place", false)));
    return ceiling_target(job, type, file->request, err) && open_it(file, err);
}

static void close_all(RestoreFile *file)
{
    unpack_close(file->unpack);
    if (file->fd >= 0)
        close(file->fd);
    json_decref(file->request);
    mem_free(file->path);
}

static EngineParams params_of(const RestoreFile *file)
{
    return (EngineParams){.config = json_object_get(file->job->source, "config"),
                          .request = file->request,
                          .host = &file->host,
                          .lanes = 1};
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static void tell_file(const RestoreFile *file, json_t *report)
{
    json_object_set_new(report, "file", json_bytes(slice_of_text(text_of(file->path))));
    json_object_set_new(report, "format", json_string(unpack_format(file->unpack)));
    json_object_set_new(report, "file_bytes", json_integer((json_int_t)file->bytes));
}

bool restore_file_plan(Job *job, JobResult *result, Err *err)
{
    RestoreFile file = {0};
    bool fine = open_all(&file, job, err);
    if (fine) {
        EngineParams params = params_of(&file);
        fine = file.engine->plan(&params, &result->answer, err);
    }
    if (fine) {
        tell_file(&file, result->answer);
        json_object_set_new(result->answer, "source",
                            json_bytes(slice_of_text(job_source_name(job))));
        if (json_object_get(job->params, "safety") != NULL)
            json_object_set_new(result->answer, "first", json_string(SAFETY_FIRST));
    }
    close_all(&file);
    return fine;
}

/* --- go ------------------------------------------------------------------------------------- */

static bool on_read(void *ctx, uint8_t *at, size_t room, size_t *got, Err *err)
{
    RestoreFile *file = ctx;
    return unpack_read(file->unpack, at, room, got, err);
}

/* The server's own program may read the same descriptor: its place says how far. */
static bool on_go_on(void *ctx, Err *err)
{
    const RestoreFile *file = ctx;
    off_t at = lseek(file->fd, 0, SEEK_CUR);
    if (at > 0)
        file->job->counters.bytes_done = (uint64_t)at;
    return job_go_on(file->job, err);
}

static bool go(RestoreFile *file, json_t **report, Err *err)
{
    Job *job = file->job;
    EngineParams params = params_of(file);
    EngineFile dump = {.ctx = file,
                       .name = last_part(file->path),
                       .fd = file->fd,
                       .packed = strcmp(unpack_format(file->unpack), "plain") != 0,
                       .read = on_read,
                       .go_on = on_go_on};
    if (!safety_check(job, err))
        return false;
    CRASHPOINT("restore.opened");
    if (!apps_stop(job, &file->stopped, err))
        return false;
    CRASHPOINT("restore.stopped");
    job_log(job, LOG_INFO, "restore.opened", "%s: %" PRIu64 " bytes, %s", file->path, file->bytes,
            unpack_format(file->unpack));
    job->counters.bytes_total = file->bytes;
    job->counters.total_basis = "plan";
    job_phase(job, "restore");
    file->began = true;
    return file->engine->restore_file(&params, &dump, report, err);
}

static void tell_result(const RestoreFile *file, json_t *report, JobResult *result)
{
    Job *job = file->job;
    scoped(buf_free) Buf said = {0};
    job->counters.bytes_done = file->bytes;
    tell_file(file, report);
    safety_tell(job, report);
    counts_tell(report, &job->counters, 0, false, &said);
    result->answer = report;
    result->outcome = job->counters.errors > 0 ? OUTCOME_PARTIAL : OUTCOME_COMPLETED;
    snprintf(result->text, sizeof result->text, "%s", buf_cstr(&said));
}

bool restore_file_run(Job *job, JobResult *result, Err *err)
{
    RestoreFile file = {0};
    json_t *report = NULL;
    bool fine = open_all(&file, job, err) && go(&file, &report, err);
    if (!apps_start(job, file.stopped))
        job->counters.errors++;
    if (fine)
        tell_result(&file, report, result);
    else if (file.began)
        safety_note(job, err);
    close_all(&file);
    return fine;
}
