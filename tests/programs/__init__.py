"""Programs of C and C++ to probe, with known values in them: sources and options in, built files out."""

import shutil
import subprocess
from pathlib import Path

_FOLDER = Path(__file__).parent
C_SOURCES = ("plain.c", "second.c")
CPP_SOURCES = ("shop.cc",)


def build(folder: Path, name: str, *flags: str, sources: tuple[str, ...] = C_SOURCES, compiler: str = "") -> Path:
    """Build a program in a folder, where its sources are copied to."""
    for source in sources:
        shutil.copy(_FOLDER / source, folder)
    compiler = compiler or ("g++" if sources[0].endswith(".cc") else "gcc")
    done = subprocess.run(
        [compiler, "-g", "-w", "-o", name, *sources, *flags],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / name


def line_of(source: str, mark: str) -> int:
    """The number of the line that ends in the comment `mark:`."""
    lines = (_FOLDER / source).read_text().splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith(f"/* {mark} */")]
    return found
