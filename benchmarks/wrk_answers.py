"""What wrk counts are HTTP's answers; a refusal in a protocol's own terms is one of them (a TimeStampResp that grants nothing, an
OCSPResponse of tryLater). Answers of the kind that is measured are much longer, so the mean length tells."""
import re
import sys

UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


def check(out, shortest):
    """`out`: what wrk printed. Ends the benchmark unless all answers can be of at least `shortest` octets, HTTP's head left in."""
    count, amount, unit = re.search(r"(\d+) requests in .*?, ([\d.]+)([KMG]?B) read", out).groups()
    mean = float(amount) * UNITS[unit] / max(int(count), 1)
    if "Non-2xx" in out or "Socket errors" in out or mean < shortest:
        sys.exit(f"some requests were refused (the mean answer has {mean:.0f} octets, {shortest} or more are expected):\n{out}")
