"""Time-stamps that travel together: each is checked, recorded and answered by itself."""

import re

import pytest

import keyd_client
import keyd_contents as make
from keyd_client import REQUEST, TIME_STAMP, Refused

MAX = 32


@pytest.fixture
def unit():
    with keyd_client.Keyd(zone="time") as keyd:
        keyd.token("tsu")
        client = keyd.client()
        info = client.generate("tsu", purposes=TIME_STAMP | REQUEST, policies=[make.oid_content(make.POLICY)], accuracy_ms=1000)
        yield keyd, client, info["spki"]
        client.close()


def item(**more):
    tst = make.tst_info(**more)
    return tst, make.signed_attributes(tst)


def serials_on_record(keyd):
    """Serial numbers of the records that came before a signature."""
    found = re.findall(rb'"event":"sign.time_stamp".*?"serial":"([0-9a-f]+)"', keyd.records(), re.DOTALL)
    return [int(serial, 16) for serial in found]


def test_each_of_a_frame_is_signed_and_on_record_once(unit):
    keyd, client, spki = unit
    items = [item(serial=1000 + i) for i in range(MAX)]
    for (_, attributes), signature in zip(items, client.sign_time_stamps("tsu", "ecdsa-sha256", items)):
        make.verify(spki, signature, attributes)
    assert sorted(serials_on_record(keyd)) == list(range(1000, 1000 + MAX))


def test_what_does_not_fit_stops_nobody_but_itself(unit):
    keyd, client, spki = unit
    good, other = item(serial=1), item(serial=2)
    items = [good, item(serial=3, accuracy_ms=5000), (good[0], other[1]), (b"rubbish", good[1]), item(serial=4, off=3600), other]
    out = client.sign_time_stamps("tsu", "ecdsa-sha256", items)
    make.verify(spki, out[0], good[1])
    make.verify(spki, out[5], other[1])
    assert all(isinstance(o, Refused) for o in out[1:5])
    assert serials_on_record(keyd) == [1, 2]


def test_a_frame_for_another_key_or_purpose_signs_nothing(unit):
    keyd, client, _ = unit
    client.generate("other", token="tsu", purposes=REQUEST)
    for label, code in (("other", "DENIED"), ("none", "NOTFOUND")):
        out = client.sign_time_stamps(label, "ecdsa-sha256", [item(), item()])
        assert [o.code for o in out] == [code, code]
    with pytest.raises(Refused):
        client.sign_time_stamps("tsu", "ecdsa-sha256", [])
    with pytest.raises(Refused):
        client.sign_time_stamps("tsu", "ecdsa-sha256", [item()] * (MAX + 1))
    assert serials_on_record(keyd) == []
