# SPDX-License-Identifier: Apache-2.0
"""Videos, end to end: every container and codec that is taken, hostile files, moments that are found, and what is
promised of uploads. The `ffmpeg` program makes the files: scenes of coloured blocks, panned and zoomed, and what its
filters draw. Made once for all tests of the file."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

from harness import BINARY, Case, files_below, multipart, pictures, png, wait_until, webp_size

SCENES = (11, 22, 33)  # seeds of what the three scenes show
SCENE = 3              # seconds of each
# Sanitizers map terabytes, so that address space has no limit in such a build.
SANITIZED = any(mark in pathlib.Path(BINARY).read_bytes() for mark in (b"__asan_init", b"__tsan_init"))


def ffmpeg(*arguments) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True, timeout=120)


def workers_of(server) -> list:
    """The processes that decode."""
    found = []
    for path in pathlib.Path("/proc").iterdir():
        try:
            if path.name.isdigit() and int((path / "stat").read_text().rsplit(")", 1)[1].split()[1]) == server.process.pid:
                found += [int(path.name)] * (b"worker-video" in (path / "cmdline").read_bytes())
        except OSError:  # it ended
            pass
    return found


class Files:
    """Videos by name, in a folder of their own."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="deeplens-videos-")

    def path(self, name) -> pathlib.Path:
        return pathlib.Path(self.folder, name)

    def make(self, name, *arguments) -> bytes:
        """ffmpeg's output under the name, made when it is first asked for."""
        path = self.path(name)
        if not path.exists():
            ffmpeg(*arguments, path)
        return path.read_bytes()

    def drawn(self, name, *codec, seconds=2, size="160x120", rate=25) -> bytes:
        return self.make(name, "-f", "lavfi", "-i", f"testsrc2=d={seconds}:s={size}:r={rate}", *codec)

    def film(self, name="film.mp4", *codec) -> bytes:
        """Three scenes of three seconds, each moving over a picture that searches can look for."""
        inputs, chains = [], []
        for i, seed in enumerate(SCENES):
            picture = self.path(f"scene{seed}.png")
            if not picture.exists():
                picture.write_bytes(png(seed, 640, 480))
            inputs += ["-loop", "1", "-t", SCENE, "-r", 25, "-i", picture]
            move = "1+0.0005*on" if i % 2 else "1.04-0.0005*on"
            chains.append(f"[{i}:v]zoompan=z='{move}':x='on/8':y='on/16':d=1:s=320x240:fps=25,trim=duration={SCENE}[s{i}]")
        joined = "".join(f"[s{i}]" for i in range(len(SCENES)))
        graph = ";".join(chains) + f";{joined}concat=n={len(SCENES)}:v=1[v]"
        return self.make(name, *inputs, "-filter_complex", graph, "-map", "[v]",
                         *(codec or ("-c:v", "libx264", "-pix_fmt", "yuv420p")))


H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


class VideoCase(Case):
    @classmethod
    def setUpClass(cls):
        cls.files = Files()
        cls.addClassCleanup(shutil.rmtree, cls.files.folder, True)

    def upload(self, server, data, name="v.mp4", tenant=None, **query):
        body, kind = multipart(query.items(), (name, data))
        headers = {"Content-Type": kind, **({"X-Tenant-Id": tenant} if tenant else {})}
        return server.request("POST", "/api/v1/videos/upload", body, headers)

    def status(self, server, video) -> dict:
        return server.get(f"/api/v1/videos/{video}/status").json

    def wait(self, server, video, *wanted) -> dict:
        def ended():
            status = self.status(server, video)
            return status if status["status"] in (wanted or ("completed", "failed")) else None
        return wait_until(ended, f"{video} ends")

    def add(self, server, data, name="v.mp4", **query) -> str:
        answer = self.upload(server, data, name, **query)
        self.assertEqual(answer.status, 202, answer.body)
        return answer.json["videoId"]

    def frames(self, server, video) -> list:
        items, cursor = [], ""
        while cursor is not None:
            page = server.get(f"/api/v1/videos/{video}/frames?limit=3&cursor={cursor}").json
            items += page["items"]
            cursor = page["nextCursor"]
        return items

    def times(self, server, video) -> list:
        return [frame["time"] for frame in self.frames(server, video)]


class Formats(VideoCase):
    def kinds(self) -> dict:
        """Name → (bytes, format, content type, codec)."""
        d = self.files.drawn
        mp4, webm, mkv = ("MP4", "video/mp4"), ("WEBM", "video/webm"), ("MKV", "video/x-matroska")
        mov, avi = ("MOV", "video/quicktime"), ("AVI", "video/x-msvideo")
        return {
            "h264.mp4": (d("h264.mp4", *H264), *mp4, "h264"),
            "hevc.mp4": (d("hevc.mp4", "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le",
                           "-x265-params", "log-level=none"), *mp4, "hevc"),
            "av1.mp4": (d("av1.mp4", "-c:v", "libaom-av1", "-cpu-used", 8, "-row-mt", 1, seconds=1), *mp4, "av1"),
            "h264.mov": (d("h264.mov", *H264), *mov, "h264"),
            "prores.mov": (d("prores.mov", "-c:v", "prores_ks"), *mov, "prores"),
            "vp8.webm": (d("vp8.webm", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", 8), *webm, "vp8"),
            "vp9.webm": (d("vp9.webm", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", 8), *webm, "vp9"),
            "h264.mkv": (d("h264.mkv", *H264), *mkv, "h264"),
            "mpeg4.avi": (d("mpeg4.avi", "-c:v", "mpeg4"), *avi, "mpeg4"),
            "mjpeg.avi": (d("mjpeg.avi", "-c:v", "mjpeg"), *avi, "mjpeg"),
            "h264.ts": (d("h264.ts", *H264), "MPEG-TS", "video/mp2t", "h264"),
            "mpeg2.mpg": (d("mpeg2.mpg", "-c:v", "mpeg2video"), "MPEG-PS", "video/mpeg", "mpeg2video"),
            "h263.3gp": (d("h263.3gp", "-c:v", "h263", "-s", "176x144"), "3GP", "video/3gpp", "h263"),
        }

    def test_every_container_and_codec(self):
        with self.server() as server:
            kinds = self.kinds()
            ids = {name: self.add(server, data, name) for name, (data, *_) in kinds.items()}
            for name, (_, kind, content_type, codec) in kinds.items():
                with self.subTest(name):
                    status = self.wait(server, ids[name])
                    self.assertEqual(status["status"], "completed", status)
                    item = server.get(f"/api/v1/videos/{ids[name]}").json
                    self.assertEqual((item["kind"], item["format"], item["contentType"]), ("video", kind, content_type))
                    self.assertEqual((item["video"]["codec"], item["video"]["complete"]), (codec, True))
                    self.assertAlmostEqual(item["video"]["duration"], 1 if name == "av1.mp4" else 2, delta=0.3)
                    self.assertGreater(item["width"], 150)
                    frames = self.frames(server, ids[name])
                    self.assertGreaterEqual(len(frames), 1)
                    self.assertEqual({frame["status"] for frame in frames}, {"completed"})
                    self.assertEqual(frames[0]["videoId"], ids[name])
                    picture = server.get(frames[0]["originalUrl"])
                    self.assertEqual((picture.status, picture.body[:4], picture.body[8:12]), (200, b"RIFF", b"WEBP"))
            ledger = server.settle()
            self.assertEqual((ledger["accepted"], ledger["searchable"]), (len(kinds), len(kinds)))

    def test_what_is_known_of_a_video(self):
        data = self.files.make("full.mp4", "-f", "lavfi", "-i", "testsrc2=d=2:s=160x120:r=30", "-f", "lavfi", "-i",
                               "sine=d=2", *H264, "-c:a", "aac")
        turned = self.files.make("turned.mp4", "-i", self.files.path("full.mp4"), "-c", "copy",
                                 "-metadata:s:v", "rotate=90")
        wide = self.files.drawn("wide.mp4", *H264, "-vf", "setsar=2/1")
        uneven = self.files.make("uneven.mp4", "-f", "lavfi", "-i", "testsrc2=d=3:s=160x120:r=25", "-vf",
                                 "select='not(mod(n\\,3))+gt(t\\,2)'", "-vsync", "vfr", *H264)
        pieces = self.files.drawn("pieces.mp4", *H264, "-movflags", "frag_keyframe+empty_moov")
        with self.server() as server:
            ids = [self.add(server, data, metadata=json.dumps({"shop": "north"})) for data in
                   (data, turned, wide, uneven, pieces)]
            for video in ids:
                self.assertEqual(self.wait(server, video)["status"], "completed")
            items = [server.get(f"/api/v1/videos/{video}").json for video in ids]
            self.assertEqual((items[0]["width"], items[0]["height"]), (160, 120))
            self.assertEqual((items[0]["video"]["fps"], items[0]["video"]["audio"]), (30, "aac"))
            self.assertEqual(items[0]["metadata"], {"shop": "north"})
            self.assertEqual((items[1]["width"], items[1]["height"]), (120, 160))
            self.assertIn(items[1]["video"]["rotation"], (90, 270))
            frame = self.frames(server, ids[1])[0]
            self.assertEqual((frame["width"], frame["height"]), (120, 160))
            self.assertEqual((items[2]["width"], items[2]["height"]), (320, 120))
            self.assertAlmostEqual(items[3]["video"]["duration"], 3, delta=0.3)
            self.assertTrue(items[4]["video"]["complete"])

    def test_what_is_refused_at_once(self):
        with self.server("--video-max-bytes", "100000") as server:
            for name, data, status, code in (
                    ("an image", png(1), 415, "UNSUPPORTED_MEDIA"), ("text", b"a text" * 1000, 415, "UNSUPPORTED_MEDIA"),
                    ("a playlist", b"#EXTM3U\nhttp://127.0.0.1/x.ts\n", 415, "UNSUPPORTED_MEDIA"),
                    ("nothing", b"", 422, "EMPTY_FILE"),
                    ("too much", b"\0\0\0\x18ftypisom" + bytes(200000), 413, "BODY_TOO_LARGE")):
                with self.subTest(name):
                    answer = self.upload(server, data)
                    self.assertEqual((answer.status, answer.json["code"]), (status, code))
            answer = server.upload(self.files.drawn("h264.mp4", *H264))
            self.assertEqual((answer.status, answer.json["code"]), (415, "UNSUPPORTED_MEDIA"))
            self.assertEqual(server.settle()["accepted"], 0)
        self.assertEqual([f for f in files_below(self.scratch + "/data") if "videos/" in f], [])

    def test_hostile_files(self):
        whole = self.files.drawn("h264.mp4", *H264)
        mkv = self.files.film("film.mkv", *H264)
        huge = self.files.drawn("huge.avi", "-c:v", "mjpeg", seconds=0.2, size="16000x8000", rate=5)
        sound = self.files.make("sound.mp4", "-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac")
        black = self.files.make("black.mp4", "-f", "lavfi", "-i", "color=black:d=2:s=160x120", *H264)
        long = bytearray(whole)  # says that it lasts a month
        for box, at in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
            at += long.rindex(box)
            long[at:at + 4] = b"\x7f\xff\xff\xff"
        offsets = bytearray(whole)  # its pictures are beyond its end
        at = offsets.rindex(b"stco") + 12
        offsets[at:at + 4] = b"\x7f\xff\xff\xff"
        failures = {"without an index": (whole[:whole.rindex(b"moov") - 4], "VIDEO_CORRUPT"),
                    "noise": (whole[:48] + bytes(range(256)) * 400, "VIDEO_CORRUPT"),
                    "a head alone": (whole[:40], "VIDEO_CORRUPT"), "too many pixels": (huge, "VIDEO_TOO_LARGE"),
                    "sound alone": (sound, "VIDEO_EMPTY"), "offsets beyond its end": (bytes(offsets), "VIDEO_EMPTY")}
        what_can_be_had = {"cut off": (mkv[:len(mkv) // 2], False), "black": (black, True), "a lie": (bytes(long), None)}
        with self.server() as server:
            began = {name: self.add(server, data) for name, (data, _) in {**failures, **what_can_be_had}.items()}
            for name, (_, code) in failures.items():
                with self.subTest(name):
                    status = self.wait(server, began[name])
                    self.assertEqual((status["status"], status["error"]["code"]), ("failed", code), status)
            for name, (_, complete) in what_can_be_had.items():
                with self.subTest(name):
                    self.assertEqual(self.wait(server, began[name])["status"], "completed")
                    self.assertGreaterEqual(len(self.frames(server, began[name])), 1)
                    known = server.get(f"/api/v1/videos/{began[name]}").json["video"]
                    if complete is not None:
                        self.assertEqual(known["complete"], complete)
                    self.assertLess(known["duration"], 10)
            ledger = server.settle()
            self.assertTrue(ledger["closes"])
            self.assertEqual((ledger["failed"], ledger["searchable"]), (len(failures), len(what_can_be_had)))


class Moments(VideoCase):
    def search(self, server, data, tenant=None, **fields) -> list:
        body, kind = multipart(((k, json.dumps(v)) for k, v in fields.items()), ("q.png", data))
        headers = {"Content-Type": kind, **({"X-Tenant-Id": tenant} if tenant else {})}
        answer = server.request("POST", "/api/v1/search", body, headers)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json["results"]

    def test_a_picture_finds_the_video_and_the_moment(self):
        film = self.files.film()
        with self.server() as server:
            video = self.add(server, film, metadata=json.dumps({"shop": "north"}), tags="film")
            other = self.add(server, self.files.drawn("h264.mp4", *H264))
            image = server.upload(png(SCENES[1], 320, 240)).json["imageId"]
            for each in (video, other):
                self.assertEqual(self.wait(server, each)["status"], "completed")
            server.settle()
            for i, seed in enumerate(SCENES):
                hits = self.search(server, png(seed, 640, 480))
                self.assertEqual(len({hit.get("videoId", hit["imageId"]) for hit in hits}), len(hits), "one hit a video")
                best = next(hit for hit in hits if hit.get("videoId") == video)
                self.assertEqual([h for h in hits if h["imageId"] != image][0], best)
                self.assertTrue(i * SCENE <= best["time"] < (i + 1) * SCENE, best)
                self.assertEqual(best["url"], f"/api/v1/videos/{video}/original#t={best['time']:.3f}")
                self.assertEqual(best["fileName"], "v.mp4")
                times = [moment["time"] for moment in best["moments"]]
                self.assertEqual(sorted(times + [best["time"]]), self.times(server, video))
                scores = [best["score"]] + [moment["score"] for moment in best["moments"]]
                self.assertEqual(scores, sorted(scores, reverse=True))
                self.assertEqual(server.get(best["thumbnailUrl"]).status, 200)
            self.assertEqual({hit.get("videoId") for hit in self.search(server, png(1), filter={"shop": "north"})}, {video})
            self.assertEqual({hit.get("videoId") for hit in self.search(server, png(1), filter={"videoId": other})}, {other})
            frame = self.frames(server, video)[0]["imageId"]
            self.assertNotIn(frame, [h["imageId"] for h in server.search(imageId=frame).json["results"]])
            self.assertEqual([item["imageId"] for item in server.items()], [image])

    def test_one_page_after_the_other(self):
        with self.server() as server:
            ids = [self.add(server, self.files.film(f"film{i}.mkv", *H264, "-metadata", f"title={i}")) for i in range(3)]
            ids += [server.upload(png(SCENES[0] + i)).json["imageId"] for i in range(3)]
            server.settle()
            found, cursor = [], None
            query = self.frames(server, ids[0])[0]["imageId"]
            while True:
                page = server.search(imageId=query, topK=2, **({"cursor": cursor} if cursor else {})).json
                found += [hit.get("videoId", hit["imageId"]) for hit in page["results"]]
                cursor = page["nextCursor"]
                if not cursor:
                    break
            self.assertEqual(sorted(found), sorted(ids))

    def test_command_line(self):
        folder = pathlib.Path(self.scratch, "in")
        folder.mkdir()
        (folder / "film.mp4").write_bytes(self.files.film())
        (folder / "picture.png").write_bytes(png(5))
        with self.server() as server:
            def run(*arguments):
                done = self.cli(*arguments, server=server)
                self.assertEqual(done.returncode, 0, done.stderr)
                return done.stdout
            report = json.loads(run("upload", "--wait", "--json", str(folder)))
            self.assertEqual((report["uploaded"], report["searchable"]), (2, 2))
            video = next(item["videoId"] for item in report["images"] if item.get("videoId"))
            self.assertRegex(run("status", video), r"frames found")
            self.assertRegex(run("list", "--videos"), video + r"  completed  film.mp4")
            self.assertNotIn(video, run("list"))
            pathlib.Path(self.scratch, "q.png").write_bytes(png(SCENES[2], 640, 480))
            self.assertRegex(run("search", self.scratch + "/q.png"), video + r" +film.mp4 at [678]\.")
            self.assertIn("deleting", run("delete", "--yes", video))


class Derived(VideoCase):
    """Poster, preview, sheet and pictures at any time."""

    KINDS = ("poster", "preview", "sprite")

    def derived(self, server, video) -> dict:
        """What there is of a video that is done with."""
        server.settle()
        return server.get(f"/api/v1/videos/{video}").json["video"]["derived"]

    def stored(self, name="data") -> list:
        return [f for f in files_below(f"{self.scratch}/{name}") if re.search("/(posters|previews|sprites)/", f)]

    @staticmethod
    def animation(webp) -> list:
        """How long each picture of an animated WebP is shown."""
        at, shown = 12, []
        while at < len(webp):
            if webp[at:at + 4] == b"ANMF":
                shown.append(int.from_bytes(webp[at + 20:at + 23], "little"))
            size = int.from_bytes(webp[at + 4:at + 8], "little")
            at += 8 + size + size % 2
        return shown

    def pixel(self, webp, x, y) -> tuple:
        """Of a still WebP."""
        path = self.scratch + "/picture.webp"
        pathlib.Path(path).write_bytes(webp)
        raw = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", path, "-vf", f"format=rgb24,crop=1:1:{x}:{y}",
                              "-f", "rawvideo", "-"], check=True, capture_output=True, timeout=60).stdout
        return tuple(raw[:3])

    def colours(self, name, *seconds) -> bytes:
        """Red, green and blue, each as long as it says, with something in it, so that it is not empty."""
        parts = [f"color={colour}:d={d}:s=320x240:r=25,drawbox=x=0:y=0:w=60:h=240:color=white:t=fill[c{i}]"
                 for i, (colour, d) in enumerate(zip(("red", "green", "blue"), seconds))]
        graph = ";".join(parts) + ";" + "".join(f"[c{i}]" for i in range(3)) + "concat=n=3:v=1[v]"
        return self.files.make(name, "-filter_complex", graph, "-map", "[v]", *H264, "-g", "50")

    def test_nobody_waits_for_them(self):
        with self.server("--workers-video", "1") as server:
            job = "/api/v1/admin/jobs/derive"
            pause = lambda on: server.request("PATCH", job, json.dumps({"paused": on}).encode())
            self.assertEqual(pause(True).status, 200)
            videos = [self.add(server, self.colours(f"{d}.mp4", d, 1, 1)) for d in (2, 3)]
            image = server.upload(png(1, 800, 600)).json["imageId"]
            for video in videos:
                self.wait(server, video)
            wait_until(lambda: server.get(f"/api/v1/images/{image}/thumbnail").status == 200, "the image has its thumbnail")
            self.assertEqual({server.get(f"/api/v1/videos/{v}/{k}").status for v in videos for k in self.KINDS}, {409})
            pause(False)
            for video in videos:
                self.assertEqual(set(self.derived(server, video)), set(self.KINDS))

    def test_a_decoder_that_takes_too_long_costs_no_more_than_they(self):
        with self.server("--video-time", "1s", "--retry-attempts", "1") as server:
            pause = lambda on: server.request("PATCH", "/api/v1/admin/jobs/derive", json.dumps({"paused": on}).encode())
            pause(True)
            video = self.add(server, self.colours("slow.mp4", 2, 1, 1))
            self.wait(server, video)
            pause(False)

            def stopped():
                for worker in workers_of(server):
                    os.kill(worker, signal.SIGSTOP)
                return "derived" in server.get(f"/api/v1/videos/{video}").json["video"]
            wait_until(stopped, "it is given up")
            server.settle()
            self.assertEqual(server.get("/api/v1/admin/deadletters").json["items"], [])
            self.assertEqual(server.get(f"/api/v1/videos/{video}").json["status"], "completed")

    def test_poster_preview_and_sheet(self):
        with self.server() as server:
            video = self.add(server, self.colours("colours.mp4", 4, 4, 4))
            derived = self.derived(server, video)
            item = server.get(f"/api/v1/videos/{video}").json
            answers = {kind: server.get(item[kind + "Url"]) for kind in self.KINDS}
            for kind, answer in answers.items():
                self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "image/webp"), kind)
                again = server.get(item[kind + "Url"], If_None_Match=answer.headers["ETag"])
                self.assertEqual(again.status, 304)
            self.assertEqual(webp_size(answers["poster"].body), (320, 240))
            self.assertEqual(webp_size(answers["preview"].body), (256, 192))
            red, green, blue = self.pixel(answers["poster"].body, 200, 100)
            self.assertTrue(red > 200 and green < 60 and blue < 60)
            # From 2.4 s on for 3 s: red, then green; pictures that are alike are one.
            shown = self.animation(answers["preview"].body)
            self.assertEqual(sum(shown), 3000)
            self.assertEqual(derived["preview"], {"width": 256, "height": 192, "count": 24})
            sprite = derived["sprite"]
            self.assertEqual(sprite, {"tileWidth": 160, "tileHeight": 120, "columns": 10, "count": 12, "intervalMs": 1000,
                                      "endMs": sprite["endMs"]})
            self.assertAlmostEqual(sprite["endMs"], 12000, delta=100)
            self.assertEqual(webp_size(answers["sprite"].body), (1600, 240))
            self.check_map(server, video, item, answers["sprite"].body)

    def check_map(self, server, video, item, sheet):
        answer = server.get(item["spriteMapUrl"])
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "text/vtt; charset=utf-8"))
        lines = answer.body.decode().split("\n\n")
        self.assertEqual(lines[0], "WEBVTT")
        cues = [cue.strip().split("\n") for cue in lines[1:]]
        self.assertEqual(len(cues), 12)
        self.assertEqual(cues[0][0], "00:00:00.000 --> 00:00:01.000")
        self.assertEqual(cues[10][0], "00:00:10.000 --> 00:00:11.000")
        self.assertEqual(cues[10][1], f"/api/v1/videos/{video}/sprite?tenantId=default#xywh=0,120,160,120")
        self.assertEqual(server.get(cues[10][1].partition("#")[0]).body, sheet)
        for second, strongest in ((1, 0), (6, 1), (10, 2)):
            x, y = map(int, re.search(r"xywh=(\d+),(\d+)", cues[second][1]).groups())
            colour = self.pixel(sheet, x + 100, y + 60)
            self.assertEqual(colour.index(max(colour)), strongest, (second, colour))

    def test_what_begins_with_nothing_to_see(self):
        graph = "color=black:d=4:s=320x240:r=25[a];testsrc2=d=4:s=320x240:r=25[b];[a][b]concat=n=2:v=1[v]"
        dark = self.files.make("dark.mp4", "-filter_complex", graph, "-map", "[v]", *H264)
        short = self.files.drawn("short.mp4", *H264, seconds=0.4)
        black = self.files.make("black.mp4", "-f", "lavfi", "-i", "color=black:d=2:s=160x120", *H264)
        turned = self.files.make("turned2.mp4", "-i", self.files.path("short.mp4"), "-c", "copy", "-metadata:s:v",
                                 "rotate=90")
        with self.server() as server:
            ids = [self.add(server, data) for data in (dark, short, black, turned)]
            server.settle()
            poster = server.get(f"/api/v1/videos/{ids[0]}/poster")
            self.assertGreater(sum(self.pixel(poster.body, 300, 20)), 60)
            derived = self.derived(server, ids[1])
            self.assertEqual(derived["sprite"]["count"], 1)
            self.assertGreaterEqual(derived["preview"]["count"], 2)
            self.assertEqual(set(self.derived(server, ids[2])), set(self.KINDS))
            self.assertEqual(self.derived(server, ids[3])["poster"], {"width": 120, "height": 160})

    def test_pictures_at_any_time(self):
        with self.server() as server:
            video = self.add(server, self.colours("colours.mp4", 4, 4, 4))
            image = server.upload(png(1)).json["imageId"]
            server.settle()
            for time, strongest in ((0, 0), (3.9, 0), (4.1, 1), (7.5, 1), (8.1, 2), (500, 2)):
                answer = server.get(f"/api/v1/videos/{video}/thumbnail?time={time}&size=100")
                self.assertEqual((answer.status, webp_size(answer.body)), (200, (100, 75)))
                colour = self.pixel(answer.body, 70, 40)
                self.assertEqual(colour.index(max(colour)), strongest, (time, colour))
            for query in ("time=x", "time=-1", "time=nan", "time=1&size=3", "time=1&size=9999"):
                self.assertEqual(server.get(f"/api/v1/videos/{video}/thumbnail?{query}").status, 400, query)
            self.assertEqual(server.get(f"/api/v1/videos/{image}/thumbnail?time=1").status, 400)
            for kind in (*self.KINDS, "sprite.vtt", "thumbnail?time=1"):
                path = f"/api/v1/videos/{video}/{kind}"
                self.assertEqual(server.get(path, X_Tenant_Id="other").status, 404, kind)

    def test_not_made_where_it_is_not_wanted_or_not_there_yet(self):
        with self.server("--workers-video", "1") as server:
            plain = self.add(server, self.files.drawn("h264.mp4", *H264),
                             processingOptions=json.dumps({"generateThumbnail": False}))
            server.settle()
            for kind in (*self.KINDS, "sprite.vtt"):
                answer = server.get(f"/api/v1/videos/{plain}/{kind}")
                self.assertEqual((answer.status, answer.json["code"]), (409, "NOT_READY"), kind)
            self.assertEqual(self.stored(), [])

    def test_g2_g3_a_kill_in_between_and_nothing_made_twice(self):
        film = self.files.film()
        with self.server(name="whole") as server:
            reference = self.derived(server, self.add(server, film))
            frames = len([f for f in files_below(self.scratch + "/whole") if "/frames/" in f])
        # The original, the frames, the poster are put; it dies at the preview.
        server = self.server("--fault", f"blob.put_commit:after:kill@{frames + 3}", name="killed")
        video = self.add(server, film)
        server.process.wait(60)
        server.stop()
        self.assertEqual(len(self.stored("killed")), 2)
        with self.server(name="killed") as server:
            self.assertEqual(self.derived(server, video), reference)
            files = self.stored("killed")
            self.assertEqual(len(files), 3)
            before = [os.stat(f"{self.scratch}/killed/{f}").st_mtime_ns for f in files]
            record = server.records("deeplens.processing.completed")
            ours = next(r for r in record if video in json.dumps(r["value"]))
            answer = server.post_json("/api/v1/admin/topics/deeplens.processing.completed/records",
                                      {"key": video, "value": {**ours["value"], "eventId": "evt_" + "1" * 8 +
                                                               "-1111-7111-8111-" + "1" * 12}})
            self.assertLess(answer.status, 300, answer.body)
            self.assertEqual(self.derived(server, video), reference)
            self.assertEqual([os.stat(f"{self.scratch}/killed/{f}").st_mtime_ns for f in files], before)

    def test_g9_they_go_with_the_video_and_stand_in_the_receipt(self):
        with self.server() as server:
            video = self.add(server, self.files.film())
            server.settle()
            self.assertEqual(len(self.stored()), 3)
            self.assertEqual(server.request("DELETE", f"/api/v1/videos/{video}").status, 202)
            for kind in (*self.KINDS, "sprite.vtt", "thumbnail?time=1"):
                self.assertEqual(server.get(f"/api/v1/videos/{video}/{kind}").status, 404, kind)
            server.settle()
            self.assertEqual(self.stored(), [])
            (one,) = server.get(f"/api/v1/receipts?itemId={video}").json["receipts"]
            self.assertEqual(one["receipt"]["removed"]["derived"], 3)


class Copies(VideoCase):
    """A video as the query."""

    def long(self, name="long.mp4", seeds=range(101, 109)) -> bytes:
        """Eight scenes of two and a half seconds, all of them moving."""
        inputs, chains = [], []
        for i, seed in enumerate(seeds):
            picture = self.files.path(f"scene{seed}.png")
            picture.write_bytes(png(seed, 640, 480, 9))
            inputs += ["-loop", "1", "-t", 2.5, "-r", 25, "-i", picture]
            chains.append(f"[{i}:v]zoompan=z='1.05+0.002*on':x='on':y='on/2':d=1:s=320x240:fps=25,trim=duration=2.5[s{i}]")
        graph = ";".join(chains) + ";" + "".join(f"[s{i}]" for i in range(len(chains))) + f"concat=n={len(chains)}:v=1[v]"
        return self.files.make(name, *inputs, "-filter_complex", graph, "-map", "[v]", *H264)

    def edit(self, name, *arguments) -> bytes:
        self.long()
        return self.files.make(name, *arguments, *H264)

    def search(self, server, data, tenant=None, **fields):
        body, kind = multipart(fields.items(), ("clip.mp4", data))
        headers = {"Content-Type": kind, **({"X-Tenant-Id": tenant} if tenant else {})}
        return server.request("POST", "/api/v1/search/video", body, headers)

    def test_copies_are_found_with_their_times(self):
        path = self.files.path("long.mp4")
        cases = {  # name → (the edit, where its beginning and its end are, its speed)
            "re-encoded": (self.edit("again.webm.mkv", "-i", path, "-vf", "scale=160:-2", "-crf", 34), 0, 20, 1),
            "cropped": (self.edit("cropped.mp4", "-i", path, "-vf", "crop=iw*0.8:ih*0.8"), 0, 20, 1),
            "excerpt": (self.edit("excerpt.mp4", "-ss", 6, "-t", 9, "-i", path), 6, 15, 1),
            "overlay": (self.edit("overlay.mp4", "-i", path, "-vf", "drawbox=x=0:y=200:w=320:h=40:color=black:t=fill"), 0, 20, 1),
            "faster": (self.edit("faster.mp4", "-i", path, "-vf", "setpts=PTS/1.2"), 0, 20, 1.2),
        }
        other = self.long("other.mp4", range(201, 209))
        with self.server() as server:
            video = self.add(server, self.long(), name="long.mp4")
            stranger = self.add(server, self.long("stranger.mp4", range(301, 309)))
            server.settle()
            for name, (data, start, end, speed) in cases.items():
                with self.subTest(name):
                    answer = self.search(server, data)
                    self.assertEqual(answer.status, 200, answer.body)
                    hits = answer.json["results"]
                    self.assertEqual([hit["videoId"] for hit in hits], [video], hits)
                    (hit,) = hits
                    self.assertAlmostEqual(hit["from"], start, delta=1.5)
                    self.assertAlmostEqual(hit["to"], end, delta=1.5)
                    self.assertEqual(hit["queryFrom"], 0)
                    self.assertAlmostEqual(hit["queryTo"], answer.json["query"]["duration"], delta=0.01)
                    self.assertAlmostEqual(hit["speed"], speed, delta=0.1)
                    self.assertGreater(hit["score"], 0.8)
                    self.assertEqual(hit["url"], f"/api/v1/videos/{video}/original#t={hit['from']:.3f},{hit['to']:.3f}")
            self.assertEqual(self.search(server, other).json["results"], [])
            # A part of the query is a part of a video.
            mixed = self.edit("mixed.mp4", "-i", self.files.path("other.mp4"), "-ss", 5, "-t", 10, "-i", path,
                              "-filter_complex", "[0:v]trim=duration=6[a];[a][1:v]concat=n=2:v=1[v]", "-map", "[v]")
            (hit,) = self.search(server, mixed).json["results"]
            self.assertEqual(hit["videoId"], video)
            for name, wanted in (("queryFrom", 6), ("queryTo", 16), ("from", 5), ("to", 15), ("coverage", 10 / 16)):
                self.assertAlmostEqual(hit[name], wanted, delta=1.5, msg=hit)
            # By what is stored; itself is no answer.
            again = self.add(server, cases["re-encoded"][0])
            server.settle()
            by_id = server.request("POST", f"/api/v1/search/video?videoId={again}", b"").json["results"]
            self.assertEqual([hit["videoId"] for hit in by_id], [video])
            found = self.search(server, cases["excerpt"][0], filter=json.dumps({"videoId": again})).json["results"]
            self.assertEqual([hit["videoId"] for hit in found], [again])
            self.assertEqual(server.request("DELETE", f"/api/v1/videos/{video}").status, 202)
            found = self.search(server, cases["excerpt"][0]).json["results"]
            self.assertEqual([hit["videoId"] for hit in found], [again])
            self.assertNotEqual(stranger, again)

    def test_command_line(self):
        clip = self.files.path("clip.mp4")
        self.edit("clip.mp4", "-ss", 5, "-t", 10, "-i", self.files.path("long.mp4"))
        with self.server() as server:
            video = self.add(server, self.long(), name="long.mp4")
            server.settle()
            done = self.cli("search", str(clip), server=server)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, video + r" +long.mp4 +\d+\.\d-\d+\.\d +0\.0-10\.0 ")
            self.assertEqual(self.cli("search", str(clip), "--text", "words", server=server).returncode, 2)
            found = json.loads(self.cli("search", str(clip), "--json", "--top", "1", server=server).stdout)
            self.assertEqual(found["results"][0]["videoId"], video)

    def test_what_is_refused(self):
        film = self.files.drawn("h264.mp4", *H264)
        with self.server("--tenants-auto-create", "--video-max-bytes", "200000") as server:
            video = self.add(server, film)
            server.settle()
            for name, data, fields, status, code in (
                    ("text", b"a text" * 100, {}, 415, "UNSUPPORTED_MEDIA"), ("nothing", b"", {}, 422, "EMPTY_FILE"),
                    ("no video", film[:200] + bytes(5000), {}, 422, "VIDEO_CORRUPT"),
                    ("too large", film[:48] + bytes(600000), {}, 413, "BODY_TOO_LARGE"),
                    ("both", film, {"videoId": video}, 400, "INVALID_REQUEST"),
                    ("a filter that is none", film, {"filter": "[1"}, 400, "INVALID_JSON"),
                    ("a wrong filter", film, {"filter": '{"and": 1}'}, 400, "INVALID_FILTER"),
                    ("topK", film, {"topK": "x"}, 400, "INVALID_REQUEST"),
                    ("minScore", film, {"minScore": "2"}, 400, "INVALID_REQUEST"),
                    ("a field", film, {"nonsense": "1"}, 400, "INVALID_REQUEST"),
                    ("a model", film, {"model": "nonsense"}, 422, "MODEL_UNKNOWN")):
                with self.subTest(name):
                    answer = self.search(server, data, **fields)
                    self.assertEqual((answer.status, answer.json["code"]), (status, code), answer.body)
            self.assertEqual(self.search(server, film, tenant="other").status, 404)
            answer = server.request("POST", "/api/v1/search/video", b"")
            self.assertEqual((answer.status, answer.json["code"]), (400, "INVALID_REQUEST"))
            answer = server.request("POST", "/api/v1/search/video?videoId=vid_" + "0" * 8 + "-0000-7000-8000-" + "0" * 12, b"")
            self.assertEqual(answer.status, 404)
            self.assertEqual(self.search(server, film).json["query"]["complete"], True)


class MotionPictures(VideoCase):
    """A JPEG or a HEIC with an MP4 inside is one item."""

    def test_the_video_in_a_picture(self):
        film = self.files.drawn("h264.mp4", *H264)
        still, heic = pictures()["plain.jpg"], pictures().get("plain.heic")
        note = b"<x:xmpmeta GCamera:MotionPhoto='1'/>"
        marked = still[:2] + b"\xff\xe1" + (len(note) + 2).to_bytes(2, "big") + note + still[2:]
        files = {"marked": marked + film, "at the end": still + film + b"MotionPhoto_Data"}
        if heic:
            files["a box"] = heic + (len(film) + 8).to_bytes(4, "big") + b"mpvd" + film
        with self.server() as server:
            plain = server.upload(still).json["imageId"]
            ids = {name: server.upload(data).json["imageId"] for name, data in files.items()}
            server.settle()
            for name, image in ids.items():
                with self.subTest(name):
                    item = server.get(f"/api/v1/images/{image}").json
                    self.assertEqual(item["status"], "completed", item)
                    self.assertEqual(item["motionUrl"], f"/api/v1/images/{image}/motion")
                    answer = server.get(item["motionUrl"])
                    self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "video/mp4"))
                    self.assertEqual(answer.body[:len(film)], film)
                    part = server.get(item["motionUrl"], Range="bytes=4-7")
                    self.assertEqual((part.status, part.body), (206, b"ftyp"))
                    self.assertEqual(server.get(item["motionUrl"], X_Tenant_Id="other").status, 404)
                    self.assertEqual(server.get(f"/api/v1/images/{image}/original").body, files[name])
            self.assertNotIn("motionUrl", server.get(f"/api/v1/images/{plain}").json)
            self.assertEqual(server.get(f"/api/v1/images/{plain}/motion").status, 404)
            self.assertEqual(server.ledger()["accepted"], len(files) + 1)


class Promises(VideoCase):
    def test_g1_g7_uploads_originals_and_walls(self):
        film = self.files.film()
        with self.server("--tenants-auto-create") as server:
            video = self.add(server, film)
            again = self.upload(server, film)
            self.assertEqual((again.status, again.json["videoId"], again.json["duplicate"]), (200, video, True))
            raw = server.request("POST", "/api/v1/videos/upload?fileName=x.mp4", film,
                                 {"Content-Type": "video/mp4", "X-Tenant-Id": "other"})
            self.assertEqual(raw.status, 202)
            self.wait(server, video)
            whole = server.get(f"/api/v1/videos/{video}/original")
            self.assertEqual((whole.status, whole.body, whole.headers["Content-Type"]), (200, film, "video/mp4"))
            part = server.get(f"/api/v1/videos/{video}/original", Range="bytes=100-299")
            self.assertEqual((part.status, part.body, part.headers["Content-Range"]),
                             (206, film[100:300], f"bytes 100-299/{len(film)}"))
            frame = self.frames(server, video)[0]["imageId"]
            for path in (f"videos/{video}", f"videos/{video}/frames", f"images/{frame}", f"videos/{video}/original"):
                self.assertEqual(server.get(f"/api/v1/{path}", X_Tenant_Id="other").status, 404, path)
            self.assertEqual(server.request("DELETE", f"/api/v1/images/{frame}").status, 409)
            self.assertEqual(server.get(f"/api/v1/videos/{frame}").status, 400)
            record = server.records("deeplens.videos.uploaded")[0]["value"]
            self.assertEqual((record["eventType"], record["data"]["videoId"]), ("video.uploaded", video))

    def test_g2_g3_a_kill_in_the_middle_goes_on_and_makes_nothing_twice(self):
        film = self.files.film()
        with self.server(name="whole") as server:
            reference = self.add(server, film)
            self.wait(server, reference)
            wanted = self.times(server, reference)
        self.assertGreaterEqual(len(wanted), 4)
        # Original and first frame are put; each next start dies at the frame behind.
        server = self.server("--fault", "blob.put_commit:after:kill@3", "--video-interval", "2s", name="killed")
        video = self.add(server, film)
        server.process.wait(60)
        server.stop()
        server = self.server(name="killed")
        self.wait(server, video, "completed")
        ledger = server.settle()
        self.assertEqual((ledger["accepted"], ledger["searchable"], ledger["closes"]), (1, 1, True))
        self.assertEqual(self.times(server, video), wanted)
        asked = [record["value"]["data"]["imageId"] for record in server.records("deeplens.features.extraction")]
        self.assertEqual(sorted(asked), sorted(frame["imageId"] for frame in self.frames(server, video)))
        self.assertEqual(len([f for f in files_below(self.scratch + "/killed") if "/frames/" in f]), len(wanted))

    def test_g5_a_decoder_that_dies_spends_an_attempt(self):
        long = self.files.drawn("long.mp4", *H264, seconds=30, size="960x540")
        with self.server("--retry-base", "50ms", "--tenants-auto-create") as server:
            video = self.add(server, long)
            os.kill(wait_until(lambda: next(iter(workers_of(server)), None), "a decoder is at work"), signal.SIGKILL)
            wait_until(lambda: any(step["attempt"] > 1 for step in self.status(server, video)["processingSteps"]), "a retry")
            failed = server.records("deeplens.processing.failed")[0]["value"]["data"]
            self.assertEqual((failed["error"]["code"], failed["final"]), ("DECODER_DIED", False))
            self.assertEqual(self.wait(server, video)["status"], "completed")
            unbroken = self.upload(server, long, tenant="other").json["videoId"]
            server.settle()
            wanted = server.get(f"/api/v1/videos/{unbroken}/frames", X_Tenant_Id="other").json["items"]
            self.assertEqual(self.times(server, video), [frame["time"] for frame in wanted])

    def test_g8_limits_of_memory_and_time(self):
        long = self.files.drawn("long.mp4", *H264, seconds=30, size="960x540")
        with self.server("--video-silence", "1s", "--video-time", "1s", "--video-threads", "1") as server:
            slow = self.add(server, long)
            os.kill(wait_until(lambda: next(iter(workers_of(server)), None), "a decoder is at work"), signal.SIGSTOP)
            status = self.wait(server, slow)
            self.assertIn(status.get("error", {}).get("code"), (None, "DECODER_TIMEOUT"))
            self.assertTrue(server.settle()["closes"])
        large = self.files.drawn("large.mp4", *H264, seconds=0.4, size="7680x4320", rate=5)
        with self.server("--video-memory", "64M", name="small") as server:
            video = self.add(server, large)
            status = self.wait(server, video)
            if SANITIZED:
                self.assertEqual(status["status"], "completed", status)
            else:
                self.assertEqual((status["status"], status["error"]["code"]), ("failed", "VIDEO_TOO_LARGE"), status)
        with self.server("--video-max-frames", "3", "--video-interval", "100ms", name="few") as server:
            video = self.add(server, self.files.film())
            self.wait(server, video)
            self.assertEqual(len(self.times(server, video)), 3)

    def test_g9_a_video_goes_with_all_its_frames(self):
        with self.server() as server:
            kept = server.upload(png(1)).json["imageId"]
            video = self.add(server, self.files.film())
            self.wait(server, video)
            server.settle()
            frame = self.frames(server, video)[0]
            self.assertEqual(server.request("DELETE", f"/api/v1/videos/{video}").status, 202)
            for path in (f"videos/{video}", f"videos/{video}/frames", f"images/{frame['imageId']}"):
                self.assertEqual(server.get(f"/api/v1/{path}").status, 404, path)
            self.assertEqual([h["imageId"] for h in server.search(vector=[1] * 512).json["results"]], [kept])
            ledger = server.settle()
            self.assertEqual((ledger["accepted"], ledger["searchable"], ledger["deleted"]), (2, 1, 1))
            self.assertEqual([h["imageId"] for h in server.search(vector=[1] * 512).json["results"]], [kept])
        left = [f for f in files_below(self.scratch + "/data") if "/frames/" in f or "/videos/" in f]
        self.assertEqual(left, [])

    def test_g9_deleted_while_it_is_worked_on(self):
        long = self.files.drawn("long.mp4", *H264, seconds=30, size="960x540")
        with self.server() as server:
            video = self.add(server, long)
            wait_until(lambda: self.status(server, video)["frames"]["found"], "frames come")
            self.assertEqual(server.request("DELETE", f"/api/v1/videos/{video}").status, 202)
            ledger = server.settle()
            self.assertEqual((ledger["accepted"], ledger["deleted"], ledger["closes"]), (1, 1, True))
            self.assertEqual(server.search(vector=[1] * 512).json["results"], [])
        left = [f for f in files_below(self.scratch + "/data") if "/frames/" in f or "/videos/" in f]
        self.assertEqual(left, [])

    def test_a_stop_in_the_middle_spends_no_attempt(self):
        long = self.files.drawn("long.mp4", *H264, seconds=30, size="960x540")
        server = self.server()
        video = self.add(server, long)
        wait_until(lambda: self.status(server, video)["frames"]["found"], "frames come")
        self.assertEqual(server.stop(), 0)
        server = self.server()
        status = self.wait(server, video)
        self.assertEqual((status["status"], status["processingSteps"][0]["attempt"]), ("completed", 1))
        server.settle()
        with self.server(name="whole") as whole:
            reference = self.add(whole, long)
            self.wait(whole, reference)
            self.assertEqual(self.times(server, video), self.times(whole, reference))


if __name__ == "__main__":
    unittest.main(verbosity=2)
