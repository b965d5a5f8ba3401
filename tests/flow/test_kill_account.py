"""The account of signatures itself: what it must not pass over, and what it must not be misled by."""
import collections

import kill_account
import pytest


def row(at, octet):
    return f"    {at:08X}  " + f"{octet:02X} " * 16


def printed(*rows):
    return ["2026-11-26 18:20:48.006", "[in] hSession = 0x2", "[in] pData[ulDataLen] 00007f / 32", *rows, "[out] pSignature"]


class Log:
    def __init__(self, *digests):
        self.records = [{"event": "sign.certificate", "digest": d.hex(), "at": 100.0, "index": i} for i, d in enumerate(digests)]

    def of(self, *events, zone=None):
        return list(self.records)


ONE, TWO = bytes(range(32)), bytes(range(100, 132))
CALL = collections.namedtuple("Call", "time data")


def account(digests, calls, before=None, died=()):
    return kill_account.account_of_records(Log(*digests), "ca", [CALL(101.0, data) for data in calls], len(calls) if before is None else before, died)


def test_calls_with_their_records_are_in_order():
    assert account([ONE, TWO], [ONE, TWO]) == []


def test_a_signature_without_a_record_is_found():
    with pytest.raises(AssertionError, match="not on record"):
        account([ONE], [ONE, TWO])


def test_a_record_without_a_signature_is_found():
    with pytest.raises(AssertionError, match="nobody died"):
        account([ONE, TWO], [ONE])


def test_a_signature_made_twice_is_found():
    with pytest.raises(AssertionError, match="not on record"):
        account([ONE], [ONE, ONE])


def test_the_lines_of_two_calls_in_one_print_are_a_torn_print():
    assert kill_account.dump(printed(row(0, 0xBB), row(16, 0xAA), row(16, 0xBB))) == b"\xbb" * 16 + b"\xaa" * 16
    mixed = ONE[:16] + TWO[16:]
    assert len(account([ONE, TWO], [mixed, None])) == 2


def test_octets_that_are_half_unknown_are_no_mixture():
    for data in (ONE[:16] + b"x" * 16, b"x" * 16 + TWO[16:], ONE[16:] + ONE[:16]):
        with pytest.raises(AssertionError, match="not on record"):
            account([ONE, TWO], [data, None])
