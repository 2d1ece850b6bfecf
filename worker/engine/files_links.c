/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_links.h"

#include "common/base/mem.h"

enum { DEFAULT_BUDGET = 32 << 20, BUCKETS = 1 << 14 };

typedef struct Row Row;
struct Row {
    Row *next;
    FilesInode inode;
    uint64_t left; /* names not met yet */
    size_t len;
    char path[];
};

struct FilesLinks {
    Row *buckets[BUCKETS];
    size_t used, budget;
    Row *answer; /* taken out of the table, kept for the caller until the next call */
};

FilesLinks *files_links_new(size_t budget)
{
    FilesLinks *links = mem_new(FilesLinks);
    links->budget = budget == 0 ? DEFAULT_BUDGET : budget;
    return links;
}

void files_links_free(FilesLinks *links)
{
    if (links == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (links->buckets[i] != NULL) {
            Row *row = links->buckets[i];
            links->buckets[i] = row->next;
            mem_free(row);
        }
    mem_free(links->answer);
    mem_free(links);
}

static Row **find(FilesLinks *links, FilesInode inode)
{
    uint64_t mixed = (inode.inode ^ inode.device << 32) * UINT64_C(0x9e3779b97f4a7c15);
    Row **at = &links->buckets[mixed >> 50];
    while (*at != NULL &&
           ((*at)->inode.inode != inode.inode || (*at)->inode.device != inode.device))
        at = &(*at)->next;
    return at;
}

static void take_out(FilesLinks *links, Row **at)
{
    Row *row = *at;
    *at = row->next;
    links->used -= sizeof *row + row->len;
    mem_free(links->answer);
    links->answer = row;
}

bool files_links_meet(FilesLinks *links, FilesInode inode, uint64_t names, Text path, Text *first)
{
    Row **at = find(links, inode), *row = *at;
    *first = (Text){NULL, 0};
    if (row != NULL) {
        *first = (Text){row->path, row->len};
        if (--row->left == 0)
            take_out(links, at);
        return true;
    }
    if (links->used + sizeof *row + path.len > links->budget)
        return false;
    row = mem_zeroed(1, sizeof *row + path.len);
    row->inode = inode;
    row->left = names - 1;
    row->len = path.len;
    memcpy(row->path, path.at, path.len);
    *at = row;
    links->used += sizeof *row + path.len;
    return true;
}

void files_links_forget(FilesLinks *links, FilesInode inode)
{
    Row **at = find(links, inode);
    if (*at != NULL)
        take_out(links, at);
}
