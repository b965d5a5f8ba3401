"""Tokens of a running tsa, judged by clients that have nothing of OpenSSL's command line: rfc3161-client."""
import pathlib
import subprocess
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "flow"))
from tsa_world import QUERY, World  # noqa: E402

PYTHON = ROOT / ".cache" / "venv" / "bin" / "python"

CLIENT = """
import sys, urllib.request
from cryptography import x509
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, VerifierBuilder, decode_timestamp_response, errors

url, root, algorithm = sys.argv[1:]
message = b"what is to be stamped"
request = TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm[algorithm]).nonce(nonce=True).cert_request(cert_request=True).build()
posted = urllib.request.Request(url, request.as_bytes(), {"Content-Type": "application/timestamp-query"})
answer = urllib.request.urlopen(posted).read()
response = decode_timestamp_response(answer)
assert response.status == 0
assert response.tst_info.nonce == request.nonce
verifier = VerifierBuilder.from_request(request).add_root_certificate(x509.load_pem_x509_certificate(open(root, "rb").read())).build()
verifier.verify_message(response, message)
try:
    verifier.verify_message(response, message + b"!")
except errors.VerificationError:
    print("verified", response.tst_info.policy.dotted_string)
"""


@pytest.fixture(scope="module")
def world():
    subprocess.run([str(ROOT / "tests" / "install-tools")], check=True, stdout=subprocess.DEVNULL)
    w = World(tempfile.mkdtemp(prefix="chancery-tsa-", dir="/tmp"))
    yield w
    w.close()


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA512"])
def test_rfc3161_client_verifies_a_token_and_not_for_other_data(world, algorithm):
    root = world.directory / "root.pem"
    done = subprocess.run([str(PYTHON), "-c", CLIENT, f"http://127.0.0.1:{world.port}/tsa", str(root), algorithm],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert done.stdout.strip() == "verified 2.999.3161.1"


def test_curl_reaches_it_over_https(world):
    """curl -f with the CA given: the certificate of the HTTPS listener stands up to another program's checks."""
    (world.directory / "query").write_bytes(world.query())
    done = subprocess.run(["curl", "-sSf", "--cacert", str(world.directory / "management-ca.pem"), "-H",
                           f"Content-Type: {QUERY['Content-Type']}", "--data-binary", f"@{world.directory}/query",
                           f"https://127.0.0.1:{world.https_port}/"], stdout=subprocess.PIPE, check=True)
    assert world.verify((world.directory / "query").read_bytes(), done.stdout)
