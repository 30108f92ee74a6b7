"""Artifacts handed between pipelines: by id, from the body, through the model."""

from typing import Annotated

import numpy as np

from gitml.interop.zenml import (
    Client,
    ExternalArtifact,
    Model,
    get_pipeline_context,
    pipeline,
    step,
)


@step
def clean(series: np.ndarray, factor: int) -> Annotated[np.ndarray, "series"]:
    return series[series > 0] * factor


@step
def fit(series: np.ndarray) -> Annotated[float, "mean"]:
    return float(series.mean())


@step
def forecast(mean: float, days: int) -> Annotated[list[float], "forecast"]:
    return [mean] * days


@pipeline
def preparation() -> None:
    clean(ExternalArtifact(value=np.array([1, -1, 3])), ExternalArtifact(value=2))


@pipeline(model=Model(name="forecaster"))
def fitting(series_id: str) -> None:
    fit(Client().get_artifact_version(series_id))


@pipeline(model=Model(name="forecaster", version="latest"))
def forecasting(days: int = 2) -> None:
    forecast(get_pipeline_context().model.get_artifact("mean"), days)


if __name__ == "__main__":
    prepared = preparation()
    again = preparation()
    print(prepared.steps["clean"].status, again.steps["clean"].status)
    fitted = fitting(series_id=prepared.steps["clean"].output.id)
    print(fitted.model_version.number, fitted.model_version.get_artifact("mean").load())
    print(forecasting().steps["forecast"].output.load())
