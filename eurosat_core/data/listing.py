"""Finding pictures on disk: which folder of a given place holds the classes, and which pictures lie in it.

The order is torchvision's (`ImageFolder`), classes by name, then pictures by name: tile numbers agree.
"""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from eurosat_core.data.classes import CLASS_NAMES, CLASSES
from eurosat_core.errors import DataError

__all__ = ["PICTURE_SUFFIXES", "Listing", "has_tiles", "list_pictures"]

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
_MAX_PICTURES = 500_000
_MAX_CLASSES = 100
# Where a given folder may keep its class folders: torchvision's root first, then the archive's own folder,
# then itself.
_INSIDE = (Path("eurosat", "2750"), Path("2750"), Path("EuroSAT_RGB"), Path())


@dataclass(frozen=True)
class Listing:
    """The pictures of a class-per-folder tree.

    folder: the folder that holds the class folders. names: `Class/picture.jpg`, sorted. labels: one per name.
    key: changes whenever a picture is added, removed, renamed, resized or rewritten.
    """

    folder: Path
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]
    key: str

    @property
    def is_eurosat(self) -> bool:
        """Whether these can be EuroSAT's tiles, all or some: its ten classes, none with more than was published."""
        counts = Counter(self.labels)
        return self.class_names == CLASS_NAMES and all(
            counts[label] <= each.tiles for label, each in enumerate(CLASSES)
        )


def _class_folders(folder: Path) -> list[Path]:
    """Subfolders that hold at least one picture, by name; hidden ones do not count."""
    found = []
    with os.scandir(folder) as entries:
        candidates = sorted(each.name for each in entries if each.is_dir() and not each.name.startswith("."))
    for name in candidates:
        with os.scandir(folder / name) as entries:
            if any(_is_picture(each.name) and each.is_file() for each in entries):
                found.append(folder / name)
    return found


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES  # noqa: PTH122 (speed)


def has_tiles(place: Path) -> bool:
    """Whether `place` holds something that `list_pictures` can list."""
    try:
        return any(len(_class_folders(place / inside)) >= 2 for inside in _INSIDE if (place / inside).is_dir())
    except OSError:
        return False


def list_pictures(place: Path) -> Listing:
    """All pictures under `place`: a torchvision root or a class-per-folder tree.

    Raises `DataError` with a sentence when there is nothing to use.
    """
    folder, class_folders = _find_classes(place)
    digest = hashlib.blake2b(os.fsencode(folder.resolve()), digest_size=16)
    names: list[str] = []
    labels: list[int] = []
    for label, class_folder in enumerate(class_folders):
        try:
            with os.scandir(class_folder) as entries:
                pictures = sorted(
                    (each.name, each.stat()) for each in entries if _is_picture(each.name) and each.is_file()
                )
        except OSError as error:
            raise DataError(_unreadable(class_folder, error)) from error
        for name, status in pictures:
            names.append(f"{class_folder.name}/{name}")
            labels.append(label)
            digest.update(os.fsencode(f"{names[-1]}|{status.st_size}|{status.st_mtime_ns}\n"))
    if len(names) > _MAX_PICTURES:
        raise DataError(
            f"There are {len(names):,} pictures under {folder}; the lab takes at most {_MAX_PICTURES:,}. "
            "Name a folder with fewer."
        )
    return Listing(folder, tuple(each.name for each in class_folders), tuple(names), tuple(labels), digest.hexdigest())


def _unreadable(folder: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"The folder {folder} may not be read. Give yourself read permission."
    return f"The folder {folder} cannot be read: {error.strerror or error}. Copy the pictures to a local disk."


def _find_classes(place: Path) -> tuple[Path, list[Path]]:
    """The folder that holds the class folders, and these. Raises `DataError`."""
    if not os.path.exists(place):  # noqa: PTH110 (Path.exists raises for a name that is too long)
        raise DataError(f"There is no folder {place}. Check the path for a slip of the pen.")
    if not place.is_dir():
        raise DataError(f"{place} is a file. Name the folder with one subfolder of pictures per class.")
    single: Path | None = None
    for inside in _INSIDE:
        folder = place / inside
        if not folder.is_dir():
            continue
        try:
            classes = _class_folders(folder)
        except OSError as error:
            raise DataError(_unreadable(folder, error)) from error
        if len(classes) > _MAX_CLASSES:
            raise DataError(
                f"{folder} has {len(classes)} folders with pictures; the lab takes at most {_MAX_CLASSES} "
                "classes. Name the folder whose subfolders are the classes."
            )
        if len(classes) >= 2:
            return folder, classes
        if classes:
            single = classes[0]
    if single is not None:
        raise DataError(
            f"Only one class folder with pictures was found: {single}. A classifier needs at least two "
            "classes: name the folder above them."
        )
    raise DataError(
        f"No pictures were found under {place}. It should hold one subfolder per class with pictures in it, "
        "such as Forest/Forest_1.jpg, or eurosat/2750/Forest/Forest_1.jpg."
    )
