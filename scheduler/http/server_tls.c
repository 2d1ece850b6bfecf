/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/http/server_tls.h"

#include "common/base/mem.h"

#include <openssl/err.h>
#include <stdio.h>

struct ServerTls {
    ServerTlsFiles files;
    SSL_CTX *context;
};

/* OpenSSL's own words for what went wrong last; its queue is empty afterwards. */
static bool refuse(const char *what, const char *path, Err *err)
{
    char words[160] = "it cannot be used";
    unsigned long code = ERR_peek_last_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    if (reason != NULL)
        snprintf(words, sizeof words, "%s", reason);
    ERR_clear_error();
    return err_set(err, ERR_USAGE, "http.tls", "%s %s: %s", what, path, words);
}

/* Clients must show a certificate of this CA; its name tells them which one to choose. */
static bool demand_client(SSL_CTX *context, const char *ca, Err *err)
{
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(ca);
    if (names == NULL || SSL_CTX_load_verify_file(context, ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return refuse("tls_client_ca", ca, err);
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return true;
}

static bool fill(SSL_CTX *context, const ServerTlsFiles *files, Err *err)
{
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    /* Where a request ends is told by its framing: one that is cut off is never taken for whole. */
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    /* A session that is taken up again would not be asked for its certificate again. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    if (SSL_CTX_use_certificate_chain_file(context, files->cert) != 1)
        return refuse("tls_cert", files->cert, err);
    if (SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1)
        return refuse("tls_key", files->key, err);
    return files->client_ca == NULL || demand_client(context, files->client_ca, err);
}

bool server_tls_reload(ServerTls *tls, Err *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL)
        return err_set(err, ERR_FULL, "http.tls", "OpenSSL does not start");
    if (!fill(context, &tls->files, err)) {
        SSL_CTX_free(context);
        return false;
    }
    SSL_CTX_free(tls->context); /* connections that are open keep theirs */
    tls->context = context;
    return true;
}

bool server_tls_open(ServerTls **out, const ServerTlsFiles *files, Err *err)
{
    ServerTls *tls = mem_new(ServerTls);
    *out = tls;
    tls->files = *files;
    return server_tls_reload(tls, err);
}

SSL *server_tls_accept(ServerTls *tls)
{
    return SSL_new(tls->context);
}

void server_tls_close(ServerTls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->context);
    mem_free(tls);
}
