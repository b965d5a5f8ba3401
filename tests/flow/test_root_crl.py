"""The off-line root's CRL is renewed by one command, and `status` says when that is due."""
import datetime
import subprocess
import time

import pytest
from installation import Installation, within


@pytest.fixture(scope="module")
def provider():
    made = Installation()
    made.start()
    within(10, lambda: made.call("status").returncode == 0)  # the va has its first snapshot
    yield made
    made.close()


def published(provider):
    """Number of the root's CRL that relying parties get, verified with the root's certificate."""
    url = provider.env["CHANCERY_REPOSITORY_URL"] + "crl/root.crl"
    done = subprocess.run(f"curl -sSf {url} | openssl crl -inform DER -noout -crlnumber -CAfile {provider.certificate('root')} -verify",
                          shell=True, capture_output=True, text=True)
    assert "verify OK" in done.stdout + done.stderr, done.stdout + done.stderr
    return int(done.stdout.split("crlNumber=")[1].split()[0], 16)


def root_is_stopped(provider):
    return provider.pid("keyd-root") is None and provider.pid("root-ca") is None


def test_one_command_signs_records_and_publishes_it_and_stops_the_root_again(provider):
    before = published(provider)
    answer = provider.json("crl", "issue", "--ca", "root")
    assert answer["number"] == before + 1
    within(5, lambda: published(provider) == before + 1)
    assert root_is_stopped(provider)
    of_root = [leaf["record"] for leaf in provider.json("audit", "show", "--event", "sign.crl") if leaf["record"]["key"] == "root"]
    assert of_root[-1]["number"] == before + 1, "keyd's own record, brought in from its journal"
    issued = [leaf["record"] for leaf in provider.json("audit", "show", "--event", "crl.issued") if leaf["record"]["ca"] == "root"]
    assert issued[-1]["number"] == before + 1
    ended = [leaf["record"]["component"] for leaf in provider.json("audit", "show", "--event", "service.stopped")]
    assert "keyd/root" in ended[-2:] and "ca" in ended[-2:], "also that the root was stopped"
    within(15, lambda: provider.call("audit", "verify").returncode in (0, 2))


def test_status_says_when_it_is_due_and_with_which_command(provider):
    assert "to do" not in provider.json("status")
    soon = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
    provider.check("crl", "issue", "--ca", "root", "--next-update", soon)
    time.sleep(7)
    done = provider.call("status")
    assert done.returncode == 1 and "the CRL of root ENDED" in done.stdout and "chancery crl issue --ca root" in done.stdout, done.stdout
    provider.check("crl", "issue", "--ca", "root")
    assert "to do" not in provider.json("status")


def test_it_is_refused_before_the_root_is_started_when_the_ca_does_not_answer(provider):
    started = provider.log_text("keyd-root").count("ready after")
    done = provider.call("crl", "issue", "--ca", "nobody")
    assert done.returncode == 5 and "chancery ca list" in done.stderr, done.stderr
    provider.stop()
    done = provider.call("crl", "issue", "--ca", "root")
    assert done.returncode == 10 and "chancery run" in done.stderr, done.stderr
    assert provider.log_text("keyd-root").count("ready after") == started
    provider.start()


def test_a_crl_made_elsewhere_is_published_from_its_file(provider):
    der = provider.work / "root.crl"
    provider.check("crl", "show", "--ca", "root", "--out", der)
    assert provider.call("crl", "publish", der).returncode == 6, "this number is published already"
    issuing = provider.work / "issuing.crl"
    provider.check("crl", "show", "--ca", "issuing", "--out", issuing)
    assert provider.call("crl", "publish", issuing, "--ca", "root").returncode == 12, "of another CA"
