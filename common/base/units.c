/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/units.h"

typedef struct Unit {
    const char *name;
    uint64_t factor;
} Unit;

static const Unit durations[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                 {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};

static const Unit sizes[] = {{"B", 1},
                             {"KiB", 1ull << 10},
                             {"MiB", 1ull << 20},
                             {"GiB", 1ull << 30},
                             {"TiB", 1ull << 40},
                             {"kB", 1000},
                             {"MB", 1000000},
                             {"GB", 1000000000},
                             {"TB", 1000000000000}};

/* Digits with at most one point, then a unit; *milli is the number times 1000. */
static bool number(Text text, uint64_t *milli, Text *unit)
{
    size_t i = 0;
    unsigned places = 0;
    bool point = false;
    *milli = 0;
    for (; i < text.len; i++) {
        char c = text.at[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9' || *milli > UINT64_MAX / 100)
            break;
        if (!point || places < 3)
            *milli = *milli * 10 + (uint64_t)(c - '0');
        places += point && places < 3;
    }
    for (; places < 3; places++) {
        if (*milli > UINT64_MAX / 10)
            return false;
        *milli *= 10;
    }
    *unit = (Text){text.at + i, text.len - i};
    return i != 0 && text.at[0] != '.' && text.at[i - 1] != '.';
}

static bool with_unit(Text text, const Unit *units, size_t count, uint64_t *value)
{
    uint64_t milli;
    Text unit;
    if (!number(text, &milli, &unit))
        return false;
    for (size_t i = 0; i < count; i++)
        if (text_equal(unit, text_of(units[i].name))) {
            if (milli > UINT64_MAX / units[i].factor)
                return false;
            *value = milli * units[i].factor / 1000;
            return *value <= INT64_MAX;
        }
    return false;
}

bool units_duration_ms(Text text, int64_t *ms, Err *err)
{
    uint64_t value;
    if (!with_unit(text, durations, sizeof durations / sizeof *durations, &value))
        return err_set(err, ERR_INVALID, "unit.duration",
                       "'%.*s' is not a duration; write 30s, 10m, 6h or 7d", TEXT_ARG(text));
    *ms = (int64_t)value;
    return true;
}

bool units_size(Text text, uint64_t *bytes, Err *err)
{
    if (!with_unit(text, sizes, sizeof sizes / sizeof *sizes, bytes))
        return err_set(err, ERR_INVALID, "unit.size",
                       "'%.*s' is not a size; write 512KiB, 96MiB or 2GiB", TEXT_ARG(text));
    return true;
}

bool units_rate(Text text, uint64_t *bytes_per_second, Err *err)
{
    Text size = text;
    if (text.len > 2 && text.at[text.len - 2] == '/' && text.at[text.len - 1] == 's') {
        size.len -= 2;
        if (units_size(size, bytes_per_second, err))
            return true;
    }
    return err_set(err, ERR_INVALID, "unit.rate", "'%.*s' is not a rate; write 80MiB/s",
                   TEXT_ARG(text));
}

bool units_percent(Text text, double *share, Err *err)
{
    uint64_t milli;
    Text unit;
    if (!number(text, &milli, &unit) || !text_equal(unit, TEXT("%")) || milli > 100000)
        return err_set(err, ERR_INVALID, "unit.percent", "'%.*s' is not a share; write 15%%",
                       TEXT_ARG(text));
    *share = (double)milli / 100000;
    return true;
}
