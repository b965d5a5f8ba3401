"""File systems that are full, for the audit log and for the ca's database: nothing is signed that is not on record, nothing is half done,
and service resumes by itself as soon as there is room. Each lies on a tmpfs of its own, filled to the last page while clients work."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import time

import ca_world
import pytest
import test_postgres as flows
from fault_world import World, account, calls_in
from postgres import Cluster

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a tmpfs")
LONG = os.environ.get("CHANCERY_LONG", "0") == "1"
FILLS = 4 if LONG else 1


class Small:
    """A directory moved onto a tmpfs of so many megabytes."""

    def __init__(self, directory, megabytes):
        self.directory, self.filler = directory, directory / "filler"
        away = directory.with_name(directory.name + ".away")
        directory.rename(away)
        directory.mkdir(mode=0o755)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "none", directory], check=True)
        shutil.copytree(away, directory, dirs_exist_ok=True)
        shutil.rmtree(away)

    def fill(self):
        """Again and again: what is freed meanwhile, by files that are written anew, goes too."""
        with open(self.filler, "ab", buffering=0) as f:
            with contextlib.suppress(OSError):
                while True:
                    f.write(bytes(4096))

    def keep_full(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.fill()
            time.sleep(0.02)

    def empty(self):
        self.filler.unlink()

    def unmount(self):
        subprocess.run(["umount", "-l", self.directory], check=True)


@contextlib.contextmanager
def world_on(what, megabytes):
    small = []
    made = World(before_start=lambda provider: small.append(Small(provider.home / "state" / what, megabytes)))
    try:
        yield made, small[0]
    finally:
        made.provider.stop()
        small[0].unmount()
        made.close()


def signed(world, *zones):
    return sum(len(calls_in(world.lives_of(zone))) for zone in zones)


def pids(world):
    return {name: world.provider.pid(name) for name in ("ca", "va", "tsa", "auditd", "keyd-ca", "keyd-time", "keyd-status", "keyd-log")}


def refusal(world):
    """What a person is told."""
    provider = world.provider
    refused = provider.call("cert", "issue", "--profile", "ncp-plus-n", "--csr", provider.request(), "--out", provider.work / "refused.pem")
    assert refused.returncode == 10, refused.stderr
    return refused.stderr


def test_a_full_audit_log_stops_every_signature_and_service_resumes_with_room():
    with world_on("auditd", 12) as (world, small):
        world.start()
        world.all_begin_anew()
        before = pids(world)
        for _ in range(FILLS):
            small.keep_full(3)  # live OCSP answers may wait two seconds for their record
            counted = signed(world, "ca", "time", "status")
            small.keep_full(2)
            assert signed(world, "ca", "time", "status") == counted, "signed without a record"
            assert "the audit log cannot be written: No space left on device" in refusal(world)
            small.empty()
            world.all_begin_anew()
        assert pids(world) == before, "somebody ended"
        world.settle()
        world.report()
        account(world)


def test_a_full_database_refuses_before_it_has_anything_signed_and_service_resumes_with_room():
    with world_on("ca", 96) as (world, small):
        world.start()
        world.all_begin_anew()
        before = pids(world)
        for _ in range(FILLS):
            small.keep_full(1.5)
            counted = signed(world, "ca")
            small.keep_full(1.5)
            assert signed(world, "ca") == counted, "signed, and never stored"
            refused = refusal(world)
            assert "nothing is signed while the ca's database takes no writes (database: commit: database or disk is full)" in refused
            small.empty()
            world.all_begin_anew()
        assert pids(world) == before, "somebody ended"
        world.settle()
        world.report()
        account(world)


def test_a_full_postgresql_refuses_before_it_has_anything_signed_and_service_resumes_with_room(monkeypatch):
    monkeypatch.setattr(flows.Client, "asks_again", {500, 503})
    made = []
    cluster = Cluster(prepare=lambda directory: made.append(Small(pathlib.Path(directory), 160)))
    small, = made
    try:
        monkeypatch.setattr(ca_world, "CLUSTER", cluster)
        with ca_world.World() as world:
            world.start().found_cas()
            pid = world.ca.process.pid
            intents = lambda: pathlib.Path(world.journal).read_bytes().count(b'"event":"sign.certificate"')

            def happening(clients):
                for _ in range(FILLS):
                    flows.goes_on(clients)
                    small.keep_full(1.5)
                    counted = intents()
                    small.keep_full(1.5)
                    # There is room for something small in some of its files: a certificate is tried after 1, 2, 4... seconds.
                    assert intents() - counted <= 3, "signed, and never stored"
                    small.empty()
                    flows.goes_on(clients)
            clients = flows.work_while(world, happening)
            assert world.ca.process.pid == pid and world.ca.process.poll() is None
            flows.account(world, clients)
    finally:
        cluster.remove()
        small.unmount()
