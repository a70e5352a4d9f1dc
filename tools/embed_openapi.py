#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes schemas/openapi.yaml as a C string of JSON: embed_openapi.py OPENAPI.yaml VERSION OUTPUT.c"""
import json
import sys

import yaml

WIDTH = 100


def c_string(text):
    """The text as adjacent C literals, one a line; ASCII only, so that any compiler takes it."""
    escaped = [{'"': '\\"', "\\": "\\\\", "\n": "\\n"}.get(c, c) for c in text]
    lines, line = [], ""
    for piece in escaped:
        line += piece
        if len(line) >= WIDTH:
            lines.append(line)
            line = ""
    return "\n".join(f'    "{line}"' for line in lines + [line])


def main():
    source, version, target = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        document = yaml.safe_load(file)
    document["info"]["version"] = version
    text = json.dumps(document, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    with open(target, "w", encoding="ascii") as file:
        file.write("// SPDX-License-Identifier: Apache-2.0\n// Made from schemas/openapi.yaml; do not edit.\n")
        file.write('#include "api/openapi.h"\n\n')
        file.write(f"const char api_openapi_json[] =\n{c_string(text)};\n")
        file.write("const size_t api_openapi_json_len = sizeof api_openapi_json - 1;\n")


if __name__ == "__main__":
    main()
