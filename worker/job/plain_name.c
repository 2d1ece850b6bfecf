/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/plain_name.h"

#include "common/base/json.h"
#include "common/store/store.h"

enum { TIME_DIGITS = 14, BESIDE = 20 /* room for a number and ".meta" */ };

static const char TIME_USUAL[] = "%Y%m%d_%H%M%S";

static bool in_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static void add_value(Buf *out, Text value)
{
    for (size_t i = 0; i < value.len; i++) {
        char c = value.at[i];
        bool inner = i > 0 && i + 1 < value.len && in_name(value.at[i - 1]);
        bool kept = in_name(c) || (c == '.' && inner);
        buf_add_byte(out, kept ? (uint8_t)c : '_');
    }
}

/* digits: YYYYMMDDHHMMSS. */
static void add_time(Buf *out, Text digits, Text format)
{
    static const struct {
        char letter;
        uint8_t from, len;
    } parts[] = {{'Y', 0, 4}, {'m', 4, 2}, {'d', 6, 2}, {'H', 8, 2}, {'M', 10, 2}, {'S', 12, 2}};
    scoped(buf_free) Buf text = {0};
    for (size_t i = 0; digits.len == TIME_DIGITS && i < format.len; i++) {
        if (format.at[i] != '%' || ++i == format.len) {
            if (i < format.len)
                buf_add_byte(&text, (uint8_t)format.at[i]);
            continue;
        }
        for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++)
            if (parts[k].letter == format.at[i])
                buf_add(&text, digits.at + parts[k].from, parts[k].len);
    }
    add_value(out, buf_text(&text));
}

static void add_word(const json_t *plain, Text word, bool latest, bool *changes, Buf *out)
{
    static const char *const words[] = {"source", "schedule", "policy", "type"};
    const char *colon = memchr(word.at, ':', word.len);
    size_t len = colon == NULL ? word.len : (size_t)(colon - word.at);
    Text name = {word.at, len};
    bool when = text_equal(name, TEXT("time"));
    if (when || text_equal(name, TEXT("backup"))) {
        if (latest)
            buf_add_text(out, *changes ? TEXT("") : TEXT("latest"));
        else if (when)
            add_time(out, json_text_or(plain, "time", TEXT("")),
                     colon == NULL ? text_of(TIME_USUAL) : (Text){colon + 1, word.len - len - 1});
        else
            add_value(out, json_text_or(plain, "backup", TEXT("")));
        *changes = true;
        return;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (text_equal(name, text_of(words[i])))
            add_value(out, json_text_or(plain, words[i], TEXT("manual")));
}

static void fill(const json_t *plain, Text form, bool latest, bool *changes, Buf *out)
{
    for (size_t at = 0; at < form.len;) {
        const char *end = form.at[at] == '{' ? memchr(form.at + at, '}', form.len - at) : NULL;
        if (end == NULL) {
            buf_add_byte(out, (uint8_t)form.at[at++]);
            continue;
        }
        Text word = {form.at + at + 1, (size_t)(end - form.at) - at - 1};
        add_word(plain, word, latest, changes, out);
        at += word.len + 2;
    }
}

static bool ends_with(Text text, const char *end)
{
    size_t len = strlen(end);
    return text.len > len && memcmp(text.at + text.len - len, end, len) == 0;
}

/* Without its extension, which is added again behind the number. */
static bool finish(Buf *name, const char *extension, unsigned n, Err *err)
{
    Text made = buf_text(name);
    if (ends_with(made, extension))
        name->len -= strlen(extension);
    else if (ends_with(made, ".gz"))
        return err_set(err, ERR_INVALID, "plain.name",
                       "the plain copies of this source are %s files, and the policy calls them "
                       "%.*s: leave the extension out%s",
                       extension, TEXT_ARG(made),
                       ends_with(made, ".tar.gz") ? ", or say with holds what is in the archive"
                                                  : "");
    if (n > 1)
        buf_printf(name, "_%u", n);
    buf_add_text(name, text_of(extension));
    if (name->len + BESIDE <= STORE_NAME_MOST && store_name_valid(buf_cstr(name)))
        return true;
    return err_set(err, ERR_INVALID, "plain.name",
                   "'%.120s' is no name for a plain copy: letters, digits, '-', '_', inner dots, "
                   "'/' between parts, %d in all",
                   buf_cstr(name), STORE_NAME_MOST - BESIDE);
}

bool plain_name_make(const json_t *plain, const char *extension, unsigned n, Buf *out, Err *err)
{
    bool changes = false;
    fill(plain, json_text_or(plain, "name", TEXT(PLAIN_NAME_USUAL)), false, &changes, out);
    return finish(out, extension, n, err);
}

bool plain_name_latest(const json_t *plain, const char *extension, Buf *out, Err *err)
{
    bool changes = false;
    Text own = json_text_or(plain, "latest", TEXT(""));
    fill(plain, own.len > 0 ? own : json_text_or(plain, "name", TEXT(PLAIN_NAME_USUAL)), true,
         &changes, out);
    if (own.len > 0 || changes)
        return finish(out, extension, 1, err);
    buf_clear(out);
    return true;
}

bool plain_name_holds(const json_t *plain, Buf *out, Err *err)
{
    bool changes = false;
    fill(plain, json_text_or(plain, "holds", TEXT("")), false, &changes, out);
    return finish(out, ".sql", 1, err);
}
