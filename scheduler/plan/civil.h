/* SPDX-License-Identifier: Apache-2.0
 * civil.h — days of the proleptic Gregorian calendar, by arithmetic on 400-year eras that begin in
 * March (so that the leap day is a year's last). Pure, for every year a schedule can reach. */
#ifndef SCHEDULER_PLAN_CIVIL_H
#define SCHEDULER_PLAN_CIVIL_H

#include <stdint.h>

typedef struct Civil {
    int64_t year;
    int month, day; /* from 1 */
    int hour, minute, second;
    int weekday; /* 0 is Sunday */
} Civil;

int64_t civil_days(int64_t year, int month, int day); /* since 1970-01-01 */
Civil civil_of(int64_t seconds);                      /* of seconds since 1970 */
int civil_weekday(int64_t days);

#endif
