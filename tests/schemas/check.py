#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the events that the program writes against schemas/*.json, schemas/openapi.yaml against OpenAPI 3.1, and the
server's table of routes against the paths: check.py SOURCE_ROOT WRITE_EVENTS_PROGRAM

Needs what requirements.txt pins; where that is missing, makes a virtual environment in the cache folder once.
"""
import copy
import fcntl
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"


def venv_python():
    """The interpreter of the environment that holds the pinned modules; made when it is not there."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "deeplens"
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / "venv"
    stamp = home / ("made-" + hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16])
    with open(cache / "venv.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
            subprocess.run([home / "bin/pip", "install", "-q", "-r", REQUIREMENTS], check=True)
            stamp.touch()
    return home / "bin/python3"


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


def check_events(root, lines):
    from jsonschema import Draft202012Validator as Validator
    problems, checked, refused = [], 0, 0
    schemas = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in root.glob("schemas/*.json")}
    for schema in schemas.values():
        Validator.check_schema(schema)
    for line in lines:
        item = json.loads(line)
        schema, event = schemas[item["topic"]], item["event"]
        form = {"$ref": f"#/$defs/{item['form']}", "$defs": schema["$defs"]}
        exact = Validator(strict(copy.deepcopy(form)) if item["strict"] else form)
        for error in list(exact.iter_errors(event)) + list(Validator(schema).iter_errors(event)):
            problems.append(f"{item['topic']} ({item['form']}): {error.json_path}: {error.message[:300]}")
        checked += 1
        # A schema that lets everything pass proves nothing: without what the reader insists on, it must refuse.
        for key in ("imageId", "videoId", "messageId"):
            for path in ([key], ["data", key]):
                less = without(event, path)
                if less is not None:
                    refused += 1
                    if Validator(form).is_valid(less):
                        problems.append(f"{item['topic']}: passes without {'.'.join(path)}")
    topics = set(re.findall(r'^TOPIC\(\w+, "([^"]+)"', (root / "src/events/catalogue.def").read_text(), re.M))
    if topics != set(schemas):
        problems.append(f"topics without a schema, or the reverse: {sorted(topics ^ set(schemas))}")
    print(f"events: {checked} held against {len(schemas)} schemas, {refused} spoilt ones refused")
    return problems if checked and refused else problems + ["no event was checked"]


def check_openapi(root):
    import yaml
    from openapi_spec_validator import OpenAPIV31SpecValidator
    document = yaml.safe_load((root / "schemas/openapi.yaml").read_text(encoding="utf-8"))
    problems = [f"openapi.yaml: {error.message[:300]}" for error in OpenAPIV31SpecValidator(document).iter_errors()]
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item
                 if method in ("get", "post", "put", "delete", "patch")}
    table = (root / "src/api/routes.c").read_text(encoding="utf-8")
    routes = set(re.findall(r'\.method = "(\w+)",\s*\.pattern = "([^"]+)"', table))
    for method, path in sorted(described ^ routes):
        problems.append(f"{method} {path} is {'not served' if (method, path) in described else 'not described'}")
    print(f"openapi: {len(described)} operations held against {len(routes)} routes")
    return problems if routes else problems + ["no route was found"]


def main():
    if not pinned():
        python = venv_python()
        if pathlib.Path(sys.executable) == python:
            sys.exit("the environment lacks what requirements.txt pins")
        os.execv(python, [python, __file__, *sys.argv[1:]])
    root = pathlib.Path(sys.argv[1])
    lines = subprocess.run([sys.argv[2]], check=True, stdout=subprocess.PIPE).stdout.decode().splitlines()
    problems = check_events(root, lines) + check_openapi(root)
    for problem in problems:
        print("FAIL", problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
