/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_wal_plan.h"

#include "common/base/mem.h"
#include "worker/engine/postgresql_wal_file.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SEGMENTS_MOST = 256
}; /* of one batch: what is behind by more is caught up with in several */

/* The newest timeline that a file is of. */
static uint32_t newest_timeline(const PostgresqlWalPlan *plan, const PostgresqlSpoolNames *segments,
                                const PostgresqlSpoolNames *histories)
{
    const PostgresqlSpoolNames *const lists[] = {segments, histories};
    uint32_t newest = plan->from_timeline == 0 ? 1 : plan->from_timeline, timeline;
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->count; i++)
            if (postgresql_wal_kind(text_of(lists[l]->at[i]), &timeline) != POSTGRESQL_WAL_OTHER &&
                timeline > newest)
                newest = timeline;
    return newest;
}

/* The line that leads to the newest timeline. Without its file it begins there. */
static bool take_line(PostgresqlWalPlan *plan, const PostgresqlSpoolNames *segments, Err *err)
{
    scoped(buf_free) Buf content = {0};
    PostgresqlSpoolNames histories;
    char name[POSTGRESQL_WAL_FILE];
    if (!postgresql_spool_list(plan->spool, plan->spool->history, &histories, err))
        return false;
    uint32_t newest = newest_timeline(plan, segments, &histories);
    postgresql_spool_names_free(&histories);
    snprintf(name, sizeof name, "%08X.history", newest);
    if (newest > 1 &&
        !postgresql_spool_get(plan->spool, plan->spool->history, name, &content, err) &&
        err->code != ERR_NONE)
        return false;
    plan->line.timeline = newest;
    if (!postgresql_wal_history_parse(&plan->line, newest, buf_text(&content), err))
        return false;
    if (content.len > 0)
        buf_add_slice(&plan->line.histories[plan->line.timeline_count - 1], buf_slice(&content));
    return true;
}

static size_t on_line(const PostgresqlWalPlan *plan, uint32_t timeline)
{
    size_t i = 0;
    while (i < plan->line.timeline_count && plan->line.timelines[i].number != timeline)
        i++;
    return i;
}

/* Where a timeline was left; false: it was not, or that is not known. */
static bool left_at(const PostgresqlWalPlan *plan, uint32_t timeline, uint64_t *at)
{
    size_t i = on_line(plan, timeline);
    if (i + 1 >= plan->line.timeline_count)
        return false;
    *at = plan->line.timelines[i + 1].start;
    return true;
}

static void add_piece(PostgresqlWalPlan *plan, const PostgresqlWalPiece *piece)
{
    plan->pieces = mem_resize(plan->pieces, (plan->count + 1) * sizeof *plan->pieces);
    plan->pieces[plan->count++] = *piece;
}

/* A server that was promoted has the end of the timeline before in its first segment, up to where
 * it left it: of a server that is gone that may be all there is. */
static void borrow_end(PostgresqlWalPlan *plan, const PostgresqlWalPiece *piece, uint32_t timeline,
                       uint64_t *at)
{
    uint64_t left = 0;
    PostgresqlWalPiece end = *piece;
    char name[POSTGRESQL_WAL_NAME];
    if (piece->timeline <= timeline || !left_at(plan, timeline, &left) || left <= *at ||
        *at < piece->start || left >= piece->end)
        return;
    postgresql_wal_name(timeline, piece->start, piece->segment_bytes, name);
    snprintf(end.name, sizeof end.name, "%s.partial", name);
    end.borrowed = true;
    end.timeline = timeline;
    end.end = *at = left;
    add_piece(plan, &end);
}

/* Where the log goes on: false when this piece would leave a second hole in one batch. */
static bool follow(PostgresqlWalPlan *plan, const PostgresqlWalPiece *piece, bool *has,
                   uint32_t *timeline, uint64_t *at)
{
    bool hole = false;
    uint64_t left = 0;
    if (*has && piece->timeline < *timeline)
        return true; /* what came late of a timeline that was left */
    if (*has && *timeline == piece->timeline)
        hole = piece->start > *at;
    else if (*has && on_line(plan, *timeline) == plan->line.timeline_count)
        hole = piece->start > *at;
    else if (*has && left_at(plan, *timeline, &left))
        hole = piece->start > left || left > *at;
    if (hole && plan->gap)
        return false;
    if (hole) {
        plan->gap = true;
        plan->gap_from = *at;
        plan->gap_to =
            left > *at && left < piece->start + piece->segment_bytes ? left : piece->start;
    }
    bool back = *has && *timeline == piece->timeline && piece->end < *at;
    *has = true;
    *timeline = piece->timeline;
    *at = back ? *at : piece->end;
    return true;
}

static bool look_at_file(PostgresqlWalPlan *plan, const char *name, PostgresqlWalPiece *piece,
                         bool *usable, Err *err)
{
    uint8_t head[POSTGRESQL_WAL_HEAD];
    PostgresqlWalHead found;
    struct stat info;
    char system[24];
    PostgresqlWalKind kind = postgresql_wal_kind(text_of(name), &piece->timeline);
    *usable = kind == POSTGRESQL_WAL_SEGMENT || kind == POSTGRESQL_WAL_PARTIAL;
    if (!*usable)
        return true;
    int fd = postgresql_spool_file(plan->spool, plan->spool->fd, name, err);
    if (fd < 0)
        return err->code == ERR_NONE ? (*usable = false, true) : false;
    ssize_t got = pread(fd, head, sizeof head, 0);
    bool fine = got >= 0 && fstat(fd, &info) == 0;
    close(fd);
    if (!fine)
        return err_set_sys(err, ERR_IO, "wal.spool", "reading %s in %s", name, plan->spool->path);
    if (!postgresql_wal_head_parse(text_of(name), (Slice){head, (size_t)got}, &found, err))
        return err_note(err, "%s", plan->spool->path);
    snprintf(system, sizeof system, "%llu", (unsigned long long)found.system);
    if (strcmp(system, plan->system) != 0 || info.st_size != (off_t)found.segment_bytes)
        return err_set(err, ERR_INVALID, "wal.spool_damaged",
                       "%s in %s is of the cluster %s and has %lld bytes: that is no whole segment "
                       "of %s; move it away",
                       name, plan->spool->path, system, (long long)info.st_size, plan->system);
    int64_t mtime_us = (int64_t)info.st_mtim.tv_sec * 1000000 + info.st_mtim.tv_nsec / 1000;
    if (plan->oldest_file_us == 0 || mtime_us < plan->oldest_file_us)
        plan->oldest_file_us = mtime_us;
    snprintf(piece->name, sizeof piece->name, "%s", name);
    snprintf(piece->file, sizeof piece->file, "%s", name);
    piece->start = found.start;
    piece->segment_bytes = found.segment_bytes;
    piece->end = found.start + found.segment_bytes;
    /* A part is of use up to where the timeline was left, and without that not yet. */
    if (kind == POSTGRESQL_WAL_PARTIAL)
        *usable = left_at(plan, piece->timeline, &piece->end) && piece->end > piece->start &&
                  piece->end < piece->start + piece->segment_bytes;
    return true;
}

static bool take_segments(PostgresqlWalPlan *plan, const PostgresqlSpoolNames *names, Err *err)
{
    bool has = plan->has_from;
    uint32_t timeline = plan->from_timeline;
    uint64_t at = plan->from;
    plan->reached = true;
    for (size_t i = 0, taken = 0; i < names->count; i++) {
        PostgresqlWalPiece piece = {0};
        bool usable;
        if (!look_at_file(plan, names->at[i], &piece, &usable, err))
            return false;
        if (!usable)
            continue;
        if (has)
            borrow_end(plan, &piece, timeline, &at);
        plan->reached = taken < SEGMENTS_MOST && follow(plan, &piece, &has, &timeline, &at);
        if (!plan->reached)
            return true;
        add_piece(plan, &piece);
        taken++;
    }
    return true;
}

/* In every batch: a segment is never stored without the history that leads to it. */
static void take_history(PostgresqlWalPlan *plan)
{
    size_t last = plan->line.timeline_count - 1;
    PostgresqlWalPiece piece = {.timeline = plan->line.timelines[last].number,
                                .history = &plan->line.histories[last]};
    if (plan->count == 0 || piece.history->len == 0)
        return;
    snprintf(piece.name, sizeof piece.name, "%08X.history", piece.timeline);
    add_piece(plan, &piece);
}

bool postgresql_wal_plan_make(PostgresqlWalPlan *plan, Err *err)
{
    PostgresqlSpoolNames names = {0};
    bool fine = postgresql_spool_list(plan->spool, plan->spool->fd, &names, err) &&
                take_line(plan, &names, err) && take_segments(plan, &names, err);
    postgresql_spool_names_free(&names);
    if (fine)
        take_history(plan);
    return fine;
}

void postgresql_wal_plan_free(PostgresqlWalPlan *plan)
{
    postgresql_wal_server_free(&plan->line);
    mem_free(plan->pieces);
    plan->pieces = NULL;
}
