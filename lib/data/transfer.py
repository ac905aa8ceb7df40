"""One file over http(s): resumed inside, tried again, capped, judged by sha256. Not here: tables of files (fetch.py).

What arrives is kept in a partial file with the validator (ETag or Last-Modified) that the server gave; a later try, or a
later run, asks for the rest by range. Whatever servers say about ranges and lengths, only the sha256 of the whole decides.
Proxies are those of the environment (HTTPS_PROXY, NO_PROXY). Addresses are told without passwords and queries.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx
import tenacity

from lib.config.download import Downloads
from lib.data.partial import Partial, drop_partial, opened, partial_path
from lib.files import DataError, disk_errors, free_bytes, sized

_BLOCK = 1 << 20
_TELL_S = 30.0
_LONGEST_WAIT_S = 300.0
_SLOWEST = 100
"""Bytes/s, over the time after which a connection counts as stalled: a server that drips is as good as none."""
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_PAGE = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head)\b", re.IGNORECASE | re.DOTALL)


class Wanted(Protocol):
    """What is needed to know of a file (FileEntry has it)."""

    path: str
    url: str
    sha256: str
    bytes: int | None


class WrongContent(Exception):
    """The address serves other bytes than stated."""


class NotThere(Exception):
    """The address does not serve the file, and asking again will not help."""


class _Again(Exception):
    """This try failed, another one may not; `wait_s` is what the server asked for."""

    def __init__(self, cause: str, wait_s: float = 0.0) -> None:
        super().__init__(cause)
        self.wait_s = wait_s


def download(entry: Wanted, place: Path, client: httpx.Client, limits: Downloads) -> None:
    """Make `place` the file that `entry` asks for.

    Raises WrongContent (other bytes, too many bytes), NotThere (refused, a web page instead, `limits.tries` tries in vain)
    and DataError (the disk); what has arrived by then is kept for the next run unless it is known to be wrong.
    """
    partial = partial_path(place, entry.path, entry.sha256)
    with disk_errors(place, need=entry.bytes, written=partial):
        place.parent.mkdir(parents=True, exist_ok=True)
        with opened(partial, entry.url) as part:
            try:
                _tried(entry, place, part, client, limits)
            except WrongContent:
                part.restart()
                raise
            part.file.flush()
            os.fsync(part.file.fileno())
            os.chmod(partial, 0o644)
            os.replace(partial, place)
    drop_partial(partial)


def client_of(limits: Downloads) -> httpx.Client:
    """An http client for many downloads: proxies of the environment, no redirect to files or into private networks."""
    return httpx.Client(
        follow_redirects=True,
        max_redirects=10,
        timeout=httpx.Timeout(limits.stall_s, connect=min(15.0, limits.stall_s)),
        headers={"Accept-Encoding": "identity", "User-Agent": "vipersight"},
        event_hooks={"response": [_refuse_bad_redirect]},
    )


def plain_url(url: str) -> str:
    """An address fit for logs: without user, password and the values of its query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}{'?…' if parts.query else ''}"


def filled_url(url: str) -> str:
    """The address with its $VARIABLES filled in from the environment; DataError names one that is not set."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise DataError(f"{plain_url(url)}: the address needs ${name}, which is not set. Hint: export {name}=…")
        return os.environ[name]

    return re.sub(r"\$(?:\{([A-Z][A-Z0-9_]*)\}|([A-Z][A-Z0-9_]*))", value, url)


# Tries


def _tried(entry: Wanted, place: Path, part: Partial, client: httpx.Client, limits: Downloads) -> None:
    """Try until the file is whole. Tries that brought bytes do not count: a flaky line ends, too, by and by."""
    fruitless = 0
    doubts = True

    def one_try() -> None:
        """Receive what is missing; _Again where another try may help, WrongContent and NotThere where not."""
        nonlocal fruitless, doubts
        before = part.size
        try:
            doubts &= not _receive(entry, place, part, client, limits)
        except _Again:
            fruitless = 1 if part.size > before else fruitless + 1
            raise
        cause = _wrong_cause(entry, part)
        if cause is None:
            return
        page = _page_title(part)
        part.restart()
        if page is not None:
            raise NotThere(f"{plain_url(entry.url)} serves a web page{page}, not the file. {_PAGE_HINT}")
        if not doubts:
            raise WrongContent(cause)
        doubts = False  # a part of an older version, or a server that lied: once more from the start
        raise _Again(cause)

    def pause(state: tenacity.RetryCallState) -> float:
        asked = getattr(state.outcome.exception() if state.outcome else None, "wait_s", 0.0)
        return max(backoff(state), min(asked, _LONGEST_WAIT_S))

    backoff = tenacity.wait_exponential_jitter(initial=limits.pause_s, max=60, jitter=limits.pause_s)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_Again),
        stop=lambda _: fruitless >= limits.tries,
        wait=pause,
        sleep=lambda seconds: time.sleep(seconds),
    )
    try:
        retrying(one_try)
    except tenacity.RetryError as error:
        raise NotThere(f"{error.last_attempt.exception()} ({limits.tries} tries)") from error


_PAGE_HINT = (
    "Hint: a page that asks for a login or a licence; get the file by hand and name its folder in VIPERSIGHT_MIRROR."
)


def _receive(entry: Wanted, place: Path, part: Partial, client: httpx.Client, limits: Downloads) -> bool:
    """One request: append to the part what arrives. True when its end is certain: served whole, of a stated length.

    Raises _Again, WrongContent, NotThere.
    """
    headers = {}
    if part.size:
        headers = {"Range": f"bytes={part.size}-"} | ({"If-Range": part.validator} if part.validator else {})
    try:
        with client.stream("GET", filled_url(entry.url), headers=headers) as answer:
            _begin(entry, place, part, answer, limits)
            _append(entry, part, answer, limits)
            _refuse_cut(entry, part, answer)
            return answer.status_code == 200 and "Content-Length" in answer.headers
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise NotThere(f"{plain_url(entry.url)} leads elsewhere ({type(error).__name__})") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _Again(f"{plain_url(entry.url)}: {type(error).__name__}{_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The error's own words, unless they hold an address (which may hold a password)."""
    text = str(error)
    return f": {text}" if text and "://" not in text else ""


def _begin(entry: Wanted, place: Path, part: Partial, answer: httpx.Response, limits: Downloads) -> None:
    """Judge an answer's head: go on behind the part, start again, or refuse."""
    code, url = answer.status_code, plain_url(entry.url)
    if code == 416 and part.size:  # nothing behind the part: it is whole, or of another version; its sha256 will tell
        return
    if code in _BUSY:
        raise _Again(f"{url} answered {code}", _asked_to_wait(answer))
    if code not in (200, 206):
        raise NotThere(f"{url} answered {code}")
    start = _range_start(answer) if code == 206 else 0
    validator = _validator(answer)
    other = bool(part.validator and validator and validator != part.validator)
    if code == 206 and (start != part.size or other):
        part.restart()
        raise _Again(f"{url} answered with another part than asked for")
    if code == 200:
        part.restart()
    part.remember(validator)
    coming = int(answer.headers.get("Content-Length") or 0)
    _refuse_too_much(entry, part.size + coming, limits)
    free = free_bytes(place)
    if free is not None and coming > free:
        raise DataError(
            f"{place}: the disk is too full to download it: need {sized(coming)}, have {sized(free)} free. "
            "Hint: free some space, or work on another disk (`--directory DIR`)."
        )


def _append(entry: Wanted, part: Partial, answer: httpx.Response, limits: Downloads) -> None:
    if answer.status_code == 416:
        return
    part.file.seek(part.size)
    checked = told = time.monotonic()
    checked_size, first_size = part.size, part.size
    for block in answer.iter_raw():  # as it comes: waiting for full blocks would hide a server that drips
        part.file.write(block)
        part.size += len(block)
        _refuse_too_much(entry, part.size, limits)
        now = time.monotonic()
        if now - checked > limits.stall_s:
            if part.size - checked_size < _SLOWEST * limits.stall_s:
                raise _Again(f"{plain_url(entry.url)} stalls: {part.size - checked_size} bytes in {now - checked:.0f} s")
            checked, checked_size = now, part.size
        if now - told > _TELL_S:
            print(_progress(entry, part.size, answer, (part.size - first_size) / (now - told)), file=sys.stderr)
            told, first_size = now, part.size


def _progress(entry: Wanted, size: int, answer: httpx.Response, rate: float) -> str:
    total = entry.bytes or int(answer.headers.get("Content-Length") or 0)
    of = f" of {sized(total)} ({size / total:.0%})" if total else ""
    return f"{entry.path}: {sized(size)}{of}, {sized(rate)}/s"


def _refuse_too_much(entry: Wanted, size: int, limits: Downloads) -> None:
    if entry.bytes is not None and size > entry.bytes:
        raise WrongContent(f"{plain_url(entry.url)} serves more than the stated {entry.bytes} bytes")
    if size > limits.max_gb * 1e9:
        raise WrongContent(
            f"{plain_url(entry.url)} serves more than {limits.max_gb:g} GB. Hint: raise `downloads.max_gb` if it is right."
        )


def _refuse_cut(entry: Wanted, part: Partial, answer: httpx.Response) -> None:
    """A connection that ends early is another try's business, as far as the sizes that were stated can tell."""
    part.file.flush()
    if entry.bytes is not None and part.size < entry.bytes and answer.status_code != 416:
        raise _Again(f"{plain_url(entry.url)} ended after {part.size} of {entry.bytes} bytes")


def _range_start(answer: httpx.Response) -> int:
    match = re.match(r"bytes (\d+)-\d+/", answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def _validator(answer: httpx.Response) -> str:
    """What tells this version from another: a strong ETag, else the date of change."""
    tag = answer.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")


def _asked_to_wait(answer: httpx.Response) -> float:
    with suppress(ValueError):
        return float(answer.headers.get("Retry-After", 0))
    return 0.0


def _refuse_bad_redirect(answer: httpx.Response) -> None:
    """No redirect to another kind of address, from https down to http, or from outside into a private network."""
    if not answer.is_redirect:
        return
    start, target = answer.request.url, answer.request.url.join(answer.headers.get("Location", ""))
    if target.scheme not in ("http", "https") or (start.scheme == "https" and target.scheme == "http"):
        raise NotThere(f"{plain_url(str(start))} redirects to {target.scheme}:, which is refused")
    if _is_private(target.host) and not _is_private(start.host):
        raise NotThere(f"{plain_url(str(start))} redirects into a private network ({target.host}), which is refused")


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


def _wrong_cause(entry: Wanted, part: Partial) -> str | None:
    """None when the part is the whole file, else how it differs."""
    part.file.seek(0)
    digest = hashlib.file_digest(part.file, "sha256").hexdigest()
    if digest == entry.sha256:
        return None
    return f"sha256 expected {entry.sha256}, got {digest} ({part.size} bytes from {plain_url(entry.url)})"


def _page_title(part: Partial) -> str | None:
    """ " (title)" when what arrived is a web page, else None."""
    part.file.seek(0)
    head = part.file.read(1 << 16)
    if not _PAGE.match(head):
        return None
    title = re.search(rb"<title[^>]*>([^<]{0,200})", head, re.IGNORECASE)
    words = " ".join(title[1].decode("utf-8", "replace").split()) if title else ""
    return f" ({words[:80]!r})" if words else ""
