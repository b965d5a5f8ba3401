"""Ports of 127.0.0.1 for daemons of tests. They are not those that the kernel gives to clients, and nobody else's test has one of them, however many run at
once: each is claimed by an abstract socket of its name for as long as this process lives."""
import random
import socket

CLAIMED = []


def claim(port):
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f"\0chancery-test-port-{port}")
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", port))
    except OSError:
        lock.close()
        return None
    return lock


def free_ports(count):
    """First of so many consecutive ones."""
    for _ in range(500):
        base = random.randrange(10000, 32000 - count)
        held = []
        for port in range(base, base + count):
            lock = claim(port)
            if lock is None:
                break
            held.append(lock)
        if len(held) == count:
            CLAIMED.extend(held)
            return base
        for lock in held:
            lock.close()
    raise RuntimeError("no free ports")


def free_port():
    return free_ports(1)
