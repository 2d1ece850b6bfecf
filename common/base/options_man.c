/* SPDX-License-Identifier: Apache-2.0
 * A daemon's manual page, from the rows of its options. */
#include "common/base/options.h"

#include <ctype.h>

/* Words as roff shows them: a dash that can be copied, nothing that roff would obey. */
void options_man_text(Buf *out, const char *words)
{
    bool first = true;
    for (; *words != 0; words++) {
        if (first && (*words == '.' || *words == '\''))
            buf_printf(out, "\\&");
        first = *words == '\n';
        if (*words == '-')
            buf_printf(out, "\\-");
        else if (*words == '\\')
            buf_printf(out, "\\e");
        else
            buf_add_byte(out, (uint8_t)*words);
    }
}

static void add_name(Buf *out, const char *name, char from, char to, bool loud)
{
    for (; *name != 0; name++)
        buf_printf(out, "%s%c", *name == from && to == '-' ? "\\" : "",
                   *name == from ? to
                   : loud        ? toupper((unsigned char)*name)
                                 : *name);
}

static void add_option(Buf *out, const OptionsRow *row)
{
    buf_printf(out, ".TP\n\\fB\\-\\-%s", row->type == OPTIONS_flag ? "[no\\-]" : "");
    add_name(out, row->name, '_', '-', false);
    buf_printf(out, "\\fR");
    if (row->type != OPTIONS_flag)
        buf_printf(out, " \\fI%s\\fR", options_value(row->type));
    buf_printf(out, "\n");
    options_man_text(out, row->help);
    if (*row->fallback != 0) {
        buf_printf(out, " [");
        options_man_text(out, row->fallback);
        buf_printf(out, "]");
    }
    buf_printf(out, "\n");
}

void options_man(const OptionsSpec *spec, Buf *out)
{
    buf_printf(out, ".TH %s 8 \"\" \"Holdfast " HOLDFAST_VERSION "\" \"Holdfast\"\n.SH NAME\n",
               spec->program);
    options_man_text(out, spec->program);
    buf_printf(out, " \\- %s\n.SH SYNOPSIS\n.B ",
               strstr(spec->program, "worker") != NULL
                   ? "runs the jobs of a fleet's backups"
                   : "plans a fleet's backups and serves the API");
    options_man_text(out, spec->program);
    buf_printf(out, "\n");
    options_man_text(out, spec->usage);
    buf_printf(out, "\n.SH DESCRIPTION\n.nf\n");
    options_man_text(out, spec->about);
    buf_printf(out, "\n.fi\n.SH OPTIONS\nEach with its default in brackets.\n");
    for (size_t i = 0; i < spec->row_count; i++)
        add_option(out, &spec->rows[i]);
    buf_printf(out, ".TP\n\\fB\\-\\-config\\fR \\fIFILE\\fR\nread this file of options");
    if (spec->config != NULL) {
        buf_printf(out, " [");
        options_man_text(out, spec->config);
        buf_printf(out, "]");
    }
    buf_printf(out,
               "\n.TP\n\\fB\\-\\-help\\fR[=\\fBmarkdown\\fR|\\fBman\\fR]\nprint the options, as "
               "they are, as a table or as this page\n.TP\n\\fB\\-\\-version\\fR\nprint the "
               "version\n");
    buf_printf(out,
               ".PP\n\\fIREF\\fR is credential:NAME, file:PATH or env:VARIABLE, never the secret "
               "itself.\n.SH FILES\n");
    if (spec->config != NULL)
        buf_printf(out, ".TP\n\\fB%s\\fR\noptions in YAML: log\\-level is log_level there\n",
                   spec->config);
    buf_printf(out, ".SH ENVIRONMENT\n.TP\n\\fBHOLDFAST_\\fR\\fINAME\\fR\neach option; a flag wins "
                    "over a variable, a variable over the file\n.TP\n\\fBHOLDFAST_\\fR\\fINAME\\fR"
                    "\\fB_FILE\\fR\na file that holds the value\n.SH SIGNALS\n.TP\n\\fBSIGHUP\\fR\n"
                    "read what may change again\n.TP\n\\fBSIGTERM\\fR\nstop\n.SH SEE ALSO\n"
                    "\\fBholdfast\\fR(1), \\fBholdfast\\-scheduler\\fR(8), "
                    "\\fBholdfast\\-worker\\fR(8)\n");
}
