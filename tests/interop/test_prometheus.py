"""What we give to Prometheus, judged by its own promtool: the configuration, the rules, each alert when it is time for it and not before, and the pages of
a running installation."""
import json
import re
import subprocess
import sys
import urllib.request

import pytest

import lint

sys.path.insert(0, str(lint.ROOT / "tests" / "flow"))
import installation  # noqa: E402

PROMTOOL, PROMETHEUS = lint.ROOT / ".cache" / "bin" / "promtool", lint.ROOT / "etc" / "prometheus"
RULES = (PROMETHEUS / "chancery.rules.yml").read_text()
ALERTS = dict(re.findall(r"- alert: (\w+)\n.*?summary: \"([^\"]*)\"", RULES, re.S))
DAY = 86400
SLOW = 'chancery_{}_duration_seconds_bucket'

# The series of a minute each; alert, what they are when it is time for it, and when it is not.
CASES = {
    "ChanceryAlertOpen": ('chancery_watch_alerts{severity="alert"}', "0 1x20", "0x20"),
    "ChanceryDaemonAway": ('up{job="chancery-copy"}', "1 0x20", "1 0 1x20"),
    "ChanceryLogWaits": ("chancery_auditd_checkpoint_waiting_seconds", "31x20", "29x20"),
    "ChanceryStampLate": ("chancery_auditd_stamp_waiting_seconds", "601x20", "599x20"),
    "ChanceryCopyBehind": ("chancery_auditd_copy_behind_seconds", "601x20", "599x20"),
    "ChanceryCopyRefuses": ("chancery_copy_refusing", "0 1x20", "0x20"),
    "ChanceryDiskFull": ("chancery_auditd_disk_free_bytes", "4999999999x20", "5000000001x20"),
    "ChanceryTokenAway": ('chancery_keyd_token_ready{token="issuing"}', "0x20", "0 0 0 0 1x20"),
    "ChanceryCrlEnds": ("chancery_va_crl_next_update_timestamp_seconds", "14900x20", f"{DAY}x20"),
    "ChanceryOcspSignerEnds": ("chancery_va_ocsp_signer_end_timestamp_seconds", f"{3 * DAY}x20", f"{4 * DAY}x20"),
    "ChanceryFeedSilent": ("chancery_va_feed_silence_seconds", "901x20", "899x20"),
    "ChanceryOutboxWaits": ("chancery_ca_outbox_waiting_seconds", "121x20", "119x20"),
    "ChanceryClockLost": ("chancery_tsa_issuing", "1 0x20", "1x20"),
    "ChanceryTurnsAway": ("chancery_http_turned_away_total", "0+1x20", "7x20"),
    "ChanceryConnectionsRefused": ("chancery_http_connections_refused_total", "0+1x20", "7x20"),
    "ChanceryLimited": ('chancery_http_requests_total{instance="va",listener="public"}', {"2xx": "0+98x20", "5xx": "0+2x20"}, {"2xx": "0+990x20", "5xx": "0+10x20"}),
    "ChanceryOcspFails": ('chancery_va_ocsp_errors_total{status="tryLater"}', "0+1x20", "7x20"),
    "ChanceryTimeStampsFail": ('chancery_tsa_rejected_total{failure="systemFailure"}', "0+1x20", "7x20"),
    "ChanceryNotIssued": ('chancery_ca_unissued_total{code="IO"}', "0+1x20", "7x20"),
    "ChancerySigningFails": ('chancery_keyd_failures_total{code="UNAVAILABLE"}', "0+1x20", "7x20"),
    "ChancerySigningSlow": (SLOW.format("keyd_signing"), {"1": "0+98x20", "2.5": "0+100x20", "+Inf": "0+100x20"},
                            {"0.5": "0x20", "1": "0+100x20", "+Inf": "0+100x20"}),
    "ChanceryLogDiskSlow": (SLOW.format("auditd_group"), {"0.5": "0+98x20", "1": "0+100x20", "+Inf": "0+100x20"},
                            {"0.1": "0x20", "0.5": "0+100x20", "+Inf": "0+100x20"}),
    "ChanceryRenewalFails": ('chancery_ca_identity_failing{name="va"}', "0 1x20", "0x20"),
    "ChanceryPageFull": ("chancery_metrics_left_out", "1x20", "0x20"),
    "ChanceryDescriptors": ("chancery_process_open_fds", "820x20", "818x20"),
}
# Of other words, nobody is to be woken.
QUIET = {'chancery_va_ocsp_errors_total{status="malformedRequest"}': "0+1x20", 'chancery_tsa_rejected_total{failure="badRequest"}': "0+1x20",
         'chancery_ca_unissued_total{code="INPUT"}': "0+1x20", 'chancery_watch_alerts{severity="notice"}': "1x20", 'up{job="node"}': "0x20"}


def series(name, values):
    if isinstance(values, dict):
        label = "le" if name.endswith("_bucket") else "class"
        return [{"series": name.rstrip("}") + ("," if "{" in name else "{") + f'{label}="{value}"}}', "values": text} for value, text in values.items()]
    return [{"series": name, "values": values}]


def labels(name):
    return dict(re.findall(r'(\w+)="([^"]*)"', name))


def promtool(*words, **more):
    return subprocess.run([PROMTOOL, *words], capture_output=True, text=True, timeout=60, check=False, **more)


def case(alert, name, values, fires):
    more = series("chancery_process_max_fds", "1024x20") if alert == "ChanceryDescriptors" else []
    expected = [{"exp_labels": labels(name), "exp_annotations": {"summary": ALERTS[alert]}}] if fires else []
    return {"interval": "1m", "name": f"{alert}, {'fires' if fires else 'quiet'}", "input_series": series(name, values) + more,
            "alert_rule_test": [{"eval_time": "10m", "alertname": alert, "exp_alerts": expected}]}


def judge(tmp_path, rules, cases):
    (tmp_path / "chancery.rules.yml").write_text(rules)
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": ["chancery.rules.yml"], "evaluation_interval": "1m", "tests": cases}))  # JSON is YAML
    return promtool("test", "rules", tmp_path / "test.yml")


def all_cases():
    yield from (case(alert, name, bad, True) for alert, (name, bad, _) in CASES.items())
    yield from (case(alert, name, good, False) for alert, (name, _, good) in CASES.items())
    yield from (case(alert, name, values, False) for name, values in QUIET.items() for alert in ALERTS if alert != "ChanceryDescriptors")


def test_configuration_and_rules_are_taken():
    taken = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert taken.returncode == 0 and f"{len(ALERTS)} rules found" in taken.stdout, taken.stdout + taken.stderr


def test_each_alert_fires_when_it_is_time_and_not_before(tmp_path):
    assert set(CASES) == set(ALERTS)
    judged = judge(tmp_path, RULES, list(all_cases()))
    assert judged.returncode == 0 and "SUCCESS" in judged.stdout, judged.stdout + judged.stderr


def test_the_judge_notices_a_rule_that_never_fires(tmp_path):
    judged = judge(tmp_path, RULES.replace("chancery_copy_refusing == 1", "chancery_copy_refusing == 2"), list(all_cases()))
    assert judged.returncode != 0 and "ChanceryCopyRefuses" in judged.stdout + judged.stderr


@pytest.fixture(scope="module")
def pages():
    provider = installation.Installation().start()
    try:
        provider.issue("alice")
        yield {name: urllib.request.urlopen(f"http://127.0.0.1:{provider.base + 6}/metrics{name and '/' + name}", timeout=20).read().decode()
               for name in ("", "va", "tsa", "ca", "auditd", "keyd-log", "keyd-ca", "keyd-status", "keyd-time")}
    finally:
        provider.close()


def test_promtool_finds_nothing_on_any_page(pages):
    for name, page in pages.items():
        judged = promtool("check", "metrics", input=page)
        assert judged.returncode == 0 and not judged.stdout + judged.stderr, (name, judged.stdout + judged.stderr)
    assert promtool("check", "metrics", input=pages["ca"] + "x_total 1\n").returncode != 0


def test_a_quantile_is_compared_with_a_bound_of_its_buckets(pages):
    """Between two bounds a quantile is a guess."""
    text = "".join(pages.values())
    compared = re.findall(r"histogram_quantile\([^,]+, rate\((\w+_bucket)\[\w+\]\)\) > (\S+)", RULES)
    assert compared and all(re.search(rf'^{name}{{.*le="{bound}"}} ', text, re.M) for name, bound in compared)
