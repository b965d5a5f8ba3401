"""A throw-away installation: set up by `chancery init --test` in a temporary directory on free ports, started, stopped, removed."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from ports import free_ports

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CHANCERY_BUILD", ROOT / "build"))
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
SPY = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so"
DAEMONS = ["keyd-log", "auditd", "keyd-ca", "keyd-status", "keyd-time", "va", "tsa", "ca", "watch"]


def within(seconds, what, pause=0.05):
    """The first true value of what(), or an assertion."""
    until = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(pause)


class Installation:
    def __init__(self, build=BUILD, options=()):
        self.build = pathlib.Path(build)
        self.tool = self.build / "src" / "chancery"
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="chancery-"))
        self.home = self.directory / "home"
        self.base = free_ports(7)
        self.work = self.directory / "work"
        self.work.mkdir()
        self.environment = dict(os.environ)
        self.wrapper = None
        self.check("init", "--test", "--name", "TEST Flow", "--port-base", str(self.base), *options)
        self.env = dict(
            line.split("=", 1) for line in (self.home / "env").read_text().splitlines() if line.startswith("CHANCERY")
        )

    # ---- the tool ----
    def call(self, *arguments, timeout=120):
        return subprocess.run(
            [self.tool, "--home", self.home, *arguments], capture_output=True, text=True, timeout=timeout, env=self.environment
        )

    def check(self, *arguments, timeout=120):
        done = self.call(*arguments, timeout=timeout)
        assert done.returncode == 0, f"chancery {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}{done.stderr}{self.tails()}"
        return done.stdout

    def json(self, *arguments, timeout=120):
        return json.loads(self.check("--json", *arguments, timeout=timeout))

    def tails(self):
        if not (self.home / "log").is_dir():
            return ""
        return "".join(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in sorted((self.home / "log").iterdir()))

    # ---- the daemons ----
    def start(self, environment=None):
        self.environment = dict(os.environ, **(environment or {}))
        self.check("run", "--detach")
        return self

    def start_under(self, *wrapper, environment=None):
        """The same under a program that stays with it, such as strace."""
        self.environment = dict(os.environ, **(environment or {}))
        self.wrapper = subprocess.Popen([*map(str, wrapper), self.tool, "--home", self.home, "run", "--detach"], env=self.environment,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        within(60, lambda: "daemons are ready" in self.log_text("supervisor"))
        return self

    def spy(self, *zones):
        """The module of these zones reports every call, unbuffered, in its keyd's log before it is made; the signatures of a frame come one
        after the other, as on a machine with one processor, so that its prints do not mix and the order is that of the records."""
        for zone in zones:
            path = self.conf(f"keyd-{zone}")
            path.write_text(path.read_text().replace("module = " + SOFTHSM, f"signers = 1\nmodule = {SPY}\ntoken-directory = ../state/keyd-{zone}/tokens"))
            assert SPY in path.read_text()
        return {"PKCS11SPY": SOFTHSM}

    def stop(self):
        self.call("run", "--stop")

    def pid(self, name):
        try:
            pid = int((self.home / "run" / f"{name}.pid").read_text())
            os.kill(pid, 0)
            return pid
        except (OSError, ValueError):
            return None

    def kill(self, name, number=signal.SIGKILL):
        os.kill(self.pid(name), number)

    def close(self):
        self.stop()
        if self.wrapper is not None:
            self.wrapper.wait(30)
        shutil.rmtree(self.directory, ignore_errors=True)

    # ---- things to work with ----
    def conf(self, name):
        return self.home / "etc" / f"{name}.conf"

    def amend(self, name, text):
        """Put lines in front of a configuration."""
        path = self.conf(name)
        path.write_text(text + "\n" + path.read_text())

    def certificate(self, name):
        return self.home / "certificates" / f"{name}.pem"

    def request(self, name="alice", subject=None):
        """A PKCS#10 request made by openssl; the path."""
        path = self.work / f"{name}.csr"
        subject = subject or f"/C=BE/CN={name} TEST/givenName={name}/surname=TEST/serialNumber=PASBE-{name}"
        subprocess.run(
            ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
             self.work / f"{name}.key", "-out", path, "-subj", subject], check=True, capture_output=True)
        return path

    def issue(self, name="alice", *options):
        out = self.work / f"{name}.pem"
        answer = self.json("cert", "issue", "--profile", "ncp-plus-n", "--csr", self.request(name), "--out", out, *options)
        return out, answer["serial"]

    def chain_file(self):
        path = self.work / "ca.pem"
        path.write_text(self.certificate("root").read_text() + self.certificate("issuing").read_text())
        return path

    def ocsp(self, certificate, *options):
        """What `openssl ocsp` says."""
        done = subprocess.run(
            ["openssl", "ocsp", "-issuer", self.certificate("issuing"), "-cert", certificate, "-url", self.env["CHANCERY_OCSP_URL"],
             "-CAfile", self.chain_file(), *options], capture_output=True, text=True)
        return done.stdout + done.stderr

    def crl(self):
        done = subprocess.run(f"curl -sS {self.env['CHANCERY_CRL_URL']} | openssl crl -inform DER -noout -text",
                              shell=True, capture_output=True, text=True)
        return done.stdout + done.stderr

    def log_text(self, name):
        path = self.home / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""
