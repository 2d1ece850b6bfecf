/* SPDX-License-Identifier: Apache-2.0
 * ledger.c — packs and chunks in memory, found by a linear probe over ids. */
#include "tests/harness/ledger.h"

#include "common/base/mem.h"
#include "common/repo/idmap.h"

#include <pthread.h>
#include <stdio.h>

typedef enum PackState { PACK_BEGUN, PACK_STAGED, PACK_LIVE, PACK_LOST } PackState;

typedef struct Pack {
    PackRow row; /* chunks owned */
    PackState state;
    uint64_t job, attempt;
} Pack;

typedef struct MemoryLedger {
    RepoLedger ledger;
    pthread_mutex_t lock;
    Pack *packs; /* pack_no is the index + 1 */
    size_t count;
    IdMap ids; /* value: pack index << 32 | chunk index, of the newest place */
    uint64_t job, attempt, lookups, indexes, fail_at;
    bool unsorted;
    const char *autosave;
} MemoryLedger;

static MemoryLedger *memory_of(RepoLedger *ledger)
{
    return (MemoryLedger *)ledger;
}

static bool fails(MemoryLedger *m, Err *err)
{
    if (m->fail_at == 0 || --m->fail_at > 0)
        return false;
    err_set(err, ERR_UNREACHABLE, "catalogue.unreachable", "the ledger was told to fail here");
    return true;
}

static Pack *add_pack(MemoryLedger *m)
{
    m->packs = mem_resize(m->packs, (m->count + 1) * sizeof m->packs[0]);
    memset(&m->packs[m->count], 0, sizeof m->packs[0]);
    m->packs[m->count].row.pack_no = m->count + 1;
    return &m->packs[m->count++];
}

static void set_chunks(MemoryLedger *m, Pack *pack, const ChunkRow *chunks, size_t count)
{
    ChunkRow *copy = mem_array(ChunkRow, count);
    if (count > 0)
        memcpy(copy, chunks, count * sizeof *chunks);
    pack->row.chunks = copy;
    pack->row.chunk_count = count;
    for (size_t i = 0; i < count; i++) {
        uint32_t at = idmap_add(&m->ids, &copy[i].id, NULL);
        m->ids.values[at] = (pack->row.pack_no - 1) << 32 | i;
    }
}

static bool autosave(const MemoryLedger *m, Err *err)
{
    if (m->autosave == NULL || ledger_save(&m->ledger, m->autosave))
        return true;
    return err_set_sys(err, ERR_IO, "test.save", "saving the ledger");
}

static bool memory_begin(RepoLedger *ledger, const Uuid *object, const Uuid *pack, PackKind kind,
                         uint64_t *pack_no, Err *err)
{
    MemoryLedger *m = memory_of(ledger);
    pthread_mutex_lock(&m->lock);
    bool good = !fails(m, err);
    if (good) {
        Pack *new = add_pack(m);
        new->row.object = *object;
        new->row.pack = *pack;
        new->row.kind = kind;
        new->job = m->job;
        new->attempt = m->attempt;
        *pack_no = new->row.pack_no;
        good = autosave(m, err);
    }
    pthread_mutex_unlock(&m->lock);
    return good;
}

static bool memory_stage(RepoLedger *ledger, const PackRow *row, Err *err)
{
    MemoryLedger *m = memory_of(ledger);
    pthread_mutex_lock(&m->lock);
    bool good = !fails(m, err);
    if (good) {
        Pack *pack = &m->packs[row->pack_no - 1];
        pack->row.bytes = row->bytes;
        pack->row.sha256 = row->sha256;
        pack->state = PACK_STAGED;
        set_chunks(m, pack, row->chunks, row->chunk_count);
        good = autosave(m, err);
    }
    pthread_mutex_unlock(&m->lock);
    return good;
}

static bool usable(const MemoryLedger *m, const Pack *pack)
{
    return pack->state == PACK_LIVE || (pack->state == PACK_STAGED && pack->job == m->job);
}

static bool memory_lookup(RepoLedger *ledger, const ChunkId *ids, size_t count, ChunkPlace *places,
                          Err *err)
{
    MemoryLedger *m = memory_of(ledger);
    pthread_mutex_lock(&m->lock);
    m->lookups++;
    bool good = !fails(m, err);
    for (size_t i = 0; good && i < count; i++) {
        if (i > 0 && memcmp(&ids[i - 1], &ids[i], sizeof ids[0]) >= 0)
            m->unsorted = true;
        memset(&places[i], 0, sizeof places[i]);
        uint32_t at = idmap_find(&m->ids, &ids[i]);
        if (at == IDMAP_NONE)
            continue;
        const Pack *pack = &m->packs[m->ids.values[at] >> 32];
        if (!usable(m, pack))
            continue;
        places[i] = (ChunkPlace){true, pack->row.pack_no, pack->row.object, pack->row.pack,
                                 pack->row.chunks[m->ids.values[at] & UINT32_MAX]};
    }
    pthread_mutex_unlock(&m->lock);
    return good;
}

/* Rows are visited outside the lock: the visitor may ask the ledger. */
static bool memory_adopted(RepoLedger *ledger, PackVisit *visit, void *ctx, Err *err)
{
    MemoryLedger *m = memory_of(ledger);
    bool good = !fails(m, err);
    for (size_t i = 0; good && i < m->count; i++) {
        const Pack *pack = &m->packs[i];
        if (pack->state == PACK_STAGED && pack->job == m->job && pack->attempt < m->attempt)
            good = visit(ctx, &pack->row, err);
    }
    return good;
}

static bool memory_index(RepoLedger *ledger, const Uuid *backup, const Uuid *object,
                         const uint64_t *pack_nos, size_t count, Err *err)
{
    MemoryLedger *m = memory_of(ledger);
    (void)backup, (void)object, (void)pack_nos;
    pthread_mutex_lock(&m->lock);
    m->indexes += count > 0;
    bool good = !fails(m, err);
    pthread_mutex_unlock(&m->lock);
    return good;
}

static const RepoLedgerOps MEMORY_OPS = {memory_begin, memory_stage, memory_lookup, memory_adopted,
                                         memory_index};

RepoLedger *ledger_new(void)
{
    MemoryLedger *m = mem_new(MemoryLedger);
    m->ledger.ops = &MEMORY_OPS;
    pthread_mutex_init(&m->lock, NULL);
    m->job = m->attempt = 1;
    return &m->ledger;
}

void ledger_free(RepoLedger *ledger)
{
    MemoryLedger *m = memory_of(ledger);
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->count; i++)
        mem_free((void *)(uintptr_t)m->packs[i].row.chunks);
    mem_free(m->packs);
    idmap_free(&m->ids);
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

uint64_t ledger_indexes(RepoLedger *ledger)
{
    return memory_of(ledger)->indexes;
}

void ledger_attempt(RepoLedger *ledger)
{
    memory_of(ledger)->attempt++;
}

void ledger_job(RepoLedger *ledger)
{
    memory_of(ledger)->job++;
    memory_of(ledger)->attempt = 1;
}

void ledger_commit(RepoLedger *ledger, const uint64_t *pack_nos, size_t count)
{
    for (size_t i = 0; i < count; i++)
        memory_of(ledger)->packs[pack_nos[i] - 1].state = PACK_LIVE;
}

bool ledger_damage(RepoLedger *ledger, uint64_t pack_no, PackKind kind, Uuid *object)
{
    Pack *pack = &memory_of(ledger)->packs[pack_no - 1];
    if (pack->row.kind != kind)
        return false;
    pack->state = PACK_LOST;
    *object = pack->row.object;
    return true;
}

void ledger_lose(RepoLedger *ledger)
{
    MemoryLedger *m = memory_of(ledger);
    for (size_t i = 0; i < m->count; i++)
        m->packs[i].state = PACK_LOST;
}

uint64_t ledger_lookups(const RepoLedger *ledger)
{
    return ((const MemoryLedger *)ledger)->lookups;
}

static uint64_t sum(const RepoLedger *ledger, bool bytes)
{
    const MemoryLedger *m = (const MemoryLedger *)ledger;
    uint64_t total = 0;
    for (size_t i = 0; i < m->count; i++)
        if (m->packs[i].state != PACK_BEGUN)
            total += bytes ? m->packs[i].row.bytes : 1;
    return total;
}

uint64_t ledger_packs(const RepoLedger *ledger)
{
    return sum(ledger, false);
}

uint64_t ledger_bytes(const RepoLedger *ledger)
{
    return sum(ledger, true);
}

bool ledger_unsorted(const RepoLedger *ledger)
{
    return ((const MemoryLedger *)ledger)->unsorted;
}

void ledger_fail_at(RepoLedger *ledger, uint64_t call)
{
    memory_of(ledger)->fail_at = call;
}

void ledger_autosave(RepoLedger *ledger, const char *path)
{
    memory_of(ledger)->autosave = path;
}

static bool save_pack(FILE *file, const Pack *pack)
{
    return fwrite(pack, sizeof *pack, 1, file) == 1 &&
           (pack->row.chunk_count == 0 ||
            fwrite(pack->row.chunks, sizeof pack->row.chunks[0], pack->row.chunk_count, file) ==
                pack->row.chunk_count);
}

bool ledger_save(const RepoLedger *ledger, const char *path)
{
    const MemoryLedger *m = (const MemoryLedger *)ledger;
    char beside[4096];
    snprintf(beside, sizeof beside, "%s.new", path);
    FILE *file = fopen(beside, "wb");
    if (file == NULL)
        return false;
    uint64_t head[3] = {m->job, m->attempt, m->count};
    bool good = fwrite(head, sizeof head, 1, file) == 1;
    for (size_t i = 0; good && i < m->count; i++)
        good = save_pack(file, &m->packs[i]);
    good = fclose(file) == 0 && good;
    return good && rename(beside, path) == 0;
}

static bool load_pack(MemoryLedger *m, FILE *file)
{
    Pack saved;
    if (fread(&saved, sizeof saved, 1, file) != 1)
        return false;
    size_t count = saved.row.chunk_count;
    ChunkRow *chunks = mem_array(ChunkRow, count);
    bool good = fread(chunks, sizeof *chunks, count, file) == count;
    Pack *pack = add_pack(m);
    *pack = saved;
    set_chunks(m, pack, chunks, good ? count : 0);
    mem_free(chunks);
    return good;
}

RepoLedger *ledger_load(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    RepoLedger *ledger = ledger_new();
    MemoryLedger *m = memory_of(ledger);
    uint64_t head[3] = {0};
    bool good = fread(head, sizeof head, 1, file) == 1;
    for (uint64_t i = 0; good && i < head[2]; i++)
        good = load_pack(m, file);
    m->job = head[0];
    m->attempt = head[1];
    fclose(file);
    if (good)
        return ledger;
    ledger_free(ledger);
    return NULL;
}
