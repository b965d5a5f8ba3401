"""How long records of time-stamps are kept is the provider's to state, within what the standards want: the operation says it, to who approves and to who verifies."""
import pytest

import copy_world as cw
import keyd_client as kc
from ca_world import Refused
from purge_world import Purging, put_old

TOKEN = ('"zone":"time","key":"tsu","algorithm":"ecdsa-sha256","digest":"' + "ab" * 32 + '","serial":"0102","gen_time":"2014-03-01T00:00:00.000000Z",'
         '"tst_info":"MAA="')


@pytest.fixture(scope="module")
def site():
    """Two tokens of twelve years ago, and two of six."""
    with Purging() as made:
        made.stamps = {}
        for year in (2014, 2020):
            first = made.auditd.status()["size"]
            put_old(made, 2, "sign.time_stamp", TOKEN, f"{year}-03-01T00:00:00.000000Z")
            made.stamps[year] = [first, first + 1]
        made.auditd.load(1, 300)
        assert made.auditd.settled()
        yield made


def test_the_time_that_is_stated_decides_and_none_is_shorter_than_the_standards_want(site):
    assert site.plan()["count"] == len(site.old)  # twenty years where none is stated
    assert site.plan("--stamps-kept", "13")["count"] == len(site.old)
    plan = site.plan("--stamps-kept", "7")
    assert plan["count"] == len(site.old) + 2
    assert {row["kept as"]: row["records"] for row in plan["classes"]} == {"system": len(site.old), "time-stamp": 2}
    assert "--stamps-kept 7" in plan["operations"][0]["command"]
    for years in ("6", "101", "0"):
        assert site.tool("purge", "--stamps-kept", years)[0] != 0
        with pytest.raises(Refused):
            site.purge(plan, stamps_kept=years)
    # With an erasure it has nothing to do.
    erasure = {key: value for key, value in plan.items() if key != "kept until"}
    with pytest.raises(Refused):
        site.purge(erasure, stamps_kept=7)


def test_each_place_goes_by_what_the_operation_says(site, tmp_path):
    copy = cw.Copy(tmp_path, site.auditd.spki)
    with open(copy.directory / "copy.conf", "a", encoding="utf-8") as f:
        f.write(f"founding = {site.founding}\nfounding-hash = {site.founding_hash}\n")
    try:
        assert site.auditd.stop() == 0
        with open(site.auditd.config, "a", encoding="utf-8") as f:
            f.write(copy.conf())
        copy.start()
        assert site.auditd.start() and site.auditd.settled()
        plan = site.plan("--stamps-kept", "7")
        # Two persons who do not say it let go what twenty years are for.
        site.purge(plan)
        assert kc.wait_for(lambda: site.events("log.purge_refused"), 20)
        refused, = site.events("log.purge_refused")
        assert f"record {site.stamps[2014][0]} is sign.time_stamp and kept until 2034" in refused["record"]["reason"]
        site.purge(plan, stamps_kept=13)
        assert kc.wait_for(lambda: len(site.events("log.purge_refused")) == 2, 20)
        assert site.empty() == []
        site.purge(plan, stamps_kept=7)
        gone = sorted(site.old + site.stamps[2014])
        assert kc.wait_for(lambda: site.empty() == gone == site.empty(copy.log), 30)
        assert b"copy.purge_refused" not in copy.records()
        code, report = site.tool("verify")
        assert code == 2 and not report.get("findings") and any("with 7 years for time-stamps" in words for words in report["checked"]), report
    finally:
        copy.close()
