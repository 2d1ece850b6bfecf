/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_script.h"

#include "common/base/mem.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    STATEMENT_MOST = 256 << 20, /* the server itself takes a gigabyte; memory is bounded here */
    COMMAND_MOST = 200,         /* bytes of a line that begins with a backslash */
    WORDS = 4,
    WORD_MOST = 24,
    TAG_MOST = 64,
};

typedef enum State {
    STATE_PLAIN,
    STATE_QUOTE,
    STATE_NAME,
    STATE_TAG, /* a dollar, and perhaps the tag of a quote */
    STATE_DOLLAR,
    STATE_LINE_COMMENT,
    STATE_BLOCK_COMMENT,
    STATE_COMMAND
} State;

/* After the end of a quote: right behind it, behind blanks, behind a line break among them. */
typedef enum After { AFTER_NOTHING, AFTER_QUOTE, AFTER_BLANK, AFTER_BREAK } After;

struct PostgresqlScript {
    State state;
    After after;
    bool began, ended; /* a statement */
    bool escapes;      /* a backslash in this quote takes the next byte */
    bool escaped;
    uint8_t last; /* the byte before, in STATE_PLAIN and in comments; 0: none that counts */
    uint8_t held; /* '-' or '/' before a statement: it may begin a comment */
    unsigned depth, begins, comments;
    char word[WORD_MOST + 1];
    size_t word_len;
    char words[WORDS][WORD_MOST + 1]; /* the first ones, in capitals */
    size_t word_count;
    bool from_seen, after_from, from_stdin;
    char tag[TAG_MOST]; /* "$tag$" */
    size_t tag_len, matched;
    Buf statement, command;
    uint64_t line, began_line;
};

PostgresqlScript *postgresql_script_new(void)
{
    PostgresqlScript *script = mem_new(PostgresqlScript);
    script->line = 1;
    return script;
}

void postgresql_script_free(PostgresqlScript *script)
{
    if (script == NULL)
        return;
    buf_free(&script->statement);
    buf_free(&script->command);
    mem_free(script);
}

static bool refuse(const PostgresqlScript *s, const char *why, Err *err)
{
    return err_set(err, ERR_INVALID, "target.script", "line %" PRIu64 ": %s", s->line, why);
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool begins_name(uint8_t c)
{
    return isalpha(c) != 0 || c == '_' || c >= 0x80;
}

static bool is_of_name(uint8_t c)
{
    return begins_name(c) || isdigit(c) != 0 || c == '$';
}

/* ---- words ---- */

static bool word_is(const PostgresqlScript *s, size_t at, const char *word)
{
    return at < s->word_count && strcmp(s->words[at], word) == 0;
}

static bool makes_function(const PostgresqlScript *s)
{
    size_t at = word_is(s, 1, "OR") && word_is(s, 2, "REPLACE") ? 3 : 1;
    return word_is(s, 0, "CREATE") && (word_is(s, at, "FUNCTION") || word_is(s, at, "PROCEDURE"));
}

/* BEGIN ATOMIC … END is a body with semicolons in it, and so is each CASE … END there. */
static void count_bodies(PostgresqlScript *s)
{
    if (!makes_function(s))
        return;
    if (strcmp(s->word, "BEGIN") == 0 || (s->begins > 0 && strcmp(s->word, "CASE") == 0))
        s->begins++;
    else if (s->begins > 0 && strcmp(s->word, "END") == 0)
        s->begins--;
}

static void end_word(PostgresqlScript *s)
{
    if (s->word_len == 0)
        return;
    s->word[s->word_len < WORD_MOST ? s->word_len : WORD_MOST] = '\0';
    if (s->depth == 0) {
        count_bodies(s);
        if (s->word_count < WORDS)
            memcpy(s->words[s->word_count++], s->word, sizeof s->word);
        /* Of the first FROM: a column may be called stdin, and a later FROM may compare with it. */
        if (s->after_from && strcmp(s->word, "STDIN") == 0)
            s->from_stdin = true;
        s->after_from = !s->from_seen && strcmp(s->word, "FROM") == 0;
        s->from_seen = s->from_seen || s->after_from;
    }
    s->word_len = 0;
}

static void take_word(PostgresqlScript *s, uint8_t c)
{
    if (s->word_len == 0 && (!begins_name(c) || is_of_name(s->last)))
        return;
    if (s->word_len < WORD_MOST)
        s->word[s->word_len] = (char)toupper(c);
    s->word_len++;
}

/* ---- one byte in each state ---- */

static void begin_statement(PostgresqlScript *s)
{
    s->began = true;
    s->began_line = s->line;
    if (s->held != 0)
        buf_add_byte(&s->statement, s->held);
    s->held = 0;
}

/* E'…' takes backslashes; an ordinary one where the server says so; U&'…', B'…', X'…' never do. */
static bool quote_escapes(const PostgresqlScript *s, bool conforming)
{
    char prefix = s->word_len == 1 ? s->word[0] : '\0';
    if (prefix == 'E')
        return true;
    return !conforming && prefix != 'B' && prefix != 'X' && s->last != '&';
}

/* 'a''b', and 'a' that goes on behind a line break: still the same quote. */
static bool goes_on(PostgresqlScript *s, uint8_t c)
{
    if (s->after == AFTER_NOTHING)
        return false;
    if (c == '\'' && s->after != AFTER_BLANK) {
        s->after = AFTER_NOTHING;
        s->state = STATE_QUOTE;
        return true;
    }
    if (!is_blank(c))
        s->after = AFTER_NOTHING;
    else if (c == '\n' || c == '\r')
        s->after = AFTER_BREAK;
    else if (s->after == AFTER_QUOTE)
        s->after = AFTER_BLANK;
    return false;
}

static bool begin_comment(PostgresqlScript *s, uint8_t c)
{
    uint8_t before = s->held != 0 ? s->held : s->last;
    if (!(before == '-' && c == '-') && !(before == '/' && c == '*'))
        return false;
    s->state = c == '-' ? STATE_LINE_COMMENT : STATE_BLOCK_COMMENT;
    s->comments = 1;
    s->held = s->last = 0;
    return true;
}

static bool begin_command(PostgresqlScript *s, Err *err)
{
    if (s->began)
        return refuse(s,
                      "a backslash outside of quotes, which is a command to psql and may run a "
                      "program: nothing of that kind is done here",
                      err);
    s->state = STATE_COMMAND;
    buf_clear(&s->command);
    buf_add_byte(&s->command, '\\');
    return true;
}

static void take_sign(PostgresqlScript *s, uint8_t c, bool conforming)
{
    if (c == '\'') {
        s->escapes = quote_escapes(s, conforming);
        s->escaped = false;
        s->state = STATE_QUOTE;
    } else if (c == '"') {
        s->state = STATE_NAME;
    } else if (c == '$' && !is_of_name(s->last)) {
        s->state = STATE_TAG;
        s->tag[0] = '$';
        s->tag_len = 1;
    }
    end_word(s);
    if (c == '(')
        s->depth++;
    else if (c == ')' && s->depth > 0)
        s->depth--;
    else if (c == ';' && s->depth == 0 && s->begins == 0)
        s->ended = true;
    s->last = s->state == STATE_PLAIN ? c : 0;
}

static bool take_plain(PostgresqlScript *s, uint8_t c, bool conforming, Err *err)
{
    if (goes_on(s, c))
        return true;
    if (c == '\\')
        return begin_command(s, err);
    if (begin_comment(s, c)) {
        end_word(s);
        return true;
    }
    if (!s->began) {
        if (s->held == 0 && (is_blank(c) || c == ';'))
            return true;
        if (s->held == 0 && (c == '-' || c == '/')) {
            s->held = c;
            return true;
        }
        begin_statement(s);
    }
    if (is_of_name(c) && !(c == '$' && !is_of_name(s->last))) {
        take_word(s, c);
        s->last = c;
    } else {
        take_sign(s, c, conforming);
    }
    return true;
}

static void take_quote(PostgresqlScript *s, uint8_t c)
{
    if (s->escaped) {
        s->escaped = false;
    } else if (c == '\\' && s->escapes) {
        s->escaped = true;
    } else if (c == '\'') {
        s->state = STATE_PLAIN;
        s->after = AFTER_QUOTE;
        s->last = 0;
    }
}

/* True: the byte was not of a tag, so it is looked at again. */
static bool take_tag(PostgresqlScript *s, uint8_t c)
{
    bool fits = c == '$' || begins_name(c) || (s->tag_len > 1 && isdigit(c) != 0);
    if (!fits || s->tag_len == sizeof s->tag) {
        s->state = STATE_PLAIN;
        s->last = '$';
        return true;
    }
    s->tag[s->tag_len++] = (char)c;
    if (c == '$') {
        s->state = STATE_DOLLAR;
        s->matched = 0;
    }
    return false;
}

/* A dollar stands only at both ends of the mark, so what fits so far is at most one dollar. */
static void take_dollar(PostgresqlScript *s, uint8_t c)
{
    if (c == (uint8_t)s->tag[s->matched])
        s->matched++;
    else
        s->matched = c == '$' ? 1 : 0;
    if (s->matched == s->tag_len) {
        s->state = STATE_PLAIN;
        s->last = 0;
    }
}

static void take_block_comment(PostgresqlScript *s, uint8_t c)
{
    bool opens = s->last == '/' && c == '*', closes = s->last == '*' && c == '/';
    s->comments += opens;
    s->comments -= closes;
    s->last = opens || closes ? 0 : c;
    if (s->comments == 0)
        s->state = STATE_PLAIN;
}

static bool end_command(PostgresqlScript *s, Err *err)
{
    char why[COMMAND_MOST + 240];
    const char *line = buf_cstr(&s->command);
    size_t name = 1 + strcspn(line + 1, " \t\r");
    s->state = STATE_PLAIN;
    s->last = 0;
    if ((name == 9 && strncmp(line, "\\restrict", 9) == 0) ||
        (name == 11 && strncmp(line, "\\unrestrict", 11) == 0))
        return true;
    if (strncmp(line, "\\connect", 8) == 0 || (name == 2 && line[1] == 'c'))
        return refuse(s,
                      "\\connect: the dump is of several databases, or makes its own: dump one "
                      "database, without --create, or take its part of this file",
                      err);
    snprintf(why, sizeof why,
             "%.40s is a command to psql, which may run programs and read files: nothing of that "
             "kind is done here. Take it out of the file if it is not needed",
             line);
    return refuse(s, why, err);
}

static bool take_command(PostgresqlScript *s, uint8_t c, Err *err)
{
    if (c == '\n')
        return end_command(s, err);
    if (s->command.len < COMMAND_MOST)
        buf_add_byte(&s->command, isprint(c) != 0 || c == '\r' ? c : '?');
    return true;
}

static bool take_byte(PostgresqlScript *s, uint8_t c, bool conforming, Err *err)
{
    switch (s->state) {
    case STATE_TAG:
        return !take_tag(s, c) || take_plain(s, c, conforming, err);
    case STATE_PLAIN:
        return take_plain(s, c, conforming, err);
    case STATE_QUOTE:
        take_quote(s, c);
        break;
    case STATE_NAME:
        if (c == '"')
            s->state = STATE_PLAIN;
        break;
    case STATE_DOLLAR:
        take_dollar(s, c);
        break;
    case STATE_LINE_COMMENT:
        if (c == '\n' || c == '\r') /* as the server sees it */
            s->state = STATE_PLAIN;
        break;
    case STATE_BLOCK_COMMENT:
        take_block_comment(s, c);
        break;
    case STATE_COMMAND:
        return take_command(s, c, err);
    }
    return true;
}

/* ---- statements ---- */

/* What acts on more than the database that is filled. */
static bool allowed(PostgresqlScript *s, Err *err)
{
    static const char *const wide[] = {"DATABASE", "ROLE", "USER", "GROUP", "TABLESPACE", "SYSTEM"};
    char why[200];
    bool changes = word_is(s, 0, "CREATE") || word_is(s, 0, "ALTER") || word_is(s, 0, "DROP");
    s->line = s->began_line; /* the error is of where it begins */
    for (size_t i = 0; changes && i < sizeof wide / sizeof *wide; i++)
        if (word_is(s, 1, wide[i]) && !(i == 2 && word_is(s, 2, "MAPPING"))) {
            snprintf(why, sizeof why,
                     "%s %s acts on the whole server: a dump of one database is restored, made "
                     "without --create and not by pg_dumpall",
                     s->words[0], s->words[1]);
            return refuse(s, why, err);
        }
    if (word_is(s, 0, "PREPARE") && word_is(s, 1, "TRANSACTION"))
        return refuse(s, "PREPARE TRANSACTION leaves something that nobody would end", err);
    if (word_is(s, 0, "COPY") && !s->from_stdin)
        return refuse(s,
                      "COPY of a file or a program of the server: only rows that stand in the "
                      "dump itself are taken",
                      err);
    return true;
}

static void next_statement(PostgresqlScript *s)
{
    buf_clear(&s->statement);
    s->began = s->ended = false;
    s->word_count = 0;
    s->depth = s->begins = 0;
    s->from_seen = s->after_from = s->from_stdin = false;
    s->after = AFTER_NOTHING;
    s->last = s->held = 0;
}

static bool whole_statement(PostgresqlScript *s, bool *whole, Err *err)
{
    uint64_t line = s->line;
    *whole = true;
    if (!allowed(s, err))
        return false;
    s->line = line;
    return true;
}

bool postgresql_script_take(PostgresqlScript *s, Slice bytes, bool conforming, size_t *used,
                            bool *whole, Err *err)
{
    size_t at = 0, from = 0;
    bool fine = true;
    *whole = false;
    if (s->ended)
        next_statement(s);
    bool began = s->began;
    while (fine && at < bytes.len && !s->ended) {
        uint8_t c = bytes.at[at];
        fine = c != 0 ? take_byte(s, c, conforming, err)
                      : refuse(s, "a byte that is zero: this is no text in the encoding of a dump",
                               err);
        if (s->began && !began) {
            began = true;
            from = at;
        }
        s->line += c == '\n';
        at++;
    }
    *used = at;
    if (began)
        buf_add(&s->statement, bytes.at + from, at - from);
    if (fine && s->statement.len > STATEMENT_MOST)
        fine = refuse(s, "one statement is larger than 256 MiB", err);
    return fine && (!s->ended || whole_statement(s, whole, err));
}

bool postgresql_script_end(PostgresqlScript *s, bool *whole, Err *err)
{
    *whole = false;
    if (s->ended)
        next_statement(s);
    if (s->state == STATE_COMMAND && !end_command(s, err))
        return false;
    if (s->state == STATE_TAG || s->state == STATE_LINE_COMMENT)
        s->state = STATE_PLAIN;
    if (s->state != STATE_PLAIN || s->depth > 0 || s->begins > 0)
        return err_set(err, ERR_INVALID, "target.script",
                       "line %" PRIu64 ": the file ends inside the statement, quote or comment "
                       "that began in line %" PRIu64 ": it was cut",
                       s->line, s->began ? s->began_line : s->line);
    if (!s->began)
        return true;
    end_word(s);
    s->ended = true;
    return whole_statement(s, whole, err);
}

const char *postgresql_script_statement(PostgresqlScript *script)
{
    return buf_cstr(&script->statement);
}

uint64_t postgresql_script_line(const PostgresqlScript *script)
{
    return script->began_line;
}

bool postgresql_script_copies(const PostgresqlScript *script)
{
    return word_is(script, 0, "COPY") && script->from_stdin;
}

uint64_t postgresql_script_at(const PostgresqlScript *script)
{
    return script->line;
}

void postgresql_script_passed(PostgresqlScript *script, uint64_t lines)
{
    script->line += lines;
}
