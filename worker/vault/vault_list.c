/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vault/vault_list.h"

#include "common/base/mem.h"
#include "common/base/secret.h"
#include "common/repo/sealed_to.h"
#include "worker/vault/vault_files.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { ID_TEXT = 33, CONFIG_MOST = 1 << 20 };

static void id_text(const uint8_t id[16], char out[ID_TEXT])
{
    ids_hex(id, 16, out);
}

static void reader_text(const uint8_t reader[SEAL_PUBLIC], char out[ID_TEXT])
{
    uint8_t id[16];
    keyfile_reader_id(reader, id);
    id_text(id, out);
}

/* --- the files of a directory -----------------------------------------------------------------
 */

static bool say_reader(Slice bytes, Err *err)
{
    ReaderFile file;
    char id[ID_TEXT] = "";
    bool locked = keyfile_reader_is_locked(bytes);
    if (!keyfile_reader_look(bytes, &file, err))
        return false;
    if (!locked) {
        uint8_t reader[SEAL_PUBLIC];
        ReaderFile open;
        if (!keyfile_reader_unpack(bytes, &open, err))
            return false;
        seal_public_of(open.secret, reader);
        reader_text(reader, id);
        explicit_bzero(&open, sizeof open);
    }
    printf("reads %s, generation %" PRIu64 ", %s%s\n", file.set, file.generation,
           locked ? "under a passphrase" : "reader ", id);
    return true;
}

static bool say_writer(Slice bytes, Err *err)
{
    WriterFile file = {0};
    CertRecord cert;
    char id[ID_TEXT];
    bool done = keyfile_writer_unpack(bytes, &file, err) &&
                keyfile_cert_unpack(buf_slice(&file.certificate), file.keys.root, &cert, err);
    if (done) {
        printf("%s as %s, sources %s, generation %" PRIu64 ", seals to",
               strcmp(cert.role, "prune") == 0 ? "forgets and collects" : "backs up", cert.host,
               cert.sources, file.keys.generation);
        for (unsigned i = 0; i < file.keys.reader_count; i++) {
            reader_text(file.keys.readers[i], id);
            printf(" %s", id);
        }
        printf("\n");
    }
    keyfile_writer_wipe(&file);
    return done;
}

static bool say_keys(Slice bytes, Err *err)
{
    KeysRecord keys;
    if (!keyfile_keys_unpack(bytes, &keys, err))
        return false;
    printf("names %u readers of %s, generation %" PRIu64 ", %u hosts revoked\n", keys.reader_count,
           keys.set, keys.generation, keys.revoked_count);
    return true;
}

static bool say_kit(Slice bytes, Err *err)
{
    Kit kit;
    uint8_t reader[SEAL_PUBLIC];
    char id[ID_TEXT];
    bool done = keyfile_kit_parse(text_of_slice(bytes), &kit, err);
    if (done) {
        seal_public_of(kit.reader_secret, reader);
        reader_text(reader, id);
        printf("RECOVERY KIT of %s, reader %s: print it, lock it away, delete the file\n", kit.set,
               id);
    }
    explicit_bzero(&kit, sizeof kit);
    return done;
}

typedef bool Say(Slice bytes, Err *err);

static Say *say_of(const char *name)
{
    static const struct {
        const char *suffix;
        Say *say;
    } kinds[] = {{".reader", say_reader},
                 {".writer", say_writer},
                 {".prune", say_writer},
                 {".keys", say_keys},
                 {".kit", say_kit}};
    const char *suffix = strrchr(name, '.');
    for (size_t i = 0; suffix != NULL && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(suffix, kinds[i].suffix) == 0)
            return kinds[i].say;
    return NULL;
}

/* One that does not open is said, and the others are shown. */
static bool say_file(const char *directory, const char *name, Say *say)
{
    char path[PATH_MAX];
    Secret *bytes = NULL;
    Err err = {0};
    snprintf(path, sizeof path, "%s/%s", directory, name);
    printf("%-24s ", name);
    bool done = secret_read_bytes(path, &bytes, &err) && say(secret_slice(bytes), &err);
    secret_free(bytes);
    if (!done)
        printf("BAD: %s  [%s]\n", err.text, err.cause);
    return done;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_shown(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && say_of(entry->d_name) != NULL;
}

static bool list_files(const char *directory, Err *err)
{
    struct dirent **names = NULL;
    int bad = 0;
    int count = scandir(directory, &names, is_shown, by_name);
    if (count < 0)
        return err_set_sys(err, err_code_of_errno(errno), "key.read", "%s", directory);
    for (int i = 0; i < count; i++) {
        bad += !say_file(directory, names[i]->d_name, say_of(names[i]->d_name));
        free(names[i]);
    }
    free(names);
    return bad == 0 || err_set(err, ERR_CORRUPT, "key.damaged",
                               "%d key files are not what they should be", bad);
}

/* --- a repository -----------------------------------------------------------------------------
 */

typedef struct Tally {
    uint8_t id[16];
    bool current;
    uint64_t packs, others;
} Tally;

typedef struct Census {
    Store *store;
    Tally rows[DISK_READERS_MOST + DISK_OLDER_MOST];
    unsigned count;
    uint64_t strangers; /* objects that say they are sealed to somebody nobody knows */
    uint64_t damaged;
    bool packs;
} Census;

static bool count_object(void *ctx, const char *name, uint64_t size, Err *err)
{
    Census *census = ctx;
    SealedTo sealed;
    (void)size;
    if (!sealed_to_read(census->store, name, &sealed, err)) {
        if (err->code != ERR_CORRUPT)
            return false;
        *err = (Err){0};
        census->damaged++;
        return true;
    }
    for (unsigned i = 0; i < sealed.count; i++) {
        unsigned at = 0;
        while (at < census->count && memcmp(census->rows[at].id, sealed.readers[i], 16) != 0)
            at++;
        if (at == census->count)
            census->strangers++;
        else if (census->packs)
            census->rows[at].packs++;
        else
            census->rows[at].others++;
    }
    return true;
}

static void add_row(Census *census, const uint8_t id[16], bool current)
{
    for (unsigned i = 0; i < census->count; i++)
        if (memcmp(census->rows[i].id, id, 16) == 0)
            return;
    Tally *row = &census->rows[census->count++];
    *row = (Tally){.current = current};
    memcpy(row->id, id, sizeof row->id);
}

static bool count_all(Census *census, const KeysRecord *keys, Err *err)
{
    static const char *const others[] = {"index/", "manifests/", "logs/", "holds/", "audit/"};
    for (unsigned i = 0; i < keys->reader_count; i++) {
        uint8_t id[16];
        keyfile_reader_id(keys->readers[i], id);
        add_row(census, id, true);
    }
    for (unsigned i = 0; i < keys->older_count; i++)
        add_row(census, keys->older[i].id, false);
    census->packs = true;
    if (!store_list(census->store, "packs/", count_object, census, err))
        return false;
    census->packs = false;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (!store_list(census->store, others[i], count_object, census, err))
            return false;
    return true;
}

static void say_census(const Census *census, const KeysRecord *keys)
{
    char id[ID_TEXT];
    ids_hex(keys->root, 8, id);
    printf("%s, generation %" PRIu64 ", root %s…\n", keys->set, keys->generation, id);
    for (unsigned i = 0; i < census->count; i++) {
        const Tally *row = &census->rows[i];
        id_text(row->id, id);
        printf("reader %s  %s  packs=%" PRIu64 " others=%" PRIu64 "\n", id,
               row->current ? "current" : "retired", row->packs, row->others);
    }
    for (unsigned i = 0; i < keys->revoked_count; i++)
        printf("revoked %s  its certificates from before generation %" PRIu64 "\n",
               keys->revoked[i].host, keys->revoked[i].before);
    if (keys->least_writer > 0)
        printf("writer files below generation %" PRIu64 " seal nothing more\n", keys->least_writer);
    if (census->strangers + census->damaged > 0)
        printf("sealed to somebody unknown: %" PRIu64 "; damaged: %" PRIu64 "\n", census->strangers,
               census->damaged);
}

/* Whose the records are: the root of the file --keys, where one is given. */
static bool read_records(const VaultArgs *args, Store *store, KeysRecord *keys, Err *err)
{
    char name[KEYFILE_OBJECT_NAME];
    bool found = false;
    ConfigRecord config;
    KeysRecord given;
    Secret *file = NULL;
    scoped(buf_free) Buf config_bytes = {0}, keys_bytes = {0};
    if (!store_get(store, "config", CONFIG_MOST, &found, &config_bytes, err))
        return false;
    if (!found)
        return err_set(err, ERR_MISSING, "store.not_a_repository", "the store has no config");
    if (!keyfile_config_unpack(buf_slice(&config_bytes), &config, err))
        return err_note(err, "config");
    if (config.plain)
        return err_set(err, ERR_USAGE, "key.plain", "the repository is not encrypted");
    keyfile_keys_name(config.set, config.generation, name);
    if (!store_get(store, name, CONFIG_MOST, &found, &keys_bytes, err))
        return false;
    if (!found)
        return err_set(err, ERR_MISSING, "store.not_a_repository", "the store has no %s", name);
    if (!keyfile_keys_unpack(buf_slice(&keys_bytes), keys, err))
        return err_note(err, "%s", name);
    bool same = memcmp(config.root, keys->root, sizeof keys->root) == 0;
    if (args->keys != NULL) {
        if (!secret_read_bytes(args->keys, &file, err))
            return false;
        bool read = keyfile_keys_unpack(secret_slice(file), &given, err);
        secret_free(file);
        if (!read)
            return err_note(err, "%s", args->keys);
        same = same && memcmp(given.root, keys->root, sizeof keys->root) == 0;
    }
    return same || err_set(err, ERR_CORRUPT, "repo.key_mismatch",
                           "the repository's records are not signed by one root, the expected one");
}

static bool list_repository(const VaultArgs *args, Err *err)
{
    Census census = {0};
    KeysRecord keys;
    if (!vault_need(args->name, "the key set's name", err) ||
        !vault_open_place(args->stores[0], args->name, false, &census.store, err))
        return false;
    bool done = read_records(args, census.store, &keys, err) && count_all(&census, &keys, err);
    if (done)
        say_census(&census, &keys);
    store_close(census.store);
    return done;
}

bool vault_list(const VaultArgs *args, Err *err)
{
    if (args->stores[0] != NULL)
        return list_repository(args, err);
    return vault_need(args->directory, "--dir or --store", err) && list_files(args->directory, err);
}
