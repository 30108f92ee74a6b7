"""From the raw CSV to the table that the other pipelines start from."""

from pathlib import Path
from typing import Annotated

import pandas as pd
from birds import measured

from gitml import data, pipeline, step


@step
def clean(raw: Path) -> Annotated[pd.DataFrame, "features"]:
    """The birds that were measured."""
    return measured(pd.read_csv(raw))


@pipeline
def features() -> None:
    """Clean the raw measurements."""
    clean(data("data/penguins.csv"))


if __name__ == "__main__":
    features()
