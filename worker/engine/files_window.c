/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_window.h"

#include "common/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { LISTING = 32 * 1024 }; /* bytes of one getdents64 call */

void files_window_free(FilesWindow *window)
{
    buf_free(&window->names);
    buf_free(&window->last);
    buf_free(&window->bound);
    mem_free(window->keys);
    *window = (FilesWindow){0};
}

static Text key_at(const FilesWindow *window, size_t i)
{
    const uint8_t *record = window->names.at + window->keys[i];
    size_t len = record[0] | (size_t)record[1] << 8;
    return (Text){(const char *)record + 2, len};
}

static int compare(const void *a, const void *b, void *ctx)
{
    const uint8_t *names = ctx;
    const uint8_t *left = names + *(const uint32_t *)a, *right = names + *(const uint32_t *)b;
    Text left_key = {(const char *)left + 2, left[0] | (size_t)left[1] << 8};
    Text right_key = {(const char *)right + 2, right[0] | (size_t)right[1] << 8};
    return text_compare(left_key, right_key);
}

void files_window_add(FilesWindow *window, Text key)
{
    if (window->count == window->room) {
        window->room = window->room == 0 ? 64 : window->room * 2;
        window->keys = mem_resize(window->keys, window->room * sizeof window->keys[0]);
    }
    window->keys[window->count++] = (uint32_t)window->names.len;
    buf_add_le16(&window->names, (uint16_t)key.len);
    buf_add_text(&window->names, key);
}

void files_window_sort(FilesWindow *window)
{
    if (window->count > 1)
        qsort_r(window->keys, window->count, sizeof window->keys[0], compare, window->names.at);
}

/* Keeps the lower half; its upper neighbour becomes the bound. */
static void halve(FilesWindow *window)
{
    files_window_sort(window);
    size_t keep = window->count / 2;
    FilesWindow half = {.last = window->last, .bounded = true};
    buf_add_text(&half.bound, key_at(window, keep));
    for (size_t i = 0; i < keep; i++)
        files_window_add(&half, key_at(window, i));
    buf_free(&window->names);
    buf_free(&window->bound);
    mem_free(window->keys);
    *window = half;
}

static void offer(FilesWindow *window, Text key, size_t budget)
{
    if (window->last.len > 0 && text_compare(key, buf_text(&window->last)) <= 0)
        return;
    if (window->bounded && text_compare(key, buf_text(&window->bound)) >= 0)
        return;
    files_window_add(window, key);
    if (window->names.len + window->count * sizeof window->keys[0] > budget && window->count > 64)
        halve(window);
}

static void offer_name(FilesWindow *window, const struct dirent64 *entry, size_t budget)
{
    char key[sizeof entry->d_name + 1];
    size_t len = strlen(entry->d_name);
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
        return;
    memcpy(key, entry->d_name, len);
    offer(window, (Text){key, len}, budget);
    if (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN) {
        key[len] = '/';
        offer(window, (Text){key, len + 1}, budget);
    }
}

bool files_window_fill(FilesWindow *window, int fd, size_t budget)
{
    scoped(buf_free) Buf listing = {0};
    buf_clear(&window->names);
    buf_clear(&window->bound);
    window->count = window->at = 0;
    window->bounded = false;
    buf_reserve(&listing, LISTING);
    if (lseek(fd, 0, SEEK_SET) < 0)
        return false;
    for (;;) {
        ssize_t got = getdents64(fd, listing.at, LISTING);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            break;
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *entry = (const void *)(listing.at + at);
            offer_name(window, entry, budget);
            at += entry->d_reclen;
        }
    }
    files_window_sort(window);
    return true;
}

bool files_window_take(FilesWindow *window, Text *key)
{
    while (window->at < window->count) {
        Text next = key_at(window, window->at++);
        /* A name renamed during the listing may be told twice. */
        if (window->last.len > 0 && text_compare(next, buf_text(&window->last)) <= 0)
            continue;
        buf_clear(&window->last);
        buf_add_text(&window->last, next);
        *key = next;
        return true;
    }
    return false;
}

bool files_window_done(const FilesWindow *window)
{
    return window->at >= window->count && !window->bounded;
}
