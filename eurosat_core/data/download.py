"""Downloads that go on where they stopped, and are checked: what is fetched from where, and how.

TLS is verified, always. What was fetched stays in `NAME.part` until the file is whole and its MD5 is right, so the next
try, of this process or another, goes on where this one stopped.
"""

import hashlib
import re
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import httpx
from filelock import FileLock, Timeout

from eurosat_core.errors import DataError
from eurosat_core.folders import not_kept
from eurosat_core.settings import Settings
from eurosat_core.wording import bytes_text


@dataclass(frozen=True)
class Remote:
    """A file on the internet: its address, the published checksum of its content in hexadecimal, or the first digits of
    it, the name that it gets here, and which checksum that is, as `hashlib` calls it.
    """

    url: str
    checksum: str
    name: str
    algorithm: Literal["md5", "sha256"] = "md5"


# torchgeo's `EuroSATSpatial`: the tiles' names of each part, divided by longitude (60, 20 and 20 %).
PLACE_LISTS = {
    part: Remote(f"https://hf.co/datasets/torchgeo/eurosat/resolve/main/eurosat-spatial-{part}.txt", md5, name)
    for part, md5, name in (
        ("train", "7be3254be39f23ce4d4d144290c93292", "eurosat-spatial-train.txt"),
        ("val", "acf392290050bb3df790dc8fc0ebf193", "eurosat-spatial-val.txt"),
        ("test", "5ec1733f9c16116bf0aa2d921fc613ef", "eurosat-spatial-test.txt"),
    )
}


# What `torchvision.datasets.EuroSAT` downloads; tests compare. Asking torchvision would take a second and 100 MB.
EUROSAT_ARCHIVE = Remote(
    "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
    "c8fa014336c82ac7804f0398fcb19387",
    "EuroSAT.zip",
)


def eurosat_archive(settings: Settings) -> Remote:
    """The archive of all RGB tiles: torchvision's, or the mirror that the settings name."""
    url, md5 = settings.archive_url or EUROSAT_ARCHIVE.url, settings.archive_md5 or EUROSAT_ARCHIVE.checksum
    return replace(EUROSAT_ARCHIVE, url=url, checksum=md5)


Transferred = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes in all or None while that is not known)."""

STALL_SECONDS = 6.0  # without a byte; then the connection is given up and made anew
_TRIES = 5  # in a row, without a single new byte
_WAIT_SECONDS = 1.0  # before the second of them; twice as long before each further one
_POLL_SECONDS = 0.2
_MOST_BYTES = 4 * 1024**3
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class Stopped(Exception):
    """Somebody asked the work to stop; what was done so far is kept."""


class _TryAgain(Exception):
    """This attempt broke off; the next one may succeed. Its text ends up in the sentence if none does."""


@dataclass(frozen=True)
class _Job:
    remote: Remote
    partial: Path
    told: Transferred | None
    stop: threading.Event
    space_for: Callable[[int], int]


def checksum_of(path: Path, remote: Remote, stop: threading.Event | None = None) -> str:
    """The checksum of a file, as `remote` publishes it: as many digits of the same kind. Raises `Stopped`."""
    digest = hashlib.new(remote.algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            check_stop(stop)
            digest.update(chunk)
    return digest.hexdigest()[: len(remote.checksum)]


def download(
    remote: Remote,
    folder: Path,
    *,
    told: Transferred | None = None,
    stop: threading.Event | None = None,
    space_for: Callable[[int], int] = lambda size: size,
) -> Path:
    """Fetch `remote` into `folder` and return the file, whole and with the right checksum.

    stop: when set, the download ends with `Stopped` and can be resumed later. space_for: how many bytes must be free
    for a file of so many bytes, with what is made of it; checked before the first byte. Raises `DataError` with a
    sentence when the server cannot be reached, answers something else, the checksum is wrong or the disk is full.
    """
    stop = stop or threading.Event()
    target, partial = folder / remote.name, folder / f"{remote.name}.part"
    job = _Job(remote, partial, told, stop, space_for)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{remote.name}.lock", stop):
            if target.exists() and checksum_of(target, remote, stop) == remote.checksum:
                return target
            while True:
                resumed = _size(partial) > 0
                _fetch(job)
                found = checksum_of(partial, remote, stop)
                if found == remote.checksum:
                    return partial.replace(target)
                partial.unlink()
                if not resumed:  # else what lay there was of another file, or the server's file changed meanwhile
                    raise DataError(
                        f"What {_host(remote)} sent as {remote.name} is not the published file "
                        f"({remote.algorithm.upper()} {found}, expected {remote.checksum}). It was thrown "
                        "away. Try again; if it comes out the same, something on the way alters it: download it "
                        "elsewhere and import it with `prepare --from`."
                    )
    except OSError as error:
        raise DataError(f"{not_kept(remote.name, folder, error)} What was downloaded so far is kept.") from error


@contextmanager
def locked(file: Path, stop: threading.Event | None, waiting: Callable[[], object] = lambda: None) -> Iterator[bool]:
    """While open, no other thread or process holds this lock. Gives whether one had to be waited for.

    waiting: called again and again meanwhile. Raises `Stopped`, `OSError`.
    """
    lock = FileLock(file, thread_local=False)
    waited = False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_POLL_SECONDS if waited else 0)
        except Timeout:
            waited = True
            waiting()
            check_stop(stop)
    try:
        yield waited
    finally:
        lock.release()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch(job: _Job) -> None:
    """Append to `job.partial` until the server has sent everything, over as many connections as that takes."""
    failed, wait, most = 0, _WAIT_SECONDS, _size(job.partial)
    with _client() as client:
        while True:
            try:
                _fetch_once(client, job)
                return
            except _TryAgain as error:
                now = _size(job.partial)
                if now > most:  # more than ever before: a server that starts anew each time must not keep us for ever
                    failed, wait, most = 0, _WAIT_SECONDS, now
                failed += 1
                if failed >= _TRIES:
                    kept = f" {bytes_text(now)} are kept: the next try goes on from there." if now else ""
                    raise DataError(
                        f"{job.remote.name} could not be downloaded from {_host(job.remote)}: {error}.{kept} Check the "
                        "connection and try again, or import the file with `prepare --from`."
                    ) from error
                if job.stop.wait(wait):
                    raise Stopped from error
                wait *= 2


def _client() -> httpx.Client:
    # Reading gives up often enough for Stop to be heard while a server is silent.
    timeout = httpx.Timeout(10.0, read=STALL_SECONDS)
    try:
        return httpx.Client(timeout=timeout, follow_redirects=True, headers={"Accept-Encoding": "identity"})
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        raise DataError(
            f"This machine's network settings cannot be used ({error}). Put the environment variables of its proxy "
            "(HTTPS_PROXY, ALL_PROXY) and certificates (SSL_CERT_FILE) right, or import the file with `prepare --from`."
        ) from error


def _fetch_once(client: httpx.Client, job: _Job) -> None:
    """One connection. Raises `_TryAgain` when it breaks off, `DataError` when trying again is no use."""
    remote, partial = job.remote, job.partial
    check_stop(job.stop)
    have = _size(partial)
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with client.stream("GET", remote.url, headers=headers) as response:
            if response.status_code == 416:  # nothing lies beyond what we have: it is whole, or of another file
                if have and _range(response)[1] == have:
                    return
                partial.unlink(missing_ok=True)
                raise _TryAgain("the server's file is another one than before")
            _check_answer(response, remote)
            if response.status_code != 206:
                have = 0  # the server sends it from the start
            elif _range(response)[0] != have:
                partial.unlink(missing_ok=True)
                raise _TryAgain("the server sent another part than the one it was asked for")
            total = _total(response, have)
            if total is not None and total > _MOST_BYTES:
                raise DataError(
                    f"{_host(remote)} offers {bytes_text(total)} as {remote.name}: that is not the file. Try again "
                    "later, or import it with `prepare --from`."
                )
            _check_space(partial.parent, remote, job.space_for(total or 0) - have)
            _append(response, job, have, total)
            if total is not None and _size(partial) < total:
                raise _TryAgain("the connection broke off")
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
        raise DataError(f"'{remote.url}' is no address to download from. Put EUROSAT_ARCHIVE right.") from error
    except httpx.TooManyRedirects as error:
        raise DataError(
            f"{_host(remote)} leads in circles in place of sending {remote.name}. Download it in a browser and import "
            "it with `prepare --from`."
        ) from error
    except httpx.TimeoutException as error:
        raise _TryAgain("the server did not answer in time") from error
    except httpx.HTTPError as error:
        if _is_tls(error):
            raise DataError(
                f"The certificate of {_host(remote)} could not be verified, so nothing was downloaded. A proxy on the "
                "way may replace it: ask who runs the network, or import the file with `prepare --from`."
            ) from error
        reason = "the connection broke off"
        if isinstance(error, httpx.ConnectError):
            reason = "it cannot be reached"
        elif isinstance(error, httpx.ProxyError):
            reason = "the proxy on the way does not let it through"
        raise _TryAgain(reason) from error


def _append(response: httpx.Response, job: _Job, have: int, total: int | None) -> None:
    with job.partial.open("ab" if have else "wb") as file:
        for chunk in response.iter_bytes():  # as they arrive: collected into larger ones they would be lost in a cut
            file.write(chunk)
            have += len(chunk)
            if have > _MOST_BYTES:
                file.truncate(0)
                raise DataError(
                    f"{response.url.host} sends without an end, so the download was stopped. Try again later, or "
                    "download the file elsewhere and import it with `prepare --from`."
                )
            if job.told is not None:
                job.told(have, total)
            check_stop(job.stop)  # after it is kept: a byte that arrived need not come again


def check_stop(stop: threading.Event | None) -> None:
    """Raises `Stopped` when it is set."""
    if stop is not None and stop.is_set():
        raise Stopped


def _check_answer(response: httpx.Response, remote: Remote) -> None:
    """Raises unless the server sends the file itself."""
    status = response.status_code
    if any(each.url.scheme == "https" for each in response.history) and response.url.scheme != "https":
        raise DataError(f"{_host(remote)} leads to an address without TLS, so nothing was downloaded. Try again later.")
    if status in _RETRIED_STATUS:
        raise _TryAgain(f"the server is busy (status {status})")
    if status in (401, 403, 451):
        raise DataError(
            f"{_host(remote)} refuses to send {remote.name} (status {status}). Download it in a browser and import it "
            "with `prepare --from`."
        )
    is_page = response.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml"))
    if status in (407, 511) or (is_page and status in (200, 206)):
        raise DataError(
            f"{_host(remote)} answered with a web page in place of {remote.name}. The network may want you to log in: "
            "open any page in a browser, then try again."
        )
    if status not in (200, 206):
        raise DataError(
            f"{_host(remote)} has no {remote.name} (status {status}). It may have moved: download it in a browser and "
            "import it with `prepare --from`."
        )


def _check_space(folder: Path, remote: Remote, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{remote.name} and what is made of it need {bytes_text(needed)}; {folder} has {bytes_text(free)} free. "
            "Free some disk space, or name another folder in EUROSAT_CACHE."
        )


def _total(response: httpx.Response, have: int) -> int | None:
    """The size of the whole file, as far as the answer says it."""
    whole = _range(response)[1] if response.status_code == 206 else None
    if whole is not None or "Content-Encoding" in response.headers:  # then the length would be that of the packed bytes
        return whole
    length = response.headers.get("Content-Length", "")
    return have + int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None


def _range(response: httpx.Response) -> tuple[int | None, int | None]:
    """The number of the first byte and the size of the whole, from `bytes 100-199/1234` or `bytes */1234`."""
    text = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes ([0-9]{1,18}|\*)(?:-[0-9]+)?/([0-9]{1,18}|\*)", text)
    first, whole = found.groups() if found else ("*", "*")
    return None if first == "*" else int(first), None if whole == "*" else int(whole)


def _host(remote: Remote) -> str:
    try:
        return httpx.URL(remote.url).host or "the server"
    except httpx.InvalidURL:
        return "the server"


def _is_tls(error: BaseException | None) -> bool:
    """Whether the failure was the certificate's; httpx keeps the reason as the cause."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
