"""What a fresh installation says while it is founded, started, used and stopped: nothing that is wrong, nothing that nobody can act on."""
import re

from installation import Installation, within

# What is meant: a test clock is a test clock, and whoever reads it can configure another; a kernel without Landlock is a choice too.
MEANT = re.compile(r"tsa warning: TEST: clock = test|warning: this kernel has no Landlock")


def complaints(provider):
    lines = []
    for log in sorted((provider.home / "log").iterdir()):
        lines += [f"{log.name}: {line}" for line in log.read_text(errors="replace").splitlines()
                  if re.search(r" (error|warning): ", line) and not MEANT.search(line)]
    return lines


def test_a_fresh_installation_started_used_and_stopped_has_nothing_to_complain_of():
    provider = Installation()
    try:
        assert complaints(provider) == []
        provider.start()
        certificate, serial = provider.issue("alice")
        within(5, lambda: ": good" in provider.ocsp(certificate))
        provider.check("cert", "revoke", "--serial", serial, "--reason", "keyCompromise")
        within(5, lambda: ": revoked" in provider.ocsp(certificate))
        file = provider.work / "f"
        file.write_text("x")
        provider.check("ts", "request", file)
        provider.check("crl", "issue")
        provider.check("status")
        provider.stop()
        assert complaints(provider) == []
        assert "go on record at the next start" in provider.log_text("keyd-log")
        provider.start()
        stops = lambda: [leaf["record"]["component"] for leaf in provider.json("audit", "show", "--event", "service.stopped")
                         if leaf["by"] != "founding"]
        within(5, lambda: "keyd/log" in stops())
        assert sorted(stops()) == sorted(set(stops())) and len(stops()) == 8, "each daemon's stop is on record once"
        within(15, lambda: provider.call("audit", "verify").returncode in (0, 2))
        provider.stop()
        assert complaints(provider) == []
    finally:
        provider.close()
