/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/include.h"

#include "common/base/mem.h"
#include "common/base/yaml.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { FILES_MOST = 1000, BYTES_MOST = 32 << 20 };

typedef struct Reading {
    IncludeFiles *out;
    size_t bytes;
    Err *err;
} Reading;

static bool slurp(FILE *file, const char *path, Reading *reading, Buf *out)
{
    size_t got;
    do {
        uint8_t *at = buf_extend(out, 65536);
        got = fread(at, 1, 65536, file);
        out->len -= 65536 - got;
        reading->bytes += got;
    } while (got != 0 && reading->bytes <= BYTES_MOST);
    if (ferror(file) != 0)
        return err_set_sys(reading->err, err_code_of_errno(errno), "policy.file", "%s", path);
    return reading->bytes <= BYTES_MOST ||
           err_set(reading->err, ERR_INVALID, "policy.large", "%s: more than %d MiB in all", path,
                   BYTES_MOST >> 20);
}

static bool is_known(const Reading *reading, const char *name)
{
    for (size_t i = 0; i < reading->out->count; i++)
        if (strcmp(reading->out->rows[i].name, name) == 0)
            return true;
    return false;
}

/* A link may lead to another place of the directory (a mounted ConfigMap does), never out of it. */
static bool stays_below(Reading *reading, const char *path)
{
    char root[PATH_MAX];
    char real[PATH_MAX];
    if (realpath(reading->out->directory, root) == NULL || realpath(path, real) == NULL)
        return err_set_sys(reading->err, err_code_of_errno(errno), "policy.file", "%s", path);
    size_t len = strlen(root);
    bool below = strncmp(real, root, len) == 0 && (real[len] == '/' || strcmp(root, "/") == 0);
    return below || err_set(reading->err, ERR_DENIED, "policy.include",
                            "%s leads to %s, out of the policy's directory", path, real);
}

static bool read_one(Reading *reading, const char *name)
{
    scoped(buf_free) Buf path = {0};
    if (is_known(reading, name))
        return true;
    if (reading->out->count == FILES_MOST)
        return err_set(reading->err, ERR_INVALID, "policy.large", "more than %d files", FILES_MOST);
    buf_printf(&path, "%s/%s", reading->out->directory, name);
    if (reading->out->count != 0 && !stays_below(reading, buf_cstr(&path)))
        return false;
    FILE *file = fopen(buf_cstr(&path), "rbe");
    if (file == NULL)
        return err_set_sys(reading->err, err_code_of_errno(errno), "policy.file", "%s",
                           buf_cstr(&path));
    IncludeFiles *out = reading->out;
    out->rows = mem_resize(out->rows, (out->count + 1) * sizeof *out->rows);
    out->rows[out->count] = (IncludeFile){.name = mem_string(name)};
    bool done = slurp(file, buf_cstr(&path), reading, &out->rows[out->count++].text);
    fclose(file);
    return done;
}

static bool matches(Reading *reading, const char *below, const char *pattern);

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names in a directory that the pattern's first part matches, in order. */
static size_t list(const char *directory, const char *part, char ***names)
{
    size_t count = 0;
    DIR *dir = opendir(directory);
    *names = NULL;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (fnmatch(part, entry->d_name, FNM_PERIOD) != 0)
            continue;
        *names = mem_resize(*names, (count + 1) * sizeof **names);
        (*names)[count++] = mem_string(entry->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    if (count > 1)
        qsort(*names, count, sizeof **names, by_name);
    return count;
}

/* One name of one part of the pattern: a directory is gone into, a file is read. */
static bool step(Reading *reading, const char *below, const char *name, const char *rest)
{
    struct stat st;
    scoped(buf_free) Buf relative = {0};
    scoped(buf_free) Buf path = {0};
    buf_printf(&relative, "%s%s%s", below, *below == 0 ? "" : "/", name);
    buf_printf(&path, "%s/%s", reading->out->directory, buf_cstr(&relative));
    if (stat(buf_cstr(&path), &st) != 0)
        return true; /* names nothing: told by whoever reads the files */
    if (rest != NULL)
        return !S_ISDIR(st.st_mode) || matches(reading, buf_cstr(&relative), rest);
    return !S_ISREG(st.st_mode) || read_one(reading, buf_cstr(&relative));
}

static bool matches(Reading *reading, const char *below, const char *pattern)
{
    const char *slash = strchr(pattern, '/');
    scoped(mem_release) char *part =
        mem_text((Text){pattern, slash == NULL ? strlen(pattern) : (size_t)(slash - pattern)});
    const char *rest = slash == NULL ? NULL : slash + strspn(slash, "/");
    if (*part == 0 || strcmp(part, "..") == 0)
        return true; /* the checks refuse it */
    if (strcmp(part, ".") == 0)
        return rest == NULL || matches(reading, below, rest);
    if (strpbrk(part, "*?[") == NULL)
        return step(reading, below, part, rest);
    char **names;
    scoped(buf_free) Buf directory = {0};
    buf_printf(&directory, "%s/%s", reading->out->directory, below);
    size_t count = list(buf_cstr(&directory), part, &names);
    bool done = true;
    for (size_t i = 0; i < count; i++) {
        done = done && step(reading, below, names[i], rest);
        mem_free(names[i]);
    }
    mem_free(names);
    return done;
}

/* Reads what one file includes. A file that is not YAML includes nothing. */
static bool follow(Reading *reading, size_t row)
{
    YamlDoc *doc = NULL;
    YamlProblems ignored = {0};
    const IncludeFile *file = &reading->out->rows[row];
    const char *slash = strrchr(file->name, '/');
    scoped(mem_release) char *below =
        mem_text((Text){file->name, slash == NULL ? 0 : (size_t)(slash - file->name)});
    bool done = true;
    if (yaml_parse(file->name, buf_text(&file->text), &doc, &ignored)) {
        const YamlNode *list_of = yaml_get(yaml_root(doc), "include");
        size_t count = list_of != NULL && list_of->kind == YAML_LIST ? list_of->count : 0;
        for (size_t i = 0; done && i < count; i++) {
            const YamlNode *item = list_of->items[i];
            scoped(mem_release) char *pattern = mem_text(item->text);
            if (item->kind == YAML_SCALAR && *pattern != '/')
                done = matches(reading, below, pattern);
        }
    }
    yaml_doc_free(doc);
    yaml_problems_free(&ignored);
    return done;
}

bool include_read(const char *path, IncludeFiles *out, Err *err)
{
    Reading reading = {.out = out, .err = err};
    const char *slash = strrchr(path, '/');
    *out = (IncludeFiles){0};
    if (strcmp(path, "-") == 0) {
        out->directory = mem_string(".");
        out->rows = mem_new(IncludeFile);
        out->rows[out->count++].name = mem_string("fleet.yaml");
        return slurp(stdin, "standard input", &reading, &out->rows[0].text);
    }
    out->directory = slash == NULL   ? mem_string(".")
                     : slash == path ? mem_string("/")
                                     : mem_text((Text){path, (size_t)(slash - path)});
    if (!read_one(&reading, slash == NULL ? path : slash + 1))
        return false;
    for (size_t i = 0; i < out->count; i++) /* grows while it is read */
        if (!follow(&reading, i))
            return false;
    return true;
}

void include_free(IncludeFiles *files)
{
    for (size_t i = 0; i < files->count; i++) {
        mem_free(files->rows[i].name);
        buf_free(&files->rows[i].text);
    }
    mem_free(files->rows);
    mem_free(files->directory);
    *files = (IncludeFiles){0};
}
