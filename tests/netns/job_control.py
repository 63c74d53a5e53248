"""Job control under a terminal: an interactive bash inside `sallyport exec`, and `exec` itself as a
job of an interactive bash. Started by exec_status.sh: job_control.py SALLYPORT DIRECTORY."""

import os
import pty
import re
import select
import sys
import termios
import time

sallyport, directory = sys.argv[1:]
run = f"{sallyport} exec --events-file {directory}/events.tty --"
seen = b""


def expect(pattern, seconds=20):
    """Reads the terminal until the pattern came; what came up to its end is used up."""
    global seen
    deadline = time.monotonic() + seconds
    while True:
        found = re.search(pattern, seen)
        if found:
            seen = seen[found.end():]
            return
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([terminal], [], [], left)[0]:
            sys.exit(f"FAIL: job control: {pattern!r} did not come; the terminal shows {seen!r}")
        try:
            seen += os.read(terminal, 65536)
        except OSError:
            sys.exit(f"FAIL: job control: the shell ended before {pattern!r}; {seen!r}")


def send(text):
    os.write(terminal, text.encode())


def wait_until(what, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"FAIL: job control: {what} did not come to pass within {seconds} s")
        time.sleep(0.01)


def told(line):
    """An event of the run under way ends in this."""
    try:
        with open(f"{directory}/events.tty", encoding="utf-8") as events:
            return any(event.rstrip().endswith(line) for event in events)
    except FileNotFoundError:
        return False


def sleep_in_foreground():
    with open(f"/proc/{os.tcgetpgrp(terminal)}/comm", encoding="utf-8") as comm:
        return comm.read() == "sleep\n"


def in_foreground():
    """exec itself has the terminal: before it is executed the shell's own child swallows signals."""
    try:
        with open(f"/proc/{os.tcgetpgrp(terminal)}/comm", encoding="utf-8") as comm:
            return comm.read() == "sallyport\n"
    except FileNotFoundError:
        return False


def settings():
    return termios.tcgetattr(terminal)[:4]


pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(PS1="outer> ", HISTFILE="", TERM="dumb")
    os.execv("/bin/bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])
expect(rb"outer> ")
send("stty -echo\n")
expect(rb"outer> ")
before = settings()

# an interactive shell inside
send(f"PS1='inner> ' {run} bash --norc --noprofile --noediting -i\n")
expect(rb"inner> ")
send("sleep 100\n")
wait_until("sleep's start", lambda: told("/sleep 100"))
send("\x1a")
expect(rb"Stopped +sleep 100\s+inner> ")
send("bg\n")
expect(rb"sleep 100 &\s+inner> ")
send("jobs\n")
expect(rb"Running +sleep 100 &\s+inner> ")
send("fg\n")
expect(rb"sleep 100\s")
wait_until("sleep in the foreground", sleep_in_foreground)
send("\x03")
expect(rb"inner> ")
send("echo status $?\n")
expect(rb"status 130\s+inner> ")
send("cat | tr a-z A-Z\n")
send("reads the terminal\n")
send("\x04")
expect(rb"READS THE TERMINAL\s+inner> ")
send("exit 5\n")
expect(rb"outer> ")
send("echo status $?\n")
expect(rb"status 5\s+outer> ")
if settings() != before:
    sys.exit(f"FAIL: job control: terminal settings changed: {before} {settings()}")

# exec itself as a job: stopped and ended when its command runs, and before it could start one
os.unlink(f"{directory}/events.tty")
for when in "late", "early":
    send(f"{run} sleep 100\n")
    if when == "late":
        wait_until("sleep's start", lambda: told("/sleep 100"))
    else:
        wait_until("exec in the foreground", in_foreground)
    send("\x1a")
    expect(rb"Stopped +.*sleep 100\s+outer> ")
    send("fg\n")
    expect(rb"sleep 100\s")
    wait_until("exec in the foreground", in_foreground)
    wait_until("sleep's start", lambda: told("/sleep 100"))
    send("\x03")
    expect(rb"outer> ")
    send("echo status $?\n")
    expect(rb"status 130\s+outer> ")
send(f"{run} sleep 100\n")
wait_until("exec in the foreground", in_foreground)
send("\x03")
expect(rb"outer> ")
send("echo status $?\n")
expect(rb"status 130\s+outer> ")
send("exit\n")
os.waitpid(pid, 0)
