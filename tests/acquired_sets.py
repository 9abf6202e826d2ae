"""A small EuroSAT to acquire, and a look at what lies in a cache afterwards."""

from pathlib import Path

from zip_makers import tree_entries

from eurosat_core.data.classes import CLASS_NAMES

EUROSAT = tree_entries(CLASS_NAMES, inside="2750/")
ZIP = "EuroSAT.zip"


def contents(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def half_made(cache: Path) -> list[Path]:
    return [*cache.glob("acquiring-*"), *cache.glob("replaced-*")]
