/* SPDX-License-Identifier: Apache-2.0
 * once_args.c — options, by getopt_long. */
#include "worker/once/once_args.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    OPT_STORE = 256,
    OPT_KEYS,
    OPT_SET,
    OPT_SOURCE,
    OPT_TO,
    OPT_REQUEST,
    OPT_ENGINE,
    OPT_LEVEL,
    OPT_DATABASE,
    OPT_PATH,
    OPT_JSON,
    OPT_IN_PLACE,
    OPT_ALL,
    OPT_WITH,
    OPT_CATALOGUE,
    OPT_PASSWORD_FILE,
    OPT_AS,
    OPT_PASSPHRASE,
    OPT_HELP,
};

static const struct option OPTIONS[] = {
    {"store", required_argument, NULL, OPT_STORE},
    {"keys", required_argument, NULL, OPT_KEYS},
    {"key-set", required_argument, NULL, OPT_SET},
    {"source", required_argument, NULL, OPT_SOURCE},
    {"to", required_argument, NULL, OPT_TO},
    {"request", required_argument, NULL, OPT_REQUEST},
    {"engine", required_argument, NULL, OPT_ENGINE},
    {"level", required_argument, NULL, OPT_LEVEL},
    {"database", required_argument, NULL, OPT_DATABASE},
    {"path", required_argument, NULL, OPT_PATH},
    {"json", no_argument, NULL, OPT_JSON},
    {"in-place", no_argument, NULL, OPT_IN_PLACE},
    {"all", no_argument, NULL, OPT_ALL},
    {"with", required_argument, NULL, OPT_WITH},
    {"catalogue", required_argument, NULL, OPT_CATALOGUE},
    {"catalogue-password-file", required_argument, NULL, OPT_PASSWORD_FILE},
    {"as", required_argument, NULL, OPT_AS},
    {"passphrase-file", required_argument, NULL, OPT_PASSPHRASE},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

void once_args_help(void)
{
    fputs("Usage: holdfast-worker once VERB --store DIR --key-set NAME [OPTION]...\n"
          "\n"
          "With a store and a key alone; nothing is written to the store.\n"
          "\n"
          "  list                    every backup, oldest first\n"
          "  restore BACKUP --to DIR into an empty directory; --path P for a part of it\n"
          "  verify BACKUP           every chunk is opened; --level stored: objects only;\n"
          "                          verify all: every backup, a line each\n"
          "  export BACKUP           files as tar, a database as .sql.gz, to stdout\n"
          "  rebuild                 tells a catalogue that was lost again what is there\n"
          "  merge                   the same for one that was put back to an earlier day\n"
          "\n"
          "BACKUP is bk_…, a unique beginning of it, or latest (with --source NAME).\n"
          "\n"
          "  --store DIR      directory of the store; the repository is DIR/<key set>; or\n"
          "                   s3://BUCKET[/PREFIX][?endpoint=URL][&region=NAME], its keys as\n"
          "                   AWS_ACCESS_KEY_ID, in a profile, or of the machine's role\n"
          "  --key-set NAME   key set (default: plain, which has no keys)\n"
          "  --keys DIR       where <key set>.reader lies (default: /etc/holdfast/keys)\n"
          "  --passphrase-file FILE   of a reader file that has one: a private file, fd:N;\n"
          "                   without it the terminal is asked\n"
          "  --source NAME    only backups of this source\n"
          "  --to DIR         where to restore files\n"
          "  --path PATH      only this entry and what is below it; may be repeated\n"
          "  --in-place       --to may hold files; those of the same name are replaced\n"
          "  --with WHAT      of files also devices, setuid (bits), security (attributes of\n"
          "                   security.* and trusted.*) or numeric-owner; may be repeated\n"
          "  --engine NAME    what restores it (default: files)\n"
          "  --request FILE   JSON for that engine, as the job would carry it\n"
          "  --level LEVEL    content (default) or stored\n"
          "  --database NAME  export this database of several\n"
          "  --all            export every database\n"
          "  --json           list as JSON lines; the report of rebuild and merge\n"
          "  --catalogue CONN PostgreSQL of the catalogue, as its administrator: rebuild and\n"
          "                   merge, after holdfast-scheduler migrate; a password comes from\n"
          "                   --catalogue-password-file FILE\n"
          "  --as NAME        the store's name in the fleet file (default: main)\n",
          stdout);
}

static bool take_with(OnceArgs *args, const char *what, Err *err)
{
    static const char *const words[] = {"devices", "setuid", "security", "numeric-owner"};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(what, words[i]) == 0) {
            args->with |= 1U << i;
            return true;
        }
    return err_set(err, ERR_USAGE, "once.with",
                   "--with is devices, setuid, security or numeric-owner, not %.60s", what);
}

static bool take(OnceArgs *args, int option, Err *err)
{
    switch (option) {
    case OPT_STORE:
        args->store = optarg;
        return true;
    case OPT_KEYS:
        args->keys = optarg;
        return true;
    case OPT_SET:
        args->set = optarg;
        return true;
    case OPT_SOURCE:
        args->source = optarg;
        return true;
    case OPT_TO:
        args->to = optarg;
        return true;
    case OPT_REQUEST:
        args->request = optarg;
        return true;
    case OPT_ENGINE:
        args->engine = optarg;
        return true;
    case OPT_LEVEL:
        args->level = optarg;
        return true;
    case OPT_DATABASE:
        args->database = optarg;
        return true;
    case OPT_CATALOGUE:
        args->catalogue = optarg;
        return true;
    case OPT_PASSWORD_FILE:
        args->password_file = optarg;
        return true;
    case OPT_AS:
        args->as = optarg;
        return true;
    case OPT_PASSPHRASE:
        args->passphrase = optarg;
        return true;
    case OPT_JSON:
        args->json = true;
        return true;
    case OPT_IN_PLACE:
        args->in_place = true;
        return true;
    case OPT_ALL:
        args->all = true;
        return true;
    case OPT_WITH:
        return take_with(args, optarg, err);
    case OPT_HELP:
        args->help = true;
        return true;
    default:
        return err_set(err, ERR_USAGE, "once.option",
                       "an option is not known or lacks its value; see `holdfast-worker once "
                       "--help`");
    }
}

/* Entry paths have no leading or trailing slash; people type both. */
static bool take_path(OnceArgs *args, const char *path, Err *err)
{
    Text text = text_of(path);
    while (text.len > 0 && text.at[0] == '/')
        text = (Text){text.at + 1, text.len - 1};
    while (text.len > 0 && text.at[text.len - 1] == '/')
        text.len--;
    if (args->path_count == ONCE_PATHS_MOST)
        return err_set(err, ERR_USAGE, "once.paths", "more than %d --path", ONCE_PATHS_MOST);
    if (text.len > 0)
        args->paths[args->path_count++] = text;
    return true;
}

bool once_args_read(OnceArgs *args, int argc, char **argv, Err *err)
{
    *args =
        (OnceArgs){.keys = "/etc/holdfast/keys", .set = "plain", .level = "content", .as = "main"};
    int option;
    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1)
        if (option == OPT_PATH ? !take_path(args, optarg, err) : !take(args, option, err))
            return false;
    if (optind < argc)
        args->verb = argv[optind++];
    if (optind < argc)
        args->backup = argv[optind++];
    if (optind < argc)
        return err_set(err, ERR_USAGE, "once.argument", "\"%s\" is one argument too many",
                       argv[optind]);
    args->help = args->help || args->verb == NULL;
    if (!args->help && args->store == NULL)
        return err_set(err, ERR_USAGE, "once.store", "which store? Say --store DIR");
    return true;
}
