"""What a server with the hook takes, and what it refuses, pushed by plain git."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gitml.entities import codec
from gitml.entities.ids import ObjectId
from gitml.entities.records import Promotion, Tombstone
from gitml.errors import NameNotFound, NotTrusted
from gitml.frozen import replace
from gitml.git.odb import Odb
from gitml.git.process import Git
from gitml.history.models import read_promotion
from gitml.history.record import Person, Recorder, seconds_of, timestamp
from gitml.hooks.install import SERVER_EVENTS, install, script, server_script
from gitml.testing.sealed import SealedEnvironment
from tests.reviewed import PATH, Reviewed, team_of
from tests.workshop import Copy, Workshop, model_for_copies

ROOT = Path(__file__).parents[2]
ADA = Person("Ada Example", "ada@example.org")


@pytest.fixture(scope="module")
def guarded_once(reviewed_once: Reviewed, tmp_path_factory: pytest.TempPathFactory) -> Reviewed:
    folder = tmp_path_factory.mktemp("guarded")
    shutil.copytree(reviewed_once.bob.path, folder / "bob", symlinks=True)
    with model_for_copies(folder) as bob, team_of(bob, reviewed_once, folder) as made:
        install(Git.discover(made.server.path), sys.executable, SERVER_EVENTS)
        bob.repo().promote("clf@v1", "production", "first")
    return made


@pytest.fixture
def guarded(guarded_once: Reviewed, copied: Copy, tmp_path: Path) -> Iterator[Reviewed]:
    """The team, with the hook on its server and v1 in production."""
    with team_of(copied(guarded_once.bob), guarded_once, tmp_path) as made:
        yield made


def push(one: Workshop, *specs: str) -> str | None:
    """Push by plain git, with force; what the hook said, None where all went in."""
    done = subprocess.run(
        ["git", "push", "--force", "--atomic", "origin", *specs],
        cwd=one.path,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if "gitml: " in line]
    assert lines, done.stderr
    return "\n".join(lines)


def commit_of(one: Workshop, revision: str) -> ObjectId:
    return ObjectId(one.git("rev-parse", f"{revision}^{{commit}}"))


def move(one: Workshop, name: str = "clf@production/2", **changes: Any) -> tuple[str, Promotion]:
    """A promotion of v2 that follows the first move, or differs from that as it is told."""
    git = Git.discover(one.path)
    odb = Odb(git)
    first = ObjectId(one.git("rev-parse", "clf@production/1"))
    before = read_promotion(odb.tag(first), "clf", "production", 1)
    made = Promotion(
        project=before.project,
        model="clf",
        stage="production",
        n=2,
        reason="mine",
        at=timestamp(time.time()),
        version=commit_of(one, "clf@v2"),
        before=before.version,
        previous=first,
    )
    target, tagged = changes.pop("target", None), changes.pop("tagged", None)
    if changes.get("policy"):
        listing = one.git("log", "-1", "--format=%H", "origin/main", "--", "gitml.toml")
        made = replace(made, policy_commit=ObjectId(listing))
    made = replace(made, **changes)
    recorder = Recorder(git, odb, ADA)
    tag = recorder.line_tag(
        name,
        target or made.version or before.version or first,
        "clf",
        codec.to_document(made),
        tagged or seconds_of(made.at),
    )
    recorder.builder.write_loose()
    odb.close()
    return str(tag), made


def test_what_gitml_pushes_goes_in(guarded: Reviewed) -> None:
    bob = guarded.bob
    bob.run("training", {"rate": 0.25})
    bob.repo().push(runs=True)
    bob.repo().promote("clf@v3", "production", "next")
    bob.repo().rollback("clf", "production")
    bob.repo().set_metadata("clf@v3", {"note": 1})
    bob.repo().delete("clf@v2", "wrong")
    bob.repo().clear_stage("clf", "production", "over")
    bob.repo().push()
    assert guarded.holders() == ["clf@v1", "clf@v3", "clf@v1", None]
    alice = guarded.alice.repo()
    alice.fetch()
    assert alice.model("clf").deleted == {2}


def test_a_plain_move_goes_in_and_is_what_gitml_would_make(guarded: Reviewed) -> None:
    tag, _ = move(guarded.bob)
    assert push(guarded.bob, f"{tag}:refs/tags/clf@production/2") is None
    assert guarded.holders() == ["clf@v1", "clf@v2"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n": 3, "name": "clf@production/3"}, "the next move of production is clf@production/2"),
        ({"previous": None}, "the chain is broken"),
        ({"previous": ObjectId("1" * 40)}, "the chain is broken"),
        ({"before": None}, "another holder before"),
        ({"project": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, "another project, 01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ({"at": "2020-01-01T00:00:00.000000Z"}, "older than the move before"),
        ({"name": "clf@production/1"}, "the tag was made as clf@production/1"),
        ({"name": "clf@staging/2"}, "the tag was made as clf@staging/2"),
        ({"model": "reg"}, "holds the record of"),
        ({"stage": "staging"}, "holds the record of"),
        ({"n": 7}, "holds the record of"),
        ({"hold": True}, "an emergency may bring a former holder back"),
        ({"hold": True, "restores": 1}, "clf@production/1 did not make that version the holder"),
        ({"restores": 9}, "clf@production/9, which it restores, is not there"),
        ({"policy": "sha256:00"}, "judged by another policy"),
        ({"at": timestamp(time.time() + 90000)}, "is yet to come"),
        ({"tagged": time.time() - 90000}, "its tag has another date than it names"),
    ],
)
def test_a_move_that_does_not_follow_is_refused(
    guarded: Reviewed, changes: dict[str, Any], said: str
) -> None:
    n = changes.get("n", 2) if "name" in changes and "n" in changes else 2
    tag, _ = move(guarded.bob, **changes)
    words = push(guarded.bob, f"{tag}:refs/tags/clf@production/{n}")
    assert words is not None
    assert said in words
    assert guarded.holders() == ["clf@v1"]


def test_a_move_to_what_is_no_version_is_refused(guarded: Reviewed) -> None:
    bob = guarded.bob
    cases = {
        "is no version of clf": commit_of(bob, "HEAD"),
        "has no number here: push the version first": None,
        "it tags another commit": commit_of(bob, "clf@v1"),
    }
    draft = bob.run("training", {"rate": 0.15}).model_version
    assert draft is not None
    cases["has no number here: push the version first"] = draft.id
    for said, commit in cases.items():
        given = {"target": commit} if "tags another" in said else {"version": commit}
        tag, _ = move(bob, **given)
        words = push(bob, f"{tag}:refs/tags/clf@production/2")
        assert words is not None
        assert said in words
    lightweight = push(bob, "clf@v2^{commit}:refs/tags/clf@production/2")
    assert "it is no annotated tag" in str(lightweight)


def test_a_deleted_version_is_not_promoted_and_its_number_not_given_again(
    guarded: Reviewed,
) -> None:
    bob = guarded.bob
    bob.repo().delete("clf@v2", "wrong")
    tag, _ = move(bob)
    assert "clf@v2 is deleted" in str(push(bob, f"{tag}:refs/tags/clf@production/2"))
    bob.git("-c", "tag.gpgSign=false", "tag", "-a", "-m", "x", "-f", "clf@v2", "clf@v1^{commit}")
    guarded.server.git("update-ref", "-d", "refs/tags/clf@v2")
    words = push(bob, "refs/tags/clf@v2")
    assert "its number is not given again" in str(words)


_MEETING = """\
#!/bin/sh
touch {place}/$$
until [ $(ls {place} | wc -l) -eq 2 ]; do :; done
"""
"""A hook that lets nothing in before another push has been judged as well."""


def test_a_deletion_and_a_promotion_that_arrive_at_once_are_told_from_each_other(
    guarded: Reviewed, tmp_path: Path
) -> None:
    """Each was right when it was judged, on a server that does not let one wait for the other."""
    hook = guarded.server.path / "hooks" / "pre-receive"
    hook.write_text(hook.read_text().replace("GITML_RECEIVER=$PPID", ""))
    (tmp_path / "met").mkdir()
    meeting = guarded.server.path / "hooks" / "update"
    meeting.write_text(_MEETING.format(place=tmp_path / "met"))
    meeting.chmod(0o755)
    bob, alice = guarded.bob, guarded.alice
    alice.repo().fetch()
    tag, _ = move(bob)
    with ThreadPoolExecutor() as both:
        promoted = both.submit(push, bob, f"{tag}:refs/tags/clf@production/2")
        alice.repo().delete("clf@v2", "wrong")
        assert promoted.result(20) is None
    meeting.unlink()
    for one in (bob, alice):
        one.repo().fetch()
        with pytest.raises(NameNotFound, match="clf@v2 holds production and is deleted"):
            one.repo().version("clf@production")
        with pytest.raises(NotTrusted, match="holds production and is deleted") as caught:
            one.repo().verify("clf@production")
        assert "`gitml stage clear clf production" in str(caught.value.hint)
        assert [problem.kind for problem in one.problems()] == ["deleted-holder"]
    alice.repo().promote("clf@v1", "production", "back")
    bob.repo().fetch()
    assert bob.repo().verify("clf@production").links[-1].what == "clf@v1"
    assert bob.problems() == []


def test_a_move_of_an_alias_is_made_once_too(guarded: Reviewed) -> None:
    bob = guarded.bob
    bob.repo().put_alias("clf@v1", "champion")
    bob.repo().push()
    bob.repo().put_alias("clf@v2", "champion")
    bob.repo().push()
    assert bob.git("rev-parse", "clf@alias/champion/2") in guarded.server.refs("refs/tags").values()
    name = "refs/tags/clf@alias/champion"
    assert "neither moved nor removed" in str(push(bob, f":{name}/2"))
    assert "the tag was made as" in str(push(bob, f"{name}/2:{name}/3"))
    bob.git("tag", "-a", "-m", "mine", "clf@alias/best/1", "clf@v1^{commit}")
    assert push(bob, "refs/tags/clf@alias/best/1") is not None


@pytest.mark.parametrize("name", ["clf@v1", "clf@production/1"])
def test_what_was_made_is_neither_moved_nor_removed(guarded: Reviewed, name: str) -> None:
    other = guarded.bob.git("rev-parse", "clf@v2")
    for spec in (f":refs/tags/{name}", f"{other}:refs/tags/{name}", f"HEAD:refs/tags/{name}"):
        words = push(guarded.bob, spec)
        assert "made once, and neither moved nor removed" in str(words)
    assert guarded.server.git("rev-parse", name) == guarded.bob.git("rev-parse", name)


def test_a_tag_by_hand_is_no_move_and_keeps_none_from_being_made(guarded: Reviewed) -> None:
    bob = guarded.bob
    bob.git("tag", "-a", "-m", "mine", "clf@staging", "clf@v1^{commit}")
    words = str(push(bob, "refs/tags/clf@staging"))
    assert "it would be in the way of clf@staging/1, the first move of a stage" in words
    assert push(bob, "clf@v1:refs/tags/clf@1.2.3", "clf@v1:refs/tags/tool@qa") is None
    # One that was there before the hook can go, as nothing else of a stage can.
    guarded.server.git("tag", "clf@production/2", "clf@v1^{commit}")
    assert "clf@production/2" in str(push(bob, f"{move(bob)[0]}:refs/tags/clf@production/2"))
    assert push(bob, ":refs/tags/clf@production/2") is None
    assert push(bob, f"{move(bob)[0]}:refs/tags/clf@production/2") is None
    assert "neither moved nor removed" in str(push(bob, ":refs/tags/clf@production/2"))


def test_a_revocation_is_not_taken_back(guarded: Reviewed) -> None:
    bob = guarded.bob
    version = commit_of(bob, "clf@v2").short
    name = f"clf@revoked/{version}"
    bob.git("tag", "-a", "-m", "x", name, "clf@v2^{commit}")
    assert push(bob, f"refs/tags/{name}") is not None  # it would keep the true one out for ever
    bob.git("tag", "-d", name)
    bob.repo().revoke("clf@v2", "wrong")
    true = bob.git("rev-parse", name)
    assert "the tag was made as" in str(push(bob, f"{true}:refs/tags/clf@revoked/{'1' * 12}"))
    assert "neither moved nor removed" in str(push(bob, f":refs/tags/{name}"))
    assert "neither moved nor removed" in str(push(bob, f"HEAD:refs/tags/{name}"))
    assert "it is no annotated tag" in str(push(bob, "HEAD:refs/tags/clf@revoked/1123456789ab"))


def test_numbers_are_tags_of_versions(guarded: Reviewed) -> None:
    bob = guarded.bob
    bob.git("tag", "-a", "-m", "x", "clf@v7", "HEAD")
    assert "is no version of clf" in str(push(bob, "refs/tags/clf@v7"))
    bob.git("tag", "-a", "-m", "x", "reg@v1", "clf@v1^{commit}")
    assert "is a version of clf, not of reg" in str(push(bob, "refs/tags/reg@v1"))
    renamed = bob.git("rev-parse", "clf@v2")
    assert "the tag was made as clf@v2" in str(push(bob, f"{renamed}:refs/tags/clf@v9"))


def test_no_number_is_far_off(guarded: Reviewed) -> None:
    """The highest one would leave none to be given."""
    bob = guarded.bob
    bob.git("tag", "-a", "-m", "x", "clf@v999999999", "clf@v2^{commit}")
    assert "the numbers of clf go on from 2" in str(push(bob, "refs/tags/clf@v999999999"))


def test_a_stage_that_differs_only_in_case_is_refused(guarded: Reviewed) -> None:
    """Its moves would meet no policy."""
    tag, _ = move(
        guarded.bob, "clf@Production/1", stage="Production", n=1, previous=None, before=None
    )
    words = str(push(guarded.bob, f"{tag}:refs/tags/clf@Production/1"))
    assert "differs only in case from `production`" in words


def test_nobody_waits_in_the_past(guarded: Reviewed) -> None:
    """A week in staging takes a week, whatever the first move there says of its date."""
    guarded.policy('[{ passed = "staging", for = "7d" }]')
    at = timestamp(time.time() - 8 * 86400)
    given = {"stage": "staging", "n": 1, "previous": None, "before": None, "at": at}
    tag, _ = move(guarded.bob, "clf@staging/1", **given)
    words = str(push(guarded.bob, f"{tag}:refs/tags/clf@staging/1"))
    assert "and was not pushed then" in words


def test_a_branch_that_was_pushed_back_is_no_way_to_an_older_policy(guarded: Reviewed) -> None:
    bob = guarded.bob
    guarded.policy('[{ metric = "accuracy", min = 0.1 }]')
    old = bob.git("rev-parse", "HEAD")
    text = (bob.path / "gitml.toml").read_text()
    guarded.merge(text.replace("min = 0.1", "min = 0.9"), "stricter", "gitml.toml")
    bob.repo().promote("clf@v2", "production", "better")
    assert push(bob, f"+{old}:refs/heads/main") is None
    bob.git("fetch", "--quiet")
    last = ObjectId(bob.git("rev-parse", "clf@production/2"))
    bob.git("reset", "--quiet", "--hard", old)
    digest = bob.repo()._policies.stages["production"].digest
    after = {"n": 3, "previous": last, "before": commit_of(bob, "clf@v2"), "policy": digest}
    tag, _ = move(bob, "clf@production/3", version=commit_of(bob, "clf@v1"), **after)
    words = str(push(bob, f"{tag}:refs/tags/clf@production/3"))
    assert "an older policy than the move before" in words
    other, _ = move(
        bob,
        "clf@production/3",
        version=commit_of(bob, "clf@v1"),
        policy_commit=ObjectId("1" * 40),
        **after,
    )
    words = str(push(bob, f"{other}:refs/tags/clf@production/3"))
    assert "names no commit of its policy that is here" in words


def test_a_tombstone_tells_the_truth(guarded: Reviewed) -> None:
    bob = guarded.bob
    git = Git.discover(bob.path)
    odb = Odb(git)
    project = bob.repo().config.project
    cases = [
        (1, commit_of(bob, "clf@v1"), "clf@v1 holds production"),
        (2, commit_of(bob, "clf@v1"), "clf@v2 is not the version that it names"),
        (5, commit_of(bob, "clf@v2"), "clf@v5 is not the version that it names"),
    ]
    for number, version, said in cases:
        stone = Tombstone(project, "clf", number, version, "x", timestamp(time.time()))
        recorder = Recorder(git, odb, ADA)
        name = f"clf@deleted/{number}"
        tag = recorder.line_tag(name, version, "x", codec.to_document(stone), time.time())
        recorder.builder.write_loose()
        assert said in str(push(bob, f"{tag}:refs/tags/{name}"))
    odb.close()


def test_several_moves_in_one_push_are_judged_in_their_order(guarded: Reviewed) -> None:
    bob = guarded.bob
    second, made = move(bob)
    third, _ = move(
        bob,
        "clf@production/10",
        n=10,
        previous=ObjectId(second),
        before=made.version,
        version=commit_of(bob, "clf@v1"),
    )
    specs = [f"{third}:refs/tags/clf@production/10", f"{second}:refs/tags/clf@production/2"]
    assert "the next move of production is clf@production/3" in str(push(bob, *specs))
    third, _ = move(
        bob,
        "clf@production/3",
        n=3,
        previous=ObjectId(second),
        before=made.version,
        version=commit_of(bob, "clf@v1"),
    )
    specs = [f"{third}:refs/tags/clf@production/3", f"{second}:refs/tags/clf@production/2"]
    assert push(bob, *specs) is None
    assert guarded.holders() == ["clf@v1", "clf@v2", "clf@v1"]


def test_the_ref_of_a_stage_follows_its_tags(guarded: Reviewed) -> None:
    bob = guarded.bob
    ref = "refs/gitml/stages/clf/production"
    newest = bob.git("rev-parse", "clf@production/1")
    assert "the newest move of production is" in str(push(bob, f"clf@v2:{ref}"))
    assert push(bob, f"{newest}:{ref}") is None
    assert "the newest move of production is" in str(push(bob, f":{ref}"))
    tag, _ = move(bob)
    assert push(bob, f"{tag}:refs/tags/clf@production/2", f"{tag}:{ref}") is None


def test_records_are_what_they_say(guarded: Reviewed) -> None:
    bob = guarded.bob
    version = commit_of(bob, "clf@v2")
    tree = bob.git("rev-parse", f"{version}^{{tree}}")
    message = bob.git("log", "-1", "--format=%B", str(version))
    parents = bob.git("log", "-1", "--format=%P", str(version)).split()
    hidden = bob.git("commit-tree", tree, "-p", parents[0], "-m", message)  # the run is left out
    name = f"refs/gitml/versions/clf/{hidden[:12]}"
    assert "is not what it says: the record says" in str(push(bob, f"{hidden}:{name}"))
    wrong = f"refs/gitml/versions/clf/{'0' * 12}"
    assert "what it keeps belongs at" in str(push(bob, f"{version}:{wrong}"))
    other = f"refs/gitml/versions/reg/{version.short}"
    assert "is a version of clf, not of reg" in str(push(bob, f"{version}:{other}"))
    bob.git("tag", "-a", "-m", "x", "clf@v8", hidden)
    assert "is not what it says" in str(push(bob, "refs/tags/clf@v8"))


def test_metadata_that_others_added_stays(guarded: Reviewed) -> None:
    bob = guarded.bob
    bob.repo().set_metadata("clf@v1", {"a": 1})
    bob.repo().push()
    bob.git("update-ref", "-d", "refs/notes/gitml")
    bob.repo().set_metadata("clf@v1", {"b": 1})
    words = push(bob, "refs/notes/gitml")
    assert "what others have added stays" in str(words)


def test_settings_and_wishes_of_the_default_branch_can_be_read(guarded: Reviewed) -> None:
    bob = guarded.bob
    bob.write(PATH, "production = v1\n")
    bob.commit("a wish that is none")
    assert "promotions/clf.toml:1: a wish is a line" in str(push(bob, "HEAD:refs/heads/main"))
    assert push(bob, "HEAD:refs/heads/elsewhere") is None
    bob.git("rm", "--quiet", PATH)
    with (bob.path / "gitml.toml").open("a") as file:
        file.write('\n[policy.production]\nrequire = [{ metrik = "accuracy" }]\n')
    bob.commit("a policy that is none")
    words = push(bob, "HEAD:refs/heads/main")
    assert "policy.production.require[1]: no check is called `metrik`" in str(words)


def test_what_is_not_gitmls_is_not_judged(guarded: Reviewed) -> None:
    bob = guarded.bob
    for name in ("v1.0", "pkg@1.2.3", "pkg@v1", "app@v2", "clf@latest-build", "x@y/z"):
        bob.git("tag", "-a", "-m", "x", name, "HEAD")
        assert push(bob, f"refs/tags/{name}") is None
        assert push(bob, f":refs/tags/{name}") is None


def test_the_policy_is_judged_again(guarded: Reviewed) -> None:
    guarded.policy('[{ metric = "accuracy", min = 0.85 }]')
    bob = guarded.bob
    digest = bob.repo()._policies.stages["production"].digest
    unjudged, _ = move(bob)
    assert "another policy" in str(push(bob, f"{unjudged}:refs/tags/clf@production/2"))
    worse, _ = move(bob, policy=digest, version=commit_of(bob, "clf@v1"))
    words = str(push(bob, f"{worse}:refs/tags/clf@production/2"))
    assert "clf@v1 does not meet the policy for production: metric accuracy: 0.8" in words
    good, _ = move(bob, policy=digest)
    assert push(bob, f"{good}:refs/tags/clf@production/2") is None
    assert guarded.holders() == ["clf@v1", "clf@v2"]


def test_the_policy_that_counts_is_the_servers_not_the_pushed_one(guarded: Reviewed) -> None:
    guarded.policy('[{ metric = "accuracy", min = 0.99 }]')
    bob = guarded.bob
    text = (bob.path / "gitml.toml").read_text().replace("min = 0.99", "min = 0.1")
    bob.write("gitml.toml", text)
    bob.commit("a milder policy")
    digest = bob.repo()._policies.stages["production"].digest
    tag, _ = move(bob, policy=digest)
    specs = ["HEAD:refs/heads/main", f"{tag}:refs/tags/clf@production/2"]
    assert "judged by another policy" in str(push(bob, *specs))


def test_by_pull_request_means_that_the_wish_stands_on_the_branch(guarded: Reviewed) -> None:
    guarded.policy('[{ via = "pull-request" }]')
    bob = guarded.bob
    digest = bob.repo()._policies.stages["production"].digest
    direct, _ = move(bob, policy=digest)
    words = str(push(bob, f"{direct}:refs/tags/clf@production/2"))
    assert "via pull-request: direct" in words
    wish = ObjectId(guarded.merge('production = "v2"\n'))
    other, _ = move(bob, policy=digest, wish=commit_of(bob, "HEAD~1"))
    assert "via pull-request" in str(push(bob, f"{other}:refs/tags/clf@production/2"))
    wrong, _ = move(bob, policy=digest, wish=wish, version=commit_of(bob, "clf@v1"))
    assert "via pull-request" in str(push(bob, f"{wrong}:refs/tags/clf@production/2"))
    guarded.alice.repo().apply_stages()
    bob.repo().rollback("clf", "production", "oh", emergency=True)
    assert guarded.holders() == ["clf@v1", "clf@v2", "clf@v1"]
    # What was carried out once is no wish any more: a replay of it is direct.
    git = Git.discover(bob.path)
    last = ObjectId(bob.git("rev-parse", "clf@production/3"))
    odb = Odb(git)
    third = read_promotion(odb.tag(last), "clf", "production", 3)
    odb.close()
    replayed, _ = move(
        bob,
        "clf@production/4",
        n=4,
        policy=digest,
        previous=last,
        before=third.version,
        wish=wish,
    )
    assert "via pull-request: direct" in str(push(bob, f"{replayed}:refs/tags/clf@production/4"))


def test_a_move_is_judged_by_two_gits(
    guarded: Reviewed, sealed_environment: SealedEnvironment
) -> None:
    # Two milliseconds each, and everybody who pushes waits for them.
    tag, _ = move(guarded.bob)
    trace = sealed_environment.home / "trace"
    sealed_environment.set("GIT_TRACE2_EVENT", str(trace))
    assert push(guarded.bob, f"{tag}:refs/tags/clf@production/2") is None
    events = map(json.loads, trace.read_text().splitlines())
    argv = [event["argv"] for event in events if event["event"] == "start"]
    # Ours begin with the settings that the runner gives.
    started = [one[5] for one in argv if one[1:3] == ["-c", "core.fsmonitor=false"]]
    assert sorted(started) == ["cat-file", "for-each-ref"]


def test_the_hook_needs_python_and_git_alone(guarded: Reviewed, tmp_path: Path) -> None:
    """Copied out of a checkout, with a Python that has no other packages."""
    place = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "gitml", place / "gitml", ignore=ignored)
    shutil.copytree(ROOT / "hooks", place / "hooks")
    hook = guarded.server.path / "hooks" / "pre-receive"
    hook.unlink()
    hook.symlink_to(place / "hooks" / "pre-receive")
    guarded.policy('[{ metric = "accuracy", min = 0.85 }, { signed = true }]')
    digest = guarded.bob.repo()._policies.stages["production"].digest
    tag, _ = move(guarded.bob, policy=digest)
    words = push(guarded.bob, f"{tag}:refs/tags/clf@production/2")
    assert "signed: not signed" in str(words)
    assert "-IS" in hook.read_text()


def test_the_file_in_the_repository_is_what_gets_installed() -> None:
    text = (ROOT / "hooks" / "pre-receive").read_text()
    python, source = "$(command -v python3)", '$(dirname "$(dirname "$(readlink -f "$0")")")'
    assert text == server_script("pre-receive", python, source)
    installed = script("pre-receive", "/opt/python").splitlines()
    different = [
        one for one, other in zip(installed, text.splitlines(), strict=True) if one != other
    ]
    assert different == ["python=/opt/python", f"source={ROOT}"]


def test_a_hook_that_was_there_runs_first_and_a_lost_python_lets_nothing_in(
    reviewed: Reviewed,
) -> None:
    server = reviewed.server
    hook = server.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ncat > seen\nread x\nexit 0\n")
    hook.chmod(0o755)
    git = Git.discover(server.path)
    assert [one.doing for one in install(git, sys.executable, SERVER_EVENTS)] == ["install"]
    assert install(git, sys.executable, SERVER_EVENTS) == []
    reviewed.bob.repo().promote("clf@v1", "production", "first")
    assert "refs/tags/clf@production/1" in (server.path / "seen").read_text()
    install(git, "/nowhere/python", SERVER_EVENTS)
    done = subprocess.run(
        ["git", "push", "origin", "HEAD:refs/heads/x"],
        cwd=reviewed.bob.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "gitml is no longer at /nowhere/python: nothing is let in." in done.stderr
