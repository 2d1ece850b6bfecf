/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vault/vault_keys.h"

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/codec/keyset.h"
#include "common/repo/repo.h"
#include "worker/vault/vault_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static bool write_keys(const VaultArgs *args, const Kit *kit, const KeysRecord *keys, Err *err)
{
    scoped(buf_free) Buf bytes = {0};
    keyfile_keys_pack(keys, kit->root_seed, &bytes);
    return vault_write(args->directory, kit->set, "keys", buf_slice(&bytes), err);
}

static void say_next(const VaultArgs *args, const Kit *kit, const char *then)
{
    printf("next, for each repository of %s:  holdfast-worker repo rekey %s --store DIR --kit FILE "
           "--keys %s/%s.keys\n%s\n",
           kit->set, kit->set, args->directory, kit->set, then);
}

bool vault_rotate(const VaultArgs *args, Err *err)
{
    Kit kit = {0};
    KeysRecord keys = {0};
    ReaderFile reader = {0};
    scoped(buf_free) Buf page = {0};
    scoped(buf_free) Buf reader_file = {0};
    bool done = vault_open_set(args, &kit, &keys, err) && keyset_rotate(&keys, &kit, err);
    if (done) {
        vault_reader_of(&kit, &keys, &reader);
        keyfile_kit_print(&kit, &page);
        keyfile_reader_pack(&reader, &reader_file);
        done = vault_write(args->directory, kit.set, "kit", buf_slice(&page), err) &&
               vault_write(args->directory, kit.set, "reader", buf_slice(&reader_file), err) &&
               write_keys(args, &kit, &keys, err);
        explicit_bzero(page.at, page.len);
        explicit_bzero(reader_file.at, reader_file.len);
    }
    if (done)
        say_next(args, &kit,
                 "then enroll each host that backs up again, give the readers the new reader file, "
                 "print the new kit, and end the old key:  holdfast-worker key retire");
    explicit_bzero(&reader, sizeof reader);
    explicit_bzero(&kit, sizeof kit);
    return done;
}

bool vault_retire(const VaultArgs *args, Err *err)
{
    Kit kit = {0};
    KeysRecord keys = {0};
    bool done = vault_open_set(args, &kit, &keys, err) && keyset_retire(&keys, &kit, err) &&
                write_keys(args, &kit, &keys, err);
    if (done)
        say_next(
            args, &kit,
            "from then on hosts with a writer file of before back up nothing (key.retired) and "
            "readers with an old reader file open nothing");
    explicit_bzero(&kit, sizeof kit);
    return done;
}

/* --- revoke ------------------------------------------------------------------------------------
 */

enum { CLOCK_SLACK_S = 300 };

typedef struct Kept {
    const char *host;
    int64_t until_s; /* backups whose id is younger are not kept */
    Sha256 *sums;
    size_t count, room, refused;
    int64_t newest_s; /* of backups of other hosts, which this one cannot forge */
} Kept;

static int64_t second_of(const Uuid *backup)
{
    uint64_t ms = 0;
    for (unsigned i = 0; i < 6; i++)
        ms = ms << 8 | backup->bytes[i];
    return (int64_t)(ms / 1000);
}

static bool keep_one(void *ctx, const RepoBackup *backup, bool marked, const Err *why, Err *err)
{
    Kept *kept = ctx;
    (void)err;
    if (why == NULL && marked && strcmp(backup->host, kept->host) != 0 &&
        second_of(&backup->id) > kept->newest_s)
        kept->newest_s = second_of(&backup->id);
    if (why != NULL || strcmp(backup->host, kept->host) != 0)
        return true;
    if (!marked || second_of(&backup->id) >= kept->until_s) {
        kept->refused++;
        return true;
    }
    if (kept->count == kept->room) {
        kept->room = kept->room == 0 ? 64 : kept->room * 2;
        kept->sums = mem_resize(kept->sums, kept->room * sizeof kept->sums[0]);
    }
    kept->sums[kept->count++] = backup->manifest;
    return true;
}

static int compare_sums(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(Sha256));
}

/* What one store has of the host, as the kit's reader accepts it now. */
static bool collect(const char *url, const Kit *kit, Kept *kept, Err *err)
{
    Store *store = NULL;
    Keyring *keyring = NULL;
    Repo *repo = NULL;
    bool done = vault_open_place(url, kit->set, false, &store, err) &&
                vault_open_with_kit(kit, &keyring, err) &&
                repo_open(&repo, store, keyring, NULL, err) &&
                repo_backups(repo, keep_one, kept, err);
    repo_close(repo);
    keyring_close(keyring);
    store_close(store);
    return done || err_note(err, "%s", url);
}

/* Logins from before the revocation are told by its instant: one in the past would spare them. */
static bool check_clock(const Kept *kept, Err *err)
{
    char now[CLOCK_TEXT], newest[CLOCK_TEXT];
    int64_t now_ns = clock_wall_ns();
    if (now_ns / 1000000000 >= kept->newest_s - CLOCK_SLACK_S)
        return true;
    clock_rfc3339(now_ns, now);
    clock_rfc3339(kept->newest_s * 1000000000, newest);
    return err_set(err, ERR_CONFLICT, "key.clock",
                   "the clock of this machine says %s, and a backup in the store is of %s: set the "
                   "clock, for a revocation counts from its instant on",
                   now, newest);
}

/* Ascending, each once: copies of a backup have one manifest. */
static void join_kept(Kept *kept, Buf *out)
{
    if (kept->count > 0)
        qsort(kept->sums, kept->count, sizeof kept->sums[0], compare_sums);
    for (size_t i = 0; i < kept->count; i++)
        if (i == 0 || compare_sums(&kept->sums[i], &kept->sums[i - 1]) != 0)
            buf_add(out, kept->sums[i].bytes, sizeof kept->sums[i].bytes);
}

static bool write_revocation(const VaultArgs *args, const Kit *kit, KeysRecord *keys, Slice list,
                             Err *err)
{
    char suffix[40];
    Sha256 sum;
    hash_sha256(list, &sum);
    if (!keyset_revoke(keys, args->name, &sum, (uint64_t)(clock_wall_ns() / 1000000000 + 1), err))
        return false;
    snprintf(suffix, sizeof suffix, "kept.%" PRIu64, keys->generation);
    return (list.len == 0 || vault_write(args->directory, kit->set, suffix, list, err)) &&
           write_keys(args, kit, keys, err);
}

bool vault_revoke(const VaultArgs *args, Err *err)
{
    Kit kit = {0};
    KeysRecord keys = {0};
    Kept kept = {.host = args->name, .until_s = INT64_MAX};
    scoped(buf_free) Buf list = {0};
    if (!vault_need(args->name, "the host's name", err) ||
        !vault_need(args->stores[0], "--store", err))
        return false;
    if (args->stolen_at != NULL && !clock_parse(args->stolen_at, &kept.until_s))
        return err_set(err, ERR_USAGE, "usage.flag", "--stolen-at %s is not an instant",
                       args->stolen_at);
    bool done = vault_open_set(args, &kit, &keys, err);
    for (size_t i = 0; done && i < args->store_count; i++)
        done = collect(args->stores[i], &kit, &kept, err);
    done = done && check_clock(&kept, err);
    if (done) {
        join_kept(&kept, &list);
        done = write_revocation(args, &kit, &keys, buf_slice(&list), err);
    }
    if (done) {
        printf("of %s, %zu backups stay good and %zu do not\n", args->name,
               list.len / sizeof(Sha256), kept.refused);
        say_next(args, &kit,
                 "then take its login to the catalogue and its credential at the store away");
    }
    mem_free(kept.sums);
    explicit_bzero(&kit, sizeof kit);
    return done;
}

/* --- rekey -------------------------------------------------------------------------------------
 */

static bool read_config(Store *store, const KeysRecord *keys, ConfigRecord *config, Err *err)
{
    scoped(buf_free) Buf bytes = {0};
    bool found;
    if (!store_get(store, "config", 1 << 20, &found, &bytes, err))
        return false;
    if (!found)
        return err_set(err, ERR_MISSING, "store.not_a_repository", "the store has no config");
    if (!keyfile_config_unpack(buf_slice(&bytes), config, err))
        return err_note(err, "config");
    if (config->plain || memcmp(config->root, keys->root, sizeof config->root) != 0 ||
        !uuid_equal(&config->set_id, &keys->set_id))
        return err_set(err, ERR_CONFLICT, "repo.key_mismatch",
                       "the repository is not one of the key set %s", keys->set);
    return config->generation <= keys->generation ||
           err_set(err, ERR_CONFLICT, "key.stale",
                   "the repository has the keys of generation %" PRIu64 ", newer than %" PRIu64
                   " of this file",
                   config->generation, keys->generation);
}

/* The keys first: config names the generation that readers look for. */
bool vault_rekey(const VaultArgs *args, Err *err)
{
    Kit kit = {0};
    KeysRecord keys = {0};
    ConfigRecord config = {0};
    Store *store = NULL;
    scoped(buf_free) Buf file = {0};
    scoped(buf_free) Buf record = {0};
    bool done = vault_need(args->name, "the key set's name", err) &&
                vault_need(args->kit, "--kit", err) && vault_need(args->keys, "--keys", err) &&
                vault_need(args->stores[0], "--store", err) &&
                vault_read_kit(args->kit, &kit, err) &&
                vault_read_keys(args->keys, &kit, &keys, &file, err) &&
                vault_open_place(args->stores[0], args->name, false, &store, err) &&
                read_config(store, &keys, &config, err) &&
                vault_put_keys(store, args->keys, &keys, buf_slice(&file), err);
    if (done) {
        config.generation = keys.generation;
        keyfile_config_pack(&config, kit.root_seed, &record);
        done = store_replace(store, "config", buf_slice(&record), err);
    }
    if (done)
        printf("the repository %s/%s has the keys of generation %" PRIu64 "\n", args->stores[0],
               args->name, keys.generation);
    store_close(store);
    explicit_bzero(&kit, sizeof kit);
    return done;
}
