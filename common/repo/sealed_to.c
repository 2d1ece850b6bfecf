/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/sealed_to.h"

/* Where slots begin: behind the fixed part, which protocol/README.md draws. */
enum { AT_COUNT = DISK_HEAD + 1, PACK_FIXED = 40, OBJECT_FIXED = 48 };

static bool is_pack(const uint8_t *head)
{
    return memcmp(head, disk_magic(DISK_PACK), DISK_MAGIC) == 0;
}

bool sealed_to_read(Store *store, const char *name, SealedTo *out, Err *err)
{
    uint8_t head[OBJECT_FIXED], slots[DISK_READERS_MOST * DISK_SLOT], algorithm;
    *out = (SealedTo){0};
    if (!store_get_range(store, name, 0, sizeof head, head, err))
        return false;
    DiskRecord kind = is_pack(head) ? DISK_PACK : DISK_OBJECT;
    if (!disk_check((Slice){head, sizeof head}, kind, &algorithm, err))
        return err_note(err, "%s", name);
    if (algorithm != DISK_SEALED)
        return true;
    unsigned count = head[AT_COUNT];
    if (count > DISK_READERS_MOST)
        return err_set(err, ERR_CORRUPT, "repo.damaged", "%s is damaged: its header", name);
    if (count == 0 || !store_get_range(store, name, kind == DISK_PACK ? PACK_FIXED : OBJECT_FIXED,
                                       (size_t)count * DISK_SLOT, slots, err))
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
