"""Who is here. A participant is known by the secret in a browser's cookie, or by an account's; its hash is kept.

Participants stand in one file beside the runs that only grows, a line for each change, the newest of a participant
counts: a line is added whole in one call, however many write at once, even another server; a crash tears at most the
last one, and thirty people change little (who is new, a name, a code). Where they are now is kept in memory alone.

A run belongs to a participant's id. What older versions stored under a nickname belongs to nobody: whoever took that
name would get it.
"""

import base64
import hashlib
import hmac
import os
import re
import secrets
import threading
import time
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from cachetools import LRUCache
from msgspec import Meta

from eurosat_core.classroom.attempts import Attempts
from eurosat_core.errors import RunError
from eurosat_core.records import Book, Count, Figure

MAX_NICKNAME = 24
_MOST = 5000  # in memory
_MOST_BROWSERS = 8  # of one participant; the one that came first is forgotten
_NOTED_SECONDS = 3600.0  # how often it is stored that somebody is still here
_ID = re.compile(r"p-[0-9a-f]{16}")
_CODE_SIGNS = 8  # of 32: 40 bits, for few tries

_ADJECTIVES = ("amber", "brave", "calm", "clever", "eager", "gentle", "keen", "lucky", "merry", "quick", "sunny")
_ANIMALS = ("badger", "crane", "dolphin", "falcon", "heron", "ibis", "lynx", "marten", "otter", "puffin", "robin")

# Letters and signs that look like a space, and marks that look like nothing.
_INVISIBLE = dict.fromkeys(map(ord, "\u115f\u1160\u3164\uffa0\u2800"), " ") | dict.fromkeys(
    (0x034F, *range(0x180B, 0x180E), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
)

Progress = Literal["done", "stuck", "hand"]
"""How it is going on a page: done, stuck, or a hand up for a question."""

_Short = Annotated[str, Meta(max_length=80)]


@dataclass(frozen=True)
class Browser:
    """Hashes (SHA-256, hexadecimal) of the secret in its cookie, and of the recovery code that it shows.

    secret: empty for a code that was made for somebody, which no browser shows.
    """

    secret: _Short
    code: _Short = ""


@dataclass(frozen=True)
class Participant:
    """seen times are in seconds since 1970; page: where they were then. codes: how often the code was made anew."""

    id: _Short
    nickname: _Short
    browsers: tuple[Browser, ...]
    first_seen: Figure
    last_seen: Figure
    page: _Short = ""
    codes: Count = 0


class Participants(Book):
    """Everybody who came. reserved: names that nobody may take. May be asked from any thread."""

    _line = Participant

    def __init__(self, path: Path, reserved: Iterable[str] = ()) -> None:
        super().__init__(path)
        self._known: LRUCache[str, Participant] = LRUCache(_MOST)
        self._by_secret: LRUCache[str, str] = LRUCache(_MOST * _MOST_BROWSERS)  # id, by hash
        # In memory alone, by id; plain dicts, for those need no lock.
        self._here: dict[str, tuple[float, str]] = {}  # when and on which page
        self._says: dict[str, tuple[str, Progress]] = {}  # on which page, and what
        self._reserved = {name_key(each) for each in reserved}
        self._changing = threading.Lock()  # from looking whether something is free to having it
        self._codes = Attempts()

    # -- who that is

    def enter(self, secret: str, page: str = "", wanted: str = "") -> Participant:
        """Who has this secret, and that they are here; a new participant with a random name if nobody has.

        page: where they are; empty: where they were. wanted: the name of a new one, if it can be had.
        """
        now, digest = time.time(), _hash(secret)
        found = self._of_browser(digest)
        if found is None:
            with self._changing:
                found = self._of_browser(digest)
                if found is None:
                    browser = Browser(digest, _hash(_code(secret, 0)))
                    found = Participant(
                        _new_id(), self._free_name(wanted), (browser,), round(now, 3), round(now, 3), page
                    )
                    self._note(found)
        self._here[found.id] = (now, page or self._here.get(found.id, (0.0, found.page))[1])
        if len(self._here) > _MOST:
            self._forget_some()
        if now - found.last_seen > _NOTED_SECONDS:
            self._change(found.id)
        return found

    def _forget_some(self) -> None:
        """Where the half who were not here for longest were, and how it went there."""
        for participant_id, _ in sorted(self._here.copy().items(), key=lambda each: each[1])[: _MOST // 2]:
            self._here.pop(participant_id, None)
            self._says.pop(participant_id, None)

    def get(self, participant_id: str) -> Participant | None:
        """One participant, None if nobody has this id."""
        with self._lock:
            self._follow()
            return self._known.get(participant_id)

    def all(self) -> list[Participant]:
        """Everybody who can still come back, with when and where they were last; who was here last comes first."""
        with self._lock:
            self._follow()
            known = [each for each in self._known.values() if each.browsers]
        return sorted(map(self._now, known), key=lambda each: each.last_seen, reverse=True)

    def name(self, owner: str) -> str:
        """How the owner of a run is called: what is no id of a participant is a name itself, as of older runs."""
        known = self.get(owner)
        if known is not None:
            return known.nickname
        return "somebody" if _ID.fullmatch(owner) else owner

    def id_of(self, nickname: str) -> str:
        """Id of the participant who has this name; empty if nobody has."""
        key = name_key(nickname)
        return next((each.id for each in self.all() if name_key(each.nickname) == key), "")

    # -- how it is going

    def say(self, participant_id: str, progress: Progress | None) -> None:
        """Note how it is going on the page where they are; None: nothing to say any more."""
        if progress is None:
            self._says.pop(participant_id, None)
        else:
            self._says[participant_id] = (self._here.get(participant_id, (0.0, ""))[1], progress)

    def says(self, participant_id: str) -> Progress | None:
        """What somebody said last, if they are still on that page."""
        page, progress = self._says.get(participant_id, ("", None))
        return progress if page == self._here.get(participant_id, (0.0, ""))[1] else None

    # -- names

    def rename(self, participant_id: str, nickname: str) -> Participant:
        """Give a participant another name. Raises `RunError` for one that is empty, reserved, or another's."""
        name = tidy_name(nickname)
        if not name:
            raise RunError("A nickname needs at least one letter or sign that can be seen.")
        if name_key(name) in self._reserved:
            raise RunError(f"The lab itself uses the name {name}. Choose another one.")
        with self._changing:
            if self.id_of(name) not in ("", participant_id):
                raise RunError(
                    f"Somebody here is called {name} already. Choose another name; or, if that is you on another "
                    "computer, enter the code that you see there."
                )
            return self._change_locked(participant_id, nickname=name)

    def _free_name(self, wanted: str = "") -> str:
        taken = self._reserved | {name_key(each.nickname) for each in self.all()}
        name = tidy_name(wanted)
        if name and name_key(name) not in taken:
            return name
        while True:
            name = f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_ANIMALS)}-{secrets.randbelow(900) + 100}"
            if name_key(name) not in taken:
                return name

    # -- coming back

    def code(self, secret: str) -> str:
        """The recovery code of who has this secret, as XXXX-XXXX. It follows from the secret, so it is not stored."""
        digest, participant_id = _hash(secret), self.enter(secret).id
        with self._changing:
            known = self._known_one(participant_id)
            code = _code(secret, known.codes)
            browsers = tuple(
                replace(each, code=_hash(code)) if each.secret == digest else each for each in known.browsers
            )
            if browsers != known.browsers:
                self._change_locked(known.id, browsers=browsers)
        return code

    def new_code(self, secret: str) -> str:
        """Another recovery code; the ones so far, of whichever browser, are worth nothing from now on."""
        participant_id = self.enter(secret).id
        with self._changing:
            known = self._known_one(participant_id)
            bare = tuple(replace(each, code="") for each in known.browsers if each.secret)
            self._change_locked(known.id, codes=known.codes + 1, browsers=bare)
        return self.code(secret)

    def issue_code(self, participant_id: str) -> str:
        """A recovery code for somebody who lost the browser and had not noted theirs, until another one is made.

        Whoever asks has to know who they are. Raises `RunError` for somebody who is not known.
        """
        with self._changing:
            known = self._known_one(participant_id)
            code = _code(secrets.token_urlsafe(32), known.codes)
            own = tuple(each for each in known.browsers if each.secret)
            self._change_locked(participant_id, browsers=(*own, Browser("", _hash(code))))
        return code

    def recover(self, secret: str, code: str) -> Participant:
        """The browser with this secret belongs to whom the code belongs to from now on.

        Raises `RunError` for a wrong code, or after too many of them.
        """
        asking, wanted = self.enter(secret), _hash(_plain_code(code))
        found: list[Participant] = []

        def is_right() -> bool:
            known = [(each, browser.code) for each in self.all() for browser in each.browsers]
            found.extend(each for each, digest in known if hmac.compare_digest(digest.encode(), wanted.encode()))
            return bool(found)

        if not self._codes.attempt(asking.id, is_right):
            raise RunError("Nobody has this code. Copy it from the sidebar of the computer that you used before.")
        digest = _hash(secret)
        if found[0].id == asking.id:
            return asking
        with self._changing:
            asking, known = self._known_one(asking.id), self._known_one(found[0].id)
            left = tuple(each for each in asking.browsers if each.secret != digest)
            self._change_locked(asking.id, browsers=left)
            self._here.pop(asking.id, None)
            browser = Browser(digest, _hash(_code(secret, known.codes)))
            return self._change_locked(known.id, browsers=(*known.browsers, browser)[-_MOST_BROWSERS:])

    # -- the file

    def _of_browser(self, digest: str) -> Participant | None:
        with self._lock:
            self._follow()
            found = self._known.get(self._by_secret.get(digest, ""))
        return found if found and any(each.secret == digest for each in found.browsers) else None

    def _now(self, participant: Participant) -> Participant:
        seen, page = self._here.get(participant.id, (participant.last_seen, participant.page))
        return replace(participant, last_seen=round(seen, 3), page=page)

    def _change(self, participant_id: str) -> None:
        with self._changing:
            self._change_locked(participant_id)

    def _known_one(self, participant_id: str) -> Participant:
        """Raises `RunError` for somebody who is not known."""
        known = self.get(participant_id)
        if known is None:
            raise RunError("The lab does not know you any more. Reload the page.")
        return known

    def _change_locked(self, participant_id: str, **changes: object) -> Participant:
        """Raises `RunError` for somebody who is not known."""
        changed = replace(self._now(self._known_one(participant_id)), **changes)  # type: ignore[arg-type]
        self._note(changed)
        return changed

    def _take(self, record: Participant) -> None:
        self._known[record.id] = record
        for each in record.browsers:
            if each.secret:
                self._by_secret[each.secret] = record.id

    def _write(self, line: bytes) -> None:
        with suppress(OSError):  # the next line says it
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
        super()._write(line)


def tidy_name(name: str) -> str:
    """What was typed, as a name for everybody to see: printable, single-spaced, short; empty when nothing is left.

    Directional signs are not printable. A letter keeps two marks at most.
    """
    plain = unicodedata.normalize("NFKC", name[:1000]).translate(_INVISIBLE)
    kept: list[str] = []
    for each in filter(str.isprintable, plain):
        if not (_is_mark(each) and (not kept or all(map(_is_mark, kept[-2:])))):
            kept.append(each)
    return " ".join("".join(kept).split())[:MAX_NICKNAME].strip()


def name_key(name: str) -> str:
    """Equal for names that people would take for one: neither letter case nor spaces tell them apart."""
    return "".join(tidy_name(tidy_name(name).casefold()).split())


def _is_mark(sign: str) -> bool:
    return unicodedata.category(sign) in ("Mn", "Me")


def _new_id() -> str:
    return f"p-{secrets.token_hex(8)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _code(secret: str, number: int) -> str:
    """The recovery code that follows from a secret; the secret does not follow from it."""
    digest = hmac.digest(secret.encode(), f"recovery code {number}".encode(), "sha256")
    signs = base64.b32encode(digest)[:_CODE_SIGNS].decode()
    return f"{signs[:4]}-{signs[4:]}"


def _plain_code(typed: str) -> str:
    """A code as it was made, however it was typed: base 32 has neither 0 nor 1 nor 8."""
    signs = re.sub(r"[^A-Z0-9]", "", typed[:100].upper()).translate(str.maketrans("018", "OIB"))
    return f"{signs[:4]}-{signs[4:]}"
