/* SPDX-License-Identifier: Apache-2.0
 * Any text as a document; what is read is walked against a table that has every type. */
#include "common/base/yaml.h"
#include "tests/fuzz/target.h"

static const YamlField any = {.type = YAML_ANY};
static const YamlField word = {.type = YAML_TEXT, .most = 40};
static const YamlField fields[] = {
    {.name = "name", .type = YAML_NAME, .required = true},
    {.name = "count", .type = YAML_U64, .most = 9, .fallback = "3"},
    {.name = "real", .type = YAML_REAL},
    {.name = "flag", .type = YAML_BOOL},
    {.name = "time", .type = YAML_DURATION},
    {.name = "size", .type = YAML_SIZE},
    {.name = "rate", .type = YAML_RATE},
    {.name = "share", .type = YAML_SHARE},
    {.name = "choice", .type = YAML_ENUM, .choices = "one|two"},
    {.name = "secret", .type = YAML_SECRET},
    {.name = "map", .type = YAML_MAP_OF, .fields = &any},
    {.name = "list", .type = YAML_LIST_OF, .fields = &word, .other = &word},
};
static const YamlField root = {
    .type = YAML_RECORD, .fields = fields, .field_count = sizeof fields / sizeof *fields};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    YamlDoc *doc = NULL;
    YamlProblems problems = {0};
    scoped(buf_free) Buf out = {0};
    json_t *value = NULL;
    if (yaml_parse("input", (Text){(const char *)bytes, size}, &doc, &problems))
        yaml_walk(doc, yaml_root(doc), "", &root, &value, &problems);
    yaml_problems_print(&problems, &out);
    json_decref(yaml_problems_json(&problems));
    json_decref(value);
    yaml_problems_free(&problems);
    yaml_doc_free(doc);
    return 0;
}
