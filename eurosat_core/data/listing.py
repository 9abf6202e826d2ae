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

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp"})
ARCHIVE_SUFFIXES = frozenset({".zip", ".7z", ".rar", ".gz", ".tgz", ".tar"})
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


def skipped_kind(name: str) -> str:
    """`of .gif`: why a file that is no picture was left out; empty for one that nobody misses."""
    if is_hidden(name):
        return ""
    return f"of {_suffix(name)}" if _suffix(name) else "without an ending"


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (speed)


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and _suffix(name) in PICTURE_SUFFIXES


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
            search = _Search(place.joinpath(*inside), depth=1)
            tree = choose_tree({(): search.found.get((), {})})
            if tree is not None and len(tree.class_names) >= 2:
                return replace(tree, root=inside), search.others_in(tree)
    search = _Search(place, _MAX_DEPTH)
    tree = choose_tree(search.found)
    if tree is None:
        raise DataError(
            f"No pictures were found under {place}.{search.instead} It should hold one subfolder per class with "
            "pictures in it, such as Forest/Forest_1.jpg, or eurosat/2750/Forest/Forest_1.jpg."
        )
    return tree, Tally([*outside(search.found, tree, search.loose), *search.others_in(tree)])


def outside(found: ClassFolders, tree: Tree, loose: int) -> Tally:
    """The pictures that are not in a tree, and so are left out. loose: those in no folder."""
    elsewhere = [classes for above, classes in found.items() if tree.part_of(above) is None]
    total = loose + sum(one.pictures for classes in elsewhere for one in classes.values())
    kind = LeftOut(f"{'picture' if total == 1 else 'pictures'} outside of {tree.name}", total, unreadable=False)
    return Tally([kind] if total else [])


class _Search:
    """A walk through a folder and those in it, the higher ones first, within bounds.

    found: folders with pictures. loose: pictures that lie in the place itself. Raises `OSError` for a folder near the
    top that may not be read; deeper ones are passed over.
    """

    def __init__(self, place: Path, depth: int) -> None:
        self.found: ClassFolders = {}
        self.loose = 0
        self._others: Counter[tuple[tuple[str, ...], str]] = Counter()  # by the folder that class folders stand in
        self._archive = ""
        self._seen = 0
        visited = set()
        folders: list[tuple[str, ...]] = [()]
        for number, words in enumerate(folders):  # it grows meanwhile
            path = place.joinpath(*words)
            try:
                status = path.stat()
                if (status.st_dev, status.st_ino) in visited:  # a link to where we were
                    continue
                inner = self._look_into(path, words)
            except OSError:
                if len(words) <= 1:
                    raise
                continue
            visited.add((status.st_dev, status.st_ino))
            if len(words) < depth:
                folders += inner
            if number >= _MAX_FOLDERS or self._seen > _MAX_SEEN:
                break

    def _look_into(self, path: Path, words: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Count what lies in one folder; the folders in it, by name."""
        own = ClassFolder()
        folders = []
        with os.scandir(path) as entries:
            for each in entries:
                self._seen += 1
                if is_hidden(each.name):
                    continue
                if each.is_dir():
                    folders.append((*words, each.name))
                elif _is_picture(each.name):
                    if each.is_file():
                        own.count(each.name)
                else:
                    self._others[words[:-1] if words else (".",), skipped_kind(each.name)] += 1
                    if _suffix(each.name) in ARCHIVE_SUFFIXES:
                        self._archive = self._archive or each.name
        if not words:
            self.loose = own.pictures
        elif own.pictures:
            self.found.setdefault(words[:-1], {})[words[-1]] = own
        return sorted(folders)

    @property
    def instead(self) -> str:
        """What was seen where no pictures were, as a sentence; empty for nothing."""
        if self._archive:
            return f" It holds the archive {self._archive}: name that, or unpack it."
        seen = Tally(LeftOut(kind, count, unreadable=False) for (_, kind), count in self._others.items())
        return f" Other files were left out: {left_out_text(seen, ', ')}." if seen.count else ""

    def others_in(self, tree: Tree) -> Tally:
        """The files that are no pictures, in the folders that stand where a tree's classes do."""
        return Tally(
            LeftOut(kind, count, unreadable=False)
            for (above, kind), count in self._others.items()
            if tree.part_of(above) is not None
        )
