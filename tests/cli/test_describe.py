"""Records as lines: what it takes to describe one."""

from __future__ import annotations

from gitml.cli.describe import describe_run
from gitml.repo import Repo
from gitml.testing.sealed import GitRepository
from tests.history.ledger import Ledger


def test_a_run_of_many_steps_takes_a_few_queries(git_repository: GitRepository) -> None:
    """With ten of them a step, `show` took half a minute for the 10,000 steps of a run."""
    git_repository.write("code.py", "")
    git_repository.commit("code")
    ledger = Ledger.at(git_repository.path)
    run = ledger.run([ledger.step(f"s{number}") for number in range(50)])
    ledger.close()
    repo, asked = Repo(ledger.git), list[str]()
    repo.index.refresh()
    assert repo.index._open is not None
    repo.index._open.set_trace_callback(asked.append)
    lines = list(describe_run(repo, repo.run_of(run)))
    repo.close()
    assert len([line for line in lines if "completed" in line]) == 51
    assert len(asked) < 40
