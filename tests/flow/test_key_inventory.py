"""The inventory of keys: states, usage periods, counts over restarts and kills, checks of new keys, and what `chancery key` shows of them."""
import base64
import datetime
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest

import keyd_client as kc
from keyd_client import CERTIFICATE, CRL, LOG, OCSP, REQUEST, Refused, wait_for
import keyd_contents as make
from installation import Installation, within
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
        days = [datetime.datetime.fromtimestamp(at / 1_000_000, datetime.timezone.utc).strftime("%Y-%m-%d") for at in (made["created"], made["usage_ends"] - 1)]
        assert client.entry("ca")["attributes"].endswith(f" START_DATE={days[0]} END_DATE={days[1]}")  # of the token's own objects
        assert "DATE" not in client.generate("endless", "ca", purposes=CERTIFICATE)["missing"] and "DATE" not in client.entry("endless")["attributes"]
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


def test_when_a_suspension_is_answered_nothing_is_under_way_any_more():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        keyd.token("ocsp")
        client = keyd.client()
        client.generate("ca", purposes=CERTIFICATE)
        spki = client.generate("ocsp", purposes=OCSP)["spki"]
        got, stop = {"ca": 0, "ocsp": 0}, threading.Event()

        def work(label, purpose, content):
            mine = keyd.client()
            while not stop.is_set():
                for outcome in mine.sign_all([(label, purpose, "ecdsa-sha256", content(), b"")] * 8):
                    if not isinstance(outcome, Refused):
                        with lock:
                            got[label] += 1
                    else:
                        assert outcome.code == "STATE", outcome
                time.sleep(0.01)  # there are others on this machine
            mine.close()

        lock = threading.Lock()
        threads = [threading.Thread(target=work, args=args) for args in
                   [("ca", CERTIFICATE, make.certificate)] * 3 + [("ocsp", OCSP, lambda: make.ocsp_response(spki))] * 2]
        for thread in threads:
            thread.start()
        for _ in range(5):
            time.sleep(0.2)
            client.change("ca", "suspended")
            before = sum(r["event"] == "sign.certificate" for r in records(keyd))
            time.sleep(0.2)
            assert before == sum(r["event"] == "sign.certificate" for r in records(keyd))
            client.change("ca", "active")
        stop.set()
        for thread in threads:
            thread.join()
        assert counted(client, "ca") == got["ca"] == sum(r["event"] == "sign.certificate" for r in records(keyd)) > 0
        assert client.entry("ocsp")["counted"] == got["ocsp"] > 0


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


def test_a_state_file_of_yesterday_brings_no_key_back():
    with kc.Keyd() as keyd:
        keyd.token("ca")
        client = keyd.client()
        for label in ("suspended", "destroyed", "resumed"):
            client.generate(label, "ca", purposes=CERTIFICATE)
        keyd.stop()
        path = os.path.join(keyd.directory, "state", "life")
        yesterday = {label: open(os.path.join(path, label), "rb").read() for label in os.listdir(path)}
        keyd.start()
        client = keyd.client()
        for label in yesterday:
            sign(client, label)
            client.change(label, "suspended")
        client.change("resumed", "active")
        client.change("destroyed", "destroyed")
        assert wait_for(lambda: len(records(keyd, "key.changed")) == 3 + 3 + 2)
        keyd.stop()
        for label, content in yesterday.items():
            open(os.path.join(path, label), "wb").write(content)
        keyd.start()
        client = keyd.client()
        for label in ("suspended", "destroyed"):
            refused("STATE", lambda label=label: sign(client, label))
        sign(client, "resumed")
        assert {label: client.entry(label)["state"] for label in yesterday} == {"suspended": "suspended", "destroyed": "destroyed", "resumed": "active"}
        assert keyd.log().count("is of an earlier time") == 3 and keyd.stop() == 0
        keyd.start()
        assert keyd.client().entry("suspended")["state"] == "suspended" and keyd.log().count("is of an earlier time") == 3


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
    words = {"ec-p256": "n*Q=O", "rsa-3072": "no ROCA", "ed25519": "canonical point"}
    with kc.Keyd() as keyd:
        for i, (type, expected) in enumerate(words.items()):
            keyd.token(type)
            client = keyd.client()
            client.generate(type, type=type, purposes=LOG if type == "ed25519" else CERTIFICATE)
            checks = records(keyd, "key.generated")[i]["checks"]
            assert expected in checks and "pairwise test" in checks
            assert client.entry(type)["checks"] == checks and "SENSITIVE=1" in client.entry(type)["attributes"]


# ---- chancery key ----


@pytest.fixture(scope="module")
def provider():
    made = Installation()
    made.start()
    yield made
    made.close()


def issue(provider, name):
    return provider.call("cert", "issue", "--profile", "ncp-plus-n", "--csr", provider.request(name), "--out", provider.work / f"{name}.pem")


def status(provider):
    return json.loads(provider.call("--json", "status").stdout)


def row(provider, key, *words):
    return next(r for r in provider.json("key", "list", *words) if r["key"] == key)


def test_the_list_says_of_each_key_what_an_auditor_asks_for(provider):
    rows = {r["key"]: r for r in provider.json("key", "list")}
    assert {"log", "issuing", "management", "ocsp-issuing", "tsu"} <= set(rows)
    issuing = rows["issuing"]
    pem = issuing["public key"].split("-----")[2]
    assert issuing["fingerprint"] == hashlib.sha256(base64.b64decode(pem)).hexdigest()
    assert (issuing["algorithm"], issuing["size"], issuing["state"], issuing["token"]) == ("ECDSA", 256, "active", "issuing")
    assert "n*Q=O" in issuing["checks"] and issuing["backup"] == "none" and issuing["limits"]["validity days at most"] > 0
    assert [c["subject"].endswith("CN=TEST Issuing CA") for c in issuing["certificates"]] == [True]
    assert rows["ocsp-issuing"]["certificates"] and rows["tsu"]["certificates"] and not rows["log"]["certificates"]
    table = provider.check("key", "list").splitlines()
    assert all(column in table[0] for column in ("zone", "token", "key", "type", "purposes", "state", "signatures", "certificate"))
    assert len(table) == len(rows) + 1
    shown = provider.check("key", "show", "issuing")
    assert "none is declared" in shown and "BEGIN PUBLIC KEY" in shown and issuing["fingerprint"] in shown
    assert "has a key \"nothing\"" in provider.call("key", "show", "nothing").stderr


def verdicts(provider):
    done = provider.call("--json", "key", "list", "--reconcile")
    return done.returncode, {r["key"]: r["log"]["verdict"] for r in json.loads(done.stdout)}


def test_counts_agree_with_the_log_whatever_was_killed(provider):
    before = provider.directory / "log-before"
    within(20, lambda: row(provider, "issuing")["signatures"].isdigit())
    count = int(row(provider, "issuing")["signatures"])
    shutil.copytree(provider.home / "state" / "auditd" / "log", before)
    for name in ("a", "b", "c"):
        assert issue(provider, name).returncode == 0
    assert within(10, lambda: row(provider, "issuing")["signatures"] == str(count + 3))
    code, said = verdicts(provider)
    assert code == 0 and said["issuing"] == "agrees", said
    provider.kill("keyd-ca")
    within(20, lambda: provider.pid("keyd-ca") and provider.call("key", "list", "--zone", "ca").returncode == 0)
    within(20, lambda: issue(provider, "d").returncode == 0)
    within(20, lambda: row(provider, "issuing")["signatures"].isdigit())
    code, said = verdicts(provider)
    assert code == 0 and said["issuing"] == "agrees" and said["management"] == "agrees", said
    assert int(row(provider, "issuing")["signatures"]) >= count + 4
    done = provider.call("key", "show", "issuing", "--log", before)  # yesterday's log knows less
    assert done.returncode == 1 and "DOES NOT AGREE: keyd counts" in done.stdout
    assert provider.call("key", "show", "management", "--log", provider.work).returncode != 0  # that is no log


def test_a_suspended_key_issues_nothing_until_it_is_resumed(provider):
    assert "reason" in provider.call("key", "suspend", "--zone", "ca", "issuing").stderr
    provider.check("key", "suspend", "--zone", "ca", "--reason", "incident 12", "issuing")
    done = issue(provider, "suspended")
    assert done.returncode != 0 and "suspended" in done.stderr, done.stderr
    assert {"zone": "ca", "key": "issuing", "type": "ec-p256", "state": "suspended"} in status(provider)["keys"]
    provider.check("key", "resume", "--zone", "ca", "--reason", "incident 12 closed", "issuing")
    assert issue(provider, "resumed").returncode == 0
    assert provider.call("key", "resume", "--zone", "ca", "--reason", "again", "issuing").returncode == 7
    moves = [leaf["record"] for leaf in provider.json("audit", "show", "--event", "key.changed")]
    assert [(r["to"], r["reason"]) for r in moves if r["key"] == "issuing"][-2:] == [("suspended", "incident 12"), ("active", "incident 12 closed")]


def test_a_key_with_a_period_and_its_end_by_command(provider):
    ends = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=30)).strftime("%Y-%m-%d")
    words = ("key", "generate", "--zone", "ca", "--token", "issuing", "--purposes", "certificate,crl,request")
    assert "is no date" in provider.call(*words, "--usage-ends", "soon", "spare").stderr
    assert "would end before it began" in provider.call(*words, "--usage-ends", "2020-01-01", "spare").stderr
    made = provider.json(*words, "--usage-ends", ends, "spare")
    assert made["usage ends"].startswith(ends) and made["state"] == "generated"
    last = (datetime.date.fromisoformat(ends) - datetime.timedelta(days=1)).isoformat()
    assert f"END_DATE={last}" in made["attributes"]
    assert any("usage period of key spare" in duty for duty in status(provider)["to do"])
    provider.check("key", "destroy", "--zone", "ca", "--reason", "not needed", "spare")
    assert row(provider, "spare")["state"] == "destroyed"
    assert not any("spare" in duty for duty in status(provider).get("to do", []))


def test_a_token_for_the_identity_of_a_keyd_is_made_with_its_key(provider):
    mistyped = provider.call("key", "generate", "--zone", "cas", "--token", "identity", "--new-token", "--purposes", "identity", "identity")
    assert mistyped.returncode == 5 and "no keyd of zone cas" in mistyped.stderr, mistyped.stderr
    made = provider.json("key", "generate", "--zone", "ca", "--token", "identity", "--new-token", "--purposes", "identity", "identity")
    assert (made["token"], made["purposes"], made["usable"]) == ("identity", "identity", True)
    assert provider.call("key", "generate", "--zone", "ca", "--token", "none", "--purposes", "identity", "other").returncode != 0
    provider.check("key", "destroy", "--zone", "ca", "--reason", "tried", "identity")


#= requirements#C2 alarm on expiry of the certification
@pytest.mark.parametrize("days,says", [(400, None), (60, "ends"), (-2, "ENDED")])
def test_the_end_of_a_certification_is_something_to_do(provider, days, says):
    until = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).strftime("%Y-%m-%d")
    conf = provider.conf("keyd-ca")
    plain = conf.read_text()
    conf.write_text(plain + f"\n[device one]\ntoken = issuing\nscheme = FIPS 140-3\nlevel = 3\ncertificate = 4711\nexpires = {until}\ncopy = safe A\ncopy = safe B\n")
    try:
        provider.kill("keyd-ca", signal.SIGHUP)
        within(10, lambda: row(provider, "issuing")["device"].get("certificate") == "4711")
        device = row(provider, "issuing")["device"]
        assert device["scheme"] == "FIPS 140-3" and device["copies"] == "safe A; safe B" and device["certified until"].startswith(until)
        assert "none is declared" in row(provider, "management")["device"]["certification"]
        duties = status(provider).get("to do", [])
        assert [f"certification of the device of key issuing of zone ca (FIPS 140-3 4711) {says}" in d for d in duties] == ([True] if says else [])
    finally:
        conf.write_text(plain)
        provider.kill("keyd-ca", signal.SIGHUP)
        within(10, lambda: "certificate" not in row(provider, "issuing")["device"])


# ---- a module that makes weak keys ----


def is_prime(n):
    return all(n % p for p in (3, 5, 7, 11, 13, 17, 19, 23)) and pow(2, n - 1, n) == 1


def next_prime(n):
    n |= 1
    while not (is_prime(n) and n % 65537 != 1):
        n += 2
    return n


def numbers(path, p, q):
    """A key as the module's source includes it."""
    d = pow(65537, -1, (p - 1) * (q - 1))
    named = {"modulus": p * q, "private_exponent": d, "prime_1": p, "prime_2": q, "exponent_1": d % (p - 1), "exponent_2": d % (q - 1), "coefficient": pow(q, -1, p)}
    path.write_text("".join(f"static unsigned char {name}[] = {{ {', '.join(map(str, n.to_bytes((n.bit_length() + 7) // 8, 'big')))} }};\n" for name, n in named.items()))


def module_with(directory, p, q):
    source = pathlib.Path(__file__).parent / "preload" / "given_primes.c"
    numbers(directory / "numbers.h", p, q)
    flags = subprocess.run(["pkg-config", "--cflags", "p11-kit-1"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    subprocess.run(["cc", "-shared", "-fPIC", "-Wall", "-Werror", *flags, f'-DNUMBERS="{directory}/numbers.h"', f'-DREAL="{kc.softhsm()}"', source,
                    "-o", directory / "module.so"], check=True)
    return directory / "module.so"


#= requirements#HSM-20 Fermat and ROCA test of what the token generated
@pytest.mark.parametrize("distance,good", [(1 << 1400, True), (2, False)], ids=["apart", "close"])
def test_a_weak_key_of_the_module_is_destroyed_and_refused(tmp_path, distance, good):
    p = next_prime(random.Random(1).getrandbits(1536) | 3 << 1534)
    module = module_with(tmp_path, p, next_prime(p + distance))
    with kc.Keyd(module=module, extra=f"token-directory = {tmp_path}/tokens\n") as keyd:
        keyd.environment["SOFTHSM2_CONF"] = str(tmp_path / "softhsm2.conf")
        keyd.token("ca")
        client = keyd.client()
        if good:  # what is refused below is the weakness, not the way it got in
            made = client.generate("ca", type="rsa-3072", purposes=CERTIFICATE | REQUEST)
            content = make.request(made["spki"])
            make.verify(made["spki"], client.sign("ca", REQUEST, "rsa-pss-sha256", content), content, "rsa-pss-sha256")
            return
        for _ in range(2):  # the label is free again: nothing was left on the token
            message = refused("CRYPTO", lambda: client.generate("ca", type="rsa-3072", purposes=CERTIFICATE | REQUEST))
            assert "lie too close together" in message and "destroyed" in message
        assert client.list() == [] and not records(keyd, "key.generated")
        assert wait_for(lambda: any(r["purpose"] == "generate" and "too close" in r["reason"] for r in records(keyd, "key.refused")))
        client.generate("ca", purposes=CERTIFICATE)  # of another type, which it makes well
