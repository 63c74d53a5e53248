/* load: what load.c's connections share with load_http2.c, which speaks HTTP/2 on them. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { READ_MAX = 65536, HEAD_MAX = 4096, TURN = 64, MESSAGE = 100 };

struct http2;
struct client {
    int fd;
    SSL *ssl;
    bool open;   /* TLS is up */
    bool served; /* one answer has come, on this connection or an earlier one */
    size_t sent; /* bytes of the request */
    char head[HEAD_MAX];
    size_t head_len;
    bool in_body;
    uint64_t left; /* bytes of the answer's body */
    uint64_t began_ns;
    struct http2 *http2;
};

struct load {
    const char *name, *path;
    bool keep;        /* HTTP/1.1: a connection for many requests */
    unsigned streams; /* HTTP/2: how many at once on a connection; 0: HTTP/1.1 */
    bool messages;    /* one stream, on which a message goes out when the last has come back */
    bool resting;     /* until the work begins, who has been served waits */
    uint64_t answers, bytes, errors, end_ns;
};
extern struct load load;

uint64_t now_ns(void);
bool load_goes_on(const struct client *client); /* whether the next request may begin */
void load_answered(struct client *client, uint64_t began_ns);
void load_failed(struct client *client, const char *what); /* dials again */

void http2_open(struct client *client);
void http2_close(struct client *client);
bool http2_serve(struct client *client); /* false: it would have to wait, or has failed */
