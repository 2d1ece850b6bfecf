/* SPDX-License-Identifier: Apache-2.0
 * yaml_doc.h — the inside of a YamlDoc, for the yaml_*.c files alone. */
#ifndef COMMON_BASE_YAML_DOC_H
#define COMMON_BASE_YAML_DOC_H

#include "common/base/yaml.h"

#include <yaml.h>

struct YamlDoc {
    char *file;
    char *text; /* the whole file, for excerpts */
    yaml_document_t document;
    bool loaded; /* document must be deleted */
    const YamlNode *root;
    size_t node_count;
    void **owned;
    size_t owned_count, owned_room;
};

#endif
