"""The pages of metrics that keyd and auditd give over their sockets: read by the rules of the Prometheus text format 0.0.4 alone, and moving by
exactly what was done."""
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from audit_world import World
from installation import BUILD

import keyd_client as kc

KEYD_METRICS, AUDIT_METRICS = 0x0108, 9
SAMPLE = re.compile(r'(chancery_[a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (-?[0-9]+(?:\.[0-9]+)?)')


def parse(text):
    """{name with labels: value}; each line has its place: help, type, then the values of that metric alone."""
    values, types, family = {}, {}, None
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert family not in types, f"{family} stands on the page twice"
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == family and kind in ("counter", "gauge", "histogram") and (kind == "counter") == name.endswith("_total")
            types[name] = kind
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample and family in types, line
            endings = ("_bucket", "_count", "_sum") if types[family] == "histogram" else ("",)
            assert sample[1] in [family + ending for ending in endings], line
            assert sample[1] + (sample[2] or "") not in values
            values[sample[1] + (sample[2] or "")] = float(sample[3])
    assert values["chancery_metrics_left_out"] == 0
    return values


def page(socket, kind):
    client = kc.Client(socket)
    try:
        return parse(client.call(kind).decode())
    finally:
        client.close()


@pytest.fixture(scope="module")
def world():
    w = World()
    w.start_keyd()
    assert w.start(), w.stderr()
    yield w
    w.remove()


def test_auditd_counts_what_it_takes(world):
    assert world.settled()
    before = page(world.socket, AUDIT_METRICS)
    assert len(world.load(4, 25)) == 100
    assert world.settled()
    after = page(world.socket, AUDIT_METRICS)
    for name in ("chancery_auditd_leaves", "chancery_auditd_checkpoint_leaves", "chancery_auditd_appended_total"):
        assert after[name] - before[name] == 100, name
    assert after["chancery_auditd_leaves"] == world.status()["size"]
    refused = [name for name in after if name.startswith("chancery_auditd_refused_total")]
    assert len(refused) > 10 and all(after[name] == before[name] for name in refused)
    groups = after["chancery_auditd_group_duration_seconds_count"] - before["chancery_auditd_group_duration_seconds_count"]
    assert 1 <= groups <= 100 + 10, "a group holds a record or more; some are of keyd and auditd itself"
    assert after["chancery_auditd_checkpoint_waiting_seconds"] == 0 < after["chancery_auditd_disk_free_bytes"]
    assert after["chancery_auditd_checkpoint_timestamp_seconds"] > before["chancery_auditd_checkpoint_timestamp_seconds"]


def test_keyd_counts_what_it_signs_and_refuses(world):
    assert world.settled()
    before = page(world.keyd.socket_path, KEYD_METRICS)
    assert before['chancery_keyd_token_ready{token="log",group="no"}'] == 1
    assert before['chancery_keyd_keys{state="active"}'] == 1
    assert before['chancery_build_info{daemon="keyd",version="0.1.0"}'] == 1
    fds = len(os.listdir(f"/proc/{world.keyd.process.pid}/fd"))  # the kernel's word for it; a connection may come or go meanwhile
    assert abs(before["chancery_process_open_fds"] - fds) <= 2 and before["chancery_process_max_fds"] > fds
    assert before["chancery_process_resident_memory_bytes"] > 1e6
    client = world.keyd.client()
    with pytest.raises(kc.Refused):
        client.generate("log", type="ed25519", purposes=kc.LOG, origin="log.test/other")
    client.close()
    signed = f'chancery_keyd_signatures_total{{key="log",purpose="log"}}'
    world.load(1, 1)
    assert world.settled()
    after = page(world.keyd.socket_path, KEYD_METRICS)
    refused = {name: after[name] - before[name] for name in after if name.startswith(("chancery_keyd_refusals_total", "chancery_keyd_failures_total"))}
    assert refused.pop('chancery_keyd_refusals_total{code="CONFLICT"}') == 1 and not any(refused.values()) and len(refused) > 8
    made = after[signed] - before[signed]
    assert made >= 1 and made == after["chancery_keyd_signing_duration_seconds_count"] - before["chancery_keyd_signing_duration_seconds_count"]
    assert after["chancery_keyd_signing_duration_seconds_sum"] > before["chancery_keyd_signing_duration_seconds_sum"]


def test_many_who_ask_at_once_disturb_no_writer(world):
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(page, world.socket, AUDIT_METRICS) for _ in range(400)]
        assert len(world.load(2, 50)) == 100
        assert all(one.result()["chancery_auditd_leaves"] > 0 for one in asked)


def test_the_command_prints_the_page(world, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "chancery.conf").write_text(
        f"name = TEST\n[daemon auditd]\nprogram = chancery-auditd\nconfig = a.conf\nsocket = {world.socket}\n"
        f"[daemon keyd-log]\nprogram = chancery-keyd\nconfig = k.conf\nsocket = {world.keyd.socket_path}\n"
        "[daemon va]\nprogram = chancery-va\nconfig = v.conf\n")

    def ask(label):
        return subprocess.run([BUILD / "src" / "chancery", "--home", tmp_path, "metrics", label], capture_output=True, text=True, check=False)
    assert "chancery_auditd_leaves" in parse(ask("auditd").stdout)
    assert 'chancery_keyd_signatures_total{key="log",purpose="log"}' in parse(ask("keyd-log").stdout)
    for label, words in (("va", "says no `metrics`"), ("nobody", "there is no daemon nobody")):
        refused = ask(label)
        assert refused.returncode != 0 and words in refused.stderr
