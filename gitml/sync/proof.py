"""Which bytes a remote has for certain: asked now, down to the last part of every pack."""

from __future__ import annotations

from collections.abc import Collection

from gitml.entities.ids import Digest
from gitml.errors import MissingBytes
from gitml.store.store import Store
from gitml.sync.catalogue import Catalogue, Sheet, Whereabouts, fanned
from gitml.sync.needs import Need


def proven(store: Store, catalogue: Catalogue, needs: Collection[Need]) -> set[bytes]:
    """The raw digests of held objects that are whole on the remote, members of trees included.

    Nothing that was remembered counts. An object is there when its whereabouts are, the sheet of
    each pack and file in them, and each part in its full length. Raises what the remote raises.
    """
    held = {one.digest: one for one in needs}
    for digest in store.absent(held):
        del held[digest]
    proofs: set[bytes] = set()
    for digest in whole_objects(catalogue, held):
        proofs.add(digest.raw)
        if held[digest].kind == "tree":
            digests = store.read_tree(digest).columns.digests
            proofs.update(digests[at : at + 32] for at in range(0, len(digests), 32))
    return proofs


def whole_objects(catalogue: Catalogue, digests: Collection[Digest]) -> set[Digest]:
    """Those of the objects that are whole on the remote now; raises as `proven`."""
    catalogue.forget()
    catalogue.check_format()
    found = catalogue.whereabouts(sorted(digests))
    names = {name for one in found.values() for name in one.packs}
    sheets = {name: catalogue.sheet(name)[0] for name in catalogue.stat_sheets(names)}
    packs = _whole(catalogue, sheets)
    files = _whole(catalogue, _files(catalogue, found.values()))
    return {
        digest
        for digest, where in found.items()
        if packs.issuperset(where.packs) and files.issuperset(one.hex for one in where.files)
    }


def _whole(catalogue: Catalogue, sheets: dict[str, Sheet]) -> set[str]:
    """Those of which every part is there."""
    there = catalogue.stat_parts(part for sheet in sheets.values() for part in sheet.parts)
    return {
        name for name, sheet in sheets.items() if all(part.key in there for part in sheet.parts)
    }


def _files(catalogue: Catalogue, places: Collection[Whereabouts]) -> dict[str, Sheet]:
    """The sheets of the files that are no pack's, by digest, as far as they are there."""
    digests: set[Digest] = {file for one in places for file in one.files}
    there = catalogue.remote.stat([fanned("files", one) for one in digests]) if digests else {}
    found = {}
    for one in digests:
        if fanned("files", one) in there:
            try:
                found[one.hex] = catalogue.file(one)
            except MissingBytes:
                continue
    return found
