/* SPDX-License-Identifier: Apache-2.0
 * store_url.h — a store as people name it on a command line: a directory, or
 *   s3://BUCKET[/PREFIX][?endpoint=URL][&region=NAME][&style=host][&ca_file=PATH]
 * Endpoint and region may also stand in AWS_ENDPOINT_URL, AWS_REGION and AWS_DEFAULT_REGION. Keys
 * never stand in it: they are looked for where s3_keys.h says. */
#ifndef COMMON_STORE_STORE_URL_H
#define COMMON_STORE_STORE_URL_H

#include "common/store/store.h"

bool store_url_is_s3(const char *where);

/* below: the folder in it, without slashes at its ends; "": the place itself. */
MUST_CHECK bool store_url_open(Store **out, const char *where, const char *below, Err *err);

#endif
