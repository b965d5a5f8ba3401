"""nginx as a relying party of ours: it asks about its clients, and it staples what we say about itself, with our certificates throughout."""
import re
import shutil
import subprocess
import time

import pytest

from relying_parties import CASES, ROOT, Provider, installation, run


@pytest.fixture(scope="module")
def provider():
    subprocess.run([str(ROOT / "tests" / "install-tools")], check=True, stdout=subprocess.DEVNULL)
    made = Provider()
    try:
        made.check("cert", "issue", "--profile", "tls-server", "--csr", made.request("server", "/CN=localhost"), "--ip-address", "127.0.0.1",
                   "--out", made.work / "server.pem")
        made.trusted = made.chain_file()
        for name in ("alice", "bob", "carol"):
            chain = made.work / f"{name}-chain.pem"
            chain.write_text((made.work / f"{name}.pem").read_text() + made.issuing.read_text())
        yield made
    finally:
        made.close()


class Nginx:
    """One server, one worker, on a free port of 127.0.0.1."""

    def __init__(self, directory, certificate, key, options):
        self.directory, self.port = directory, installation.free_ports(1)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        kept = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (directory / "nginx.conf").write_text(f"""
            daemon off; worker_processes 1; pid {directory}/pid; error_log {directory}/error.log info; events {{ }}
            http {{
                access_log off;
                {kept}
                server {{
                    listen 127.0.0.1:{self.port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_session_tickets off;
                    {options}
                    return 200 "let in: $ssl_client_verify\\n";
                }}
            }}""")
        self.process = subprocess.Popen(["nginx", "-c", directory / "nginx.conf", "-e", directory / "error.log"], stdin=subprocess.DEVNULL)
        installation.within(10, lambda: (directory / "pid").exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log()

    def log(self):
        return (self.directory / "error.log").read_text(errors="replace")

    def ask(self, *options):
        return run(["curl", "-sS", "-m", "20", *options, f"https://127.0.0.1:{self.port}/"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)


# ---- client certificates ----

FAILED = "client SSL certificate verify error: certificate status request failed"
CLIENT_SAYS = {
    "good": "let in: SUCCESS", "revoked": "verify error: certificate revoked", "never issued": "verify error: certificate status unknown",
    "altered": "(?s)OCSP_basic_verify.*signature failure.*" + FAILED, "silent": FAILED,
    "impostor": "(?s)OCSP_basic_verify.*certificate signature failure.*" + FAILED,
    "subscriber": "(?s)OCSP_basic_verify.*missing ocspsigning usage.*" + FAILED}


@pytest.mark.parametrize("case", CASES)
def test_nginx_lets_in_whom_we_call_good(provider, tmp_path, case):
    who, lie = CASES[case]
    provider.lie(lie)
    options = f"ssl_client_certificate {provider.trusted}; ssl_verify_client on; ssl_verify_depth 2; ssl_ocsp leaf;"
    with Nginx(tmp_path / "nginx", provider.work / "server.pem", provider.work / "server.key", options) as nginx:
        done = nginx.ask("--cacert", provider.home / "tls" / "management-ca.pem", "--cert", provider.work / f"{who}-chain.pem", "--key",
                         provider.work / f"{who}.key")
        said = done.stdout + nginx.log()
    assert done.returncode == 0 and ("let in: SUCCESS" in done.stdout) == (case == "good"), done.stdout
    assert case == "good" or "400 Bad Request" in done.stdout and "let in" not in done.stdout
    assert re.search(CLIENT_SAYS[case], said), said
    assert provider.middle.asked("/ocsp")


# ---- stapling: nginx judges before it staples, and the TLS client judges what is stapled ----

STAPLE_SAYS = {
    "revoked": 'certificate status "revoked" in the OCSP response', "never issued": 'certificate status "unknown" in the OCSP response',
    "altered": "OCSP_basic_verify.*signature failure", "silent": "", "impostor": "OCSP_basic_verify.*certificate signature failure",
    "subscriber": "OCSP_basic_verify.*missing ocspsigning usage"}


def stapling(provider, tmp_path, case, verify):
    who, lie = CASES[case]
    provider.lie(lie)
    options = f"ssl_stapling on; ssl_stapling_verify {verify}; ssl_trusted_certificate {provider.trusted};"
    return Nginx(tmp_path / "nginx", provider.work / f"{who}-chain.pem", provider.work / f"{who}.key", options)


def handshake(provider, nginx, case):
    """The words of a client that wants a stapled answer."""
    leaf = provider.work / f"{CASES[case][0]}.pem"
    return run([ROOT / ".cache" / "bin" / "ocspjudge", "STAPLED", provider.issuing, leaf, f"127.0.0.1:{nginx.port}"]).stdout.strip()


NOTHING = "refused: the server staples nothing"


def test_nginx_staples_a_good_answer_from_the_second_handshake(provider, tmp_path):
    with stapling(provider, tmp_path, "good", "on") as nginx:
        assert handshake(provider, nginx, "good") == NOTHING
        installation.within(10, lambda: handshake(provider, nginx, "good") == "accepted")
        assert "[error]" not in nginx.log()


@pytest.mark.parametrize("case", STAPLE_SAYS)
def test_nginx_staples_nothing_else(provider, tmp_path, case):
    with stapling(provider, tmp_path, case, "on") as nginx:
        assert handshake(provider, nginx, case) == NOTHING
        installation.within(10, lambda: provider.middle.asked("/ocsp") and re.search(STAPLE_SAYS[case], nginx.log()))
        time.sleep(0.1)  # a staple would be there by now: the good one is
        assert handshake(provider, nginx, case) == NOTHING


@pytest.mark.parametrize("case,says", [("impostor", "refused: bad OCSP signature"), ("subscriber", "refused: the responder's certificate is not one")])
def test_a_client_refuses_a_staple_that_nginx_does_not_verify(provider, tmp_path, case, says):
    with stapling(provider, tmp_path, case, "off") as nginx:
        assert handshake(provider, nginx, case) == NOTHING
        installation.within(10, lambda: handshake(provider, nginx, case).startswith(says))
