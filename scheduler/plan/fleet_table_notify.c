/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_table.h"
#include "scheduler/plan/fleet_text.h"

static const YamlField target_fields[] = {
    FLEET_ROW("type", ENUM, .required = true, .choices = "slack|email|webhook|heartbeat"),
    FLEET_ROW("webhook", SECRET, .required = true, .only = "slack"),
    FLEET_ROW("smtp", TEXT, FLEET_WORDS, .required = true, .only = "email",
              .check = fleet_text_url),
    FLEET_ROW("user", TEXT, FLEET_WORDS, .only = "email"),
    FLEET_ROW("password", SECRET, .only = "email"),
    FLEET_ROW("to", LIST_OF, .required = true, .only = "email", .least = 1, .most = 100,
              .fields = fleet_table_text),
    FLEET_ROW("url", TEXT, FLEET_WORDS, .required = true, .only = "webhook|heartbeat",
              .check = fleet_text_url),
    FLEET_ROW("signing_secret", SECRET, .only = "webhook"),
};
static const YamlField target_of[] = {{FLEET_RECORD(target_fields)}};

static const YamlField event_of[] = {
    FLEET_ROW(NULL, ENUM,
              .choices = "failed|missed|stalled|recovered|partial|rpo_breached|restore_test_failed|"
                         "store_down|digest|heartbeat")};
static const YamlField match_fields[] = {
    FLEET_ROW("labels", MAP_OF, .required = true, .fields = fleet_table_text)};
static const YamlField to_of[] = {FLEET_ROW(NULL, NAME, .refers = "target")};
static const YamlField route_fields[] = {
    FLEET_ROW("name", NAME, .required = true),
    FLEET_ROW("when", LIST_OF, .required = true, .least = 1, .most = 20, .fields = event_of),
    FLEET_PART("match", match_fields),
    FLEET_ROW("after", U64, .least = 1, .most = 1000, .doc = "so many in a row"),
    FLEET_ROW("repeat", DURATION, FLEET_SECOND),
    FLEET_ROW("at", TEXT, .least = 1, .most = 95, .check = fleet_text_rule),
    FLEET_ROW("every", DURATION, FLEET_SECOND),
    FLEET_ROW("to", LIST_OF, .required = true, .least = 1, .most = 20, .fields = to_of),
};
static const YamlField route_of[] = {{FLEET_RECORD(route_fields)}};

const YamlField fleet_table_notify[2] = {
    FLEET_ROW("targets", MAP_OF, .fields = target_of),
    FLEET_ROW("routes", LIST_OF, .most = 1000, .fields = route_of),
};
