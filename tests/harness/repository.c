/* SPDX-License-Identifier: Apache-2.0
 * repository.c — keys, config and store of a test. */
#include "tests/harness/repository.h"

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/codec/keyset.h"
#include "common/repo/reader.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void must(bool good, const Err *err)
{
    if (good)
        return;
    fprintf(stderr, "repository: %s: %s\n", err->cause, err->text);
    abort();
}

static void put_file(const char *dir, const char *name, const Buf *bytes)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0400);
    if (fd < 0 || write(fd, bytes->at, bytes->len) != (ssize_t)bytes->len || close(fd) != 0)
        must(false, &(Err){.cause = "test", .text = "a file could not be written"});
}

struct RepositoryKeys {
    KeysRecord keys;
    uint8_t root_seed[SEAL_SIGN_SEED];
    uint8_t reader_secret[SEAL_SECRET];
    uint8_t id_secret[SEAL_KEY];
};

static void draw_keys(RepositoryKeys *k)
{
    rand_bytes(k->root_seed, sizeof k->root_seed);
    rand_bytes(k->reader_secret, sizeof k->reader_secret);
    rand_bytes(k->id_secret, sizeof k->id_secret);
    k->keys = (KeysRecord){.set = "test", .set_id = rand_uuid(), .generation = 1};
    seal_sign_public_of(k->root_seed, k->keys.root);
    k->keys.reader_count = 1;
    seal_public_of(k->reader_secret, k->keys.readers[0]);
    seal_box(k->keys.readers[0], k->id_secret, k->keys.boxes[0]);
}

/* A host's writer or prune file, as `key enroll` makes it; `folder` is there. */
static void write_signer(const char *dir, const char *folder, const RepositoryKeys *k,
                         const char *host, const char *sources, bool prune)
{
    scoped(buf_free) Buf writer = {0};
    char name[80];
    WriterFile file = {.keys = k->keys};
    if (!prune)
        memcpy(file.id_secret, k->id_secret, sizeof file.id_secret);
    rand_bytes(file.sign_seed, sizeof file.sign_seed);
    rand_bytes(file.box_secret, sizeof file.box_secret);
    CertRecord cert = {.set_id = k->keys.set_id, .generation = k->keys.generation};
    snprintf(cert.role, sizeof cert.role, "%s", prune ? "prune" : "write");
    snprintf(cert.host, sizeof cert.host, "%s", host);
    snprintf(cert.sources, sizeof cert.sources, "%s", sources);
    seal_sign_public_of(file.sign_seed, cert.sign_public);
    seal_public_of(file.box_secret, cert.box_public);
    keyfile_cert_pack(&cert, k->root_seed, &file.certificate);
    keyfile_writer_pack(&file, &writer);
    keyfile_writer_wipe(&file);
    snprintf(name, sizeof name, "%s/test.%s", folder, prune ? "prune" : "writer");
    put_file(dir, name, &writer);
}

static void write_keys(const Repository *r, const RepositoryKeys *k)
{
    scoped(buf_free) Buf reader = {0};
    ReaderFile read = {.set = "test", .set_id = k->keys.set_id, .generation = k->keys.generation};
    write_signer(r->dir, "keys", k, "testhost", "*", false);
    write_signer(r->dir, "keys", k, "testhost", "*", true);
    memcpy(read.root, k->keys.root, sizeof read.root);
    memcpy(read.secret, k->reader_secret, sizeof read.secret);
    keyfile_reader_pack(&read, &reader);
    put_file(r->dir, "keys/test.reader", &reader);
}

static void create(Repository *r, bool plain)
{
    scoped(buf_free) Buf config = {0}, keys = {0};
    RepositoryKeys *k = mem_new(RepositoryKeys);
    Err err = {0};
    r->keys = k;
    draw_keys(k);
    ConfigRecord record = {.repository = rand_uuid(), .plain = plain};
    if (!plain) {
        write_keys(r, k);
        record.set_id = k->keys.set_id;
        record.generation = 1;
        memcpy(record.root, k->keys.root, sizeof record.root);
        keyfile_keys_pack(&k->keys, k->root_seed, &keys);
    }
    snprintf(record.set, sizeof record.set, "%s", plain ? "plain" : "test");
    keyfile_config_pack(&record, plain ? NULL : k->root_seed, &config);
    must(store_local_open(&r->store, r->store_path, &err), &err);
    if (!plain)
        must(store_put(r->store, "keys/test", buf_slice(&keys), &err), &err);
    must(store_put(r->store, "config", buf_slice(&config), &err), &err);
    store_close(r->store);
}

static void open_all(Repository *r)
{
    Err err = {0};
    char keys[80];
    snprintf(keys, sizeof keys, "%s/keys", r->dir);
    must(store_local_open(&r->store, r->store_path, &err), &err);
    store_let_remove(r->store); /* a test does as it likes */
    must(keyring_open(&r->keyring, keys, r->plain ? "plain" : "test", &err), &err);
    must(repo_open(&r->repo, r->store, r->keyring, NULL, &err), &err);
}

Repository *repository_new(bool plain)
{
    Repository *r = mem_new(Repository);
    char path[80];
    snprintf(r->dir, sizeof r->dir, "/tmp/holdfast-repository.XXXXXX");
    if (mkdtemp(r->dir) == NULL)
        must(false, &(Err){.cause = "test", .text = "no temporary directory"});
    snprintf(path, sizeof path, "%s/keys", r->dir);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/store", r->dir);
    mkdir(path, 0700);
    snprintf(r->store_path, sizeof r->store_path, "%s/%s", path, plain ? "plain" : "test");
    mkdir(r->store_path, 0700);
    r->plain = plain;
    r->ledger = ledger_new();
    create(r, plain);
    open_all(r);
    return r;
}

static void close_all(Repository *r)
{
    repo_close(r->repo);
    keyring_close(r->keyring);
    store_close(r->store);
}

void repository_reopen(Repository *r)
{
    close_all(r);
    open_all(r);
}

Keyring *repository_keyring(Repository *r, bool read)
{
    Keyring *keyring;
    Err err = {0};
    char keys[80], from[100], aside[100];
    snprintf(keys, sizeof keys, "%s/keys", r->dir);
    snprintf(from, sizeof from, "%s/test.%s", keys, read ? "writer" : "reader");
    snprintf(aside, sizeof aside, "%s/aside", keys);
    if (rename(from, aside) != 0)
        must(false, &(Err){.cause = "test", .text = "no such key file"});
    must(keyring_open(&keyring, keys, "test", &err), &err);
    if (rename(aside, from) != 0)
        must(false, &(Err){.cause = "test", .text = "a key file would not come back"});
    return keyring;
}

Keyring *repository_stranger(Repository *r, const char *sources)
{
    Keyring *keyring;
    Err err = {0};
    char folder[32], path[120];
    snprintf(folder, sizeof folder, "stranger-%u", r->strangers++);
    snprintf(path, sizeof path, "%s/%s", r->dir, folder);
    mkdir(path, 0700);
    write_signer(r->dir, folder, r->keys, "stranger", sources, false);
    must(keyring_open(&keyring, path, "test", &err), &err);
    return keyring;
}

static int compare_sums(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(Sha256));
}

/* The keys as they are now, and the config that names them. */
static void publish(Repository *r)
{
    scoped(buf_free) Buf keys = {0}, config = {0};
    RepositoryKeys *k = r->keys;
    char name[KEYFILE_OBJECT_NAME];
    Err err = {0};
    keyfile_keys_name("test", k->keys.generation, name);
    keyfile_keys_pack(&k->keys, k->root_seed, &keys);
    must(store_put(r->store, name, buf_slice(&keys), &err), &err);
    ConfigRecord record = {.repository = repo_facts(r->repo)->id,
                           .set = "test",
                           .set_id = k->keys.set_id,
                           .generation = k->keys.generation};
    memcpy(record.root, k->keys.root, sizeof record.root);
    keyfile_config_pack(&record, k->root_seed, &config);
    must(store_replace(r->store, "config", buf_slice(&config), &err), &err);
}

void repository_revoke(Repository *r, const char *host, const Sha256 *kept, size_t count)
{
    scoped(buf_free) Buf list = {0};
    RepositoryKeys *k = r->keys;
    char name[KEYFILE_OBJECT_NAME];
    Sha256 sum;
    Err err = {0};
    buf_add(&list, kept, count * sizeof kept[0]);
    if (count > 1)
        qsort(list.at, count, sizeof kept[0], compare_sums);
    hash_sha256(buf_slice(&list), &sum);
    must(keyset_revoke(&k->keys, host, &sum, (uint64_t)(clock_wall_ns() / 1000000000 + 1), &err),
         &err);
    keyfile_kept_name("test", k->keys.generation, name);
    must(store_put(r->store, name, buf_slice(&list), &err), &err);
    publish(r);
    repository_reopen(r);
}

static Kit kit_of(const RepositoryKeys *k)
{
    Kit kit = {.set = "test", .set_id = k->keys.set_id};
    memcpy(kit.root_seed, k->root_seed, sizeof kit.root_seed);
    memcpy(kit.reader_secret, k->reader_secret, sizeof kit.reader_secret);
    return kit;
}

void repository_rotate(Repository *r)
{
    RepositoryKeys *k = r->keys;
    Kit kit = kit_of(k);
    Err err = {0};
    must(keyset_rotate(&k->keys, &kit, &err), &err);
    memcpy(k->reader_secret, kit.reader_secret, sizeof k->reader_secret);
    publish(r);
}

void repository_retire(Repository *r)
{
    Kit kit = kit_of(r->keys);
    Err err = {0};
    must(keyset_retire(&r->keys->keys, &kit, &err), &err);
    publish(r);
}

void repository_enroll(Repository *r)
{
    static const char *const files[] = {"writer", "prune", "reader"};
    char path[120];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/keys/test.%s", r->dir, files[i]);
        unlink(path);
    }
    write_keys(r, r->keys);
    repository_reopen(r);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void repository_free(Repository *r)
{
    close_all(r);
    ledger_free(r->ledger);
    nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    mem_free(r->keys);
    mem_free(r);
}

void repository_params(Repository *r, const RepoBackup *previous, WriterParams *params)
{
    *params = (WriterParams){.repo = r->repo,
                             .ledger = r->ledger,
                             .source = TEXT("tree"),
                             .backup = rand_backup_id(),
                             .lanes = 1,
                             .ordered = true,
                             .threads = 2};
    if (previous == NULL)
        return;
    params->has_parent = true;
    params->parent = previous->id;
    params->parent_sequence = previous->sequence;
    params->parent_manifest = previous->manifest;
}

bool repository_write(RepoWriter *w, unsigned lane, const RepositoryEntry *e, bool *known, Err *err)
{
    if (!writer_entry_begin(w, lane, &e->entry, known, err))
        return false;
    size_t done = 0;
    while (!*known && done < e->content.len) {
        uint8_t *at;
        size_t room;
        if (!writer_reserve(w, lane, &at, &room, err))
            return false;
        size_t part = e->content.len - done < room ? e->content.len - done : room;
        memcpy(at, e->content.at + done, part);
        done += part;
        if (!writer_advance(w, lane, part, err))
            return false;
    }
    if (!*known && e->zeros > 0 && !writer_zeros(w, lane, e->zeros, err))
        return false;
    return writer_entry_end(w, lane, &e->entry, true, err);
}

void repository_commit(Repository *r, const RepoBackup *backup)
{
    Err err = {0};
    ledger_commit(r->ledger, backup->pack_nos, backup->pack_count);
    must(repo_marker_put(r->repo, &backup->id, &backup->manifest, &err), &err);
}

bool repository_try(const WriterParams *params, const RepositoryEntry *entries, size_t count,
                    RepoBackup *out, WriterProgress *progress, Err *err)
{
    RepoWriter *w;
    bool known;
    Receipt receipt = {.consistent_ns = 1700000000000000000, .details = TEXT("{}")};
    if (!writer_open(&w, params, err))
        return false;
    bool good = true;
    for (size_t i = 0; good && i < count; i++)
        good = repository_write(w, 0, &entries[i], &known, err);
    good = good && writer_finish(w, &receipt, out, err);
    if (progress != NULL)
        writer_progress(w, progress);
    writer_close(w);
    return good;
}

void repository_backup(Repository *r, const RepositoryEntry *entries, size_t count,
                       const RepoBackup *previous, RepoBackup *out)
{
    WriterParams params;
    Err err = {0};
    repository_params(r, previous, &params);
    must(repository_try(&params, entries, count, out, NULL, &err), &err);
    repository_commit(r, out);
}

typedef struct Compare {
    RepoReader *reader;
    const RepositoryEntry *entries;
    size_t count, next;
    uint64_t at;
} Compare;

static void must_be(bool true_it_is, const RepositoryEntry *e, const char *what)
{
    if (true_it_is)
        return;
    fprintf(stderr, "repository: %.*s %s\n", TEXT_ARG(e->entry.path), what);
    abort();
}

static bool same_data(void *ctx, Slice bytes, Err *err)
{
    (void)err;
    Compare *c = ctx;
    const RepositoryEntry *e = &c->entries[c->next];
    for (size_t i = 0; i < bytes.len; i++, c->at++)
        must_be(bytes.at[i] == (c->at < e->content.len ? e->content.at[c->at] : 0), e, "differs");
    return true;
}

static bool same_zeros(void *ctx, uint64_t count, Err *err)
{
    (void)err;
    Compare *c = ctx;
    const RepositoryEntry *e = &c->entries[c->next];
    for (; count > 0 && c->at < e->content.len; count--, c->at++)
        must_be(e->content.at[c->at] == 0, e, "has a hole where content was");
    c->at += count;
    return true;
}

static bool same_entry(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop,
                       Err *err)
{
    (void)stop;
    Compare *c = ctx;
    if (c->next >= c->count)
        must(false, &(Err){.cause = "test", .text = "the backup has more entries than it should"});
    const RepositoryEntry *e = &c->entries[c->next];
    must_be(text_equal(entry->path, e->entry.path), e, "has another path");
    must_be(entry->mtime_ns == e->entry.mtime_ns && entry->mode == e->entry.mode &&
                text_equal(entry->user, e->entry.user),
            e, "has other metadata");
    uint64_t size = e->content.len + e->zeros;
    must_be(reader_content_size(content) == size, e, "has another size");
    ReaderSink sink = {c, same_data, same_zeros};
    c->at = 0;
    if (!reader_content(c->reader, content, &sink, err))
        return false;
    must_be(c->at == size, e, "is cut short");
    c->next++;
    return true;
}

void repository_compare(Repository *r, const RepoBackup *backup, const RepositoryEntry *entries,
                        size_t count)
{
    RepoLocator *locator;
    Err err = {0};
    must(locator_open_index(&locator, r->repo, NULL, &err), &err);
    ReaderParams params = {
        .repo = r->repo, .locator = locator, .backup = backup->id, .manifest = &backup->manifest};
    Compare c = {.entries = entries, .count = count};
    must(reader_open(&c.reader, &params, &err), &err);
    must(reader_walk(c.reader, NULL, same_entry, &c, &err), &err);
    if (c.next != count)
        must(false, &(Err){.cause = "test", .text = "the backup has fewer entries than it should"});
    reader_close(c.reader);
    locator_close(locator);
}
