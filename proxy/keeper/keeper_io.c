#include "proxy/keeper/keeper_io.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

union control {
    struct cmsghdr head;
    char room[CMSG_SPACE(KEEPER_WIRE_FDS_MAX * sizeof(int))];
};

int keeper_send(int socket, const struct keeper_message *message, const int *fds)
{
    uint8_t bytes[KEEPER_WIRE_MAX];
    struct iovec data = {bytes, keeper_wire_encode(message, bytes)};
    struct msghdr packet = {.msg_iov = &data, .msg_iovlen = 1};
    size_t len = keeper_wire_fds(message) * sizeof(int);
    union control control = {0};

    if (len) {
        packet.msg_control = &control;
        packet.msg_controllen = CMSG_SPACE(len);
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(len);
        memcpy(CMSG_DATA(&control.head), fds, len);
    }
    return sendmsg(socket, &packet, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static size_t take_rights(struct msghdr *packet, int *fds)
{
    struct cmsghdr *head = CMSG_FIRSTHDR(packet);
    size_t len;

    if (!head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
        return 0;
    len = head->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(head), len);
    return len / sizeof(int);
}

int keeper_receive(int socket, struct keeper_parcel *out)
{
    uint8_t bytes[KEEPER_WIRE_MAX];
    struct iovec data = {bytes, sizeof(bytes)};
    union control control = {0};
    struct msghdr packet = {.msg_iov = &data,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof(control)};
    ssize_t n;
    size_t fds;

    for (size_t i = 0; i < KEEPER_WIRE_FDS_MAX; i++)
        out->fds[i] = -1;
    do
        n = recvmsg(socket, &packet, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 ? -errno : -EPIPE;
    fds = take_rights(&packet, out->fds);
    if (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ||
        !keeper_wire_decode(span_of(bytes, (size_t)n), fds, &out->message)) {
        keeper_parcel_fini(out);
        return -EPROTO;
    }
    return 0;
}

void keeper_parcel_fini(struct keeper_parcel *parcel)
{
    for (size_t i = 0; i < KEEPER_WIRE_FDS_MAX; i++)
        fd_close(&parcel->fds[i]);
}
