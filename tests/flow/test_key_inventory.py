"""The inventory of keys: states, usage periods, counts over restarts and kills, checks of new keys, and what `chancery key` shows of them."""
import hashlib
import os
import signal
import time

import pytest

import keyd_client as kc
from keyd_client import CERTIFICATE, CRL, LOG, OCSP, REQUEST, Refused, wait_for
import keyd_contents as make
from test_keyd_life import records


def sign(client, label="ca", times=1):
    for _ in range(times):
        client.sign(label, CERTIFICATE, "ecdsa-sha256", make.certificate())


def refused(code, call):
    with pytest.raises(Refused) as refusal:
        call()
    assert refusal.value.code == code, refusal.value
    return refusal.value.message


def moment(seconds_from_now):
    return int((time.time() + seconds_from_now) * 1_000_000)


def test_a_key_lives_through_its_states_and_each_move_is_on_record():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        client = keyd.client()
        spki = client.generate("ca", purposes=CERTIFICATE | REQUEST)["spki"]
        assert client.entry("ca")["state"] == "generated"
        client.sign("ca", REQUEST, "ecdsa-sha256", make.request(spki))
        assert client.entry("ca")["state"] == "generated"  # it has proved possession, no more
        assert "generated and cannot become suspended" in refused("STATE", lambda: client.change("ca", "suspended"))
        sign(client)
        assert client.entry("ca")["state"] == "active"
        assert client.change("ca", "suspended", "ceremony 7")["state"] == "suspended"
        for call in (lambda: sign(client), lambda: client.sign("ca", REQUEST, "ecdsa-sha256", make.request(spki))):
            assert "suspended since" in refused("STATE", call)
        assert keyd.stop() == 0
        keyd.start()
        client = keyd.client()
        assert client.entry("ca")["state"] == "suspended"
        refused("STATE", lambda: sign(client))
        assert client.change("ca", "active", "ceremony 8")["state"] == "active"
        sign(client)
        assert "there is nothing to resume" in refused("STATE", lambda: client.change("ca", "active"))
        for to in ("generated", "planned", "expired"):
            refused("INPUT", lambda to=to: client.change("ca", to))
        refused("NOTFOUND", lambda: client.change("none", "suspended"))
        refused("INPUT", lambda: client.change("ca", "suspended", ""))
        assert wait_for(lambda: len(records(keyd, "key.changed")) == 3)
        moves = [(r["from"], r["to"], r["reason"]) for r in records(keyd, "key.changed")]
        assert moves == [("generated", "active", "first use: certificate"), ("active", "suspended", "ceremony 7"), ("suspended", "active", "ceremony 8")]
        assert records(keyd, "key.changed")[1]["actor"] == f"uid {os.geteuid()}"
        assert wait_for(lambda: any(r["purpose"] == "change" and "cannot become suspended" in r["reason"] for r in records(keyd, "key.refused")))


def test_a_destroyed_key_is_gone_from_its_token_and_stays_in_the_list():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        client = keyd.client()
        client.generate("ca", purposes=CERTIFICATE)
        client.generate("other", "ca", purposes=CERTIFICATE)
        sign(client)
        assert client.change("ca", "destroyed", "end of life")["state"] == "destroyed"
        assert "was destroyed" in refused("STATE", lambda: sign(client))
        assert "the end of its life" in refused("STATE", lambda: client.change("ca", "destroyed"))
        refused("STATE", lambda: client.change("ca", "suspended"))
        refused("CONFLICT", lambda: client.generate("ca", purposes=CERTIFICATE))  # its label stays taken
        sign(client, "other")
        assert keyd.stop() == 0
        keyd.start()
        client = keyd.client()
        entry = client.entry("ca")
        assert entry["state"] == "destroyed" and wait_for(lambda: client.entry("ca")["recorded"] == 1)
        # Nothing of it is left: a file that says "active" again brings nothing back.
        keyd.stop()
        path = os.path.join(keyd.directory, "state", "life", "ca")
        kept = bytearray(open(path, "rb").read())
        kept[2] = kc.Client.STATES.index("active")
        open(path, "wb").write(kept)
        keyd.start()
        refused("NOTFOUND", lambda: sign(keyd.client()))


def test_what_was_left_of_a_destroyed_key_goes_at_the_next_start():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        client = keyd.client()
        client.generate("ca", purposes=CERTIFICATE)
        sign(client)
        keyd.stop()
        path = os.path.join(keyd.directory, "state", "life", "ca")
        kept = bytearray(open(path, "rb").read())
        for state in ("destroyed", "active"):  # as after a kill between record and token; then nothing can bring it back
            kept[2] = kc.Client.STATES.index(state)
            open(path, "wb").write(kept)
            keyd.start()
            refused("STATE" if state == "destroyed" else "NOTFOUND", lambda: sign(keyd.client()))
            keyd.stop()
        assert "was left on its token after its end" in keyd.log()


#= requirements#HSM-02 usage period
def test_a_key_signs_nothing_after_its_usage_period():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        client = keyd.client()
        refused("INPUT", lambda: client.generate("past", "ca", purposes=CERTIFICATE, usage_ends=moment(-1)))
        made = client.generate("ca", purposes=CERTIFICATE, usage_ends=moment(4))
        assert made["usage_ends"] > 0 and "usage_ends=" in records(keyd, "key.generated")[0]["limits"]
        sign(client)
        assert wait_for(lambda: client.entry("ca")["state"] == "expired", 6)
        assert "usage period" in refused("STATE", lambda: sign(client))
        refused("STATE", lambda: client.change("ca", "active"))
        assert wait_for(lambda: [r["to"] for r in records(keyd, "key.changed")] == ["active", "expired"])
        keyd.stop()
        keyd.start()
        client = keyd.client()
        entry = client.entry("ca")
        assert entry["state"] == "expired" and entry["since"] >= entry["usage_ends"] == made["usage_ends"]
        assert client.change("ca", "destroyed")["state"] == "destroyed"


def counted(client, label):
    """The count, once it is known to be right."""
    assert wait_for(lambda: not client.entry(label)["at_least"]), client.entry(label)
    entry = client.entry(label)
    assert entry["recorded"] == entry["offered"]
    return entry["recorded"]


def test_signatures_are_counted_over_restarts_and_kills():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        client = keyd.client()
        spki = client.generate("ca", purposes=CERTIFICATE | CRL | REQUEST)["spki"]
        client.generate("other", "ca", purposes=CERTIFICATE)
        assert counted(client, "ca") == 0
        sign(client, times=5)
        client.sign("ca", REQUEST, "ecdsa-sha256", make.request(spki))
        client.sign_stream("ca", CRL, "ecdsa-sha256", make.crl())
        refused("INPUT", lambda: client.sign("ca", CERTIFICATE, "ecdsa-sha256", b"rubbish"))
        sign(client, "other", 2)
        assert (counted(client, "ca"), counted(client, "other")) == (7, 2)
        expected = 7
        for how, pause in ((signal.SIGTERM, 0), (signal.SIGKILL, 0), (signal.SIGKILL, 3)):  # before and after the file was written
            sign(client, times=3)
            expected += 3
            time.sleep(pause)
            keyd.stop(how)
            keyd.start()
            client = keyd.client()
            assert (counted(client, "ca"), counted(client, "other")) == (expected, 2)
            assert expected == sum(r["key"] == "ca" for r in records(keyd) if r["event"].startswith("sign."))


def test_the_count_does_not_trust_a_file_of_yesterday():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        client = keyd.client()
        client.generate("ca", purposes=CERTIFICATE)
        sign(client, times=2)
        keyd.stop()
        path = os.path.join(keyd.directory, "state", "life", "ca")
        yesterday = open(path, "rb").read()
        keyd.start()
        sign(keyd.client(), times=4)
        keyd.stop()
        for content in (yesterday, None):  # put back, and lost
            if content is None:
                os.unlink(path)
            else:
                open(path, "wb").write(content)
            keyd.start()
            assert counted(keyd.client(), "ca") == 6
            keyd.stop()
        open(path, "wb").write(b"rubbish")
        with pytest.raises(AssertionError):
            keyd.start()
        assert "life/ca cannot be used" in keyd.log()
        keyd.process = None


def test_answers_and_checkpoints_are_counted_and_a_kill_is_said():
    with kc.Keyd() as keyd:
        keyd.token("ocsp")
        keyd.token("log")
        client = keyd.client()
        spki = client.generate("ocsp", purposes=OCSP)["spki"]
        client.generate("log", type="ed25519", purposes=LOG)

        def both():
            return [(e["counted"], e["at_least"]) for e in (client.entry("ocsp"), client.entry("log"))]

        for _ in range(3):
            client.sign("ocsp", OCSP, "ecdsa-sha256", make.ocsp_response(spki))
        root = hashlib.sha256(b"\0x").digest()
        for _ in range(2):
            client.checkpoint("log", "log.test/a", 1, root)
        assert both()[0][0] == 3 and both()[1][0] == 2
        assert client.entry("ocsp")["recorded"] == 0  # not one by one
        assert wait_for(lambda: client.entry("ocsp")["counted_recorded"] == 3)
        keyd.stop()
        keyd.start()
        client = keyd.client()
        assert wait_for(lambda: both() == [(3, False), (2, False)]), both()
        client.checkpoint("log", "log.test/a", 1, root)
        client.sign("ocsp", OCSP, "ecdsa-sha256", make.ocsp_response(spki))
        keyd.stop(signal.SIGKILL)
        keyd.start()
        client = keyd.client()
        assert wait_for(lambda: all(at_least for _, at_least in both()))
        assert wait_for(lambda: records(keyd, "ocsp.gap"))
        time.sleep(0.5)
        assert all(at_least for _, at_least in both())  # it stays so: nobody knows


def test_a_new_key_is_checked_and_the_words_are_on_record():
    words = {"ec-p256": "n*Q=O", "rsa-3072": "no ROCA fingerprint", "ed25519": "canonical point"}
    with kc.Keyd() as keyd:
        for i, (type, expected) in enumerate(words.items()):
            keyd.token(type)
            client = keyd.client()
            client.generate(type, type=type, purposes=LOG if type == "ed25519" else CERTIFICATE)
            checks = records(keyd, "key.generated")[i]["checks"]
            assert expected in checks and "pairwise test" in checks
            assert client.entry(type)["checks"] == checks and "SENSITIVE=1" in client.entry(type)["attributes"]
