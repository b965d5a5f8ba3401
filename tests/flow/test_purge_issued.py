"""Records of certificates that were erased: who misses them, the ca's reconciliation, `audit reconcile`, keyd's count of signatures, says so and goes on."""
import json
import os
import pathlib

import pytest

import keyd_client as kc
from ca_world import SUBJECT
from purge_world import Purging, copy_of, empty_entry, numbered, put_old
from test_cli_op import Desk

GONE = ("sign.certificate", "certificate.issued")


class Issuing(Purging):
    """alice, bob and carol have certificates; bob's was revoked. Of alice nothing is on record any more, of bob not that keyd signed."""

    def __enter__(self):
        super().__enter__()
        try:
            self.desk, w = Desk(self), self.world
            with open(os.path.join(self.desk.home, "etc", "chancery.conf"), "a", encoding="utf-8") as f:
                f.write(f"[daemon keyd-ca]\nprogram = chancery-keyd\nconfig = {w.keyd.config}\nsocket = {w.keyd.socket_path}\nzone = ca\n")
            self.before = w.keep_database()
            self.serial = {name: w.issue()["serial"] for name in ("alice", "bob", "carol")}
            w.revoke(self.serial["bob"])
            self.auditd.load(1, 400)
            assert self.reconcile()[0] == 0
            wanted = [(event, "alice") for event in GONE] + [("sign.certificate", "bob")]
            self.erased = sorted(self.record(event, self.serial[name]) for event, name in wanted)
            self.purge(self.plan("--records", numbered(self.erased)))
            assert kc.wait_for(lambda: self.empty() == self.erased, 20)
            return self
        except BaseException:
            self.__exit__()
            raise

    def found_cas(self):
        """And one that has no certificate yet, whose CRLs 1 to 5 are of 2015, and the sixth of this year."""
        super().found_cas()
        w = self.world
        w.ca.stop()
        w.write_conf(self.extra)
        w.ca.start()
        w.post("/v1/cas", dict(name="aged", profile="issuing-ca", subject=SUBJECT % "Aged", key="second", request_only=True))
        w.ca.stop()
        for number, year in enumerate([2015] * 5 + [2026], 1):
            at = f"{year}-01-02T03:04:05.000006Z"
            self.old += [self.auditd.status()["size"]] if year == 2015 else []
            put_old(self, 1, "crl.issued", f'"ca":"aged","number":{number},"entries":0,"size":300,"digest":"00","this_update":"{at}","next_update":"{at}"', at)
            self.store_crl(number)
        w.sql("UPDATE authority SET crl_number = 6 WHERE name = 'aged'")
        self.configure(self.extra)
        w.ca.start()

    def store_crl(self, number):
        self.world.sql(f"INSERT INTO crl SELECT id, {number}, {self.world.octets('00')}, 300, 0, 0, 0 FROM authority WHERE name = 'aged'")

    def record(self, event, serial):
        found, = [e["seq"] for e in self.events(event) if int(e["record"]["serial"], 16) == int(serial, 16)]
        return found

    def reconcile(self, log=None):
        """Exit code and report, once nothing waits in the outbox."""
        key = str(pathlib.Path(self.auditd.directory, "log.vkey"))
        self.tool("verify")  # writes the key
        answer = {}

        def done():
            call = self.desk.call("audit", "reconcile", "--key", key, "--log", str(log or self.auditd.log), "--founding", str(self.founding), "--json")
            assert call.stdout, call.stderr
            answer.update(code=call.returncode, report=json.loads(call.stdout))
            return answer["report"]["rows in the outbox"] == 0
        assert kc.wait_for(done, 20)
        return answer["code"], answer["report"]


@pytest.fixture(scope="module")
def site(database):
    with Issuing() as made:
        yield made


def purges(report):
    return sorted((row["about"].lower().lstrip("0"), row["record"]) for row in report["purged"])


def test_what_was_let_go_is_named_with_its_operation_and_is_no_contradiction(site):
    code, report = site.reconcile()
    assert code == 0 and report["verdict"] == "agree" and report["records removed"] == 3 and report["of them missed here"] == 3, report
    bare = {name: serial.lower().lstrip("0") for name, serial in site.serial.items()}
    assert purges(report) == sorted([(bare["alice"], event) for event in GONE] + [(bare["bob"], "sign.certificate")])
    assert all("log.purge by p3, p0, entry " in row["let go by"] for row in report["purged"])


def revoked_long_ago(site):
    """By the database's superuser: what the log may have had, and what it never had."""
    site.world.sql(f"UPDATE status SET state = 1, revoked_at = 1420070400000000 WHERE serial = {site.world.octets(site.serial['carol'])}")


def as_it_was(site):
    site.world.sql(f"UPDATE status SET state = 0, revoked_at = 0 WHERE serial = {site.world.octets(site.serial['carol'])}")


def test_an_operation_explains_only_what_it_can_have_taken(site, tmp_path):
    revoked_long_ago(site)
    # An erasure takes no revocation.
    code, report = site.reconcile()
    assert code == 1 and [f["finding"] for f in report["findings"]] == ["is revoked in the database, and the log does not say so"], report
    as_it_was(site)
    # Nobody let this one go.
    log, young = tmp_path / "log", site.record("certificate.issued", site.serial["carol"])
    copy_of(site.auditd.log, log)
    empty_entry(log, young)
    code, report = site.reconcile(log)
    assert code == 1 and (f"record {young}", "has no content, and no operation of two persons let it go; `chancery audit verify` tells more") in {
        (f["about"], f["finding"]) for f in report["findings"]}, report
    # One that took what was kept until now can have taken what is older than seven years.
    site.purge(site.plan())
    assert kc.wait_for(lambda: site.empty() == sorted([*site.old, *site.erased]), 20)
    revoked_long_ago(site)
    code, report = site.reconcile()
    as_it_was(site)
    assert code == 0 and report["of them missed here"] == 4, report
    assert (site.serial["carol"].lower().lstrip("0"), "certificate.revoked") in purges(report)


def test_crls_whose_records_were_let_go_are_counted_and_no_others(site):
    """Those below the first that the log still has; after the purge by age."""
    code, report = site.reconcile()
    assert code == 0 and report["CRLs whose records were let go"] == 5 and report["CRLs in the database"] > 6, report
    site.store_crl(7)
    code, report = site.reconcile()
    site.world.sql("DELETE FROM crl WHERE number = 7 AND ca = (SELECT id FROM authority WHERE name = 'aged')")
    assert code == 1 and [(f["about"], f["finding"]) for f in report["findings"]] == [
        ("CRL 7 of aged", "is in the database, and the log does not say that it was issued")], report


def counts(site):
    rows = json.loads(site.desk.call("key", "list", "--reconcile", "--json").stdout)
    return next(row for row in rows if row["key"] == "issuing")


def test_keyd_counts_on_and_says_at_least_where_it_has_to_count_again(site):
    w = site.world
    row = counts(site)
    assert row["log"]["verdict"].startswith("agrees, but for 2 signatures"), row
    for _ in range(2):
        before = len(w.keyd.log())
        assert w.keyd.stop() == 0
        w.keyd.start()
        assert kc.wait_for(lambda: counts(site)["signatures"] == row["signatures"], 20), counts(site)
    assert "removed from the log" not in w.keyd.log()[before:]
    # Its own count is lost, and the log is read from its beginning.
    assert w.keyd.stop() == 0
    for path in pathlib.Path(w.keyd.directory).rglob("life/issuing"):
        path.unlink()
    w.keyd.start()
    assert kc.wait_for(lambda: counts(site)["signatures"].startswith("at least"), 20), counts(site)
    assert "records from" in w.keyd.log() and "were removed from the log" in w.keyd.log()
    assert counts(site)["log"]["verdict"].startswith("agrees")
    w.issue()


def test_the_ca_starts_on_a_purged_log_and_says_what_it_cannot_enter_again(site):
    w = site.world
    w.ca.stop()
    before = len(w.ca.log())
    w.ca.start()
    assert "error" not in w.ca.log()[before:], w.ca.log()[before:]
    w.issue()
    w.ca.stop()
    w.restore_database(site.before)
    w.ca.start()
    said = w.ca.log()[before:]
    bob = site.serial["bob"].lower()
    assert f"the log has certificate {bob}" in said and "records that operations removed from the log" in said, said
    assert w.get("/v1/certificates/" + site.serial["carol"])["state"] == "good"
    w.issue()
    assert site.auditd.settled()


def test_a_record_of_the_register_is_never_let_go_and_who_needs_it_says_so(site):
    """Somebody with the files took one: the ca does not start without it."""
    w, path = site.world, pathlib.Path(site.auditd.log, "tile", "entries", "000")
    good, entry = path.read_bytes(), site.events("register.changed")[2]["seq"]
    empty_entry(site.auditd.log, entry)
    w.ca.stop()
    with pytest.raises(AssertionError, match=f"record {entry} of the log: its content was removed, and no operation lets go of what is needed here"):
        w.ca.start()
    path.write_bytes(good)
    w.ca.start()
    w.issue()
