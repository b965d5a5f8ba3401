"""`strace --inject` at the n-th call of a running daemon, and what was hit."""
import collections
import os
import re
import select
import subprocess
import tempfile
import time

FAULTS = {"EIO": "error=EIO", "ENOSPC": "error=ENOSPC", "SIGKILL": "signal=SIGKILL"}
Injection = collections.namedtuple("Injection", "daemon fault call path n")
Hit = collections.namedtuple("Hit", "injection begun ended target")  # target: the file or socket, None when the n-th call never came
MAY_TRACE = os.geteuid() == 0  # the daemons are closed to debuggers of their own uid


def target_of(line):
    """What the call was about, without what differs each time."""
    found = re.search(r'\(\d+<((?:->|[^>])*)>|\((?:AT_FDCWD<[^>]*>, )?"([^"]*)"', line)
    text = (found.group(1) or found.group(2) or "?") if found else "?"
    if re.match(r"(TCP|UNIX|anon_inode|socket|pipe)", text):
        return "socket"
    text = re.sub(r".*/home/(etc/\.\./)?", "", text)
    text = re.sub(r"/tile/.*", "/tile", text)
    return re.sub(r"\.[^./]*\.new$", ".new", re.sub(r"\d+", "N", text))


def what_was_hit(trace, call):
    """From strace's file: the call that was failed, or the last one before the death. A call that was interrupted stands in two lines."""
    last, begun = None, {}
    for line in trace.splitlines():
        thread = line.split(" ", 1)[0]
        if re.match(rf"\d+ +{call}\(", line):
            last = begun[thread] = line
        if "(INJECTED)" in line:
            return target_of(begun.get(thread, line))
    return target_of(last) if last and "killed by SIGKILL" in trace else None


def leave(strace):
    """It may wait for ever for a process that dies while it takes leave; the kernel lets go of all that a killed strace held."""
    try:
        strace.terminate()
        strace.wait(2)
    except subprocess.TimeoutExpired:
        strace.kill()
        strace.wait(30)


def inject(injection, pid, longest, pause=0.02):
    """The fault at the n-th of these calls that a thread of the running process makes from now on; strace leaves after it."""
    with tempfile.TemporaryDirectory(prefix="chancery-strace-") as directory:
        trace = os.path.join(directory, "trace")
        only = ["-P", injection.path] if injection.path else []
        fault = f"inject={injection.call}:{FAULTS[injection.fault]}:when={injection.n}"
        begun = time.time()
        strace = subprocess.Popen(["strace", "-f", "-q", "-yy", "-o", trace, *only, "-e", f"trace={injection.call}", "-e", fault, "-p", str(pid)],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + longest

        def happened():
            with open(trace, errors="replace") as f:
                return what_was_hit(f.read(), injection.call)
        try:
            while time.monotonic() < until and strace.poll() is None:
                if os.path.exists(trace) and happened():
                    break
                time.sleep(pause)
        finally:
            leave(strace)
        return Hit(injection, begun, time.time(), happened() if os.path.exists(trace) else None)


def start_with(injection, command, longest=5):
    """The daemon started under strace, which fails the n-th call; ended in order when it is ready. What was hit, and whether it was ready."""
    with tempfile.TemporaryDirectory(prefix="chancery-strace-") as directory:
        trace = os.path.join(directory, "trace")
        fault = f"inject={injection.call}:{FAULTS[injection.fault]}:when={injection.n}"
        ready, written = os.pipe()
        strace = subprocess.Popen(["strace", "-f", "-q", "-yy", "-o", trace, "-e", f"trace={injection.call}", "-e", fault, *map(str, command),
                                   "--ready-fd", str(written)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  pass_fds=(written,))
        os.close(written)
        with os.fdopen(ready, "rb") as f:
            was_ready = bool(select.select([f], [], [], longest)[0]) and f.read(1) != b""
        if was_ready:
            time.sleep(0.05)  # what it does first of all
        subprocess.run(["pkill", "-TERM", "-P", str(strace.pid)], check=False)
        strace.wait(30)
        with open(trace, errors="replace") as f:
            return what_was_hit(f.read(), injection.call), was_ready
