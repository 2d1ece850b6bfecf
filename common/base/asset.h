/* SPDX-License-Identifier: Apache-2.0
 * asset.h — a file that was embedded at build time by deploy/cmake/embed.cmake.
 * bytes is followed by a NUL that size does not count, so text assets are C strings. */
#ifndef COMMON_BASE_ASSET_H
#define COMMON_BASE_ASSET_H

#include <stddef.h>

typedef struct Asset {
    const char *name; /* the file's name without its folder */
    const unsigned char *bytes;
    size_t size;
} Asset;

#endif
