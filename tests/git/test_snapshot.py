"""A snapshot holds the code that ran and nothing else, and leaves everything as it was."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from gitml.entities.ids import ObjectId
from gitml.errors import GitmlError, MissingBytes, NoRepository, UsageError
from gitml.git.odb import Odb
from gitml.git.process import Git, GitFailed
from gitml.git.snapshot import CodeState, code_state, look, looking, record_code
from gitml.testing.sealed import GitRepository, SealedEnvironment

SNAPSHOT = "Snapshot of a working tree\n\nGitml-Kind: snapshot\n"


@pytest.fixture
def repository(git_repository: GitRepository) -> GitRepository:
    git_repository.write("a.py", "a = 1\n")
    git_repository.write("src/b.py", "b = 1\n")
    git_repository.write("gone.py", "gone = 1\n")
    git_repository.write(".gitignore", "*.secret\nignored.py\n")
    git_repository.commit("one")
    return git_repository


def take(
    at: GitRepository | Path,
    closure: set[str] | None = None,
    pointers: dict[str, bytes] | None = None,
) -> CodeState:
    git = Git.discover(at if isinstance(at, Path) else at.path)
    odb = Odb(git)
    try:
        return code_state(git, odb, closure=closure or set(), pointers=pointers)
    finally:
        odb.close()


def test_a_look_that_was_begun_says_the_same(repository: GitRepository) -> None:
    repository.write("a.py", "a = 2\n")
    repository.write("new.py", "")
    git = Git.discover(repository.path)
    with looking(git) as seen:
        assert seen() == look(git)
    with looking(git):
        pass  # nobody waits for it
    (repository.path / ".git" / "index").write_bytes(b"damaged")
    with pytest.raises(GitFailed, match="status"), looking(git) as seen:
        seen()


def files(repository: GitRepository, commit: ObjectId) -> dict[str, str]:
    """The paths of a commit with mode and content."""
    listing = repository.git("ls-tree", "-r", "-z", commit.hex)
    found = {}
    for line in listing.split("\0")[:-1]:
        head, _, path = line.partition("\t")
        mode, kind, oid = head.split(" ")
        content = repository.git("cat-file", "blob", oid) if kind == "blob" else oid
        found[path] = f"{mode} {content}"
    return found


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """All files of a git directory but the objects: mode, time, bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "objects" not in path.relative_to(folder).parts:
            status = path.stat()
            # git touches a shared index whenever it reads one, so that it does not expire.
            time = 0 if path.name.startswith("sharedindex.") else status.st_mtime_ns
            found[str(path.relative_to(folder))] = (status.st_mode, time, path.read_bytes())
    return found


def make_dirty(repository: GitRepository) -> None:
    """Every kind of change: staged, unstaged, both, deleted, renamed, mode, link, untracked."""
    repository.write("a.py", "a = 2\n")
    repository.git("add", "a.py")
    repository.write("a.py", "a = 3\n")
    repository.write("new.py", "new = 1\n")
    repository.git("add", "new.py")
    (repository.path / "gone.py").unlink()
    repository.git("mv", "src/b.py", "src/c.py")
    repository.write("src/c.py", "b = 1\n").chmod(0o755)
    (repository.path / "link").symlink_to("a.py")
    repository.git("add", "link")
    (repository.path / "link").unlink()
    (repository.path / "link").symlink_to("src/c.py")
    repository.write("planned.py", "planned = 1\n")
    repository.git("add", "--intent-to-add", "planned.py")
    repository.write("notes.txt", "private\n")
    repository.write("token.secret", "hunter2\n")


def test_a_clean_tree_is_head_and_writes_nothing(repository: GitRepository) -> None:
    repository.write("notes.txt", "x\n")
    git = repository.path / ".git"
    before = {path: path.stat().st_mtime_ns for path in sorted(git.rglob("*"))}
    head = ObjectId(repository.git("rev-parse", "HEAD"))
    tree = ObjectId(repository.git("rev-parse", "HEAD^{tree}"))
    assert take(repository) == CodeState(head, tree, False, ("notes.txt",))
    assert {path: path.stat().st_mtime_ns for path in sorted(git.rglob("*"))} == before


def test_it_takes_what_is_tracked_and_staged_and_leaves_all_as_it_was(
    repository: GitRepository,
) -> None:
    repository.write("a.py", "stashed\n")
    repository.git("stash", "push", "--quiet")
    make_dirty(repository)
    status = repository.git("status", "--porcelain=v2", "--branch")
    before = everything(repository.path / ".git")
    found = take(repository)
    assert found.snapshot
    assert found.left_out == ("notes.txt",)
    assert files(repository, found.commit) == {
        ".gitignore": "100644 *.secret\nignored.py",
        "a.py": "100644 a = 3",
        "link": "120000 src/c.py",
        "new.py": "100644 new = 1",
        "planned.py": "100644 planned = 1",
        "src/c.py": "100755 b = 1",
    }
    assert everything(repository.path / ".git") == before
    assert repository.git("status", "--porcelain=v2", "--branch") == status
    assert repository.git("rev-parse", f"{found.commit}^{{tree}}") == found.tree.hex
    repository.git("fsck", "--strict", "--no-dangling")


def test_it_is_a_function_of_the_tree(
    repository: GitRepository, sealed_environment: SealedEnvironment, tmp_path: Path
) -> None:
    make_dirty(repository)
    shutil.copytree(repository.path, tmp_path / "copy", symlinks=True)
    first = take(repository)
    sealed_environment.freeze_dates("2030-01-01T00:00:00+00:00")
    sealed_environment.set("GIT_AUTHOR_NAME", "Somebody Else")
    assert take(repository) == first
    assert take(tmp_path / "copy") == first
    raw = repository.git("cat-file", "commit", first.commit.hex) + "\n"
    head = repository.git("cat-file", "commit", "HEAD").split("\n")
    people = [line for line in head if line.startswith(("author ", "committer "))]
    parent = repository.git("rev-parse", "HEAD")
    lines = [f"tree {first.tree}", f"parent {parent}", *people, "", SNAPSHOT]
    assert raw == "\n".join(lines)


def test_untracked_code_of_the_closure_enters_and_the_rest_is_named(
    repository: GitRepository,
) -> None:
    for name in ("helper.py", "src/deep/util.py", "src/deep/other.py", "notes.txt", "ignored.py"):
        repository.write(name, "x = 1\n")
    closure = {"a.py", "helper.py", "src/deep/util.py", "ignored.py", "absent.py"}
    found = take(repository, closure)
    assert found.snapshot
    assert found.left_out == ("ignored.py", "notes.txt", "src/deep/other.py")
    assert set(files(repository, found.commit)) == {
        *(".gitignore", "a.py", "gone.py", "src/b.py"),
        *("helper.py", "src/deep/util.py"),
    }


def test_an_ignored_file_that_runs_is_named_on_a_clean_tree(repository: GitRepository) -> None:
    repository.write("ignored.py", "x = 1\n")
    found = take(repository, {"a.py", "ignored.py"})
    assert not found.snapshot
    assert found.left_out == ("ignored.py",)


ODD = ["*.py", "[ab].txt", ":(top)x.py", ":!a", "-q", "a b\n.py", "caf\udce9.py", "\u202e.py", "\\"]


def test_names_are_names_and_no_patterns(repository: GitRepository) -> None:
    """`*.py` in the closure is that file; as a pattern it would sweep up every other one."""
    for name in ODD:
        repository.write(name, name.encode("utf-8", "surrogateescape"))
    repository.write("token.py", "hunter2\n")
    repository.write("a.txt", "hunter2\n")
    found = take(repository, {*ODD, "a.py"})
    assert found.left_out == ("a.txt", "token.py")
    assert set(files(repository, found.commit)) == {
        *(".gitignore", "a.py", "gone.py", "src/b.py", *ODD),
    }
    for name in ODD:
        repository.git("--literal-pathspecs", "add", "--", name)
    repository.git("commit", "--quiet", "-m", "odd")
    for name in ODD:
        repository.write(name, "changed\n")
    state = look(Git.discover(repository.path))
    assert set(state.changed) == set(ODD)
    assert files(repository, take(repository).commit)["[ab].txt"] == "100644 changed"


def test_pointers_stand_for_data(repository: GitRepository) -> None:
    repository.write("a.py", "a = 2\n")
    repository.write("data/raw.csv", "1,2\n")
    found = take(repository, pointers={"data/raw.csv": b"gitml 1\n", "a.py": b"gitml 1\n"})
    held = files(repository, found.commit)
    assert held["data/raw.csv.gitml"] == "100644 gitml 1"
    assert "a.py.gitml" not in held, "what git tracks stands there itself"
    assert found.left_out == ("data/raw.csv",)


def test_before_the_first_commit(git_repository: GitRepository) -> None:
    git_repository.write("a.py", "a = 1\n")
    git_repository.write("b.py", "b = 1\n")
    git_repository.git("add", "a.py")
    found = take(git_repository, {"a.py", "b.py"})
    assert set(files(git_repository, found.commit)) == {"a.py", "b.py"}
    nobody = "gitml <gitml@localhost> 0 +0000"
    assert git_repository.git("cat-file", "commit", found.commit.hex) + "\n" == (
        f"tree {found.tree}\nauthor {nobody}\ncommitter {nobody}\n\n{SNAPSHOT}"
    )
    assert take(git_repository, {"a.py", "b.py"}) == found
    assert git_repository.git("status", "--porcelain") == "A  a.py\n?? b.py"


def test_an_empty_repository_has_an_empty_snapshot(git_repository: GitRepository) -> None:
    found = take(git_repository)
    assert found.snapshot
    assert files(git_repository, found.commit) == {}


def test_a_detached_head(repository: GitRepository) -> None:
    head = repository.git("rev-parse", "HEAD")
    repository.git("checkout", "--quiet", "--detach")
    assert take(repository).commit.hex == head
    repository.write("a.py", "a = 2\n")
    assert repository.git("rev-parse", f"{take(repository).commit}^") == head


def test_a_linked_worktree_has_its_own(repository: GitRepository, tmp_path: Path) -> None:
    repository.write("a.py", "main's\n")
    repository.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"))
    (tmp_path / "linked" / "a.py").write_text("side's\n")
    before = everything(repository.path / ".git")
    found = take(tmp_path / "linked" / "src")
    assert files(repository, found.commit)["a.py"] == "100644 side's"
    assert everything(repository.path / ".git") == before


def test_from_a_subfolder_it_is_the_whole_tree(repository: GitRepository) -> None:
    repository.write("a.py", "a = 2\n")
    repository.write("src/b.py", "b = 2\n")
    assert take(repository.path / "src") == take(repository)
    assert files(repository, take(repository).commit)["a.py"] == "100644 a = 2"


def test_a_bare_repository_is_refused(repository: GitRepository, tmp_path: Path) -> None:
    repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare"))
    with pytest.raises(NoRepository):
        take(tmp_path / "bare")


# Checked-out records


def check_out_record(repository: GitRepository, code: str) -> str:
    """A commit like that of a version, checked out: the code's tree and ``.gitml/``."""
    repository.write(".gitml/model.json", "{}\n")
    repository.write(".gitml/.gitattributes", "* -text\n")
    repository.git("add", "--sparse", "--force", ".gitml")
    tree = repository.git("write-tree")
    message = f"Version of clf\n\nGitml-Kind: version\nGitml-Code: {code}\n"
    record = repository.git("commit-tree", tree, "-p", code, text=message)
    repository.git("reset", "--quiet", "--hard")
    repository.git("checkout", "--quiet", "--detach", record)
    return record


def test_the_code_of_a_record_is_the_commit_that_it_names(repository: GitRepository) -> None:
    code = repository.git("rev-parse", "HEAD")
    tree = ObjectId(repository.git("rev-parse", "HEAD^{tree}"))
    check_out_record(repository, code)
    assert take(repository) == CodeState(ObjectId(code), tree, False)
    repository.write(".gitml/model.json", '{"edited": 1}\n')
    repository.write(".gitml/extra.py", "x\n")
    assert take(repository, {".gitml/extra.py"}) == CodeState(ObjectId(code), tree, False)
    repository.write("a.py", "a = 2\n")
    found = take(repository)
    assert repository.git("rev-parse", f"{found.commit}^") == code
    assert set(files(repository, found.commit)) == {".gitignore", "a.py", "gone.py", "src/b.py"}
    repository.write("a.py", "a = 1\n")
    assert take(repository).commit.hex == code


def test_a_message_that_only_quotes_a_record_is_none(repository: GitRepository) -> None:
    other = repository.git("rev-parse", "HEAD")
    repository.git("commit", "--quiet", "--allow-empty", "-m", f"quote\n\nGitml-Code: {other}")
    head = ObjectId(repository.git("rev-parse", "HEAD"))
    git = Git.discover(repository.path)
    odb = Odb(git)
    assert record_code(odb, head) == head
    odb.close()


def test_a_record_whose_code_is_cut_off_is_refused(
    repository: GitRepository, tmp_path: Path
) -> None:
    record = check_out_record(repository, repository.git("rev-parse", "HEAD"))
    repository.git("tag", "clf@v1", record)
    source = f"file://{repository.path}"
    clone = tmp_path / "clone"
    repository.git("clone", "-q", "--depth=1", "--branch=clf@v1", source, str(clone))
    assert (clone / "a.py").exists()
    with pytest.raises(MissingBytes, match="cut off") as caught:
        take(clone)
    assert "`git fetch --unshallow`" in (caught.value.hint or "")
    GitRepository(clone).git("fetch", "--quiet", "--unshallow")
    assert take(clone).commit.hex == repository.git("rev-parse", "main")


FOLDED = [".GITML", ".gitml.", ".gitml ", ".git\u200cml", "GITML~1", ".gitml:x", ".Gitml\\x"]


@pytest.mark.parametrize("dirty", [False, True])
def test_a_root_entry_that_folds_to_gitml_is_refused(
    repository: GitRepository, dirty: bool
) -> None:
    for name in FOLDED:
        repository.write(f"{name}/x", "x\n")
        repository.commit("odd")
        if dirty:
            repository.write("a.py", "a = 2\n")
        with pytest.raises(UsageError, match="in the place of gitml's records") as caught:
            take(repository)
        assert "git mv" in (caught.value.hint or "")
        repository.git("reset", "--quiet", "--hard", "HEAD^")


@pytest.mark.parametrize("name", [".gitml", ".gitml/notes.txt"])
@pytest.mark.parametrize("dirty", [False, True])
def test_something_else_called_gitml_is_refused_not_dropped(
    repository: GitRepository, name: str, dirty: bool
) -> None:
    repository.write(name, "mine\n")
    repository.commit("mine")
    if dirty:
        repository.write("a.py", "a = 2\n")
    with pytest.raises(UsageError, match="in the place of gitml's records"):
        take(repository)


def test_deeper_down_the_name_is_free(repository: GitRepository) -> None:
    repository.write("src/.gitml/x", "x\n")
    repository.commit("fine")
    repository.write("a.py", "a = 2\n")
    assert "src/.gitml/x" in files(repository, take(repository).commit)


# What blocks, and what must not


def test_a_merge_conflict_is_refused(repository: GitRepository) -> None:
    repository.git("switch", "--quiet", "-c", "side")
    repository.write("a.py", "side\n")
    repository.commit("side")
    repository.git("switch", "--quiet", "main")
    repository.write("a.py", "main\n")
    repository.commit("main")
    with pytest.raises(AssertionError):
        repository.git("merge", "side")
    before = everything(repository.path / ".git")
    with pytest.raises(UsageError, match=r"^a\.py has merge conflicts"):
        take(repository)
    assert everything(repository.path / ".git") == before


@pytest.fixture
def with_submodule(repository: GitRepository, tmp_path: Path) -> GitRepository:
    inner = GitRepository(tmp_path / "inner")
    inner.path.mkdir()
    inner.git("init", "--quiet")
    inner.write("lib.py", "lib = 1\n")
    inner.commit("lib")
    allow = ("-c", "protocol.file.allow=always")
    repository.git(*allow, "submodule", "--quiet", "add", str(inner.path), "vendor/lib")
    repository.commit("submodule")
    return repository


@pytest.mark.parametrize("file", ["lib.py", "untracked.py"])
def test_a_dirty_submodule_is_refused_also_where_the_user_hides_it(
    with_submodule: GitRepository, file: str
) -> None:
    head = with_submodule.git("rev-parse", "HEAD")
    assert take(with_submodule).commit.hex == head
    with_submodule.write(f"vendor/lib/{file}", "lib = 2\n")
    with_submodule.git("config", "diff.ignoreSubmodules", "all")
    with pytest.raises(UsageError, match="the submodule vendor/lib has changes of its own"):
        take(with_submodule)


def test_a_submodule_at_another_commit_is_a_change(with_submodule: GitRepository) -> None:
    inner = GitRepository(with_submodule.path / "vendor/lib")
    inner.write("lib.py", "lib = 2\n")
    commit = inner.commit("lib 2")
    found = take(with_submodule)
    assert files(with_submodule, found.commit)["vendor/lib"] == f"160000 {commit}"


@pytest.mark.parametrize("cone", ["--cone", "--no-cone"])
def test_a_sparse_checkout_keeps_what_is_not_checked_out(
    repository: GitRepository, cone: str
) -> None:
    for name in ("big/x.py", "big/y.py", "src/deep/z.py"):
        repository.write(name, "1\n")
    repository.commit("more")
    repository.git("sparse-checkout", "set", cone, "src" if cone == "--cone" else "/src/")
    if cone == "--cone":
        repository.git("sparse-checkout", "reapply", "--sparse-index")
    assert not (repository.path / "big").exists()
    assert not take(repository).snapshot
    repository.write("src/b.py", "b = 2\n")
    found = take(repository)
    held = files(repository, found.commit)
    assert held["src/b.py"] == "100644 b = 2"
    assert held["big/x.py"] == "100644 1"
    code = repository.git("rev-parse", "HEAD")
    repository.git("checkout", "--quiet", "--", "src")
    check_out_record(repository, code)
    repository.write("src/b.py", "b = 2\n")
    assert files(repository, take(repository).commit) == held


def test_it_is_made_as_git_would_add(repository: GitRepository) -> None:
    """Filters and line ends of the project apply, as in a commit of the user's."""
    repository.write(".gitattributes", "*.txt text eol=crlf\n*.up filter=up\n")
    repository.git("config", "filter.up.clean", "tr a-z A-Z")
    repository.git("config", "filter.up.smudge", "cat")
    repository.write("x.txt", "1\r\n2\r\n")
    repository.write("x.up", "abc\n")
    found = take(repository, {"x.txt", "x.up", ".gitattributes"})
    held = files(repository, found.commit)
    assert held["x.up"] == "100644 ABC"
    assert repository.git("cat-file", "-s", f"{found.commit}:x.txt") == "4"


def test_a_filter_that_fails_is_an_error_with_gits_words(repository: GitRepository) -> None:
    repository.write(".gitattributes", "*.up filter=up\n")
    repository.write("x.up", "abc\n")
    repository.commit("filter")
    repository.git("config", "filter.up.clean", "false")
    repository.git("config", "filter.up.required", "true")
    repository.write("x.up", "abcd\n")
    with pytest.raises(GitmlError, match="cannot be made into a snapshot") as caught:
        take(repository)
    assert any("clean filter 'up' failed" in cause for cause in caught.value.causes())


def test_hooks_and_a_split_index_stay_out_of_it(repository: GitRepository, tmp_path: Path) -> None:
    repository.git("config", "core.splitIndex", "true")
    repository.git("update-index", "--split-index")
    hook = repository.write(".git/hooks/post-index-change", f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    repository.write("a.py", "a = 2\n")
    before = everything(repository.path / ".git")
    assert take(repository).snapshot
    assert everything(repository.path / ".git") == before
    assert not (tmp_path / "ran").exists()


def test_settings_of_the_user_change_nothing(
    repository: GitRepository, sealed_environment: SealedEnvironment
) -> None:
    make_dirty(repository)
    expected = take(repository, {"notes.txt"})
    for key, value in {
        "status.showUntrackedFiles": "no",
        "status.branch": "true",
        "status.showStash": "true",
        "status.relativePaths": "true",
        "status.renames": "copies",
        "core.quotePath": "true",
        "color.ui": "always",
        "i18n.commitEncoding": "iso-8859-1",
        "core.untrackedCache": "true",
        "commit.gpgSign": "true",
        "feature.manyFiles": "true",
    }.items():
        repository.git("config", key, value)
    sealed_environment.set("GIT_ICASE_PATHSPECS", "1")
    assert take(repository, {"notes.txt"}) == expected


def test_nothing_is_left_behind(repository: GitRepository, tmp_path: Path) -> None:
    make_dirty(repository)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    import tempfile

    before, tempfile.tempdir = tempfile.tempdir, str(temporary)
    try:
        take(repository)
    finally:
        tempfile.tempdir = before
    assert os.listdir(temporary) == []
    assert not list((repository.path / ".git").glob("*gitml*"))
