/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_text.h"

#include "common/base/mem.h"
#include "common/base/suggest.h"
#include "common/base/units.h"
#include "scheduler/plan/calendar.h"
#include "scheduler/plan/cron.h"
#include "scheduler/plan/window.h"

#include <stdio.h>

static bool refuse(Err *err, const char *code, Text text, const char *wanted)
{
    return err_set(err, ERR_INVALID, code, "'%.*s' is not %s", TEXT_ARG(text), wanted);
}

static bool recode(Err *err, const char *code)
{
    snprintf(err->cause, sizeof err->cause, "%s", code);
    return false;
}

bool fleet_text_rule(Text text, Buf *hint, Err *err)
{
    Cron cron;
    if (cron_parse(text, TEXT("source"), &cron, err))
        return true;
    if (strcmp(err->cause, "cron.never") == 0)
        return recode(err, "never-due");
    buf_printf(hint, "minute hour day month weekday, as \"30 2 * * 1-5\"; or @daily; or every 6h");
    return recode(err, "bad-schedule");
}

/* The known zone nearest to a wrong name, from the list that comes with the zones. */
static void suggest_zone(Text text, Buf *hint)
{
    char line[256];
    char best[64] = "";
    size_t least = text.len / 3 + 1;
    FILE *list = fopen("/usr/share/zoneinfo/tzdata.zi", "re");
    while (list != NULL && fgets(line, sizeof line, list) != NULL) {
        char *name = line[0] == 'Z' ? line + 2 : line[0] == 'L' ? strchr(line + 2, ' ') : NULL;
        if (name == NULL)
            continue;
        name += *name == ' ';
        name[strcspn(name, " \n")] = 0;
        size_t distance = suggest_distance(text, text_of(name));
        if (distance >= least)
            continue;
        least = distance;
        snprintf(best, sizeof best, "%.63s", name);
    }
    if (list != NULL)
        fclose(list);
    if (best[0] != 0)
        buf_printf(hint, "did you mean '%s'?", best);
}

bool fleet_text_zone(Text text, Buf *hint, Err *err)
{
    Zone *zone = NULL;
    bool known = zone_open(&zone, text, err);
    zone_free(zone);
    if (known)
        return true;
    suggest_zone(text, hint);
    return refuse(err, "unknown-timezone", text, "a time zone of this machine");
}

static bool has_dotdot(Text text)
{
    for (size_t at = 0; at + 2 <= text.len; at++) {
        bool begins = at == 0 || text.at[at - 1] == '/';
        bool ends = at + 2 == text.len || text.at[at + 2] == '/';
        if (begins && ends && text.at[at] == '.' && text.at[at + 1] == '.')
            return true;
    }
    return false;
}

bool fleet_text_path(Text text, Buf *hint, Err *err)
{
    (void)hint;
    if (text.at[0] != '/')
        return refuse(err, "bad-path", text, "an absolute path");
    return !has_dotdot(text) || refuse(err, "bad-path", text, "a path without '..'");
}

bool fleet_text_include(Text text, Buf *hint, Err *err)
{
    size_t stars = 0;
    for (size_t i = 0; i < text.len; i++)
        stars += text.at[i] == '*';
    if (text.len > 255 || stars > 8) /* matching takes time that grows with every star */
        return refuse(err, "bad-include", text, "a pattern of 255 letters and 8 stars at most");
    if (text.at[0] != '/' && !has_dotdot(text))
        return true;
    buf_printf(hint, "a path relative to this file, as fleet.d/*.yaml");
    return refuse(err, "bad-include", text, "below the policy's directory");
}

/* The span of text that ends before the first of these letters. */
static Text until(Text text, const char *stops)
{
    size_t len = 0;
    while (len < text.len && strchr(stops, text.at[len]) == NULL)
        len++;
    return (Text){text.at, len};
}

bool fleet_text_url(Text text, Buf *hint, Err *err)
{
    Text scheme = until(text, ":");
    bool shaped =
        scheme.len != 0 && text.len > scheme.len + 3 && memcmp(text.at + scheme.len, "://", 3) == 0;
    if (!shaped) {
        buf_printf(hint, "a scheme, then a host: https://backup.example/");
        return refuse(err, "bad-url", text, "a URL");
    }
    Text rest = {text.at + scheme.len + 3, text.len - scheme.len - 3};
    Text place = until(rest, "/?#");
    Text login = until(place, "@");
    if (login.len == place.len || memchr(login.at, ':', login.len) == NULL)
        return true;
    buf_printf(hint, "take it out of the URL and write  password: {credential: NAME}   then change "
                     "it: it was seen");
    return err_set(err, ERR_INVALID, "literal-secret", "there is a password in the URL");
}

bool fleet_text_hours(Text text, Buf *hint, Err *err)
{
    int from;
    int to;
    if (window_hours(text, &from, &to, err))
        return true;
    buf_printf(hint, "two times of day, as 22:00-06:00; a whole day is 00:00-24:00");
    return refuse(err, "bad-hours", text, "a span of the day");
}

bool fleet_text_date(Text text, Buf *hint, Err *err)
{
    CalendarSpan day;
    (void)hint;
    return (text.len == 10 && calendar_span(text, &day, err)) ||
           refuse(err, "bad-date", text, "a day, as 2027-06-30");
}

bool fleet_text_dates(Text text, Buf *hint, Err *err)
{
    CalendarSpan span;
    if (calendar_span(text, &span, err))
        return true;
    buf_printf(hint, "a day 2026-12-24, days 2026-12-24..2027-01-01, or a day of every year 12-25");
    return refuse(err, "bad-date", text, "a day");
}

/* "<= 80%": takes the comparison, leaves the amount. */
static bool comparison(Text *text)
{
    static const char *const signs[] = {"<=", ">=", "<", ">"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        size_t len = strlen(signs[i]);
        if (text->len <= len || memcmp(text->at, signs[i], len) != 0)
            continue;
        *text = (Text){text->at + len, text->len - len};
        while (text->len > 1 && text->at[0] == ' ')
            *text = (Text){text->at + 1, text->len - 1};
        return true;
    }
    return false;
}

static bool condition(Text text, bool good, const char *wanted, Buf *hint, Err *err)
{
    if (good)
        return true;
    buf_printf(hint, "write it as \"%s\"", wanted);
    return refuse(err, "bad-condition", text, "a condition");
}

bool fleet_text_part(Text text, Buf *hint, Err *err)
{
    double share;
    Err ignored = {0};
    Text rest = text;
    return condition(text, comparison(&rest) && units_percent(rest, &share, &ignored), "<= 80%",
                     hint, err);
}

bool fleet_text_size(Text text, Buf *hint, Err *err)
{
    uint64_t bytes;
    Err ignored = {0};
    Text rest = text;
    return condition(text, comparison(&rest) && units_size(rest, &bytes, &ignored), ">= 10GiB",
                     hint, err);
}

bool fleet_text_number(Text text, Buf *hint, Err *err)
{
    Text rest = text;
    bool good = comparison(&rest) && rest.len <= 18;
    for (size_t i = 0; good && i < rest.len; i++)
        good = rest.at[i] >= '0' && rest.at[i] <= '9';
    return condition(text, good, ">= 100000", hint, err);
}

bool fleet_text_expect(Text text, Buf *hint, Err *err)
{
    bool compares = text.len > 0 && strchr("<>=!", text.at[0]) != NULL;
    return !compares || fleet_text_number(text, hint, err);
}

bool fleet_text_room(Text text, Buf *hint, Err *err)
{
    double share;
    uint64_t bytes;
    Err ignored = {0};
    (void)hint;
    return units_percent(text, &share, &ignored) || units_size(text, &bytes, &ignored) ||
           refuse(err, "bad-amount", text, "a share, as 15%, or a size, as 50GiB");
}

bool fleet_text_server(Text text, Buf *hint, Err *err)
{
    const char *colon = memchr(text.at, ':', text.len);
    size_t digits = colon == NULL ? 0 : text.len - (size_t)(colon + 1 - text.at);
    bool good = colon != NULL && colon != text.at && digits != 0 && digits <= 5;
    (void)hint;
    for (size_t i = 1; good && i <= digits; i++)
        good = colon[i] >= '0' && colon[i] <= '9';
    return good || refuse(err, "bad-server", text, "host:port");
}

static bool in_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr("-_./{", c) != NULL;
}

/* "time:%Y%m%d": its letters are those of strftime that do not depend on a language. */
static bool time_fits(Text word)
{
    for (size_t i = 0; i < word.len; i++)
        if (word.at[i] == '%' && (++i == word.len || strchr("YmdHMS", word.at[i]) == NULL))
            return false;
    return true;
}

/* Words in braces that a plain copy's name may hold. */
bool fleet_text_plain(Text text, Buf *hint, Err *err)
{
    static const char *const words[] = {"source", "schedule", "time", "backup", "policy", "type"};
    enum { WORDS = sizeof words / sizeof *words };
    for (size_t at = 0; at < text.len; at++) {
        if (!in_name(text.at[at])) {
            buf_printf(hint, "letters, digits, '-', '_', '.', '/' and words in braces");
            return refuse(err, "bad-template", text, "a name of copies");
        }
        if (text.at[at] != '{')
            continue;
        Text rest = {text.at + at + 1, text.len - at - 1};
        Text word = until(rest, ":}");
        bool known = until(rest, "}").len < rest.len && time_fits(until(rest, "}"));
        for (size_t i = 0; known && i <= WORDS; i++)
            if (i == WORDS || text_equal(word, text_of(words[i]))) {
                known = i < WORDS;
                break;
            }
        if (known) {
            at += until(rest, "}").len + 1;
            continue;
        }
        const char *near = suggest_nearest(word, words, WORDS);
        if (near == NULL)
            buf_printf(hint, "there are {source} {schedule} {time:%%Y%%m%%d_%%H%%M%%S} {backup} "
                             "{policy} {type}");
        else
            buf_printf(hint, "did you mean '{%s}'?", near);
        return refuse(err, "bad-template", text, "a name of copies");
    }
    return (text.at[0] != '/' && !has_dotdot(text)) ||
           refuse(err, "bad-template", text, "a name below the store");
}

bool fleet_text_pool(Text text, Buf *hint, Err *err)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (word)
            continue;
        buf_printf(hint, "small letters, digits, '_' and '-'");
        return refuse(err, "bad-name", text, "a pool's name");
    }
    return true;
}
