/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"

#include "common/base/buf.h"
#include "common/base/clock.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

static LogLevel lowest = LOG_INFO;
static LogFormat shape = LOG_LOGFMT;
static int out_fd = STDERR_FILENO;
static _Thread_local const char *context;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_open(LogLevel level, LogFormat format, int fd)
{
    lowest = level;
    shape = format;
    out_fd = fd;
}

bool log_level_of(Text text, LogLevel *level, Err *err)
{
    for (LogLevel i = LOG_DEBUG; i <= LOG_ERROR; i++)
        if (text_equal(text, text_of(level_names[i]))) {
            *level = i;
            return true;
        }
    return err_set(err, ERR_USAGE, "log.level", "'%.*s' is not debug, info, warn or error",
                   TEXT_ARG(text));
}

bool log_format_of(Text text, LogFormat *format, Err *err)
{
    *format = text_equal(text, TEXT("json")) ? LOG_JSON : LOG_LOGFMT;
    if (*format == LOG_JSON || text_equal(text, TEXT("logfmt")))
        return true;
    return err_set(err, ERR_USAGE, "log.format", "'%.*s' is not logfmt or json", TEXT_ARG(text));
}

void log_context(const char *fields)
{
    context = fields;
}

static bool plain(unsigned char byte)
{
    return byte > ' ' && byte < 0x7f && byte != '"' && byte != '=' && byte != '\\';
}

const char *log_quote(Text text, char out[LOG_QUOTED])
{
    size_t at = 0;
    bool bare = text.len != 0;
    for (size_t i = 0; bare && i < text.len; i++)
        bare = plain((unsigned char)text.at[i]);
    if (!bare)
        out[at++] = '"';
    for (size_t i = 0; i < text.len && at < LOG_QUOTED - 8; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (byte == '"' || byte == '\\')
            out[at++] = '\\';
        if (byte < ' ' || byte == 0x7f)
            at += (size_t)snprintf(out + at, 5, "\\x%02x", byte);
        else
            out[at++] = (char)byte;
    }
    if (!bare)
        out[at++] = '"';
    out[at] = 0;
    return out;
}

/* Splits "key=value key="quoted"" into members of a JSON object. */
static void add_members(json_t *object, const char *fields)
{
    while (fields != NULL && *fields != 0) {
        const char *equals = strchr(fields, '=');
        scoped(buf_free) Buf key = {0};
        scoped(buf_free) Buf value = {0};
        if (equals == NULL)
            return;
        buf_add(&key, fields, (size_t)(equals - fields));
        const char *at = equals + 1;
        bool quoted = *at == '"';
        for (at += quoted; *at != 0 && *at != (quoted ? '"' : ' '); at++) {
            if (quoted && *at == '\\' && at[1] != 0)
                at++;
            buf_add_byte(&value, (uint8_t)*at);
        }
        json_t *text = json_stringn((const char *)buf_cstr(&value), value.len);
        json_object_set_new(object, buf_cstr(&key), text == NULL ? json_string("?") : text);
        if (quoted && *at == '"')
            at++;
        while (*at == ' ')
            at++;
        fields = at;
    }
}

static void add_json(Buf *line, const char *now, LogLevel level, const char *event,
                     const char *fields)
{
    json_t *object = json_object();
    json_object_set_new(object, "time", json_string(now));
    json_object_set_new(object, "level", json_string(level_names[level]));
    json_object_set_new(object, "event", json_string(event));
    add_members(object, context);
    add_members(object, fields);
    char *text = json_dumps(object, JSON_COMPACT);
    buf_printf(line, "%s\n", text == NULL ? "{}" : text);
    free(text);
    json_decref(object);
}

void log_line(LogLevel level, const char *event, const char *format, ...)
{
    char now[CLOCK_TEXT];
    va_list args;
    scoped(buf_free) Buf fields = {0};
    scoped(buf_free) Buf line = {0};
    if (level < lowest)
        return;
    va_start(args, format);
    buf_vprintf(&fields, format, args);
    va_end(args);
    clock_rfc3339(clock_wall_ns(), now);
    if (shape == LOG_JSON)
        add_json(&line, now, level, event, buf_cstr(&fields));
    else
        buf_printf(&line, "%s %s %s%s%s%s%s\n", now, level_names[level], event,
                   context == NULL ? "" : " ", context == NULL ? "" : context,
                   fields.len == 0 ? "" : " ", buf_cstr(&fields));
    if (write(out_fd, line.at, line.len) < 0)
        return; /* a log that cannot be written must not end a backup */
}

void log_err(const char *event, const Err *err)
{
    char text[LOG_QUOTED];
    log_line(err_retry(err->code) ? LOG_WARN : LOG_ERROR, event,
             "code=%s cause=%s error=%s at=%s:%d", err_name(err->code), err->cause,
             log_quote(text_of(err->text), text), err->file == NULL ? "-" : err->file, err->line);
}
