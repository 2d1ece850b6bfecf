/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/entry_copy.h"

#include "common/base/mem.h"

struct EntryCopy {
    Entry entry;
    EntryAttribute *attributes;
    char *path; /* after a rename */
    char *bytes;
};

static Text keep(char **at, Text text)
{
    char *start = *at;
    if (text.len > 0)
        memcpy(start, text.at, text.len);
    *at += text.len;
    return (Text){start, text.len};
}

EntryCopy *entry_copy_new(const Entry *entry)
{
    EntryCopy *copy = mem_new(EntryCopy);
    size_t len =
        entry->path.len + entry->user.len + entry->group.len + entry->link.len + entry->note.len;
    for (size_t i = 0; i < entry->attribute_count; i++)
        len += entry->attributes[i].name.len + entry->attributes[i].value.len;
    copy->entry = *entry;
    copy->bytes = mem_zeroed(1, len + 1);
    copy->attributes = mem_array(EntryAttribute, entry->attribute_count);
    char *at = copy->bytes;
    copy->entry.path = keep(&at, entry->path);
    copy->entry.user = keep(&at, entry->user);
    copy->entry.group = keep(&at, entry->group);
    copy->entry.link = keep(&at, entry->link);
    copy->entry.note = keep(&at, entry->note);
    for (size_t i = 0; i < entry->attribute_count; i++) {
        copy->attributes[i].name = keep(&at, entry->attributes[i].name);
        copy->attributes[i].value =
            slice_of_text(keep(&at, text_of_slice(entry->attributes[i].value)));
    }
    copy->entry.attributes = copy->attributes;
    return copy;
}

const Entry *entry_copy_entry(const EntryCopy *copy)
{
    return &copy->entry;
}

void entry_copy_rename(EntryCopy *copy, Text path)
{
    mem_free(copy->path);
    copy->path = mem_text(path);
    copy->entry.path = (Text){copy->path, path.len};
}

void entry_copy_free(EntryCopy *copy)
{
    if (copy == NULL)
        return;
    mem_free(copy->attributes);
    mem_free(copy->path);
    mem_free(copy->bytes);
    mem_free(copy);
}
