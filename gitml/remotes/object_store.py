"""An S3 bucket as a remote, of Amazon or of whoever speaks its protocol; by obstore.

    s3://bucket/prefix?endpoint=https://s3.example.org&region=eu-central-1

obstore comes with ``pip install 'gitml[s3]'`` and is imported at the first request. Its own retries
are off where `gitml.remotes.layers.Retrying` can go on better; only the parts of a large upload,
which nobody else sees, are tried again by it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from gitml.errors import (
    AuthenticationFailed,
    ConfigError,
    ConnectionLost,
    GitmlError,
    MissingBytes,
    NameNotFound,
    RaceLost,
    RemoteFailed,
    Unreachable,
    UsageError,
)
from gitml.fs import storage_errors
from gitml.remotes.base import (
    PART,
    Access,
    Capabilities,
    Content,
    Entry,
    FilePart,
    Remote,
    check_key,
    is_key,
    is_loopback,
    sizes_side_by_side,
    split_url,
)
from gitml.remotes.profiles import profile_keys

if TYPE_CHECKING:
    from obstore.store import S3Store

_FORM = "`s3://bucket/prefix?endpoint=https://host&region=name`"
_OPTIONS = ("anonymous", "endpoint", "profile", "region", "style")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_PREFIX = re.compile(r"[A-Za-z0-9._/-]*\Z")
_WHOLE = 2 * PART  # what is sent in one request, from memory
_LARGEST_CREATED = 64 << 20
_CHUNK = 16 << 10  # what has come of a stream is handed on soon: a connection may break
_STATUS = re.compile(r"status(?: code)?: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>|\(code: (\w+)\)")
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_REFUSALS = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")
_ROLES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


class S3Remote(Remote):
    """Objects of a bucket, below a prefix."""

    flavor = "s3"
    capabilities = Capabilities(parallel=6)

    def __init__(self, url: str, access: Access) -> None:
        parts = split_url(url, _FORM)
        self._options = _options(url, parts.query)
        self.bucket = parts.netloc
        self.prefix = parts.path.strip("/")
        if not _BUCKET.match(self.bucket) or not _PREFIX.match(self.prefix) or parts.fragment:
            raise ConfigError(f"`{url}` names no bucket", hint=_FORM)
        self.url = url
        self._access = access
        environment = access.environment
        self._endpoint: str = (
            self._options.get("endpoint")
            or environment.get("AWS_ENDPOINT_URL_S3")
            or environment.get("AWS_ENDPOINT_URL")
            or ""
        )
        _check_endpoint(self._endpoint)
        self._knows_bucket = False

    @classmethod
    def open(cls, url: str, access: Access) -> S3Remote:
        """The bucket and prefix of a URL; credentials are looked for at the first request."""
        return cls(url, access)

    def stat(self, keys: Iterable[str]) -> dict[str, int]:
        """The sizes of those that are there, asked for side by side."""
        obstore = self._library()

        def size(key: str) -> int:
            with self._errors(key):
                return int(obstore.head(self._store, self._path(key))["size"])

        return sizes_side_by_side([check_key(key) for key in keys], size, 8)

    def get(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes of one request, as they come."""
        obstore = self._library()
        check_key(key)
        if length == 0 or (length is None and start and self._size(key) == start):
            self._check_range(key, start, 0)
            return
        end = None if length is None else start + length
        wanted: Any = {"offset": start} if end is None else (start, end)
        with self._errors(key, start):
            answer = obstore.get(
                self._store, self._path(key), options={"range": wanted} if start or end else None
            )
            size = int(answer.meta["size"])
        end = size if end is None else end
        if end > size:
            raise self._too_short(key, size, end)
        stream = iter(answer.stream(min_chunk_size=_CHUNK))
        while True:
            with self._errors(key):
                piece = next(stream, None)
            if piece is None:
                break
            start += len(piece)
            yield bytes(piece)
        if start != end:
            raise ConnectionLost(f"{self.url} stopped sending {key} at byte {start} of {end}")

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """The bytes of one request, in memory."""
        obstore = self._library()
        check_key(key)
        if length == 0:
            self._check_range(key, start, 0)
            return b""
        with self._errors(key, start):
            found = obstore.get_range(self._store, self._path(key), start=start, length=length)
            data: bytes = found.to_bytes()
        if len(data) != length:
            self._check_range(key, start, length)
            raise ConnectionLost(f"{self.url} sent {len(data)} of {length} bytes of {key}")
        return data

    def put(self, key: str, content: Content, *, create: bool = False) -> None:
        """One request for what is not large, which the service checks by its digest; else parts."""
        obstore = self._library()
        path = self._path(key)
        part = _as_part(content)
        if create and part.length > _LARGEST_CREATED:
            raise UsageError(f"{key} is too large to be created by one request")
        if isinstance(content, bytes) or create or part.length <= _WHOLE:
            data = content if isinstance(content, bytes) else _read(part)
            mode = "create" if create else "overwrite"
            store = self._store if create else self._patient_store
            with self._errors(key, storing=True):
                obstore.put(store, path, data, mode=mode, use_multipart=False)
            return
        with storage_errors(part.path, "read"):
            file = _Window(part)
        try:
            with self._errors(key, storing=True):
                obstore.put(
                    self._patient_store, path, file, chunk_size=PART, max_concurrency=4
                )  # fmt: skip
        except OSError as error:  # of the file: what the service does is no OSError
            with storage_errors(part.path, "read"):
                raise error from None
        finally:
            file.close()

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """The objects below the prefix, page by page."""
        obstore = self._library()
        above = f"{self.prefix}/" if self.prefix else ""
        # obstore takes a prefix for a folder, and below it compares whole names.
        folder = f"{above}{prefix.rpartition('/')[0]}".strip("/")
        pages = iter(obstore.list(self._store, folder or None))
        while True:
            with self._errors(prefix, listing=True):
                page = next(pages, None)
            if page is None:
                return
            for one in page:
                key = one["path"].removeprefix(above)
                if key.startswith(prefix) and is_key(key):
                    yield Entry(key, int(one["size"]), one["last_modified"].timestamp())

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects, as many as go into a request at once."""
        obstore = self._library()
        paths = [self._path(key) for key in keys]
        try:
            if paths:
                with self._errors("objects", storing=True):
                    obstore.delete(self._store, paths)
        except (ConnectionLost, AuthenticationFailed):
            raise
        except RemoteFailed:  # not every service knows how to delete many
            with self._errors("objects", storing=True):
                obstore.delete(self._single_store, paths)

    def _path(self, key: str) -> str:
        return f"{self.prefix}/{check_key(key)}" if self.prefix else check_key(key)

    # The service

    @cached_property
    def _store(self) -> S3Store:
        """The client for requests that others try again."""
        return self._client(retries=0, silence="30s")

    @cached_property
    def _patient_store(self) -> S3Store:
        """The client for uploads: slow lines take their time, and a part gets another try."""
        return self._client(retries=4, silence="300s")

    @cached_property
    def _single_store(self) -> S3Store:
        """The client for deleting one object after another."""
        return self._client(retries=0, silence="30s", disable_bulk_delete=True)

    def _client(self, *, retries: int, silence: str, **settings: Any) -> S3Store:
        library = self._library()
        environment = self._access.environment
        if self._endpoint:
            settings["endpoint"] = self._endpoint
        profile = profile_keys(environment, self._options.get("profile"))
        region = self._options.get("region") or environment.get("AWS_REGION")
        region = region or environment.get("AWS_DEFAULT_REGION") or profile.get("region")
        settings["region"] = region or "us-east-1"
        if self._options.get("style") == "host":
            settings["virtual_hosted_style_request"] = True
        client: S3Store = library.store.S3Store(
            self.bucket,
            config={**settings, **self._credentials(profile)},
            client_options={
                "allow_http": self._endpoint.startswith("http://"),
                "connect_timeout": "10s",
                "read_timeout": silence,
                "timeout": "6h",
            },
            retry_config={
                "max_retries": retries,
                "backoff": {"max_backoff": timedelta(seconds=2)},
            },
        )
        return client

    def _library(self) -> Any:
        """obstore, imported now; raises ConfigError where it is not installed."""
        try:
            import obstore
            import obstore.exceptions
            import obstore.store
        except ImportError as error:
            raise ConfigError(
                f"{self.url} needs a library that is not installed",
                hint="`pip install 'gitml[s3]'`",
            ) from error
        return obstore

    def _credentials(self, profile: Mapping[str, str]) -> dict[str, Any]:
        """What signs requests; raises AuthenticationFailed where there is nothing."""
        environment = self._access.environment
        if self._options.get("anonymous") == "true":
            return {"skip_signature": True}
        if "profile" not in self._options and environment.get("AWS_ACCESS_KEY_ID"):
            keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
            found = {name.lower().removeprefix("aws_"): environment.get(name) for name in keys}
            return {name: value for name, value in found.items() if value}
        if "access_key_id" in profile:
            return {name: value for name, value in profile.items() if name != "region"}
        if any(environment.get(name) for name in _ROLES) or (not self._endpoint and _on_amazon()):
            return {}  # obstore asks the service that gives this machine its role
        host = urlsplit(self._endpoint).netloc or "s3.amazonaws.com"
        pair = self._access.credentials("https", host)
        if pair is not None:
            return {"access_key_id": pair[0], "secret_access_key": pair[1]}
        raise AuthenticationFailed(
            f"there are no credentials for {self.url}",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `aws configure`, or keep "
            f"them with git: `git credential approve` for the host {host}",
        )

    @contextmanager
    def _errors(
        self, key: str, start: int = 0, *, storing: bool = False, listing: bool = False
    ) -> Iterator[None]:
        """Raise what an error of obstore means."""
        exceptions = self._library().exceptions
        try:
            yield
        except exceptions.AlreadyExistsError as error:
            raise RaceLost(f"{key} is on {self.url} already") from _Words.of(error)
        except FileNotFoundError as error:
            if storing or _code(error) == "NoSuchBucket":
                raise self._no_bucket() from _Words.of(error)
            self._check_bucket()
            raise MissingBytes(f"{key} is not on {self.url}") from _Words.of(error)
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise self._refused(key, error, storing=storing) from _Words.of(error)
        except exceptions.BaseError as error:
            status = _status(error)
            if status in (401, 403) or _code(error) in _REFUSALS:
                raise self._refused(key, error, storing=storing) from _Words.of(error)
            if status == 416:
                self._check_range(key, start, 1)
            if status == 404 and listing:
                raise self._no_bucket() from _Words.of(error)
            raise self._failed(error, status) from _Words.of(error)

    def _refused(self, key: str, error: Exception, *, storing: bool) -> AuthenticationFailed:
        code = _code(error)
        if code in ("AccessDenied", "") and self._knows_bucket:
            doing = "change" if storing else "read"
            hint = None if storing else "without the right to list, what is missing looks forbidden"
            return AuthenticationFailed(f"you may not {doing} {key} on {self.url}", hint=hint)
        return AuthenticationFailed(
            f"{self.url} does not accept the credentials that were found",
            hint="check AWS_ACCESS_KEY_ID, AWS_PROFILE and what `git credential fill` says; "
            "the clock too: `date`",
        )

    def _failed(self, error: Exception, status: int | None) -> RemoteFailed:
        if re.search(r"kind: Connect\b", str(error)):
            where = self._endpoint or f"Amazon's {self.bucket}"
            return Unreachable(f"nobody answers at {where}")
        if status is None or status in _BUSY:
            return ConnectionLost(f"the connection to {self.url} broke off")
        hint = None
        if status in (301, 307, 400):
            hint = "is it the bucket's region? `?region=` in the URL says which"
        return RemoteFailed(f"{self.url} refused a request with {status}", hint=hint)

    def _check_bucket(self) -> None:
        """Raise RemoteFailed where there is no such bucket; asked once, of a listing."""
        if self._knows_bucket:
            return
        import obstore

        exceptions = self._library().exceptions
        try:
            next(iter(obstore.list(self._store, self.prefix or None, chunk_size=1)), None)
        except (exceptions.BaseError, OSError) as error:
            status = _status(error)
            if status == 404 or _code(error) == "NoSuchBucket":
                raise self._no_bucket() from _Words.of(error)
            if status is None or status in _BUSY:
                raise self._failed(error, None) from _Words.of(error)
        self._knows_bucket = True

    def _no_bucket(self) -> RemoteFailed:
        where = f" at {self._endpoint}" if self._endpoint else ""
        option = f" --endpoint-url {self._endpoint}" if self._endpoint else ""
        return RemoteFailed(
            f"there is no bucket {self.bucket}{where}",
            hint=f"`aws s3 mb s3://{self.bucket}{option}` makes it",
        )


class _Words(GitmlError):
    """What a service has said, in a line: obstore's own text has a page of its inner state."""

    @classmethod
    def of(cls, error: Exception) -> _Words:
        text = str(error).partition("\n\nDebug source")[0]
        message = re.search(r"<Message>([^<]*)</Message>", text)
        if message:
            return cls(f"the service says {_code(error) or 'no'}: {message[1]}")
        status = _status(error)
        if status is not None:
            return cls(f"the service answers {status}")
        return cls(" ".join(text.split()).rpartition(" - ")[2][:300])


class _Window:
    """A part of a file as a file of its own, for obstore to read."""

    def __init__(self, part: FilePart) -> None:
        self._file = part.path.open("rb", buffering=0)
        self._part = part
        self._at = 0

    def read(self, count: int = -1) -> bytes:
        """The next bytes; raises OSError when the file ends before the part does."""
        left = self._part.length - self._at
        wanted = left if count < 0 else min(count, left)
        data = os.pread(self._file.fileno(), wanted, self._part.start + self._at)
        if wanted and not data:
            raise OSError(5, f"the file ends before byte {self._part.start + self._part.length}")
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of a file: obstore asks for the length in this way."""
        origin = (0, self._at, self._part.length)[whence]
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _as_part(content: Content) -> FilePart:
    if isinstance(content, FilePart):
        return content
    if isinstance(content, bytes):
        return FilePart(Path(), 0, len(content))
    with storage_errors(content, "read"):
        return FilePart(content, 0, content.stat().st_size)


def _read(part: FilePart) -> bytes:
    """A part of a file, in memory."""
    with storage_errors(part.path, "read"), part.path.open("rb", buffering=0) as file:
        data = os.pread(file.fileno(), part.length, part.start)
        while len(data) < part.length:
            more = os.pread(file.fileno(), part.length - len(data), part.start + len(data))
            if not more:
                raise OSError(5, f"the file ends before byte {part.start + part.length}")
            data += more
        return data


def _options(url: str, query: str) -> dict[str, str]:
    """What stands behind the ``?`` of a URL; raises ConfigError for what is not known."""
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in _OPTIONS:
            error = NameNotFound.among("setting of a bucket's URL", name, _OPTIONS)
            raise ConfigError(error.message, hint=error.hint)
        if not value:
            raise ConfigError(f"`{url}` has no value for {name}", hint=_FORM)
    return options


def _check_endpoint(endpoint: str) -> None:
    """Raise ConfigError for an endpoint that would carry keys and bytes in the open."""
    if not endpoint:
        return
    parts = split_url(endpoint, "`?endpoint=https://host`")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ConfigError(f"`{endpoint}` is no endpoint", hint="`?endpoint=https://host`")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        safe = quote(endpoint.replace("http://", "https://", 1), safe=":/")
        raise ConfigError(
            f"{endpoint} has no encryption, which only this machine itself may do without",
            hint=f"`?endpoint={safe}`",
        )


def _code(error: BaseException) -> str:
    """The code of an answer of the service, empty where it gave none."""
    found = _CODE.search(str(error))
    return (found[1] or found[2]) if found else ""


def _status(error: BaseException) -> int | None:
    """The HTTP status of an answer of the service, None where none came."""
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


def _on_amazon() -> bool:
    """Whether this machine is one of Amazon's, which know of a role; elsewhere nobody answers."""
    try:
        return "amazon" in Path("/sys/class/dmi/id/sys_vendor").read_text().lower()
    except OSError:
        return False
