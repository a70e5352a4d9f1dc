#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Search by words: words.py BUILD [--short]. The photos of the demo's packages, and those of scikit-image, which show what
the queries below ask for: how many queries have a right one in the first ten, and as the first. Needs `make models`. Also what
a query costs the server. Prints a line of JSON a figure, as bench/run.sh wants them."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
sys.dont_write_bytecode = True
import harness  # noqa: E402
import test_words  # noqa: E402

KNOWN = (  # what scikit-image's photos show that a network trained on ImageNet has words for; and things that it has not
    ("chelsea.png", True, ("a cat", "a kitten", "a pet animal", "tabby")),
    ("coffee.png", True, ("a cup of coffee", "an espresso", "a hot drink", "a mug on a table")),
    ("motorcycle_left.png motorcycle_right.png", True, ("a motorcycle", "a motorbike in a garage", "a moped")),
    ("rocket.jpg", True, ("a rocket", "a rocket launch", "a missile")),
    ("brick.png", True, ("a brick wall", "a wall of stones")),
    ("camera.png", True, ("a tripod", "a man with a camera")),
    ("clock_motion.png", True, ("a clock", "a wall clock")),
    ("page.png text.png", True, ("a page of a book", "printed text")),
    ("chessboard_GRAY.png chessboard_RGB.png", False, ("a chessboard",)),
    ("astronaut.png", False, ("an astronaut", "a woman in a space suit")),
    ("horse.png", False, ("a horse",)),
    ("coins.png", False, ("old coins",)),
    ("hubble_deep_field.jpg", False, ("galaxies", "stars in the night sky")),
    ("moon.png", False, ("the moon",)),
    ("retina.jpg", False, ("an eye",)),
    ("grass.png", False, ("grass",)),
)


def demo_photos() -> list:
    packages = subprocess.run([ROOT / "tools/deps.sh", "--list", "demo"], capture_output=True, text=True, check=True).stdout.split()
    listed = subprocess.run(["dpkg", "-L", *packages], capture_output=True, text=True, check=False).stdout.split("\n")
    return [path for path in sorted(set(listed)) if path.lower().endswith((".jpg", ".jpeg", ".png", ".webp"))
            and os.path.isfile(path) and not os.path.islink(path)]


def figure(name: str, value: float):
    print(json.dumps({"bench": "words", "figure": name, "value": value, "goal": None, "met": None}, separators=(",", ":")))


def main(build: str, *flags):
    harness.BINARY = os.path.join(build, "deeplens")
    others = demo_photos()[:60 if "--short" in flags else None]
    if not others:
        raise SystemExit("words: the demo's packages are not there (`make deps`)")
    with tempfile.TemporaryDirectory(prefix="deeplens-words-") as scratch:
        server = harness.Server(os.path.join(scratch, "data"), "--models-dir", str(test_words.SHARE / "models"), "--openvino-dir",
                                str(test_words.SHARE / "openvino"))
        with server:
            for name, data in test_words.photos().items():
                server.upload_form(data, name)
            for path in others:
                server.upload_form(pathlib.Path(path).read_bytes(), "other " + os.path.basename(path))
            photos = server.settle()["searchable"]
            ranks = {True: [], False: []}
            times = []
            for names, in_words, texts in KNOWN:
                for text in texts:
                    answer = server.search(text=text, topK=1000).json
                    times.append(answer["tookMs"])
                    found = [hit["fileName"] for hit in answer["results"]]
                    rank = 1 + min(found.index(name) for name in names.split() if name in found)
                    ranks[in_words].append(rank)
                    print("words: %3d  %s" % (rank, text), file=sys.stderr)
    figure("photos", photos)
    for in_words, kind in ((True, "of its classes"), (False, "of other things")):
        figure("queries " + kind, len(ranks[in_words]))
        figure("right in first ten, " + kind, sum(rank <= 10 for rank in ranks[in_words]) / len(ranks[in_words]))
        figure("right first, " + kind, sum(rank == 1 for rank in ranks[in_words]) / len(ranks[in_words]))
    figure("milliseconds a query, p50", statistics.median(times))


if __name__ == "__main__":
    main(*sys.argv[1:])
