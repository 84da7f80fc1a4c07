"""Where tiles are read from: a folder, or one host over HTTP. Never anything else that an address names."""

import gzip
import io
import re
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from tiles.verify.limits import MAX_FILE_BYTES, MAX_REDIRECTS, TIMEOUT_S

ACCEPT = "model/gltf-binary,application/json;q=0.9,*/*;q=0.8"
ACCEPT_TERRAIN = (
    "application/vnd.quantized-mesh;extensions=octvertexnormals-watermask-metadata,application/octet-stream;q=0.9"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


class Unread(Exception):
    """A file cannot be had; `code` is the rule that this breaks."""

    def __init__(self, code: str, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class Source(Protocol):
    """Reads by address; addresses are absolute once `join` made them."""

    def join(self, base: str, relative: str) -> str:
        """The address that `relative` means in the document at `base`."""

    def read(self, address: str, accept: str = ACCEPT) -> bytes:
        """The bytes, decompressed. Unread where there are none."""


class FolderSource:
    """Files at and below one folder; links that lead out of it are not followed."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def join(self, base: str, relative: str) -> str:
        """Queries are cut, %-escapes undone, `..` resolved (and refused by `read` if it leaves the folder)."""
        if _SCHEME.match(relative) or relative.startswith("//"):
            return relative
        path = unquote(urldefrag(relative)[0].partition("?")[0])
        start = self.root if path.startswith("/") else Path(base).parent
        try:
            return str((start / path.lstrip("/")).resolve())
        except (OSError, ValueError, RuntimeError):
            return str(start / "?")

    def read(self, address: str, accept: str = ACCEPT) -> bytes:
        """Gzip files are decompressed by their first bytes, as static hosts serve them."""
        del accept
        path = Path(address)
        if _SCHEME.match(address) or not path.is_relative_to(self.root):
            raise Unread("OUTSIDE", f"{address} is not in {self.root.name or self.root}.")
        try:
            resolved = path.resolve(strict=True)
            if not resolved.is_relative_to(self.root):
                raise Unread("OUTSIDE", f"{address} is a link out of {self.root.name}.")
            if not resolved.is_file():
                raise Unread("MISSING", f"There is no file {address}.")
            if resolved.stat().st_size > MAX_FILE_BYTES:
                raise Unread("TOO_LARGE", f"{resolved.stat().st_size:,} bytes.")
            data = resolved.read_bytes()
        except (OSError, ValueError) as error:
            raise Unread("MISSING", f"There is no file {address} ({type(error).__name__}).") from error
        return decompressed(data, "gzip") if data[:3] == b"\x1f\x8b\x08" else data


class HttpSource:
    """One host over HTTP; redirects and addresses to other hosts are refused."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host = (parts.scheme, parts.netloc)
        self.media_type = ""
        """Of the last answer."""
        self._opener = urllib.request.build_opener(_SameHost(self._host), urllib.request.ProxyHandler({}))

    def join(self, base: str, relative: str) -> str:
        """As RFC 3986; the query of the base is kept for relative addresses that have none, as viewers do."""
        made = urldefrag(urljoin(base, relative))[0]
        parts, query = urlsplit(made), urlsplit(base).query
        return f"{made}?{query}" if query and not parts.query and (parts.scheme, parts.netloc) == self._host else made

    def read(self, address: str, accept: str = ACCEPT) -> bytes:
        """GET with the encodings that are installed; reads at most the limit."""
        parts = urlsplit(address)
        if (parts.scheme, parts.netloc) != self._host:
            raise Unread("OUTSIDE", f"{address[:200]} is not on {self._host[1]}.")
        headers = {"Accept": accept, "Accept-Encoding": ", ".join(encodings()), "User-Agent": "citytwin-verify"}
        request = urllib.request.Request(address, headers=headers)  # noqa: S310 - the scheme is that of the target
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                encoding = answer.headers.get("Content-Encoding", "")
                self.media_type = answer.headers.get_content_type()
                data, status = answer.read(MAX_FILE_BYTES + 1), answer.status
        except Unread:
            raise
        except urllib.error.HTTPError as error:
            raise Unread("MISSING", f"{address} answers {error.code}.", status=error.code) from error
        except (OSError, ValueError, urllib.error.URLError) as error:
            raise Unread("MISSING", f"{address} does not answer: {error}.") from error
        except Exception as error:  # http.client raises its own family
            raise Unread("MISSING", f"{address} breaks off: {type(error).__name__}.") from error
        if len(data) > MAX_FILE_BYTES:
            raise Unread("TOO_LARGE", f"More than {MAX_FILE_BYTES:,} bytes.")
        if status == 204:
            return b""
        for each in reversed([name.strip().lower() for name in encoding.split(",") if name.strip()]):
            data = decompressed(data, each)
        return data


class _SameHost(urllib.request.HTTPRedirectHandler):
    max_redirections = MAX_REDIRECTS

    def __init__(self, host: tuple[str, str]) -> None:
        self._host = host

    def redirect_request(  # noqa: PLR0917
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        parts = urlsplit(newurl)
        if (parts.scheme, parts.netloc) != self._host:
            raise Unread("OUTSIDE", f"{req.full_url} leads to another host, {parts.netloc}.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def encodings() -> list[str]:
    """Content encodings that can be undone here."""
    known = ["gzip", "deflate"]
    for module, name in (("brotli", "br"), ("zstandard", "zstd")):
        try:
            __import__(module)
        except ImportError:
            continue
        known.append(name)
    return known


def decompressed(data: bytes, encoding: str) -> bytes:
    """Undo one content encoding. Unread where it does not fit or unpacks to more than the limit."""
    if encoding in {"", "identity"}:
        return data
    if encoding not in encodings():
        raise Unread("ENCODING", f"Content-Encoding {encoding!r} is not known here.")
    try:
        made = {"gzip": _gunzip, "deflate": _inflate, "br": _brotli, "zstd": _zstd}[encoding](data)
    except Unread:
        raise
    except Exception as error:  # each library has its own class
        raise Unread("ENCODING", f"The body is not {encoding}: {error}.") from error
    if len(made) > MAX_FILE_BYTES:
        raise Unread("TOO_LARGE", f"It unpacks to more than {MAX_FILE_BYTES:,} bytes.")
    return made


def _gunzip(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return file.read(MAX_FILE_BYTES + 1)


def _inflate(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, MAX_FILE_BYTES + 1)


def _brotli(data: bytes) -> bytes:
    import brotli

    decoder, parts, size = brotli.Decompressor(), [], 0
    for start in range(0, len(data), 4096):
        parts.append(decoder.process(data[start : start + 4096]))
        size += len(parts[-1])
        if size > MAX_FILE_BYTES:
            raise Unread("TOO_LARGE", f"It unpacks to more than {MAX_FILE_BYTES:,} bytes.")
    if not decoder.is_finished():
        raise Unread("ENCODING", "The brotli stream is cut off.")
    return b"".join(parts)


def _zstd(data: bytes) -> bytes:
    import zstandard

    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        return bytes(reader.read(MAX_FILE_BYTES + 1))
