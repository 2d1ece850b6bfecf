/* SPDX-License-Identifier: Apache-2.0
 * The manual page of the command, from the rows of verbs.def and flags.def. */
#include "common/base/options.h"
#include "scheduler/ctl/args.h"

static void add_flag(Buf *out, const ArgsFlag *flag, const char *metavar)
{
    buf_printf(out, ".TP\n\\fB");
    options_man_text(out, flag->flag);
    buf_printf(out, "\\fR");
    if (flag->value)
        buf_printf(out, " \\fI%s\\fR", metavar);
    buf_printf(out, "\n");
    options_man_text(out, flag->help);
    buf_printf(out, "\n");
}

static void add_flags(Buf *out, Verb verb, bool common)
{
    ArgsFlag flag;
    for (size_t n = 0; args_flag_of(n, verb, &flag); n++)
        if (flag.fits && flag.common == common)
            add_flag(out, &flag, flag.metavar);
}

static void add_verb(Buf *out, Verb verb)
{
    buf_printf(out, ".SS \"holdfast ");
    options_man_text(out, args_words(verb));
    if (args_arguments(verb)[0] != 0) {
        buf_printf(out, " ");
        options_man_text(out, args_arguments(verb));
    }
    buf_printf(out, "\"\n");
    options_man_text(out, args_verb_help(verb));
    buf_printf(out, "\n");
    add_flags(out, verb, false);
}

void args_man(Buf *out)
{
    static const struct {
        const char *name, *meaning;
    } variables[] = {{"HOLDFAST_SERVER", "the scheduler, as \\-\\-server"},
                     {"HOLDFAST_TOKEN_FILE", "a file with the token, as \\-\\-token\\-file"},
                     {"HOLDFAST_CA_FILE", "certificates to trust, as \\-\\-ca\\-file"},
                     {"HOLDFAST_CERT_FILE", "the own certificate, as \\-\\-cert\\-file"},
                     {"HOLDFAST_KEY_FILE", "its private key, as \\-\\-key\\-file"},
                     {"NO_COLOR", "no colours"}};
    buf_printf(out,
               ".TH holdfast 1 \"\" \"Holdfast " HOLDFAST_VERSION "\" \"Holdfast\"\n"
               ".SH NAME\nholdfast \\- back up, verify and restore a fleet\n.SH SYNOPSIS\n"
               ".B holdfast\n\\fIVERB\\fR [\\fIARGUMENT\\fR]... [\\fIOPTION\\fR]...\n"
               ".SH DESCRIPTION\nA client of the scheduler's REST API and of nothing else. "
               "Data goes to standard output, everything else to standard error.\n"
               ".PP\nA \\fISELECTOR\\fR is SOURCE, SOURCE@latest, SOURCE@latest~1, SOURCE@TIME "
               "or a backup's id.\n.SH VERBS\n");
    for (Verb verb = 0; verb < VERB_COUNT; verb++)
        add_verb(out, verb);
    buf_printf(out, ".SH OPTIONS\nOf every verb.\n");
    add_flags(out, VERB_help, true);
    buf_printf(out, ".SH EXIT STATUS\n0 done, 1 ran and failed, 2 usage, 3 partial, 4 not allowed, "
                    "5 not found, 6 refused, 7 waited too long (the job goes on), 8 unreachable, "
                    "9 policy invalid, 10 something to see, 130 interrupted. Any other is a "
                    "failure.\n.SH ENVIRONMENT\n");
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        buf_printf(out, ".TP\n\\fB%s\\fR\n%s\n", variables[i].name, variables[i].meaning);
    buf_printf(out,
               ".SH SEE ALSO\n\\fBholdfast\\-scheduler\\fR(8), \\fBholdfast\\-worker\\fR(8)\n");
}
