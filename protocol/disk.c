/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/disk.h"

static const struct {
    const char *magic;
    uint8_t version;
    const char *meaning;
} records[DISK_RECORD_COUNT] = {
#define RECORD(symbol, magic, version, where, meaning) [DISK_##symbol] = {magic, version, where},
#include "protocol/disk.def"
#undef RECORD
};

const char *disk_magic(DiskRecord record)
{
    return records[record].magic;
}

uint8_t disk_version(DiskRecord record)
{
    return records[record].version;
}

bool disk_check(Slice bytes, DiskRecord record, uint8_t *algorithm, Err *err)
{
    if (bytes.len < DISK_HEAD || memcmp(bytes.at, records[record].magic, DISK_MAGIC) != 0)
        return err_set(err, ERR_CORRUPT, "repo.damaged", "this is not a %s record",
                       records[record].meaning);
    if (bytes.at[4] != records[record].version)
        return err_set(err, ERR_CORRUPT, "repo.version",
                       "version %u of %s is not known here; a newer Holdfast wrote it", bytes.at[4],
                       records[record].meaning);
    *algorithm = bytes.at[5];
    return true;
}
