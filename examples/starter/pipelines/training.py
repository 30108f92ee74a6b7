"""A model that tells which customers are about to leave."""

from typing import Annotated

import pandas as pd
from customers import inputs
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from gitml import Artifact, Model, log_metrics, pipeline, step


@step
def train(train_customers: pd.DataFrame, strength: float) -> Annotated[Pipeline, "model"]:
    """Logistic regression; its accuracy is that of five-fold cross-validation."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength))
    x, left = inputs(train_customers), train_customers["left"]
    log_metrics({"accuracy": round(float(cross_val_score(model, x, left).mean()), 4)})
    return model.fit(x, left)


@pipeline(model=Model("churn"))
def training(strength: float = 1.0) -> None:
    """Train a version of churn."""
    train(Artifact("train_customers"), strength)


if __name__ == "__main__":
    run = training()
    print(run.model_version.label, dict(run.metrics))
