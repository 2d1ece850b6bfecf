/* SPDX-License-Identifier: Apache-2.0
 * s3_xml.h — the XML that an S3 server answers with, and no more than that: elements, text, the
 * five entities and numeric references. Attributes and comments are passed over; a document type, a
 * CDATA section, an element that is not closed or anything behind the root is refused, so a
 * truncated or foreign answer is never taken for one. Nothing is allocated for what is nested:
 * depth and lengths have limits. */
#ifndef COMMON_STORE_S3_XML_H
#define COMMON_STORE_S3_XML_H

#include "common/base/buf.h"

enum { S3_XML_DEPTH = 16, S3_XML_NAME = 64 };

typedef enum S3XmlEvent {
    S3_XML_BEGIN,
    S3_XML_END,
} S3XmlEvent;

/* path: "ListBucketResult/Contents/Key", without prefixes of name spaces. text: at END, the
 * element's own text, unescaped; lent for the call. False ends it, with *err set. */
typedef bool S3XmlVisit(void *ctx, S3XmlEvent event, Text path, Text text, Err *err);

/* ERR_CORRUPT store.protocol when the bytes are no such document. */
MUST_CHECK bool s3_xml_read(Slice document, S3XmlVisit *visit, void *ctx, Err *err);

#endif
