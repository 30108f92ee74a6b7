"""A step that is called outside of a pipeline is a plain function, and is tested as one."""

from pathlib import Path

import pandas as pd
import pytest
from evaluation import evaluate
from features import clean, split
from training import train

RAW = Path(__file__).parents[1] / "data" / "customers.csv"


@pytest.fixture(scope="module")
def parts() -> tuple[pd.DataFrame, pd.DataFrame]:
    return split(clean(RAW), 4)


def test_customers_with_gaps_are_left_out(tmp_path: Path) -> None:
    raw = tmp_path / "customers.csv"
    raw.write_text(
        "customer,plan,months,orders,complaints,left\nc1,plus,3,,0,no\nc2,plus,3,1,0,no\n"
    )
    assert list(clean(raw)["customer"]) == ["c2"]


def test_nobody_is_learned_from_and_tested_on(parts: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    train_customers, test_customers = parts
    assert not set(train_customers["customer"]) & set(test_customers["customer"])
    assert len(train_customers) > 2 * len(test_customers) > 0


def test_the_model_is_better_than_a_guess(parts: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    train_customers, test_customers = parts
    found = evaluate(train(train_customers, 1.0), test_customers)
    guess = test_customers["left"].value_counts(normalize=True).max()
    assert found["right"] / found["customers"] > guess
