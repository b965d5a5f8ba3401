"""What foreign relying parties make of our OCSP answers and CRLs: the true ones are taken, and each false one is refused for its reason.

The same command judges all seven cases of a party, so that one which looks at nothing cannot pass. docs/dev/interop.md has the commands.
"""
import re
import subprocess

import pytest

from relying_parties import BOUNCY_CASTLE, CASES, JAVA, ROOT, Provider, compile_java, run


@pytest.fixture(scope="module")
def provider():
    subprocess.run([str(ROOT / "tests" / "install-tools")], check=True, stdout=subprocess.DEVNULL)
    made = Provider()
    try:
        made.classes = made.work / "classes"
        compile_java(made.classes)
        made.nss = made.work / "nss"
        made.nss.mkdir()
        for options in (["-N", "--empty-password"], ["-A", "-n", "root", "-t", "CT,C,C", "-a", "-i", made.root]):
            done = run(["certutil", "-d", f"sql:{made.nss}", *options])
            assert done.returncode == 0, done.stdout
        yield made
    finally:
        made.close()


# ---- parties that ask by themselves ----

def java(provider, leaf, what="ocsp", *options):
    return run([*JAVA, *options, "-cp", provider.classes, "PkixJudge", what, provider.root, provider.issuing, leaf])


def bouncy_castle(provider, leaf):
    return run([*JAVA, "-cp", f"{provider.classes}:{BOUNCY_CASTLE}", "BouncyJudge", "ocsp", provider.issuing, leaf, provider.ocsp_url])


def go_get(provider, leaf):
    return run([ROOT / ".cache" / "bin" / "ocspjudge", "GET", provider.issuing, leaf])


def go_post(provider, leaf):
    return run([ROOT / ".cache" / "bin" / "ocspjudge", "POST", provider.issuing, leaf])


def nss(provider, leaf, method="ocsp", strictness="failIfNoInfo"):
    return run(["vfychain", "-d", f"sql:{provider.nss}", "-u", "0", "-pp", "-g", "leaf", "-m", method, "-s", strictness, "-a", leaf,
                "-a", provider.issuing])


def gnutls(provider, leaf):
    return run(["ocsptool", f"--ask={provider.ocsp_url}", "--load-cert", leaf, "--load-issuer", provider.issuing, "--load-trust",
                provider.issuing])


# For each: the command, the methods it asks by, and what it says to each case. ocsptool ends with 0 for a revoked certificate,
# so that it is the words that count, of all of them; the others must also end with 0 for good and with something else for the rest.
PARTIES = {
    "java": (java, {"GET"}, {
        "good": r"^accepted, soft failures \[\]", "revoked": r"^refused: REVOKED KEY_COMPROMISE",
        "never issued": r"UNDETERMINED_REVOCATION_STATUS .*status is unknown", "altered": "Error verifying OCSP Response's signature",
        "silent": "network error", "impostor": "Unable to verify OCSP Response's signature",
        "subscriber": "certificate not valid for signing OCSP responses"}),
    "bouncy castle": (bouncy_castle, {"POST"}, {
        "good": "^accepted: good", "revoked": "revoked, reason CRLReason: keyCompromise", "never issued": "the certificate is unknown",
        "altered": "signature of the answer is wrong", "silent": "HTTP response code: 503", "impostor": "not of this issuer",
        "subscriber": "not one for OCSP signing"}),
    "nss": (nss, {"GET", "POST"}, {
        "good": "^Chain is good!", "revoked": "ERROR -8180", "never issued": "ERROR -8180", "altered": "ERROR -8180",
        "silent": "ERROR -8071", "impostor": "ERROR -8180", "subscriber": "ERROR -8180"}),
    "gnutls": (gnutls, {"POST"}, {
        "good": r"(?s)Certificate Status: good.*Verifying OCSP Response: Success",
        "revoked": r"(?s)Certificate Status: revoked.*Verifying OCSP Response: Success",
        "never issued": r"(?s)Certificate Status: unknown.*Verifying OCSP Response: Success", "altered": "Failure, Signature failure",
        "silent": "Received empty response", "impostor": "Failure, Signer cert is not trusted",
        "subscriber": "Failure, Signer cert is not trusted"}),
}
GO = {"good": "^accepted", "revoked": "revoked, reason 1", "never issued": "status 2, unknown is 2", "altered": "bad signature",
      "silent": "HTTP status 503", "impostor": "bad OCSP signature", "subscriber": "not one for OCSP signing"}
PARTIES["go, get"] = (go_get, {"GET"}, GO)
PARTIES["go, post"] = (go_post, {"POST"}, GO)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("party", PARTIES)
def test_a_party_takes_the_good_and_nothing_else(provider, party, case):
    judge, methods, says = PARTIES[party]
    who, lie = CASES[case]
    provider.lie(lie)
    done = judge(provider, getattr(provider, who))
    assert re.search(says[case], done.stdout), done.stdout
    assert (done.returncode == 0) == (case == "good") or party == "gnutls"
    assert provider.middle.asked("/ocsp") and provider.middle.asked("/ocsp") <= methods, "it asked nobody, or in another way"


def test_nss_tells_revoked_from_not_knowing(provider):
    """With failIfNoInfo it calls both revoked (-8180); where it lets no information pass, only the revoked certificate is refused."""
    def lenient(case):
        who, lie = CASES[case]
        provider.lie(lie)
        return nss(provider, getattr(provider, who), strictness="requireInfo").stdout

    assert "ERROR -8180" in lenient("revoked")
    for case in set(CASES) - {"revoked"}:
        assert "Chain is good!" in lenient(case), case


# ---- CRLs ----

CRL_CASES = {"good": ("alice", None, r"^accepted, soft failures \[\]"), "revoked": ("bob", None, "^refused: REVOKED KEY_COMPROMISE"),
             "altered": ("alice", "crl_altered", "^refused: UNDETERMINED_REVOCATION_STATUS"),
             "silent": ("alice", "silent", "^refused: UNDETERMINED_REVOCATION_STATUS")}


@pytest.mark.parametrize("case", CRL_CASES)
def test_java_follows_the_distribution_points_up_to_the_root(provider, case):
    who, lie, says = CRL_CASES[case]
    provider.lie(lie)
    done = java(provider, getattr(provider, who), "crl", "-Dcom.sun.security.enableCRLDP=true")
    assert re.search(says, done.stdout) and (done.returncode == 0) == (case == "good"), done.stdout
    assert provider.middle.asked("/crl/root.crl") and not provider.middle.asked("/ocsp")
    assert case == "silent" or provider.middle.asked("/crl/issuing.crl")


@pytest.mark.parametrize("case", CRL_CASES)
def test_nss_follows_the_distribution_point(provider, case):
    who, lie, _ = CRL_CASES[case]
    provider.lie(lie)
    done = nss(provider, getattr(provider, who), "crl")
    assert ("Chain is good!" in done.stdout and done.returncode == 0) == (case == "good"), done.stdout
    assert case == "good" or "ERROR -8180" in done.stdout, done.stdout
    assert provider.middle.asked("/crl/issuing.crl") and not provider.middle.asked("/ocsp")
