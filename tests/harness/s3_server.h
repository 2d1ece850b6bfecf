/* SPDX-License-Identifier: Apache-2.0
 * s3_server.h — s3_server.py in a temporary directory of its own, with a bucket "backups" and a key
 * that may do everything. What it lets pass and what befalls its requests is said while it runs. */
#ifndef TESTS_HARNESS_S3_SERVER_H
#define TESTS_HARNESS_S3_SERVER_H

#include "common/store/store_s3.h"

typedef struct S3Server S3Server;

S3Server *s3_server_start(void);
/* Over TLS, with a certificate of DIR/ca.pem for "localhost" and "backups.localhost". */
S3Server *s3_server_start_tls(void);
void s3_server_stop(S3Server *server);

/* members: what control.json has beside its keys, as "\"quota\": 5"; NULL: nothing. rights: of the
 * key; NULL: all of them. */
void s3_server_control(S3Server *server, const char *rights, const char *members);

/* The server takes another secret from now on, and only if `told` this host's file has it too. */
void s3_server_rotate(S3Server *server, bool told);

/* A store of it: small parts, short pauses. What it points to lives as long as the server. */
StoreS3Params s3_server_params(S3Server *server);

const char *s3_server_directory(const S3Server *server);

/* How often its log has the word; a NULL word: how many requests there were. */
unsigned s3_server_logged(const S3Server *server, const char *word);
void s3_server_forget(S3Server *server); /* empties the log */

/* Those that are there began so many seconds earlier. */
void s3_server_age_uploads(const S3Server *server, long seconds);

/* The most bodies of objects and parts that were on their way at once. */
unsigned s3_server_bodies(const S3Server *server);

/* How many uploads are neither completed nor aborted. */
unsigned s3_server_uploads(const S3Server *server);

#endif
