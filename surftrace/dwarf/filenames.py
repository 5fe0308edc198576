"""The source files that a line program names: DWARF 5, 6.2.4; before it, folder 0 was the one compiled in."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elftools.dwarf.lineprogram import LineProgram


def files_of_program(program: "LineProgram") -> dict[int, str]:
    """The source files that a unit's numbers mean, each with its folder, as the compiler was given them."""
    header = program.header
    is_new = header["version"] >= 5
    # From version 5 on folder 0 is the one that the compiler ran in; before, it had no entry.
    folders = [""] if not is_new else []
    for each in header["directories" if is_new else "include_directory"]:
        folders.append(text_in(each.get("DW_LNCT_path") if is_new else each))
    files = {}
    for number, entry in enumerate(header["file_entry"], 0 if is_new else 1):
        name, index = text_in(entry.name), int(entry.dir_index)
        is_plain = name.startswith("/") or not 0 < index < len(folders) or not folders[index]
        files[number] = name if is_plain else f"{folders[index]}/{name}"
    return files


def text_in(value: object) -> str:
    """The text of an attribute or a name in a table; empty for what has none."""
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
