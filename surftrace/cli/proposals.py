"""The words of a command line in, what the one at the cursor may become out."""

import argparse
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from surftrace.cli.kernels import chosen_target
from surftrace.cli.main import COMMANDS
from surftrace.cli.options import trace_parser
from surftrace.cli.shellwords import Line
from surftrace.compiler.completing import (
    Choice,
    Choices,
    complete_event,
    complete_function,
    complete_path,
    complete_probe,
    complete_type,
)
from surftrace.kernel.ldcache import known_libraries, short_name
from surftrace.kernel.machine import MACHINES, machine_named
from surftrace.kernel.target import Target
from surftrace.record import record
from surftrace.tracing.tracefs import find_tracefs

_FILES = frozenset(("FILE", "PATH"))
_FOLDERS = frozenset(("FOLDER",))
_CHOICES = re.compile(r"\w+(\|\w+)+")


@record
class Proposal:
    """What the word may become from `start` on. `kind` is `words`, or what the shell finds itself: `files`, `folders`.

    `open`: words that go on behind what is proposed, so that neither a space nor a quote belongs there.
    """

    kind: str
    start: int = 0
    choices: tuple[Choice, ...] = ()


@record
class _Given:
    """The options of a line with their values, by `dest`; the action that still waits for its value; what else came."""

    values: Mapping[str, Sequence[str]]
    waiting: argparse.Action | None
    positionals: int
    has_ended: bool


def propose(line: Line) -> Proposal:
    """What the line's last word may become. SurftraceError, or any other, for what means nothing."""
    words = [*line.words]
    while words and re.match(r"\w+=", words[0]):
        del words[0]
    words = words[1:]
    command = words.pop(0) if words and words[0] in COMMANDS else None
    parser = parser_of(command)
    given = _given(parser, words)
    if given.waiting is not None:
        return _value(given.waiting, line.current, 0, given)
    if line.current.startswith("-") and not given.has_ended and not line.quote:
        return _option(parser, line.current, given)
    if command is None and not words and not line.quote and " " not in line.current:
        return Proposal("words", 0, _beginning(line.current, map(Choice, COMMANDS)))
    action = _positional(parser, given.positionals)
    return _value(action, line.current, 0, given) if action is not None else Proposal("words")


def parser_of(command: str | None) -> argparse.ArgumentParser:
    """The parser of a command, or of surftrace itself."""
    if command is None:
        return trace_parser()
    make: Callable[[], argparse.ArgumentParser]
    make = getattr(import_module(f"surftrace.cli.{COMMANDS[command]}"), f"{command}_parser")
    return make()


def _given(parser: argparse.ArgumentParser, words: Iterable[str]) -> _Given:
    values: dict[str, list[str]] = {}
    waiting, positionals, has_ended = None, 0, False
    for word in words:
        if waiting is not None:
            values.setdefault(waiting.dest, []).append(word)
            waiting = None
        elif has_ended or not word.startswith("-") or word == "-":
            positionals += 1
        elif word == "--":
            has_ended = True
        else:
            action, start = _named(parser, word)
            if action is not None and action.nargs != 0:
                if start:
                    values.setdefault(action.dest, []).append(word[start:])
                else:
                    waiting = action
    return _Given(values, waiting, positionals, has_ended)


def _named(parser: argparse.ArgumentParser, word: str) -> tuple[argparse.Action | None, int]:
    """The option that a word names, and where in the word its value starts; 0 where it has none in it."""
    by_name = {name: action for action in parser._actions for name in action.option_strings}
    name, equals, _ = word.partition("=")
    if word.startswith("--"):
        return by_name.get(name), len(name) + 1 if equals else 0
    return by_name.get(word[:2]), 2 if len(word) > 2 else 0


def _positional(parser: argparse.ArgumentParser, number: int) -> argparse.Action | None:
    """The action that takes the positional argument of that number."""
    actions = [action for action in parser._actions if not action.option_strings]
    if number < len(actions):
        return actions[number]
    return actions[-1] if actions and actions[-1].nargs in ("*", "+") else None


def _option(parser: argparse.ArgumentParser, word: str, given: _Given) -> Proposal:
    action, start = _named(parser, word)
    if action is not None and start and action.nargs != 0:
        return _value(action, word, start, given)
    choices = [
        Choice(name, action.help % {"default": action.default} if action.help else "")
        for action in parser._actions
        for name in action.option_strings
        if action.help != argparse.SUPPRESS
    ]
    return Proposal("words", 0, _beginning(word, choices))


def _value(action: argparse.Action, word: str, start: int, given: _Given) -> Proposal:
    """What an option's value, or a positional argument, may become; it starts there in the word."""
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    text = word[start:]
    if metavar == "FUNCTION" and re.match(r"\s*[preRP]\s", text):  # latency takes a function, or a probe at it
        metavar = "PROBE"
    if metavar in _FILES:
        return Proposal("files")
    if metavar in _FOLDERS:
        return Proposal("folders")
    if metavar == "ARCH":
        return Proposal("words", start, _beginning(text, map(Choice, MACHINES)))
    fixed = metavar.split("|") if _CHOICES.fullmatch(metavar) else [str(each) for each in action.choices or ()]
    if fixed:
        return Proposal("words", start, _beginning(text, map(Choice, fixed)))
    if metavar == "NAME":
        return Proposal("words", start, _beginning(text, map(Choice, find_tracefs().folders("instances"))))
    if metavar == "PROBE" and (program := re.fullmatch(r"\s*[PR]\s+([^\s:]*)", text)):
        return _program(program[1], start + program.start(1))
    complete = _OF_KERNEL.get(metavar)
    if complete is None:
        return Proposal("words")
    found = complete(text, _target(given))
    return Proposal("open" if metavar == "PROBE" else "words", start + found.start, found.found)


def _target(given: _Given) -> Target:
    """The kernel that the options choose."""

    def last(name: str) -> str | None:
        return _path(given.values[name][-1]) if name in given.values else None

    def each(name: str) -> tuple[str, ...]:
        return tuple(map(_path, given.values.get(name, ())))

    chosen = argparse.Namespace(btfs=each("btfs"), modules=each("modules"))
    chosen.vmlinux, chosen.symbols, chosen.arch = last("vmlinux"), last("symbols"), last("arch")
    return chosen_target(chosen)


def _path(text: str) -> str:
    return str(Path(text).expanduser()) if text.startswith("~") else text


def _program(word: str, start: int) -> Proposal:
    """A program's or a library's file; without a folder, what is in PATH, and libraries by their short names."""
    folder, slash, name = word.rpartition("/")
    found = list(_files_in(folder + slash)) if slash else []
    if not slash:
        libraries = known_libraries(machine_named(os.uname().machine))
        found = [Choice(f"{short_name(each.name)}:", each.path) for each in libraries]
        for each in os.get_exec_path() if name else ():
            found += (file for file in _files_in(each) if not file.text.endswith("/"))
    return Proposal("open", start + len(folder + slash), _beginning(name, found))


def _files_in(folder: str) -> Iterator[Choice]:
    """What a probe on a program may name in a folder: surftrace/kernel/objects.py has what it may not."""
    for path in Path(folder).iterdir() if Path(folder).is_dir() else ():
        if path.name.isprintable() and not re.search(r"[\s#:]", path.name):
            yield Choice(path.name + ("/" if path.is_dir() else ":"))


def _function(text: str, on: Target) -> Choices:
    return Choices(0, _beginning(text, complete_function(text, on)))


def _pattern(text: str, on: Target) -> Choices:
    """A function, or an event."""
    functions = complete_function(text, on) if "/" not in text else ()
    return Choices(0, _beginning(text, (*functions, *complete_event(text, on))))


def _thing(text: str, on: Target) -> Choices:
    """Anything that `show` knows."""
    if re.search(r"\.|->", text):
        return complete_path(text, on)
    types = complete_type(text, on)
    if re.match(r"\s*(struct|union|enum)\s", text):
        return types
    structs = complete_type(f"struct {text}", on).found if len(text) > 1 else ()
    return Choices(0, _beginning(text, (*_pattern(text, on).found, *types.found, *structs)))


_OF_KERNEL: Mapping[str, Callable[[str, Target], Choices]] = {
    "FUNCTION": _function,
    "PATTERN": _pattern,
    "PLACE": _function,
    "PROBE": complete_probe,
    "THING": _thing,
    "TYPE": complete_type,
}


def _beginning(word: str, choices: Iterable[Choice]) -> tuple[Choice, ...]:
    found = {each.text: each for each in choices if each.text.startswith(word)}
    return tuple(found[text] for text in sorted(found))
