/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vault/vault_lock.h"

#include "common/base/secret.h"
#include "common/codec/keyset.h"
#include "worker/vault/vault_files.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* --- passphrase -------------------------------------------------------------------------------
 */

static bool read_reader(const VaultArgs *args, Slice bytes, ReaderFile *file, Err *err)
{
    Secret *passphrase = NULL;
    if (!keyfile_reader_is_locked(bytes))
        return keyfile_reader_unpack(bytes, file, err);
    bool done = secret_ask(args->passphrase, "passphrase of now", &passphrase, err) &&
                keyfile_reader_unlock(bytes, secret_slice(passphrase), file, err);
    secret_free(passphrase);
    return done;
}

/* Twice where it is typed: a slip would lock the reader out. */
static bool ask_new(const VaultArgs *args, Secret **out, Err *err)
{
    Secret *again = NULL;
    if (!secret_ask(args->new_passphrase, "new passphrase", out, err))
        return false;
    if (args->new_passphrase != NULL)
        return true;
    bool same = secret_ask(NULL, "the same again", &again, err) &&
                (slice_equal(secret_slice(*out), secret_slice(again)) ||
                 err_set(err, ERR_USAGE, "key.passphrase", "the two are not the same"));
    secret_free(again);
    return same;
}

static bool pack_new(const VaultArgs *args, const ReaderFile *file, Buf *out, Err *err)
{
    Secret *passphrase = NULL;
    if (args->no_passphrase) {
        keyfile_reader_pack(file, out);
        return true;
    }
    bool done = ask_new(args, &passphrase, err) &&
                keyfile_reader_lock(file, secret_slice(passphrase), out, err);
    secret_free(passphrase);
    return done;
}

/* Beside it, durable, then in its place. */
static bool put_in_place(const VaultArgs *args, const char *path, Slice bytes, Err *err)
{
    char fresh[PATH_MAX];
    if (snprintf(fresh, sizeof fresh, "%s/%s.reader.new", args->directory, args->name) >=
        (int)sizeof fresh)
        return err_set(err, ERR_USAGE, "key.name", "the directory's name is too long");
    unlink(fresh); /* of one that was cut off */
    if (!vault_write(args->directory, args->name, "reader.new", bytes, err))
        return false;
    if (rename(fresh, path) != 0)
        return err_set_sys(err, ERR_IO, "key.write", "%s", path);
    int fd = open(args->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool durable = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return durable || err_set_sys(err, ERR_IO, "key.write", "%s", args->directory);
}

bool vault_passphrase(const VaultArgs *args, Err *err)
{
    char path[PATH_MAX];
    Secret *bytes = NULL;
    ReaderFile file = {0};
    scoped(buf_free) Buf fresh = {0};
    if (!vault_need(args->name, "the key set's name", err) ||
        !vault_need(args->directory, "--dir", err))
        return false;
    snprintf(path, sizeof path, "%s/%s.reader", args->directory, args->name);
    bool done = secret_read_bytes(path, &bytes, err) &&
                (read_reader(args, secret_slice(bytes), &file, err) || err_note(err, "%s", path)) &&
                pack_new(args, &file, &fresh, err) &&
                put_in_place(args, path, buf_slice(&fresh), err);
    if (done)
        printf("%s %s\n", path,
               args->no_passphrase ? "has no passphrase any more"
                                   : "opens with the new passphrase");
    secret_free(bytes);
    if (fresh.len > 0)
        explicit_bzero(fresh.at, fresh.len);
    explicit_bzero(&file, sizeof file);
    return done;
}

/* --- recovery kit -----------------------------------------------------------------------------
 */

static bool is_newest(const VaultArgs *args, const Kit *kit, Err *err)
{
    KeysRecord keys = {0};
    uint8_t id_secret[SEAL_KEY];
    scoped(buf_free) Buf bytes = {0};
    if (args->keys == NULL)
        return true;
    bool done = vault_read_keys(args->keys, kit, &keys, &bytes, err) &&
                keyset_id_secret(&keys, kit, id_secret, err);
    explicit_bzero(id_secret, sizeof id_secret);
    return done;
}

bool vault_recovery_kit(const VaultArgs *args, Err *err)
{
    Kit kit = {0};
    scoped(buf_free) Buf page = {0};
    bool done = vault_need(args->kit, "--kit", err) && vault_read_kit(args->kit, &kit, err) &&
                is_newest(args, &kit, err);
    if (done) {
        keyfile_kit_print(&kit, &page);
        if (args->directory != NULL)
            done = vault_write(args->directory, kit.set, "kit", buf_slice(&page), err);
        else
            done = (fwrite(page.at, 1, page.len, stdout) == page.len && fflush(stdout) == 0) ||
                   err_set_sys(err, ERR_IO, "key.write", "the recovery kit");
        explicit_bzero(page.at, page.len);
    }
    explicit_bzero(&kit, sizeof kit);
    return done;
}
