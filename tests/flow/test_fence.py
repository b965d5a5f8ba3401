"""Landlock on real daemons: they make and open nothing outside the directories of their configuration, and say whether it holds."""
import ctypes
import json
import urllib.request

import pytest
from ca_world import Refused, UnixConnection, call
from installation import DAEMONS, Installation, within

CREATE_RULESET, VERSION = 444, 1  # the same on every architecture


def landlock_version():
    return ctypes.CDLL(None, use_errno=True).syscall(CREATE_RULESET, None, 0, VERSION)


@pytest.fixture(scope="module")
def provider():
    made = Installation()
    made.start()
    within(30, lambda: made.call("status").returncode == 0)
    yield made
    made.close()


def local(provider, path, body):
    connection = UnixConnection(str(provider.home / "run" / "ca.sock"))
    try:
        return call(connection, "POST", path, body)[1]
    finally:
        connection.close()


def test_a_daemon_as_root_makes_no_file_outside_its_directories(provider):
    if landlock_version() < 1:
        pytest.skip("this kernel has no Landlock")
    outside = provider.work / "outside.db"
    with pytest.raises(Refused) as refused:
        local(provider, "/v1/backup", dict(path=str(outside)))
    assert "in a directory of the ca's configuration" in refused.value.problem["detail"]
    assert not outside.exists()
    inside = provider.home / "state" / "ca" / "inside.db"
    assert local(provider, "/v1/backup", dict(path=str(inside)))["size"] == inside.stat().st_size


def test_a_backup_may_still_go_anywhere(provider):
    provider.check("backup", provider.work / "backup")
    assert (provider.work / "backup" / "ca.db").stat().st_size > 0
    assert not list((provider.home / "state" / "ca").glob("ca.db.backup-*"))


def test_status_and_health_say_whether_the_fence_holds(provider):
    fenced = landlock_version() >= 1
    for url in (provider.env["CHANCERY_REPOSITORY_URL"], provider.env["CHANCERY_TSA_URL"][:-3]):
        assert json.load(urllib.request.urlopen(url + "healthz", timeout=5))["files_fenced"] == fenced
    assert ("Landlock" in provider.json("status")["files"]) and ("NOT FENCED" in provider.json("status")["files"]) != fenced
    for name in DAEMONS:
        assert ("this kernel has no Landlock" in provider.log_text(name)) != fenced, name


def test_no_daemon_may_write_where_another_keeps_its_keys(provider):
    """The rights of a directory hold for all below it: no path of a configuration may lie so that this is another's state."""
    states = {path.name: path for path in (provider.home / "state").iterdir() if path.is_dir()}
    assert {"keyd-ca", "keyd-log", "ca", "va"} <= set(states)
    for name in DAEMONS:
        for line in provider.conf(name).read_text().splitlines():
            key, _, value = (part.strip() for part in line.partition("="))
            if not value.startswith("../state") or key == "founding-journal":  # that one is opened alone
                continue
            directory = (provider.home / "etc" / value).resolve()
            directory = directory if key.endswith("-directory") else directory.parent
            assert directory.is_relative_to(states[name]), (name, line)
