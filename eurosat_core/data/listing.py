"""Finding pictures on disk: which folder of a given place holds the classes, and which pictures lie in it.

The order is torchvision's (`ImageFolder`), classes by name, then pictures by name: tile numbers agree.
"""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from eurosat_core.data.classes import CLASS_NAMES, CLASSES
from eurosat_core.data.decoding import LeftOut, Tally, left_out_text
from eurosat_core.errors import DataError
from eurosat_core.wording import printable

_PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp"})
_ARCHIVE_SUFFIXES = frozenset({".zip", ".7z", ".rar", ".gz", ".tgz", ".tar"})
_JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif"})
_MAX_PICTURES = 500_000
_MAX_CLASSES = 100
# Where a given folder may keep its class folders: torchvision's root first, then the archive's own folder. Else they
# are looked for.
INSIDE = (("eurosat", "2750"), ("2750",), ("EuroSAT_RGB",))
_PARTS = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")
_MAX_DEPTH, _MAX_FOLDERS, _MAX_SEEN = 8, 3_000, 2_000_000  # of a search
# What systems put beside people's files.
_CLUTTER = frozenset(
    {"thumbs.db", "desktop.ini", "__macosx", "lost+found", "$recycle.bin", "system volume information"}
)


@dataclass
class ClassFolder:
    """How many pictures lie in a folder, and how many of them are JPEGs."""

    pictures: int = 0
    jpegs: int = 0

    def count(self, name: str) -> None:
        self.pictures += 1
        self.jpegs += _suffix(name) in _JPEG_SUFFIXES


ClassFolders = dict[tuple[str, ...], dict[str, ClassFolder]]
"""By the folder above, the class folders by name."""


@dataclass(frozen=True)
class Tree:
    """Where class folders stand. parts: such as `train` and `test`, when each holds the classes; else one, named ""."""

    root: tuple[str, ...]
    parts: tuple[str, ...]
    class_names: tuple[str, ...]

    def part_of(self, above: tuple[str, ...]) -> str | None:
        """Which part a folder is that class folders stand in; None when it is none of this tree's."""
        return next((part for part in self.parts if above == _in_part(self.root, part)), None)

    @property
    def name(self) -> str:
        """In words, for what lies outside of it."""
        return "/".join(self.root) or "the class folders"


def _in_part(root: tuple[str, ...], part: str) -> tuple[str, ...]:
    return (*root, part) if part else root


def choose_tree(found: ClassFolders) -> Tree | None:
    """The tree to take of all that an archive or a folder holds; None when it holds none.

    Torchvision's places first; then the one with most classes, then with most pictures (JPEGs rather than others:
    EuroSAT is passed on in both), then the highest. Parts such as `train` and `test` with the same classes are taken
    together, for the lab makes its own split.
    """
    candidates: list[tuple[tuple[str, ...], tuple[str, ...]]] = [(above, ("",)) for above in found]
    for root in {above[:-1] for above in found if above and above[-1].lower() in _PARTS}:
        parts = [above[-1] for above in found if above and above[:-1] == root and above[-1].lower() in _PARTS]
        fullest = max((found[_in_part(root, part)].keys() for part in parts), key=len)
        same = tuple(
            sorted(
                (part for part in parts if found[_in_part(root, part)].keys() <= fullest),
                key=lambda part: (_PARTS.index(part.lower()), part),
            )
        )
        if len(same) > 1:
            candidates.append((root, same))

    def rank(candidate: tuple[tuple[str, ...], tuple[str, ...]]) -> tuple[bool, int, int, int, int, tuple[str, ...]]:
        root, parts = candidate
        folders = [found[_in_part(root, part)] for part in parts]
        every = [one for each in folders for one in each.values()]
        classes = len({name for each in folders for name in each})
        pictures, jpegs = sum(one.pictures for one in every), sum(one.jpegs for one in every)
        return not (root in INSIDE and classes >= 2), -classes, -pictures, -jpegs, len(root), root

    if not candidates:
        return None
    best, of_it = min(candidates, key=rank)
    return Tree(best, of_it, tuple(sorted({name for part in of_it for name in found[_in_part(best, part)]})))


@dataclass(frozen=True)
class Listing:
    """The pictures of a class-per-folder tree.

    folder: the folder that holds the class folders, or the parts that hold them. names: `Class/picture.jpg`, or
    `train/Class/picture.jpg`. labels: one per name. left_out: other files in the class folders, and other places.
    contents: changes whenever a picture is added, removed, renamed, resized or rewritten.
    """

    folder: Path
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]
    contents: str
    parts: tuple[str, ...] = ("",)
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)

    @property
    def key(self) -> str:
        """Names these pictures in this folder."""
        digest = hashlib.blake2b(os.fsencode(self.folder.resolve()), digest_size=16)
        digest.update(self.contents.encode())
        return digest.hexdigest()

    @property
    def is_eurosat(self) -> bool:
        """Whether these can be EuroSAT's tiles, all or some: its ten classes, none with more than was published."""
        counts = Counter(self.labels)
        return self.class_names == CLASS_NAMES and all(
            counts[label] <= each.tiles for label, each in enumerate(CLASSES)
        )


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of the user's: hidden, or put there by a system."""
    return name.startswith(".") or name.lower() in _CLUTTER


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (speed)


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and _suffix(name) in _PICTURE_SUFFIXES


def has_tiles(place: Path) -> bool:
    """Whether `place` holds something that `list_pictures` can list."""
    try:
        usual = (place.joinpath(*inside) for inside in (*INSIDE, ()))
        if any(_has_two_classes(each) for each in usual if each.is_dir()):  # most often, and soon found
            return True
        return place.is_dir() and len(_find(place)[0].class_names) >= 2
    except (OSError, DataError):
        return False


def _has_two_classes(folder: Path) -> bool:
    found = 0
    with os.scandir(folder) as entries:
        for each in entries:
            if not is_hidden(each.name) and each.is_dir():
                with os.scandir(each.path) as inner:
                    found += any(_is_picture(one.name) and one.is_file() for one in inner)
            if found >= 2:
                return True
    return False


def list_pictures(place: Path) -> Listing:
    """All pictures under `place`: a torchvision root, a class-per-folder tree, or a folder with one in it.

    Raises `DataError` with a sentence when there is nothing to use.
    """
    tree, left_out = _checked_tree(place)
    folder = place.joinpath(*tree.root)
    digest = hashlib.blake2b(digest_size=16)
    names: list[str] = []
    labels: list[int] = []
    for label, class_name in enumerate(tree.class_names):
        for part in tree.parts:
            inside = f"{part}/{class_name}" if part else class_name
            for name, status in _pictures_in(folder / inside, may_lack=bool(part)):
                names.append(f"{inside}/{name}")
                labels.append(label)
                digest.update(os.fsencode(f"{names[-1]}|{status.st_size}|{status.st_mtime_ns}\n"))
    if len(names) > _MAX_PICTURES:
        raise DataError(
            f"There are {len(names):,} pictures under {folder}; the lab takes at most {_MAX_PICTURES:,}. "
            "Name a folder with fewer."
        )
    return Listing(
        *(folder, tree.class_names, tuple(names), tuple(labels), digest.hexdigest(), tree.parts),
        left_out=tuple(left_out),
    )


def _pictures_in(folder: Path, *, may_lack: bool) -> list[tuple[str, os.stat_result]]:
    """The pictures of a class by name."""
    try:
        with os.scandir(folder) as entries:
            pictures = [(each.name, each.stat()) for each in entries if _is_picture(each.name) and each.is_file()]
    except OSError as error:
        if may_lack and isinstance(error, FileNotFoundError | NotADirectoryError):  # a part without this class
            return []
        raise DataError(_unreadable(folder, error)) from error
    return sorted(pictures, key=lambda each: each[0])


def _unreadable(folder: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"The folder {folder} may not be read. Give yourself read permission."
    return f"The folder {folder} cannot be read: {error.strerror or error}. Copy the pictures to a local disk."


def _checked_tree(place: Path) -> tuple[Tree, Tally]:
    """Where the class folders stand, and what else there is. Raises `DataError`."""
    if not os.path.exists(place):  # noqa: PTH110 (Path.exists raises for a name that is too long)
        raise DataError(f"There is no folder {place}. Check the path for a typo.")
    if not place.is_dir():
        raise DataError(f"{place} is a file. Name the folder with one subfolder of pictures per class.")
    try:
        tree, left_out = _find(place)
    except OSError as error:
        raise DataError(_unreadable(Path(error.filename or place), error)) from error
    if len(tree.class_names) > _MAX_CLASSES:
        raise DataError(
            f"{place.joinpath(*tree.root)} has {len(tree.class_names)} folders with pictures; the lab takes at most "
            f"{_MAX_CLASSES} classes. Name the folder whose subfolders are the classes."
        )
    if len(tree.class_names) == 1:
        raise DataError(
            f"Only one class folder with pictures was found: {place.joinpath(*tree.root, tree.class_names[0])}. A "
            "classifier needs at least two classes: name the folder above them."
        )
    return tree, left_out


def _find(place: Path) -> tuple[Tree, Tally]:
    """The tree in a place: where torchvision has it, else wherever it is. Raises `OSError`, `DataError`."""
    for inside in INSIDE:
        if place.joinpath(*inside).is_dir():
            seen = _look_around(place.joinpath(*inside), depth=1)
            tree = choose_tree({(): seen.found.get((), {})})
            if tree is not None and len(tree.class_names) >= 2:
                return replace(tree, root=inside), seen.others_in(tree)
    seen = _look_around(place, _MAX_DEPTH)
    tree = choose_tree(seen.found)
    if tree is None:
        archive = f" It holds the archive {seen.archive}: name that, or unpack it." if seen.archive else ""
        raise DataError(
            f"No pictures were found under {place}.{archive or seen.others} It should hold one subfolder per class "
            "with pictures in it, such as Forest/Forest_1.jpg, or eurosat/2750/Forest/Forest_1.jpg."
        )
    return tree, Tally([*seen.outside(tree), *seen.others_in(tree)])


class Seen:
    """What lies in a folder or an archive: the class folders with their pictures, and all other files by kind.

    archive: the first archive among the others; empty when there is none.
    """

    def __init__(self) -> None:
        self.found: ClassFolders = {}
        self.archive = ""
        self._loose = 0  # pictures that are in no folder
        self._others: Counter[tuple[tuple[str, ...], str]] = Counter()  # by the folder that class folders stand in

    def add(self, folder: tuple[str, ...], name: str) -> bool:
        """Count a file that is not hidden. Gives whether it is a picture."""
        if not _is_picture(name):
            suffix = printable(_suffix(name), 80)
            self._others[folder[:-1] if folder else (".",), f"of {suffix}" if suffix else "without an ending"] += 1
            if suffix in _ARCHIVE_SUFFIXES:
                self.archive = self.archive or name
            return False
        if folder:
            self.found.setdefault(folder[:-1], {}).setdefault(folder[-1], ClassFolder()).count(name)
        else:
            self._loose += 1
        return True

    @property
    def others(self) -> str:
        """What was seen where no pictures were, as a sentence; empty for nothing."""
        seen = Tally(LeftOut(kind, count, unreadable=False) for (_, kind), count in self._others.items())
        return f" Other files were left out: {left_out_text(seen, ', ')}." if seen.count else ""

    def others_in(self, tree: Tree) -> Tally:
        """The files that are no pictures, in the folders that stand where a tree's classes do."""
        return Tally(
            LeftOut(kind, count, unreadable=False)
            for (above, kind), count in self._others.items()
            if tree.part_of(above) is not None
        )

    def outside(self, tree: Tree) -> Tally:
        """The pictures that are not in a tree, and so are left out."""
        elsewhere = [classes for above, classes in self.found.items() if tree.part_of(above) is None]
        total = self._loose + sum(one.pictures for classes in elsewhere for one in classes.values())
        kind = LeftOut(f"{'picture' if total == 1 else 'pictures'} outside of {tree.name}", total, unreadable=False)
        return Tally([kind] if total else [])


def _look_around(place: Path, depth: int) -> Seen:
    """Walk through a folder and those in it, the higher ones first, within bounds.

    Raises `OSError` for a folder near the top that may not be read; deeper ones are passed over.
    """
    seen = Seen()
    files = 0
    visited = set()
    folders: list[tuple[str, ...]] = [()]
    for number, words in enumerate(folders):  # it grows meanwhile
        path = place.joinpath(*words)
        inner, names = [], []
        try:
            status = path.stat()
            if (status.st_dev, status.st_ino) in visited:  # a link to where we were
                continue
            with os.scandir(path) as entries:
                for each in entries:
                    files += 1
                    if is_hidden(each.name):
                        continue
                    if each.is_dir():
                        inner.append((*words, each.name))
                    elif not _is_picture(each.name) or each.is_file():
                        names.append(each.name)
        except OSError:
            if len(words) <= 1:
                raise
            continue
        for name in names:
            seen.add(words, name)
        visited.add((status.st_dev, status.st_ino))
        if len(words) < depth:
            folders += sorted(inner)
        if number >= _MAX_FOLDERS or files > _MAX_SEEN:
            break
    return seen
