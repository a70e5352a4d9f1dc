#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the events that the codec writes against schemas/*.json, schemas/openapi.yaml against OpenAPI 3.1, the server's
table of routes against the paths, and a running server's answers and events against both:
check.py SOURCE_ROOT WRITE_EVENTS_PROGRAM DEEPLENS_PROGRAM

Needs what requirements.txt pins; where that is missing, makes a virtual environment in the cache folder once.
"""
import copy
import json
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "peers"))

import peer

REQUIREMENTS = HERE / "requirements.txt"


def venv_python():
    """The interpreter of the environment that holds the pinned modules; made when it is not there."""
    return peer.environment("venv", ["-r", str(REQUIREMENTS)], pinned=REQUIREMENTS.read_text("ascii")) / "bin/python3"


def pinned():
    """Whether this interpreter has exactly what is pinned."""
    from importlib import metadata
    for line in REQUIREMENTS.read_text(encoding="ascii").split():
        name, same, version = line.partition("==")
        try:
            if same and metadata.version(name) != version:
                return False
        except metadata.PackageNotFoundError:
            return False
    return True


def strict(schema):
    """The schema with every object closed that is not marked open: a member that it does not name fails."""
    if isinstance(schema, dict):
        for value in schema.values():
            strict(value)
        if schema.get("type") == "object" and "properties" in schema and not schema.get("x-open"):
            schema["additionalProperties"] = False
    elif isinstance(schema, list):
        for value in schema:
            strict(value)
    return schema


def without(event, path):
    """A copy of the event without the member at the path; None when it has none."""
    event = copy.deepcopy(event)
    target = event
    for key in path[:-1]:
        target = target.get(key, {})
    return event if target.pop(path[-1], None) is not None else None


class Events:
    """The schemas of all topics."""

    def __init__(self, root):
        from jsonschema import Draft202012Validator
        self.validator = Draft202012Validator
        self.schemas = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in root.glob("schemas/*.json")}
        for schema in self.schemas.values():
            Draft202012Validator.check_schema(schema)

    def form(self, topic, form):
        schema = self.schemas[topic]
        form = form if form in schema["$defs"] else "flat"  # messages have no envelope
        return {"$ref": f"#/$defs/{form}", "$defs": schema["$defs"]}

    def wrong(self, topic, form, event, named=True):
        """What is wrong with the event; `named`: also each member that the schema does not name."""
        exact = self.form(topic, form)
        exact = self.validator(strict(copy.deepcopy(exact)) if named else exact)
        errors = list(exact.iter_errors(event)) + list(self.validator(self.schemas[topic]).iter_errors(event))
        return [f"{topic} ({form}): {error.json_path}: {error.message[:300]}" for error in errors]

    def spoilt(self, topic, form, event):
        """A schema that lets everything pass proves nothing: without what the reader insists on, it must refuse."""
        problems, count = [], 0
        for key in ("imageId", "videoId", "messageId"):
            for path in ([key], ["data", key]):
                less = without(event, path)
                if less is None:
                    continue
                count += 1
                if self.validator(self.form(topic, form)).is_valid(less):
                    problems.append(f"{topic}: passes without {'.'.join(path)}")
        return problems, count


def check_events(root, events, lines):
    problems, refused = [], 0
    for line in lines:
        item = json.loads(line)
        problems += events.wrong(item["topic"], item["form"], item["event"], item["strict"])
        more, count = events.spoilt(item["topic"], item["form"], item["event"])
        problems += more
        refused += count
    topics = set(re.findall(r'^TOPIC\(\w+, "([^"]+)"', (root / "src/events/catalogue.def").read_text(), re.M))
    if topics != set(events.schemas):
        problems.append(f"topics without a schema, or the reverse: {sorted(topics ^ set(events.schemas))}")
    print(f"events: {len(lines)} held against {len(events.schemas)} schemas, {refused} spoilt ones refused")
    return problems if lines and refused else problems + ["no event was checked"]


def operations(document):
    return {(method.upper(), path) for path, item in document["paths"].items() for method in item
            if method in ("get", "post", "put", "delete", "patch")}


def check_openapi(root, document):
    from openapi_spec_validator import OpenAPIV31SpecValidator
    problems = [f"openapi.yaml: {error.message[:300]}" for error in OpenAPIV31SpecValidator(document).iter_errors()]
    described = operations(document)
    table = (root / "src/api/routes.c").read_text(encoding="utf-8")
    routes = set(re.findall(r'\.method = "(\w+)",\s*\.pattern = "([^"]+)"', table))
    for method, path in sorted(described ^ routes):
        problems.append(f"{method} {path} is {'not served' if (method, path) in described else 'not described'}")
    print(f"openapi: {len(described)} operations held against {len(routes)} routes")
    return problems if routes else problems + ["no route was found"]


def check_live(program, document, events):
    import live

    def check_event(topic, form, event):
        return [] if topic == "deeplens.processing.deadletter" else events.wrong(topic, form, event)
    problems, asked, seen = live.check(program, document, check_event)
    problems += [f"{method} {path} was not asked" for method, path in sorted(operations(document) - asked)]
    expected = {("deeplens." + topic, form) for form in ("envelope", "flat") for topic in (
        "images.uploaded", "features.extraction", "vectors.indexing", "processing.completed", "images.maintenance")}
    expected.add(("deeplens.processing.failed", "envelope"))
    problems += [f"no {form} event was seen on {topic}" for topic, form in expected - seen]
    print(f"live: {len(asked)} operations asked, events seen on {len({topic for topic, _ in seen})} topics")
    return problems


def main():
    if not pinned():
        python = venv_python()
        if pathlib.Path(sys.executable) == python:
            sys.exit("the environment lacks what requirements.txt pins")
        peer.enter(python.parent.parent)
    import yaml
    root = pathlib.Path(sys.argv[1])
    document = yaml.safe_load((root / "schemas/openapi.yaml").read_text(encoding="utf-8"))
    events = Events(root)
    lines = subprocess.run([sys.argv[2]], check=True, stdout=subprocess.PIPE).stdout.decode().splitlines()
    problems = check_events(root, events, lines) + check_openapi(root, document)
    problems += check_live(sys.argv[3], document, events)
    for problem in sorted(set(problems)):
        print("FAIL", problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
