/* SPDX-License-Identifier: Apache-2.0
 * vault_check.c — does a printed kit open what it should? */
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/repo/pack.h"
#include "common/repo/repo.h"
#include "worker/vault/vault_files.h"
#include "worker/vault/vault_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Through a private directory in memory, as a reader would use it. */
bool vault_open_with_kit(const Kit *kit, Keyring **keyring, Err *err)
{
    char directory[] = "/dev/shm/hf-kit-XXXXXX";
    char path[PATH_MAX];
    ReaderFile reader;
    scoped(buf_free) Buf bytes = {0};
    vault_reader_of(kit, &(KeysRecord){0}, &reader);
    keyfile_reader_pack(&reader, &bytes);
    if (mkdtemp(directory) == NULL)
        return err_set_sys(err, ERR_IO, "key.check", "%s", directory);
    snprintf(path, sizeof path, "%s/%s.reader", directory, kit->set);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool done = fd >= 0 && write(fd, bytes.at, bytes.len) == (ssize_t)bytes.len;
    if (fd >= 0)
        close(fd);
    done = done ? keyring_open(keyring, directory, kit->set, err)
                : err_set_sys(err, ERR_IO, "key.check", "%s", path);
    unlink(path);
    rmdir(directory);
    explicit_bzero(bytes.at, bytes.len);
    explicit_bzero(&reader, sizeof reader);
    return done;
}

enum { PACKS_TRIED = 4, CONFIG_MOST = 1 << 20 };

typedef struct Check {
    Repo *repo;
    size_t good, bad; /* backups */
    size_t packs;     /* of which a chunk was opened */
    Uuid tried[PACKS_TRIED];
    size_t seen;
} Check;

static bool count_backup(void *ctx, const RepoBackup *backup, bool marked, const Err *why, Err *err)
{
    Check *check = ctx;
    (void)backup;
    (void)marked;
    (void)err;
    if (why == NULL || why->code == ERR_NONE)
        check->good++;
    else
        check->bad++;
    return true;
}

/* Of all packs each is as likely to stay as any other: the names are random. */
static bool choose_pack(void *ctx, const char *name, uint64_t size, Err *err)
{
    Check *check = ctx;
    const char *slash = strrchr(name, '/');
    Uuid object;
    Err ignored = {0};
    (void)size;
    (void)err;
    if (slash == NULL || !uuid_parse(text_of(slash + 1), &object, &ignored))
        return true;
    if (check->seen < PACKS_TRIED)
        check->tried[check->seen] = object;
    else if (rand_unit() * (double)(check->seen + 1) < PACKS_TRIED)
        check->tried[(size_t)(rand_unit() * PACKS_TRIED)] = object;
    check->seen++;
    return true;
}

/* The pack's key, its table, and the content of its first chunk. */
static bool try_pack(Check *check, const Uuid *object, Err *err)
{
    PackReader *reader = NULL;
    ChunkRow *rows = NULL;
    size_t count = 0;
    CodecWork *work = codec_work_new();
    uint8_t *plain = mem_array(uint8_t, DISK_CHUNK_MOST);
    scoped(buf_free) Buf scratch = {0};
    bool good =
        pack_open(&reader, repo_keyring(check->repo), repo_store(check->repo), object, NULL, err) &&
        pack_table(reader, &rows, &count, err) &&
        (count == 0 || pack_chunk(reader, work, &scratch, &rows[0], plain, err));
    check->packs += good;
    mem_free(plain);
    mem_free(rows);
    codec_work_free(work);
    pack_close(reader);
    return good;
}

static bool try_packs(Check *check, Err *err)
{
    if (!store_list(repo_store(check->repo), "packs/", choose_pack, check, err))
        return false;
    for (size_t i = 0; i < PACKS_TRIED && i < check->seen; i++)
        if (!try_pack(check, &check->tried[i], err))
            return err_note(err, "the kit opens not everything");
    return true;
}

/* The repository is there and the kit does not fit it: is it another set's? err stays where the
 * repository itself is at fault. */
static bool another_set(Store *store, const Kit *kit, Err *err)
{
    scoped(buf_free) Buf bytes = {0};
    ConfigRecord config;
    uint8_t root[SEAL_SIGN_PUBLIC];
    char theirs[UUID_TEXT], ours[UUID_TEXT];
    bool found = false;
    Err unread = {0};
    seal_sign_public_of(kit->root_seed, root);
    if (!store_get(store, "config", CONFIG_MOST, &found, &bytes, &unread) || !found ||
        !keyfile_config_unpack(buf_slice(&bytes), &config, &unread) ||
        (uuid_equal(&config.set_id, &kit->set_id) && memcmp(config.root, root, sizeof root) == 0))
        return false;
    uuid_text(&config.set_id, theirs);
    uuid_text(&kit->set_id, ours);
    return err_set(err, ERR_CONFLICT, "key.other_set",
                   "this kit is not the one of the repository: both key sets are called %s, the "
                   "kit's has the id %s and the repository's %s; take the kit with that id",
                   kit->set, ours, theirs);
}

static bool open_repository(Check *check, Store *store, const Kit *kit, Keyring *keyring, Err *err)
{
    if (repo_open(&check->repo, store, keyring, NULL, err))
        return true;
    return strcmp(err->cause, "repo.key_mismatch") == 0 && another_set(store, kit, err);
}

/* A repository lies under the name of its key set. */
static bool open_place(const VaultArgs *args, const Kit *kit, Store **store, Err *err)
{
    bool found = false;
    uint64_t size;
    char ours[UUID_TEXT];
    if (vault_open_place(args->stores[0], kit->set, false, store, err)) {
        if (!store_head(*store, "config", &found, &size, err))
            return false;
    } else if (*store != NULL || strcmp(err->cause, "store.missing") != 0 ||
               !vault_is_there(args->stores[0]))
        return false;
    uuid_text(&kit->set_id, ours);
    return found || err_set(err, ERR_CONFLICT, "key.other_set",
                            "this kit is of the key set %s (id %s), and %s holds no repository of "
                            "that name: name the store of that set, or take the kit of the set "
                            "that lies there",
                            kit->set, ours, args->stores[0]);
}

bool vault_check(const VaultArgs *args, Err *err)
{
    Kit kit = {0};
    Check check = {0};
    Store *store = NULL;
    Keyring *keyring = NULL;
    bool done = vault_need(args->kit, "--kit", err) &&
                vault_need(args->stores[0], "--store", err) &&
                vault_read_kit(args->kit, &kit, err) && open_place(args, &kit, &store, err) &&
                vault_open_with_kit(&kit, &keyring, err) &&
                open_repository(&check, store, &kit, keyring, err) &&
                repo_backups(check.repo, count_backup, &check, err) && try_packs(&check, err);
    if (done)
        printf("the kit opens %s: %zu backups, %zu of them damaged; a chunk of %zu of %zu packs "
               "was opened\n",
               kit.set, check.good + check.bad, check.bad, check.packs, check.seen);
    if (done && check.bad != 0)
        done = err_set(err, ERR_CORRUPT, "repo.damaged", "%zu manifests do not open", check.bad);
    repo_close(check.repo);
    keyring_close(keyring);
    store_close(store);
    explicit_bzero(&kit, sizeof kit);
    return done;
}
