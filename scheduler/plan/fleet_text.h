/* SPDX-License-Identifier: Apache-2.0
 * fleet_text.h — words of a fleet file that have a grammar of their own, as checks for the table
 * (yaml.h, YamlCheck): the cause of a failure is the problem's code. */
#ifndef SCHEDULER_PLAN_FLEET_TEXT_H
#define SCHEDULER_PLAN_FLEET_TEXT_H

#include "common/base/yaml.h"

bool fleet_text_rule(Text text, Buf *hint, Err *err);   /* cron, @daily, "every 6h" */
bool fleet_text_zone(Text text, Buf *hint, Err *err);   /* IANA */
bool fleet_text_path(Text text, Buf *hint, Err *err);   /* absolute, without ".." */
bool fleet_text_url(Text text, Buf *hint, Err *err);    /* scheme://…, without a password in it */
bool fleet_text_hours(Text text, Buf *hint, Err *err);  /* 22:00-06:00 */
bool fleet_text_date(Text text, Buf *hint, Err *err);   /* 2027-06-30 */
bool fleet_text_dates(Text text, Buf *hint, Err *err);  /* that, 2026-12-24..2027-01-01, or 12-25 */
bool fleet_text_part(Text text, Buf *hint, Err *err);   /* "<= 80%" */
bool fleet_text_size(Text text, Buf *hint, Err *err);   /* ">= 10GiB" */
bool fleet_text_expect(Text text, Buf *hint, Err *err); /* ">= 100000", or any text */
bool fleet_text_number(Text text, Buf *hint, Err *err); /* ">= 100000" */
bool fleet_text_room(Text text, Buf *hint, Err *err);   /* 15% or 50GiB */
bool fleet_text_server(Text text, Buf *hint, Err *err); /* host:port */
bool fleet_text_include(Text text, Buf *hint,
                        Err *err); /* a relative path or pattern that stays below */
bool fleet_text_plain(Text text, Buf *hint, Err *err); /* a name template of plain copies */
bool fleet_text_pool(Text text, Buf *hint, Err *err);  /* a pool's name, narrower than others */

#endif
