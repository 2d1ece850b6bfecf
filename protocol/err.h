/* SPDX-License-Identifier: Apache-2.0
 * err.h — a failure is a value: `bool f(…, Err *err)`, false means *err says why.
 * Err is plain memory: nothing to allocate, nothing to free, copied into a message or a row.
 * It starts as `Err err = {0};` in the roots only (job loop, HTTP request, timer tick, main).
 * Whoever adds context calls err_note; whoever reacts looks at code; whoever reads looks at
 * cause (stable, dotted: "repo.key_mismatch") and text (for people; ends with the next step). */
#ifndef PROTOCOL_ERR_H
#define PROTOCOL_ERR_H

#include "protocol/bytes.h"

#define MUST_CHECK                       __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#define scoped(cleanup_function)         __attribute__((cleanup(cleanup_function)))

typedef enum ErrCode {
#define ERROR(symbol, ...) symbol,
#include "protocol/errors.def"
#undef ERROR
    ERR_COUNT
} ErrCode;

typedef struct Err {
    ErrCode code;
    int sys;          /* errno where one was behind it, else 0 */
    int line;         /* where it was raised, */
    const char *file; /* for the log */
    char cause[48];   /* dotted, stable, machine-readable; never empty when code is set */
    char text[400];   /* one line for people */
} Err;

/* Raises: sets every field and returns false, so that `return err_set(...)` reads well. */
#define err_set(err, code, cause, ...)                                                             \
    err_raised(err_set_at((err), (code), (cause), 0, __FILE__, __LINE__, __VA_ARGS__))
/* The same with errno's words appended; sys keeps the errno that was set on entry. */
#define err_set_sys(err, code, cause, ...)                                                         \
    err_raised(err_set_sys_at((err), (code), (cause), __FILE__, __LINE__, __VA_ARGS__))
/* Prefixes context ("storing pack 3f…: "); code and cause stay. Returns false. */
#define err_note(err, ...) err_raised(err_note_with((err), __VA_ARGS__))

bool err_set_at(Err *err, ErrCode code, const char *cause, int sys, const char *file, int line,
                const char *format, ...) PRINTF_LIKE(7, 8);
bool err_set_sys_at(Err *err, ErrCode code, const char *cause, const char *file, int line,
                    const char *format, ...) PRINTF_LIKE(6, 7);
bool err_note_with(Err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Inline, so that compilers and analysers see in every file that what raised returns false. */
static inline bool err_raised(bool raised)
{
    (void)raised;
    return false;
}

/* The row of a code. err_retry: may the same request succeed later? */
const char *err_name(ErrCode code);
const char *err_meaning(ErrCode code);
bool err_retry(ErrCode code);
int err_exit_code(ErrCode code);
int err_http_status(ErrCode code);

/* The code of a wire name; ERR_BUG when no row has it. */
ErrCode err_code_of(Text name);

/* A system errno's reaction: ENOSPC and EDQUOT are ERR_FULL, EACCES and EPERM ERR_DENIED, ENOENT
 * ERR_MISSING, connection errors ERR_UNREACHABLE, the rest ERR_IO. */
ErrCode err_code_of_errno(int sys);

#endif
