/* SPDX-License-Identifier: Apache-2.0
 * yaml_doc.h — the inside of a YamlDoc, for the yaml_*.c files alone. */
#ifndef COMMON_BASE_YAML_DOC_H
#define COMMON_BASE_YAML_DOC_H

#include "common/base/yaml.h"

#include <yaml.h>

struct YamlDoc {
    char *file;
    char *text; /* the whole file, for excerpts */
    size_t bytes;
    yaml_document_t document;
    bool loaded; /* document must be deleted */
    const YamlNode *root;
    size_t node_count;
    void **owned;
    size_t owned_count, owned_room;
};

/* Zeroed memory that goes with the document. */
void *yaml_doc_keep(YamlDoc *doc, size_t count, size_t size);

/* The same place as an RFC 6901 pointer. */
void yaml_pointer(const YamlNode *node, Buf *out);

/* Which keys there are so far: a map of 100 000 sources is checked as fast as its parts. */
typedef struct YamlNames YamlNames;

YamlNames *yaml_names_new(size_t most); /* for so many keys */
/* NULL when the key is new, else the first with the same text. */
const YamlNode *yaml_names_add(YamlNames *names, const YamlNode *key);
void yaml_names_free(YamlNames *names);

#endif
