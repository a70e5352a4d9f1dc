#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what the fuzzers start from, a folder each: make_seeds.py FOLDER PICTURES_PROGRAM. Events and tokenizers are the
files in seeds/; pictures come from tests/e2e/pictures.c, whole and cut; videos from the
`ffmpeg` program; filters, schedules and forms are made here."""
import pathlib
import shutil
import subprocess
import sys

FILTERS = [
    '{}', '{"category": "shoes", "price": 10.5, "sold": false, "nothing": null}',
    '{"tags": ["red", "summer", 7], "size": {"width": 3, "unit": {"name": "cm"}}}',
    '{"tags": {"all": ["red", "summer"]}}', '{"tags": {"not": ["blue"], "exists": true}}',
    '{"price": {"gt": 9.99, "lt": 1e3}, "levels": {"gte": 5, "lte": 5}}',
    '{"taken": {"gte": "2026-05-01T12:00:00+02:00", "lt": "2026-05-02"}}', '{"size.unit.name": "cm"}',
    '{"or": [{"and": [{"price": 1}, {}]}, {"not": {"or": [{"price": 1}, {"price": 2}]}}]}',
]

SCHEDULES = ["30 2 * * *", "*/15 0-5,20 1,15 * MON-FRI", "10-50/20 * 29 FEB 7", "@weekly", " 0\t0 31 1-12/2 * "]


def form(*parts, end="---x--\r\n"):
    return ("".join(f"---x\r\n{head}\r\n\r\n{body}\r\n" for head, body in parts) + end).encode()


FORMS = [
    form(('Content-Disposition: form-data; name="topK"', "5")),
    form(('Content-Disposition: form-data; name="file"; filename="a\\"b.png"\r\nContent-Type: image/png', "\x89PNG\r\n--x\r\n---"),
         ("content-disposition: form-data; name=metadata", '{"price": 1}')),
    form(('Content-Disposition: form-data; name="f"; filename*=UTF-8\'\'%e2%82%ac.jpg', "x" * 300), end="---x--"),
    b"before\r\n" + form(('Content-Disposition: form-data; name=""', "")) + b"after",
    form(("Content-Type: multipart/mixed; boundary=b\r\nContent-Disposition: form-data; name=a", "1"), end=""),
]


def details(count):  # as media/details/pack.c writes them: layout, ends of the kinds, then each detail
    rows = (bytes((i * 37 + k * 11) % 256 for k in range(24)) for i in range(count))
    return bytes([1, count // 3, count // 2, count]) + b"".join(rows)


VIDEOS = {"a.mp4": "libx264", "b.mov": "mpeg4", "c.webm": "libvpx", "d.mkv": "libx265", "e.avi": "mjpeg", "f.ts": "mpeg2video",
          "g.mpg": "mpeg1video", "h.3gp": "h263"}


def write(folder, seeds):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds:
        (folder / name).write_bytes(data)


def main():
    folder, program = pathlib.Path(sys.argv[1]), sys.argv[2]
    write(folder / "filter", ((f"{i}.json", text.encode()) for i, text in enumerate(FILTERS)))
    write(folder / "cron", ((f"{i}.txt", text.encode()) for i, text in enumerate(SCHEDULES)))
    write(folder / "multipart", ((f"{i}.form", data) for i, data in enumerate(FORMS)))
    write(folder / "details", ((f"{n}.details", details(n)) for n in (0, 1, 7, 96)))
    for name in ("event", "tokenizer"):
        shutil.copytree(pathlib.Path(__file__).parent / "seeds" / name, folder / name)
    made = folder / "image"
    made.mkdir()
    subprocess.run([program, made], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    write(made, [("cut-" + p.name, p.read_bytes()[: p.stat().st_size // 2]) for p in sorted(made.iterdir())])
    shutil.copytree(made, folder / "probe")
    films = folder / "video"
    films.mkdir()
    for name, codec in VIDEOS.items():
        command = ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=d=0.2:s=64x48:r=25", "-c:v", codec]
        subprocess.run([*command, *(["-s", "176x144"] if codec == "h263" else []), films / name], check=True,
                       stderr=subprocess.DEVNULL)
    write(films, [("cut-" + p.name, p.read_bytes()[: p.stat().st_size // 2]) for p in sorted(films.iterdir())])


if __name__ == "__main__":
    main()
