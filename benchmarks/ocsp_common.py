"""What the OCSP benchmarks share: a va to load, wrk, processor time, pinning."""
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "flow"))

SERVER_CORE, CLIENT_CORE = "0", "1"


def pinned(*command):
    return ["taskset", "-c", SERVER_CORE, *map(str, command)]


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(p) for p in f.read().split()]


def cpu_seconds(*pids):
    """Of these processes and their children so far."""
    ticks = 0
    for pid in [p for pid in pids for p in [pid, *children(pid)]]:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Load:
    """One run of wrk: requests a second, 99th percentile, processor time of server and client for each request."""

    def __init__(self, url, connections, seconds, pids, script=None):
        self.command = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
        self.command += ["-s", str(script)] if script else []
        before, own = cpu_seconds(*pids), os.times()
        text = subprocess.run(self.command + [url], check=True, capture_output=True, text=True).stdout
        own = sum(os.times()[2:4]) - sum(own[2:4])
        if "Non-2xx" in text or "Socket errors" in text:
            sys.exit(f"wrk saw errors:\n{text}")
        count = int(re.search(r"(\d+) requests in", text)[1])
        self.rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
        self.latency = re.search(r"99%\s+(\S+)", text)[1]
        self.server_us = (cpu_seconds(*pids) - before) * 1e6 / max(count, 1)
        self.client_us = own * 1e6 / max(count, 1)


def spread(loads):
    """Of the rates: least to most, by the median."""
    rates = [load.rate for load in loads]
    return f"{min(rates):.0f} to {max(rates):.0f}/s"


def median(loads, what):
    values = sorted(getattr(load, what) for load in loads)
    return values[len(values) // 2]
