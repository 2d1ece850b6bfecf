/* SPDX-License-Identifier: Apache-2.0
 * yaml.h — YAML for people's files: every problem at once, each with file, line and column.
 * libyaml reads the text; a YamlDoc is its tree with marks. A table of YamlField says what may
 * stand where; yaml_walk checks the tree against it and gives JSON with amounts in plain units and
 * defaults filled in. Limits: 8 MiB, depth 32, and as many nodes as the text can spell (aliases
 * make 100 000 more at most). One document a file; no tags, no merge keys; a key twice is a
 * problem, an unknown one too. Booleans are true and false alone. */
#ifndef COMMON_BASE_YAML_H
#define COMMON_BASE_YAML_H

#include "common/base/buf.h"

#include <jansson.h>

typedef struct YamlDoc YamlDoc;
typedef struct YamlNode YamlNode;

typedef enum YamlKind { YAML_SCALAR, YAML_LIST, YAML_MAP } YamlKind;

typedef struct YamlPair {
    const YamlNode *key; /* a scalar */
    const YamlNode *value;
} YamlPair;

/* Owned by its YamlDoc. */
struct YamlNode {
    YamlKind kind;
    const YamlDoc *doc;           /* the file it stands in */
    const YamlNode *parent;       /* the list or map around it; NULL for a root */
    uint32_t line, column, width; /* from 1; width is what a caret line underlines */
    bool plain;                   /* a scalar without quotes */
    Text text;                    /* of a scalar */
    size_t count;                 /* of items or pairs */
    const YamlNode *const *items;
    const YamlPair *pairs;
};

typedef struct YamlProblem {
    bool warning;
    uint32_t line, column, width; /* line 0: of the file as a whole */
    char code[32];                /* stable: "unknown-key", "literal-secret" */
    char *file;
    char *message;
    char *suggestion; /* what to write instead; may be NULL */
    char *excerpt;    /* the line it is on; NULL where it may hold a secret */
    char *pointer;    /* RFC 6901, in its file: "/policies/gold/copies/1"; may be NULL */
} YamlProblem;

/* A line that may hold a secret: no problem shows it. */
typedef struct YamlHidden {
    char *file;
    uint32_t line;
} YamlHidden;

typedef struct YamlProblems {
    YamlProblem *rows;
    size_t count;
    size_t errors; /* those that are not warnings */
    YamlHidden *hidden;
    size_t hidden_count;
} YamlProblems;

/* Parses text; `file` is only a name for problems. False: syntax or limits, a problem was added. */
MUST_CHECK bool yaml_parse(const char *file, Text text, YamlDoc **out, YamlProblems *problems);
/* The same from a file; *err when it cannot be read, a problem when it cannot be parsed. */
MUST_CHECK bool yaml_load(const char *path, YamlDoc **out, YamlProblems *problems, Err *err);
void yaml_doc_free(YamlDoc *doc);     /* NULL is fine */
void yaml_doc_release(YamlDoc **doc); /* for scoped() */

const YamlNode *yaml_root(const YamlDoc *doc); /* an empty file is an empty map */
/* The value of a key; NULL when node is NULL, no map, or has no such key. */
const YamlNode *yaml_get(const YamlNode *node, const char *key);
/* "policies.gold.copies[1].store"; NULL when there is none. */
const YamlNode *yaml_find(const YamlDoc *doc, const char *path);
/* Where a value or a key stands in its file, as people say it: "policies.gold.copies[1]". */
void yaml_path(const YamlNode *node, Buf *out);
/* Plain true, false, null, integers and decimals become such; everything else a string. */
json_t *yaml_to_json(const YamlNode *node);

typedef enum YamlType {
    YAML_ANY = 1,  /* as yaml_to_json gives it */
    YAML_TEXT,     /* any scalar; least and most count bytes */
    YAML_NAME,     /* a letter or digit, then letters, digits, . _ -; at most 63 */
    YAML_U64,      /* least <= value <= most */
    YAML_REAL,     /* a decimal number */
    YAML_BOOL,     /* true or false */
    YAML_DURATION, /* 6h -> milliseconds */
    YAML_SIZE,     /* 96MiB -> bytes */
    YAML_RATE,     /* 80MiB/s -> bytes a second */
    YAML_SHARE,    /* 15% -> 0.15 */
    YAML_ENUM,     /* one of `choices`, "skip|queue" */
    YAML_SECRET,   /* {credential: N}, {file: P} or {env: V}, never a string */
    YAML_RECORD,   /* a map with the keys of `fields` */
    YAML_MAP_OF,   /* name -> fields[0]; keys are names as in YAML_NAME; most: their letters */
    YAML_LIST_OF,  /* of fields[0]; least and most count items */
} YamlType;

/* What else a text must be. False: *err says why, its cause is the problem's code; `hint` (empty)
 * may be given what to write instead. Code literal-secret keeps the line off every screen. */
typedef bool YamlCheck(Text text, Buf *hint, Err *err);

typedef struct YamlField YamlField;
struct YamlField {
    const char *name; /* not used for fields[0] of YAML_MAP_OF and YAML_LIST_OF */
    YamlType type;
    bool required;
    int64_t least, most;    /* most 0: no limit; of durations in milliseconds */
    const char *choices;    /* YAML_ENUM */
    const char *fallback;   /* YAML for the value of an absent key; NULL: it stays absent */
    const YamlField *other; /* tried instead where the node is of the other shape (scalar, map…) */
    const YamlField *fields;
    size_t field_count;
    YamlCheck *check; /* of YAML_TEXT, and of the names of YAML_MAP_OF */
    const char *only; /* in a record with a member "type": not for other types than "s3|local" */
    /* For the table's owner; the walk does not look at them. */
    const char *refers;        /* YAML_NAME: of what it is the name */
    const char *doc;           /* one line, for references */
    bool later;                /* known, and not acted on */
    const char *later_choices; /* YAML_ENUM: those that are known and not acted on */
    size_t items_now;          /* YAML_LIST_OF: how many are acted on; 0: all */
};

/* Checks node against one field and gives its value; problems are added, *out (may be NULL) is a
 * new reference that holds what was good. True when no error was added. `path` is where the node
 * is,
 * "" for the root. */
bool yaml_walk(const YamlDoc *doc, const YamlNode *node, const char *path, const YamlField *field,
               json_t **out, YamlProblems *problems);

/* Adds a problem found by somebody else at a node (NULL: the file). A node that knows its file goes
 * before `doc`. suggestion may be NULL. */
void yaml_problem(YamlProblems *problems, const YamlDoc *doc, const YamlNode *node, bool warning,
                  const char *code, const char *suggestion, const char *format, ...)
    PRINTF_LIKE(7, 8);
/* The line of this node is shown by no problem, neither earlier nor later ones. */
void yaml_problems_hide(YamlProblems *problems, const YamlDoc *doc, const YamlNode *node);
/* In order of place, as people read them: "fleet.yaml:39:24: error[unknown-key]: …", the line and a
 * caret line with the suggestion. */
void yaml_problems_print(const YamlProblems *problems, Buf *out);
/* Puts a directory before every file's name; "." changes nothing. */
void yaml_problems_below(YamlProblems *problems, const char *directory);
json_t *yaml_problems_json(const YamlProblems *problems);
/* What yaml_problems_json made, again; anything else in it is passed over. */
void yaml_problems_read(const json_t *list, YamlProblems *problems);

/* The maps (or lists) of several files as one, owned by `owner`. A name that stands in two of them
 * is a problem at the second; `what` says whose name it is. NULL nodes and other shapes are left
 * out. */
const YamlNode *yaml_join(YamlDoc *owner, const YamlNode *const *nodes, size_t count,
                          const char *what, YamlProblems *problems);
/* A map with these pairs, owned by `owner`, standing where `place` stands. */
const YamlNode *yaml_map(YamlDoc *owner, const YamlNode *place, const YamlPair *pairs,
                         size_t count);

/* The table as a JSON Schema (2020-12), for editors. Texts that look like numbers pass, as they do
 * in the walk. Fields that are `later` are left out. */
json_t *yaml_schema(const YamlField *field);
void yaml_problems_free(YamlProblems *problems);

#endif
