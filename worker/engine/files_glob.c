/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_glob.h"

#include "common/base/mem.h"

typedef struct Pattern {
    char *text; /* without the marks below */
    size_t len;
    bool negated;
    bool directory_only;
    bool whole_path; /* else only the last part is compared */
} Pattern;

struct FilesGlob {
    Pattern *patterns;
    size_t count;
};

FilesGlob *files_glob_new(void)
{
    return mem_new(FilesGlob);
}

void files_glob_free(FilesGlob *globs)
{
    if (globs == NULL)
        return;
    for (size_t i = 0; i < globs->count; i++)
        mem_free(globs->patterns[i].text);
    mem_free(globs->patterns);
    mem_free(globs);
}

size_t files_glob_count(const FilesGlob *globs)
{
    return globs->count;
}

/* The end of a set that starts at `at` with '[': one past its ']', or 0 when it is not closed. A
 * ']' right after the opening stands for itself. */
static size_t set_end(Text pattern, size_t at)
{
    size_t i = at + 1;
    if (i < pattern.len && (pattern.at[i] == '!' || pattern.at[i] == '^'))
        i++;
    if (i < pattern.len && pattern.at[i] == ']')
        i++;
    while (i < pattern.len && pattern.at[i] != ']')
        i += pattern.at[i] == '\\' ? 2 : 1;
    return i < pattern.len ? i + 1 : 0;
}

static bool set_holds(Text pattern, size_t at, size_t end, unsigned char byte)
{
    size_t i = at + 1;
    bool negated = pattern.at[i] == '!' || pattern.at[i] == '^', found = false;
    if (negated)
        i++;
    while (i < end - 1) {
        if (pattern.at[i] == '\\' && i + 1 < end - 1)
            i++;
        unsigned char first = (unsigned char)pattern.at[i++], last = first;
        if (i + 1 < end - 1 && pattern.at[i] == '-') {
            i++;
            if (pattern.at[i] == '\\' && i + 1 < end - 1)
                i++;
            last = (unsigned char)pattern.at[i++];
        }
        found = found || (byte >= first && byte <= last);
    }
    return found != negated;
}

/* One element other than '*' at pattern[*at] against one byte; moves *at past it. */
static bool element_fits(Text pattern, size_t *at, unsigned char byte)
{
    char c = pattern.at[*at];
    size_t end = c == '[' ? set_end(pattern, *at) : 0;
    if (end != 0) {
        bool fits = set_holds(pattern, *at, end, byte);
        *at = end;
        return fits;
    }
    if (c == '\\' && *at + 1 < pattern.len)
        c = pattern.at[++*at];
    else if (c == '?') {
        ++*at;
        return true;
    }
    ++*at;
    return (unsigned char)c == byte;
}

/* One part against one part. Only the last star is ever tried again: an earlier one that took more
 * could not help, so the time is bounded by the product of the lengths. */
static bool part_fits(Text pattern, Text part)
{
    size_t p = 0, s = 0, star = SIZE_MAX, star_part = 0;
    while (s < part.len) {
        if (p < pattern.len && pattern.at[p] == '*') {
            star = ++p;
            star_part = s;
            continue;
        }
        size_t next = p;
        if (p < pattern.len && element_fits(pattern, &next, (unsigned char)part.at[s])) {
            p = next;
            s++;
            continue;
        }
        if (star == SIZE_MAX)
            return false;
        p = star;
        s = ++star_part;
    }
    while (p < pattern.len && pattern.at[p] == '*')
        p++;
    return p == pattern.len;
}

static Text part_at(Text path, size_t at)
{
    size_t end = at;
    while (end < path.len && path.at[end] != '/')
        end++;
    return (Text){path.at + at, end - at};
}

/* The same walk one level up: parts instead of bytes, "**" instead of "*". */
static bool path_fits(Text pattern, Text path)
{
    size_t p = 0, s = 0, star = SIZE_MAX, star_path = 0;
    while (s < path.len) {
        Text want = p < pattern.len ? part_at(pattern, p) : (Text){NULL, 0};
        Text have = part_at(path, s);
        if (p < pattern.len && text_equal(want, TEXT("**"))) {
            p += want.len + 1;
            star = p;
            star_path = s;
            if (p >= pattern.len)
                return true; /* a double star at the end: everything below */
            continue;
        }
        if (p < pattern.len && part_fits(want, have)) {
            p += want.len + 1;
            s += have.len + 1;
            continue;
        }
        if (star == SIZE_MAX)
            return false;
        p = star;
        star_path += part_at(path, star_path).len + 1;
        s = star_path;
    }
    return p >= pattern.len && pattern.len > 0;
}

bool files_glob_add(FilesGlob *globs, Text text, Err *err)
{
    Pattern made = {0};
    Text body = text;
    if (body.len > 0 && body.at[0] == '!') {
        made.negated = true;
        body = (Text){body.at + 1, body.len - 1};
    }
    if (body.len > 1 && body.at[body.len - 1] == '/') {
        made.directory_only = true;
        body.len--;
    }
    made.whole_path = memchr(body.at, '/', body.len) != NULL;
    if (body.len > 0 && body.at[0] == '/')
        body = (Text){body.at + 1, body.len - 1};
    if (body.len == 0 || memchr(body.at, '\0', body.len) != NULL)
        return err_set(err, ERR_INVALID, "files.pattern",
                       "the pattern '%.*s' names nothing: write for example '*.tmp' or 'cache/'",
                       TEXT_ARG(text));
    for (size_t i = 0; i < body.len; i++) {
        if (body.at[i] == '[' && set_end(body, i) == 0)
            return err_set(
                err, ERR_INVALID, "files.pattern",
                "the pattern '%.*s' opens a set with '[' and never closes it: add ']' or "
                "write '\\['",
                TEXT_ARG(text));
        if (body.at[i] == '[')
            i = set_end(body, i) - 1;
        else if (body.at[i] == '\\')
            i++;
    }
    made.text = mem_text(body);
    made.len = body.len;
    globs->patterns = mem_resize(globs->patterns, (globs->count + 1) * sizeof globs->patterns[0]);
    globs->patterns[globs->count++] = made;
    return true;
}

bool files_glob_match(const FilesGlob *globs, Text path, Text full, bool is_directory)
{
    size_t last = path.len;
    while (last > 0 && path.at[last - 1] != '/')
        last--;
    Text base = {path.at + last, path.len - last};
    for (size_t i = globs->count; i > 0; i--) {
        const Pattern *one = &globs->patterns[i - 1];
        Text pattern = {one->text, one->len};
        if (one->directory_only && !is_directory)
            continue;
        bool fits = one->whole_path ? path_fits(pattern, path) || path_fits(pattern, full)
                                    : part_fits(pattern, base);
        if (fits)
            return !one->negated;
    }
    return false;
}
