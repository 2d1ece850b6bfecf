/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/sealed_to.h"

/* Where slots begin: behind the fixed part, which protocol/README.md draws. */
enum { AT_COUNT = DISK_HEAD + 1, PACK_FIXED = 40, OBJECT_FIXED = 48, WRAPPED_FIXED = 56 };

static DiskRecord record_of(const uint8_t *head)
{
    bool pack = memcmp(head, disk_magic(DISK_PACK), DISK_MAGIC) == 0;
    return pack                                                      ? DISK_PACK
           : memcmp(head, disk_magic(DISK_WRAPPED), DISK_MAGIC) == 0 ? DISK_WRAPPED
                                                                     : DISK_OBJECT;
}

bool sealed_to_read(Store *store, const char *name, SealedTo *out, Err *err)
{
    uint8_t head[OBJECT_FIXED], slots[DISK_READERS_MOST * DISK_SLOT], algorithm;
    *out = (SealedTo){0};
    if (!store_get_range(store, name, 0, sizeof head, head, err))
        return false;
    DiskRecord kind = record_of(head);
    uint64_t fixed = kind == DISK_PACK      ? PACK_FIXED
                     : kind == DISK_WRAPPED ? WRAPPED_FIXED
                                            : OBJECT_FIXED;
    if (!disk_check((Slice){head, sizeof head}, kind, &algorithm, err))
        return err_note(err, "%s", name);
    if (algorithm != DISK_SEALED)
        return true;
    unsigned count = head[AT_COUNT];
    if (count > DISK_READERS_MOST)
        return err_set(err, ERR_CORRUPT, "repo.damaged", "%s is damaged: its header", name);
    if (count == 0 || !store_get_range(store, name, fixed, (size_t)count * DISK_SLOT, slots, err))
        return count == 0;
    for (unsigned i = 0; i < count; i++)
        memcpy(out->readers[i], slots + (size_t)i * DISK_SLOT, 16);
    out->count = count;
    return true;
}

static bool is_current(const uint8_t id[16], const uint8_t (*current)[16], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (memcmp(id, current[i], 16) == 0)
            return true;
    return false;
}

bool sealed_to_others(const SealedTo *sealed, const uint8_t (*current)[16], unsigned count)
{
    for (unsigned i = 0; i < sealed->count; i++)
        if (!is_current(sealed->readers[i], current, count))
            return true;
    return false;
}
