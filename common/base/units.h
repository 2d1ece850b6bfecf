/* SPDX-License-Identifier: Apache-2.0
 * units.h — amounts as people write them: 250ms 6s 2m 6h 7d 2w, 4KiB 80MiB 1GiB 1TiB (and kB MB GB,
 * powers of ten), 80MiB/s, 15%. */
#ifndef COMMON_BASE_UNITS_H
#define COMMON_BASE_UNITS_H

#include "protocol/err.h"

MUST_CHECK bool units_duration_ms(Text text, int64_t *ms, Err *err);
MUST_CHECK bool units_size(Text text, uint64_t *bytes, Err *err);
MUST_CHECK bool units_rate(Text text, uint64_t *bytes_per_second, Err *err);
MUST_CHECK bool units_percent(Text text, double *share, Err *err); /* "15%" -> 0.15 */

#endif
