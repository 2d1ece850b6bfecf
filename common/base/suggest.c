/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/suggest.h"

enum { WORD_MOST = 63 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t suggest_distance(Text a, Text b)
{
    /* Three rows of the table of optimal string alignment: a swap looks two rows back. */
    size_t rows[3][WORD_MOST + 1];
    size_t rows_of_a = least(a.len, WORD_MOST);
    size_t columns = least(b.len, WORD_MOST);
    for (size_t j = 0; j <= columns; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= rows_of_a; i++) {
        size_t *now = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            size_t change = above[j - 1] + (a.at[i - 1] != b.at[j - 1]);
            now[j] = least(change, least(above[j], now[j - 1]) + 1);
            bool swapped =
                i > 1 && j > 1 && a.at[i - 1] == b.at[j - 2] && a.at[i - 2] == b.at[j - 1];
            if (swapped)
                now[j] = least(now[j], rows[(i - 2) % 3][j - 2] + 1);
        }
    }
    return rows[rows_of_a % 3][columns];
}

const char *suggest_nearest(Text word, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t nearest = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t distance = names[i] == NULL ? SIZE_MAX : suggest_distance(word, text_of(names[i]));
        if (distance < nearest) {
            nearest = distance;
            best = names[i];
        }
    }
    size_t bound = word.len < 3 ? 1 : (word.len + 2) / 3;
    return nearest <= bound ? best : NULL;
}
