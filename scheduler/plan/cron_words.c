/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/cron_words.h"

/* Times that are listed one by one; more are told as minutes of hours. */
enum { TIMES_MOST = 6, DAY = 86400 };

typedef struct Field {
    uint64_t bits;
    int from, to;
    const char *const *names; /* of the values from `from` on; NULL: numbers */
} Field;

static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                          "jul", "aug", "sep", "oct", "nov", "dec"};

static bool has(const Field *field, int value)
{
    return value <= field->to && (field->bits >> value & 1) != 0;
}

static bool is_full(const Field *field)
{
    for (int value = field->from; value <= field->to; value++)
        if (!has(field, value))
            return false;
    return true;
}

static int count_of(const Field *field)
{
    int count = 0;
    for (int value = field->from; value <= field->to; value++)
        count += has(field, value);
    return count;
}

static void add_value(const Field *field, int value, Buf *out)
{
    if (field->names == NULL)
        buf_printf(out, "%d", value);
    else
        buf_printf(out, "%s", field->names[value - field->from]);
}

/* "0,15,30", "1-5", "mon-fri,sun". */
static void add_list(const Field *field, Buf *out)
{
    const char *comma = "";
    for (int value = field->from; value <= field->to; value++) {
        int last = value;
        if (!has(field, value))
            continue;
        while (has(field, last + 1))
            last++;
        buf_printf(out, "%s", comma);
        add_value(field, value, out);
        if (last > value) {
            buf_printf(out, "%s", last == value + 1 ? "," : "-");
            add_value(field, last, out);
        }
        comma = ",";
        value = last;
    }
}

void cron_words_fields(Text rule, const Cron *cron, Buf *out)
{
    const Field fields[] = {{cron->minutes, 0, 59, NULL},
                            {cron->hours, 0, 23, NULL},
                            {cron->days, 1, 31, NULL},
                            {cron->months, 1, 12, NULL},
                            {cron->weekdays, 0, 6, NULL}};
    bool named = rule.len != 0 && rule.at[0] == '@';
    size_t at = 0;
    if (cron->every_s != 0) {
        buf_add_text(out, rule);
        return;
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        while (at < rule.len && (rule.at[at] == ' ' || rule.at[at] == '\t'))
            at++;
        size_t from = at;
        while (at < rule.len && rule.at[at] != ' ' && rule.at[at] != '\t')
            at++;
        Text word = {rule.at + from, at - from};
        buf_printf(out, "%s", i == 0 ? "" : " ");
        if (!named && memchr(word.at, 'H', word.len) == NULL)
            buf_add_text(out, word);
        else if (is_full(&fields[i]))
            buf_add_byte(out, '*');
        else
            add_list(&fields[i], out);
    }
}

static void add_times(const Field *minutes, const Field *hours, Buf *out)
{
    int total = count_of(minutes) * count_of(hours);
    int told = 0;
    if (total > TIMES_MOST) {
        buf_printf(out, "minute%s ", count_of(minutes) == 1 ? "" : "s");
        add_list(minutes, out);
        buf_printf(out, is_full(hours) ? " of every hour" : " of the hours ");
        if (!is_full(hours))
            add_list(hours, out);
        return;
    }
    for (int hour = 0; hour < 24; hour++)
        for (int minute = 0; minute < 60; minute++)
            if (has(hours, hour) && has(minutes, minute)) {
                told++;
                buf_printf(out, "%s%02d:%02d",
                           told == 1       ? ""
                           : told == total ? " and "
                                           : ", ",
                           hour, minute);
            }
}

/* When both days are restricted either may match, as cron.h says; with a step of `*` both must. Of
 * every hour is of every day. */
static void add_days(const Cron *cron, bool hourly, Buf *out)
{
    const Field days = {cron->days, 1, 31, NULL};
    const Field weekdays = {cron->weekdays, 0, 6, weekday_names};
    bool all_days = is_full(&days);
    bool all_weekdays = is_full(&weekdays);
    bool either = !cron->any_day && !cron->any_weekday;
    if ((all_days && all_weekdays) || (either && (all_days || all_weekdays))) {
        buf_printf(out, hourly ? "" : " every day");
        return;
    }
    if (!all_days) {
        buf_printf(out, " on day%s ", count_of(&days) == 1 ? "" : "s");
        add_list(&days, out);
        buf_printf(out, " of the month");
    }
    if (!all_days && !all_weekdays)
        buf_printf(out, either ? " or" : ", if that is");
    if (!all_weekdays) {
        buf_printf(out, " on ");
        add_list(&weekdays, out);
    }
}

static void add_span(int64_t seconds, Buf *out)
{
    static const struct {
        int64_t seconds;
        const char *unit;
    } units[] = {{DAY, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}};
    size_t i = 0;
    while (seconds % units[i].seconds != 0)
        i++;
    buf_printf(out, "%lld%s", (long long)(seconds / units[i].seconds), units[i].unit);
}

void cron_words_told(const Cron *cron, Buf *out)
{
    const Field minutes = {cron->minutes, 0, 59, NULL};
    const Field hours = {cron->hours, 0, 23, NULL};
    const Field months = {cron->months, 1, 12, month_names};
    if (cron->every_s != 0) {
        buf_printf(out, "every ");
        add_span(cron->every_s, out);
        buf_printf(out, ", counted in UTC");
        return;
    }
    add_times(&minutes, &hours, out);
    add_days(cron, is_full(&hours), out);
    if (!is_full(&months)) {
        buf_printf(out, ", in ");
        add_list(&months, out);
    }
}
