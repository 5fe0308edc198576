"""What several files have in common in their DWARF, `dwz` moves to a file of its own: where that is.

Format: .gnu_debugaltlink, gdb's manual, "Separate Debug Files": the path, and the build id that it must have.
"""

from pathlib import Path

from surftrace.dwarf.errors import DwarfError
from surftrace.dwarf.packed import content_of, view_of

DEBUG_FOLDER = "/usr/lib/debug"
_LINK = ".gnu_debugaltlink"


def common_file(path: str) -> str | None:
    """The file with what this one shares with others; None where that is nothing. DwarfError where it is not there."""
    link = _link_of(path)
    if link is None:
        return None
    name, _, build_id = link.partition(b"\0")
    named = name.decode(errors="surrogateescape")
    folder, digest = Path(path).resolve().parent, build_id.hex()
    places = (
        Path(folder, named),  # whole where the name is
        Path(f"{DEBUG_FOLDER}/.build-id/{digest[:2]}/{digest[2:]}.debug"),
        Path(f"{DEBUG_FOLDER}/.dwz", Path(named).name),
    )
    found = next((str(place) for place in places if place.is_file()), None)
    if found is None:
        raise DwarfError(f"{path} shares its DWARF with {named}, which is not there", "install its debug symbols whole")
    return found


def _link_of(path: str) -> bytes | None:
    from elftools.elf.elffile import ELFFile

    data = content_of(path).data
    try:
        section = ELFFile(view_of(data)).get_section_by_name(_LINK)
        return section.data() if section is not None else None
    except Exception as error:  # a damaged ELF makes pyelftools raise nearly anything
        raise DwarfError(f"{path} is a damaged ELF file: {error}") from None
