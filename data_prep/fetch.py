"""Fetching one file over HTTP, in as many pieces as the connection breaks it into."""

# Not pooch (1.9): it begins a broken download anew, see test_a_broken_download_goes_on_where_it_was in
# tests/data_prep/test_download.py.
from __future__ import annotations

import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fsod.errors import UserError
from fsod.progress import Bar, progress_bar

CHUNK_BYTES = 1 << 18
MB = 10**6
TIMEOUT_S = 60.0
TRIES = 5
"""How often in a row a connection may bring nothing new before it is given up."""

PAUSE_S = 1.0
"""Wait before going on, doubled with each try that brought nothing."""


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server.

    Attributes:
        name: what it is called here.
        url: where it is.
        md5: checksum as published, None where none is.
        max_bytes: more than it, or what it unpacks to, can honestly be.
    """

    name: str
    url: str
    md5: str | None
    max_bytes: int


class _BrokenOff(Exception):
    """The connection failed in a way that may pass."""


class _StaySecure(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but never from https to something else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.startswith("https://"):
            raise UserError(f"{req.full_url}: redirects to an unencrypted address ({newurl}); it is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(remote: RemoteFile, part: Path) -> bool:
    """Fetches a file into ``part``, going on after the bytes that are there already, if the server can.

    Args:
        remote: what to fetch. Its checksum is not looked at here.
        part: where to; what is there must be the file's beginning.

    Returns:
        Whether the file was put together from pieces of several answers.

    Raises:
        UserError: the server refuses, is not who it says it is, sends more than ``max_bytes``, or cannot be reached or
            brings nothing new in several tries. What came until then stays in ``part``.
    """
    tries, in_pieces = 0, False
    with progress_bar(f"{remote.name} (MB)", 1) as bar:
        while True:
            before = _size(part)
            in_pieces |= before > 0
            try:
                _receive(remote, part, bar)
                return in_pieces
            except _BrokenOff as broken:
                tries = 0 if _size(part) > before else tries + 1
                if tries == TRIES:
                    raise UserError(
                        f"{remote.url}: {broken}; run the same command again to go on after {_size(part)} bytes, "
                        "or fetch the file by hand and name it with --from-files"
                    ) from broken
            time.sleep(PAUSE_S * 2**tries)


def _receive(remote: RemoteFile, part: Path, bar: Bar) -> None:
    """One answer of the server, appended to ``part``; or in its place, where the server starts from the beginning."""
    have = _size(part)
    answer = _answer(remote, have)
    if answer is None:
        return
    with answer as response:
        start = _start(response, remote)
        if start not in (0, have):
            raise UserError(f"{remote.url}: was asked to go on at byte {have} and went on at {start}")
        have = start
        length = response.length  # of this answer; None where the server does not say
        if length is not None and have + length > remote.max_bytes:
            raise UserError(f"{remote.url}: has {have + length} bytes, more than this data set can have")
        total = None if length is None else have + length
        with part.open("ab" if have else "wb") as file:
            while chunk := _read(response):
                have += len(chunk)
                if have > remote.max_bytes:
                    raise UserError(
                        f"{remote.url}: sends more than {remote.max_bytes} bytes, more than this data set can have"
                    )
                file.write(chunk)
                megabytes = -(-have // MB) if have == total else have // MB
                bar.of(megabytes, megabytes + 1 if total is None else -(-total // MB))
    if total is not None and have < total:
        raise _BrokenOff(f"the connection broke off at {have} of {total} bytes")


def _answer(remote: RemoteFile, have: int) -> http.client.HTTPResponse | None:
    """What the server answers; None where it has nothing after the bytes there are: a checksum tells if they are all."""
    headers = {"User-Agent": "fsod", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    secure = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    opener = urllib.request.build_opener(secure, _StaySecure)
    try:
        response: http.client.HTTPResponse = opener.open(
            urllib.request.Request(remote.url, headers=headers), timeout=TIMEOUT_S
        )
        return response
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return None
        if error.code in (408, 429) or error.code >= 500:
            raise _BrokenOff(f"HTTP {error.code} {error.reason}") from error
        raise UserError(
            f"{remote.url}: HTTP {error.code} {error.reason}; fetch the file by hand and name it with --from-files"
        ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise UserError(f"{remote.url}: its certificate is not valid ({error.reason.verify_message})") from error
        raise _BrokenOff(f"cannot be reached ({error.reason})") from error
    except (http.client.HTTPException, OSError) as error:
        raise _BrokenOff(f"cannot be reached ({type(error).__name__} {error})") from error
    except ValueError as error:
        raise UserError(
            f"{remote.url}: cannot be reached ({error}): the proxy that the environment names (https_proxy), or where the "
            "server redirects to, is no address; mend the first, or fetch the file by hand and name it with --from-files"
        ) from error


def _start(response: http.client.HTTPResponse, remote: RemoteFile) -> int:
    """The byte of the file that an answer starts with."""
    if response.status == http.client.OK:
        return 0
    place = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if response.status != http.client.PARTIAL_CONTENT or place is None:
        raise UserError(f"{remote.url}: HTTP {response.status} {response.reason}, which is not a download")
    return int(place[1])


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK_BYTES)
    except (http.client.HTTPException, OSError) as error:
        raise _BrokenOff(f"the connection broke off ({type(error).__name__} {error})") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
