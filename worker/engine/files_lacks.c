/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_lacks.h"

#include "common/base/mem.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

typedef struct Met {
    atomic_uint_fast64_t count;
    int sys; /* of the first, as its path */
    Buf path;
} Met;

struct FilesLacks {
    pthread_mutex_t lock; /* of what is known of the first */
    Met met[FILES_LACK_COUNT];
};

static const char *const texts[FILES_LACK_COUNT] = {
    [FILES_LACK_DEVICE] =
        "not restored: a device is made only when it is asked for: --with devices",
    [FILES_LACK_SETUID] = "restored without its set-user-id or set-group-id bit, which is given "
                          "only with its owner and when it is asked for: --with setuid, as root",
    [FILES_LACK_SECURITY] = "restored without its attributes of security.* and trusted.*, which "
                            "are set only when they are asked for: --with security, as root",
    [FILES_LACK_OWNER] = "restored as the worker's own: to give it back to its owner, restore as "
                         "root",
    [FILES_LACK_ACL] = "restored without its access list, which the file system there cannot hold; "
                       "its group has no more rights than the list gave it",
    [FILES_LACK_ATTRIBUTE] = "restored without its extended attributes, which the file system "
                             "there cannot hold",
    [FILES_LACK_FRACTION] = "restored with a coarser time: the file system there rounds it",
    [FILES_LACK_DEVICE_REFUSED] =
        "not restored: a device is made by root only, where the file system allows devices",
    [FILES_LACK_OWNER_REFUSED] = "restored, but its owner could not be set, so it stays private: "
                                 "restore as root, onto a file system that knows owners",
    [FILES_LACK_ATTRIBUTE_REFUSED] = "restored, but an extended attribute could not be set",
    [FILES_LACK_MODE] = "restored, but its mode could not be set",
    [FILES_LACK_TIME] = "restored, but its time could not be set",
};

FilesLacks *files_lacks_new(void)
{
    FilesLacks *lacks = mem_new(FilesLacks);
    pthread_mutex_init(&lacks->lock, NULL);
    return lacks;
}

void files_lacks_free(FilesLacks *lacks)
{
    if (lacks == NULL)
        return;
    for (size_t i = 0; i < FILES_LACK_COUNT; i++)
        buf_free(&lacks->met[i].path);
    pthread_mutex_destroy(&lacks->lock);
    mem_free(lacks);
}

void files_lacks_add(FilesLacks *lacks, FilesLack lack, int sys, Text path)
{
    Met *met = &lacks->met[lack];
    if (atomic_fetch_add(&met->count, 1) != 0)
        return;
    pthread_mutex_lock(&lacks->lock);
    met->sys = sys;
    buf_add_text(&met->path, path);
    pthread_mutex_unlock(&lacks->lock);
}

uint64_t files_lacks_count(const FilesLacks *lacks, FilesLack lack)
{
    return atomic_load(&lacks->met[lack].count);
}

uint64_t files_lacks_tell(const FilesLacks *lacks, const EngineHost *host)
{
    uint64_t faults = 0;
    for (int i = 0; i < FILES_LACK_COUNT; i++) {
        const Met *met = &lacks->met[i];
        uint64_t count = atomic_load(&met->count);
        scoped(buf_free) Buf text = {0};
        if (count == 0)
            continue;
        buf_add_text(&text, text_of(texts[i]));
        if (count > 1)
            buf_printf(&text, " (so it is of %" PRIu64 " in all)", count);
        bool fault = i >= FILES_LACK_DEVICE_REFUSED;
        faults += fault ? count : 0;
        Issue issue = {fault ? ISSUE_DENIED : ISSUE_NOTE, met->sys, buf_text(&met->path),
                       buf_text(&text)};
        host->issue(host->ctx, &issue);
    }
    return faults;
}

json_t *files_lacks_report(const FilesLacks *lacks)
{
    uint64_t attributes = files_lacks_count(lacks, FILES_LACK_SECURITY) +
                          files_lacks_count(lacks, FILES_LACK_ATTRIBUTE) +
                          files_lacks_count(lacks, FILES_LACK_ACL);
    return json_pack(
        "{s:I,s:I,s:I,s:I}", "devices", (json_int_t)files_lacks_count(lacks, FILES_LACK_DEVICE),
        "setuid", (json_int_t)files_lacks_count(lacks, FILES_LACK_SETUID), "attributes",
        (json_int_t)attributes, "owners", (json_int_t)files_lacks_count(lacks, FILES_LACK_OWNER));
}
