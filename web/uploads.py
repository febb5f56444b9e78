"""What visitors may leave on the server's disk: how much each, how much together, and for how long."""

import asyncio
import json
import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from web.guard import API, Asgi, Message, Receive, Scope, Send, address_of, header, refuse, route_of
from web.settings import DEFAULT_UPLOADS_MB

MB = 2**20
SHARE = 4  # one address: a quarter
LIFE_S, EVERY_S = 3600.0, 600.0
RESERVE_BYTES = 2 * 2**30  # stays free on the disk; annotations need room, too
PER_HOUR = 1200  # files of one address
FORM_BYTES = 64 * 1024  # of a form around its file

NO_LENGTH = "Say how long the upload is (Content-Length, not in chunks), and send it again."
TOO_LARGE = "This file is too large; {megabytes} MB at most."
TOO_MANY = "Too many files came from your address in the last hour; wait a while and try again."
TOO_MUCH = "Your address has left {megabytes} MB here in the last hour, which is the most; wait a while and try again."
NO_ROOM = "There is little room left on the server's disk, so nothing can be uploaded; tell whoever runs this page."
FULL = "Many people are uploading, and there is no room for more just now; try again in some minutes."


class RefusedUpload(ValueError):
    """There is no room for this; the message says what to do.

    Args:
        status: of HTTP.
        text: one sentence.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class Left:
    """One upload.

    Args:
        address: who left it.
        size: in bytes.
        at: monotonic time, seconds.
        paths: where it lies; None while it is on its way, empty where nothing came of it.
    """

    address: str
    size: int
    at: float
    paths: list[str] | None = None


class Shelf:
    """The folder that all uploads and fetched files go to, and who left what in it within the last hour.

    Args:
        folder: of this program alone, since old files in it are deleted, whoever wrote them.
        most_bytes: what visitors may leave in it; what the page itself writes is not counted.
        kept: files that belong to the page itself and never go.
    """

    def __init__(
        self, folder: Path, most_bytes: int = DEFAULT_UPLOADS_MB * MB, kept: Callable[[], Collection[str]] = frozenset
    ) -> None:
        self.folder, self.most_bytes, self.kept = folder, most_bytes, kept
        self._left: list[Left] = []
        self._lock = threading.Lock()
        self._swept = time.monotonic()

    def take(self, address: str, size: int) -> Left:
        """Keep room for an upload; what others left makes way, the oldest of whoever left most.

        Args:
            address: who asks.
            size: in bytes.

        Raises:
            RefusedUpload: the address left too much or too often, or there is no room.
        """
        if time.monotonic() - self._swept > EVERY_S:
            self.sweep()
        with self._lock:
            own = [left for left in self._of_this_hour() if left.address == address]
            if sum(max(1, len(left.paths or ())) for left in own) >= PER_HOUR:
                raise RefusedUpload(429, TOO_MANY)
            if sum(left.size for left in own) + size > self.most_bytes // SHARE:
                raise RefusedUpload(429, TOO_MUCH.format(megabytes=self.most_bytes // SHARE // MB))
            return self._keep(Left(address, size, time.monotonic()))

    def take_fetched(self, size: int) -> Left:
        """Keep room for a file that the server fetches; where it comes from is nobody's address.

        Raises:
            RefusedUpload: there is no room.
        """
        with self._lock:
            self._of_this_hour()
            return self._keep(Left("", size, time.monotonic()))

    def give_back(self, left: Left) -> None:
        """Free the room of something that nothing came of; none of it lies there any more."""
        with self._lock:
            self._left = [one for one in self._left if one is not left]

    def size(self) -> int:
        """Bytes that visitors left."""
        return sum(left.size for left in self._left)

    def _of_this_hour(self) -> list[Left]:
        """What counts still; the rest is forgotten."""
        now = time.monotonic()
        self._left = [left for left in self._left if now - left.at < LIFE_S]
        return self._left

    def _keep(self, left: Left) -> Left:
        self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free < RESERVE_BYTES + left.size:
            raise RefusedUpload(507, NO_ROOM)
        while self.size() + left.size > self.most_bytes:
            oldest = self._oldest_of_the_heaviest()
            if oldest is None:
                raise RefusedUpload(503, FULL)
            self._left.remove(oldest)
            still = {path for other in self._left for path in other.paths or ()}  # the same file from elsewhere, too
            for path in {*(oldest.paths or ())} - still:
                Path(path).unlink(missing_ok=True)
        self._left.append(left)
        return left

    def sweep(self, life_s: float = LIFE_S) -> None:
        """Delete files that nobody wrote anew in `life_s` seconds, and folders that have been empty for as long."""
        self._swept = time.monotonic()
        kept = self.kept()
        files, folders = _below(self.folder)
        for entry in files:
            if time.time() - entry.stat().st_ctime > life_s and entry.path not in kept:
                Path(entry.path).unlink(missing_ok=True)
        for entry in reversed(folders):  # the inner ones first
            if time.time() - entry.stat().st_ctime > life_s:
                with suppress(OSError):  # not empty
                    Path(entry.path).rmdir()

    def _oldest_of_the_heaviest(self) -> Left | None:
        weights: defaultdict[str, int] = defaultdict(int)
        whole = [left for left in self._left if left.paths is not None]
        for left in whole:
            weights[left.address] += left.size
        return min(whole, key=lambda left: (-weights[left.address], left.at), default=None)


def _below(folder: Path) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    """All files below a folder, and its subfolders from the outermost on, that are there when they are looked at."""
    files: list[os.DirEntry[str]] = []
    folders: list[os.DirEntry[str]] = []
    waiting = [str(folder)]
    for place in waiting:  # grows
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    entry.stat(follow_symlinks=False)  # kept by the entry
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                        folders.append(entry)
                    elif entry.is_file(follow_symlinks=False):
                        files.append(entry)
        except FileNotFoundError:
            continue
    return files, folders


class Uploads:
    """Lets an upload in where there is room for it; stands before the page, as in `web.guard`.

    Args:
        app: the page.
        shelf: where uploads go.
        largest: bytes of one upload.
    """

    def __init__(self, app: Asgi, shelf: Shelf, largest: int) -> None:
        self.app, self.shelf, self.largest = app, shelf, largest
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 411, 413, 429, 503 or 507 with one sentence."""
        route = route_of(scope)
        # Gradio keeps images that MCP clients write into their requests, too; sizes of others are small
        writes = route.startswith(f"{API}/mcp") and scope.get("body_bytes", 0) > FORM_BYTES
        if route != f"{API}/upload" and not writes:
            await self.app(scope, receive, send)
            return
        # Of chunks a server takes as many as come, whatever length is said beside them
        said = "" if header(scope, b"transfer-encoding") else header(scope, b"content-length") or ""
        length = str(scope["body_bytes"]) if writes else said
        if not length.isdecimal():
            await refuse(scope, send, 411, NO_LENGTH)
            return
        if int(length) > self.largest + FORM_BYTES:
            await refuse(scope, send, 413, TOO_LARGE.format(megabytes=self.largest // MB))
            return
        try:
            async with self._lock:
                left = await asyncio.to_thread(self.shelf.take, address_of(scope), int(length))
        except RefusedUpload as refused:
            await refuse(scope, send, refused.status, str(refused))
            return
        answer = bytearray()

        async def sending(message: Message) -> None:
            answer.extend(message.get("body", b""))
            await send(message)

        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        try:
            await self.app({**scope, "headers": plain}, receive, sending)
        finally:
            left.paths = _paths_of(bytes(answer))


def _paths_of(answer: bytes) -> list[str]:
    """The files that Gradio says it has kept; none where it refused, and what was written is swept away."""
    try:
        paths = json.loads(answer)
    except ValueError:
        return []
    return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []
