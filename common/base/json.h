/* SPDX-License-Identifier: Apache-2.0
 * json.h — what jansson leaves open: typed taking with a named error, canonical text, and bytes
 * that may not be UTF-8. */
#ifndef COMMON_BASE_JSON_H
#define COMMON_BASE_JSON_H

#include "common/base/buf.h"

#include <jansson.h>

/* Parses a whole document (an object or array); duplicate keys are refused. */
MUST_CHECK bool json_parse(Text text, json_t **out, Err *err);

/* Members by name; a wrong type is ERR_INVALID "json.type" that names the key. The Text is borrowed
 * from the document. `_or` gives the default when the member is absent or null. */
MUST_CHECK bool json_take_text(const json_t *object, const char *key, Text *out, Err *err);
MUST_CHECK bool json_take_u64(const json_t *object, const char *key, uint64_t *out, Err *err);
MUST_CHECK bool json_take_object(const json_t *object, const char *key, const json_t **out,
                                 Err *err);
Text json_text_or(const json_t *object, const char *key, Text otherwise);
uint64_t json_u64_or(const json_t *object, const char *key, uint64_t otherwise);
double json_real_or(const json_t *object, const char *key, double otherwise);
bool json_bool_or(const json_t *object, const char *key, bool otherwise);

/* Compact, keys sorted: the same value always has the same text. */
void json_canonical(const json_t *value, Buf *out);

/* Any bytes as a JSON string: control bytes, '%' and what is not UTF-8 become %XX. json_unbytes
 * turns it back, byte for byte. */
json_t *json_bytes(Slice bytes);
void json_escape_bytes(Slice bytes, Buf *out);
MUST_CHECK bool json_unbytes(Text text, Buf *out, Err *err);

void json_release(json_t **value); /* for scoped() */

#endif
