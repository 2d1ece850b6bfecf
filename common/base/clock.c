/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t which)
{
    struct timespec now;
    clock_gettime(which, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t clock_boot_ns(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

int64_t clock_mono_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

void clock_rfc3339(int64_t wall_ns, char out[CLOCK_TEXT])
{
    struct tm tm;
    int64_t seconds = wall_ns / 1000000000;
    int64_t rest = wall_ns % 1000000000;
    if (rest < 0) {
        rest += 1000000000;
        seconds--;
    }
    time_t at = (time_t)seconds;
    gmtime_r(&at, &tm);
    size_t len = strftime(out, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + len, CLOCK_TEXT - len, ".%03dZ", (int)(rest / 1000000));
}

/* `count` digits at *at as a number of least to most; *at moves past them. */
static bool digits(const char **at, int count, int least, int most, int *out)
{
    *out = 0;
    for (int i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        *out = *out * 10 + (**at - '0');
    }
    return *out >= least && *out <= most;
}

static bool skip(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

/* "", "Z", "+01:00": seconds ahead of UTC. */
static bool zone_of(const char *at, int64_t *ahead_s)
{
    int hours;
    int minutes;
    char sign = *at;
    *ahead_s = 0;
    if (strcmp(at, "") == 0 || strcmp(at, "Z") == 0)
        return true;
    at++;
    if ((sign != '+' && sign != '-') || !digits(&at, 2, 0, 23, &hours) || *at != ':')
        return false;
    at++;
    if (!digits(&at, 2, 0, 59, &minutes) || *at != 0)
        return false;
    *ahead_s = (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

bool clock_parse(const char *text, int64_t *wall_s)
{
    struct tm tm = {0};
    int64_t ahead_s;
    const char *at = text;
    int year;
    int month;
    if (!digits(&at, 4, 1970, 2200, &year) || !skip(&at, '-') || !digits(&at, 2, 1, 12, &month) ||
        !skip(&at, '-') || !digits(&at, 2, 1, 31, &tm.tm_mday))
        return false;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    if (*at != 0 && (!skip(&at, 'T') || !digits(&at, 2, 0, 23, &tm.tm_hour) || !skip(&at, ':') ||
                     !digits(&at, 2, 0, 59, &tm.tm_min)))
        return false;
    if (*at == ':') {
        at++;
        if (!digits(&at, 2, 0, 60, &tm.tm_sec))
            return false;
        if (*at == '.')
            at += 1 + strspn(at + 1, "0123456789");
    }
    if (!zone_of(at, &ahead_s))
        return false;
    int day = tm.tm_mday;
    *wall_s = (int64_t)timegm(&tm) - ahead_s;
    return tm.tm_mday == day;
}
