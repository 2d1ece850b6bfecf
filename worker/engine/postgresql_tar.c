/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_tar.h"

#include <stdio.h>
#include <string.h>

/* Places in the block, of POSIX.1-1988 ustar. */
enum {
    NAME_AT = 0,
    NAME_LEN = 100,
    MODE_AT = 100,
    UID_AT = 108,
    GID_AT = 116,
    SIZE_AT = 124,
    MTIME_AT = 136,
    LONG_LEN = 12,
    SHORT_LEN = 8,
    SUM_AT = 148,
    KIND_AT = 156,
    LINK_AT = 157,
    LINK_LEN = 100,
    MAGIC_AT = 257,
    PREFIX_AT = 345,
    PREFIX_LEN = 155,
};

/* Octal digits, or, with the top bit set, a number of the remaining bytes: GNU's way beyond 8 GiB.
 */
static bool number(const uint8_t *at, size_t len, uint64_t *out)
{
    *out = 0;
    if (*at == 0x80) {
        for (size_t i = 1; i < len; i++) {
            if (*out >> 55 != 0)
                return false;
            *out = *out << 8 | at[i];
        }
        return true;
    }
    size_t i = 0;
    while (i < len && at[i] == ' ')
        i++;
    for (; i < len && at[i] >= '0' && at[i] <= '7'; i++)
        *out = *out << 3 | (uint64_t)(at[i] - '0');
    return i == len || at[i] == 0 || at[i] == ' ';
}

static bool sum_fits(const uint8_t *block)
{
    uint64_t said, sum = 0;
    for (size_t i = 0; i < POSTGRESQL_TAR_BLOCK; i++)
        sum += i >= SUM_AT && i < SUM_AT + SHORT_LEN ? ' ' : block[i];
    return number(block + SUM_AT, SHORT_LEN, &said) && said == sum;
}

static bool path_fits(const char *path)
{
    if (*path == 0 || *path == '/')
        return false;
    for (const char *at = path; at != NULL; at = strchr(at, '/')) {
        at += *at == '/';
        size_t len = strcspn(at, "/");
        if (len == 0 || (len <= 2 && strncmp(at, "..", len) == 0))
            return false;
    }
    return true;
}

static bool take_path(const uint8_t *block, PostgresqlTarHead *out)
{
    const char *name = (const char *)block + NAME_AT, *prefix = (const char *)block + PREFIX_AT;
    int name_len = (int)strnlen(name, NAME_LEN), prefix_len = (int)strnlen(prefix, PREFIX_LEN);
    snprintf(out->path, sizeof out->path, "%.*s%s%.*s", prefix_len, prefix,
             prefix_len > 0 ? "/" : "", name_len, name);
    size_t len = strlen(out->path);
    while (len > 0 && out->path[len - 1] == '/') /* what is a directory, or leads to one */
        out->path[--len] = 0;
    const char *from = out->path;
    while (strncmp(from, "./", 2) == 0)
        from += 2;
    memmove(out->path, from, strlen(from) + 1);
    return path_fits(out->path);
}

bool postgresql_tar_head(const uint8_t block[POSTGRESQL_TAR_BLOCK], PostgresqlTarHead *out,
                         Err *err)
{
    static const uint8_t empty[POSTGRESQL_TAR_BLOCK];
    uint64_t mode, uid, gid, mtime;
    *out = (PostgresqlTarHead){0};
    if (memcmp(block, empty, sizeof empty) == 0)
        return true;
    if (!sum_fits(block) || memcmp(block + MAGIC_AT, "ustar", 5) != 0 ||
        !number(block + MODE_AT, SHORT_LEN, &mode) || !number(block + UID_AT, SHORT_LEN, &uid) ||
        !number(block + GID_AT, SHORT_LEN, &gid) ||
        !number(block + SIZE_AT, LONG_LEN, &out->size) ||
        !number(block + MTIME_AT, LONG_LEN, &mtime))
        return err_set(err, ERR_SOURCE, "source.protocol",
                       "the base backup has something else where the head of a file must be; run "
                       "it again");
    out->mode = (uint32_t)mode & 07777;
    out->uid = (uint32_t)uid;
    out->gid = (uint32_t)gid;
    out->mtime_s = (int64_t)mtime;
    switch (block[KIND_AT]) {
    case '0':
    case 0:
        out->kind = 'f';
        break;
    case '5':
        out->kind = 'd';
        break;
    case '2':
        out->kind = 'l';
        break;
    default:
        return err_set(err, ERR_SOURCE, "source.protocol",
                       "the base backup holds a kind of file (0x%02x) that no server sends",
                       block[KIND_AT]);
    }
    if (!take_path(block, out))
        return err_set(err, ERR_SOURCE, "source.protocol",
                       "the base backup names a file that would lie outside of it: \"%.100s\"",
                       out->path);
    if (out->kind != 'f')
        out->size = 0;
    memcpy(out->link, block + LINK_AT, LINK_LEN);
    return true;
}

uint64_t postgresql_tar_padding(uint64_t size)
{
    return (POSTGRESQL_TAR_BLOCK - size % POSTGRESQL_TAR_BLOCK) % POSTGRESQL_TAR_BLOCK;
}
