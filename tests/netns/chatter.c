/* chatter: a TLS client or server that asks for new keys between its requests or answers.
 *
 *   chatter client PORT COUNT                   asks for /small, COUNT times for keys, for /small
 *   chatter server PORT CERTIFICATE KEY COUNT   answers one request, asks for keys, answers another
 *
 * Exit status: 0 all was said and answered; 3 the other side would not listen; 1 it went wrong. */
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WELL = 0, WRONG = 1, NOT_HEARD = 3 };

static void must(int truth, const char *what)
{
    if (truth > 0)
        return;
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(WRONG);
}

static int chatter(SSL *ssl, long count)
{
    for (long i = 0; i < count; i++)
        if (SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) != 1 || SSL_do_handshake(ssl) != 1)
            return 0;
    return 1;
}

/* Up to the end of the head, and `small` behind it; 0 when the connection ends before. */
static int heard(SSL *ssl, const char *end)
{
    char text[8192];
    size_t len = 0, n;

    while (len < sizeof(text) - 1) {
        if (SSL_read_ex(ssl, text + len, sizeof(text) - 1 - len, &n) != 1)
            return 0;
        len += n;
        text[len] = 0;
        if (strstr(text, end))
            return 1;
    }
    return 0;
}

static int say(SSL *ssl, const char *text)
{
    size_t n;

    return SSL_write_ex(ssl, text, strlen(text), &n);
}

static int client(SSL *ssl, long count)
{
    static const char get[] = "GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n";

    SSL_set_tlsext_host_name(ssl, "localhost");
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    must(SSL_connect(ssl), "handshake");
    must(say(ssl, get) && heard(ssl, "\r\n\r\nsmall"), "the first answer");
    return chatter(ssl, count) && say(ssl, get) && heard(ssl, "\r\n\r\nsmall") ? WELL : NOT_HEARD;
}

static int server(SSL *ssl, long count)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsmall\n";

    must(SSL_accept(ssl), "handshake");
    must(heard(ssl, "\r\n\r\n") && say(ssl, answer), "the first request");
    return chatter(ssl, count) && heard(ssl, "\r\n\r\n") && say(ssl, answer) ? WELL : NOT_HEARD;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int serves = argc == 6 && strcmp(argv[1], "server") == 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1, result;
    SSL_CTX *ctx = SSL_CTX_new(serves ? TLS_server_method() : TLS_client_method());
    char rest[4096];
    SSL *ssl;

    must(serves || argc == 4, "usage");
    signal(SIGPIPE, SIG_IGN);
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    if (serves) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
        must(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 1) == 0,
             "listen");
        must(SSL_CTX_use_certificate_chain_file(ctx, argv[3]), argv[3]);
        must(SSL_CTX_use_PrivateKey_file(ctx, argv[4], SSL_FILETYPE_PEM), argv[4]);
        fd = accept(fd, NULL, NULL);
    } else {
        SSL_CTX_set_default_verify_paths(ctx);
        must(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "connect");
    }
    ssl = SSL_new(ctx);
    must(SSL_set_fd(ssl, fd), "socket");
    result = serves ? server(ssl, atol(argv[5])) : client(ssl, atol(argv[3]));
    SSL_shutdown(ssl);
    shutdown(fd, SHUT_WR); /* with bytes unread, close(2) would send RST and lose the last answer */
    while (read(fd, rest, sizeof(rest)) > 0)
        continue;
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    return result;
}
