/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vault/vault.h"

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/codec/keyset.h"
#include "worker/vault/vault_files.h"
#include "worker/vault/vault_keys.h"
#include "worker/vault/vault_list.h"
#include "worker/vault/vault_lock.h"
#include "worker/vault/vault_put_back.h"

#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static bool key_create(const VaultArgs *args, Err *err)
{
    Kit kit = {.set_id = rand_uuid()};
    KeysRecord keys = {.generation = 1, .reader_count = 1};
    ReaderFile reader = {.generation = 1};
    uint8_t id_secret[SEAL_KEY];
    scoped(buf_free) Buf page = {0};
    scoped(buf_free) Buf reader_file = {0};
    scoped(buf_free) Buf keys_file = {0};
    if (!vault_need(args->name, "the key set's name", err) ||
        !vault_need(args->directory, "--dir", err))
        return false;
    if (strlen(args->name) > KEYFILE_NAME_MOST || strcmp(args->name, "plain") == 0 ||
        strspn(args->name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != strlen(args->name))
        return err_set(
            err, ERR_USAGE, "key.name",
            "a key set's name is small letters, digits, dash, dot and underscore, and not "
            "'plain'");
    rand_bytes(kit.root_seed, sizeof kit.root_seed);
    rand_bytes(kit.reader_secret, sizeof kit.reader_secret);
    rand_bytes(id_secret, sizeof id_secret);
    snprintf(kit.set, sizeof kit.set, "%s", args->name);
    snprintf(keys.set, sizeof keys.set, "%s", args->name);
    snprintf(reader.set, sizeof reader.set, "%s", args->name);
    keys.set_id = reader.set_id = kit.set_id;
    seal_sign_public_of(kit.root_seed, keys.root);
    memcpy(reader.root, keys.root, sizeof reader.root);
    seal_public_of(kit.reader_secret, keys.readers[0]);
    seal_box(keys.readers[0], id_secret, keys.boxes[0]);
    memcpy(reader.secret, kit.reader_secret, sizeof reader.secret);
    keyfile_kit_print(&kit, &page);
    keyfile_reader_pack(&reader, &reader_file);
    keyfile_keys_pack(&keys, kit.root_seed, &keys_file);
    bool done = vault_write(args->directory, args->name, "kit", buf_slice(&page), err) &&
                vault_write(args->directory, args->name, "reader", buf_slice(&reader_file), err) &&
                vault_write(args->directory, args->name, "keys", buf_slice(&keys_file), err);
    explicit_bzero(id_secret, sizeof id_secret);
    explicit_bzero(&kit, sizeof kit);
    explicit_bzero(&reader, sizeof reader);
    explicit_bzero(page.at, page.len);
    explicit_bzero(reader_file.at, reader_file.len);
    return done;
}

static void certify(const VaultArgs *args, const Kit *kit, const WriterFile *file, Buf *out)
{
    CertRecord cert = {.set_id = kit->set_id, .generation = file->keys.generation};
    snprintf(cert.host, sizeof cert.host, "%s", args->name);
    snprintf(cert.role, sizeof cert.role, "%s", args->role);
    snprintf(cert.sources, sizeof cert.sources, "%s", args->sources);
    for (char *at = cert.sources; *at != 0; at++)
        if (*at == ',')
            *at = ' ';
    seal_sign_public_of(file->sign_seed, cert.sign_public);
    seal_public_of(file->box_secret, cert.box_public);
    keyfile_cert_pack(&cert, kit->root_seed, out);
}

/* A reader file has no name of a host in it: whoever has it reads. */
static bool enroll_reader(const VaultArgs *args, Err *err)
{
    Kit kit = {0};
    KeysRecord keys = {0};
    ReaderFile reader = {0};
    uint8_t id_secret[SEAL_KEY];
    scoped(buf_free) Buf bytes = {0};
    bool done =
        vault_open_set(args, &kit, &keys, err) && keyset_id_secret(&keys, &kit, id_secret, err);
    if (done) {
        vault_reader_of(&kit, &keys, &reader);
        keyfile_reader_pack(&reader, &bytes);
        done = vault_write(args->directory, kit.set, "reader", buf_slice(&bytes), err);
        explicit_bzero(bytes.at, bytes.len);
    }
    explicit_bzero(id_secret, sizeof id_secret);
    explicit_bzero(&reader, sizeof reader);
    explicit_bzero(&kit, sizeof kit);
    return done;
}

static bool key_enroll(const VaultArgs *args, Err *err)
{
    Kit kit = {0};
    WriterFile file = {0};
    scoped(buf_free) Buf keys_file = {0};
    scoped(buf_free) Buf bytes = {0};
    if (!vault_need(args->name, "the host's name", err) || !vault_need(args->kit, "--kit", err) ||
        !vault_need(args->keys, "--keys", err) || !vault_need(args->directory, "--dir", err))
        return false;
    if (strcmp(args->role, "read") == 0)
        return enroll_reader(args, err);
    if (strcmp(args->role, "write") != 0 && strcmp(args->role, "prune") != 0)
        return err_set(err, ERR_USAGE, "key.role", "--role is write, read or prune");
    if (strlen(args->sources) > KEYFILE_SOURCES_MOST || strlen(args->name) > 127)
        return err_set(err, ERR_USAGE, "key.name", "too many sources, or too long a host name");
    bool done = vault_read_kit(args->kit, &kit, err) &&
                vault_read_keys(args->keys, &kit, &file.keys, &keys_file, err) &&
                keyset_id_secret(&file.keys, &kit, file.id_secret, err);
    bool prune = strcmp(args->role, "prune") == 0;
    if (done && prune) /* it names no chunk */
        explicit_bzero(file.id_secret, sizeof file.id_secret);
    if (done) {
        rand_bytes(file.sign_seed, sizeof file.sign_seed);
        rand_bytes(file.box_secret, sizeof file.box_secret);
        certify(args, &kit, &file, &file.certificate);
        keyfile_writer_pack(&file, &bytes);
        done = vault_write(args->directory, kit.set, prune ? "prune" : "writer", buf_slice(&bytes),
                           err);
        explicit_bzero(bytes.at, bytes.len);
    }
    keyfile_writer_wipe(&file);
    explicit_bzero(&kit, sizeof kit);
    return done;
}

/* keys/ first, config last: a repository without config is none. */
static bool write_repository(const VaultArgs *args, Store *store, const ConfigRecord *config,
                             const uint8_t *root_seed, const KeysRecord *keys, Slice keys_file,
                             Err *err)
{
    bool found;
    uint64_t size;
    scoped(buf_free) Buf bytes = {0};
    if (!store_head(store, "config", &found, &size, err))
        return false;
    if (found)
        return err_set(err, ERR_CONFLICT, "repo.exists",
                       "there is a repository already; it was left alone");
    if (!config->plain && !vault_put_keys(store, args->keys, keys, keys_file, err))
        return false;
    keyfile_config_pack(config, root_seed, &bytes);
    return store_put(store, "config", buf_slice(&bytes), err);
}

static bool repo_make(const VaultArgs *args, Err *err)
{
    Kit kit = {0};
    KeysRecord keys = {0};
    Store *store = NULL;
    char id[UUID_TEXT];
    scoped(buf_free) Buf keys_file = {0};
    ConfigRecord config = {.repository = rand_uuid()};
    if (!vault_need(args->name, "the key set's name", err))
        return false;
    config.plain = strcmp(args->name, "plain") == 0;
    bool done = config.plain ||
                (vault_need(args->kit, "--kit", err) && vault_need(args->keys, "--keys", err) &&
                 vault_read_kit(args->kit, &kit, err) &&
                 vault_read_keys(args->keys, &kit, &keys, &keys_file, err));
    if (done && !config.plain && strcmp(kit.set, args->name) != 0)
        done =
            err_set(err, ERR_USAGE, "key.name", "the recovery kit is of the key set %s", kit.set);
    if (done) {
        snprintf(config.set, sizeof config.set, "%s", args->name);
        config.set_id = kit.set_id;
        config.generation = keys.generation;
        memcpy(config.root, keys.root, sizeof config.root);
        done = vault_need(args->stores[0], "--store", err) &&
               vault_open_place(args->stores[0], args->name, true, &store, err) &&
               write_repository(args, store, &config, kit.root_seed, &keys, buf_slice(&keys_file),
                                err);
    }
    store_close(store);
    explicit_bzero(&kit, sizeof kit);
    if (!done)
        return false;
    uuid_text(&config.repository, id);
    printf("made the repository %s in %s/%s\n", id, args->stores[0], args->name);
    return true;
}

static bool run(const char *noun, const VaultArgs *args, Err *err)
{
    static const struct {
        const char *noun, *verb;
        bool (*run)(const VaultArgs *args, Err *err);
    } verbs[] = {
        {"key", "create", key_create},
        {"key", "enroll", key_enroll},
        {"key", "check", vault_check},
        {"key", "rotate", vault_rotate},
        {"key", "retire", vault_retire},
        {"key", "revoke", vault_revoke},
        {"key", "list", vault_list},
        {"key", "recovery-kit", vault_recovery_kit},
        {"key", "passphrase", vault_passphrase},
        {"repo", "create", repo_make},
        {"repo", "rekey", vault_rekey},
        {"repo", "put-back", vault_put_back},
    };
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(noun, verbs[i].noun) == 0 && strcmp(args->verb, verbs[i].verb) == 0)
            return verbs[i].run(args, err);
    return err_set(err, ERR_USAGE, "usage.verb", "'%s %s' is not a verb; see %s --help", noun,
                   args->verb, noun);
}

int vault_main(int argc, char **argv)
{
    VaultArgs args;
    Err err = {0};
    umask(077);
    prctl(PR_SET_DUMPABLE, 0);
    if (vault_args_parse(argc, argv, &args, &err)) {
        if (args.help) {
            fputs(vault_args_help, stdout);
            return 0;
        }
        if (run(argv[0], &args, &err))
            return 0;
    }
    fprintf(stderr, "holdfast-worker: %s  [%s]\n", err.text, err.cause);
    return err_exit_code(err.code);
}
