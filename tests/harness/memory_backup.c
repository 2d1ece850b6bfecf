/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/memory_backup.h"

#include "common/base/mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void on_issue(void *ctx, const Issue *issue)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a walk tells from its own thread */
    MemoryBackup *memory = ctx;
    pthread_mutex_lock(&lock);
    memory->issues[issue->kind]++;
    snprintf(memory->last_issue, sizeof memory->last_issue, "%.*s", TEXT_ARG(issue->text));
    buf_printf(&memory->told, "%.*s: %.*s\n", TEXT_ARG(issue->path), TEXT_ARG(issue->text));
    pthread_mutex_unlock(&lock);
}

static void on_note(void *ctx, const char *event, const char *text)
{
    (void)ctx;
    (void)event;
    (void)text;
}

static bool never(void *ctx)
{
    (void)ctx;
    return false;
}

EngineHost memory_backup_host(MemoryBackup *memory)
{
    return (EngineHost){.ctx = memory, .issue = on_issue, .note = on_note, .cancelled = never};
}

static Text copied(Buf *strings, Text text)
{
    char *at = mem_text(text);
    buf_add(strings, &at, sizeof at); /* freed with the entry */
    return (Text){at, text.len};
}

static void keep_entry(MemoryBackup *memory, const Entry *entry)
{
    memory->kept = mem_resize(memory->kept, (memory->count + 1) * sizeof memory->kept[0]);
    MemoryEntry *kept = &memory->kept[memory->count++];
    *kept = (MemoryEntry){.entry = *entry};
    EntryAttribute *list = mem_array(EntryAttribute, entry->attribute_count);
    for (size_t i = 0; i < entry->attribute_count; i++) {
        list[i].name = copied(&kept->strings, entry->attributes[i].name);
        list[i].value =
            slice_of_text(copied(&kept->strings, text_of_slice(entry->attributes[i].value)));
    }
    kept->entry.path = copied(&kept->strings, entry->path);
    kept->entry.link = copied(&kept->strings, entry->link);
    kept->entry.user = copied(&kept->strings, entry->user);
    kept->entry.group = copied(&kept->strings, entry->group);
    kept->entry.note = copied(&kept->strings, entry->note);
    kept->entry.attributes = list;
}

static void free_last(MemoryBackup *memory)
{
    MemoryEntry *kept = &memory->kept[--memory->count];
    for (size_t i = 0; i < kept->strings.len; i += sizeof(char *)) {
        char *at;
        memcpy(&at, kept->strings.at + i, sizeof at);
        mem_free(at);
    }
    mem_free((void *)(uintptr_t)kept->entry.attributes);
    mem_free(kept->pieces);
    buf_free(&kept->strings);
    buf_free(&kept->bytes);
}

void memory_backup_free(MemoryBackup *memory)
{
    while (memory->count > 0)
        free_last(memory);
    mem_free(memory->kept);
    mem_free(memory->receipt);
    buf_free(&memory->told);
}

static void read_content(MemoryBackup *memory, Source *source, const Entry *entry)
{
    MemoryEntry *kept = &memory->kept[memory->count - 1];
    Err err = {0};
    for (unsigned reads = 1;; reads++) {
        uint8_t room[5000];
        size_t got;
        uint64_t zeros;
        assert_true(source->ops->read(source, 0, room, sizeof room, &got, &zeros, &err));
        if (got == 0 && zeros == 0)
            return;
        kept->pieces = mem_resize(kept->pieces, (kept->piece_count + 1) * sizeof kept->pieces[0]);
        kept->pieces[kept->piece_count++] = (MemoryPiece){zeros, kept->bytes.len, got};
        buf_add(&kept->bytes, room, got);
        if (memory->during != NULL)
            memory->during(memory, entry, reads);
    }
}

static void take_entry(MemoryBackup *memory, Source *source, Entry *entry)
{
    Err err = {0};
    bool keep;
    if (source->ops->attributes != NULL)
        assert_true(source->ops->attributes(source, 0, entry, &err));
    keep_entry(memory, entry);
    if (entry->type == ENTRY_FILE)
        read_content(memory, source, entry);
    assert_true(source->ops->end(source, 0, entry, &keep, &err));
    MemoryEntry read = memory->kept[memory->count - 1];
    if (!keep) {
        free_last(memory);
        return;
    }
    memory->kept[memory->count - 1].entry.size = entry->size;
    memory->kept[memory->count - 1].entry.mtime_ns = entry->mtime_ns;
    assert_int_equal(read.entry.type, entry->type);
}

bool memory_backup_take(MemoryBackup *memory, const Engine *engine, const json_t *config, Err *err)
{
    EngineHost host = memory_backup_host(memory);
    EngineParams params = {.config = config, .host = &host, .lanes = 4};
    Source *source;
    if (!engine->open_source(&source, &params, err))
        return false;
    assert_int_equal(source->ops->lanes(source), 1);
    for (bool more = true; more;) {
        Entry entry;
        assert_true(source->ops->next(source, 0, &entry, &more, err));
        if (more)
            take_entry(memory, source, &entry);
    }
    Receipt receipt = {0};
    assert_true(source->ops->finish(source, &receipt, err));
    assert_true(receipt.consistent_ns > 0);
    memory->receipt = mem_text(receipt.details);
    source->ops->close(source);
    for (size_t i = 1; i < memory->count; i++)
        assert_true(text_compare(memory->kept[i - 1].entry.path, memory->kept[i].entry.path) < 0);
    return true;
}

void memory_backup_feed(Target *target, const MemoryEntry *kept, unsigned lane)
{
    Err err = {0};
    bool want;
    assert_true(target->ops->begin(target, lane, &kept->entry, &want, &err));
    for (size_t i = 0; want && i < kept->piece_count; i++) {
        const MemoryPiece *piece = &kept->pieces[i];
        if (piece->zeros > 0)
            assert_true(target->ops->zeros(target, lane, piece->zeros, &err));
        else
            assert_true(target->ops->write(target, lane,
                                           (Slice){kept->bytes.at + piece->at, piece->len}, &err));
    }
    assert_true(target->ops->end(target, lane, &kept->entry, &err));
}

bool memory_backup_restore(MemoryBackup *memory, const Engine *engine, const json_t *request,
                           json_t **report, Err *err)
{
    EngineHost host = memory_backup_host(memory);
    EngineParams params = {.request = request, .host = &host, .lanes = 2};
    Target *target;
    if (!engine->open_target(&target, &params, err))
        return false;
    for (uint8_t phase = 0; phase < 4; phase++) {
        assert_true(target->ops->phase(target, phase, err));
        for (size_t i = 0; i < memory->count; i++)
            if (memory->kept[i].entry.phase == phase)
                memory_backup_feed(target, &memory->kept[i],
                                   (unsigned)(i % target->ops->lanes(target)));
    }
    bool finished = target->ops->finish(target, report, err);
    target->ops->close(target);
    return finished;
}
