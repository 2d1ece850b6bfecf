/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/proof_judge.h"

#include <stdio.h>
#include <string.h>

/* What a throw-away server says when the host lacks something; its messages are in English, for we
 * start it so. */
static const struct {
    const char *said[2]; /* both */
    const char *cause, *next;
} lacks[] = {
    {{"extension \"", "is not available"},
     "sandbox.extension",
     "install that extension for this version on this host, or name a pool whose worker has it"},
    {{"could not access file \"", "No such file"},
     "sandbox.extension",
     "install the library that the backup's functions need on this host, or name another pool"},
    {{"could not open extension control file", ""},
     "sandbox.extension",
     "install that extension for this version on this host, or name a pool whose worker has it"},
    {{"must be loaded via", "preload"},
     "sandbox.preload",
     "an extension of the backup has to be loaded when a server starts, which this one does not "
     "do"},
    {{"invalid locale name", ""},
     "sandbox.locale",
     "make that locale on this host (locale-gen), or name a pool whose worker has it"},
    {{"is not recognized by setlocale", ""},
     "sandbox.locale",
     "make that locale on this host (locale-gen), or name a pool whose worker has it"},
    {{"could not create locale", ""},
     "sandbox.locale",
     "make that locale on this host (locale-gen), or name a pool whose worker has it"},
    {{"could not open collator for locale", ""},
     "sandbox.locale",
     "install the ICU data that has that locale, or name a pool whose worker has it"},
    {{"was stopped by signal 9", ""},
     "sandbox.died",
     "look at the memory of this host, and at who killed it there"},
    {{"could not map anonymous shared memory", ""},
     "sandbox.memory",
     "raise the memory of this host, or lower allow.sandbox.memory in worker.yaml"},
    {{"resource manager with ID", "not registered"},
     "sandbox.preload",
     "an extension of the backup has to be loaded when a server starts, which this one does not "
     "do"},
    {{"database files are incompatible with server", ""},
     "sandbox.version",
     "name a pool whose worker has the source's version, built with the same options"},
    {{"No space left on device", ""}, "sandbox.space", "make room below allow.sandbox.folder"},
    {{"out of memory", ""}, "sandbox.memory", "raise allow.sandbox.memory in worker.yaml"},
};

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static ProofVerdict inconclusive(Err *err, const char *cause, const char *next)
{
    char text[sizeof err->text];
    snprintf(text, sizeof text, "%s", err->text);
    err_set(err, ERR_MISSING, cause, "%.360s; %s", text, next);
    return PROOF_INCONCLUSIVE;
}

ProofVerdict proof_judge(Err *err)
{
    bool ours = starts(err->cause, "target.") || starts(err->cause, "files.") ||
                starts(err->cause, "proof.");
    if (starts(err->cause, "sandbox."))
        return PROOF_INCONCLUSIVE;
    for (size_t i = 0; ours && i < sizeof lacks / sizeof *lacks; i++)
        if (strstr(err->text, lacks[i].said[0]) != NULL &&
            strstr(err->text, lacks[i].said[1]) != NULL)
            return inconclusive(err, lacks[i].cause, lacks[i].next);
    if (strcmp(err->cause, "target.tools") == 0)
        return inconclusive(err, "sandbox.version", "or name a pool whose worker has them");
    if (ours && err->code == ERR_FULL)
        return inconclusive(err, "sandbox.space", "make room below allow.sandbox.folder");
    if (ours && (err->code == ERR_UNREACHABLE || err->code == ERR_BUSY))
        return inconclusive(err, "sandbox.died",
                            "the throw-away server went away: look at the memory of this host");
    if (err->code == ERR_CANCELLED || err->code == ERR_FENCED || err->code == ERR_BUG)
        return PROOF_UNKNOWN;
    return ours || err->code == ERR_CORRUPT || starts(err->cause, "proof.") ? PROOF_FAILED
                                                                            : PROOF_UNKNOWN;
}
