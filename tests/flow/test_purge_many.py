"""A log in which old and young records lie side by side, thousands of them: as many operations as it takes, proposed at once, approved and carried out."""
import pathlib

import keyd_client as kc
from control_people import AUTHORITY
from purge_world import AUDITOR, OLD, Purging, named
from test_audit import append, record
from test_cli_op import Desk

RECORDS = 4608


def put_every_other(site, count):
    """Of years ago, and of now."""
    client, made = kc.Client(site.auditd.socket), 0
    first = site.auditd.status()["size"]
    while made < count:
        frame = [record("service.stopped", '"reason":"asked to"') for _ in range(256)]
        append(client, *((identity, text.replace(b"2026-01-02T03:04:05.000006Z", OLD.encode()) if n % 2 == 0 else text)
                         for n, (identity, text) in enumerate(frame)), kind=4)
        made += 256
    client.close()
    return list(range(first, first + count, 2))


def test_thousands_of_ranges_go_in_as_many_operations_as_it_takes():
    with Purging() as site:
        desk = Desk(site)
        old = sorted(site.old + put_every_other(site, RECORDS))
        site.auditd.load(1, 300)
        assert site.auditd.settled()
        key = pathlib.Path(site.auditd.directory, "log.vkey")
        site.tool("verify")  # writes the key
        words = ("audit", "purge", "--as-of", "2025-01-01", "--key", str(key), "--log", site.auditd.log)
        plan = desk.good(*words)
        assert plan["count"] == len(old) and len(plan["operations"]) == 2 and "written to" not in plan
        assert sorted(index for part in plan["operations"] for index in named(part["records"])) == old
        assert plan["approvals"].startswith("4, by 2 persons for each of 2 operations")
        assert "needs --by" in desk.call(*words, "--propose", "to-approve").stderr
        plan = desk.good(*words, "--propose", "to-approve", "--by", "p3", "--reason", "their time is over", "--decision", "d1")
        files = plan["written to"]
        assert files == ["to-approve/purge-1.op", "to-approve/purge-2.op"]
        for file in files:
            assert "their time is over" in desk.good("op", "show", file)["asks for"]
            desk.approve(file, site.person[3], AUDITOR)
            desk.approve(file, site.person[0], AUTHORITY)
            desk.good("op", "execute", file)
        assert kc.wait_for(lambda: site.empty() == old, 40)
        assert [e["record"]["records"] for e in site.events("log.purged")] == [part["count"] for part in plan["operations"]]
        code, report = site.tool("verify")
        assert code == 2 and report["records removed"] == len(old) and not report.get("findings"), report
        plan = desk.good(*words, "--propose", "nothing", "--by", "p3", "--reason", "their time is over", "--decision", "d1")
        assert plan["operations"] == [] and plan["count"] == 0 and plan["next"] == "nothing is to be removed"
