/* control: TLS's own messages, which a program has the kernel encrypt as records of another type
 * than data: nobody reads what passes for one. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>

enum { ALERT_RECORD = 21, HANDSHAKE_RECORD = 22, DATA_RECORD = 23 };
enum { MESSAGE_HEADER = 4, MESSAGE_HEAD = MESSAGE_HEADER + 1 };
enum { MESSAGE_TICKET = 4, MESSAGE_FINISHED = 20, MESSAGE_KEY_UPDATE = 24 };

/* Whether this is one message of a handshake, and nothing behind it. */
static __always_inline bool is_whole_message(const __u8 head[MESSAGE_HEAD], __u32 size)
{
    return size == MESSAGE_HEADER + ((__u32)head[1] << 16 | (__u32)head[2] << 8 | head[3]);
}

/* As a record of which type these bytes would be a message that TLS cannot do without, and that has
 * no room for anything else; 0: of none. By its shape (RFC 8446 section 4, 6; RFC 5246 section
 * 7.4.9). Of all `size` bytes the first ones are in `head`; begins: the handshake of TLS 1.2 has
 * yet to end. */
static __always_inline __u8 control_type(const __u8 head[MESSAGE_HEAD], __u32 size, bool begins)
{
    enum { WARNING = 1, FATAL = 2, ALERT_SIZE = 2 };
    enum { KEY_UPDATE_SIZE = MESSAGE_HEADER + 1, FINISHED_SIZE = MESSAGE_HEADER + 12 };

    if (size == ALERT_SIZE)
        return head[0] == WARNING || head[0] == FATAL ? ALERT_RECORD : 0;
    if (!is_whole_message(head, size))
        return 0;
    if (head[0] == MESSAGE_KEY_UPDATE && size == KEY_UPDATE_SIZE) /* requested or not */
        return head[MESSAGE_HEADER] <= 1 ? HANDSHAKE_RECORD : 0;
    return head[0] == MESSAGE_FINISHED && size == FINISHED_SIZE && begins ? HANDSHAKE_RECORD : 0;
}
