"""From the raw CSV to the two tables that the other pipelines use."""

from pathlib import Path
from typing import Annotated

import pandas as pd
from customers import known

from gitml import data, log_metrics, pipeline, step


@step
def clean(raw: Path) -> pd.DataFrame:
    """The customers that can be learned from."""
    customers = pd.read_csv(raw)
    kept = known(customers)
    log_metrics({"kept": len(kept), "dropped": len(customers) - len(kept)})
    return kept


@step
def split(
    customers: pd.DataFrame, every: int
) -> tuple[Annotated[pd.DataFrame, "train_customers"], Annotated[pd.DataFrame, "test_customers"]]:
    """Those to learn from, and one of ``every`` to be tested on: by number, so never by chance."""
    number = customers["customer"].str.removeprefix("c").astype(int)
    test = number % every == 0
    return customers[~test].reset_index(drop=True), customers[test].reset_index(drop=True)


@pipeline
def features(every: int = 4) -> None:
    """Clean the customers, and keep some for tests."""
    split(clean(data("data/customers.csv")), every)


if __name__ == "__main__":
    features()
