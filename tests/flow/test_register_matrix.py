"""The matrix of the register: every operation of it, brought to the ca by nobody, by one person, by the same twice and so on; only the right
quorum succeeds. Printed as a table (pytest -s)."""
import datetime
import subprocess

import pytest

from ca_world import Refused, until
from installation import BUILD
from register_world import AUTHORITY, Operation, Site, moment, now

HR, OPERATOR = "hr-manager", "pki-operator"
DONE = "carried out"


def people(site):
    """p3 HR manager, p4 PKI operator, p5 HR manager with a certificate, p6 HR manager whose training lapses, p7 HR manager who left."""
    p = site.person
    serial = site.world.component("bo", "operator")["serial"]
    site.decide()
    for person in (p[3], p[4], p[7]):
        site.enrol(person)
    site.by_founders("person.enrol", ("person", "p5"), ("key", p[5].spki), ("certificate-serial", serial), ("identity", p[5].identity),
                     ("screened", moment(now())), ("trained", moment(now())))
    lapses = now() + datetime.timedelta(seconds=2)
    site.enrol(p[6], trained=lapses.replace(year=lapses.year - 1))
    for person, role in ((p[6], HR), (p[3], HR), (p[4], OPERATOR), (p[5], HR), (p[7], HR)):
        site.grant(person, role)
    site.by_founders("person.leave", ("person", "p7"), ("reason", "another employer"))
    until(lambda: site.roles(p[6]) == [], 10)
    return serial


def rows(site):
    """(operation, its parameters, the same with another value), in an order in which each can be carried out."""
    p = site.person
    today, yesterday = moment(now()), moment(now() - datetime.timedelta(days=1))
    enrol = [("person", "p8"), ("key", p[8].spki), ("identity", p[8].identity), ("screened", yesterday), ("trained", yesterday)]
    return [("management.certificate", site.naming(), ("certificate", site.certificate("root"))),
            ("person.enrol", enrol, ("key", p[9].spki)),
            ("person.key", [("person", "p8"), ("key", p[10].spki), ("reason", "a new token")], ("key", p[9].spki)),
            ("person.training", [("person", "p8"), ("trained", today)], ("trained", yesterday)),
            ("decision.take", [("decision", "d5"), ("title", "Another")], ("title", "Something else")),
            ("role.grant", [("person", "p8"), ("role", "spokesperson"), ("decision", "d5")], ("role", HR)),
            ("role.revoke", [("person", "p8"), ("role", "spokesperson"), ("reason", "done")], ("person", "p3")),
            ("authority.admit", [("person", "p8"), ("quorum", "2")], ("quorum", "3")),
            ("authority.dismiss", [("person", "p8"), ("quorum", "2")], ("person", "p0")),
            ("instance.enrol", [("name", "keyd/x"), ("key", p[11].spki)], ("key", p[9].spki)),
            ("instance.retire", [("name", "keyd/x")], ("name", "keyd/ca")),
            ("person.leave", [("person", "p8"), ("reason", "another employer")], ("person", "p3"))]


class Attempt:
    """One proposal of a row; what approvals it gets is the column's matter."""

    def __init__(self, site, operation, values, changed, old_crl):
        self.site, self.operation, self.values, self.changed, self.old_crl = site, operation, values, changed, old_crl
        self.p = site.person

    def propose(self, **more):
        return self.site.propose(self.operation, *self.values, **more)

    def nobody(self):
        return self.propose()

    def one(self):
        return self.propose().approve(self.p[0])

    def same_twice(self):
        return self.propose().approve(self.p[0]).approve(self.p[0])

    def wrong_group(self):
        return self.propose().approve(self.p[0]).approve(self.p[4], OPERATOR)

    def lapsed(self):
        return self.propose().approve(self.p[0]).approve(self.p[6], HR)

    def left(self):
        return self.propose().approve(self.p[0]).approve(self.p[7], HR)

    def revoked(self):
        return self.propose().approve(self.p[0]).approve(self.p[5], HR)

    def unknown(self):
        return self.propose().approve(self.p[0]).approve(self.p[9])

    def expired(self):
        before = -2 * 3600
        return self.propose(proposed=before).approve(self.p[0], when=before).approve(self.p[1], when=before)

    def parameter(self):
        made = self.propose().approve(self.p[0]).approve(self.p[1])
        name, value = self.changed
        old = dict(self.values)[name]
        assert f"\n{name}: {old}\n" in made.text
        made.text = made.text.replace(f"\n{name}: {old}\n", f"\n{name}: {value}\n")
        return made

    def replayed(self):
        """Approvals of the same operation, given to another proposal of it."""
        made, earlier = self.propose(), self.propose().approve(self.p[0]).approve(self.p[1])
        made.approvals = earlier.approvals
        return made

    def instance(self):
        return self.propose(instance="keyd/ca").approve(self.p[0]).approve(self.p[1])

    def old_crl_(self):
        return self.propose(crl=self.old_crl).approve(self.p[0]).approve(self.p[1])

    def quorum(self):
        self.carried = self.propose().approve(self.p[0]).approve(self.p[1])
        return self.carried

    def again(self):
        return Operation(self.carried.text, self.carried.crl).approve(self.p[0]).approve(self.p[2])


COLUMNS = ["nobody", "one", "same_twice", "wrong_group", "lapsed", "left", "revoked", "unknown", "expired", "parameter", "replayed", "instance",
           "old_crl_", "quorum", "again"]
WITH_MANAGEMENT = ("revoked", "old_crl_")  # say something once the register has a management CA


def bring(site, made):
    before = site.register()
    try:
        site.execute(made)
        return DONE
    except Refused as refused:
        assert site.register() == before, refused.problem
        return refused.code


@pytest.fixture(scope="module")
def table():
    with Site() as site:
        site.found_cas()
        serial, old_crl, out = people(site), None, {}
        for operation, values, changed in rows(site):
            attempt = Attempt(site, operation, values, changed, old_crl)
            columns = [c for c in COLUMNS if old_crl or c not in WITH_MANAGEMENT]
            out[operation] = {column: bring(site, getattr(attempt, column)()) for column in columns}
            if operation == "management.certificate":
                old_crl = site.new_crl()
                site.world.revoke(serial)
                site.management_crl = site.new_crl()
                site.decide("d-new-crl")  # from here on the newer one has been seen
        refusals = sum(code != DONE for row in out.values() for code in row.values())
        on_record = len(site.records("operation.refused"))
    width = max(map(len, out))
    print("\n" + " " * width, *(f"{c.strip('_'):<11}" for c in COLUMNS))
    for operation, row in out.items():
        print(f"{operation:<{width}}", *(f"{row.get(c, '-'):<11}" for c in COLUMNS))
    assert on_record == refusals  # each of them
    yield out


#= tsps#5.2.2 only the right quorum succeeds, with every operation
@pytest.mark.parametrize("column", COLUMNS)
def test_only_the_right_quorum_succeeds(table, column):
    for operation, row in table.items():
        if column in row:
            assert (row[column] == DONE) == (column == "quorum"), (operation, row[column])


def test_every_operation_of_the_register_stands_in_the_table(table):
    printed = subprocess.run([BUILD / "src" / "chancery", "reference", "operations"], capture_output=True, text=True, check=True).stdout
    there = {line.split("`")[1] for line in printed.splitlines() if line.startswith("| `") and line.split("|")[2].strip() == "register"}
    # Its two seats are other people's: it stands in the table of test_quorum_matrix.py.
    assert there == {*table, "log.purge"}
