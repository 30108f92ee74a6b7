"""What the three pipelines agree on: which birds count, and what a model sees of them."""

import pandas as pd

MEASUREMENTS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
SPECIES = ["Adelie", "Chinstrap", "Gentoo"]


def measured(birds: pd.DataFrame) -> pd.DataFrame:
    """The birds of which every measurement was taken."""
    return birds.dropna(subset=MEASUREMENTS).reset_index(drop=True)


def inputs(birds: pd.DataFrame) -> pd.DataFrame:
    """What a model sees of each bird: its measurements, and one column for each species."""
    species = {name: (birds["species"] == name).astype(float) for name in SPECIES}
    return birds[MEASUREMENTS].assign(**species)
