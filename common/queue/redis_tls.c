/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue/redis_tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

static bool refuse(Err *err, const char *what, const char *file)
{
    unsigned long code = ERR_get_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    ERR_clear_error();
    return err_set(err, ERR_INVALID, "queue.tls",
                   "%s %s: %s; check that the file is PEM and readable", what, file,
                   reason == NULL ? "cannot be used" : reason);
}

static bool load(SSL_CTX *tls, const char *ca_file, const char *cert_file, const char *key_file,
                 Err *err)
{
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) != 1)
        return err_set(err, ERR_BUG, "queue.tls", "OpenSSL refuses TLS 1.2 as the oldest version");
    if (ca_file == NULL && SSL_CTX_set_default_verify_paths(tls) != 1)
        return refuse(err, "the system's CA", "certificates");
    if (ca_file != NULL && SSL_CTX_load_verify_locations(tls, ca_file, NULL) != 1)
        return refuse(err, "the CA file", ca_file);
    if (cert_file != NULL && SSL_CTX_use_certificate_chain_file(tls, cert_file) != 1)
        return refuse(err, "the certificate file", cert_file);
    if (key_file != NULL && SSL_CTX_use_PrivateKey_file(tls, key_file, SSL_FILETYPE_PEM) != 1)
        return refuse(err, "the key file", key_file);
    return true;
}

bool redis_tls_open(SSL_CTX **out, const char *ca_file, const char *cert_file, const char *key_file,
                    Err *err)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL)
        return err_set(err, ERR_BUG, "queue.tls", "OpenSSL gives no context");
    if (!load(tls, ca_file, cert_file, key_file, err)) {
        SSL_CTX_free(tls);
        return false;
    }
    *out = tls;
    return true;
}

static bool expect_host(SSL *session, const char *host)
{
    uint8_t address[16];
    bool is_address =
        inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    if (is_address)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), host) == 1;
    char name[256]; /* OpenSSL's macro takes the const away, and a host name has at most 253 */
    snprintf(name, sizeof name, "%s", host);
    return SSL_set1_host(session, name) == 1 && SSL_set_tlsext_host_name(session, name) == 1;
}

bool redis_tls_session(SSL_CTX *tls, const char *host, SSL **out, Err *err)
{
    SSL *session = SSL_new(tls);
    if (session == NULL || !expect_host(session, host)) {
        SSL_free(session);
        return err_set(
            err, ERR_INVALID, "queue.tls",
            "%s cannot be verified as a host name; name the host as its certificate does", host);
    }
    *out = session;
    return true;
}

const char *redis_tls_reason(const SSL *session, unsigned long code)
{
    long verified = session == NULL ? X509_V_OK : SSL_get_verify_result(session);
    if (verified != X509_V_OK)
        return X509_verify_cert_error_string(verified);
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    return reason == NULL ? "the TLS handshake broke off" : reason;
}
