"""The public repository: CRLs, CA certificates, the page, health."""

import datetime
import hashlib
import html.parser
import json
import subprocess
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from cryptography import x509

import va_world
from va_world import der, item_ca, moment_of, pem

UTC = datetime.timezone.utc


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = va_world.World(tmp_path_factory.mktemp("va"))
    world.found()
    yield world
    world.close()


@pytest.mark.parametrize("path, media_type", [("/crl/issuing.crl", "application/pkix-crl"), ("/ca/issuing.crt", "application/pkix-cert"),
                                              ("/ca/issuing.pem", "application/x-pem-file"), ("/ca/root.crt", "application/pkix-cert")])
def test_files_are_served_with_what_caches_need(world, path, media_type):
    status, headers, body = world.request("GET", path)
    assert (status, headers["content-type"]) == (200, media_type)
    assert headers["etag"] == f'"{hashlib.sha256(body).hexdigest()}"'
    assert 0 < int(headers["cache-control"].split("max-age=")[1].split(",")[0]) <= 300
    modified = parsedate_to_datetime(headers["last-modified"])
    assert int(headers["content-length"]) == len(body)

    def conditional(**fields):
        return world.request("GET", path, None, {k.replace("_", "-"): v for k, v in fields.items()})

    status, again, empty = conditional(If_None_Match=headers["etag"])
    assert (status, empty, again["etag"]) == (304, b"", headers["etag"])
    assert conditional(If_None_Match='"other"')[0] == 200
    assert conditional(If_Modified_Since=headers["last-modified"])[0] == 304
    before = format_datetime(modified - datetime.timedelta(seconds=1), usegmt=True)
    assert conditional(If_Modified_Since=before)[0] == 200
    assert conditional(If_None_Match='"other"', If_Modified_Since=headers["last-modified"])[0] == 200
    status, head, empty = world.request("HEAD", path)
    assert (status, empty, head["content-length"], head["etag"]) == (200, b"", str(len(body)), headers["etag"])


def test_the_bytes_are_those_of_the_ca(world):
    assert world.request("GET", "/ca/issuing.crt")[2] == der(world.issuing.certificate)
    assert x509.load_pem_x509_certificate(world.request("GET", "/ca/issuing.pem")[2]) == world.issuing.certificate
    assert x509.load_der_x509_crl(world.request("GET", "/crl/root.crl")[2]).is_signature_valid(world.root.key.public_key())


def test_a_crl_says_when_it_was_made_and_is_not_kept_beyond_its_next(world):
    crl = world.issuing.crl(hours=1 / 60)
    assert world.put_crl(world.issuing, crl)[0] == 204
    world.feed_ok([va_world.item_crl(world.issuing, crl)])
    _, headers, body = world.request("GET", "/crl/issuing.crl")
    assert body == der(crl)
    assert int(headers["cache-control"].split("max-age=")[1].split(",")[0]) <= 60
    aware = lambda t: t if t.tzinfo else t.replace(tzinfo=UTC)
    assert parsedate_to_datetime(headers["last-modified"]) == aware(moment_of(crl, "last_update"))
    assert parsedate_to_datetime(headers["expires"]) == aware(moment_of(crl, "next_update"))
    world.publish_crl(world.issuing)


def test_openssl_reads_the_crl_with_the_revoked_serial(world, tmp_path):
    certificate = world.issue()
    world.publish_crl(world.issuing, [certificate.serial_number])
    (tmp_path / "a.crl").write_bytes(world.request("GET", "/crl/issuing.crl")[2])
    (tmp_path / "ca.pem").write_bytes(world.request("GET", "/ca/issuing.pem")[2])
    done = subprocess.run(["openssl", "crl", "-inform", "DER", "-in", "a.crl", "-CAfile", "ca.pem", "-noout", "-text"], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert "verify OK" in done.stderr
    assert f"{certificate.serial_number:X}".lstrip("0") in done.stdout.replace(":", "")


@pytest.mark.parametrize("path", ["/ca/nobody.crt", "/ca/issuing.der", "/ca/issuing", "/ca/.crt", "/crl/nobody.crl", "/crl/issuing-1.crl",
                                  "/crl/..%2f..%2fva.conf", "/crl/%2e%2e/va.conf", "/ca/../va.conf", "/va.conf"])
def test_what_is_not_there_is_not_found(world, path):
    assert world.request("GET", path)[0] in (400, 404)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_the_repository_is_read_only(world, method):
    assert world.request(method, "/crl/issuing.crl", b"")[0] == 405
    assert world.request(method, "/", b"")[0] == 405


class Page(html.parser.HTMLParser):
    VOID = {"meta", "link", "br", "img", "input", "hr"}

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.text, self.title = [], [], [], "", ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] == "title":
            self.title += data


def test_the_page_lists_every_ca_with_its_fingerprint_and_crl(world):
    status, headers, body = world.request("GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert body.startswith(b"<!DOCTYPE html>")
    page = Page(body.decode())
    links = [a["href"] for tag, a in page.attributes if tag == "a"]
    for ca in (world.root, world.issuing, world.second):
        digest = hashlib.sha256(der(ca.certificate)).hexdigest().upper()
        assert ":".join(digest[i:i + 2] for i in range(0, 64, 2)) in page.text
        assert ca.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value in page.text
        for link in (f"/ca/{ca.name}.crt", f"/ca/{ca.name}.pem", f"/crl/{ca.name}.crl"):
            assert link in links
    for link in links:
        assert world.request("GET", link)[0] == 200
    assert "<CA>" in page.text and b"<CA>" not in body                     # names are text, whatever they hold


def test_the_page_is_accessible_and_brings_nothing_active(world):
    _, headers, body = world.request("GET", "/")
    page = Page(body.decode())
    assert page.title
    attributes = dict(page.attributes[0][1])
    assert page.attributes[0][0] == "html" and attributes["lang"] == "en"
    assert page.tags.count("h1") == 1 and "main" in page.tags
    assert not {"script", "iframe", "object", "embed", "form", "style"} & set(page.tags)
    assert not any(name.startswith("on") or name == "style" for _, a in page.attributes for name in a)
    assert any(t == "meta" and a.get("name") == "viewport" for t, a in page.attributes)
    identifiers = [a["id"] for _, a in page.attributes if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    for _, a in page.attributes:
        assert a.get("aria-labelledby", identifiers[0]) in identifiers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert world.request("GET", "/style.css")[1]["content-type"].startswith("text/css")


def test_health_tells_feed_crls_and_signers(world):
    status, headers, body = world.request("GET", "/healthz")
    health = json.loads(body)
    assert (status, headers["content-type"], health["status"]) == (200, "application/json", "ok")
    assert health["feed_number"] == world.number
    cas = {ca["name"]: ca for ca in health["cas"]}
    assert set(cas) == {"root", "issuing", "second"}
    assert cas["issuing"]["crl"]["number"] == world.issuing.crl_number
    assert cas["issuing"]["crl"]["age_seconds"] >= 0
    assert cas["issuing"]["signer"]["remaining_seconds"] > 86400 and "signer" not in cas["root"]


def test_a_lost_or_old_crl_is_told(world):
    crl = world.second.crl(hours=2 / 3600)
    assert world.put_crl(world.second, crl)[0] == 204
    world.feed_ok([va_world.item_crl(world.second, crl)])
    va_world.wait_for(lambda: world.request("GET", "/healthz")[0] == 503)
    assert b"CRL of second" in world.request("GET", "/healthz")[2]
    world.publish_crl(world.second)
    assert world.request("GET", "/healthz")[0] == 200
