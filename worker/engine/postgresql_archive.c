/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_archive.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/files_beneath.h"
#include "worker/engine/postgresql_replication.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_MOST = 40, SEGMENT_NAME = 24, SETTING_MOST = 63 };

static const char folder[] = POSTGRESQL_ARCHIVE_FOLDER;
static const char half_made[] = "half-made";

typedef struct Archive {
    Target target;
    Buf settings;
    int data, folder; /* directories */
    uid_t uid;
    gid_t gid;
    int file; /* of the entry, -1: none */
    char name[NAME_MOST];
    uint64_t bytes, fill_to;
    json_int_t files, total;
} Archive;

static Archive *self(const Target *target)
{
    return (Archive *)(uintptr_t)target;
}

bool postgresql_archive_asked(const EngineParams *params)
{
    return json_is_object(json_object_get(params->request, "archive"));
}

/* --- settings --------------------------------------------------------------------------------- */

static bool made_of(Text text, const char *letters)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] == 0 || strchr(letters, text.at[i]) == NULL)
            return false;
    return text.len > 0 && text.len <= SETTING_MOST;
}

static bool is_lsn(Text text)
{
    uint64_t lsn;
    return postgresql_lsn_parse(text, &lsn);
}

static bool is_time(Text text)
{
    return made_of(text, "0123456789TZ:.+-");
}

static bool is_number(Text text)
{
    return made_of(text, "0123456789");
}

/* What pg_create_restore_point takes, in one line of a file of settings. */
static bool is_point(Text text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.at[i] < 0x20 || text.at[i] == 0x7f || text.at[i] == '\\')
            return false;
    return text.len > 0 && text.len <= SETTING_MOST;
}

static void add_setting(Buf *out, const char *name, Text value)
{
    buf_printf(out, "%s = '", name);
    for (size_t i = 0; i < value.len; i++) {
        if (value.at[i] == '\'')
            buf_add_byte(out, '\'');
        buf_add_byte(out, (uint8_t)value.at[i]);
    }
    buf_add_text(out, TEXT("'\n"));
}

/* RFC 3339 as a server takes it that reads its settings: names of time zones, Z among them, it only
 * knows later. */
static void add_time(Buf *out, const char *name, Text value)
{
    bool utc = value.at[value.len - 1] == 'Z';
    scoped(buf_free) Buf text = {0};
    for (size_t i = 0; i < value.len - utc; i++)
        buf_add_byte(&text, value.at[i] == 'T' ? ' ' : (uint8_t)value.at[i]);
    if (utc)
        buf_add_text(&text, TEXT("+00"));
    add_setting(out, name, buf_text(&text));
}

bool postgresql_archive_settings(const json_t *archive, Buf *out, Err *err)
{
    static const struct {
        const char *key;
        bool (*fits)(Text text);
    } targets[] = {{"time", is_time}, {"lsn", is_lsn}, {"xid", is_number}, {"name", is_point}};
    unsigned said = 0;
    buf_printf(out,
               "# Recovery to an instant; the folder may go once the server runs.\n"
               "restore_command = 'cp %s/%%f %%p'\n"
               "recovery_target_action = 'promote'\n",
               folder);
    uint64_t timeline = json_u64_or(archive, "timeline", 0);
    if (timeline > 0)
        buf_printf(out, "recovery_target_timeline = '%llu'\n", (unsigned long long)timeline);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        char name[40];
        Text value = json_text_or(archive, targets[i].key, TEXT(""));
        if (value.len == 0)
            continue;
        if (!targets[i].fits(value) || ++said > 1)
            return err_set(err, ERR_USAGE, "target.until",
                           "%.*s is no %s to recover to, or there are two of them", TEXT_ARG(value),
                           targets[i].key);
        snprintf(name, sizeof name, "recovery_target_%s", targets[i].key);
        if (targets[i].fits == is_time)
            add_time(out, name, value);
        else
            add_setting(out, name, value);
    }
    return true;
}

/* --- entries ---------------------------------------------------------------------------------- */

static unsigned lanes(const Target *target)
{
    (void)target;
    return 1;
}

static bool target_phase(Target *target, uint8_t phase, Err *err)
{
    (void)target;
    (void)phase;
    (void)err;
    return true;
}

static bool io_failed(const Archive *a, const char *what, Err *err)
{
    return err_set_sys(err, ERR_IO, "target.write", "%s %s/%s", what, folder, a->name);
}

static void give_up(Archive *a)
{
    if (a->file < 0)
        return;
    close(a->file);
    a->file = -1;
    (void)unlinkat(a->folder, half_made, 0);
}

/* "….partial" is kept under the whole one's name, unless the whole one is there. */
static bool take_name(Archive *a, const Entry *entry, bool *want, Err *err)
{
    static const char letters[] = "0123456789ABCDEF.historypal"; /* of segments and histories */
    size_t len = entry->path.len;
    bool partial = len == SEGMENT_NAME + strlen(".partial") &&
                   memcmp(entry->path.at + SEGMENT_NAME, ".partial", 8) == 0;
    struct stat there;
    *want = true;
    if (len >= NAME_MOST || !made_of(entry->path, letters) || entry->type != ENTRY_STREAM)
        return err_set(err, ERR_CORRUPT, "target.entry", "the log has an entry %.*s, which is none",
                       TEXT_ARG(entry->path));
    snprintf(a->name, sizeof a->name, "%.*s", partial ? SEGMENT_NAME : (int)len, entry->path.at);
    if (partial && fstatat(a->folder, a->name, &there, AT_SYMLINK_NOFOLLOW) == 0)
        *want = false;
    return true;
}

static bool target_begin(Target *target, unsigned lane, const Entry *entry, bool *want, Err *err)
{
    Archive *a = self(target);
    scoped(json_release) json_t *note = NULL;
    (void)lane;
    give_up(a);
    if (!take_name(a, entry, want, err))
        return false;
    if (!*want)
        return true;
    if (entry->note.len > 0 && !json_parse(entry->note, &note, err))
        return err_note(err, "the note of %s", a->name);
    a->bytes = 0;
    a->fill_to = json_u64_or(note, "segment_bytes", 0);
    a->file =
        openat(a->folder, half_made, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    return a->file >= 0 || io_failed(a, "making", err);
}

static bool target_write(Target *target, unsigned lane, Slice bytes, Err *err)
{
    Archive *a = self(target);
    (void)lane;
    while (bytes.len > 0) {
        ssize_t done = write(a->file, bytes.at, bytes.len);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return io_failed(a, "writing", err);
        bytes = (Slice){bytes.at + done, bytes.len - (size_t)done};
        a->bytes += (uint64_t)done;
    }
    return true;
}

static bool target_zeros(Target *target, unsigned lane, uint64_t count, Err *err)
{
    Archive *a = self(target);
    (void)lane;
    a->bytes += count;
    return (ftruncate(a->file, (off_t)a->bytes) == 0 && lseek(a->file, 0, SEEK_END) >= 0) ||
           io_failed(a, "writing", err);
}

static bool target_end(Target *target, unsigned lane, const Entry *entry, Err *err)
{
    Archive *a = self(target);
    (void)lane;
    (void)entry;
    if (a->file < 0)
        return true;
    bool fine = (a->fill_to <= a->bytes || ftruncate(a->file, (off_t)a->fill_to) == 0) &&
                (geteuid() != 0 || fchown(a->file, a->uid, a->gid) == 0) && fsync(a->file) == 0;
    fine = close(a->file) == 0 && fine;
    a->file = -1;
    if (!fine || renameat(a->folder, half_made, a->folder, a->name) != 0)
        return io_failed(a, "keeping", err);
    a->files++;
    a->total += (json_int_t)a->bytes;
    return true;
}

/* --- the end ---------------------------------------------------------------------------------- */

static bool write_file(const Archive *a, const char *name, int flags, Slice bytes, Err *err)
{
    int fd = openat(a->data, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
    bool fine = fd >= 0 && write(fd, bytes.at, bytes.len) == (ssize_t)bytes.len &&
                (geteuid() != 0 || fchown(fd, a->uid, a->gid) == 0) && fsync(fd) == 0;
    if (!fine)
        err_set_sys(err, ERR_IO, "target.write", "writing %s", name);
    if (fd >= 0)
        close(fd);
    return fine;
}

/* The signal last: a server that starts before it ends with the base backup's own log. */
static bool target_finish(Target *target, json_t **report, Err *err)
{
    Archive *a = self(target);
    if (unlinkat(a->data, "standby.signal", 0) != 0 && errno != ENOENT)
        return err_set_sys(err, ERR_IO, "target.write", "removing standby.signal");
    if (fsync(a->folder) != 0)
        return err_set_sys(err, ERR_IO, "target.write", "keeping %s", folder);
    if (!write_file(a, "postgresql.auto.conf", O_APPEND, buf_slice(&a->settings), err) ||
        !write_file(a, "recovery.signal", O_TRUNC, (Slice){(const uint8_t *)"", 0}, err))
        return false;
    if (fsync(a->data) != 0)
        return err_set_sys(err, ERR_IO, "target.write", "keeping the data directory");
    *report = json_pack("{s:I, s:I}", "files", a->files, "bytes", a->total);
    return true;
}

static void target_close(Target *target)
{
    Archive *a = self(target);
    give_up(a);
    if (a->folder >= 0)
        close(a->folder);
    if (a->data >= 0)
        close(a->data);
    buf_free(&a->settings);
    mem_free(a);
}

static const TargetOps ops = {lanes,        target_phase, target_begin,  target_write,
                              target_zeros, target_end,   target_finish, target_close};

/* The server's user is the owner of its data directory. */
static bool open_folders(Archive *a, Text path, Err *err)
{
    struct stat owner;
    a->data = files_beneath_open_absolute(path, O_RDONLY | O_DIRECTORY);
    if (a->data < 0 || fstat(a->data, &owner) != 0)
        return err_set_sys(err, ERR_IO, "target.path", "opening %.*s", TEXT_ARG(path));
    a->uid = owner.st_uid;
    a->gid = owner.st_gid;
    if (mkdirat(a->data, folder, 0700) != 0 && errno != EEXIST)
        return err_set_sys(err, ERR_IO, "target.write", "making %s", folder);
    a->folder = openat(a->data, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (a->folder < 0 || (geteuid() == 0 && fchown(a->folder, a->uid, a->gid) != 0))
        return err_set_sys(err, ERR_IO, "target.write", "opening %s", folder);
    return true;
}

bool postgresql_archive_open(Target **out, const EngineParams *params, Err *err)
{
    const json_t *archive = json_object_get(params->request, "archive");
    Archive *a = mem_new(Archive);
    a->target.ops = &ops;
    a->data = a->folder = a->file = -1;
    if (postgresql_archive_settings(archive, &a->settings, err) &&
        open_folders(a, json_text_or(archive, "path", TEXT("")), err)) {
        *out = &a->target;
        return true;
    }
    target_close(&a->target);
    return false;
}
