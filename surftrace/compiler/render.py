"""`Plan` in, shell text out: the echo lines that do the same by hand, and a whole bash script."""

import re
import shlex
from collections.abc import Iterator

from surftrace.compiler.plan import Plan, Step, TracedEvent


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
    # What `echo` makes of these is each shell's own affair: POSIX echo(1), application usage.
    command = "printf '%s\\n'" if re.search(r"^-|\\[^\"!]|\\$", step.text) else "echo"
    return f"{command} {text} {'>>' if step.is_append else '>'} {path}"


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
# However often a signal comes, what was made is taken back whole: from the first on, the others are ignored.
stop() {{
    trap '' INT TERM HUP
    exit "$1"
}}
cleanup() {{
    trap '' INT TERM HUP
    {{ kill %1; wait; }} 2> /dev/null
{undo}
    rmdir "$tracing/{instance_path}"
}}
# Whether mkdir made the instance must be known before a signal may end the script.
signal=
trap 'signal=130' INT
trap 'signal=143' TERM
trap 'signal=129' HUP
if ! (trap '' INT TERM HUP; mkdir "$tracing/{instance_path}"); then
    [ -n "$signal" ] || echo "$0: the instance {instance} exists: another trace runs, or one was killed" >&2
    exit "${{signal:-1}}"
fi
trap cleanup EXIT
trap 'stop 130' INT
trap 'stop 143' TERM
trap 'stop 129' HUP
[ -z "$signal" ] || stop "$signal"

{show}{steps}
{read} "$tracing/{instance_path}/trace_pipe" &
wait "$!"
stop "$?"
"""


# The script's own decoder, for plans with hidden fields: they are last on a line, after what strings may hold.
_SHOW = """\
shopt -s extglob
# An address that a pointer may be: others were not followed, and what was to be read behind them was not.
valid() {{
    (( ($1 ^ 1 << 63) >= ($2 ^ 1 << 63) && ($1 ^ 1 << 63) < ($3 ^ 1 << 63) ))
}}
show() {{
    local line rest guard
    while IFS= read -r line; do
        case $line in
{events}
        esac
        printf '%s\\n' "$line" || return  # nobody reads any more, where SIGPIPE is ignored
    done < "$1"
}}

"""


def shell_script(plan: Plan, comments: tuple[str, ...] = ()) -> str:
    """A bash script that sets the plan up, streams the kernel's own text, and cleans up. `comments` are its head.

    Hidden fields are left out of the text, and `<fault>` stands for what was read through a pointer that was none.
    """
    undos = [step.undo for step in reversed(plan.steps) if step.undo is not None]
    cases = [line for event in plan.events for line in _show_event(event)]
    optional = {step.event for step in plan.steps if step.is_optional}
    return _SCRIPT.format(
        comments="".join(f"# {line}\n" for comment in comments for line in comment.splitlines()).rstrip("\n"),
        instance=plan.instance,
        instance_path=plan.instance_path,
        # A step that was never made has nothing to take back, and says so.
        undo="\n".join(f"    {{ {_echo(undo, _script_path(undo))}; }} 2> /dev/null" for undo in undos),
        steps="\n".join(_script_step(step, optional) for step in plan.steps),
        show=_SHOW.format(events="\n".join(cases)) if cases else "",
        read="show" if cases else "cat",
    )


def _script_step(step: Step, optional: set[str]) -> str:
    """A step of a script that ends where one fails; what the kernel may refuse does not count."""
    text = _echo(step, _script_path(step))
    return f"{{ {text}; }} 2> /dev/null" if step.event in optional else f"{text} || stop 1"


def _show_event(event: TracedEvent) -> Iterator[str]:
    """The case of an event with hidden fields: they are cut off, and looked at where they are guards."""
    sentinels = [field for field in event.fields if field.is_sentinel]
    hidden = [field for field in event.fields if field.is_hidden and not field.is_sentinel]
    if not sentinels and not hidden:
        return
    yield f'        *": {event.name}: ("*" {(hidden or sentinels)[0].name}="*)'
    if hidden:
        yield f'            rest=" {hidden[0].name}=${{line##* {hidden[0].name}=}}"'
        yield f"            line=${{line% {hidden[0].name}=*}}"
    for field in sentinels:
        yield f"            line=${{line/ {field.name}=*([! ])/}}"
    for guard in hidden:
        names = [field.name for field in event.fields if guard.name in field.guards and not field.is_hidden]
        if guard.valid is None or not names:
            continue
        low, high = guard.valid
        yield f"            guard=${{rest##* {guard.name}=}}"
        yield f'            if ! valid "${{guard%% *}}" {low:#x} {high:#x}; then'
        yield from (f"                line=${{line/ {name}=+([! ])/ {name}=<fault>}}" for name in names)
        yield "            fi"
    yield "            ;;"


def _script_path(step: Step) -> str:
    return f'"$tracing/{step.path}"'
