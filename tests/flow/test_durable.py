"""Durable, in this order: intent synced, then the module gets the bytes, then effect and event synced, then the answer leaves.

All daemons run under one `strace -f`, whose file gives one order of events over all processes. pkcs11-spy stands before SoftHSM and
writes "C_Sign" with the digest, unbuffered, before it passes the call on.
"""
import os
import pathlib
import re

import pytest
from cryptography import x509
from installation import Installation, within

COUNT = 5
CERTIFICATE_LEAST = 2000  # octets of an answer with a certificate and its chain; a handshake and an answer about nothing are shorter
LINE = re.compile(r"^(\d+)\s+[\d.]+ (?:(\w+)\((\d+)<((?:->|[^<>])*)>(.*)|<\.\.\. (\w+) resumed>(.*))$")


class Call:
    """A system call: the lines at which it began and ended in the trace."""

    def __init__(self, thread, name, target, text, begin):
        self.thread, self.name, self.target, self.text, self.begin, self.end = thread, name, target, text, begin, None


def read_trace(path):
    calls, open_calls = [], {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines()):
        found = LINE.match(line)
        if found is None:
            continue
        thread, name, _, target, text, resumed, rest = found.groups()
        if resumed:
            call = open_calls.pop(thread, None)
            if call is not None:
                call.text += rest
                call.end = number
            continue
        call = Call(thread, name, target, text, number)
        calls.append(call)
        if "<unfinished ...>" in text:
            open_calls[thread] = call
        else:
            call.end = number
    return calls


def syncs(calls, path):
    return [c for c in calls if c.name in ("fsync", "fdatasync") and path in c.target and c.end is not None and c.text.rstrip().endswith("= 0")]


def module_calls(calls):
    """(line at which the module got the bytes, digest) of each C_Sign."""
    out = []
    spoken = {}
    for call in calls:
        if call.name != "write" or not re.search(r"/log/keyd-\w+\.log$", call.target):
            continue
        if ": C_Sign\\n" in call.text:
            spoken[call.thread] = [call.begin, ""]
        elif call.thread in spoken:
            dump = re.search(r'"\\n    0000\w{4}  ((?:[0-9A-F]{2} )+)', call.text)
            if dump and "out" not in spoken[call.thread]:
                spoken[call.thread][1] += dump.group(1).replace(" ", "").lower()
            if "[out]" in call.text:
                begin, digest = spoken.pop(call.thread)
                out.append((begin, digest))
    return out


def synced_record(calls, tail_syncs, *texts):
    """The line at which the sync of auditd's record with these texts had ended; None when there is no such."""
    for call in calls:
        if call.name in ("pwrite64", "write", "writev") and "/auditd/log/tail/" in call.target and all(t in call.text for t in texts):
            later = [s.end for s in tail_syncs if s.target == call.target and s.begin > call.begin]
            return min(later, default=None)
    return None


def first_answer(calls, port, after, least):
    """The line at which anybody was first sent as much as what was asked for; others may be answered other things meanwhile."""
    for call in calls:
        if call.begin > after and call.target.startswith(f"TCP:[127.0.0.1:{port}->") and call.name in ("write", "writev", "sendto", "sendmsg"):
            sent = re.search(r"= (\d+)$", call.text.rstrip())
            if sent and int(sent.group(1)) >= least:
                return call.begin
    return None


def violations(trace, records, ca_port, tsa_port):
    """Everything that is not in the order promised, for the sign.* records given, as text."""
    calls = read_trace(trace)
    signed = dict((digest, begin) for begin, digest in module_calls(calls))
    tail = syncs(calls, "/auditd/log/tail/")
    database = syncs(calls, "/state/ca/ca.db-wal")
    wrong = []
    for record in records:
        what = f"{record['event']} {record['serial']}"
        entered = signed.get(record["digest"])
        if entered is None:
            wrong.append(f"{what}: the module was never seen to get these bytes")
            continue
        intent = synced_record(calls, tail, record["event"], record["digest"])
        if intent is None or intent >= entered:
            wrong.append(f"{what}: no sync of the intent ended before the module got the bytes")
        port, least = (ca_port, CERTIFICATE_LEAST) if record["event"] == "sign.certificate" else (tsa_port, 1)
        answer = first_answer(calls, port, entered, least)
        if answer is None:
            wrong.append(f"{what}: no answer was seen")
            continue
        if record["event"] == "sign.certificate":
            event = synced_record(calls, tail, "certificate.issued", record["serial"])
            if event is None or not entered < event < answer:
                wrong.append(f"{what}: no sync of the event ended before the answer left")
            if not any(entered < s.end < answer for s in database):
                wrong.append(f"{what}: no sync of the store ended before the answer left")
        elif intent is None or intent >= answer:
            wrong.append(f"{what}: the token's record was not synced before the answer left")
    return wrong


def observe(build):
    """Certificates and tokens from an installation of this build under strace; what is not in order, and how many were judged."""
    made = Installation(build=build)
    try:
        environment = made.spy("ca", "time")
        trace = made.directory / "trace"
        made.start_under("strace", "-f", "-ttt", "-yy", "-s", "20000", "-o", trace, "-e",
                         "trace=write,writev,pwrite64,sendto,sendmsg,fsync,fdatasync", environment=environment)
        file = made.work / "file"
        for i in range(COUNT):
            made.issue(f"person{i}")
            file.write_text(str(i))
            made.check("ts", "request", file)
        events = ("sign.certificate", "sign.time_stamp")
        leaves = [leaf["record"] for event in events for leaf in made.json("audit", "show", "--event", event, "--limit", "1000")]
        asked = {f"{x509.load_pem_x509_certificate(p.read_bytes()).serial_number:x}" for p in made.work.glob("person*.pem")}
        records = [r for r in leaves if r["event"] == "sign.time_stamp" or r["serial"].lstrip("0") in asked]
        made.stop()
        made.wrapper.wait(60)
        return violations(trace, records, made.base + 2, made.base + 1), len(records)
    finally:
        made.close()


def test_intent_is_synced_before_the_module_and_event_before_the_answer():
    wrong, judged = observe(os.environ.get("CHANCERY_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
    assert judged == 2 * COUNT
    assert wrong == []


def test_the_same_observation_of_a_build_without_syncs_finds_them_missing():
    build = os.environ.get("CHANCERY_STUB_SYNC_BUILD", "")
    if not build or not pathlib.Path(build, "src", "chancery").exists():
        pytest.skip("no build with -Dstub_sync=true: ./check makes one (CHANCERY_STUB_SYNC_BUILD)")
    wrong, judged = observe(build)
    assert judged == 2 * COUNT
    assert len([w for w in wrong if "no sync of the intent" in w]) == judged
    assert len([w for w in wrong if "no sync of the event" in w]) == COUNT
