"""The published schemas of what programs read, and lines that are as they say."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from surftrace.output import jsonl

NAMES = ("trace", "count", "latency")


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    """What checks a line of `surftrace --json` (`trace`), `surftrace count --json` or `surftrace latency --json`."""
    path = Path(jsonl.__file__).parent / f"{name}.schema.json"
    return jsonschema.Draft202012Validator(json.loads(path.read_text()))


def valid_lines(name: str, output: str) -> list[dict[str, Any]]:
    """The objects of an output, each as its schema says."""
    lines = [json.loads(line) for line in output.splitlines()]
    for line in lines:
        validator(name).validate(line)
    return lines
