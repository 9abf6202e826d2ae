"""What is checked of a zip that nobody vouches for, before a byte of it is unpacked."""

import sys
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from eurosat_core.errors import LabError
from eurosat_core.wording import bytes_text

METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})  # others can swell without bounds while they are read
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)
"""What `zipfile` raises for a damaged or an unknown kind of entry."""


@dataclass(frozen=True)
class ZipLimits:
    """How large a zip may be.

    Attributes:
        entries: How many files it may hold.
        harmless_bytes: What unpacks to less is taken, whatever its ratio.
        ratio: Unpacked to packed bytes. Pictures are packed already, so theirs is about 1 (a flat TIFF's up to 100);
            text packs to a tenth.
        most_bytes: Unpacked, all together.
    """

    entries: int
    harmless_bytes: int
    ratio: int = 200
    most_bytes: int = sys.maxsize


def check_contents(
    infos: Sequence[zipfile.ZipInfo], size: int, name: str, limits: ZipLimits, error: type[LabError]
) -> None:
    """Refuse bombs: too many entries, entries that share their bytes, or that swell without measure.

    Args:
        infos: The table of contents.
        size: Bytes of the archive.
        name: The beginning of the sentence, such as its path.
        limits: What is taken.
        error: What is raised, with the sentence.
    """
    if len(infos) > limits.entries:
        raise error(f"{name} holds {len(infos):,} files; at most {limits.entries:,} are unpacked. It was left alone.")
    packed, unpacked = sum(each.compress_size for each in infos), sum(each.file_size for each in infos)
    if packed > size:
        raise error(f"{name} is no honest archive: its entries overlap. It was left alone.")
    swells = unpacked > limits.harmless_bytes and unpacked > limits.ratio * max(packed, 1)
    if swells or unpacked > limits.most_bytes:
        raise error(f"{name} would swell from {bytes_text(packed)} to {bytes_text(unpacked)}. It was left alone.")
