/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/source_time.h"

#include "common/base/json.h"

static Text text_at(const json_t *value)
{
    return json_is_string(value) ? (Text){json_string_value(value), json_string_length(value)}
                                 : (Text){0};
}

static bool read_calendars(SourceTime *out, Err *err)
{
    const char *name;
    json_t *days;
    json_t *day;
    size_t i;
    json_object_foreach(out->calendars, name, days)
    {
        json_array_foreach(days, i, day)
        {
            if (!calendar_add_of(&out->exclude, name, text_at(day), err))
                return err_note(err, "calendar %s", name);
        }
    }
    return true;
}

bool source_time_read(SourceTime *out, Text windows, Text calendars, Err *err)
{
    *out = (SourceTime){0};
    return json_parse(windows, &out->windows, err) && json_parse(calendars, &out->calendars, err) &&
           read_calendars(out, err);
}

static bool lets_in(const json_t *window, Text method)
{
    const json_t *methods = json_object_get(window, "methods");
    const json_t *one;
    size_t i;
    if (methods == NULL || method.len == 0)
        return true;
    json_array_foreach(methods, i, one)
    {
        if (text_equal(text_at(one), method))
            return true;
    }
    return false;
}

static bool read_window(const json_t *json, Window *out, Err *err)
{
    const json_t *one;
    size_t i;
    const json_t *days = json_object_get(json, "days");
    *out = (Window){.days = days == NULL ? 0x7f : 0};
    json_array_foreach(days, i, one)
    {
        int day;
        if (!window_day(text_at(one), &day))
            return err_set(err, ERR_INVALID, "window.day", "'%.*s' is not a day of the week",
                           TEXT_ARG(text_at(one)));
        out->days |= (uint8_t)(1u << day);
    }
    Text close = json_text_or(json, "on_close", TEXT("finish"));
    if (!window_on_close(close, &out->on_close))
        return err_set(err, ERR_INVALID, "window.on_close", "'%.*s' is no way to close a window",
                       TEXT_ARG(close));
    return window_hours(json_text_or(json, "hours", (Text){0}), &out->from, &out->to, err);
}

bool source_time_week(const SourceTime *time, Text method, WindowWeek *out, Err *err)
{
    const json_t *json;
    size_t i;
    *out = (WindowWeek){.limited = json_array_size(time->windows) != 0};
    json_array_foreach(time->windows, i, json)
    {
        Window window;
        if (!read_window(json, &window, err))
            return false;
        if (lets_in(json, method))
            window_add(out, &window);
    }
    return true;
}

void source_time_free(SourceTime *time)
{
    calendar_free(&time->exclude);
    json_decref(time->windows);
    json_decref(time->calendars);
    *time = (SourceTime){0};
}
