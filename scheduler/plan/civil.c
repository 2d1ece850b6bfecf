/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/civil.h"

/* Days from 0000-03-01 to 1970-01-01, and days in 400 years. */
enum { EPOCH = 719468, ERA = 146097 };

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int64_t civil_days(int64_t year, int month, int day)
{
    int64_t shifted = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(shifted, 400);
    int64_t year_of_era = shifted - era * 400;
    int64_t day_of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * ERA + day_of_era - EPOCH;
}

int civil_weekday(int64_t days)
{
    int64_t weekday = (days + 4) % 7; /* 1970-01-01 was a Thursday */
    return (int)(weekday < 0 ? weekday + 7 : weekday);
}

Civil civil_of(int64_t seconds)
{
    int64_t days = floor_div(seconds, 86400);
    int64_t rest = seconds - days * 86400;
    int64_t shifted = days + EPOCH;
    int64_t era = floor_div(shifted, ERA);
    int64_t day_of_era = shifted - era * ERA;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t part = (5 * day_of_year + 2) / 153;
    Civil civil = {.day = (int)(day_of_year - (153 * part + 2) / 5 + 1),
                   .month = (int)(part < 10 ? part + 3 : part - 9),
                   .hour = (int)(rest / 3600),
                   .minute = (int)(rest % 3600 / 60),
                   .second = (int)(rest % 60),
                   .weekday = civil_weekday(days)};
    civil.year = year_of_era + era * 400 + (civil.month <= 2);
    return civil;
}
