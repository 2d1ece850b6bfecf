/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vault/vault.h"

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/secret.h"
#include "common/codec/keyfile.h"
#include "common/codec/keyring.h"
#include "common/repo/repo.h"
#include "common/store/store_url.h"
#include "worker/vault/vault_args.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file of secrets is new, private and durable, or it is not there. */
static bool write_private(const char *directory, const char *name, const char *suffix, Slice bytes,
                          Err *err)
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

static bool need(const char *value, const char *flag, Err *err)
{
    return value != NULL ||
           err_set(err, ERR_USAGE, "usage.flag", "%s is missing; see --help", flag);
}

static bool read_kit(const char *path, Kit *kit, Err *err)
{
    Secret *secret = NULL;
    bool done = secret_read_file(path, &secret, err) &&
                keyfile_kit_parse(text_of_slice(secret_slice(secret)), kit, err);
    secret_free(secret);
    return done;
}

/* The record SET.keys is not secret, but it must be the kit's. */
static bool read_keys(const char *path, const Kit *kit, KeysRecord *keys, Buf *bytes, Err *err)
{
    uint8_t root[SEAL_SIGN_PUBLIC];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_sys(err, err_code_of_errno(errno), "key.read", "%s", path);
    uint8_t *at = buf_extend(bytes, 65536);
    ssize_t got = read(fd, at, 65536);
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

static bool key_create(const VaultArgs *args, Err *err)
{
    Kit kit = {.set_id = rand_uuid()};
    KeysRecord keys = {.generation = 1, .reader_count = 1};
    ReaderFile reader = {.generation = 1};
    uint8_t id_secret[SEAL_KEY];
    scoped(buf_free) Buf page = {0};
    scoped(buf_free) Buf reader_file = {0};
    scoped(buf_free) Buf keys_file = {0};
    if (!need(args->name, "the key set's name", err) || !need(args->directory, "--dir", err))
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
    bool done =
        write_private(args->directory, args->name, "kit", buf_slice(&page), err) &&
        write_private(args->directory, args->name, "reader", buf_slice(&reader_file), err) &&
        write_private(args->directory, args->name, "keys", buf_slice(&keys_file), err);
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

static bool key_enroll(const VaultArgs *args, Err *err)
{
    Kit kit = {0};
    WriterFile file = {0};
    scoped(buf_free) Buf keys_file = {0};
    scoped(buf_free) Buf bytes = {0};
    if (!need(args->name, "the host's name", err) || !need(args->kit, "--kit", err) ||
        !need(args->keys, "--keys", err) || !need(args->directory, "--dir", err))
        return false;
    if (strcmp(args->role, "write") != 0 && strcmp(args->role, "prune") != 0)
        return err_set(err, ERR_USAGE, "key.role", "--role is write or prune");
    if (strlen(args->sources) > KEYFILE_SOURCES_MOST || strlen(args->name) > 127)
        return err_set(err, ERR_USAGE, "key.name", "too many sources, or too long a host name");
    bool done = read_kit(args->kit, &kit, err) &&
                read_keys(args->keys, &kit, &file.keys, &keys_file, err) &&
                seal_unbox(kit.reader_secret, file.keys.boxes[0], file.id_secret, err);
    bool prune = strcmp(args->role, "prune") == 0;
    if (done && prune) /* it names no chunk */
        explicit_bzero(file.id_secret, sizeof file.id_secret);
    if (done) {
        rand_bytes(file.sign_seed, sizeof file.sign_seed);
        rand_bytes(file.box_secret, sizeof file.box_secret);
        certify(args, &kit, &file, &file.certificate);
        keyfile_writer_pack(&file, &bytes);
        done = write_private(args->directory, kit.set, prune ? "prune" : "writer",
                             buf_slice(&bytes), err);
        explicit_bzero(bytes.at, bytes.len);
    }
    keyfile_writer_wipe(&file);
    explicit_bzero(&kit, sizeof kit);
    return done;
}

static bool open_place(const VaultArgs *args, const char *set, bool create, Store **store, Err *err)
{
    char path[PATH_MAX];
    Store *parent = NULL;
    /* The store itself must be there: an unmounted disk is never made into one. */
    if (!need(args->store, "--store", err) || !store_url_open(&parent, args->store, "", err))
        return false;
    store_close(parent);
    if (store_url_is_s3(args->store)) /* there are no directories to make */
        return store_url_open(store, args->store, set, err);
    snprintf(path, sizeof path, "%s/%s", args->store, set);
    if (create && mkdir(path, 0700) != 0 && errno != EEXIST)
        return err_set_sys(err, err_code_of_errno(errno), "repo.create", "%s", path);
    if (create) {
        int fd = open(args->store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        bool durable = fd >= 0 && fsync(fd) == 0;
        if (fd >= 0)
            close(fd);
        if (!durable)
            return err_set_sys(err, ERR_IO, "repo.create", "making %s durable", path);
    }
    return store_local_open(store, path, err);
}

/* keys/ first, config last: a repository without config is none. */
static bool write_repository(Store *store, const ConfigRecord *config, const uint8_t *root_seed,
                             Slice keys, Err *err)
{
    bool found;
    uint64_t size;
    char name[KEYFILE_NAME_MOST + 8];
    scoped(buf_free) Buf bytes = {0};
    if (!store_head(store, "config", &found, &size, err))
        return false;
    if (found)
        return err_set(err, ERR_CONFLICT, "repo.exists",
                       "there is a repository already; it was left alone");
    snprintf(name, sizeof name, "keys/%s", config->set);
    if (keys.len != 0 && !store_put(store, name, keys, err) &&
        strcmp(err->cause, "store.exists") != 0)
        return false;
    *err = (Err){0};
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
    if (!need(args->name, "the key set's name", err))
        return false;
    config.plain = strcmp(args->name, "plain") == 0;
    bool done = config.plain || (need(args->kit, "--kit", err) && need(args->keys, "--keys", err) &&
                                 read_kit(args->kit, &kit, err) &&
                                 read_keys(args->keys, &kit, &keys, &keys_file, err));
    if (done && !config.plain && strcmp(kit.set, args->name) != 0)
        done =
            err_set(err, ERR_USAGE, "key.name", "the recovery kit is of the key set %s", kit.set);
    if (done) {
        snprintf(config.set, sizeof config.set, "%s", args->name);
        config.set_id = kit.set_id;
        config.generation = keys.generation;
        memcpy(config.root, keys.root, sizeof config.root);
        done = open_place(args, args->name, true, &store, err) &&
               write_repository(store, &config, kit.root_seed, buf_slice(&keys_file), err);
    }
    store_close(store);
    explicit_bzero(&kit, sizeof kit);
    if (!done)
        return false;
    uuid_text(&config.repository, id);
    printf("made the repository %s in %s/%s\n", id, args->store, args->name);
    return true;
}

typedef struct Counts {
    size_t good;
    size_t bad;
} Counts;

static bool count_backup(void *ctx, const RepoBackup *backup, bool marked, const Err *why, Err *err)
{
    Counts *counts = ctx;
    (void)backup;
    (void)marked;
    (void)err;
    if (why == NULL || why->code == ERR_NONE)
        counts->good++;
    else
        counts->bad++;
    return true;
}

/* Tries the kit as a reader would use it: through a private directory in memory. */
static bool open_with_kit(const Kit *kit, Keyring **keyring, Err *err)
{
    char directory[] = "/dev/shm/hf-kit-XXXXXX";
    char path[PATH_MAX];
    ReaderFile reader = {.set_id = kit->set_id, .generation = 0};
    scoped(buf_free) Buf bytes = {0};
    snprintf(reader.set, sizeof reader.set, "%s", kit->set);
    seal_sign_public_of(kit->root_seed, reader.root);
    memcpy(reader.secret, kit->reader_secret, sizeof reader.secret);
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

static bool key_check(const VaultArgs *args, Err *err)
{
    Kit kit = {0};
    Counts counts = {0};
    Store *store = NULL;
    Keyring *keyring = NULL;
    Repo *repo = NULL;
    bool done = need(args->kit, "--kit", err) && read_kit(args->kit, &kit, err) &&
                open_place(args, kit.set, false, &store, err) &&
                open_with_kit(&kit, &keyring, err) && repo_open(&repo, store, keyring, NULL, err) &&
                repo_backups(repo, count_backup, &counts, err);
    if (done)
        printf("the kit opens %s: %zu backups, %zu of them damaged\n", kit.set,
               counts.good + counts.bad, counts.bad);
    if (done && counts.bad != 0)
        done = err_set(err, ERR_CORRUPT, "repo.damaged", "%zu manifests do not open", counts.bad);
    repo_close(repo);
    keyring_close(keyring);
    store_close(store);
    explicit_bzero(&kit, sizeof kit);
    return done;
}

static bool run(const char *noun, const VaultArgs *args, Err *err)
{
    bool key = strcmp(noun, "key") == 0;
    if (key && strcmp(args->verb, "create") == 0)
        return key_create(args, err);
    if (key && strcmp(args->verb, "enroll") == 0)
        return key_enroll(args, err);
    if (key && strcmp(args->verb, "check") == 0)
        return key_check(args, err);
    if (!key && strcmp(args->verb, "create") == 0)
        return repo_make(args, err);
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
