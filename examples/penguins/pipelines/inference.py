"""What the model in production says about the birds whose sex nobody found out."""

from typing import Annotated

import pandas as pd
from birds import inputs
from sklearn.pipeline import Pipeline

from gitml import Artifact, Model, log_metrics, pipeline, step

PRODUCTION = Model("clf", version="production")


@step
def predict(model: Pipeline, features: pd.DataFrame) -> Annotated[pd.DataFrame, "predictions"]:
    """The predicted sex of each bird, with the probability that the model gives it."""
    birds = features[features["sex"].isna()].reset_index(drop=True)
    x = inputs(birds)
    probability = model.predict_proba(x).max(axis=1).round(3)
    log_metrics({"birds": len(birds), "least_certain": float(probability.min())})
    return birds.assign(sex=model.predict(x), probability=probability)


@pipeline(model=PRODUCTION)
def inference() -> None:
    """Predict the sex of the birds for which it is missing."""
    predict(PRODUCTION.artifact("model"), Artifact("features"))


if __name__ == "__main__":
    print(inference().steps["predict"].outputs["predictions"].load().to_string())
