/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a JSON string and back are the same bytes; amounts of any text do not crash. */
#include "common/base/json.h"
#include "common/base/units.h"
#include "tests/fuzz/target.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    Err err = {0};
    scoped(buf_free) Buf back = {0};
    Text text = {(const char *)bytes, size};
    int64_t ms;
    uint64_t amount;
    double share;
    json_t *string = json_bytes((Slice){bytes, size});
    Text escaped = {json_string_value(string), json_string_length(string)};
    if (string == NULL || !json_unbytes(escaped, &back, &err) ||
        !slice_equal(buf_slice(&back), (Slice){bytes, size}))
        abort();
    json_decref(string);
    buf_clear(&back);
    bool any = json_unbytes(text, &back, &err);
    any = units_duration_ms(text, &ms, &err) || any;
    any = units_size(text, &amount, &err) || any;
    any = units_rate(text, &amount, &err) || any;
    any = units_percent(text, &share, &err) || any;
    (void)any;
    return 0;
}
