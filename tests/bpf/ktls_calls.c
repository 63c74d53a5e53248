/* ktls_calls: a program has many calls to have something sent by kTLS with, beside the usual ones,
 * and some are carried out by threads that are not its own. What may go does by any of them, and
 * what may not by none. Only pages, by splice or sendfile, do not go at all where an LSM program
 * judges; before 6.5 they pass it by, and must be told from what does not.
 *
 * Skipped where the kernel has no TLS. */
#include "spoken.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ktls_keys.h"
#include "ktls_ways.h"

#define GET "GET /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n"

/* ---- the calls: 0, or a negative errno ---- */

static int by_aio(int fd, struct span text)
{
    struct iocb write = {
        .aio_lio_opcode = IOCB_CMD_PWRITE,
        .aio_fildes = (uint32_t)fd,
        .aio_buf = (uintptr_t)text.data,
        .aio_nbytes = text.len,
    };
    struct iocb *writes[] = {&write};
    struct io_event event = {0};
    aio_context_t context = 0;
    int code = 0;

    if (syscall(SYS_io_setup, 1, &context) < 0)
        return -ENODATA;
    if (syscall(SYS_io_submit, context, 1, writes) != 1)
        code = -errno;
    else if (syscall(SYS_io_getevents, context, 1, 1, &event, NULL) != 1)
        code = -ENODATA;
    syscall(SYS_io_destroy, context);
    if (code == 0 && event.res < 0)
        code = (int)event.res;
    return code < 0 ? code : ways_result(event.res, text.len);
}

enum { ENTRIES = 2, PAGE = 4096 };

static void *anonymous(int flags)
{
    return mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

static uint32_t *at(uint8_t *queue, uint32_t offset)
{
    return (uint32_t *)(queue + offset);
}

/* io_uring: what the last of the operations came to. */
static int run(unsigned flags, const struct iovec *fixed, const struct io_uring_sqe *operations,
               unsigned n)
{
    struct io_uring_params params = {.flags = flags, .sq_thread_idle = 1000};
    CLEANUP(fd_close) int ring = (int)syscall(SYS_io_uring_setup, ENTRIES, &params);
    uint8_t *submit, *complete, *entries;
    unsigned enter = IORING_ENTER_GETEVENTS, last;
    int code = -ENODATA;

    if (ring < 0)
        return -ENODATA;
    submit = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    complete = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
    entries = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    if (submit == MAP_FAILED || complete == MAP_FAILED || entries == MAP_FAILED)
        return -ENODATA; /* they go with the program, which ends */
    if (fixed && syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, fixed, 1) < 0)
        return -ENODATA;
    memcpy(entries, operations, n * sizeof(*operations));
    for (uint32_t i = 0; i < n; i++)
        at(submit, params.sq_off.array)[i] = i;
    __atomic_store_n(at(submit, params.sq_off.tail), n, __ATOMIC_SEQ_CST);
    if (flags & IORING_SETUP_SQPOLL)
        enter |= IORING_ENTER_SQ_WAKEUP;
    if (syscall(SYS_io_uring_enter, ring, n, n, enter, NULL, 0) < 0)
        return -ENODATA;
    last = __atomic_load_n(at(complete, params.cq_off.tail), __ATOMIC_ACQUIRE);
    if (last == n)
        code = ((struct io_uring_cqe *)(complete + params.cq_off.cqes))[n - 1].res;
    munmap(submit, PAGE);
    munmap(complete, PAGE);
    munmap(entries, PAGE);
    return code;
}

static struct io_uring_sqe operation(uint8_t code, int fd, const void *data, size_t len)
{
    return (struct io_uring_sqe){
        .opcode = code,
        .fd = fd,
        .addr = (uintptr_t)data,
        .len = (uint32_t)len,
        .off = UINT64_MAX,
    };
}

static int result(int sent, size_t len)
{
    return sent < 0 ? sent : ways_result(sent, len);
}

static int by_ring(int fd, struct span text)
{
    const struct io_uring_sqe write = operation(IORING_OP_WRITE, fd, text.data, text.len);

    return result(run(0, NULL, &write, 1), text.len);
}

static int by_ring_vector(int fd, struct span text)
{
    const struct iovec parts[] = {{(void *)text.data, 2}, {(void *)(text.data + 2), text.len - 2}};
    struct io_uring_sqe write = operation(IORING_OP_WRITEV, fd, parts, 2);

    write.flags = IOSQE_ASYNC;
    return result(run(0, NULL, &write, 1), text.len);
}

static int by_ring_poll(int fd, struct span text)
{
    const struct io_uring_sqe write = operation(IORING_OP_WRITE, fd, text.data, text.len);

    return result(run(IORING_SETUP_SQPOLL, NULL, &write, 1), text.len);
}

/* 6.1 takes none of a mapped file, as a program's own variables may be. */
static int by_ring_fixed(int fd, struct span text)
{
    char *memory = anonymous(0);
    const struct iovec fixed = {memory, PAGE};
    struct io_uring_sqe write = operation(IORING_OP_WRITE_FIXED, fd, memory, text.len);
    int sent;

    if (memory == MAP_FAILED)
        return -ENODATA;
    memcpy(memory, text.data, text.len);
    write.flags = IOSQE_ASYNC;
    sent = run(0, &fixed, &write, 1);
    munmap(memory, PAGE);
    return result(sent, text.len);
}

/* A pipe's end that has the text; the other one goes with the program. */
static int pipe_of(struct span text)
{
    int ends[2];

    if (pipe(ends) < 0 || write(ends[1], text.data, text.len) != (ssize_t)text.len)
        return -1;
    return ends[0];
}

static int splice_behind(int fd, struct span text, unsigned writes)
{
    struct io_uring_sqe operations[ENTRIES];
    CLEANUP(fd_close) int from = pipe_of(text);

    operations[0] = operation(IORING_OP_WRITE, fd, text.data, 0);
    operations[0].flags = IOSQE_ASYNC | IOSQE_IO_LINK;
    operations[writes] = operation(IORING_OP_SPLICE, fd, NULL, text.len);
    operations[writes].splice_off_in = UINT64_MAX;
    operations[writes].splice_fd_in = from;
    return result(run(0, NULL, operations, writes + 1), text.len);
}

static int by_ring_splice(int fd, struct span text)
{
    return splice_behind(fd, text, 0);
}

static int by_linked_splice(int fd, struct span text)
{
    return splice_behind(fd, text, 1);
}

/* The kernel takes i386's calls of any program, with what they point at below 4 GB. The sixth
 * argument, 0 here, is in the register that programs keep their frame in. */
static int i386(unsigned call, const unsigned arguments[5])
{
    int code;

    __asm__ volatile("mov %%rbp, %%r12\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "int $0x80\n\t"
                     "mov %%r12, %%rbp"
                     : "=a"(code)
                     : "a"(call), "b"(arguments[0]), "c"(arguments[1]), "d"(arguments[2]),
                       "S"(arguments[3]), "D"(arguments[4])
                     : "memory", "cc", "r8", "r9", "r10", "r11", "r12");
    return code;
}

static int by_i386(int fd, struct span text)
{
    enum { WRITE = 4 };
    char *low = anonymous(MAP_32BIT);
    int sent;

    if (low == MAP_FAILED)
        return -ENODATA;
    memcpy(low, text.data, text.len);
    sent = i386(WRITE, (unsigned[5]){(unsigned)fd, (unsigned)(uintptr_t)low, (unsigned)text.len});
    munmap(low, PAGE);
    return result(sent, text.len);
}

static int by_i386_splice(int fd, struct span text)
{
    enum { SPLICE = 313 };
    CLEANUP(fd_close) int from = pipe_of(text);
    const unsigned arguments[5] = {(unsigned)from, 0, (unsigned)fd, 0, (unsigned)text.len};

    return result(i386(SPLICE, arguments), text.len);
}

static int by_i386_file(unsigned call, int fd, struct span text)
{
    CLEANUP(fd_close) int from = ways_file(text);
    const unsigned arguments[5] = {(unsigned)fd, (unsigned)from, 0, (unsigned)text.len};

    return result(i386(call, arguments), text.len);
}

static int by_i386_sendfile(int fd, struct span text)
{
    return by_i386_file(187, fd, text);
}

static int by_i386_sendfile64(int fd, struct span text)
{
    return by_i386_file(239, fd, text);
}

static int by_wide_sendfile(int fd, struct span text)
{
    CLEANUP(fd_close) int from = ways_file(text);

    return ways_result(syscall(1L << 32 | SYS_sendfile, fd, from, NULL, text.len), text.len);
}

/* ---- what comes of them ---- */

static const struct call {
    const char *name;
    int (*by)(int fd, struct span text);
    bool pages;
} calls[] = {
    {"AIO", by_aio, false},
    {"io_uring", by_ring, false},
    {"a worker of io_uring", by_ring_vector, false},
    {"... of memory that the kernel has at hand", by_ring_fixed, false},
    {"... that splices", by_ring_splice, true},
    {"... that splices when it has written", by_linked_splice, true},
    {"a thread that polls for what is asked", by_ring_poll, false},
    {"i386's write", by_i386, false},
    {"i386's splice", by_i386_splice, true},
    {"i386's sendfile", by_i386_sendfile, true},
    {"i386's sendfile64", by_i386_sendfile64, true},
    {"sendfile, by a number of which the kernel ignores half", by_wide_sendfile, true},
};

static int say(int fd, const void *arg)
{
    const struct call *call = arg;
    int code = start_tls(fd);

    return code < 0 ? code : call->by(fd, BYTES(GET));
}

/* Before 6.5 nobody judges pages: EINVAL, on which programs write. */
static bool is_refused(const struct call *call, bool by_lsm, int code)
{
    return code == (by_lsm ? -EPERM : -EACCES) || (by_lsm && call->pages && code == -EINVAL);
}

static void each_is_judged(void **state)
{
    bool by_lsm = strcmp(backend_name(backend), "lsm") == 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        for (unsigned denied = 0; denied < 2; denied++) {
            bool goes = !denied && !(calls[i].pages && by_lsm);
            struct report report;

            print_message("  %s, %s\n", calls[i].name, denied ? "denied" : "it fits");
            spoken_spell(&(struct abi_spelling){
                .flags = ABI_SPELL_JUDGED | ABI_SPELL_UNSEEN, .rules = 1, .denies = denied});
            spoken_prepare = answer_tls;
            report = speak(say, &calls[i], (struct span){0});
            if (goes ? report.code != 0 : !is_refused(&calls[i], by_lsm, report.code))
                fail_msg("%s", strerror(-report.code));
            assert_int_equal(arrived.len, goes ? sizeof(GET) - 1 : 0);
            assert_memory_equal(arrived.bytes, GET, arrived.len);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spoken_test(each_is_judged),
    };

    if (!kernel_has_tls()) {
        printf("SKIP: this kernel has no TLS of its own\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, set_up_spoken, take_down_spoken);
}
