"""The rules of the design that the syntax tree of every module can be asked for."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]

# Rooms, each with those it may import besides itself. `activity`, `errors`, `names`, `record` and `__init__` are
# everybody's.
_MAY_IMPORT = {
    "btf": set[str](),
    "grammar": set[str](),
    "errors": set[str](),
    "names": set[str](),
    "record": set[str](),
    "activity": set[str](),
    "dwarf": {"activity", "errors", "names", "record"},
    "lang": {"activity", "errors", "names", "record", "grammar"},
    "kernel": {"activity", "errors", "names", "record", "btf", "dwarf", "lang"},
    "compiler": {"activity", "errors", "names", "record", "btf", "dwarf", "lang", "kernel"},
    "tracing": {"activity", "errors", "names", "record", "btf", "dwarf", "lang", "kernel", "compiler"},
    "output": {"activity", "errors", "names", "record", "lang", "kernel", "compiler", "tracing"},
    "tools": {"activity", "errors", "names", "record", "btf", "lang", "kernel", "compiler", "tracing", "output"},
    "api": {"activity", "errors", "names", "record", "lang", "kernel", "compiler", "tracing", "output", "tools"},
    "measures": {"errors", "names", "record", "kernel", "compiler", "tracing", "output", "api"},
    "cli": {
        *("activity", "errors", "names", "record", "btf", "lang", "kernel"),
        *("compiler", "tracing", "output", "tools", "api", "measures"),
    },
    "__main__": {"cli"},
    "__init__": {"api", "measures", "errors", "lang", "kernel", "compiler", "tracing", "output"},
}
_MAX_MODULE_LINES = 400
_MAX_FUNCTION_LINES = 60

# What opens, lists or changes files. Only these modules do so, each for the files that are its own.
_FILE_CALLS = {"open", "read_bytes", "read_text", "write_text", "write_bytes", "scandir", "listdir", "iterdir", "glob"}
_OPENERS = {
    "btf/files.py": "BTF and ELF files",
    "surftrace/lang/tables.py": "the grammar",
    "surftrace/kernel/symbols.py": "a System.map, a copy of kallsyms",
    "surftrace/kernel/image.py": "a vmlinux",
    "surftrace/kernel/objects.py": "programs and libraries",
    "surftrace/kernel/userfunctions.py": "the same",
    "surftrace/kernel/usersymbols.py": "the same, as tasks have them mapped",
    "surftrace/kernel/ldcache.py": "the dynamic linker's cache, folders with libraries",
    "surftrace/kernel/debugfiles.py": "files with the symbols of stripped programs",
    "surftrace/dwarf/packed.py": "ELF files with DWARF",
    "surftrace/dwarf/search.py": "depmod's list of modules",
    "surftrace/tracing/tracefs.py": "tracefs, where it is mounted, who has it open, and the blacklist of kprobes",
    "surftrace/tracing/mappings.py": "what tasks have mapped",
    "surftrace/tracing/running.py": "kallsyms",
    "surftrace/cli/completion.py": "the scripts for shells",
    "surftrace/cli/proposals.py": "folders with programs",
    "surftrace/cli/sources.py": "sources of the kernel",
    "surftrace/cli/entry.py": "/dev/null",
    "surftrace/cli/standard.py": "the terminal that it writes to",
    "surftrace/cli/main.py": "/dev/null",
    "surftrace/api.py": "probe files",
}
_TRACEFS_NAMES = re.compile(r"/sys/kernel/(debug/)?tracing")
_MAY_NAME_TRACEFS = {"surftrace/tracing/tracefs.py", "surftrace/compiler/render.py"}


@dataclass(frozen=True, slots=True)
class _Module:
    """A Python file of the product: its path below the checkout, its room, its text and syntax."""

    path: str
    room: str
    text: str
    tree: ast.Module


def _modules() -> Iterator[_Module]:
    for folder in ("surftrace", "btf", "grammar"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            relative = path.relative_to(_ROOT)
            if relative.parts[:2] in (("surftrace", "btf"), ("surftrace", "grammar")):
                continue  # the links to the two folders
            room = relative.parts[1].removesuffix(".py") if folder == "surftrace" else folder
            text = path.read_text()
            yield _Module(str(relative), room, text, ast.parse(text))


_MODULES = tuple(_modules())
_EACH_MODULE = pytest.mark.parametrize("module", _MODULES, ids=[module.path for module in _MODULES])


def _imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            # `from surftrace import lang` imports a room too.
            names = [alias.name for alias in node.names] if node.module == "surftrace" else []
            rooms = [f"surftrace.{name}" for name in names if name in _MAY_IMPORT]
            yield from ((name, node.lineno) for name in rooms or [str(node.module)])


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def test_every_module_is_looked_at() -> None:
    assert {"surftrace/cli/main.py", "btf/reader.py", "grammar/__init__.py"} <= {module.path for module in _MODULES}
    assert len(_MODULES) > 40


@_EACH_MODULE
def test_imports_point_one_way(module: _Module) -> None:
    assert module.room in _MAY_IMPORT, f"a new room, {module.room}: say here what it may import"
    allowed = {module.room, *_MAY_IMPORT[module.room]}
    wrong = [
        f"{module.path}:{line}: {name}"
        for name, line in _imports(module.tree)
        if name.startswith("surftrace.") and name.split(".")[1] not in allowed
    ]
    assert not wrong


# What makes probes of text and what runs them: the command line has it from surftrace/api.py, as everybody.
_OF_THE_API = {
    "surftrace.compiler.counting.plan_counting",
    "surftrace.compiler.latency.build_latency_plan",
    "surftrace.compiler.plan.build_plan",
    "surftrace.compiler.resolve.resolve",
    "surftrace.kernel.offline.OfflineKernel",
    "surftrace.lang.script.parse_script",
    "surftrace.tracing.counting.counted",
    "surftrace.tracing.latency.running_latency",
    "surftrace.tracing.running.RunningKernel",
    "surftrace.tracing.session.applied",
    "surftrace.tracing.trace.running_trace",
}


@pytest.mark.parametrize("module", [module for module in _MODULES if module.room == "cli"], ids=lambda each: each.path)
def test_the_command_line_is_built_on_the_api(module: _Module) -> None:
    names = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert not names & _OF_THE_API


@_EACH_MODULE
def test_leaves_are_imported_under_their_installed_name(module: _Module) -> None:
    assert not [(name, line) for name, line in _imports(module.tree) if name.split(".")[0] in ("btf", "grammar")]


@_EACH_MODULE
def test_only_some_modules_open_files(module: _Module) -> None:
    calls = [
        f"{module.path}:{node.lineno}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and _called(node) in _FILE_CALLS and not _is_through_tracefs(node)
    ]
    assert module.path in _OPENERS or not calls


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _is_through_tracefs(call: ast.Call) -> bool:
    """`tracefs.open(...)`, `instance.tracefs.open(...)`: tracefs.py opens it."""
    return isinstance(call.func, ast.Attribute) and "tracefs" in ast.unparse(call.func.value)


@_EACH_MODULE
def test_only_some_modules_name_the_place_of_tracefs(module: _Module) -> None:
    assert module.path in _MAY_NAME_TRACEFS or not _TRACEFS_NAMES.search(module.text)


@_EACH_MODULE
def test_module_is_short(module: _Module) -> None:
    assert len(module.text.splitlines()) <= _MAX_MODULE_LINES


@_EACH_MODULE
def test_functions_are_short(module: _Module) -> None:
    lengths = {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in _functions(module.tree)}
    assert not {name: length for name, length in lengths.items() if length > _MAX_FUNCTION_LINES}


@_EACH_MODULE
def test_no_any(module: _Module) -> None:
    assert not [node.lineno for node in ast.walk(module.tree) if isinstance(node, ast.Name) and node.id == "Any"]
    assert "typing.Any" not in module.text


@_EACH_MODULE
def test_no_handler_catches_everything_without_a_reason(module: _Module) -> None:
    wrong = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            names = ast.unparse(node.type) if node.type is not None else "everything"
            # BaseException is caught to undo and to raise again.
            is_raised_again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            has_reason = "#" in module.text.splitlines()[node.lineno - 1]
            is_too_wide = names == "everything" or (re.search(r"\bException\b", names) and not has_reason)
            if is_too_wide or ("BaseException" in names and not is_raised_again):
                wrong.append(node.lineno)
    assert not wrong


@_EACH_MODULE
def test_what_is_ignored_says_why(module: _Module) -> None:
    ignores = [line for line in module.text.splitlines() if re.search(r"#\s*(type: ignore|noqa)", line)]
    assert not [line for line in ignores if not re.search(r"# (type: ignore\[[\w-]+\]|noqa: \w+)\s+#? ?\w", line)]


@_EACH_MODULE
def test_module_has_a_docstring(module: _Module) -> None:
    assert ast.get_docstring(module.tree)


@_EACH_MODULE
def test_public_names_have_docstrings(module: _Module) -> None:
    assert not list(_without_docstring(module.tree))


def _without_docstring(scope: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in scope.body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for name in _without_docstring(node))
