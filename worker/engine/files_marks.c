/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_marks.h"

#include "common/base/mem.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char cache_tag[] = "CACHEDIR.TAG";
static const char cache_signature[] = "Signature: 8a477f597d28d172789f06886806bc55";

struct FilesMarks {
    bool caches;
    char **names;
    size_t count;
};

static bool is_name(Text text)
{
    return text.len > 0 && text.len <= 255 && memchr(text.at, '/', text.len) == NULL &&
           memchr(text.at, 0, text.len) == NULL && !text_equal(text, TEXT(".")) &&
           !text_equal(text, TEXT(".."));
}

bool files_marks_new(FilesMarks **out, const json_t *config, Err *err)
{
    const json_t *list = json_object_get(config, "exclude_if_present");
    bool caches = json_is_true(json_object_get(config, "exclude_caches"));
    *out = NULL;
    if (!caches && json_array_size(list) == 0)
        return true;
    FilesMarks *marks = mem_new(FilesMarks);
    marks->caches = caches;
    marks->names = mem_array(char *, json_array_size(list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        Text name = {json_string_value(one), json_string_length(one)};
        if (!json_is_string(one) || !is_name(name)) {
            files_marks_free(marks);
            return err_set(err, ERR_INVALID, "files.mark",
                           "`exclude_if_present` of a files source holds '%.*s', which no file in "
                           "a directory can be called: name a file, as .nobackup",
                           TEXT_ARG(name));
        }
        marks->names[marks->count++] = mem_text(name);
    }
    *out = marks;
    return true;
}

void files_marks_free(FilesMarks *marks)
{
    if (marks == NULL)
        return;
    for (size_t i = 0; i < marks->count; i++)
        mem_free(marks->names[i]);
    mem_free(marks->names);
    mem_free(marks);
}

static bool is_tagged(int directory)
{
    char head[sizeof cache_signature - 1];
    struct stat status;
    int fd = openat(directory, cache_tag, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool tagged = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
                  pread(fd, head, sizeof head, 0) == (ssize_t)sizeof head &&
                  memcmp(head, cache_signature, sizeof head) == 0;
    close(fd);
    return tagged;
}

const char *files_marks_found(const FilesMarks *marks, int directory)
{
    struct stat status;
    if (marks == NULL)
        return NULL;
    for (size_t i = 0; i < marks->count; i++)
        if (fstatat(directory, marks->names[i], &status, AT_SYMLINK_NOFOLLOW) == 0)
            return marks->names[i];
    return marks->caches && is_tagged(directory) ? cache_tag : NULL;
}
