"""Records of a writer have its own numbers, and `audit verify` finds the one that was acknowledged and is not in the log. What a writer gave up itself is none."""
import os
import signal
import time

import pytest

import audit_world as aw
import keyd_client as kc
from test_audit import append, record

RUN, NEXT = "00000000000000a1", "00000000000000a2"


@pytest.fixture
def world():
    made = aw.World(interval="50ms")
    made.start_keyd()
    assert made.start()
    yield made
    made.remove()


def numbered(n, run=RUN, **more):
    """A record as a client of auditd writes it; the log takes what it is given."""
    identity, text = record()
    members = f'"run":"{run}","n":{n}' + "".join(f',"{name}":' + (f'"{value}"' if isinstance(value, str) else str(value)) for name, value in more.items())
    return identity, text.replace(b',"tx":', b"," + members.encode() + b',"tx":', 1)


def verify(world, *records):
    client = kc.Client(world.socket)
    answers = append(client, *records)
    client.close()
    assert all(isinstance(answer, int) for answer in answers), answers
    assert world.settled()
    return world.verify()


def row(report, writer):
    return next(r for r in report["writers"] if r["writer"] == writer)


def test_a_record_that_was_dropped_is_named(world):
    """An auditd, or whoever is before it, that answers for a record and does not write it."""
    code, report = verify(world, numbered(1), numbered(2), numbered(4))
    assert code == 2, "the writer may have given its run up: it must say so, or go on"
    assert row(report, "test")["unclear"] == 1
    code, report = verify(world, numbered(1, run=NEXT, after=RUN, last=4))
    assert code == 1 and f"record 3 of run {RUN} of test is not in the log, though it was acknowledged" in report["problem"]
    assert report["first bad record"] == world.status()["size"] - 1


def test_what_the_writer_gave_up_is_no_finding(world):
    code, report = verify(world, numbered(1), numbered(2), numbered(4), numbered(1, run=NEXT, after=RUN, last=2))
    assert code == 2 and row(report, "test") == {"writer": "test", "records": 4, "without a number": 0, "runs": 2, "ended": 1, "unclear": 1}


@pytest.mark.parametrize("members", ['"run":"00000000000000A1","n":1', '"run":"0000000000000000","n":1', '"run":"a1","n":1', f'"run":"{RUN}"', f'"run":"{RUN}","n":0',
                                     f'"n":1,"run":"{RUN}"', f'"run":"{RUN}","n":1,"after":"{NEXT}"', f'"run":"{RUN}","n":01'])
def test_a_number_has_one_spelling(world, members):
    identity, text = record()
    client = kc.Client(world.socket)
    answer, = append(client, (identity, text.replace(b',"tx":', b"," + members.encode() + b',"tx":', 1)))
    client.close()
    assert answer[0] == "INPUT" and "does not begin" in answer[1]


def test_records_without_a_number_are_still_read_and_said(world):
    code, report = verify(world, record(), numbered(1))
    assert code == 2 and row(report, "test")["without a number"] == 1
    assert any("without a number of their writer" in words for words in report["not checked"])


def test_real_writers_number_without_gap_whatever_happens_to_auditd(world):
    loads = [world.load(4, 10**9, wait=False) for _ in range(2)]
    for _ in range(3):
        time.sleep(0.3)
        assert world.stop(signal.SIGKILL) == -signal.SIGKILL
        assert world.start()
    assert kc.wait_for(lambda: os.fstat(loads[0].lines.fileno()).st_size > 0)
    for load in loads:
        load.terminate()
    got = {identity: index for load in loads for identity, index in aw.acknowledged(load).items()}
    assert world.settled()
    code, report = world.verify()
    assert code == 2, report
    writer = row(report, "load")
    assert writer["records"] >= len(got) > 100 and writer["without a number"] == 0 and writer["runs"] >= 8
    # The same by the leaves alone: within a run, numbers follow each other up to where the next run says that it ended.
    runs, ends = {}, {}
    for envelope in aw.verify_log(world.log, world.spki):
        inner = envelope["record"]
        if inner["component"] == "load":
            runs.setdefault(inner["run"], []).append(inner["n"])
            if "after" in inner:
                ends[inner["after"]] = inner["last"]
    assert len(runs) == writer["runs"]
    for run, numbers in runs.items():
        assert numbers == sorted(numbers) and set(range(1, ends.get(run, len(numbers)) + 1)) <= set(numbers)
