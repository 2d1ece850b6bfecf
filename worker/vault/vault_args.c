/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vault/vault_args.h"

const char vault_args_help[] =
    "holdfast-worker key create SET --dir DIR\n"
    "    makes a key set: DIR/SET.kit (print it, lock it away, delete the file),\n"
    "    DIR/SET.reader (for hosts that restore and verify), DIR/SET.keys\n"
    "holdfast-worker key enroll HOST --kit FILE --keys FILE --dir DIR\n"
    "        [--role write|read|prune] [--sources a,b]\n"
    "    makes DIR/SET.writer for a host that backs up; it cannot read. --role prune:\n"
    "    DIR/SET.prune for one that forgets and collects; it can do neither.\n"
    "    --role read: DIR/SET.reader\n"
    "holdfast-worker key list --dir DIR\n"
    "    says of each key file there what it is, of which generation, for whom\n"
    "holdfast-worker key list SET --store DIR [--keys FILE]\n"
    "    says who reads the repository, who was revoked, and how many of its objects are\n"
    "    sealed to each reader: nothing is under a key that was retired once all are anew\n"
    "holdfast-worker key recovery-kit --kit FILE [--keys FILE] [--dir DIR]\n"
    "    reads a kit that was typed in from paper, and prints it again, or into\n"
    "    DIR/SET.kit; --keys: and says whether it is the newest\n"
    "holdfast-worker key passphrase SET --dir DIR [--passphrase-file OLD]\n"
    "        [--new-passphrase-file NEW | --no-passphrase]\n"
    "    puts DIR/SET.reader under a passphrase, changes it, or takes it off; a FILE is a\n"
    "    private file or fd:N, without it the terminal is asked\n"
    "holdfast-worker key check --kit FILE --store DIR\n"
    "    tries a recovery kit against a repository: manifests and packs are opened with it\n"
    "holdfast-worker key rotate --kit FILE --keys FILE --dir DIR\n"
    "    adds a reader key: DIR/SET.kit, .reader and .keys; the new kit opens everything\n"
    "holdfast-worker key retire --kit FILE --keys FILE --dir DIR\n"
    "    nothing more is sealed to any reader but the kit's: DIR/SET.keys\n"
    "holdfast-worker key revoke HOST --kit FILE --keys FILE --dir DIR --store DIR...\n"
    "        [--stolen-at TIME]\n"
    "    takes HOST's certificates back: DIR/SET.keys and DIR/SET.kept.N, the list of what\n"
    "    stays good: what the stores have of it, from before TIME\n"
    "holdfast-worker repo rekey SET --store DIR --kit FILE --keys FILE\n"
    "    tells a repository of it; before that nothing has changed\n"
    "holdfast-worker repo create SET --store DIR --kit FILE --keys FILE\n"
    "    makes the repository DIR/SET; `repo create plain --store DIR` makes one\n"
    "    that is not encrypted\n"
    "holdfast-worker repo put-back SET --store DIR [--object quarantine/NAME.N]\n"
    "    copies an object out of quarantine to where it was; then `holdfast catalogue\n"
    "    merge`. Without --object: what lies there\n"
    "DIR of --store may be s3://BUCKET[/PREFIX][?endpoint=URL][&region=NAME];\n"
    "its keys are AWS_ACCESS_KEY_ID and so on, a profile, or the machine's role\n";

static bool take(const char **field, int argc, char **argv, int *i, Err *err)
{
    if (*i + 1 >= argc)
        return err_set(err, ERR_USAGE, "usage.flag", "%s needs a value", argv[*i]);
    *field = argv[++*i];
    return true;
}

static bool take_store(VaultArgs *out, int argc, char **argv, int *i, Err *err)
{
    if (out->store_count == VAULT_STORES_MOST)
        return err_set(err, ERR_USAGE, "usage.flag", "--store: %d at most", VAULT_STORES_MOST);
    return take(&out->stores[out->store_count++], argc, argv, i, err);
}

bool vault_args_parse(int argc, char **argv, VaultArgs *out, Err *err)
{
    *out = (VaultArgs){.role = "write", .sources = "*"};
    const struct {
        const char *flag;
        const char **field;
    } flags[] = {{"--dir", &out->directory},
                 {"--kit", &out->kit},
                 {"--keys", &out->keys},
                 {"--role", &out->role},
                 {"--sources", &out->sources},
                 {"--stolen-at", &out->stolen_at},
                 {"--object", &out->object},
                 {"--passphrase-file", &out->passphrase},
                 {"--new-passphrase-file", &out->new_passphrase}};
    for (int i = 1; i < argc; i++) {
        bool known = false;
        for (size_t f = 0; !known && f < sizeof flags / sizeof *flags; f++) {
            known = strcmp(argv[i], flags[f].flag) == 0;
            if (known && !take(flags[f].field, argc, argv, &i, err))
                return false;
        }
        if (known)
            continue;
        if (strcmp(argv[i], "--store") == 0) {
            if (!take_store(out, argc, argv, &i, err))
                return false;
        } else if (strcmp(argv[i], "--help") == 0)
            out->help = true;
        else if (strcmp(argv[i], "--no-passphrase") == 0)
            out->no_passphrase = true;
        else if (argv[i][0] != '-' && out->verb == NULL)
            out->verb = argv[i];
        else if (argv[i][0] != '-' && out->name == NULL)
            out->name = argv[i];
        else
            return err_set(err, ERR_USAGE, "usage.flag", "'%s' is not understood; see --help",
                           argv[i]);
    }
    out->help = out->help || out->verb == NULL;
    return true;
}
