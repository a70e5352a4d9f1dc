#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ends a run of tools/test.sh: test_report.py LOGS. Counts what Meson's logs in LOGS tell, test by test inside the
programs where they say so (cmocka, unittest); names what was skipped, and why; looks for what the tests left behind:
files in $TMPDIR, processes that have it in their environment (these are ended), reports of sanitizers in LOGS/reports.
Prints the count on the last line; exits 1 when anything failed."""
import json
import os
import pathlib
import re
import signal
import sys

SKIPPED = re.compile(r"^(?:\[  SKIPPED \] (?P<c>\w+)|(?P<p>test_\w+) .*skipped ['\"](?P<why>.*)['\"])$", re.M)


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def fail(self, what):
        self.failed += 1
        print("FAILED:", what)


def inside(text):
    """(tests run, of them failed, of them skipped) as the program's own output counts them; None when it does not."""
    run = sum(int(n) for n in re.findall(r"^\[==========\] .*?(\d+) test\(s\) run\.", text, re.M))
    if run:
        # cmocka names a failed test in its list and again in its summary; the summary counts.
        failed = sum(int(n) for n in re.findall(r"^\[  FAILED  \] .*?(\d+) test\(s\), listed below", text, re.M))
        return run, failed, len(re.findall(r"^\[  SKIPPED \] \w+$", text, re.M))
    found = re.search(r"^Ran (\d+) tests? in .*\n\n(OK|FAILED)(.*)$", text, re.M)
    if found:
        numbers = dict(re.findall(r"(\w+)=(\d+)", found.group(3)))
        return int(found.group(1)), *(sum(int(numbers.get(k, 0)) for k in kinds)
                                      for kinds in (("failures", "errors"), ("skipped",)))
    return None


def count_program(count, stage, test):
    name = f"{stage}: {test['name'].split(' / ')[-1]}"
    text = (test.get("stdout") or "") + "\n" + (test.get("stderr") or "")
    run, failed, skipped = inside(text) or (1, 0, 0)
    if test["result"] == "SKIP":
        run, failed, skipped = 1, 0, 1
        print(f"could not run: {name}: {text.strip().splitlines()[-1] if text.strip() else 'no reason given'}")
    for match in SKIPPED.finditer(text):
        print(f"could not run: {name}: {match['c'] or match['p']}: {match['why'] or 'see its source'}")
    bad = test["result"] not in ("OK", "SKIP", "EXPECTEDFAIL")
    if bad:
        print(f"FAILED: {name}: {test['result'].lower()}")
        failed = failed or 1
        run = max(run, failed + skipped)
    count.passed += run - failed - skipped
    count.failed += failed
    count.skipped += skipped


def end_processes(marker):
    """Ends the processes that carry the marker in their environment; gives their command lines."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if int(entry.name) == os.getpid() or marker not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
            os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue  # it ended meanwhile, or is another user's
    return found


def main():
    logs = pathlib.Path(sys.argv[1])
    count = Count()
    tested = set()
    for path in sorted(logs.glob("*.json")):
        stage = {"build": "plain"}.get(path.stem, path.stem.removeprefix("build-"))
        tested.add(stage)
        for line in path.read_text(errors="replace").splitlines():
            count_program(count, stage, json.loads(line))
    for line in (logs / "stages").read_text().splitlines():
        stage, result = line.split()
        if result == "passed" and stage not in tested:
            count.passed += 1
        elif result == "failed" and (stage not in tested or not count.failed):
            count.fail(f"stage {stage}")
    for report in sorted((logs / "reports").iterdir()):
        count.fail(f"a sanitizer reported {report}:\n" + report.read_text(errors="replace")[:4000])
    for command in end_processes(b"TMPDIR=" + os.environb[b"TMPDIR"]):
        count.fail(f"a process was left: {command}")
    for left in sorted(pathlib.Path(os.environ["TMPDIR"]).iterdir()):
        count.fail(f"a file was left: {left.name}")
    print(f"{count.passed} passed, {count.failed} failed" + (f", {count.skipped} skipped" if count.skipped else ""))
    return 1 if count.failed or not count.passed else 0


if __name__ == "__main__":
    sys.exit(main())
