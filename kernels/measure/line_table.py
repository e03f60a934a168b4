"""Which line each address of an object file was made of: ELF and DWARF's line table, as far as LLVM writes them here.

Source: DWARF Debugging Information Format, versions 4 and 5, section 6.2; System V ABI, ELF-64.
"""

import struct
from dataclasses import dataclass, field

CODE_FLAGS = 0x6  # allocated, executable
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQq")


@dataclass
class LineTable:
    """An object file's code.

    Attributes
    ----------
    symbols
        Section and offset of each function by its name.
    sizes
        Bytes of each section with code.
    rows
        (section, offset, line): from there on up to the next row's offset; line 0 ends a stretch.
    """

    symbols: dict[str, tuple[int, int]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    rows: list[tuple[int, int, int]] = field(default_factory=list)


def read_object(data: bytes) -> LineTable:
    """Read a relocatable ELF-64 file.

    Raises
    ------
    ValueError
        Where it is something else.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("expected ELF for 64 bits, little-endian")
    offset = struct.unpack_from("<Q", data, 40)[0]
    size, count, names_at = struct.unpack_from("<HHH", data, 58)
    sections = [SECTION.unpack_from(data, offset + k * size) for k in range(count)]

    def text(table: int, at: int) -> str:
        start = sections[table][4] + at
        return data[start : data.index(b"\0", start)].decode()

    names = [text(names_at, section[0]) for section in sections]
    table = LineTable(sizes={k: s[5] for k, s in enumerate(sections) if s[2] & CODE_FLAGS == CODE_FLAGS})
    symbols = []
    for section in sections:
        if section[1] == 2:  # symbols
            for k in range(section[5] // SYMBOL.size):
                name, info, _, home, value, _ = SYMBOL.unpack_from(data, section[4] + k * SYMBOL.size)
                symbols.append((home, value))
                if info & 15 == 2:  # a function
                    table.symbols[text(section[6], name)] = home, value
    if ".debug_line" not in names:
        return table
    moved: dict[int, tuple[int, int]] = {}
    for section in sections:
        if section[1] == 4 and names[section[7]] == ".debug_line":
            for k in range(section[5] // RELOCATION.size):
                at, info, addend = RELOCATION.unpack_from(data, section[4] + k * RELOCATION.size)
                home, value = symbols[info >> 32]
                moved[at] = home, value + addend
    lines = sections[names.index(".debug_line")]
    read_lines(data[lines[4] : lines[4] + lines[5]], moved, table.rows)
    return table


def unsigned(data: bytes, at: int) -> tuple[int, int]:
    """Return a LEB128 number and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def signed(data: bytes, at: int) -> tuple[int, int]:
    """Return a signed LEB128 number and where it ends."""
    value, end = unsigned(data, at)
    bits = 7 * (end - at)
    return (value - (1 << bits) if value >> (bits - 1) else value), end


def read_lines(data: bytes, moved: dict[int, tuple[int, int]], rows: list[tuple[int, int, int]]) -> None:
    """Run the line programs of a section; `moved` has section and offset of the addresses in it."""
    at = 0
    while at < len(data):
        length, version = struct.unpack_from("<IH", data, at)
        end = at + 4 + length
        head = at + (6 if version < 5 else 8)
        start = head + 4 + struct.unpack_from("<I", data, head)[0]
        fields = head + 4
        step, at = data[fields], fields + (2 if version >= 4 else 1)
        base, span, first = struct.unpack_from("<bBB", data, at + 1)
        lengths = data[at + 4 : at + 3 + first]
        at = start
        section, address, line = 0, 0, 1
        while at < end:
            code = data[at]
            at += 1
            if code >= first:
                address += step * ((code - first) // span)
                line += base + (code - first) % span
                rows.append((section, address, line))
            elif code == 0:
                size, at = unsigned(data, at)
                if data[at] == 1:  # the stretch ends
                    rows.append((section, address, 0))
                    section, address, line = 0, 0, 1
                elif data[at] == 2:
                    section, address = moved.get(at + 1, (0, 0))
                at += size
            elif code == 1:
                rows.append((section, address, line))
            elif code == 2:
                change, at = unsigned(data, at)
                address += step * change
            elif code == 3:
                change, at = signed(data, at)
                line += change
            elif code == 8:
                address += step * ((255 - first) // span)
            elif code == 9:
                address += struct.unpack_from("<H", data, at)[0]
                at += 2
            else:
                for _ in range(lengths[code - 1]):
                    _, at = unsigned(data, at)
        at = end
