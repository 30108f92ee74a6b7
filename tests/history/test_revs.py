"""Every spelling means one thing, and what means nothing says what there is."""

from __future__ import annotations

import re

import pytest

from gitml.cli.describe import holders
from gitml.cli.documents import model_document
from gitml.entities.ids import ObjectId
from gitml.errors import AmbiguousName, CorruptData, GitmlError, NameNotFound
from gitml.git import refs
from gitml.git.refs import Change
from gitml.history.models import ModelState
from gitml.history.record import version_ref
from gitml.history.revs import Found, stage_changes
from tests.history.ledger import Ledger, Made, digest_of


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """Model ``clf`` with versions 1 to 3; artifacts ``model``, ``features.load``, ``lookup``."""
    for number in (1, 2, 3):
        ledger.version("clf", number)
    ledger.run([ledger.step("load", pipeline="features", content="t")], pipeline="features")
    ledger.save("lookup", "abc")
    return ledger


def state(ledger: Ledger, model: str = "clf") -> ModelState:
    return ledger.names().model(model)


def number(ledger: Ledger, n: int) -> ObjectId:
    return ObjectId(ledger.repository.git("rev-parse", f"clf@v{n}^{{commit}}"))


def failing(ledger: Ledger, text: str) -> GitmlError:
    with pytest.raises(GitmlError) as caught:
        ledger.names().resolve(text)
    return caught.value


def test_a_name_that_is_no_utf_8_means_what_it_means_to_git(filled: Ledger) -> None:
    error = failing(filled, "\udcff")
    assert isinstance(error, NameNotFound) and error.exit_code == 6
    assert filled.index.steps_named("\udcff") == []
    filled.repository.git("tag", "\udcff")
    assert filled.names().resolve("\udcff").commit == filled.code.commit


def test_every_spelling(filled: Ledger) -> None:
    one, two, three = (number(filled, n) for n in (1, 2, 3))
    filled.promote("clf", "production", 1, two, two)
    filled.repository.git("tag", "clf@alias/best", two.hex)
    names = filled.names()
    run = filled.index.runs(pipeline="features")[0].id
    step = filled.index.steps_named("load")[0].id
    digest = digest_of("t").hex
    lookup = digest_of("abc").hex
    head = filled.code.commit
    expected: dict[str, tuple[str, str, ObjectId]] = {
        "clf": ("model", "clf", three),
        "model/clf": ("model", "clf", three),
        "clf@v1": ("version", "clf@v1", one),
        "clf@1": ("version", "clf@v1", one),
        "model/clf@v1": ("version", "clf@v1", one),
        "clf@latest": ("version", "clf@v3", three),
        "clf@production": ("version", "clf@v2", two),
        "clf@best": ("version", "clf@v2", two),
        "clf@alias/best": ("version", "clf@v2", two),
        f"clf@{one.hex[:12]}": ("version", "clf@v1", one),
        f"clf@{one.hex}": ("version", "clf@v1", one),
        "clf@v1:model": ("artifact", "clf@v1:model", one),
        "clf@production:model": ("artifact", "clf@v2:model", two),
        "model/clf@v1:model": ("artifact", "clf@v1:model", one),
        "features.load": ("artifact", f"features.load@{digest[:8]}", step),
        f"features.load@{digest[:8]}": ("artifact", f"features.load@{digest[:8]}", step),
        f"features.load@blake3:{digest}": ("artifact", f"features.load@{digest[:8]}", step),
        "artifact/features.load@latest": ("artifact", f"features.load@{digest[:8]}", step),
        "lookup": ("artifact", f"lookup@{lookup[:8]}", filled.source("abc").commit),
        f"lookup@{lookup[:6]}": ("artifact", f"lookup@{lookup[:8]}", filled.source("abc").commit),
        "features": ("pipeline", "features", run),
        "pipeline/features": ("pipeline", "features", run),
        run.hex[:7]: ("run", run.short, run),
        f"run/{run.hex[:7]}": ("run", run.short, run),
        run.hex: ("run", run.short, run),
        step.hex[:9]: ("step", step.short, step),
        "HEAD": ("commit", head.short, head),
        "main": ("commit", head.short, head),
        "clf@v3^1": ("commit", head.short, head),
        "main@{0}": ("commit", head.short, head),
        "@": ("commit", head.short, head),
    }
    for text, (kind, label, commit) in expected.items():
        found = names.resolve(text)
        assert (found.kind, found.label, found.commit) == (kind, label, commit), text
    found = names.resolve("lookup")
    assert found.output is not None
    assert (found.output.digest, found.output.size) == (digest_of("abc"), 3)
    assert names.resolve("clf@v1").output is None


def test_a_view_does_not_change(filled: Ledger) -> None:
    """A run looks everything up in the view that it was planned with."""
    view = filled.names()
    before = view.resolve("clf@latest").commit
    filled.version("clf", 4)
    filled.promote("clf", "production", 1, before, number(filled, 3))
    filled.index.refresh()
    assert view.resolve("clf@latest").commit == before
    with pytest.raises(NameNotFound):
        view.resolve("clf@production")
    assert filled.names().resolve("clf@latest").commit == number(filled, 4)


def test_one_name_two_things_lists_the_spellings(filled: Ledger) -> None:
    steps = [filled.step("train", artifact="clf")]
    filled.version("clf", 4, steps=steps)
    error = failing(filled, "clf")
    assert isinstance(error, AmbiguousName)
    assert error.message == "`clf` is a model and an artifact"
    assert error.hint == "write `model/clf` or `artifact/clf`"
    error = failing(filled, "clf@latest")
    assert error.hint == "write `model/clf@latest` or `artifact/clf@latest`"
    digest = steps[0].record.outputs[0].digest
    assert filled.names().resolve(f"clf@{digest.short}").kind == "artifact"
    assert filled.names().resolve("clf@v4").kind == "version"
    assert filled.names().resolve("clf@v4:clf").kind == "artifact"
    filled.run([], pipeline="lookup")
    assert failing(filled, "lookup").message == "`lookup` is an artifact and a pipeline"


def test_a_prefix_of_several_lists_them(ledger: Ledger) -> None:
    made: dict[str, list[ObjectId]] = {}
    changes = []
    while not (twins := next((ids for ids in made.values() if len(ids) > 1), [])):
        at = ledger.tick()
        step = ledger.step("s")
        commit = ledger.run([step], publish=False)
        changes.append(Change(f"refs/gitml/runs/p/{int(at)}/{commit.short}", commit, None))
        made.setdefault(commit.hex[:4], []).append(commit)
    ledger.recorder.publish(changes, "runs")
    prefix = twins[0].hex[:4]
    error = failing(ledger, prefix)
    assert isinstance(error, AmbiguousName)
    assert all(one.short in (error.hint or "") for one in twins)
    assert "is not" not in failing(ledger, f"run/{prefix}").message
    assert isinstance(failing(ledger, twins[0].hex[:3]), NameNotFound)


def test_a_digest_of_several_lists_them(ledger: Ledger) -> None:
    steps, seen = list[Made](), dict[str, str]()
    for n in range(10_000):
        head = digest_of(str(n)).hex[:4]
        if head in seen:
            steps = [ledger.step("s", content=c, artifact="x") for c in (seen[head], str(n))]
            break
        seen[head] = str(n)
    ledger.run(steps)
    digits = steps[0].record.outputs[0].digest.hex[:4]
    error = failing(ledger, f"x@{digits}")
    assert isinstance(error, AmbiguousName)
    assert all(s.record.outputs[0].digest.hex[:16] in (error.hint or "") for s in steps)


NOTHING = [
    ("clff", "no model, artifact, pipeline, run or revision is called `clff`", "`clf`"),
    ("clf@v9", "no version of clf is called `v9`", "v3"),
    ("clf@latst", "no version or stage of clf is called `latst`", "`latest`"),
    ("model/clff", "no model is called `clff`", "`clf`"),
    ("artifact/modl", "no artifact is called `modl`", "`model`"),
    ("pipeline/trainin", "no pipeline is called `trainin`", "`training`"),
    ("run/ffffffff", "no run begins with `ffffffff`", "`gitml log`"),
    ("mdl@v1", "no model or artifact is called `mdl`", "`model`"),
    ("clf@v1:modle", "no artifact of clf@v1 is called `modle`", "`model`"),
    ("lookup@ffff", "no version of lookup is called `ffff`", None),
    ("lookup@production", "lookup has no version called `production`", "`gitml artifact list"),
    ("", "no model, artifact, pipeline, run or revision is called ``", None),
    ("-x", "no model, artifact, pipeline, run or revision is called `-x`", None),
    ("clf@", "no version or stage of clf is called ``", None),
]


def test_what_means_nothing_says_what_is_near(filled: Ledger) -> None:
    for text, message, hint in NOTHING:
        error = failing(filled, text)
        assert isinstance(error, NameNotFound)
        assert error.exit_code == 6
        assert error.message == message
        assert (hint or "") in (error.hint or "")


def test_a_vacant_stage_names_the_versions_and_the_command(filled: Ledger) -> None:
    for stage in ("production", "pre-prod"):
        error = failing(filled, f"clf@{stage}")
        assert error.message == (
            f"no version of clf holds `{stage}`; there are: clf@v1, clf@v2, clf@v3"
        )
        assert error.hint == f"`gitml promote clf@v3 {stage} -m WHY`"
    one = number(filled, 1)
    filled.promote("clf", "production", 1, one, one)
    filled.promote("clf", "production", 2, None, one)
    assert "no version of clf holds" in failing(filled, "clf@production").message
    assert state(filled).archived(one)
    assert state(filled).holder("production") is None


def test_reserved_words_are_not_offered_for_promotion(filled: Ledger) -> None:
    for word in ("archived", "deleted", "none", "alias", "v0", "v01", "abc123"):
        error = failing(filled, f"clf@{word}")
        assert isinstance(error, NameNotFound)
        assert "promote" not in (error.hint or "")


def test_an_empty_repository_says_how_to_begin(ledger: Ledger) -> None:
    names = ledger.names()
    assert names.models == ()
    with pytest.raises(NameNotFound) as caught:
        names.model("clf")
    assert "`gitml run`" in (caught.value.hint or "")


def test_drafts_are_the_latest(filled: Ledger) -> None:
    draft = filled.version("clf")
    newer = filled.version("clf")
    found = state(filled)
    assert found.drafts == (draft, newer)
    assert found.latest == newer
    assert found.next_number == 4
    assert found.label(newer) == f"clf@{newer.short}"
    assert filled.names().resolve(f"clf@{newer.short}").commit == newer
    refs.update(filled.git, [Change(version_ref("clf", newer), None, newer)], "delete")
    assert state(filled).latest == draft


def test_an_id_that_begins_with_digits_is_no_number(filled: Ledger) -> None:
    drafts = (filled.version("clf") for _ in range(100))
    draft = next(one for one in drafts if re.match("[1-9][0-9]{3}", one.hex))
    assert filled.names().resolve(f"clf@{draft.hex[:4]}").commit == draft
    assert "no version of clf is called `v9`" in failing(filled, "clf@9").message


def test_a_model_of_drafts_alone_is_a_model(ledger: Ledger) -> None:
    draft = ledger.version("clf")
    names = ledger.names()
    assert names.models == ("clf",)
    assert names.resolve("clf").commit == draft
    assert names.resolve("clf@latest").label == f"clf@{draft.short}"


def test_a_tombstone_hides_a_version_everywhere(filled: Ledger) -> None:
    two, three = number(filled, 2), number(filled, 3)
    filled.promote("clf", "staging", 1, two, two)
    filled.repository.git("tag", "clf@alias/best", two.hex)
    filled.bury("clf", 3, three)
    filled.bury("clf", 2, two)
    found = state(filled)
    assert found.deleted == {2, 3}
    assert found.visible == [number(filled, 1)]
    assert found.latest == number(filled, 1)
    assert found.next_number == 4
    for text in ("clf@v2", "clf@2", "model/clf@v3"):
        assert "is deleted" in failing(filled, text).message
    for text in ("clf@best", f"clf@{two.short}"):
        assert isinstance(failing(filled, text), NameNotFound)
    assert failing(filled, "clf@staging").message == "clf@v2 holds staging and is deleted"
    filled.bury("clf", 1, number(filled, 1))
    assert state(filled).latest is None
    assert failing(filled, "clf@latest").message == "every version of clf is deleted"
    assert filled.names().models == ("clf",)


def test_a_tombstone_hides_the_version_also_where_its_number_is_unknown(filled: Ledger) -> None:
    """A clone that has the draft's ref and the tombstone, and not the tag of the number."""
    three = number(filled, 3)
    filled.bury("clf", 3, three)
    filled.repository.git("tag", "-d", "clf@v3")
    found = state(filled)
    assert three not in found.visible
    assert found.drafts == ()
    assert found.next_number == 4


def test_of_two_numbers_the_lowest_counts(filled: Ledger) -> None:
    one = number(filled, 1)
    committer = filled.odb.commit(one).committer
    tag = filled.recorder.number("clf", 9, one, committer)
    filled.recorder.publish_few([Change("refs/tags/clf@v9", tag, None)], "alias")
    found = state(filled)
    assert found.lowest[one] == 1
    assert found.label(one) == "clf@v1"
    assert found.latest == number(filled, 3)
    assert found.next_number == 10
    assert filled.names().resolve("clf@v9").label == "clf@v1"
    assert found.visible == [number(filled, n) for n in (1, 2, 3)]
    filled.bury("clf", 1, one)
    assert one not in state(filled).visible
    assert "is deleted" in failing(filled, "clf@v9").message


def test_stages_are_read_from_the_tags(filled: Ledger) -> None:
    one, two = number(filled, 1), number(filled, 2)
    filled.promote("clf", "production", 1, one, one)
    filled.promote("clf", "staging", 1, one, one)
    filled.promote("clf", "production", 2, two, two)
    for n in range(3, 12):
        filled.promote("clf", "production", n, (one, two)[n % 2], one)
    found = state(filled)
    assert found.holder("production") == two
    assert [event.promotion.n for event in found.stages["production"]] == list(range(1, 12))
    assert found.held(one) == ["staging"]
    assert not found.archived(one)
    filled.repository.git("update-ref", "-d", "refs/gitml/stages/clf/production")
    assert state(filled).holder("production") == two


# Tags that are not what their names say


def test_a_renamed_event_tag_is_refused_and_spoils_its_stage_alone(filled: Ledger) -> None:
    one, two = number(filled, 1), number(filled, 2)
    first = filled.promote("clf", "production", 1, one, one)
    filled.promote("clf", "production", 2, two, two)
    filled.promote("clf", "staging", 1, two, two)
    filled.repository.git("update-ref", "refs/tags/clf@production/3", first.hex)
    error = failing(filled, "clf@production")
    assert isinstance(error, CorruptData)
    assert error.exit_code == 12
    assert "holds the record of clf@production/1" in error.message
    assert filled.names().resolve("clf@staging").commit == two
    assert filled.names().resolve("clf@v3").kind == "version"
    found = state(filled)
    assert found.held(two) == ["staging"]
    with pytest.raises(CorruptData):
        found.holder("production")
    assert found.trouble("staging") is None
    assert "the record of clf@production/1" in str(found.trouble("production"))
    assert not found.archived(one)  # nobody can tell whether it holds production still
    # What lists the stages of a model says so of this one and shows the others.
    assert "unreadable" in holders(found) and "clf@v2" in holders(found)
    document = model_document(found)
    assert document["stages"] == {"production": None, "staging": "clf@v2"}
    assert list(document["unreadable"]) == ["production"]
    assert [one.name for one in stage_changes(filled.names(), strays=True)] == []


@pytest.mark.parametrize("way", ["lightweight", "free text", "other stage", "later format"])
def test_a_forged_event_is_refused(filled: Ledger, way: str) -> None:
    one = number(filled, 1)
    git = filled.repository.git
    name = "clf@production/1"
    if way == "lightweight":
        git("tag", name, one.hex)
    elif way == "free text":
        git("tag", "-a", name, "-m", "promoted", one.hex)
    elif way == "other stage":
        other = filled.promote("clf", "staging", 1, one, one)
        raw = git("cat-file", "tag", other.hex).replace("tag clf@staging/1", f"tag {name}")
        git("update-ref", f"refs/tags/{name}", git("mktag", text=raw + "\n"))
    else:
        git("tag", "-a", name, "-m", 'clf production 1\n\n{"format": 2}', one.hex)
    assert isinstance(failing(filled, "clf@production"), CorruptData)
    assert filled.names().resolve("clf").kind == "model"


def test_a_forged_number_is_refused(filled: Ledger) -> None:
    one = number(filled, 1)
    git = filled.repository.git
    git("update-ref", "refs/tags/clf@v7", git("rev-parse", "clf@v1"))
    git("tag", "clf@v8", one.hex)
    git("tag", "-a", "clf@v9", "-m", "x", "HEAD")
    other = filled.version("other", 1)
    tag = filled.recorder.number("clf", 10, other, filled.odb.commit(other).committer)
    filled.recorder.publish_few([Change("refs/tags/clf@v10", tag, None)], "x")
    found = state(filled)
    assert set(found.numbers) == {1, 2, 3}
    assert found.latest == number(filled, 3)
    assert found.next_number == 11
    reasons = {
        "clf@v7": "was made as clf@v1",
        "clf@v8": "is not an annotated tag",
        "clf@v9": "is no version of clf",
        "clf@v10": "is no version of clf",
    }
    for text, reason in reasons.items():
        error = failing(filled, text)
        assert isinstance(error, CorruptData)
        assert reason in error.message


def test_a_forged_tombstone_hides_nothing(filled: Ledger) -> None:
    two = number(filled, 2)
    git = filled.repository.git
    git("tag", "clf@deleted/1", number(filled, 1).hex)
    stone = filled.bury("other", 2, two)
    git("update-ref", "refs/tags/clf@deleted/2", stone.hex)
    found = state(filled)
    assert found.deleted == frozenset()
    assert len(found.visible) == 3
    assert set(found.broken) == {"deleted/1", "deleted/2"}


def test_tags_of_other_tools_make_no_model(filled: Ledger) -> None:
    git = filled.repository.git
    for name in ("pkg@v1", "@scope/pkg@v2", "pkg@1.0.0", "clf@2024/01", "clf@release/1.2"):
        git("tag", name)
    git("tag", "-a", "lib@v1", "-m", "a release")
    names = filled.names()
    assert names.models == ("clf",)
    assert names.model("clf").broken == {}
    found = names.resolve("pkg@v1")
    assert found == Found("commit", "pkg@v1", filled.code.commit.short, filled.code.commit)


def test_a_branch_that_looks_like_a_kind_is_a_revision(filled: Ledger) -> None:
    filled.repository.git("branch", "run/fix")
    filled.repository.git("branch", "model/x@y")
    assert filled.names().resolve("run/fix").kind == "commit"
    assert filled.names().resolve("model/x@y").kind == "commit"
