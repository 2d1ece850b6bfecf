/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_dump.h"

#include "worker/engine/child.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    SCHEMA_MAX = 1 << 29, /* 512 MiB of definitions: a hundred times the largest schema known */
    MARK_WITHIN = 512,    /* the mark is followed by \unrestrict and its key only */
};

int postgresql_dump_memory(Slice bytes, Err *err)
{
    int fd = memfd_create("holdfast", MFD_CLOEXEC);
    size_t done = 0;
    while (fd >= 0 && done < bytes.len) {
        ssize_t n = write(fd, bytes.at + done, bytes.len - done);
        if (n < 0 && errno != EINTR) {
            close(fd);
            fd = -1;
        } else if (n > 0) {
            done += (size_t)n;
        }
    }
    if (fd < 0)
        err_set_sys(err, ERR_FULL, "source.memory", "no memory for %zu bytes of a schema",
                    bytes.len);
    else
        lseek(fd, 0, SEEK_SET);
    return fd;
}

bool postgresql_dump_ended(Text text, Text mark, const char *what, Err *err)
{
    size_t tail = text.len < MARK_WITHIN ? text.len : MARK_WITHIN;
    if (tail > 0 && memmem(text.at + text.len - tail, tail, mark.at, mark.len) != NULL)
        return true;
    return err_set(err, ERR_SOURCE, "source.dump",
                   "%s ended without \"%.*s\" after %zu bytes: it is not complete; run it again",
                   what, TEXT_ARG(mark), text.len);
}

/* "; TOC Entries: 42" is written by pg_restore before the entries; reading them all proves that the
 * archive is whole. */
static bool archive_is_whole(const PostgresqlTools *tools, Slice archive, Err *err)
{
    scoped(buf_free) Buf list = {0};
    char program[300];
    const char *const arguments[] = {"--list", NULL};
    const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
    postgresql_tools_path(tools, "pg_restore", program);
    int fd = postgresql_dump_memory(archive, err);
    if (fd < 0)
        return false;
    ChildParams params = {.program = program,
                          .arguments = arguments,
                          .environment = environment,
                          .input = fd,
                          .cause = "source.dump"};
    bool ok = child_output(&params, &list, SCHEMA_MAX, err);
    close(fd);
    if (!ok)
        return err_note(err, "the schema archive does not read back");
    if (strstr(buf_cstr(&list), "TOC Entries:") == NULL)
        return err_set(err, ERR_SOURCE, "source.dump",
                       "the schema archive has no list of entries; run the backup again");
    return true;
}

bool postgresql_dump_archive(PostgresqlLink *link, const PostgresqlTools *tools, Text name,
                             const char *snapshot, int lock_wait_s, Buf *archive, Err *err)
{
    scoped(buf_free) Buf conninfo = {0};
    scoped(buf_free) Buf database = {0};
    const char *const *environment;
    char program[300], at[100], wait[48];
    postgresql_tools_path(tools, "pg_dump", program);
    if (!postgresql_link_program(link, name, &conninfo, &environment, err))
        return false;
    buf_printf(&database, "--dbname=%s", buf_cstr(&conninfo));
    snprintf(at, sizeof at, "--snapshot=%s", snapshot);
    snprintf(wait, sizeof wait, "--lock-wait-timeout=%ds", lock_wait_s);
    /* Large objects are entries of their own. */
    const char *const arguments[] = {"--format=custom",
                                     "--compress=0",
                                     "--section=pre-data",
                                     "--section=post-data",
                                     "--no-blobs",
                                     "--no-password",
                                     wait,
                                     at,
                                     buf_cstr(&database),
                                     NULL};
    ChildParams params = {.program = program,
                          .arguments = arguments,
                          .environment = environment,
                          .input = -1,
                          .cause = "source.dump"};
    if (child_output(&params, archive, SCHEMA_MAX, err))
        return archive_is_whole(tools, buf_slice(archive), err);
    if (strstr(err->text, "statement timeout") != NULL || strstr(err->text, "lock timeout") != NULL)
        return err_set(err, ERR_BUSY, "source.locked",
                       "somebody waits for or holds an exclusive lock on a table; next: try again "
                       "when it is released");
    return err_note(err, "dumping the definitions");
}

bool postgresql_dump_text(const PostgresqlTools *tools, Slice archive, PostgresqlSection section,
                          Buf *text, Err *err)
{
    char program[300];
    const char *const arguments[] = {section == POSTGRESQL_PRE_DATA ? "--section=pre-data"
                                                                    : "--section=post-data",
                                     "--file=-", NULL};
    const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
    postgresql_tools_path(tools, "pg_restore", program);
    int fd = postgresql_dump_memory(archive, err);
    if (fd < 0)
        return false;
    ChildParams params = {.program = program,
                          .arguments = arguments,
                          .environment = environment,
                          .input = fd,
                          .cause = "source.dump"};
    bool ok = child_output(&params, text, SCHEMA_MAX, err) &&
              postgresql_dump_ended(text_of_slice(buf_slice(text)),
                                    TEXT("-- PostgreSQL database dump complete"),
                                    "the schema as text", err);
    close(fd);
    return ok;
}

bool postgresql_dump_globals(PostgresqlLink *link, const PostgresqlTools *tools, bool passwords,
                             Buf *text, Err *err)
{
    scoped(buf_free) Buf conninfo = {0};
    scoped(buf_free) Buf database = {0};
    const char *const *environment;
    char program[300];
    postgresql_tools_path(tools, "pg_dumpall", program);
    if (!postgresql_link_program(link, (Text){0}, &conninfo, &environment, err))
        return false;
    buf_printf(&database, "--dbname=%s", buf_cstr(&conninfo));
    const char *const arguments[] = {"--globals-only", "--no-password", buf_cstr(&database),
                                     passwords ? NULL : "--no-role-passwords", NULL};
    ChildParams params = {.program = program,
                          .arguments = arguments,
                          .environment = environment,
                          .input = -1,
                          .cause = "source.dump"};
    return child_output(&params, text, SCHEMA_MAX, err) &&
           postgresql_dump_ended(text_of_slice(buf_slice(text)),
                                 TEXT("-- PostgreSQL database cluster dump complete"), "pg_dumpall",
                                 err);
}
