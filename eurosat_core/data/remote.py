"""Where EuroSAT comes from: addresses and checksums as torchvision and torchgeo publish them."""

import ast
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from eurosat_core.errors import DataError
from eurosat_core.settings import Settings

__all__ = ["PLACE_LISTS", "Remote", "eurosat_archive"]


@dataclass(frozen=True)
class Remote:
    """A file on the internet: its address, the checksum of its content in hexadecimal, and the name it gets here.

    sha256: the first digits of its SHA-256, where that is what is published; then `md5` is empty.
    """

    url: str
    md5: str
    name: str
    sha256: str = ""

    @property
    def algorithm(self) -> str:
        """Which checksum is published: `md5` or `sha256`, as `hashlib` calls them."""
        return "sha256" if self.sha256 else "md5"

    @property
    def checksum(self) -> str:
        """The published one, or its first digits."""
        return self.sha256 or self.md5


# torchgeo's `EuroSATSpatial`: the tiles' names of each part, divided by longitude (60, 20 and 20 %).
PLACE_LISTS = {
    part: Remote(f"https://hf.co/datasets/torchgeo/eurosat/resolve/main/eurosat-spatial-{part}.txt", md5, name)
    for part, md5, name in (
        ("train", "7be3254be39f23ce4d4d144290c93292", "eurosat-spatial-train.txt"),
        ("val", "acf392290050bb3df790dc8fc0ebf193", "eurosat-spatial-val.txt"),
        ("test", "5ec1733f9c16116bf0aa2d921fc613ef", "eurosat-spatial-test.txt"),
    )
}


def eurosat_archive(settings: Settings) -> Remote:
    """The archive of all RGB tiles: torchvision's, or the mirror that the settings name.

    Raises `DataError` when the installed torchvision does not say where it lies.
    """
    if settings.archive_url and settings.archive_md5:
        return Remote(settings.archive_url, settings.archive_md5, "EuroSAT.zip")
    published = _torchvisions_archive()
    return Remote(settings.archive_url or published.url, settings.archive_md5 or published.md5, "EuroSAT.zip")


def _torchvisions_archive() -> Remote:
    """Address and MD5 as they stand in the source of `torchvision.datasets.EuroSAT.download`.

    Read from the source, for importing torchvision takes a second and 100 MB that the server does not otherwise need.
    """
    try:
        spec = find_spec("torchvision")
    except ValueError:  # a torchvision that somebody put in by hand
        spec = None
    folders = [Path(each) for each in (spec.submodule_search_locations or ())] if spec else []
    for folder in folders:
        try:
            tree = ast.parse((folder / "datasets" / "eurosat.py").read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("download_and_extract_archive"):
                texts = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
                urls = [each for each in texts if isinstance(each, str) and each.startswith("https://")]
                sums = [each for each in texts if isinstance(each, str) and re.fullmatch("[0-9a-f]{32}", each)]
                if urls and sums:
                    return Remote(urls[0], sums[0], "EuroSAT.zip")
    try:
        why = f"torchvision {version('torchvision')} does not say where it downloads EuroSAT from"
    except PackageNotFoundError:
        why = "torchvision, which says where EuroSAT lies, is not installed"
    raise DataError(
        f"{why}. Download EuroSAT.zip by hand and import it: python -m eurosat_core prepare --from EuroSAT.zip"
    )
