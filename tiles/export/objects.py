"""An object store as target: S3, Google Cloud Storage, Azure Blob Storage, by `obstore`. A put is atomic there.

Objects carry Content-Type, Cache-Control and, where packed, Content-Encoding, so that the bucket's own address or a CDN
serves them to viewers as they are. Keys and endpoints come from the environment, as the stores' own tools read them.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path
from typing import Any

import obstore
from obstore.store import MemoryStore, from_url

from layers.errors import InvalidInput
from tiles.export.address import STATE
from tiles.export.target import Packed, TargetError

AT_ONCE = 16
"""Objects on the way at a time, from each process: a put takes tens of milliseconds, a tile few."""
IMMUTABLE = "public, max-age=31536000, immutable"


def opened(url: str) -> Any:
    """The store of a URL. InvalidInput where it is not understood or something is missing."""
    if url.startswith("memory://"):
        return MemoryStore()
    try:
        return from_url(url)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        hint = "Give s3://bucket/prefix and the like; keys and region come from the environment (AWS_…, AZURE_…)."
        raise InvalidInput(f"{url} cannot be opened: {reason}.", hint) from error


def _shared_folder(first: str, last: str) -> str:
    """The folder that the first and the last of sorted addresses are in, and so all of them."""
    steps = zip(first.split("/")[:-1], last.split("/")[:-1], strict=False)
    return "/".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], steps))


class Objects:
    """Implements `tiles.export.target.Target` on any store of `obstore`."""

    def __init__(self, store: Any, name: str, packed: Packed | None = None) -> None:
        self.store, self.name, self._packed = store, name, packed
        self._putting: list[Future[None]] = []
        self._threads = ThreadPoolExecutor(AT_ONCE)

    def put(self, address: str, data: bytes, media_type: str, *, immutable: bool = False) -> int:
        """Start to write an object; `flush` waits for it."""
        is_record = address.startswith(STATE)
        packed = None if self._packed is None or is_record else self._packed.of(data, media_type)
        attributes = {"Content-Type": media_type, "Cache-Control": IMMUTABLE if immutable else "no-cache"}
        if self._packed is not None and packed is not None:
            attributes["Content-Encoding"] = self._packed.packing
        body = data if packed is None else packed
        self._start(address, body, attributes)
        return len(body)

    def put_file(self, address: str, source: Path, media_type: str) -> int:
        """Copy a file in parts."""
        self._start(address, source, {"Content-Type": media_type, "Cache-Control": "no-cache"})
        return source.stat().st_size

    def _start(self, address: str, body: bytes | Path, attributes: dict[str, str]) -> None:
        if len(self._putting) >= 2 * AT_ONCE:
            self._await(AT_ONCE)
        self._putting.append(self._threads.submit(self._put, address, body, attributes))

    def _put(self, address: str, body: bytes | Path, attributes: dict[str, str]) -> None:
        try:
            obstore.put(self.store, address, body, attributes=attributes)
        except Exception as error:
            raise self._told(address, error) from error

    def _told(self, address: str, error: Exception) -> TargetError:
        reason = str(error).partition("\n")[0]
        hint = "Check the bucket, the keys and their rights; run the same command again to go on."
        return TargetError(f"{self.name}: {address} cannot be written: {reason}.", hint)

    def _await(self, n: int) -> None:
        waiting, self._putting = self._putting[:n], self._putting[n:]
        for each in waiting:
            each.result()

    def flush(self) -> None:
        """Wait until all objects are there."""
        self._await(len(self._putting))

    def sizes(self, addresses: Sequence[str]) -> dict[str, int]:
        """Bytes of those that are there: one listing below what their addresses have in common."""
        wanted, found = set(addresses), {}
        if not wanted:
            return {}
        prefix = _shared_folder(min(wanted), max(wanted))
        try:
            for page in obstore.list(self.store, prefix or None, chunk_size=1000):
                found.update({each["path"]: each["size"] for each in page if each["path"] in wanted})
        except Exception as error:
            raise self._told(prefix, error) from error
        return found

    def remove(self, addresses: Iterable[str]) -> None:
        """Delete objects."""
        keys = list(addresses)
        for start in range(0, len(keys), 1000):
            part = keys[start : start + 1000]
            try:
                obstore.delete(self.store, part)
            except (FileNotFoundError, obstore.exceptions.NotFoundError):
                self._remove_each(part)
            except Exception as error:
                raise self._told(part[0], error) from error

    def _remove_each(self, keys: list[str]) -> None:
        for key in keys:
            try:
                obstore.delete(self.store, key)
            except (FileNotFoundError, obstore.exceptions.NotFoundError):
                continue
            except Exception as error:
                raise self._told(key, error) from error

    def read(self, address: str) -> bytes | None:
        """A file of the records; None where there is none."""
        try:
            return bytes(obstore.get(self.store, address).bytes())
        except (FileNotFoundError, obstore.exceptions.NotFoundError):
            return None
        except Exception as error:
            raise self._told(address, error) from error

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder of the records, in order."""
        try:
            pages = list(obstore.list(self.store, folder, chunk_size=1000))
        except Exception as error:
            raise self._told(folder, error) from error
        return sorted(each["path"].rpartition("/")[2] for page in pages for each in page)

    def begin(self) -> None:
        """See whether objects can be written."""
        probe = f"{STATE}/probe"
        self._put(probe, b"", {})
        self.remove([probe])

    def end(self) -> None:
        """Close the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)
