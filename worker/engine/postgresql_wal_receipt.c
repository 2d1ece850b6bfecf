/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_wal_receipt.h"

json_t *postgresql_wal_lsn_json(uint64_t lsn)
{
    char text[POSTGRESQL_LSN_TEXT];
    postgresql_lsn_text(lsn, text);
    return json_string(text);
}

json_t *postgresql_wal_segment_json(const char *name, uint32_t timeline, uint64_t start,
                                    uint64_t end, const Sha256 *sha256)
{
    char digits[2 * sizeof sha256->bytes + 1];
    ids_hex(sha256->bytes, sizeof sha256->bytes, digits);
    return json_pack("{s:s, s:I, s:o, s:o, s:s}", "name", name, "timeline", (json_int_t)timeline,
                     "start", postgresql_wal_lsn_json(start), "end", postgresql_wal_lsn_json(end),
                     "sha256", digits);
}

json_t *postgresql_wal_histories_json(const PostgresqlWalServer *server)
{
    json_t *list = json_array();
    for (size_t i = 0; i < server->timeline_count; i++) {
        const PostgresqlTimeline *timeline = &server->timelines[i];
        if (timeline->parent != 0)
            json_array_append_new(list, json_pack("{s:I, s:I, s:o}", "timeline",
                                                  (json_int_t)timeline->number, "parent",
                                                  (json_int_t)timeline->parent, "switch",
                                                  postgresql_wal_lsn_json(timeline->start)));
    }
    return list;
}
