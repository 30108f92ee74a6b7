"""A model that tells the sex of a penguin from its measurements."""

from typing import Annotated

import numpy as np
import pandas as pd
from birds import inputs
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from gitml import Artifact, Model, log_metrics, pipeline, step


@step
def split(
    features: pd.DataFrame,
) -> tuple[Annotated[pd.DataFrame, "train_birds"], Annotated[pd.DataFrame, "test_birds"]]:
    """The birds whose sex is known: some to learn from, and 100 to be tested on."""
    known = features[features["sex"].notna()]
    train, test = train_test_split(known, test_size=100, stratify=known["sex"], random_state=1)
    return train.sort_index(), test.sort_index()


@step
def train(
    birds: pd.DataFrame, learning_rate: float, epochs: int
) -> tuple[Annotated[Pipeline, "model"], Annotated[np.ndarray, "checkpoint"]]:
    """Logistic regression by gradient descent; the checkpoint has the weights of every epoch."""
    scale = StandardScaler()
    classify = SGDClassifier(
        loss="log_loss", learning_rate="constant", eta0=learning_rate, random_state=0
    )
    x, sexes = scale.fit_transform(inputs(birds)), sorted(birds["sex"].unique())
    weights = []
    for _ in range(epochs):
        classify.partial_fit(x, birds["sex"], sexes)
        weights.append(classify.coef_[0].copy())
    loss = log_loss(birds["sex"], classify.predict_proba(x))
    log_metrics({"loss": round(float(loss), 4)})
    return make_pipeline(scale, classify), np.array(weights)


@step
def evaluate(model: Pipeline, birds: pd.DataFrame) -> Annotated[dict, "metrics"]:
    """How many birds that the model has never seen it gets right, in all and by species."""
    right = model.predict(inputs(birds)) == birds["sex"]
    log_metrics({"accuracy": round(float(right.mean()), 4)})
    by_species = right.groupby(birds["species"]).mean().round(4)
    return {"birds": len(birds), "right": int(right.sum()), "by_species": by_species.to_dict()}


@pipeline(model=Model("clf"))
def training(learning_rate: float = 0.001, epochs: int = 20) -> None:
    """Train and evaluate a version of clf."""
    train_birds, test_birds = split(Artifact("features"))
    model, _ = train(train_birds, learning_rate, epochs)
    evaluate(model, test_birds)


if __name__ == "__main__":
    run = training()
    print(run.model_version.label, dict(run.metrics))
