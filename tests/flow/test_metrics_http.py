"""The metrics of a whole installation, as Prometheus finds them at chancery-watch: read by Prometheus's own parser, moving by what was done, and nowhere
where the public comes in."""
import pathlib
import re
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from installation import ROOT, Installation, within
from prometheus_client.parser import text_string_to_metric_families

DAEMONS = ("va", "tsa", "ca", "auditd", "keyd-log", "keyd-ca", "keyd-status", "keyd-time")


@pytest.fixture(scope="module")
def provider():
    installation = Installation()
    try:
        yield installation.start()
    finally:
        installation.close()


def fetch(provider, path, port=6):
    with urllib.request.urlopen(f"http://127.0.0.1:{provider.base + port}{path}", timeout=20) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def page(provider, name):
    """{(name, labels): value}, by Prometheus's parser."""
    media_type, text = fetch(provider, "/metrics" if name == "watch" else f"/metrics/{name}")
    assert media_type.startswith("text/plain; version=0.0.4")
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    values = {(s.name, tuple(sorted(s.labels.items()))): s.value for s in samples}
    assert len(values) == len(samples) and all(name.startswith("chancery_") for name, _ in values)
    return values


def value(provider, daemon, name, **labels):
    return page(provider, daemon)[name, tuple(sorted(labels.items()))]


def test_each_daemon_has_a_page_and_the_tool_prints_it(provider):
    for name in (*DAEMONS, "watch"):
        values = page(provider, name)
        assert [v for (n, labels), v in values.items() if n == "chancery_build_info"] == [1]
        assert values["chancery_process_start_time_seconds", ()] > 1.7e9, name
        assert "chancery_build_info" in provider.check("metrics", name)


def test_each_request_is_in_one_class_and_in_one_bucket(provider):
    def numbers():
        values = page(provider, "va")
        answered = sum(v for (name, labels), v in values.items() if name == "chancery_http_requests_total" and ("listener", "public") in labels)
        return answered, values["chancery_http_request_duration_seconds_count", (("listener", "public"),)]
    before = numbers()
    for _ in range(5):
        fetch(provider, "/healthz", 0)
    with pytest.raises(urllib.error.HTTPError):
        fetch(provider, "/nothing-here", 0)
    after = numbers()
    handled = after[1] - before[1]  # chancery-watch asks as well
    assert handled >= 5 and after[0] - before[0] == handled + 1, "what has no route is refused, not handled"


def test_they_are_not_where_the_public_comes_in(provider):
    for port in (0, 1):
        with pytest.raises(urllib.error.HTTPError) as refused:
            fetch(provider, "/metrics", port)
        assert refused.value.code == 404
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(provider, "/metrics/nobody")
    assert refused.value.code == 404


def ocsp_request(provider, certificate):
    subject, issuer = (x509.load_pem_x509_certificate(pathlib.Path(path).read_bytes()) for path in (certificate, provider.certificate("issuing")))
    built = ocsp.OCSPRequestBuilder().add_certificate(subject, issuer, hashes.SHA256()).build()
    return built.public_bytes(serialization.Encoding.DER)


def ask(provider, url, body, media_type):
    with urllib.request.urlopen(urllib.request.Request(provider.env[url], body, {"Content-Type": media_type}), timeout=20) as answer:
        assert answer.status == 200
        return answer.read()


def test_they_move_by_what_was_done(provider):
    watched = {"issued": lambda: value(provider, "ca", "chancery_ca_certificates_total"),
               "signed": lambda: value(provider, "keyd-ca", "chancery_keyd_signatures_total", key="issuing", purpose="certificate"),
               "good": lambda: value(provider, "va", "chancery_va_ocsp_produced_total", status="good"),
               "revoked": lambda: value(provider, "va", "chancery_va_ocsp_produced_total", status="revoked"),
               "tokens": lambda: value(provider, "tsa", "chancery_tsa_tokens_total"),
               "rejected": lambda: value(provider, "tsa", "chancery_tsa_rejected_total", failure="badRequest"),
               "revocations": lambda: value(provider, "ca", "chancery_ca_revocations_total"),
               "unissued": lambda: sum(v for (n, _), v in page(provider, "ca").items() if n == "chancery_ca_unissued_total"),
               "malformed": lambda: value(provider, "va", "chancery_va_ocsp_errors_total", status="malformedRequest"),
               "again": lambda: value(provider, "va", "chancery_va_ocsp_given_again_total")}
    before = {name: read() for name, read in watched.items()}
    certificate, serial = provider.issue("alice")
    within(10, lambda: ": good" in provider.ocsp(certificate))
    for _ in range(2):  # without a nonce: the second one gets the answer made for the first
        ask(provider, "CHANCERY_OCSP_URL", ocsp_request(provider, certificate), "application/ocsp-request")
    assert b"\x0a\x01\x01" in ask(provider, "CHANCERY_OCSP_URL", b"0\x00", "application/ocsp-request")  # malformedRequest, by HTTP a success
    provider.check("cert", "revoke", "--serial", serial, "--reason", "keyCompromise")
    within(10, lambda: ": revoked" in provider.ocsp(certificate))
    file = provider.work / "f"
    file.write_text("x")
    provider.check("ts", "request", file)
    ask(provider, "CHANCERY_TSA_URL", b"0\x03\x02\x01\x07", "application/timestamp-query")
    moved = {name: read() - before[name] for name, read in watched.items()}
    assert moved["revocations"] == moved["malformed"] == 1 and moved["unissued"] == 0 and moved["again"] >= 1
    assert moved["issued"] == 1 and moved["signed"] == 1 and moved["tokens"] >= 1 and moved["rejected"] == 1
    assert moved["good"] >= 1 and moved["revoked"] >= 1  # `within` asks again


def test_many_who_ask_at_once_disturb_nobody(provider):
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(page, provider, DAEMONS[i % len(DAEMONS)]) for i in range(400)]
        provider.issue("bert")
        assert all(answer.result() for answer in asked)


def test_what_the_guide_and_the_rules_name_is_on_the_pages(provider):
    there = {name for daemon in (*DAEMONS, "watch") for name, _ in page(provider, daemon)}
    there |= {name.removesuffix("_bucket") for name in there}  # the guide names a histogram by its family
    optional = {"chancery_keyd_key_usage_end_timestamp_seconds", "chancery_auditd_copy_leaves", "chancery_auditd_copy_behind_seconds", "chancery_auditd_copy_late",
                "chancery_copy_refusing"}  # where there is such a key, a copy (test_copy.py)
    for path in (ROOT / "etc" / "prometheus" / "chancery.rules.yml", ROOT / "docs" / "guide" / "monitoring.md"):
        named = set(re.findall(r"chancery_[a-z_]+", pathlib.Path(path).read_text()))
        assert named and named - optional <= there, named - there
