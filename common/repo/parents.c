/* SPDX-License-Identifier: Apache-2.0
 * parents.c — a part of a parent list: a table of ids and packed rows. */
#include "common/repo/parents.h"

#include "common/base/mem.h"
#include "common/codec/seal.h"

enum {
    KEY_FORMAT = 1,
    KEY_IDS = 2,
    KEY_ROWS = 3,
    KEY_ROW_COUNT = 4,
    KEY_PARTS = 5,
    KEY_SIGNS = 6,
    KEY_NEWEST = 7,
    /* A part ends behind the row that reaches one of these: some 30 000 small files, and 3 MiB of
     * memory wherever it is held. */
    FULL_IDS = 32 * 1024,
    FULL_ROWS = 1024 * 1024,
    /* Of one entry, and of a part that several large entries share. */
    ROW_MAX = 8 * 1024 * 1024,
    ROWS_MAX = 16 * 1024 * 1024,
    SAME_STAMP = 64, /* rows of one stamp that are looked at: there is one, unless a file system
                        gives all its files one inode number */
    /* A file system's clock may stand still this long; what changed later than that before it was
     * read could change again without a trace. */
    SETTLED_NS = 2000000000,
};

enum { FLAG_BARE = 1, FLAG_MARKED = 2 };

/* rows: key, flags, the mark where there is one, a varint of length, that many bytes of extents;
 * then the next. */
struct Parents {
    IdMap ids;
    Buf rows;
    uint64_t row_count;
    uint32_t *slots; /* by stamp: offset of a row + 1; 0: free */
    uint32_t *names; /* the same by name; NULL: not needed so far */
    uint64_t mask;
    uint64_t parts;
    int64_t newest_ns;
    Buf signs;
};

static void store64(uint8_t *at, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t load32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t load64(const uint8_t *at)
{
    return load32(at) | (uint64_t)load32(at + 4) << 32;
}

void parents_key(ParentsKey *out, const uint8_t key[32], const Entry *entry)
{
    uint8_t hash[SEAL_SHORT], packed[5 * 8], device[8];
    const uint64_t stamps[5] = {entry->type, entry->size, (uint64_t)entry->mtime_ns,
                                (uint64_t)entry->ctime_ns, entry->inode};
    for (size_t i = 0; i < 5; i++)
        store64(packed + 8 * i, stamps[i]);
    seal_short(key, (Slice){packed, sizeof packed}, hash);
    memcpy(out->bytes, hash, PARENTS_STAMP);
    seal_short(key + SEAL_SHORT_KEY, slice_of_text(entry->path), hash);
    memcpy(out->bytes + PARENTS_STAMP, hash, PARENTS_NAME);
    out->token = load64(hash);
    store64(device, entry->device);
    seal_short(key, (Slice){device, sizeof device}, hash);
    memcpy(out->bytes + PARENTS_STAMP + PARENTS_NAME, hash, PARENTS_DEVICE);
    out->ctime_ns = entry->ctime_ns;
    out->movable = entry->type == ENTRY_FILE && entry->device != 0 && entry->inode != 0 &&
                   entry->ctime_ns % 1000000000 != 0;
}

bool parents_worthy(const Entry *entry, int64_t now_ns)
{
    return entry->type == ENTRY_FILE && entry->ctime_ns != 0 &&
           entry->ctime_ns < now_ns - SETTLED_NS && entry->mtime_ns < now_ns - SETTLED_NS;
}

Parents *parents_new(void)
{
    return mem_new(Parents);
}

static void add_varint(Buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_add_byte(out, (uint8_t)(value | 0x80));
    buf_add_byte(out, (uint8_t)value);
}

/* index + 1, offset, length; or 0, length for zeros. */
bool parents_extent(Parents *parents, Buf *row, const Extent *extent)
{
    if (row->len > ROW_MAX)
        return false;
    if (extent->zeros) {
        add_varint(row, 0);
        add_varint(row, extent->length);
        return true;
    }
    if (parents->ids.count >= PARENTS_IDS_MAX &&
        idmap_find(&parents->ids, &extent->id) == IDMAP_NONE)
        return false;
    add_varint(row, (uint64_t)idmap_add(&parents->ids, &extent->id, NULL) + 1);
    add_varint(row, extent->offset);
    add_varint(row, extent->length);
    return true;
}

void parents_add(Parents *parents, const ParentsKey *key, const ParentsFacts *facts, Slice row)
{
    if (parents->rows.len + row.len > ROWS_MAX)
        return;
    buf_add(&parents->rows, key->bytes, sizeof key->bytes);
    buf_add_byte(&parents->rows,
                 (uint8_t)((facts->bare ? FLAG_BARE : 0) | (facts->marked ? FLAG_MARKED : 0)));
    if (facts->marked)
        buf_add(&parents->rows, facts->mark, sizeof facts->mark);
    add_varint(&parents->rows, row.len);
    buf_add_slice(&parents->rows, row);
    parents->row_count++;
}

void parents_add_page(Parents *parents, const ChunkId *id)
{
    if (parents->ids.count < PARENTS_IDS_MAX)
        idmap_add(&parents->ids, id, NULL);
}

bool parents_full(const Parents *parents)
{
    return parents->ids.count >= FULL_IDS || parents->rows.len >= FULL_ROWS;
}

void parents_body(const Parents *parents, const ParentsEnd *end, Buf *out)
{
    buf_reserve(out,
                parents->rows.len + parents->ids.count * sizeof(ChunkId) + end->signs.len + 64);
    canon_map(out, 4u + (end->parts > 0) + (end->signs.len > 0) + (end->newest_ns > 0));
    canon_uint(out, KEY_FORMAT);
    canon_uint(out, PARENTS_FORMAT);
    canon_uint(out, KEY_IDS);
    canon_bin(out,
              (Slice){(const uint8_t *)parents->ids.ids, parents->ids.count * sizeof(ChunkId)});
    canon_uint(out, KEY_ROWS);
    canon_bin(out, buf_slice(&parents->rows));
    canon_uint(out, KEY_ROW_COUNT);
    canon_uint(out, parents->row_count);
    if (end->parts > 0) {
        canon_uint(out, KEY_PARTS);
        canon_uint(out, end->parts);
    }
    if (end->signs.len > 0) {
        canon_uint(out, KEY_SIGNS);
        canon_bin(out, end->signs);
    }
    if (end->newest_ns > 0) {
        canon_uint(out, KEY_NEWEST);
        canon_uint(out, (uint64_t)end->newest_ns);
    }
}

static bool take_varint(ParentsRow *row, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 63 && row->left > 0; shift += 7) {
        uint8_t byte = *row->at++;
        row->left--;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* The row whose key begins at an offset; false when it does not lie in the part. */
static bool open_row(const Parents *parents, size_t at, ParentsRow *row)
{
    uint64_t len;
    if (parents->rows.len - at < PARENTS_KEY + 1)
        return false;
    const uint8_t *flags = parents->rows.at + at + PARENTS_KEY;
    *row = (ParentsRow){.at = flags + 1, .left = parents->rows.len - at - PARENTS_KEY - 1};
    row->facts.bare = (*flags & FLAG_BARE) != 0;
    row->facts.marked = (*flags & FLAG_MARKED) != 0;
    if (row->facts.marked) {
        if (row->left < PARENTS_MARK)
            return false;
        memcpy(row->facts.mark, row->at, PARENTS_MARK);
        row->at += PARENTS_MARK;
        row->left -= PARENTS_MARK;
    }
    if (!take_varint(row, &len) || len > row->left)
        return false;
    row->left = (size_t)len;
    return true;
}

static size_t behind(const Parents *parents, const ParentsRow *row)
{
    return (size_t)(row->at + row->left - parents->rows.at);
}

static void put_slot(const Parents *parents, uint32_t *slots, size_t at, size_t of_key)
{
    uint64_t slot = load64(parents->rows.at + at + of_key) & parents->mask;
    while (slots[slot] != 0)
        slot = (slot + 1) & parents->mask;
    slots[slot] = (uint32_t)(at + 1);
}

/* A hash table of offsets over the rows; false when lengths do not add up. */
static bool index_rows(Parents *parents)
{
    uint64_t room = 64;
    ParentsRow row;
    while (room < parents->row_count * 2)
        room *= 2;
    parents->mask = room - 1;
    parents->slots = mem_array(uint32_t, room);
    size_t at = 0;
    for (uint64_t rows = 0; rows < parents->row_count; rows++) {
        if (!open_row(parents, at, &row))
            return false;
        put_slot(parents, parents->slots, at, 0);
        at = behind(parents, &row);
    }
    return at == parents->rows.len;
}

static void index_names(Parents *parents)
{
    ParentsRow row;
    parents->names = mem_array(uint32_t, parents->mask + 1);
    for (size_t at = 0; at < parents->rows.len && open_row(parents, at, &row);
         at = behind(parents, &row))
        put_slot(parents, parents->names, at, PARENTS_STAMP);
}

bool parents_read(Parents **out, Slice body, Err *err)
{
    Parents *parents = parents_new();
    CanonReader r = canon_reader(body);
    uint64_t last = 0, format = 0, newest = 0;
    Slice ids = {0}, rows = {0}, signs = {0};
    uint32_t fields = canon_read_map(&r);
    for (uint32_t i = 0; i < fields && !r.bad; i++) {
        uint64_t key = canon_read_key(&r, &last);
        if (key == KEY_FORMAT)
            format = canon_read_uint(&r);
        else if (key == KEY_IDS)
            ids = canon_read_bin(&r);
        else if (key == KEY_ROWS)
            rows = canon_read_bin(&r);
        else if (key == KEY_ROW_COUNT)
            parents->row_count = canon_read_uint(&r);
        else if (key == KEY_PARTS)
            parents->parts = canon_read_uint(&r);
        else if (key == KEY_SIGNS)
            signs = canon_read_bin(&r);
        else if (key == KEY_NEWEST)
            newest = canon_read_uint(&r);
        else
            canon_skip(&r);
    }
    bool good = canon_done(&r) && format == PARENTS_FORMAT && ids.len % sizeof(ChunkId) == 0 &&
                ids.len / sizeof(ChunkId) <= PARENTS_IDS_MAX &&
                parents->row_count <= rows.len / (PARENTS_KEY + 2) &&
                signs.len % PARENTS_SIGN == 0 && parents->parts < UINT32_MAX && newest <= INT64_MAX;
    for (size_t i = 0; good && i < ids.len; i += sizeof(ChunkId)) {
        ChunkId id;
        memcpy(id.bytes, ids.at + i, sizeof id);
        idmap_add(&parents->ids, &id, NULL);
    }
    buf_add_slice(&parents->rows, rows);
    buf_add_slice(&parents->signs, signs);
    parents->newest_ns = (int64_t)newest;
    if (good && index_rows(parents)) {
        *out = parents;
        return true;
    }
    parents_free(parents);
    return err_set(err, ERR_CORRUPT, "repo.bad_parents",
                   "the parent list is not valid; everything will be read again");
}

ParentsEnd parents_end(const Parents *parents)
{
    return (ParentsEnd){parents->parts, buf_slice(&parents->signs), parents->newest_ns};
}

const IdMap *parents_ids(const Parents *parents)
{
    return &parents->ids;
}

/* The next row from a slot on, which is moved behind it, that has `len` bytes of the key at `from`;
 * NULL: there is no other. */
static const uint8_t *next_of(const Parents *parents, const uint32_t *slots, const ParentsKey *key,
                              size_t from, size_t len, uint64_t *slot)
{
    while (slots[*slot] != 0) {
        const uint8_t *at = parents->rows.at + slots[*slot] - 1;
        *slot = (*slot + 1) & parents->mask;
        if (memcmp(at + from, key->bytes + from, len) == 0)
            return at;
    }
    return NULL;
}

static bool find(const Parents *parents, const ParentsKey *key, size_t from, size_t len,
                 ParentsRow *row)
{
    const uint8_t *at;
    uint64_t slot = load64(key->bytes) & parents->mask;
    for (unsigned i = 0; i < SAME_STAMP && (at = next_of(parents, parents->slots, key, 0,
                                                         PARENTS_STAMP, &slot)) != NULL;
         i++)
        if (memcmp(at + from, key->bytes + from, len) == 0)
            return open_row(parents, (size_t)(at - parents->rows.at), row);
    return false;
}

bool parents_find(const Parents *parents, const ParentsKey *key, ParentsRow *row)
{
    return find(parents, key, PARENTS_STAMP, PARENTS_NAME, row);
}

bool parents_find_moved(const Parents *parents, const ParentsKey *key, ParentsRow *row)
{
    return key->movable && find(parents, key, PARENTS_STAMP + PARENTS_NAME, PARENTS_DEVICE, row);
}

bool parents_find_marked(Parents *parents, const ParentsKey *key, const uint8_t mark[PARENTS_MARK],
                         ParentsRow *row)
{
    if (parents->names == NULL)
        index_names(parents);
    uint64_t slot = load64(key->bytes + PARENTS_STAMP) & parents->mask;
    const uint8_t *at = next_of(parents, parents->names, key, PARENTS_STAMP, PARENTS_NAME, &slot);
    return at != NULL && open_row(parents, (size_t)(at - parents->rows.at), row) &&
           row->facts.marked && memcmp(row->facts.mark, mark, PARENTS_MARK) == 0;
}

uint64_t parents_stamp(const ParentsKey *key)
{
    return load64(key->bytes);
}

bool parents_stamps(const Parents *parents, size_t *at, uint64_t *stamp)
{
    ParentsRow row;
    if (*at >= parents->rows.len || !open_row(parents, *at, &row))
        return false;
    *stamp = load64(parents->rows.at + *at);
    *at = behind(parents, &row);
    return true;
}

bool parents_next(const Parents *parents, ParentsRow *row, Extent *extent, uint32_t *index)
{
    uint64_t id, offset = 0;
    memset(extent, 0, sizeof *extent);
    *index = IDMAP_NONE;
    if (row->left == 0 || !take_varint(row, &id))
        return false;
    extent->zeros = id == 0;
    if (!extent->zeros && !take_varint(row, &offset))
        return false;
    if (!take_varint(row, &extent->length) || id > parents->ids.count || offset > UINT32_MAX)
        return false;
    extent->offset = (uint32_t)offset;
    if (!extent->zeros) {
        *index = (uint32_t)id - 1;
        extent->id = parents->ids.ids[*index];
    }
    return true;
}

void parents_free(Parents *parents)
{
    if (parents == NULL)
        return;
    idmap_free(&parents->ids);
    buf_free(&parents->rows);
    buf_free(&parents->signs);
    mem_free(parents->slots);
    mem_free(parents->names);
    mem_free(parents);
}
