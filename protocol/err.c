/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { NEVER = false, LATER = true };

static const struct {
    const char *name;
    bool retry;
    int exit_code;
    int http_status;
    const char *meaning;
} rows[ERR_COUNT] = {
#define ERROR(symbol, name, retry, exit_code, http, meaning)                                       \
    [symbol] = {name, retry, exit_code, http, meaning},
#include "protocol/errors.def"
#undef ERROR
};

static void fill(Err *err, ErrCode code, const char *cause, int sys, const char *file, int line)
{
    *err = (Err){.code = code, .sys = sys, .file = file, .line = line};
    snprintf(err->cause, sizeof err->cause, "%s", cause);
}

bool err_set_at(Err *err, ErrCode code, const char *cause, int sys, const char *file, int line,
                const char *format, ...)
{
    va_list args;
    fill(err, code, cause, sys, file, line);
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return false;
}

bool err_set_sys_at(Err *err, ErrCode code, const char *cause, const char *file, int line,
                    const char *format, ...)
{
    int sys = errno;
    char reason[128];
    va_list args;
    fill(err, code, cause, sys, file, line);
    va_start(args, format);
    int written = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (written >= 0 && (size_t)written < sizeof err->text)
        snprintf(err->text + written, sizeof err->text - (size_t)written, ": %s",
                 strerror_r(sys, reason, sizeof reason));
    return false;
}

bool err_note_with(Err *err, const char *format, ...)
{
    char why[sizeof err->text];
    va_list args;
    memcpy(why, err->text, sizeof why);
    va_start(args, format);
    int written = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (written >= 0 && (size_t)written < sizeof err->text)
        snprintf(err->text + written, sizeof err->text - (size_t)written, ": %.*s",
                 (int)(sizeof why - 3) - written, why);
    return false;
}

const char *err_name(ErrCode code)
{
    return rows[code].name;
}

const char *err_meaning(ErrCode code)
{
    return rows[code].meaning;
}

bool err_retry(ErrCode code)
{
    return rows[code].retry;
}

int err_exit_code(ErrCode code)
{
    return rows[code].exit_code;
}

int err_http_status(ErrCode code)
{
    return rows[code].http_status;
}

ErrCode err_code_of(Text name)
{
    for (ErrCode code = ERR_NONE; code < ERR_COUNT; code++)
        if (text_equal(name, text_of(rows[code].name)))
            return code;
    return ERR_BUG;
}

ErrCode err_code_of_errno(int sys)
{
    switch (sys) {
    case ENOSPC:
    case EDQUOT:
        return ERR_FULL;
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    case ENOENT:
        return ERR_MISSING;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return ERR_UNREACHABLE;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    default:
        return ERR_IO;
    }
}
