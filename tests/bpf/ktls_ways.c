#include "ktls_ways.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

int ways_result(ssize_t sent, size_t len)
{
    return sent == (ssize_t)len ? 0 : sent < 0 ? -errno : -EMSGSIZE;
}

int by_send(int fd, struct span text)
{
    return ways_result(send(fd, text.data, text.len, MSG_NOSIGNAL), text.len);
}

/* Its record is not sent yet. */
int by_send_more(int fd, struct span text)
{
    return ways_result(send(fd, text.data, text.len, MSG_NOSIGNAL | MSG_MORE), text.len);
}

int by_writev(int fd, struct span text)
{
    const struct iovec parts[] = {{(void *)text.data, 2},
                                  {(void *)(text.data + 2), 3},
                                  {(void *)(text.data + 5), text.len - 5}};

    return ways_result(writev(fd, parts, 3), text.len);
}

/* As a record of this type; there are two of these, and the last one counts. */
static int by_records(int fd, struct span text, uint8_t first, uint8_t type)
{
    union {
        uint8_t room[2 * CMSG_SPACE(1)];
        struct cmsghdr aligned;
    } control = {0};
    struct iovec part = {(void *)text.data, text.len};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.room,
        .msg_controllen = first ? sizeof(control.room) : CMSG_SPACE(1),
    };
    struct cmsghdr *at = CMSG_FIRSTHDR(&message);

    for (int i = first ? 0 : 1; i < 2; i++) {
        at->cmsg_level = SOL_TLS;
        at->cmsg_type = TLS_SET_RECORD_TYPE;
        at->cmsg_len = CMSG_LEN(1);
        *CMSG_DATA(at) = i == 0 ? first : type;
        at = (struct cmsghdr *)(control.room + CMSG_SPACE(1));
    }
    return ways_result(sendmsg(fd, &message, MSG_NOSIGNAL), text.len);
}

int as_data(int fd, struct span text)
{
    return by_records(fd, text, 0, 23);
}

int as_an_alert_and_data(int fd, struct span text)
{
    return by_records(fd, text, 21, 23);
}

int as_an_alert(int fd, struct span text)
{
    return by_records(fd, text, 0, 21);
}

int as_alerts(int fd, struct span text)
{
    int code = 0;

    for (size_t at = 0; at < text.len && code == 0; at += 2)
        code = as_an_alert(fd, (struct span){text.data + at, 2});
    return code;
}

int as_a_handshake(int fd, struct span text)
{
    return by_records(fd, text, 0, 22);
}

int as_another_type(int fd, struct span text)
{
    return by_records(fd, text, 0, 126);
}

int ways_file(struct span text)
{
    int fd = memfd_create("said", MFD_CLOEXEC);

    if (write(fd, text.data, text.len) != (ssize_t)text.len || lseek(fd, 0, SEEK_SET) < 0)
        fd_close(&fd);
    return fd;
}

/* As much at a time as the kernel takes. */
int by_sendfile(int fd, struct span text)
{
    CLEANUP(fd_close) int file = ways_file(text);
    size_t sent = 0;

    while (sent < text.len) {
        ssize_t n = sendfile(fd, file, NULL, text.len - sent);

        if (n <= 0)
            return n < 0 ? -errno : -EMSGSIZE;
        sent += (size_t)n;
    }
    return 0;
}

/* ... and a pipe. */
int by_splice(int fd, struct span text)
{
    CLEANUP(fd_close) int file = ways_file(text);
    size_t sent = 0;
    int ends[2];

    if (pipe(ends) < 0)
        return -ENODATA;
    while (sent < text.len) {
        ssize_t n = splice(file, NULL, ends[1], NULL, text.len - sent, 0);
        int code = n <= 0 ? -ENODATA
                          : ways_result(splice(ends[0], NULL, fd, NULL, (size_t)n, 0), (size_t)n);

        if (code < 0)
            return code;
        sent += (size_t)n;
    }
    return 0;
}

/* As programs do it that go on to write where a socket takes no files: before 6.5. */
int by_a_file(int fd, struct span text)
{
    int code = by_sendfile(fd, text);

    return code == -EINVAL ? by_send(fd, text) : code;
}
