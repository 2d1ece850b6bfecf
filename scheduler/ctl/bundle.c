/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/bundle.h"

#include "common/base/include.h"
#include "common/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool add_file(const IncludeFile *file, json_t *list, Err *err)
{
    const char *at = file->text.len == 0 ? "" : (const char *)file->text.at;
    json_t *text = json_stringn(at, file->text.len);
    json_t *row = text == NULL ? NULL : json_pack("{s:s, s:o}", "name", file->name, "text", text);
    if (row == NULL)
        return err_set(err, ERR_INVALID, "policy.text", "%s is not UTF-8 text", file->name);
    json_array_append_new(list, row);
    return true;
}

bool bundle_read(const char *path, Bundle *out, Err *err)
{
    IncludeFiles files = {0};
    json_t *list = json_array();
    *out = (Bundle){0};
    bool done = include_read(path, &files, err);
    for (size_t i = 0; done && i < files.count; i++)
        done = add_file(&files.rows[i], list, err);
    json_t *body = json_pack("{s:o}", "files", list);
    char *text = done ? json_dumps(body, JSON_COMPACT) : NULL;
    if (text != NULL)
        buf_add(&out->body, text, strlen(text));
    out->directory = mem_string(files.directory == NULL ? "." : files.directory);
    free(text);
    json_decref(body);
    include_free(&files);
    return done;
}

void bundle_free(Bundle *bundle)
{
    mem_free(bundle->directory);
    buf_free(&bundle->body);
    *bundle = (Bundle){0};
}

/* Relative, and every part a name: what a stranger's server says may write here and nowhere else.
 */
static bool stays_below(const char *name)
{
    for (const char *at = name;; at++) {
        size_t part = strcspn(at, "/");
        bool dots = (part == 1 && at[0] == '.') || (part == 2 && at[0] == '.' && at[1] == '.');
        if (part == 0 || dots)
            return false;
        at += part;
        if (*at == 0)
            return true;
    }
}

static bool is_empty(const char *directory)
{
    size_t entries = 0;
    DIR *dir = opendir(directory);
    while (dir != NULL && readdir(dir) != NULL)
        entries++;
    if (dir != NULL)
        closedir(dir);
    return dir != NULL && entries == 2;
}

static bool make_directory(const char *path, Err *err)
{
    return mkdir(path, 0777) == 0 || errno == EEXIST ||
           err_set_sys(err, err_code_of_errno(errno), "policy.file", "%s", path);
}

static bool write_all(int fd, const char *text, size_t len)
{
    while (len != 0) {
        ssize_t written = write(fd, text, len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        text += written;
        len -= (size_t)written;
    }
    return true;
}

static bool write_one(const char *directory, const char *name, const json_t *text, Err *err)
{
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "%s/", directory);
    for (const char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        size_t len = path.len;
        buf_add(&path, name, (size_t)(slash - name));
        if (!make_directory(buf_cstr(&path), err))
            return false;
        path.len = len;
    }
    buf_printf(&path, "%s", name);
    int fd = open(buf_cstr(&path), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    bool done = fd >= 0 && write_all(fd, json_string_value(text), json_string_length(text));
    if (fd >= 0)
        done = close(fd) == 0 && done;
    return done || err_set_sys(err, err_code_of_errno(errno), "policy.file", "%s", buf_cstr(&path));
}

bool bundle_write(const json_t *files, const char *directory, Err *err)
{
    size_t i;
    json_t *file;
    if (!make_directory(directory, err))
        return false;
    if (!is_empty(directory))
        return err_set(err, ERR_CONFLICT, "policy.directory",
                       "%s is not an empty directory; name one that is, or is not there yet",
                       directory);
    json_array_foreach(files, i, file)
    {
        const char *name = json_string_value(json_object_get(file, "name"));
        const json_t *text = json_object_get(file, "text");
        if (name == NULL || !json_is_string(text) || !stays_below(name))
            return err_set(err, ERR_CORRUPT, "policy.file",
                           "the server names a file that would not stay below %s", directory);
        if (!write_one(directory, name, text, err))
            return false;
    }
    return true;
}
