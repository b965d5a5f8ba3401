"""What requirement asks to be on record happens in real daemons and is read back by `chancery audit show`."""
import re
import signal

import pytest

from installation import Installation, within


@pytest.fixture(scope="module")
def provider():
    made = Installation().start()
    try:
        yield made
    finally:
        made.close()


def records(provider, event, component=None):
    """Of an event, the oldest first."""
    words = ["--event", event, "--limit", "100000"] + (["--component", component] if component else [])
    return [leaf["record"] for leaf in provider.json("audit", "show", *words)]


def restart(provider, daemon, number=signal.SIGTERM):
    """The supervisor starts it again."""
    before = provider.pid(daemon)
    provider.kill(daemon, number)
    within(30, lambda: provider.pid(daemon) not in (None, before))


# ---- the life of daemons ----


def test_a_daemon_that_was_killed_says_so_at_its_next_start(provider):
    for daemon, component in (("va", "va"), ("tsa", "tsa"), ("keyd-status", "keyd/status")):
        assert not records(provider, "service.crashed", component)
        restart(provider, daemon, signal.SIGKILL)
        within(20, lambda component=component: len(records(provider, "service.crashed", component)) == 1)
        crashed = records(provider, "service.crashed", component)[0]
        starts = [r["time"] for r in records(provider, "service.started", component)]
        assert crashed["version"] and crashed["started"] <= starts[-2] and crashed["time"] <= starts[-1]


def test_a_daemon_that_was_stopped_in_order_says_nothing(provider):
    restart(provider, "ca")
    within(20, lambda: len(records(provider, "service.stopped", "ca")) == len(records(provider, "service.started", "ca")) - 1)
    assert not records(provider, "service.crashed", "ca")
    assert not records(provider, "software.updated"), "the same programs"


def test_a_changed_configuration_is_named_with_its_settings_and_without_values(provider):
    before = len(records(provider, "configuration.changed", "ca"))
    provider.amend("ca", "crl-life = 23h\nkey-blocklist = /nonexistent")
    provider.kill("ca", signal.SIGHUP)
    within(20, lambda: any(r["outcome"] == "refused" for r in records(provider, "service.reloaded", "ca")))
    assert len(records(provider, "configuration.changed", "ca")) == before, "it is not in force"
    provider.conf("ca").write_text(provider.conf("ca").read_text().replace("key-blocklist = /nonexistent\n", "# a comment\n"))
    provider.kill("ca", signal.SIGHUP)
    within(20, lambda: len(records(provider, "configuration.changed", "ca")) == before + 1)
    changed = records(provider, "configuration.changed", "ca")[-1]
    reloaded = records(provider, "service.reloaded", "ca")[-1]
    assert changed["settings"] == "crl-life" and changed["to"] == reloaded["configuration"] != changed["from"]
    provider.amend("va", "queue = 77")
    restart(provider, "va")
    within(20, lambda: [r["settings"] for r in records(provider, "configuration.changed", "va")] == ["queue"])


def test_another_program_is_an_update(provider):
    life, = (provider.home / "state" / "tsa").glob("life-*")
    text = life.read_text()
    program = records(provider, "service.started", "tsa")[-1]["program"]
    assert program in text
    life.write_text(text.replace(" 0.1.0 " + program, " 0.0.9 " + "ab" * 32))
    provider.kill("tsa", signal.SIGKILL)  # nothing is written on the way out
    within(30, lambda: len(records(provider, "software.updated", "tsa")) == 1)
    updated = records(provider, "software.updated", "tsa")[0]
    assert (updated["from"], updated["to"], updated["before"], updated["program"]) == ("0.0.9", "0.1.0", "ab" * 32, program)
