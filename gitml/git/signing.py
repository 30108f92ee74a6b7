"""Signatures of tags and records, made and verified by git itself with its ssh and gpg.

It happens in a scratch repository over the same objects: nothing is in the user's before it is
known to be good, and none of its hooks and settings ask questions. Whose key counts is decided by
files of the project (``Signers``), never by the keys that lie on this machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from gitml.entities.ids import ObjectId
from gitml.errors import GitmlError, UsageError
from gitml.frozen import Frozen
from gitml.git.odb import EMPTY_TREE, parse_commit, parse_tag
from gitml.git.process import Git, GitFailed

GOOD, NONE, BAD = "good", "none", "bad"
STRANGER, EXPIRED, REVOKED = "stranger", "expired", "revoked"
_SETTINGS = (
    *("user.signingkey", "gpg.format", "gpg.program", "gpg.openpgp.program", "gpg.ssh.program"),
    *("gpg.ssh.defaultkeycommand", "gpg.x509.program"),
)
_MARKS = (b"-----BEGIN SSH SIGNATURE-----", b"-----BEGIN PGP SIGNATURE-----")
_SSH_GOOD = r'Good "git" signature for (.+) with (\S+) key (\S+)'
_SSH_KEY = r'Good "git" signature with (\S+) key (\S+)'
_KEY_TYPE = r"(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[A-Za-z0-9@.-]+"


class Signature(Frozen):
    """How a tag or a record is signed.

    ``state`` is "good"; "none"; "stranger" (a key that the project does not list); "expired" (not
    valid at the time that it names); "revoked"; or "bad" (it was altered). ``who`` is the
    address that the project gives the key, ``key`` its fingerprint.
    """

    state: str
    who: str = ""
    key: str = ""

    @property
    def words(self) -> str:
        """The same for people."""
        by = f"key {self.key}" if self.key else "the key"
        return {
            GOOD: f"signed by {self.who}",
            NONE: "not signed",
            STRANGER: f"signed by a key that is nobody's here ({self.key or 'unknown'})",
            EXPIRED: f"{by} was not valid at that time",
            REVOKED: f"{by} is revoked",
            BAD: "the signature is of other bytes",
        }[self.state]


class Signers(Frozen):
    """Whose signatures count: ``allowed`` and ``revoked`` as ssh-keygen has them, ``gpg`` keys.

    ``gpg`` are armoured public keys; each is that of the address in its first user id.
    """

    allowed: bytes = b""
    revoked: bytes = b""
    gpg: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.allowed or self.gpg)


class Signer(Frozen):
    """Signs tags and records with this user's key, as git's own settings say."""

    git: Git

    def sign(self, data: bytes) -> bytes:
        """The tag object with a signature; raises UsageError where git cannot sign."""
        tag = parse_tag(ObjectId("0" * 40), data)
        with _scratch(self.git) as scratch:
            asked = ("tag", "--sign", "--cleanup=verbatim", "-F", "-", tag.name, str(tag.target))
            try:
                scratch.run(
                    *self._settings(),
                    *asked,
                    stdin=tag.message.encode("utf-8", "surrogateescape"),
                    env=_identity("COMMITTER", tag.tagger),
                )
            except GitFailed as error:
                raise self._cannot("the tag") from error
            signed = scratch.run("cat-file", "tag", f"refs/tags/{tag.name}")
        if not any(b"\n" + mark in signed[len(data) - 1 :] for mark in _MARKS):
            raise self._cannot("the tag")  # git 2.39 makes a tag without one where ssh-keygen fails
        return signed

    def sign_commit(self, data: bytes, named: bytes = b"") -> bytes:
        """The commit object with a signature; raises UsageError where git cannot sign.

        ``named`` is a pack of the objects that it names and that are not in the repository yet.
        """
        commit = parse_commit(ObjectId("0" * 40), data)
        identity = {
            **_identity("AUTHOR", commit.author),
            **_identity("COMMITTER", commit.committer),
        }
        parents = [part for one in commit.parents for part in ("-p", str(one))]
        with _scratch(self.git) as scratch:
            if named:
                scratch.run("unpack-objects", "-q", stdin=named)
            try:
                made = scratch.run(
                    *(*self._settings(), "-c", "i18n.commitEncoding=UTF-8"),
                    *("commit-tree", "-S", *parents, str(commit.tree)),
                    stdin=commit.message.encode("utf-8", "surrogateescape"),
                    env=identity,
                )
            except GitFailed as error:
                raise self._cannot("the record") from error
            signed = scratch.run("cat-file", "commit", made.decode().strip())
        found = parse_commit(commit.id, signed)
        same = (found.tree, found.parents, found.message)
        if _mark_of(signed) is None or same != (commit.tree, commit.parents, commit.message):
            raise self._cannot("the record")
        return signed

    def try_out(self, identity: str) -> None:
        """Sign something that nobody keeps; raises UsageError where git cannot sign."""
        lines = [f"tree {EMPTY_TREE}", f"author {identity}", f"committer {identity}", "", "x\n"]
        self.sign_commit("\n".join(lines).encode())

    def _settings(self) -> list[str]:
        """The user's settings for signing: the scratch repository does not have those of theirs."""
        found = []
        for key in _SETTINGS:
            value = self.git.config(key)
            if value is not None:
                if key == "user.signingkey" and (self.git._cwd() / value).is_file():
                    value = str(self.git._cwd() / value)
                found += ["-c", f"{key}={value}"]
        return found

    def _cannot(self, what: str) -> UsageError:
        if self.git.config("user.signingkey") is None:
            hint = "`git config gpg.format ssh && git config user.signingKey ~/.ssh/id_ed25519.pub`"
            return UsageError(f"{what} is to be signed, and git knows no key of yours", hint=hint)
        return UsageError(
            f"git cannot sign {what} with your key",
            hint="`git config user.signingKey` shows which key it is",
        )


class Verifier:
    """Verifies tags and commits against the signers of a project; a context manager."""

    def __init__(self, git: Git, signers: Signers) -> None:
        self._git = git
        self._signers = signers
        self._stack = contextlib.ExitStack()
        self._scratch: Git | None = None
        self._with_gpg = False

    def __enter__(self) -> Verifier:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def verify(self, data: bytes) -> Signature:
        """How a tag object with these bytes is signed; raises GitmlError where gpg is missing."""
        found = max((data.rfind(b"\n" + mark), mark) for mark in _MARKS)
        return self._verify("tag", data, found[1] if found[0] >= 0 else None)

    def verify_commit(self, data: bytes) -> Signature:
        """How a commit object with these bytes is signed; raises as `verify`."""
        return self._verify("commit", data, _mark_of(data))

    def _verify(self, kind: str, data: bytes, mark: bytes | None) -> Signature:
        if mark is None:
            return Signature(NONE)
        scratch = self._opened()
        written = scratch.run("hash-object", "-t", kind, "-w", "--stdin", stdin=data)
        what = (f"verify-{kind}", "--raw", written.decode().strip())
        return self._ssh(scratch, what) if mark == _MARKS[0] else self._gpg(scratch, what)

    def _opened(self) -> Git:
        """The scratch repository, with the files of the signers beside it."""
        if self._scratch is None:
            self._scratch = self._stack.enter_context(_scratch(self._git))
            (self._scratch.directory / "allowed").write_bytes(self._signers.allowed)
            (self._scratch.directory / "revoked").write_bytes(self._signers.revoked)
        return self._scratch

    def _ssh(self, scratch: Git, what: tuple[str, ...]) -> Signature:
        found = self._by_ssh(scratch, what)
        if found.state == GOOD and self._signers.revoked.strip():
            # Asked second: with a list of revoked keys at hand git no longer says whose it was.
            revoked = f"gpg.ssh.revocationFile={scratch.directory / 'revoked'}"
            if self._by_ssh(scratch, what, "-c", revoked).state != GOOD:
                return Signature(REVOKED, found.who, found.key)
        return found

    def _by_ssh(self, scratch: Git, what: tuple[str, ...], *more: str) -> Signature:
        settings = ["-c", f"gpg.ssh.allowedSignersFile={scratch.directory / 'allowed'}", *more]
        done = scratch.process(*settings, "-c", "gpg.ssh.program=ssh-keygen", *what)
        words = done.stderr.decode(errors="replace")
        good = re.search(_SSH_GOOD, words)
        if done.returncode == 0 and good:
            return Signature(GOOD, good[1], good[3])
        known = re.search(_SSH_KEY, words)
        if known is None:
            return Signature(BAD)
        # It is of this object, and no line allows the key at the time that the object names.
        listed = _fingerprints(self._signers.allowed)
        state = EXPIRED if known[2] in listed else STRANGER
        return Signature(state, listed.get(known[2], ""), known[2])

    def _gpg(self, scratch: Git, what: tuple[str, ...]) -> Signature:
        program = self._git.config("gpg.program") or "gpg"
        import shutil

        if shutil.which(program) is None:
            raise GitmlError(
                "a tag is signed with gpg, which is not here", hint="`apt-get install gnupg`"
            )
        home = scratch.directory / "gnupg"
        if not self._with_gpg:
            home.mkdir(mode=0o700)
            command = [program, "--homedir", str(home), "--batch", "--quiet", "--import"]
            subprocess.run(command, input=self._signers.gpg, capture_output=True, check=False)
            self._with_gpg = True
        settings = ["-c", f"gpg.program={program}", "-c", "gpg.minTrustLevel=undefined"]
        env = {"GNUPGHOME": str(home)}
        done = scratch.process(*settings, *what, env=env)
        return _of_status(done.stderr.decode(errors="replace"), done.returncode)


def _mark_of(commit: bytes) -> bytes | None:
    """How the signature of a commit begins; None where it has none that we know."""
    head = commit.partition(b"\n\n")[0]
    return next((one for one in _MARKS if b"\ngpgsig " + one in head), None)


def _identity(who: str, line: str) -> dict[str, str]:
    """A raw header line as the variables from which git makes it."""
    name, _, rest = line.partition(" <")
    mail, _, date = rest.partition("> ")
    parts = {"NAME": name, "EMAIL": mail, "DATE": f"@{date}"}
    return {f"GIT_{who}_{key}": value for key, value in parts.items()}


def _of_status(words: str, code: int) -> Signature:
    """What gpg's status lines say (its doc/DETAILS)."""
    lines = [line.removeprefix("[GNUPG:] ").split(" ", 2) for line in words.splitlines()]
    said = {line[0]: line[1:] for line in lines if line[0].isupper()}
    key = (said.get("VALIDSIG") or said.get("ERRSIG") or [""])[0]
    for word, state in (
        ("REVKEYSIG", REVOKED),
        ("EXPKEYSIG", EXPIRED),
        ("EXPSIG", EXPIRED),
        ("BADSIG", BAD),
        ("ERRSIG", STRANGER),
        ("GOODSIG", GOOD if code == 0 else BAD),
    ):
        if word in said:
            who = re.search(r"<([^<>]+)>\Z", " ".join(said[word][1:]))
            return Signature(state, who[1] if who else "", key)
    return Signature(BAD, "", key)


def _fingerprints(lines: bytes) -> dict[str, str]:
    """The fingerprint of each ssh key in a file of keys, and what stands before it."""
    import base64
    import hashlib

    found = {}
    for line in lines.decode("utf-8", "replace").splitlines():
        key = re.search(rf"(?:^|\s)({_KEY_TYPE})\s+([A-Za-z0-9+/=]+)", line)
        if key and not line.startswith("#"):
            with contextlib.suppress(ValueError):
                digest = hashlib.sha256(base64.b64decode(key[2])).digest()
                text = base64.b64encode(digest).decode().rstrip("=")
                found[f"SHA256:{text}"] = line[: key.start()].split(" ")[0].partition(",")[0]
    return found


@contextlib.contextmanager
def _scratch(git: Git) -> Iterator[Git]:
    """A repository that sees the objects of another, and goes away."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="gitml-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for part in ("objects/info", "refs"):
            (folder / part).mkdir(parents=True)
        (folder / "HEAD").write_text("ref: refs/heads/none\n")
        settings = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\thooksPath = /dev/null\n"
        (folder / "config").write_text(settings)
        alternates = os.fsencode(git.common / "objects") + b"\n"
        (folder / "objects/info/alternates").write_bytes(alternates)
        yield Git(folder, folder, None, False)
