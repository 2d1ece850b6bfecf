/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/cron.h"

#include "common/base/units.h"

#include <strings.h>

/* Parts of a wrong rule that its error repeats; a longer part is cut. */
enum { SHOWN = 60 };

typedef struct Field {
    const char *what;
    int least, most;
    int hash_most; /* H stays below: days after the 28th do not come every month */
    const char *const *names;
    int first_name;
    const char *may; /* what may stand there, for errors */
} Field;

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                          "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

enum { MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK, FIELDS };

static const Field fields[FIELDS] = {
    {"a minute", 0, 59, 59, NULL, 0, "0-59"},
    {"an hour", 0, 23, 23, NULL, 0, "0-23"},
    {"a day of the month", 1, 31, 28, NULL, 0, "1-31"},
    {"a month", 1, 12, 12, month_names, 1, "1-12 or jan-dec"},
    {"a day of the week", 0, 7, 6, weekday_names, 0, "0-7 or sun-sat; 0 and 7 are Sunday"},
};

/* A rule while it is read. */
typedef struct Reader {
    Text text;
    Text name; /* of the source */
    size_t at;
    size_t fault; /* where the error begins */
    Err *err;
} Reader;

static Text part_of(const Reader *reader, size_t from, size_t to)
{
    size_t len = to - from;
    return (Text){reader->text.at + from, len < SHOWN ? len : SHOWN};
}

/* Where the item that holds `from` ends. */
static size_t item_end(const Reader *reader, size_t from)
{
    while (from < reader->text.len && strchr(", \t", reader->text.at[from]) == NULL)
        from++;
    return from;
}

static bool wrong_value(Reader *reader, const Field *field, size_t from)
{
    Text item = part_of(reader, from, item_end(reader, from));
    const char *hint = "";
    reader->fault = from;
    if (item.len == 0)
        return err_set(reader->err, ERR_INVALID, "cron.invalid", "%s is missing: write %s, or *",
                       field->what, field->may);
    if (item.at[0] == '?')
        hint = "; write * instead of ?";
    else if (item.at[0] == 'h')
        hint = "; write a capital H";
    else if (item.at[0] == 'L' || item.at[item.len - 1] == 'L')
        hint = "; the last day of a month is not known here: take 28";
    return err_set(reader->err, ERR_INVALID, "cron.invalid", "'%.*s' is not %s (%s)%s",
                   TEXT_ARG(item), field->what, field->may, hint);
}

/* FNV-1a (public domain) over name and field, then the finalizer of MurmurHash3 (public domain),
 * without which the fields of one name depend on each other and most minutes of a day stay empty.
 * Stable for ever: a schedule must not move on upgrade. */
static uint64_t hash_of(Text name, int field)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ (uint8_t)name.at[i]) * 0x100000001b3u;
    hash = (hash ^ (uint8_t)('0' + field)) * 0x100000001b3u;
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53u;
    return hash ^ hash >> 33;
}

static bool take_char(Reader *reader, char c)
{
    if (reader->at == reader->text.len || reader->text.at[reader->at] != c)
        return false;
    reader->at++;
    return true;
}

static bool take_number(Reader *reader, int *out)
{
    size_t from = reader->at;
    *out = 0;
    while (reader->at < reader->text.len && reader->at - from < 4 &&
           reader->text.at[reader->at] >= '0' && reader->text.at[reader->at] <= '9')
        *out = *out * 10 + (reader->text.at[reader->at++] - '0');
    return reader->at != from;
}

/* A number or a name of the field. */
static bool take_value(Reader *reader, const Field *field, int *out)
{
    size_t from = reader->at;
    bool found = take_number(reader, out);
    for (int i = 0; !found && field->names != NULL && field->names[i] != NULL; i++)
        if (reader->text.len - from >= 3 &&
            strncasecmp(reader->text.at + from, field->names[i], 3) == 0) {
            *out = i + field->first_name;
            reader->at = from + 3;
            found = true;
        }
    return (found && *out >= field->least && *out <= field->most) ||
           wrong_value(reader, field, from);
}

/* "-b" after an a that began at `from`; weekdays may end on Sunday, the seventh. */
static bool take_range_end(Reader *reader, const Field *field, size_t from, int least, int *most)
{
    if (!take_value(reader, field, most))
        return false;
    if (field == &fields[DAY_OF_WEEK] && *most == 0 && least > 0)
        *most = 7;
    if (*most >= least)
        return true;
    Text range = part_of(reader, from, reader->at);
    reader->fault = from;
    return err_set(reader->err, ERR_INVALID, "cron.invalid",
                   "'%.*s' runs backwards; write two ranges with a comma between them",
                   TEXT_ARG(range));
}

/* "/n" after an item that began at `from`; without one the step stays 1. */
static bool take_step(Reader *reader, size_t from, int most, int *step, bool *stepped)
{
    *stepped = take_char(reader, '/');
    if (!*stepped)
        return true;
    if (take_number(reader, step) && *step >= 1 && *step <= most)
        return true;
    Text item = part_of(reader, from, item_end(reader, from));
    reader->fault = from;
    return err_set(reader->err, ERR_INVALID, "cron.invalid",
                   "the step of '%.*s' is not one of 1-%d", TEXT_ARG(item), most);
}

/* The parts of "H(a-b)" after the letter. */
static bool take_hash_range(Reader *reader, const Field *field, int *least, int *most)
{
    size_t from = reader->at;
    if (!take_char(reader, '('))
        return true;
    size_t inside = reader->at;
    if (!take_value(reader, field, least))
        return false;
    if (!take_char(reader, '-'))
        return wrong_value(reader, field, from);
    return take_range_end(reader, field, inside, *least, most) &&
           (take_char(reader, ')') || wrong_value(reader, field, from));
}

/* One item of a list into bits. */
static bool take_item(Reader *reader, int index, uint64_t *bits)
{
    const Field *field = &fields[index];
    size_t from = reader->at;
    bool hashed = take_char(reader, 'H');
    int least = field->least;
    int most = hashed ? field->hash_most : field->most;
    int step = 1;
    bool stepped;
    bool single = false;
    if (hashed) {
        if (!take_hash_range(reader, field, &least, &most))
            return false;
    } else if (!take_char(reader, '*')) {
        if (!take_value(reader, field, &least))
            return false;
        single = !take_char(reader, '-');
        most = least;
        if (!single && !take_range_end(reader, field, from, least, &most))
            return false;
    }
    if (!take_step(reader, from, hashed ? most - least + 1 : field->most, &step, &stepped))
        return false;
    if (single && stepped)
        most = field->most; /* a/n counts from a on, as Vixie's cron does */
    if (hashed) {
        int among = stepped ? step : most - least + 1;
        least += (int)(hash_of(reader->name, index) % (uint64_t)among);
        most = stepped ? most : least;
    }
    for (int i = least; i <= most; i += step)
        *bits |= 1ull << i;
    return true;
}

static void skip_spaces(Reader *reader)
{
    while (take_char(reader, ' ') || take_char(reader, '\t'))
        ;
}

static bool take_field(Reader *reader, int index, uint64_t *bits)
{
    size_t from;
    *bits = 0;
    do {
        from = reader->at;
        if (!take_item(reader, index, bits))
            return false;
    } while (take_char(reader, ','));
    return reader->at == reader->text.len || item_end(reader, reader->at) == reader->at ||
           wrong_value(reader, &fields[index], from);
}

static bool wrong_count(Reader *reader, int count)
{
    reader->fault = reader->at;
    return err_set(reader->err, ERR_INVALID, "cron.invalid",
                   "%s than five fields (minute hour day month weekday)%s",
                   count < FIELDS ? "fewer" : "more",
                   count < FIELDS ? "; write * where any may be" : "; seconds and years have none");
}

static bool read_fields(Reader *reader, Cron *out)
{
    uint64_t bits[FIELDS];
    for (int i = 0; i < FIELDS; i++) {
        skip_spaces(reader);
        if (reader->at == reader->text.len)
            return wrong_count(reader, i);
        bool star = reader->text.at[reader->at] == '*';
        if (!take_field(reader, i, &bits[i]))
            return false;
        out->any_day |= i == DAY_OF_MONTH && star;
        out->any_weekday |= i == DAY_OF_WEEK && star;
    }
    skip_spaces(reader);
    if (reader->at != reader->text.len)
        return wrong_count(reader, FIELDS + 1);
    out->minutes = bits[MINUTE];
    out->hours = (uint32_t)bits[HOUR];
    out->days = (uint32_t)bits[DAY_OF_MONTH];
    out->months = (uint32_t)bits[MONTH];
    out->weekdays = (uint32_t)((bits[DAY_OF_WEEK] | bits[DAY_OF_WEEK] >> 7) & 0x7f);
    out->every_hour = out->hours == (1u << 24) - 1;
    return true;
}

/* "0 0 30 2 *": some day must be in some month, unless a weekday alone is enough. */
static bool comes(const Reader *reader, const Cron *cron)
{
    static const uint8_t lengths[13] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool either = !cron->any_day && !cron->any_weekday;
    for (int month = 1; month <= 12; month++)
        if ((cron->months >> month & 1u) != 0 &&
            (either || (cron->days & ((2ull << lengths[month]) - 1)) != 0))
            return true;
    return err_set(reader->err, ERR_INVALID, "cron.never",
                   "'%.*s' is never due: none of its months has that day",
                   TEXT_ARG(part_of(reader, 0, reader->text.len)));
}

static bool expand(Reader *reader)
{
    static const struct {
        const char *name, *rule;
    } names[] = {{"@hourly", "H * * * *"},        {"@daily", "H H * * *"},
                 {"@midnight", "H H(0-2) * * *"}, {"@weekly", "H H * * H"},
                 {"@monthly", "H H H * *"},       {"@yearly", "H H H H *"},
                 {"@annually", "H H H H *"}};
    Text text = reader->text;
    if (text.len == 0 || text.at[0] != '@')
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (text_equal(text, text_of(names[i].name))) {
            reader->text = text_of(names[i].rule);
            return true;
        }
    reader->fault = 0;
    return err_set(reader->err, ERR_INVALID, "cron.invalid",
                   "'%.*s' is not known: @hourly @daily @midnight @weekly @monthly "
                   "@yearly are%s",
                   TEXT_ARG(part_of(reader, 0, text.len)),
                   text_equal(text, TEXT("@reboot")) ? "; a first backup is  initial: true" : "");
}

static bool read_every(Reader *reader, Cron *out)
{
    int64_t ms;
    Text span = {reader->text.at + 6, reader->text.len - 6};
    reader->fault = 6;
    if (!units_duration_ms(span, &ms, reader->err))
        return false;
    if (ms < 1000 || ms % 1000 != 0)
        return err_set(reader->err, ERR_INVALID, "cron.invalid",
                       "'%.*s': write whole seconds, as 90s or 6h",
                       TEXT_ARG(part_of(reader, 6, reader->text.len)));
    out->every_s = ms / 1000;
    return true;
}

bool cron_parse_at(Text text, Text name, Cron *out, size_t *column, Err *err)
{
    static const size_t NOWHERE = SIZE_MAX;
    Reader reader = {.text = text, .name = name, .fault = NOWHERE, .err = err};
    bool good;
    *out = (Cron){0};
    if (text.len > 6 && memcmp(text.at, "every ", 6) == 0)
        good = read_every(&reader, out);
    else
        good = expand(&reader) && read_fields(&reader, out) && comes(&reader, out);
    if (!good && reader.fault != NOWHERE)
        err_note(err, "column %zu of '%.*s'", reader.fault + 1,
                 TEXT_ARG(((Text){text.at, text.len < SHOWN ? text.len : SHOWN})));
    *column = good || reader.fault == NOWHERE ? 0 : reader.fault + 1;
    return good;
}

bool cron_parse(Text text, Text name, Cron *out, Err *err)
{
    size_t column;
    return cron_parse_at(text, name, out, &column, err);
}
