"""Files that somebody names by an address of the web, as MCP clients do: of public hosts alone, and within bounds."""

import asyncio
import hashlib
import ipaddress
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import safehttpx

from web.uploads import RefusedUpload, UploadFolder

FETCH_S, MOST_HOPS = 30.0, 5
NOT_PUBLIC = "This address cannot be fetched; give one of a public server that begins with https, or upload the file."
NOT_THERE = "The other server did not give the file (it answered {status}); check the address, or upload the file."
TOO_LARGE = "The file at this address is too large; {megabytes} MB at most."
TOO_SLOW = "The other server took longer than half a minute; upload the file instead."


class FetchError(ValueError):
    """The file is not fetched; the message says why and what to do."""


async def fetch(url: str, folder: Path, upload_folder: UploadFolder, largest: int) -> str:
    """Fetch a file; each hop's host must be public, and is the one that is then asked (no second look-up).

    Args:
        url: http or https.
        folder: where it is kept, below `upload_folder`.
        upload_folder: says whether there is room.
        largest: bytes.

    Returns:
        its path, named as at the address.

    Raises:
        FetchError: it is not public, not there, too large or too slow, or there is no room.
    """
    name = _name_at(url)
    place = folder / hashlib.sha256(url.encode()).hexdigest()
    place.mkdir(parents=True, exist_ok=True)
    try:
        left = upload_folder.reserve_fetched(largest)
        number, text = tempfile.mkstemp(dir=place)
        try:
            with os.fdopen(number, "wb") as file:
                async with asyncio.timeout(FETCH_S):
                    async for chunk in _chunks(url, largest):
                        file.write(chunk)
            left.size = Path(text).stat().st_size
            Path(text).replace(place / name)
            left.paths = [str(place / name)]
        except BaseException:
            upload_folder.release(left)
            raise
        finally:
            Path(text).unlink(missing_ok=True)
    except TimeoutError:
        raise FetchError(TOO_SLOW) from None
    except RefusedUpload as refused:
        raise FetchError(str(refused)) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchError(NOT_THERE.format(status=type(error).__name__)) from None
    finally:
        with suppress(OSError):  # not empty: the file is there
            place.rmdir()
    return str(place / name)


def _name_at(url: str) -> str:
    """Return a file's name at an address, of letters, digits, dots and dashes; its last 100 bytes.

    Raises:
        FetchError: this is no address.
    """
    try:
        said = Path(httpx.URL(url).path).name
    except httpx.InvalidURL:
        raise FetchError(NOT_PUBLIC) from None
    name = "".join(one for one in said if one.isalnum() or one in "._-").encode()[-100:].decode(errors="ignore")
    return name if name.strip(".") else "file"  # dots alone are a folder


async def _public(host: str) -> str:
    """Return an address of a host that all the world can reach. Raises FetchError: it has none."""
    try:
        address = await safehttpx.async_validate_url(host)
    except (ValueError, UnicodeError):
        raise FetchError(NOT_PUBLIC) from None
    if not ipaddress.ip_address(address).is_global:  # shared ones of a provider's own network are not private
        raise FetchError(NOT_PUBLIC)
    return address


async def _chunks(url: str, largest: int) -> AsyncIterator[bytes]:
    """Yield the file's bytes as they come, at most `largest` of them."""
    too_large = FetchError(TOO_LARGE.format(megabytes=largest // 2**20))
    for _ in range(MOST_HOPS):
        asked = httpx.URL(url)
        if asked.scheme not in ("http", "https") or not asked.host:
            raise FetchError(NOT_PUBLIC)
        verified = await _public(asked.host)
        # identity: a small file that unpacks to a huge one would have to be counted as it unpacks
        async with (
            httpx.AsyncClient(transport=safehttpx.AsyncSecureTransport(verified), timeout=10.0) as client,
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
        ):
            if answer.has_redirect_location:
                url = str(asked.join(answer.headers["location"]))
                continue
            if answer.status_code != 200:
                raise FetchError(NOT_THERE.format(status=answer.status_code))
            if int(answer.headers.get("content-length", "0")) > largest:
                raise too_large
            count = 0
            async for chunk in answer.aiter_raw():
                count += len(chunk)
                if count > largest:
                    raise too_large
                yield chunk
            return
    raise FetchError(NOT_THERE.format(status="with one redirection after the other"))
