"""`Plan` in, shell text out: the echo lines that do the same by hand, and a whole bash script."""

import shlex
from collections.abc import Iterator

from surftrace.compiler.plan import Plan, Step


def quote(text: str) -> str:
    """The text as one shell word that the shell takes as it is."""
    return "'" + text.replace("'", "'\\''") + "'"


def echo_lines(plan: Plan, tracefs: str) -> Iterator[str]:
    """A shell command a step, in the plan's order, to paste into a root shell."""
    yield f"mkdir {shlex.quote(f'{tracefs}/{plan.instance_path}')}"
    for step in plan.steps:
        yield _echo(step, shlex.quote(f"{tracefs}/{step.path}"))


def _echo(step: Step, path: str) -> str:
    text = step.text if step.text.isdigit() else quote(step.text)
    return f"echo {text} {'>>' if step.is_append else '>'} {path}"


_SCRIPT = """\
#!/bin/bash
# Traces until Ctrl-C or TERM, then leaves the kernel as it was. Needs root, and nothing but a shell.
{comments}
tracing=/sys/kernel/tracing
[ -e "$tracing/kprobe_events" ] || tracing=/sys/kernel/debug/tracing
if [ ! -w "$tracing/kprobe_events" ]; then
    echo "$0: cannot write $tracing/kprobe_events: run as root, on a kernel with kprobes and tracefs mounted" >&2
    exit 1
fi
reader=
cleanup() {{
    set +e
    trap '' INT TERM HUP
    [ -z "$reader" ] || {{ kill "$reader"; wait "$reader"; }} 2> /dev/null
{undo}
    rmdir "$tracing/{instance_path}"
}}
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
if ! mkdir "$tracing/{instance_path}"; then
    echo "$0: the instance {instance} exists: another trace runs, or one was killed" >&2
    exit 1
fi
trap cleanup EXIT

set -e
{steps}
cat "$tracing/{instance_path}/trace_pipe" &
reader=$!
set +e
wait "$reader"
"""


def shell_script(plan: Plan, comments: tuple[str, ...] = ()) -> str:
    """A bash script that sets the plan up, streams the kernel's own text, and cleans up. `comments` are its head."""
    undos = [step.undo for step in reversed(plan.steps) if step.undo is not None]
    return _SCRIPT.format(
        comments="".join(f"# {line}\n" for comment in comments for line in comment.splitlines()).rstrip("\n"),
        instance=plan.instance,
        instance_path=plan.instance_path,
        # A step that was never made has nothing to take back, and says so.
        undo="\n".join(f"    {{ {_echo(undo, _script_path(undo))}; }} 2> /dev/null" for undo in undos),
        steps="\n".join(_echo(step, _script_path(step)) for step in plan.steps),
    )


def _script_path(step: Step) -> str:
    return f'"$tracing/{step.path}"'
