/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_xattr.h"

#include "common/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>

enum { LIST_BYTES = 64 * 1024, VALUE_BYTES = 64 * 1024 }; /* XATTR_LIST_MAX, XATTR_SIZE_MAX */

void files_xattr_free(FilesXattr *set)
{
    buf_free(&set->bytes);
    mem_free(set->list);
    *set = (FilesXattr){0};
}

void files_xattr_path(int directory, const char *name, char out[FILES_XATTR_PATH])
{
    snprintf(out, FILES_XATTR_PATH, "/proc/self/fd/%d/%s", directory, name);
}

static bool is_kept(const char *name)
{
    return strncmp(name, "system.", 7) != 0 || strncmp(name, "system.posix_acl_", 17) == 0;
}

static int compare(const void *a, const void *b)
{
    return text_compare(((const EntryAttribute *)a)->name, ((const EntryAttribute *)b)->name);
}

/* Offsets are kept as pointers only when the buffer no longer grows. */
typedef struct Span {
    size_t name, name_len, value, value_len;
} Span;

static bool read_one(FilesXattr *set, const char *path, const char *name, Span *span)
{
    size_t room = 256;
    for (;;) {
        *span = (Span){.name = set->bytes.len, .name_len = strlen(name)};
        buf_add(&set->bytes, name, span->name_len);
        span->value = set->bytes.len;
        ssize_t got = lgetxattr(path, name, buf_extend(&set->bytes, room), room);
        if (got >= 0) {
            span->value_len = (size_t)got;
            set->bytes.len = span->value + (size_t)got;
            return true;
        }
        set->bytes.len = span->name;
        if (errno != ERANGE || room >= VALUE_BYTES)
            return false;
        room = VALUE_BYTES;
    }
}

static void publish(FilesXattr *set, const Span *spans, size_t count)
{
    if (count > set->room) {
        set->room = count;
        set->list = mem_resize(set->list, count * sizeof set->list[0]);
    }
    for (size_t i = 0; i < count; i++) {
        const char *base = (const char *)set->bytes.at;
        set->list[i].name = (Text){base + spans[i].name, spans[i].name_len};
        set->list[i].value = (Slice){set->bytes.at + spans[i].value, spans[i].value_len};
    }
    set->count = count;
    if (count > 1)
        qsort(set->list, count, sizeof set->list[0], compare);
}

bool files_xattr_read(FilesXattr *set, const char *path)
{
    char small[1024];
    scoped(buf_free) Buf large = {0};
    const char *names = small;
    Span *spans = NULL;
    size_t count = 0;
    bool fine = true;
    set->count = 0;
    set->unsure = false;
    buf_clear(&set->bytes);
    ssize_t len = llistxattr(path, small, sizeof small);
    if (len < 0 && errno == ERANGE) {
        len = llistxattr(path, (char *)buf_extend(&large, LIST_BYTES), LIST_BYTES);
        names = (const char *)large.at;
    }
    set->unsure = len < 0;
    if (len <= 0)
        return len == 0 || errno == ENOTSUP;
    for (const char *at = names; at < names + len; at += strlen(at) + 1) {
        Span span;
        if (!is_kept(at))
            continue;
        if (!read_one(set, path, at, &span)) {
            if (errno == ENODATA)
                continue; /* removed since it was listed */
            fine = false;
            set->unsure = true;
            break;
        }
        spans = mem_resize(spans, (count + 1) * sizeof spans[0]);
        spans[count++] = span;
    }
    int failure = errno;
    publish(set, spans, count);
    mem_free(spans);
    errno = failure;
    return fine;
}
