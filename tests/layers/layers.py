#!/usr/bin/env python3
"""The fences of src/meson.build, proved twice: planted violations must fail to build, to run or to pass, and the symbols
and libraries of every program built must be those its row allows. usage: layers.py BUILD-DIRECTORY"""
import ast
import functools
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLANTED = ROOT / "tests" / "layers" / "planted"

# ---- the rules ----

# External libraries a program may need, beside the C library, libcrypto and libseccomp.
LIBRARIES = {
    "chancery-keyd": ["jansson"],
    "chancery-auditd": ["curl", "jansson"],
    "chancery-ca": ["ssl", "event", "curl", "sqlite3", "pq", "jansson"],
    "chancery-va": ["ssl", "event", "lmdb", "jansson"],
    "chancery-tsa": ["ssl", "event", "jansson"],
    "chancery-copy": ["ssl", "event", "jansson"],
    "chancery-watch": ["ssl", "event", "curl", "jansson", "systemd"],
    "chancery": ["curl", "jansson"],
    "chancery-token": [],
}
ALWAYS = ["c", "m", "dl", "pthread", "crypto", "seccomp", "ld-linux"]
LIBRARY_OF_FILE = {"event_core": "event", "event_openssl": "event", "event_pthreads": "event", "event_extra": "event"}

# A symbol that matches may be used by these programs only. `why` is what the message says.
SYMBOLS = [
    (r"dlopen|dlmopen", ["chancery-keyd", "chancery-token"], "only hsm loads foreign code"),
    (r"C_GetFunctionList|C_Initialize", [], "PKCS#11 is reached through the module that hsm opened"),
    (r"EVP_(Digest)?Sign(Init|Final|Update)?(_ex)?|EVP_PKEY_sign\w*|EVP_DigestSign\w*|ECDSA_\w*sign\w*|RSA_sign\w*|X509_(CRL_|REQ_)?sign\w*|CMS_sign",
     ["chancery"], "a daemon has no signing key of its own: keyd's module signs; chancery makes daemons' TLS requests"),
    (r"PEM_read\w*PrivateKey\w*|d2i_\w*PrivateKey\w*|EVP_PKEY_(generate|keygen)|EVP_EC_gen|EVP_PKEY_Q_keygen|EVP_RSA_gen", ["chancery"],
     "private keys in files are daemons' TLS keys: libssl reads them, chancery makes them"),
    (r"exec[vl]\w*|execve\w*|system|popen|fork|vfork|posix_spawn\w*", ["chancery", "chancery-watch"],
     "no daemon starts a program; of chancery-watch a process outside the fence does, for alerts (watch_runner.c)"),
    (r"time|gettimeofday|rand|rand_r|srand|random|srandom|drand48|RAND_(priv_)?bytes\w*|localtime(_r)?|mktime", [],
     "time and randomness come from the scope"),
    (r"socket|socketpair|connect|bind|listen|accept4?|send(to|msg)?|recv(from|msg)?|getaddrinfo|gethostby\w+", [p for p in LIBRARIES if p != "chancery-token"],
     "chancery-token reaches nobody: its files are carried by others"),
    (r"gets|strcpy|strcat|sprintf|vsprintf|strtok|tmpnam|mktemp", [], "unbounded or unsafe"),
]


def module_table():
    text = (ROOT / "src" / "meson.build").read_text()
    rows = ast.literal_eval(re.search(r"^modules = (\[.*?^\])", text, re.M | re.S).group(1))
    programs = ast.literal_eval(re.search(r"^programs = (\{.*?^\})", text, re.M | re.S).group(1))
    closures = {}
    for name, _, uses, _ in rows:
        closures[name] = {name}.union(*[closures[used] for used in uses])
    return closures, programs


# ---- reading programs ----


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def needed_libraries(program):
    names = re.findall(r"NEEDED.*\[(?:lib)?(.+?)(?:-[\d.]+|-x86-64|-aarch64)?\.so", output("readelf", "-d", str(program)))
    return {LIBRARY_OF_FILE.get(name, name) for name in names}


def symbols(program):
    """Defined and undefined names, without versions."""
    lines = output("nm", str(program)).splitlines()
    return {line.split()[-1].split("@")[0] for line in lines if line.split()}


@functools.cache
def offers(build, module):
    """The global names a module defines."""
    library = build / "src" / f"libchancery-{module}.a"
    lines = output("nm", "--defined-only", "--extern-only", str(library)).splitlines() if library.exists() else []
    return {line.split()[-1] for line in lines if len(line.split()) == 3}


def violations(build, program, name=None):
    """What the program at this path does against the rules of the program of this name."""
    name = name or program.name
    closures, programs = module_table()
    module = next(m for m, p in programs.items() if p == name)
    own = set().union(*(offers(build, m) for m in closures[module]))
    known = symbols(program)
    found = [f"{name} needs lib{library}" for library in needed_libraries(program) - set(ALWAYS) - set(LIBRARIES[name])]
    for other in sorted(set(closures) - closures[module]):
        found += [f"{name} has {s} of module {other}" for s in sorted(known & (offers(build, other) - own))[:3]]
    for pattern, allowed, why in SYMBOLS:
        if name not in allowed:
            found += [f"{name} uses {s}: {why}" for s in sorted(known) if re.fullmatch(pattern, s)]
    return found


# ---- planted violations ----


def compile_command(build, module_directory):
    for entry in json.loads((build / "compile_commands.json").read_text()):
        source = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if source.parent == ROOT / "src" / module_directory and not source.name.endswith("_test.c"):
            return entry["directory"], shlex.split(entry["command"])
    raise LookupError(f"nothing of {module_directory} is built")


def compile_planted(build, module_directory, source, target):
    """Compile a planted file exactly as one of the module. Returns the compiler's run."""
    directory, command = compile_command(build, module_directory)
    command[command.index("-o") + 1] = str(target)
    command[command.index("-c") + 1] = str(source)
    for option in ("-MF", "-MQ"):
        command[command.index(option) + 1] = str(target) + ".d"
    return subprocess.run(command, cwd=directory, capture_output=True, text=True)


def link_planted(build, program, objects, target, more=()):
    """Link a program as the build does, with planted objects in place of program.c's."""
    line = output("ninja", "-C", str(build), "-t", "commands", f"src/{program}").splitlines()[-1]
    command = shlex.split(line)
    command[command.index("-o") + 1] = str(target)
    at = next(i for i, word in enumerate(command) if word.endswith("program.c.o"))
    command[at:at + 1] = [*map(str, objects)]
    # As the last of the group of libraries, so that their symbols are found.
    command += ["-Wl,--no-as-needed", *more]
    return subprocess.run(command, cwd=build, capture_output=True, text=True)


class Layers:
    def __init__(self, build, scratch):
        self.build, self.scratch = build, scratch

    def object_of(self, module_directory, name):
        target = self.scratch / f"{name}.o"
        run = compile_planted(self.build, module_directory, PLANTED / f"{name}.c", target)
        assert run.returncode == 0, run.stderr
        return target

    def a_module_cannot_include_what_its_row_does_not_name(self):
        cases = [("der", "store.h", "alg.h"), ("services/keyd", "http.h", "hsm.h"), ("services/keyd", "store.h", "pki_key.h"),
                 ("services/va", "store.h", "http.h"), ("services/tsa", "hsm.h", "key.h"), ("services/copy", "client.h", "http.h"), ("services/copy", "hsm.h", "key.h"), ("services/ca", "hsm.h", "store.h"),
                 ("cli", "hsm.h", "client.h"), ("services/auditd", "http.h", "client.h"), ("services/auditd", "store.h", "stamp.h"), ("base", "conf.h", "scope.h"),
                 ("token", "http.h", "hsm.h"), ("token", "client.h", "control_share.h"), ("token", "wire_frame.h", "sandbox.h")]
        for module, forbidden, allowed in cases:
            if module == "der":
                allowed = "der.h"
            for header, expected in ((forbidden, False), (allowed, True)):
                source = self.scratch / "include.c"
                source.write_text(f'#include "{header}"\nint planted(void);\nint planted(void)\n{{\n\treturn 0;\n}}\n')
                run = compile_planted(self.build, module, source, self.scratch / "include.o")
                assert (run.returncode == 0) == expected, f"{module} including {header}: {run.stderr}"
                assert expected or f"{header}: No such file" in run.stderr or "file not found" in run.stderr, run.stderr

    def a_program_cannot_call_what_it_does_not_link(self):
        for program, name, call in (("chancery-keyd", "keyd_calls_http", "http_server_start"),
                                    ("chancery-va", "va_calls_hsm", "hsm_open"), ("chancery-tsa", "tsa_calls_store", "db_tx")):
            planted = self.object_of(f"services/{program.split('-')[1]}", name)
            run = link_planted(self.build, program, [planted], self.scratch / name)
            assert run.returncode != 0 and f"undefined reference to `{call}'" in run.stderr, f"{name}: {run.stderr[-500:]}"

    def the_fence_sees_a_library_that_was_linked_past_it(self):
        planted = self.object_of("services/keyd", "keyd_plain")
        fake = self.scratch / "libpq.so"
        subprocess.run(["cc", "-shared", "-Wl,-soname,libpq.so.5", "-o", str(fake), "-x", "c", "/dev/null"], check=True)
        for library, option in (("curl", "-lcurl"), ("pq", str(fake)), (None, None)):
            target = self.scratch / "linked"
            run = link_planted(self.build, "chancery-keyd", [planted], target, [option] if option else [])
            assert run.returncode == 0, run.stderr
            found = [v for v in violations(self.build, target, "chancery-keyd") if "needs" in v]
            assert found == ([f"chancery-keyd needs lib{library}"] if library else []), found

    def the_fence_sees_symbols_that_are_not_allowed(self):
        planted = self.object_of("services/keyd", "keyd_signs_itself")
        target = self.scratch / "signs"
        run = link_planted(self.build, "chancery-keyd", [planted], target)
        assert run.returncode == 0, run.stderr
        found = " ".join(violations(self.build, target, "chancery-keyd"))
        for symbol in ("EVP_DigestSign", "PEM_read_PrivateKey", "system", "db_tx"):
            assert symbol in found, f"{symbol} in {found}"

    def the_fence_sees_a_token_program_that_reaches_out(self):
        planted = self.object_of("token", "token_reaches_out")
        target = self.scratch / "reaches"
        run = link_planted(self.build, "chancery-token", [planted], target)
        assert run.returncode == 0, run.stderr
        found = " ".join(violations(self.build, target, "chancery-token"))
        for symbol in ("socket", "connect", "getaddrinfo"):
            assert f"uses {symbol}:" in found, f"{symbol} in {found}"

    def keyd_and_a_persons_token_get_no_internet_socket(self):
        """The planted main has their sandbox. Without it the same program gets its socket, so the test can fail."""
        for module, program in (("services/keyd", "chancery-keyd"), ("token", "chancery-token")):
            planted = self.object_of(module, "opens_internet_socket")
            target = self.scratch / "socket"
            run = link_planted(self.build, program, [planted], target)
            assert run.returncode == 0, run.stderr
            assert subprocess.run([str(target), "free"]).returncode == 0
            assert subprocess.run([str(target), "sandbox"]).returncode == 1

    def only_ca_va_tsa_copy_and_watch_may_use_the_network(self):
        """What the services say to daemon_main; keyd and auditd get internet sockets only where their configuration names an address."""
        for service, expected in (("keyd", False), ("auditd", False), ("ca", True), ("va", True), ("tsa", True), ("copy", True), ("watch", True)):
            text = "".join(p.read_text() for p in (ROOT / "src" / "services" / service).glob("*.c"))
            assert bool(re.search(r"\.may_connect_internet = true", text)) == expected, service

    def every_program_keeps_to_its_row(self):
        _, programs = module_table()
        found = []
        for name in programs.values():
            path = self.build / "src" / name
            assert path.exists(), f"{name} is not built"
            found += violations(self.build, path)
        assert not found, "\n  ".join(found)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        layers = Layers(build, pathlib.Path(scratch))
        for name in [n for n in vars(Layers) if not n.startswith("_") and n != "object_of"]:
            try:
                getattr(layers, name)()
                print(f"[       OK ] {name}")
            except (AssertionError, LookupError, OSError, subprocess.CalledProcessError) as error:
                failed += 1
                print(f"[  FAILED  ] {name}\n  {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C"
    sys.exit(main())
