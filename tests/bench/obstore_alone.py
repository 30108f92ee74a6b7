"""obstore as a command, with nothing around it: ``obstore_alone.py put|get FILE URL``.

It is the floor of what a bucket can do here: one multipart upload, ranges side by side.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PART = 16 << 20
AT_ONCE = 8


def main(verb: str = "", name: str = "", url: str = "") -> None:
    """Put a file, or get it; without words only look whether obstore is there."""
    import obstore
    from obstore.store import S3Store

    if not verb:
        return
    parts = urlsplit(url)
    settings = {key: values[0] for key, values in parse_qs(parts.query).items()}
    store = S3Store(
        parts.netloc,
        prefix=parts.path.strip("/"),
        endpoint=settings["endpoint"],
        region=settings["region"],
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    if verb == "put":
        obstore.put(store, name, Path(name), chunk_size=PART, max_concurrency=AT_ONCE)
        return
    size = obstore.head(store, name)["size"]
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(descriptor, size)

    def get(start: int) -> None:
        data = obstore.get_range(store, name, start=start, length=min(PART, size - start))
        os.pwrite(descriptor, data, start)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(get, range(0, size, PART)))
    os.fsync(descriptor)
    os.close(descriptor)


if __name__ == "__main__":
    main(*sys.argv[1:])
