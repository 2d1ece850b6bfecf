/* SPDX-License-Identifier: Apache-2.0
 * server_tls.h — the server's certificate and key, read from files and read again when they change.
 * TLS 1.2 and newer, no renegotiation, no compression. With a client CA only clients that show a
 * certificate of it get as far as a request; the token is still asked for. A new set of files takes
 * effect for new connections, and a broken set changes nothing. Used on the loop's thread. */
#ifndef SCHEDULER_HTTP_SERVER_TLS_H
#define SCHEDULER_HTTP_SERVER_TLS_H

#include "protocol/err.h"

#include <openssl/ssl.h>

/* PEM files: the certificate with its chain, its private key, and, where clients must show one,
 * the CA of theirs. Borrowed as long as the ServerTls lives. */
typedef struct ServerTlsFiles {
    const char *cert;
    const char *key;
    const char *client_ca; /* NULL: clients need no certificate */
} ServerTlsFiles;

typedef struct ServerTls ServerTls;

/* ERR_USAGE http.tls: a file is missing, is none of its kind, or the key is not the certificate's.
 */
MUST_CHECK bool server_tls_open(ServerTls **out, const ServerTlsFiles *files, Err *err);
MUST_CHECK bool server_tls_reload(ServerTls *tls, Err *err); /* false: all stays as it was */
SSL *server_tls_accept(ServerTls *tls); /* for one new connection, the caller's; NULL: no memory */
void server_tls_close(ServerTls *tls);  /* NULL is fine */

#endif
