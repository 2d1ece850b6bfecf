/* SPDX-License-Identifier: Apache-2.0
 * selection.c — paths, globs, phases. */
#include "common/repo/selection.h"

static bool below(Text path, Text top)
{
    return path.len >= top.len && memcmp(path.at, top.at, top.len) == 0 &&
           (path.len == top.len || path.at[top.len] == '/');
}

/* One place to come back to is enough: a later star can do all that an earlier one could, except
 * that a "**" passes what a '*' may not, so each keeps its own. */
bool selection_glob(Text pattern, Text path)
{
    size_t p = 0, t = 0;
    size_t star_p = SIZE_MAX, star_t = 0, deep_p = SIZE_MAX, deep_t = 0;
    for (;;) {
        if (p < pattern.len && pattern.at[p] == '*') {
            bool deep = p + 1 < pattern.len && pattern.at[p + 1] == '*';
            p += deep ? 2 : 1;
            if (deep) {
                deep_p = p;
                deep_t = t;
                star_p = SIZE_MAX;
            } else {
                star_p = p;
                star_t = t;
            }
            continue;
        }
        if (t == path.len && p == pattern.len)
            return true;
        bool one = p < pattern.len && t < path.len &&
                   (pattern.at[p] == path.at[t] || (pattern.at[p] == '?' && path.at[t] != '/'));
        if (one) {
            p++;
            t++;
        } else if (star_p != SIZE_MAX && star_t < path.len && path.at[star_t] != '/') {
            p = star_p;
            t = ++star_t;
        } else if (deep_p != SIZE_MAX && deep_t < path.len) {
            p = deep_p;
            t = ++deep_t;
            star_p = SIZE_MAX;
        } else {
            return false;
        }
    }
}

/* A glob that fits a folder takes what is below it. */
static bool glob_takes(Text pattern, Text path)
{
    for (size_t len = path.len; len > 0; len--)
        if ((len == path.len || path.at[len] == '/') &&
            selection_glob(pattern, (Text){path.at, len}))
            return true;
    return false;
}

bool selection_takes(const ReaderSelection *s, Text path, uint8_t phase)
{
    if (s->phase >= 0 && s->phase != phase)
        return false;
    if (s->after.len > 0 && text_compare(path, s->after) <= 0)
        return false;
    if (s->path_count == 0 && s->glob_count == 0)
        return true;
    for (size_t i = 0; i < s->path_count; i++)
        if (below(path, s->paths[i]))
            return true;
    for (size_t i = 0; i < s->glob_count; i++)
        if (glob_takes(s->globs[i], path))
            return true;
    return false;
}

/* Does anything at or below top sort between first and next? What is below top begins with it, so
 * it sorts behind top and, compared by top's bytes alone, equal to it. */
static bool range_touches(Text top, Text first, Text next)
{
    if (next.len > 0 && text_compare(top, next) >= 0)
        return false;
    Text head = {first.at, first.len < top.len ? first.len : top.len};
    return text_compare(head, top) <= 0;
}

bool selection_touches(const ReaderSelection *s, Text first, Text next)
{
    if (s->after.len > 0 && next.len > 0 && text_compare(next, s->after) <= 0)
        return false;
    if (s->path_count == 0 || s->glob_count > 0)
        return true;
    for (size_t i = 0; i < s->path_count; i++)
        if (range_touches(s->paths[i], first, next))
            return true;
    return false;
}
