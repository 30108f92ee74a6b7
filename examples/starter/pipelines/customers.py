"""What the pipelines agree on: which customers count, and what a model sees of them."""

import pandas as pd

NUMBERS = ["months", "orders", "complaints"]
PLANS = ["basic", "plus", "team"]


def known(customers: pd.DataFrame) -> pd.DataFrame:
    """The customers of whom every number is known."""
    return customers.dropna(subset=NUMBERS).reset_index(drop=True)


def inputs(customers: pd.DataFrame) -> pd.DataFrame:
    """What a model sees of each customer: the numbers, and a column for each plan."""
    plans = {plan: (customers["plan"] == plan).astype(float) for plan in PLANS}
    return customers[NUMBERS].assign(**plans)
