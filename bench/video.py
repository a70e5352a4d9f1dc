#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Videos: video.py BUILD [--short] [--verbose]. Prints a line of JSON a figure, as bench/run.sh wants them. Needs the `ffmpeg`
program, which makes the videos and is compared with:

- Frames: the choice in its process (`frames`), by ffmpeg that decodes all pictures and scales one of two seconds, looking at
  none; each with one thread, and with as many as there are processors. And the most memory of each.
- To searchable: from an upload's beginning until the video is completed, by the choice alone, on a 1080p video of a minute.
- Copies: edits of films are searched with; how many find their film, and how far the times are off. Films that are not
  there must find nothing."""
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "e2e")]
sys.dont_write_bytecode = True
import harness  # noqa: E402

SIZE = (640, 360)
CODEC = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p")


def figure(name: str, value: float, goal=None, met=None):
    print(json.dumps({"bench": "video", "figure": name, "value": round(value, 3), "goal": goal, "met": met},
                     separators=(",", ":")), flush=True)


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True, timeout=900)


def collage(seed: int, width: int, height: int) -> bytes:
    """A picture of many coloured rectangles of all sizes: something that can be told from others, also in part."""
    rng = random.Random(seed)
    rows = [bytearray(bytes(rng.randrange(256) for _ in range(3)) * width)] * height
    rows = [bytearray(row) for row in rows]
    for _ in range(70):
        w, h = int(width * rng.uniform(0.03, 0.4) ** 1.3) + 2, int(height * rng.uniform(0.05, 0.5) ** 1.3) + 2
        x, y = rng.randrange(width - w), rng.randrange(height - h)
        colour = bytes(rng.randrange(256) for _ in range(3)) * w
        for row in rows[y:y + h]:
            row[3 * x:3 * (x + w)] = colour
    return harness.png_of_rows(width, height, b"".join(b"\0" + bytes(row) for row in rows))


def film(folder: str, seed: int, seconds: int, size=SIZE) -> str:
    """Scenes of two to five seconds, each panned or zoomed, with grain."""
    rng = random.Random(seed)
    inputs, chains, total, i = [], [], 0, 0
    while total < seconds:
        length = min(rng.randint(2, 5), seconds - total)
        picture = f"{folder}/{seed}-{i}.png"
        pathlib.Path(picture).write_bytes(collage(seed * 100 + i, size[0], size[1]))
        inputs += ["-loop", 1, "-t", length, "-r", 25, "-i", picture]
        zoom = rng.choice(["1.02+0.0015*on", "1.3-0.0015*on", "1.15"])
        chains.append(f"[{i}:v]zoompan=z='{zoom}':x='on*{rng.uniform(0.1, 0.8):.2f}':y='on*{rng.uniform(0.05, 0.4):.2f}':d=1:"
                      f"s={size[0]}x{size[1]}:fps=25,trim=duration={length}[s{i}]")
        total += length
        i += 1
    graph = ";".join(chains) + ";" + "".join(f"[s{n}]" for n in range(i)) + f"concat=n={i}:v=1,noise=alls=6:allf=t[v]"
    path = f"{folder}/film{seed}.mp4"
    ffmpeg(*inputs, "-filter_complex", graph, "-map", "[v]", *CODEC, "-crf", 20, path)
    return path


# --- Frames, and to searchable

def measured(command: list) -> tuple:
    """(seconds, peak KiB) of a program."""
    start = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    return time.monotonic() - start, used.ru_maxrss


def choice(build, path: str, threads: int) -> tuple:
    """(frames, seconds, peak KiB)"""
    done = subprocess.run([build / "bench" / "frames", build / "deeplens", path, str(threads)], check=True, capture_output=True,
                          text=True, timeout=900).stdout.split()
    return int(done[0]), float(done[1]), int(done[2])


def large(folder: str, seconds: int) -> str:
    """A 1080p video: a film of a third of that, three times."""
    path = f"{folder}/large.mp4"
    ffmpeg("-stream_loop", 2, "-i", film(folder, 77, seconds // 3), "-vf", "scale=1920:1080", *CODEC, "-crf", 23, path)
    return path


def frames(build, path: str, seconds: int, turns: int) -> float:
    """Median seconds of the choice with as many threads as the server has."""
    for threads in sorted({1, os.cpu_count()}):
        ours, theirs = [], []
        for _ in range(turns):  # in turn, so that what else runs hits both
            ours.append(choice(build, path, threads))
            theirs.append(measured(["ffmpeg", "-v", "error", "-nostdin", "-threads", threads, "-filter_threads", threads, "-i", path,
                                    "-vf", "fps=1/2,scale=512:-2:flags=area,format=rgb24", "-f", "null", "-"]))
        took, other = (statistics.median(one[at] for one in some) for some, at in ((ours, 1), (theirs, 0)))
        name = f"{threads}_thread" + "s" * (threads > 1)
        figure(f"video_seconds_per_s_{name}", seconds / took)
        figure(f"frames_chosen_per_s_{name}", ours[0][0] / took)
        figure(f"choice_vs_ffmpeg_speed_{name}", other / took, 1, other >= took)
        peaks = max(one[2] for one in ours), max(one[1] for one in theirs)
        figure(f"choice_vs_ffmpeg_memory_{name}", peaks[0] / peaks[1], 1, peaks[0] <= peaks[1])
    return statistics.median(choice(build, path, 2)[1] for _ in range(turns))


def searchable(server, build, path: str, seconds: int, turns: int):
    alone, took = frames(build, path, seconds, turns), []
    for i in range(turns):
        data = pathlib.Path(path).read_bytes() + bytes([i])  # the same bytes would be a duplicate
        start = time.monotonic()
        video = upload(server, data)
        while (status := server.get(f"/api/v1/videos/{video}/status").json)["status"] != "completed":
            if status["status"] == "failed":
                raise RuntimeError(json.dumps(status))
            time.sleep(0.01)
        took.append(time.monotonic() - start)
        server.settle()
    figure("upload_to_searchable_s", statistics.median(took))
    figure("upload_to_searchable_vs_choice", statistics.median(took) / alone)


# --- Copy detection: name → (what comes before the input, filter, speed of the edit, where it begins, how long it is)

def edits(seconds: int, rng) -> dict:
    start = rng.uniform(2, seconds - 13)
    return {
        "re_encoded": ((), "scale=320:-2", 1, 0, seconds),
        "cropped": ((), "crop=iw*0.75:ih*0.75", 1, 0, seconds),
        "10_percent_faster": ((), "setpts=PTS/1.1", 1.1, 0, seconds),
        "10_percent_slower": ((), "setpts=PTS/0.9", 0.9, 0, seconds),
        "excerpt_of_10_s": (("-ss", f"{start:.3f}", "-t", 10), "null", 1, start, 10),
        "overlay": ((), "drawbox=x=0:y=ih*0.8:w=iw:h=ih*0.2:color=black:t=fill,drawbox=x=iw*0.8:y=0:w=iw*0.2:h=ih*0.2:"
                        "color=white:t=fill", 1, 0, seconds),
    }


def search(server, path: str) -> list:
    answer = server.request("POST", "/api/v1/search/video", pathlib.Path(path).read_bytes(), {"Content-Type": "video/mp4"})
    if answer.status != 200:
        raise RuntimeError(answer.body.decode())
    return answer.json["results"]


def upload(server, data: bytes) -> str:
    answer = server.request("POST", "/api/v1/videos/upload?fileName=v.mp4", data, {"Content-Type": "video/mp4"})
    if answer.status != 202:
        raise RuntimeError(answer.body.decode())
    return answer.json["videoId"]


def copies(server, folder: str, count: int, seconds: int):
    films = [film(folder, seed, seconds) for seed in range(1, count + 1)]
    ids = [upload(server, pathlib.Path(path).read_bytes()) for path in films]
    server.settle()
    rng, found, off, wrong = random.Random(5), {}, {}, 0
    for path, video in zip(films, ids):
        for name, (before, filters, speed, start, length) in edits(seconds, rng).items():
            edited = f"{folder}/edit.mp4"
            ffmpeg(*before, "-i", path, "-vf", filters, *CODEC, "-crf", 32, edited)
            hits = search(server, edited)
            best = hits[0] if hits else {}
            found.setdefault(name, []).append(best.get("videoId") == video)
            wrong += sum(hit["videoId"] != video for hit in hits)
            if best.get("videoId") == video:
                off.setdefault(name, []).extend([abs(best["from"] - start), abs(best["to"] - start - length)])
                if "--verbose" in sys.argv:
                    print(name, start, length, {k: best[k] for k in ("score", "speed", "from", "to", "queryFrom", "queryTo",
                                                                      "matchingFrames")}, file=sys.stderr)
    for name, right in found.items():
        figure(f"copies_found_{name}", sum(right) / len(right))
        figure(f"ends_off_median_s_{name}", statistics.median(off.get(name, [seconds])))
        figure(f"ends_off_worst_s_{name}", max(off.get(name, [seconds])))
    strangers = [film(folder, seed, seconds) for seed in range(901, 901 + count)]
    figure("other_films_found", wrong + sum(len(search(server, path)) for path in strangers))


def main():
    short = "--short" in sys.argv
    build = pathlib.Path([a for a in sys.argv[1:] if not a.startswith("-")][0]).resolve()
    harness.BINARY = str(build / "deeplens")
    with tempfile.TemporaryDirectory(dir=build / "bench", prefix="tmp-video-") as folder:
        with harness.Server(folder + "/data") as server:
            seconds = 6 if short else 60
            searchable(server, build, large(folder, seconds), seconds, 1 if short else 3)
            copies(server, folder, 1 if short else 6, 20 if short else 40)


if __name__ == "__main__":
    main()
