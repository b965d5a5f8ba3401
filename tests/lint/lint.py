#!/usr/bin/env python3
"""Rules of CODING.md that a machine can check. usage: lint.py [FILE...] (every C file of the project without arguments)"""
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FUNCTION_MAX = 90
FILE_MAX = 800

# name, pattern, where it does not hold (regular expression on the path), what to do instead
RULES = [
    ("relative include", r'#include "[^"]*\.\./', None, "include by name: the row of src/meson.build gives the path"),
    ("clock", r"(?<![.>])\b(time\(|gettimeofday\(|clock_gettime\(CLOCK_REALTIME\b)", r"^src/base/", "scope_now() or moment_monotonic()"),
    ("randomness", r"(?<![.>])\b(rand|random|srand|RAND_bytes|RAND_priv_bytes|getrandom)\(", r"^src/base/|_test\.c$", "scope_random()"),
    ("allocation", r"\b(malloc|calloc|realloc|strdup|strndup|asprintf)\(", r"^src/base/|^fuzz/replay\.c|_test\.c$", "scope_alloc() or heap_alloc()"),
    ("unbounded string call", r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol)\(", r"_test\.c$", "span, buf, scope_printf(), decimal_parse()"),
    ("goto", r"\bgoto\b", None, "AUTO_... cleanup and early return"),
    ("local time", r"\b(localtime|localtime_r|mktime|strptime)\(", None, "moment_...: UTC everywhere"),
    ("unfinished", r"\b(TODO|FIXME|XXX)\b", None, "finish it"),
    ("workplace path", r"/work/", None, "paths of one machine do not belong into the project"),
]


def without_comments_and_strings(text):
    """Same length and lines, so that positions stay true; includes keep their names."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group())
    pattern = r'/\*.*?\*/|//[^\n]*|(?<!#include )"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, blank, text, flags=re.S)


def functions(text):
    """(name, first line, lines) of every definition: a brace in the first column closes what one opened there."""
    lines = text.split("\n")
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            first = number - 1
            while first > 1 and lines[first - 2].strip() and not lines[first - 2].rstrip().endswith((";", "}", "*/")):
                first -= 1
            heading = " ".join(lines[first - 1:number - 1])
            name = re.search(r"(\w+)\s*\((?!\()", re.sub(r"__attribute__\(\(.*?\)\)\)?", "", heading))
            start = (name.group(1) if name and "=" not in heading else None, first)
        elif line.startswith("}") and start is not None:
            if start[0]:
                yield start[0], start[1], number - start[1] + 1
            start = None


def takes_code(code, opening):
    """Whether the call whose parenthesis opens there is followed by .code: an explicit best effort."""
    depth = 0
    for at in range(opening, len(code)):
        depth += {"(": 1, ")": -1}.get(code[at], 0)
        if depth == 0:
            return code.startswith(".code", at + 1)
    return False


def fallible_functions(files):
    """Names of functions that return st and are seen beyond their file."""
    text = "\n".join(f.read_text() for f in files)
    return set(re.findall(r"^st (\w+)\(", text, re.M)) | set(re.findall(r"^\s+st \(\*(\w+)\)\(", text, re.M))


def check_file(path, fallible):
    relative = path.relative_to(ROOT).as_posix()
    text = path.read_text()
    code = without_comments_and_strings(text)
    for name, pattern, exempt, instead in RULES:
        if exempt and re.search(exempt, relative):
            continue
        searched = text if name in ("unfinished", "workplace path") else code
        for match in re.finditer(pattern, searched):
            yield f"{relative}:{searched.count(chr(10), 0, match.start()) + 1}: {name}: {match.group()}; instead: {instead}"
    for match in re.finditer(r"\(void\)\s*(?:\w+->|\w+\.)*(\w+)\(", code):
        own = re.findall(r"^static st (\w+)\(", code, re.M)
        other = re.findall(r"^static (?!st )[\w *]+?(\w+)\(", code, re.M)
        if takes_code(code, match.end() - 1):
            continue
        if (match.group(1) in own or match.group(1) in fallible - set(other)) and not relative.startswith("fuzz/") and not relative.endswith("_test.c"):
            line = code.count("\n", 0, match.start()) + 1
            yield f"{relative}:{line}: dropped result of {match.group(1)}: TRY() it, or deal with its code"
    lines = text.count("\n")
    if lines > FILE_MAX:
        yield f"{relative}: {lines} lines, at most {FILE_MAX}"
    for name, first, count in functions(code):
        if count > FUNCTION_MAX:
            yield f"{relative}:{first}: {name} has {count} lines, at most {FUNCTION_MAX}"


def all_files():
    return sorted(p for d in ("src", "fuzz", "tests") for p in (ROOT / d).rglob("*.[ch]"))


def self_test():
    """Each rule finds what it is for: a lint that finds nothing proves nothing."""
    bad = 'int f(void)\n{\n\tgoto x; time(0); rand(); malloc(1); strcpy(a, b); mktime(0); (void)fails(s);\n}\n#include "../x.h"\n// TODO\n// /work/x\n'
    sample = ROOT / "src" / "lint-sample.c"
    class Sample:
        def relative_to(self, root):
            return sample.relative_to(root)
        def read_text(self):
            return bad + "int g(void)\n{\n" + "\tx();\n" * 90 + "}\n" + "\n" * 800
    found = list(check_file(Sample(), {"fails"}))
    for rule in [r[0] for r in RULES] + ["dropped result", "at most 90", "at most 800"]:
        assert any(rule in f for f in found), f"the rule '{rule}' finds nothing"


def misformatted(files):
    """What clang-format would lay out in another way; planted violations are as they are."""
    files = [str(f) for f in files if "planted" not in f.parts]
    run = subprocess.run(["clang-format-14", "--dry-run", "--Werror", *files], cwd=ROOT, capture_output=True, text=True)
    for path, line in re.findall(r"^(\S+?):(\d+):\d+: error:", run.stderr, re.M):
        yield f"{pathlib.Path(path).relative_to(ROOT)}:{line}: not laid out as clang-format does it; run: clang-format-14 -i {path}"


def test_misformatted():
    with tempfile.TemporaryDirectory(dir=ROOT / "tests" / "lint") as directory:
        sample = pathlib.Path(directory) / "sample.c"
        sample.write_text("int  f(void) {return 1;}\n")
        assert list(misformatted([sample])), "clang-format finds nothing in a file that is laid out badly"


def main():
    self_test()
    test_misformatted()
    files = [pathlib.Path(a).resolve() for a in sys.argv[1:]] or all_files()
    fallible = fallible_functions(all_files())
    found = [f for path in files for f in check_file(path, fallible)] + list(
        misformatted(files + sorted((ROOT / "benchmarks").rglob("*.[ch]"))))
    for line in found:
        print(line)
    lengths = sorted(n for p in files if p.parts[len(ROOT.parts)] == "src"
                     for _, _, n in functions(without_comments_and_strings(p.read_text())))
    if lengths:
        print(f"functions in src: {len(lengths)}, median {statistics.median(lengths):.0f}, 90th percentile "
              f"{lengths[int(len(lengths) * 0.9)]}, longest {lengths[-1]}")
    print(f"[       OK ] {len(files)} files keep the rules" if not found else f"[  FAILED  ] {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
