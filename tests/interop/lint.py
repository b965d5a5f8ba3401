"""The linters of tests/install-tools as functions. Each returns a list of findings that are not waived; empty is clean.

Exit codes of these tools are no verdict (zlint ends with 0 whatever it found), so their JSON is read, and output that is not
the expected JSON raises: a linter that did not run must never look like a clean certificate.
"""
import functools
import json
import pathlib
import re
import subprocess
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
ZLINT_SOURCES = {"RFC5280", "RFC6960", "RFC5480", "RFC8813", "ETSI_ESI"}

# Findings that are right about a demo or test installation and wrong about the product. Everything else counts.
WAIVERS = [
    ("etsi.internal_domain_name", r'"(127\.0\.0\.1|localhost|[a-z0-9.-]+\.test)"',
     "a test installation publishes on the loopback address and has names below .test (RFC 6761)"),
    ("pkix.invalid_domain_name_syntax", r'"localhost"', "TLS certificates of test daemons name the loopback host"),
]


class Finding(NamedTuple):
    tool: str
    severity: str
    code: str
    where: str
    message: str


def waived(code, message):
    return any(code == w[0] and re.search(w[1], message or "") for w in WAIVERS)


@functools.cache
def install():
    subprocess.run([str(ROOT / "tests" / "install-tools")], check=True, timeout=900)


def _pkilint(tool, arguments, path):
    install()
    command = [str(CACHE / "venv" / "bin" / tool), "lint", "-s", "WARNING", "-f", "JSON", *arguments, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if run.stderr.strip():
        raise RuntimeError(f"{tool} {path}: {run.stderr.strip()[-500:]}")
    results = json.loads(run.stdout)["results"]
    found = [Finding(tool, f["severity"], f["code"], r["node_path"], f["message"] or "")
             for r in results for f in r["finding_descriptions"]]
    return [f for f in found if not waived(f.code, f.message)]


def pkilint_cert(path, kind="pkix"):
    """kind: "pkix" (RFC 5280), or an ETSI certificate type such as "NCP-NATURAL-PERSON-CERTIFICATE"."""
    if kind == "pkix":
        return _pkilint("lint_pkix_cert", [], path)
    return _pkilint("lint_etsi_cert", ["-t", kind], path)


def pkilint_crl(path, kind="CRL"):
    """kind: "CRL", or "ARL" for a CRL about certificates of authorities."""
    return _pkilint("lint_crl", ["-t", kind, "-p", "PKIX"], path)


def pkilint_ocsp(path):
    return _pkilint("lint_ocsp_response", [], path)


@functools.cache
def _zlint_names():
    """The names of all lints of our sources: -includeSources of 3.7.1 does not take RFC6960, which it lists itself."""
    install()
    run = subprocess.run([str(CACHE / "bin" / "zlint"), "-list-lints-json"], capture_output=True, text=True, check=True, timeout=60)
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    missing = ZLINT_SOURCES - {r["source"] for r in rows}
    if missing:
        raise RuntimeError(f"zlint has no lints of {missing}")
    return ",".join(sorted(r["name"] for r in rows if r["source"] in ZLINT_SOURCES))


def zlint(path):
    """Certificate, CRL or OCSP response, DER or PEM."""
    form = "pem" if pathlib.Path(path).read_bytes().startswith(b"-----") else "der"
    command = [str(CACHE / "bin" / "zlint"), "-includeNames", _zlint_names(), "-format", form, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if run.returncode != 0 or not run.stdout.strip():
        raise RuntimeError(f"zlint {path}: {run.stderr.strip()[-500:]}")
    results = json.loads(run.stdout)
    if not results or all(r["result"] == "NE" for r in results.values()):
        raise RuntimeError(f"zlint {path}: no lint ran")
    found = [Finding("zlint", r["result"], code, "", r.get("details", "")) for code, r in results.items()
             if r["result"] not in ("pass", "NA", "NE", "info")]
    return [f for f in found if not waived(f.code, f.message)]


def certificate(path, kind="pkix"):
    """Everything that judges a certificate: RFC 5280 always, and its ETSI type when it has one."""
    found = pkilint_cert(path, "pkix") + zlint(path)
    return found if kind == "pkix" else found + pkilint_cert(path, kind)


def crl(path, kind="CRL"):
    return pkilint_crl(path, kind) + zlint(path)


def ocsp(path):
    return pkilint_ocsp(path) + zlint(path)
