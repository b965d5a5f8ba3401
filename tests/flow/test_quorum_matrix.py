"""The matrix: every operation of the table against everything that is not its quorum, at the sockets of who carries it out. Only the right quorum
succeeds. `pytest -s tests/flow/test_quorum_matrix.py` prints it.

An operation that was added to the table (src/control/control_operation.c) needs a row in ROWS, one that somebody else carries out a line in
EXECUTORS; without them this test fails."""
import datetime
import json
import os
import subprocess

import control_texts as ct
import keyd_client as kc
import keyd_contents as kd
import pytest
from control_people import AUTHORITY, Person
from quorum_world import ADMINISTRATOR, CUSTODIAN, OPERATOR, SECURITY, VAULT, Vault

GOVERNED = [("security", SECURITY), ("p0", AUTHORITY)]
BY_AUTHORITY = [("p0", AUTHORITY), ("p1", AUTHORITY)]
KEPT = [("security", SECURITY), ("administrator", ADMINISTRATOR)]
OPENED = [("security", SECURITY), ("operator", OPERATOR)]
ACTIVATED = [("operator", OPERATOR), ("administrator", ADMINISTRATOR), ("custodian1", CUSTODIAN), ("custodian2", CUSTODIAN)]
DECISION = ("decision", "d1")


def person(name, *more):
    return lambda w: [("person", name), *more]


def key(name, *more):
    return lambda w: [("key", name), *more]


# operation: (who approves it, its parameters, the one that is changed and to what)
ROWS = {
    "person.enrol": (GOVERNED, lambda w: w.newcomer.enrolment(), ("identity", ct.ZERO)),
    "person.key": (GOVERNED, person("subject", ("key", ct.b64(ct.spki(ct.new_key()))), ("reason", "lost")), ("reason", "stolen")),
    "person.training": (GOVERNED, person("subject", ("trained", ct.moment(-60))), ("trained", ct.moment(-50))),
    "person.leave": (GOVERNED, person("leaves", ("reason", "another employer")), ("person", "subject")),
    "decision.take": (BY_AUTHORITY, lambda w: [("decision", "d2"), ("title", "Another")], ("decision", "d3")),
    "role.grant": (GOVERNED, person("subject", ("role", "spokesperson"), DECISION), ("role", "pki-manager")),
    "role.revoke": (GOVERNED, person("spokes", ("role", "spokesperson"), ("reason", "done")), ("person", "subject")),
    "authority.admit": (BY_AUTHORITY, person("admitted", ("quorum", 2)), ("quorum", 3)),
    "authority.dismiss": (BY_AUTHORITY, person("p2", ("quorum", 2)), ("quorum", 3)),
    "management.certificate": (GOVERNED, lambda w: w.naming(("group", "standing"), ("holder", VAULT)), ("certificate", ct.b64(b"another"))),
    "instance.enrol": (GOVERNED, lambda w: [("name", "keyd/new"), ("key", ct.b64(ct.spki(ct.new_key())))], ("name", "keyd/mine")),
    "instance.retire": (GOVERNED, lambda w: [("name", "keyd/old")], ("name", VAULT)),
    "log.purge": ([("security", SECURITY), ("p0", AUTHORITY)],
                  lambda w: [("log", "log.test/flow"), ("size", 512), ("root", "00" * 32), ("records", "3,7-12"), ("count", 7), ("reason", "its time is over"), DECISION],
                  ("records", "3,8-13")),
    "group.create": (KEPT, lambda w: [("group", "second"), ("threshold", 2), *CUSTODIANS, DECISION], ("group", "third")),
    "key.generate": (KEPT, lambda w: generation("fresh"), ("key", "mine")),
    "group.reshare": ([*KEPT, ("p0", AUTHORITY)],
                      lambda w: [("group", "issuing"), ("threshold", 2), *CUSTODIANS, ("reason", "a lost token"), DECISION], ("reason", "another")),
    "group.activate": (ACTIVATED, lambda w: [("group", "sleeping")], ("group", "issuing")),
    "group.deactivate": (OPENED, lambda w: [("group", "standing"), ("reason", "closing time")], ("group", "issuing")),
    "group.reactivate": (OPENED, lambda w: [("group", "ocsp"), ("reason", "it was none")], ("group", "standing")),
    "ca.certify": (KEPT, key("ca", ("subject", "C=BE, CN=Subject TEST"), ("subject-key", ct.sha256(ct.spki(kd.THROWAWAY)).hex()),
                             ("not-after", ct.moment(400 * 86400)), DECISION), ("subject", "C=BE, CN=Somebody Else")),
    "key.suspend": (OPENED, key("working", ("reason", "an incident")), ("key", "ca")),
    "key.resume": (OPENED, key("resting", ("reason", "it was none")), ("key", "ca")),
    "key.destroy": (KEPT, lambda w: [("key", "old"), ("fingerprint", w.fingerprint("old")), DECISION], ("key", "ca")),
    "ca.create": (KEPT, lambda w: [("name", "another"), ("profile", "management-ca"), ("subject", "O=Test Trust Services, CN=TEST Another"), ("key", "root"),
                                   DECISION], ("name", "yet-another")),
    "ca.take-in": (KEPT, lambda w: [("name", "elsewhere"), *w.elsewhere(), DECISION], ("name", "root")),
    "ca.revoke": (KEPT, lambda w: [("ca", "doomed"), ("serial", w.serial("doomed")), ("reason", "cessationOfOperation"), DECISION], ("reason", "superseded")),
    "crl.parameters": (KEPT, lambda w: [("ca", "doomed"), ("crl-hours", 12), DECISION], ("crl-hours", 13)),
}
CUSTODIANS = [("custodian", "custodian1"), ("custodian", "custodian2")]
# who carries it out: (how it is proposed, how it is brought, its name, another's)
EXECUTORS = {"register": (Vault.propose, Vault.bring_to_register, "register", VAULT),
             "ca": (Vault.propose_to_ca, Vault.bring_to_register, "ca", "ca/other"),
             "keyd": (Vault.propose_to_keyd, Vault.bring_to_keyd, VAULT, "keyd/other")}
# Membership of the authority is no trusted role of practice statement 5.2.1: it has no training that could lapse.
NO_TRAINING = {name for name, (approvers, _, _) in ROWS.items() if approvers is BY_AUTHORITY}


def generation(name, *limits):
    return [("group", "issuing"), ("key", name), ("type", "ec-p256"), ("purpose", "request"), ("purpose", "certificate"), ("backup", "none"), *limits,
            DECISION]


class Trial:
    """One operation, to be brought in all ways."""

    def __init__(self, world, name, executor):
        self.world, self.name = world, name
        self.good, parameters, self.change = ROWS[name]
        self.parameters = parameters(world)
        self.propose_, bring, self.instance, self.other = EXECUTORS[executor]
        self.bring = Vault.bring_activation if name == "group.activate" else bring
        self.doors = 2 if name == "group.activate" else 1

    def approved(self, approvers, **more):
        made = self.propose_(self.world, self.name, *self.parameters, *more.pop("values", ()), **more)
        return self.world.approved(made, approvers, more.get("proposed", 0))

    def fifth(self):
        """Of the authority or security, and none of those who approve already."""
        return next(f for f in (("p2", AUTHORITY), ("security", SECURITY)) if f not in self.good)

    def instead(self, which):
        """The first of the right ones is the one of this kind of the same role."""
        (_, role), *rest = self.good
        return [self.approved([(f"{which}-{role}", role), *rest])]


def nobody(t):
    return [t.approved([])]


def one_person(t):
    return [t.approved(t.good[:1])]


def same_person_twice(t):
    return [t.approved([t.good[0], t.good[0], *t.good[2:]])]


def two_of_the_wrong_group(t):
    """As what they are, and as what they are not."""
    wrong = [("operator", OPERATOR), ("administrator", ADMINISTRATOR)] if t.name == "log.purge" else [(name, "system-auditor") for name in ("auditor1", "auditor2")]
    return [t.approved([*wrong, *t.good[2:]]), t.approved([(name, role) for (name, _), (_, role) in zip(wrong, t.good)] + t.good[2:])]


def lapsed_training(t):
    return [] if t.name in NO_TRAINING else t.instead("lapsed")


def role_revoked(t):
    return t.instead("taken")


def certificate_revoked(t):
    return t.instead("revoked")


def expired_proposal(t):
    return [t.approved(t.good, proposed=-7200)]


def changed_parameter(t):
    made, (name, value) = t.approved(t.good), t.change
    old = next(str(v) for n, v in t.parameters if n == name)
    made.text, before = made.text.replace(f"\n{name}: {old}\n", f"\n{name}: {value}\n"), made.text
    assert made.text != before
    return [made]


def other_instances_proposal(t):
    made = t.approved([])
    made.text = made.text.replace(f"\ninstance: {t.instance}\n", f"\ninstance: {t.other}\n")
    return [t.world.approved(made, t.good)]


def crl_too_old(t):
    return [t.approved(t.good, crl=t.world.old_crl)]


def crl_too_old_five(t):
    """As the group of the management CA's own key may be activated, and no other: said in the proposal, approved by one person more."""
    said = [("old-crl", ct.moment(kd.now() - datetime.timedelta(hours=OLD)))] if t.name == "group.activate" else []
    return [t.approved([*t.good, t.fifth()], crl=t.world.old_crl, values=said)]


def crl_from_before(t):
    return [t.approved(t.good, crl=t.world.earlier_crl)]


def right_quorum(t):
    t.done = t.approved(t.good)
    return [t.done]


def replayed_approval(t):
    """The operation that was carried out, once more; and its approvals put to the same proposal made anew."""
    anew = t.approved([])
    anew.approvals = t.done.approvals
    return [t.done, anew]


def state_of_yesterday(t):
    """Proposed before keyd was stopped and its state put back, by the right quorum."""
    return [t.kept] if t.instance == VAULT else []


# column: (how it is brought, one of these codes, and each refusal says one of these)
REFUSED = {
    "nobody": (nobody, {"DENIED"}, ["needs "]),
    "one person": (one_person, {"DENIED"}, ["needs "]),
    "same person twice": (same_person_twice, {"DENIED"}, ["approves twice"]),
    "two of the wrong group": (two_of_the_wrong_group, {"DENIED"}, ["has no say in", "auditor1 is not ", "operator is not "]),
    "lapsed training": (lapsed_training, {"DENIED"}, ["older than 12 months"]),
    "role revoked": (role_revoked, {"DENIED"}, ["is not "]),
    "certificate revoked": (certificate_revoked, {"DENIED"}, ["is revoked"]),
    "expired proposal": (expired_proposal, {"STATE"}, ["the proposal has expired"]),
    "changed parameter": (changed_parameter, {"CRYPTO"}, ["the approval of "]),
    "other instance's proposal": (other_instances_proposal, {"DENIED"}, ["the proposal is for "]),
    "CRL too old": (crl_too_old, {"STATE"}, ["not of the last 24 hours"]),
    "CRL too old, five": (crl_too_old_five, {"STATE"}, ["not of the last 24 hours"]),
    "CRL from before": (crl_from_before, {"STATE"}, ["older than CRL"]),
    "replayed approval": (replayed_approval, {"CONFLICT", "STATE", "CRYPTO"}, ["was carried out already", "it was used", "the approval of "]),
    "state of yesterday": (state_of_yesterday, {"STATE"}, ["put back from a copy"]),
}
BEFORE = 13  # columns, then comes the right quorum
OLD = 49  # hours: older than a management CRL may be
COLUMNS = [*list(REFUSED)[:BEFORE], "right quorum", *list(REFUSED)[BEFORE:]]


def table():
    told = subprocess.run([os.path.join(kc.BUILD, "src", "chancery"), "op", "table", "--json"], capture_output=True, text=True, check=True).stdout
    return {row["operation"]: row["carried out by"] for row in json.loads(told)}


class Matrix:
    def __init__(self, world):
        self.world = world
        self.cell = {}     # (operation, column): refusals; one more for each door and each way
        self.changed = []  # what was done for those who are not its quorum: (operation, what, before, after)
        self.undone = []   # operations of which nothing was done by its quorum
        world.newcomer = Person("newcomer")

    def set_up(self):
        """Groups and keys in the states that the operations start from."""
        w = self.world
        for group in ("issuing", "sleeping", "standing"):
            self.carried_out(w, "group.create", [("group", group), ("threshold", 2), *CUSTODIANS, DECISION], KEPT)
        w.keep_state()
        for group in ("issuing", "standing"):
            assert w.bring_activation(w.approved(w.propose_to_keyd("group.activate", ("group", group)), ACTIVATED)) == []
        self.carried_out(w, "key.generate", generation("ca", ("issues-to-cas", "yes")), KEPT)
        w.use("ca")
        assert not w.certifies()
        for name in ("working", "resting", "old"):
            self.carried_out(w, "key.generate", generation(name), KEPT)
            w.use(name)
        w.keyd.token("ocsp")
        self.carried_out(w, "group.deactivate", [("group", "ocsp"), ("reason", "to be brought back")], OPENED)
        w.create_ca("doomed", "second")
        w.decide("d-seen")  # so that the register has seen the newest CRL too
        number = w.management_crl[0]
        w.old_crl, w.earlier_crl = w.crl_of_ago(number + 1, OLD), w.crl_of_ago(number - 1, 1)
        self.carried_out(w, "key.suspend", [("key", "resting"), ("reason", "to be resumed")], OPENED)

    @staticmethod
    def carried_out(w, operation, parameters, approvers):
        w.execute_at_keyd(w.approved(w.propose_to_keyd(operation, *parameters), approvers))

    def bring(self, trial, column, way):
        self.cell[trial.name, column] = [trial.bring(self.world, made) for made in way(trial)]

    def row(self, trial):
        before = self.world.contents()
        for column in COLUMNS[:BEFORE]:
            self.bring(trial, column, REFUSED[column][0])
        self.compare(trial.name, before)
        self.bring(trial, "right quorum", right_quorum)
        after = self.world.contents()
        if after == before:
            self.undone.append(trial.name)
        self.bring(trial, "replayed approval", replayed_approval)
        self.compare(trial.name, dict(after, **{"CA certificate": False}))  # the one that was allowed is signed

    def run(self, rows):
        self.set_up()
        trials = [Trial(self.world, name, executor) for name, executor in rows.items()]
        for trial in trials:
            self.row(trial)
        for trial in trials:
            trial.kept = trial.approved(trial.good)
        self.world.put_state_back()
        before = self.world.contents()
        for trial in trials:
            self.bring(trial, "state of yesterday", state_of_yesterday)
        self.compare("state of yesterday", before)
        return self

    def compare(self, name, before):
        after = self.world.contents()
        self.changed += [(name, what, before[what], after[what]) for what in after if after[what] != before[what]]

    def outcome(self, operation, column):
        """For the table."""
        refusals = [refusal for each in self.cell[operation, column] for refusal in each]
        if not self.cell[operation, column]:
            return "-"
        return "/".join(dict.fromkeys(code for code, _ in refusals)) or "done"

    def print(self):
        heads = {column: column.split(" ") for column in COLUMNS}
        width = {c: max(map(len, heads[c] + [self.outcome(name, c) for name in ROWS])) for c in COLUMNS}
        print()
        for i in range(max(map(len, heads.values()))):
            print(" " * 24 + "  ".join((heads[c] + [""] * 5)[i].ljust(width[c]) for c in COLUMNS).rstrip())
        for name in ROWS:
            print(name.ljust(24) + "  ".join(self.outcome(name, c).ljust(width[c]) for c in COLUMNS).rstrip())


@pytest.fixture(scope="module")
def matrix():
    rows = table()
    with Vault() as world:
        made = Matrix(world).run({name: rows[name] for name in ROWS})
        made.print()
        yield made


#= tsps#5.2.2 every critical operation of the table has a row here
def test_every_operation_of_the_table_is_in_the_matrix():
    assert set(table()) == set(ROWS), "ROWS of this test has a row for each operation of control_operation.c, and no other"
    assert set(table().values()) <= set(EXECUTORS), "EXECUTORS of this test has a line for everybody who carries operations out"


#= tsps#5.2.2 nobody but the quorum of distinct, trained, present persons of the right groups
@pytest.mark.parametrize("column", REFUSED)
def test_what_is_not_the_right_quorum_is_refused_for_that_reason(matrix, column):
    way, codes, words = REFUSED[column]
    for name in ROWS:
        brought = matrix.cell[name, column]
        left_out = (column == "lapsed training" and name in NO_TRAINING) or (column == "state of yesterday" and table()[name] != "keyd")
        assert bool(brought) != left_out, f"{name}, {column}"
        for refusals in brought:
            assert len(refusals) == (2 if name == "group.activate" else 1), f"{name} was carried out: {column}"
            for code, message in refusals:
                assert code in codes and any(word in message for word in words), f"{name}, {column}: {code}: {message}"


def test_the_right_quorum_and_nothing_else_changes_anything(matrix):
    assert [name for name in ROWS if matrix.cell[name, "right quorum"] != [[]]] == []
    assert matrix.undone == [] and matrix.changed == []


def test_who_edits_the_database_gets_nothing_more(matrix):
    """Every text in it that names a role or a person of the wrong ones is made the right one's, by the superuser, while the ca is stopped."""
    w, before = matrix.world, matrix.world.register()
    w.world.ca.stop()
    edits = [("operator", "authority-member"), ("auditor1", "p0"), ("auditor2", "p1"), ("system-auditor", SECURITY)]
    for name in w.sqlite("select name from sqlite_master where type = 'table'").split():
        for column in w.sqlite(f"select name from pragma_table_info('{name}') where type like '%text%'").split():
            w.sqlite(*[f"update {name} set {column} = '{to}' where {column} = '{was}'" for was, to in edits])
    w.world.ca.start()
    for name in (name for name, executor in table().items() if executor == "register"):
        trial = Trial(w, name, "register")
        for column in ("nobody", "one person", "two of the wrong group", "role revoked", "changed parameter"):
            way, codes, words = REFUSED[column]
            for code, message in [refusal for made in way(trial) for refusal in trial.bring(w, made) or [("OK", "was carried out")]]:
                assert code in codes and any(word in message for word in words), f"{name}, {column}: {code}: {message}"
    assert w.register() == before


def test_every_refusal_is_on_record(matrix):
    assert len(matrix.world.records("operation.refused")) == matrix.world.refusals > 200


def test_with_its_state_made_anew_from_the_log_keyd_serves_the_quorum_again(matrix):
    w = matrix.world
    w.rebuild_state()
    assert w.bring_activation(w.approved(w.propose_to_keyd("group.activate", ("group", "sleeping")), ACTIVATED)) == []
