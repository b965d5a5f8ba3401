#!/usr/bin/env python3
"""Every event of the catalogue is written somewhere, and docs/dev/catalogue.md says which entry of which standard it answers. usage: catalogue.py"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROW = re.compile(r'^(EVENT|MANUAL)\((\w+),\s+"([^"]+)"', re.M)


def rows(text):
    """(macro, symbol, name)"""
    return ROW.findall(text)


def writes(code, symbol):
    """Whether a record of this event is begun here, or the event is handed to what begins it."""
    if not re.search(r"\baudit_begin(_as)?\(", code):
        return re.search(rf"\baudit_tally_add\([^;]*\bAUDIT_{symbol}\b", code) is not None
    read_only = rf"audit_row\(AUDIT_{symbol}\)|== AUDIT_{symbol}\b|!= AUDIT_{symbol}\b"
    return re.search(rf"\bAUDIT_{symbol}\b", re.sub(read_only, "", code)) is not None


def sources():
    return {p.relative_to(ROOT): p.read_text() for p in sorted((ROOT / "src").rglob("*.c")) if not p.name.endswith("_test.c")}


def unwritten(table, code):
    """Names of rows of no writer. Manual ones have one: chancery record add."""
    return [name for macro, symbol, name in table
            if macro == "EVENT" and not any(f"AUDIT_{symbol}" in text and writes(text, symbol) for text in code.values())]


def undocumented(table, page):
    told = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", page))
    names = {name for _, _, name in table}
    return sorted(names - told), sorted(told - names)


def self_test():
    table = [("EVENT", "A", "a.b"), ("EVENT", "C", "c.d"), ("MANUAL", "E", "e.f"), ("EVENT", "H", "host.x")]
    code = {"x.c": "audit_begin(&e, s, AUDIT_A);", "y.c": "if (row == audit_row(AUDIT_C)) audit_begin(&e, s, AUDIT_A);"}
    assert unwritten(table, code) == ["c.d", "host.x"]
    assert unwritten(table, {**code, "z.c": "audit_tally_add(t, AUDIT_C, f, 1);", "w.c": "audit_begin_as(&e, s, AUDIT_H, id);"}) == []
    assert undocumented(table, "`a.b` `c.d` `e.f` `g.h`") == (["host.x"], ["g.h"])
    assert rows('EVENT(A,   "a.b", X)\nMANUAL(E, "e.f", Y)\n#define EVENT(x)') == [("EVENT", "A", "a.b"), ("MANUAL", "E", "e.f")]


def main():
    self_test()
    table = rows((ROOT / "src/audit/audit_events.def").read_text())
    missing = unwritten(table, sources())
    faults = [f"src/audit/audit_events.def: {name} is written nowhere" for name in missing]
    missing, unknown = undocumented(table, (ROOT / "docs/dev/catalogue.md").read_text())
    faults += [f"docs/dev/catalogue.md: {name} is not in it" for name in missing] + [f"docs/dev/catalogue.md: there is no event {name}" for name in unknown]
    print("\n".join(faults) if faults else f"[       OK ] {len(table)} events are told and written")
    return 1 if faults else 0


sys.exit(main())
