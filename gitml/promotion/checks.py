"""The checks that policies can name, each a rule that is written as its fields say."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from gitml.config import Config
from gitml.entities.ids import ObjectId
from gitml.git.signing import GOOD, NONE
from gitml.history.record import seconds_of
from gitml.promotion.rule import EMERGENCY, EVERY_MOVE, HOLDERS, PULL_REQUEST, ROLL_BACK, Case, Rule
from gitml.promotion.verdict import Check

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
CURRENT = "current"


class Metric(Rule):
    """A metric within bounds, or not worse than that of the version that holds a stage now.

    ``not_worse_than`` is "current", the holder of the stage that is asked for, or another stage;
    ``tolerance`` is how much worse is still good enough, in the metric's own unit.
    """

    metric: str
    min: float | None = None
    max: float | None = None
    not_worse_than: str | None = None
    tolerance: float | None = None

    def complain(self, config: Config) -> str | None:
        """A rule without a bound, or a comparison of which nobody said what better means."""
        if self.min is None and self.max is None and self.not_worse_than is None:
            return "it asks for nothing"
        if self.tolerance is not None and (self.not_worse_than is None or self.tolerance < 0):
            return "tolerance should be a positive number beside not_worse_than"
        if self.not_worse_than is not None and self.metric not in config.directions:
            return f'[metrics.{self.metric}] should say direction = "max" or "min"'
        return None

    def expects(self) -> str:
        """The bounds in words."""
        parts = []
        if self.min is not None:
            parts.append(f"at least {_number(self.min)}")
        if self.max is not None:
            parts.append(f"at most {_number(self.max)}")
        if self.not_worse_than is not None:
            whose = "the current holder's" if self._is_current else f"{self.not_worse_than}'s"
            within = f" by more than {_number(self.tolerance)}" if self.tolerance else ""
            parts.append(f"not worse than {whose}{within}")
        return " and ".join(parts)

    @property
    def _is_current(self) -> bool:
        return self.not_worse_than == CURRENT

    def judge(self, case: Case) -> Check:
        """Compare the metric that the version's steps logged; notes do not count."""
        metrics = case.entry.metrics
        if self.metric not in metrics:
            known = ", ".join(sorted(metrics)[:6]) or "no metric at all"
            return self.failed(f"{case.label} logged no {self.metric}", f"it has {known}")
        value = metrics[self.metric]
        if math.isnan(value):
            return self.failed("NaN", "a value that is no number meets no bound")
        holder = self._holder(case)
        reference = None
        if holder is not None:
            theirs = case.index.version(holder)
            reference = theirs.metrics.get(self.metric) if theirs is not None else None
            if reference is None or math.isnan(reference):
                label = case.state.label(holder)
                return self.failed(_number(value), f"{label} has no {self.metric} to compare with")
        found = self._found(case, value, holder, reference)
        return self.passed(found) if self._meets(case, value, reference) else self.failed(found)

    def _holder(self, case: Case) -> ObjectId | None:
        """The version to compare with."""
        if self.not_worse_than is None:
            return None
        return case.state.holder(case.stage if self._is_current else self.not_worse_than)

    def _meets(self, case: Case, value: float, reference: float | None) -> bool:
        if self.min is not None and value < self.min:
            return False
        if self.max is not None and value > self.max:
            return False
        if reference is None:
            return True
        sign = 1 if case.config.directions[self.metric] == "max" else -1
        # The decimals that people write are no floats: 0.9 - 0.01 is not 0.89.
        slack = (self.tolerance or 0.0) + 1e-12 * abs(reference)
        return sign * value >= sign * reference - slack

    def _found(
        self, case: Case, value: float, holder: ObjectId | None, reference: float | None
    ) -> str:
        if self.not_worse_than is None:
            return _number(value)
        if holder is None or reference is None:
            stage = case.stage if self._is_current else self.not_worse_than
            return f"{_number(value)}; no version holds {stage}"
        return f"{_number(value)}; {case.state.label(holder)} has {_number(reference)}"


class Passed(Rule):
    """The version has held another stage before, if asked for so long: ``for`` is like "7d"."""

    passed_: str
    for_: str | None = None

    def complain(self, config: Config) -> str | None:
        """A time that is none."""
        if self.for_ is not None and _seconds(self.for_) is None:
            return 'for should be a time like "12h", "7d" or "2w"'
        return None

    def expects(self) -> str:
        """The stage, and for how long."""
        return f"held {self.passed_}" + (f" for {self.for_}" if self.for_ else "")

    def judge(self, case: Case) -> Check:
        """Add up the times for which the version held the stage."""
        events = case.state.stages.get(self.passed_, ())
        case.state.refuse_broken(self.passed_)
        held, ever = 0.0, False
        for at, event in enumerate(events):
            if event.promotion.version != case.version:
                continue
            ever = True
            after = events[at + 1 :]
            end = seconds_of(after[0].promotion.at) if after else case.now
            held += max(0.0, end - seconds_of(event.promotion.at))
        if not ever:
            way = f"`gitml promote {case.label} {self.passed_} -m WHY`"
            return self.failed(f"never held {self.passed_}", way)
        found = f"held it for {_time(held)}"
        wanted = _seconds(self.for_) if self.for_ else None
        return self.failed(found) if wanted and held < wanted else self.passed(found)


class Card(Rule):
    """Fields of the model card that have to be filled: the description, or keys of metadata."""

    card: tuple[str, ...]

    def expects(self) -> str:
        """The fields."""
        return f"the model card says {_listed(self.card)}"

    def judge(self, case: Case) -> Check:
        """Look at the version's record, and at what was noted on it later."""
        record = case.entry.record
        said = {"description": record.description, **(record.card or {})}
        known = {**record.metadata, **said, **case.noted}
        missing = [one for one in self.card if known.get(one) in (None, "", [], {})]
        if not missing:
            return self.passed(f"{len(self.card)} of {len(self.card)}")
        found = f"nothing is said of {_listed(missing)}"
        way = f"`gitml metadata set {case.label} {missing[0]}=…`"
        return self.failed(found, 'Model(description="…")' if missing == ["description"] else way)


class LineageIs(Rule):
    """Every record that the version was made of is whole.

    "clean" wants no snapshot among them, "signed" that a known key signed the runs and versions.
    """

    lineage: str
    moves = HOLDERS

    def complain(self, config: Config) -> str | None:
        """A word that is none of these."""
        known = ("complete", "clean", "signed")
        return None if self.lineage in known else 'it is "complete", "clean" or "signed"'

    def expects(self) -> str:
        """What it has to be."""
        return f"a lineage that is {self.lineage}"

    def judge(self, case: Case) -> Check:
        """Read every record again, and compare it with its parents: none may be left out."""
        if self.lineage == "signed":
            return self._signed(case)
        from gitml.history.check import check_lineage  # what it stands on takes a server 30 ms

        found = check_lineage(case.git, case.odb, case.version)
        for problem in found.problems:
            return self.failed(f"{problem.what}: {problem.detail}", "`gitml fsck` lists all")
        for commit in found.checked if self.lineage == "clean" else ():
            step, run = case.index.step(commit), case.index.run(commit)
            code = step.record.code if step else run.record.code if run else None
            if code is not None and code.snapshot:
                return self.failed(f"{commit.short} ran code that was not committed")
        return self.passed(f"{len(found.checked)} records")

    def _signed(self, case: Case) -> Check:
        """Look at the signatures of all runs and versions below."""
        from gitml.promotion.roots import look_below

        if case.evidence.signers is None:
            return self.unknown("nobody has looked")
        below = look_below(case.git, case.version, "version", case.evidence.signers())
        if below.problem is not None:
            return self.failed(f"{below.problem.what}: {below.problem.detail}")
        if below.unsigned is not None:
            why = f"{below.unsigned.name} is {below.unsigned.signature.words}"
            return self.failed(why, "`git config gitml.signRuns true` signs runs from now on")
        return self.passed(f"{len(below.signed)} of {below.records} records are runs and versions")


class Has(Rule):
    """The version descends from the commit of this id: the code with the fix, the agreed data."""

    has: str
    moves = HOLDERS

    def complain(self, config: Config) -> str | None:
        """A name that may mean another commit tomorrow."""
        return None if re.fullmatch("[0-9a-f]{40}", self.has) else "it is a full commit id"

    def expects(self) -> str:
        """The commit."""
        return f"made with {self.has[:12]}"

    def judge(self, case: Case) -> Check:
        """Ask git; a commit that is not here is nobody's ancestor."""
        if _descends(case, self.has):
            return self.passed("it is an ancestor")
        return self.failed("it is no ancestor", f"`gitml lineage {case.label}` shows what is")


class Lacks(Rule):
    """The version descends from no commit of this id: code with a bug, data without consent."""

    lacks: str
    moves = HOLDERS

    def complain(self, config: Config) -> str | None:
        """A name that may mean another commit tomorrow."""
        return None if re.fullmatch("[0-9a-f]{40}", self.lacks) else "it is a full commit id"

    def expects(self) -> str:
        """The commit."""
        return f"nothing made with {self.lacks[:12]}"

    def judge(self, case: Case) -> Check:
        """Ask git; a commit that a whole clone does not have is nobody's ancestor."""
        if case.odb.resolve(self.lacks) is None:
            return self.passed("no such commit here")
        if _descends(case, self.lacks) is False:
            return self.passed("it is no ancestor")
        return self.failed("it is an ancestor")


class StoredOn(Rule):
    """Every byte that the version and its ancestors name is on a remote, looked at now."""

    stored_on: str
    moves = HOLDERS

    def complain(self, config: Config) -> str | None:
        """A remote that everybody knows is named; one of a single clone will not do."""
        known = ", ".join(sorted(config.remotes)) or "none"
        missing = f"no remote is called {self.stored_on!r}; [remotes] has {known}"
        return None if self.stored_on in config.remotes else missing

    def expects(self) -> str:
        """Where."""
        return f"all bytes on {self.stored_on}"

    def judge(self, case: Case) -> Check:
        """Ask the remote for every object, down to the last part."""
        if case.evidence.absent is None:
            return self.unknown("nobody has looked")
        url = case.config.remotes[self.stored_on]
        lacks = case.evidence.absent(self.stored_on, url, case.version)
        if not lacks:
            return self.passed("all are there")
        shown = ", ".join([*lacks[:3], *(["…"] if len(lacks) > 3 else [])])
        return self.failed(
            f"{len(lacks)} objects are not there: {shown}", "`gitml push` sends them"
        )


class Bytes(Rule):
    """Every byte of the version's artifacts is read when it is promoted, and is what it should be.

    Without the rule what is here is read as far as that takes no time.
    """

    bytes: str
    moves = HOLDERS

    def complain(self, config: Config) -> str | None:
        """The one word that it may say."""
        return None if self.bytes == "verified" else 'it is "verified"'

    def expects(self) -> str:
        """That they are read."""
        return "the bytes of its artifacts, read now"

    def judge(self, case: Case) -> Check:
        """Read them; what is on a remote alone is brought for it."""
        if case.evidence.look is None:
            return self.unknown("nobody has looked")
        artifacts = case.entry.record.artifacts
        names = {one.output.digest: one.name for one in artifacts}
        looked = case.evidence.look([one.output for one in artifacts], True)
        bad = [names[one] for one in (*looked.damaged, *looked.lost)]
        if bad:
            return self.failed(f"not whole: {', '.join(bad)}", "`gitml fsck` says what is lost")
        if looked.trouble:
            return self.unknown(looked.trouble)
        return self.passed(", ".join(names.values()) or "it has none")


class Command(Rule):
    """A program of the project's own agrees, by ending with 0; its last line is what it found.

    It runs in the root of the checkout, with the version in GITML_VERSION, its commit in
    GITML_COMMIT and the stage in GITML_STAGE.
    """

    command: tuple[str, ...]

    def check_name(self) -> str:
        """The word and the program."""
        return f"command {' '.join(self.command)}"

    def expects(self) -> str:
        """What it has to do."""
        return "exit code 0"

    def judge(self, case: Case) -> Check:
        """Run it where somebody can."""
        if case.evidence.run is None:
            return self.unknown("nobody has run it")
        variables = {
            "GITML_VERSION": case.label,
            "GITML_COMMIT": str(case.version),
            "GITML_STAGE": case.stage,
        }
        code, line = case.evidence.run(self.command, variables)
        if code == 0:
            return self.passed(line or "exit code 0")
        return self.failed(f"{line}, exit code {code}" if line else f"exit code {code}")


class Signed(Rule):
    """The event tag is signed by a key of the project's, perhaps one of somebody of a group."""

    signed: bool
    by: str | None = None
    moves = EVERY_MOVE
    of_tag = True

    def complain(self, config: Config) -> str | None:
        """A group that there is not, or a rule that asks for nothing."""
        if not self.signed:
            return "it asks for nothing"
        return _no_group(config, self.by)

    def expects(self) -> str:
        """By whom."""
        return f"a tag signed by one of {self.by}" if self.by else "a tag signed by a known key"

    def judge(self, case: Case) -> Check:
        """Look at the signature, and at who is in the group."""
        if case.evidence.signature is None:
            return self.unknown("nobody has looked")
        found = case.evidence.signature()
        if found.state != GOOD:
            setting = "`git config user.signingKey` shows which key signs"
            return self.failed(found.words, setting if found.state != NONE else "")
        if self.by is not None and not _is_of(found.who, case.config.groups[self.by]):
            return self.failed(found.words, f"[groups] {self.by} does not list {found.who}")
        return self.passed(found.words)


class Approvals(Rule):
    """So many people of a group agree: on the forge's request, or by commits that they signed.

    Somebody of a group may have several names, ``"ada@example.org ada"``: an address, by which
    ``allowed_signers`` knows the key, and an account. It is one person all the same. With
    ``from = "commits"`` only signatures count, which a server sees for itself.
    """

    approvals: int
    of: str
    from_: str | None = None
    moves = EVERY_MOVE

    def complain(self, config: Config) -> str | None:
        """A group that there is not, or is too small, or another place."""
        if self.from_ not in (None, "forge", "commits"):
            return 'from is "forge" or "commits"'
        missing = _no_group(config, self.of)
        if missing is None and len(config.groups[self.of]) < self.approvals:
            return f"{self.of} has {len(config.groups[self.of])} people"
        return missing

    def check_name(self) -> str:
        """The word and the group."""
        return f"approvals {self.of}"

    def expects(self) -> str:
        """How many, and whose."""
        return f"{self.approvals} of {self.of}"

    def judge(self, case: Case) -> Check:
        """Count the people of the group, whichever of their names agrees."""
        if case.evidence.via == EMERGENCY and case.move == ROLL_BACK:
            return self.passed(EMERGENCY)
        places = [] if self.from_ == "commits" else [case.evidence.approvals]
        places += [] if self.from_ == "forge" else [case.evidence.signed_for]
        asked = [one for one in places if one is not None]
        agreed = [approval for one in asked for approval in one()]
        group = case.config.groups[self.of]
        people = {at for at, one in enumerate(group) for a in agreed if _is_of(a.who, [one])}
        names = ", ".join(f"{one.who} {one.how}" for one in agreed if _is_of(one.who, group))
        if len(people) >= self.approvals:
            return self.passed(names)
        if len(asked) < len(places):
            opens = f"`gitml promote {case.label} {case.stage} --pull-request -m WHY`"
            words = f"approvals come by a pull request: {opens}"
            return self.unknown(names or "nobody has looked", words)
        others = ", ".join(one.who for one in agreed if not _is_of(one.who, group))
        words = f"not of {self.of}: {others}" if others else self._way(case)
        return self.failed(names or "nobody", words)

    def _way(self, case: Case) -> str:
        """How somebody approves."""
        from gitml.promotion.approving import trailer

        if self.from_ == "forge":
            return ""
        said = trailer(case.model, case.stage, case.version)
        return f'`git commit --allow-empty -S -m Approve --trailer "{said}"` approves'


class Via(Rule):
    """The way by which the promotion has to come: ``via = "pull-request"``."""

    via: str
    moves = EVERY_MOVE

    def complain(self, config: Config) -> str | None:
        """A way that there is not."""
        return None if self.via == PULL_REQUEST else f'the only way there is is "{PULL_REQUEST}"'

    def expects(self) -> str:
        """The way."""
        return f"by {self.via}"

    def judge(self, case: Case) -> Check:
        """Ask how it came about."""
        way = case.evidence.via
        if way is None:
            return self.unknown("nobody has looked")
        if way == self.via or (way == EMERGENCY and case.move == ROLL_BACK):
            return self.passed(way)
        opens = f"`gitml promote {case.label} {case.stage} --pull-request -m WHY` opens one"
        return self.failed(way or "direct", opens)


def _descends(case: Case, commit: str) -> bool | None:
    """Whether the version has a commit among its ancestors; None where git cannot tell."""
    asked = ("merge-base", "--is-ancestor", commit, str(case.version))
    code = case.git.process(*asked, env={"GIT_GRAFT_FILE": "/dev/null"}).returncode
    return {0: True, 1: False}.get(code)


def _no_group(config: Config, group: str | None) -> str | None:
    if group is None or group in config.groups:
        return None
    known = ", ".join(sorted(config.groups)) or "none"
    return f"no group is called {group!r}; [groups] has {known}"


def _is_of(who: str, group: Sequence[str]) -> bool:
    return who.casefold() in {name for one in group for name in one.casefold().split()}


def _listed(words: tuple[str, ...] | list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _seconds(text: str) -> float | None:
    found = re.fullmatch(r"([0-9]{1,6})([mhdw])", text)
    return int(found[1]) * _UNITS[found[2]] if found else None


def _time(seconds: float) -> str:
    for unit in ("d", "h", "m"):
        if seconds >= _UNITS[unit]:
            return f"{int(seconds // _UNITS[unit])}{unit}"
    return f"{int(seconds)}s"
