/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vault/vault_files.h"

#include "common/base/hash.h"
#include "common/base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEYS_MOST = 65536 };

bool vault_write(const char *directory, const char *name, const char *suffix, Slice bytes, Err *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s.%s", directory, name, suffix);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == EEXIST)
        return err_set(err, ERR_CONFLICT, "key.exists",
                       "%s is there already; move it away first, keys are never overwritten", path);
    if (fd < 0)
        return err_set_sys(err, err_code_of_errno(errno), "key.write", "%s", path);
    bool done = write(fd, bytes.at, bytes.len) == (ssize_t)bytes.len && fsync(fd) == 0;
    done = close(fd) == 0 && done;
    if (done)
        printf("wrote %s\n", path);
    return done || err_set_sys(err, ERR_IO, "key.write", "%s", path);
}

bool vault_need(const char *value, const char *flag, Err *err)
{
    return value != NULL ||
           err_set(err, ERR_USAGE, "usage.flag", "%s is missing; see --help", flag);
}

bool vault_read_kit(const char *path, Kit *kit, Err *err)
{
    Secret *secret = NULL;
    bool done = secret_read_file(path, &secret, err) &&
                keyfile_kit_parse(text_of_slice(secret_slice(secret)), kit, err);
    secret_free(secret);
    return done;
}

bool vault_read_keys(const char *path, const Kit *kit, KeysRecord *keys, Buf *bytes, Err *err)
{
    uint8_t root[SEAL_SIGN_PUBLIC];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_sys(err, err_code_of_errno(errno), "key.read", "%s", path);
    uint8_t *at = buf_extend(bytes, KEYS_MOST);
    ssize_t got = read(fd, at, KEYS_MOST);
    close(fd);
    bytes->len = got < 0 ? 0 : (size_t)got;
    if (!keyfile_keys_unpack(buf_slice(bytes), keys, err))
        return err_note(err, "%s", path);
    seal_sign_public_of(kit->root_seed, root);
    if (memcmp(root, keys->root, sizeof root) != 0 || !uuid_equal(&kit->set_id, &keys->set_id))
        return err_set(err, ERR_CONFLICT, "repo.key_mismatch",
                       "%s belongs to another key set than the recovery kit", path);
    return true;
}

bool vault_open_place(const char *url, const char *set, bool create, Store **store, Err *err)
{
    char path[PATH_MAX];
    Store *parent = NULL;
    /* The store itself must be there: an unmounted disk is never made into one. */
    if (!vault_need(url, "--store", err) || !store_url_open(&parent, url, "", err))
        return false;
    store_close(parent);
    if (store_url_is_s3(url)) /* there are no directories to make */
        return store_url_open(store, url, set, err);
    snprintf(path, sizeof path, "%s/%s", url, set);
    if (create && mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_set_sys(err, err_code_of_errno(errno), "repo.create", "%s", path);
    if (create) {
        int fd = open(url, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        bool durable = fd >= 0 && fsync(fd) == 0;
        if (fd >= 0)
            close(fd);
        if (!durable)
            return err_set_sys(err, ERR_IO, "repo.create", "making %s durable", path);
    }
    return store_local_open(store, path, err);
}

bool vault_is_there(const char *url)
{
    Store *store = NULL;
    Err ignored = {0};
    bool there = store_url_open(&store, url, "", &ignored);
    store_close(store);
    return there;
}

static bool read_list(const char *path, Buf *out, Err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : 1;
    while (got > 0) {
        size_t had = out->len;
        uint8_t *at = buf_extend(out, KEYS_MOST);
        got = read(fd, at, KEYS_MOST);
        out->len = had + (got > 0 ? (size_t)got : 0);
    }
    if (fd >= 0)
        close(fd);
    return got == 0 || err_set_sys(err, err_code_of_errno(errno), "key.read",
                                   "%s, the list of what is kept of a revoked host", path);
}

/* Beside SET.keys lies SET.kept.<generation>. */
static bool put_kept(Store *store, const char *path, const KeysRecord *keys, const RevokedHost *one,
                     Err *err)
{
    char name[KEYFILE_OBJECT_NAME], beside[PATH_MAX];
    const char *slash = strrchr(path, '/');
    bool found;
    uint64_t size;
    Sha256 hash;
    scoped(buf_free) Buf list = {0};
    hash_sha256((Slice){0}, &hash);
    if (memcmp(&hash, &one->kept, sizeof hash) == 0)
        return true;
    keyfile_kept_name(keys->set, one->before, name);
    if (!store_head(store, name, &found, &size, err))
        return false;
    if (found)
        return true;
    snprintf(beside, sizeof beside, "%.*s%s", slash == NULL ? 0 : (int)(slash + 1 - path), path,
             name + strlen("keys/"));
    if (!read_list(beside, &list, err))
        return false;
    hash_sha256(buf_slice(&list), &hash);
    if (memcmp(&hash, &one->kept, sizeof hash) != 0)
        return err_set(err, ERR_CORRUPT, "key.damaged", "%s is not the list that the root signed",
                       beside);
    return store_put(store, name, buf_slice(&list), err);
}

bool vault_put_keys(Store *store, const char *path, const KeysRecord *keys, Slice bytes, Err *err)
{
    char name[KEYFILE_OBJECT_NAME];
    bool found;
    scoped(buf_free) Buf there = {0};
    for (unsigned i = 0; i < keys->revoked_count; i++)
        if (!put_kept(store, path, keys, &keys->revoked[i], err))
            return false;
    keyfile_keys_name(keys->set, keys->generation, name);
    if (!store_get(store, name, KEYS_MOST, &found, &there, err))
        return false;
    if (!found)
        return store_put(store, name, bytes, err);
    return (there.len == bytes.len && memcmp(there.at, bytes.at, bytes.len) == 0) ||
           err_set(err, ERR_CONFLICT, "key.forked",
                   "the store has another %s: somebody changed the keys from the same state; go on "
                   "with theirs",
                   name);
}

bool vault_open_set(const VaultArgs *args, Kit *kit, KeysRecord *keys, Err *err)
{
    scoped(buf_free) Buf bytes = {0};
    return vault_need(args->kit, "--kit", err) && vault_need(args->keys, "--keys", err) &&
           vault_need(args->directory, "--dir", err) && vault_read_kit(args->kit, kit, err) &&
           vault_read_keys(args->keys, kit, keys, &bytes, err);
}

void vault_reader_of(const Kit *kit, const KeysRecord *keys, ReaderFile *out)
{
    *out = (ReaderFile){.set_id = kit->set_id, .generation = keys->generation};
    memcpy(out->set, kit->set, sizeof out->set);
    seal_sign_public_of(kit->root_seed, out->root);
    memcpy(out->secret, kit->reader_secret, sizeof out->secret);
}
