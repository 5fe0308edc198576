"""Debian's `perf probe` as an oracle: functions and expressions in, the fetch arguments it makes of them out."""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_REFUSAL = "refused: "


class PerfError(Exception):
    """perf refused an expression, or answered what was not asked."""


def command(vmlinux: Path, probes: Sequence[str], build_ids: str) -> list[str]:
    """Return a command that prints the definitions of `probes`; `build_ids` is a folder that perf may fill."""
    definitions = [word for probe in probes for word in ("-D", probe)]
    return ["perf", "--buildid-dir", build_ids, "probe", "-k", str(vmlinux), *definitions]


def fetch_arguments(vmlinux: Path, chains: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return, for each function, the text of a fetch argument for each of its chains."""
    probes = [" ".join((function, *_numbered(expressions))) for function, expressions in chains.items()]
    definitions = [line.split() for line in _answer(vmlinux, probes).splitlines()]
    # An inlined function has a line for each place where it went.
    at_entry = {place.removesuffix("+0"): arguments for _, place, *arguments in definitions if place.endswith("+0")}
    if missing := [function for function in chains if len(at_entry.get(function, ())) != len(chains[function])]:
        raise PerfError(f"perf has no definition at the entry of {', '.join(missing)}")
    return {function: [argument.partition("=")[2] for argument in at_entry[function]] for function in chains}


def definitions(vmlinux: Path, probe: str) -> list[tuple[str, list[str]]]:
    """Return the place and the arguments of each definition that perf makes of one probe; PerfError where none."""
    lines = [line.split() for line in _answer(vmlinux, [probe], keeps_refusals=True).splitlines()]
    return [(place, arguments) for _, place, *arguments in lines]


def _numbered(expressions: Sequence[str]) -> list[str]:
    return [f"a{number}={expression}" for number, expression in enumerate(expressions)]


def _answer(vmlinux: Path, probes: Sequence[str], keeps_refusals: bool = False) -> str:
    """What perf prints for `probes`, kept beside `vmlinux`: perf needs most of a second for each function."""
    version = subprocess.run(["perf", "--version"], capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256("\n".join((version, *probes)).encode()).hexdigest()
    kept = vmlinux.with_name(f"perf-{digest[:16]}")
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=vmlinux.parent) as scratch:
            answer = Path(scratch, "answer")
            try:
                answer.write_text(_run(command(vmlinux, probes, scratch)))
            except PerfError as error:
                if not keeps_refusals:
                    raise
                answer.write_text(f"{_REFUSAL}{error}")
            answer.rename(kept)
    text = kept.read_text()
    if text.startswith(_REFUSAL):
        raise PerfError(text.removeprefix(_REFUSAL))
    return text


def _run(argv: Sequence[str]) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise PerfError(done.stderr.strip())
    return done.stdout
