"""Where a function is in a shared library's file: as much of ELF as that takes.

System V ABI, chapters 4 and 5; 64 bit and little-endian, as every machine that Linux proxies run on.
"""

import mmap
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

_HEADER = struct.Struct("<4sBBxxxxxxxxxxHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_ELF64_LITTLE = (b"\x7fELF", 2, 1)
_SHT_DYNSYM = 11
_PT_LOAD = 1
_STT_FUNC = 2
_NAME_BYTES = 256


def function_offsets(path: str, names: Iterable[str]) -> dict[str, int]:
    """Offsets in the file of those functions that the library exports.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no ELF file of 64 bits.
    """
    wanted = {name.encode(): name for name in names}
    with (
        Path(path).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image,
    ):
        try:
            return {
                wanted[name]: _in_file(image, address)
                for name, address in _exported(image)
                if name in wanted
            }
        except struct.error as error:
            raise ValueError(f"{path}: cut short") from error


def _exported(image: mmap.mmap) -> Iterator[tuple[bytes, int]]:
    header = _HEADER.unpack_from(image)
    if header[:3] != _ELF64_LITTLE:
        raise ValueError("no ELF file of 64 bits")
    table, size, count = header[8], header[13], header[14]
    sections = [_SECTION.unpack_from(image, table + n * size) for n in range(count)]
    for section in sections:
        if section[1] != _SHT_DYNSYM:
            continue
        start, length, strings = section[4], section[5], sections[section[6]][4]
        for at in range(start, start + length, _SYMBOL.size):
            name, info, _, _, address, _ = _SYMBOL.unpack_from(image, at)
            if info & 0xF == _STT_FUNC and address:
                begin = strings + name
                end = image.find(b"\0", begin, begin + _NAME_BYTES)
                yield image[begin:end], address


def _in_file(image: mmap.mmap, address: int) -> int:
    header = _HEADER.unpack_from(image)
    table, size, count = header[7], header[11], header[12]
    for n in range(count):
        kind, _, offset, virtual, _, length, _, _ = _SEGMENT.unpack_from(image, table + n * size)
        if kind == _PT_LOAD and virtual <= address < virtual + length:
            return int(address - virtual + offset)
    raise ValueError(f"address {address:#x} is in no segment of the file")
