"""A classifier that promotes itself when it is good enough, and a pipeline that uses the best."""

from typing import Annotated

from gitml.interop.zenml import (
    ArtifactConfig,
    Client,
    Model,
    get_logger,
    get_step_context,
    log_metadata,
    pipeline,
    step,
)

logger = get_logger(__name__)


@step
def load(rows: int = 40) -> Annotated[dict[str, list[int]], "customers"]:
    months = list(range(rows))
    return {"months": months, "left": [int(one % 7 < 3) for one in months]}


@step(enable_cache=True, settings={"resources": {"cpu_count": 2}})
def train(
    customers: dict[str, list[int]], threshold: int = 3
) -> Annotated[dict[str, int], ArtifactConfig(name="rule", tags=["churn"])]:
    logger.info("training on %d customers", len(customers["left"]))
    return {"threshold": threshold}


@step
def evaluate(customers: dict[str, list[int]], rule: dict[str, int]) -> None:
    pairs = zip(customers["months"], customers["left"], strict=True)
    right = sum((month % 7 < rule["threshold"]) == bool(left) for month, left in pairs)
    accuracy = right / len(customers["left"])
    log_metadata({"accuracy": accuracy, "note": "on the training data"})
    if accuracy > 0.9:
        get_step_context().model.set_stage("production", force=True)


@pipeline(model=Model(name="churn", license="Apache-2.0"), settings={"docker": {"apt": ["x"]}})
def training(rows: int = 40) -> None:
    customers = load(rows)
    rule = train(customers)
    evaluate(customers, rule)


@step
def predict(rule: dict[str, int], month: int) -> Annotated[bool, "prediction"]:
    return month % 7 < rule["threshold"]


@pipeline
def inference(month: int) -> None:
    best = Client().get_model_version("churn", "production")
    predict(best.get_artifact("rule"), month)


if __name__ == "__main__":
    training.with_options(config_path="bad.yaml")()
    run = training.with_options(config_path="train.yaml", run_name="best")()
    client = Client()
    best = client.get_model_version("churn", "production")
    print(best.number, best.stage, best.run_metadata["accuracy"], best.run_metadata["note"])
    print(best.get_artifact("rule").load(), run.steps["train"].output.load())
    print(inference(month=2).steps["predict"].outputs["prediction"].load())
    print(client.get_model_version("churn", 1).stage)
    first = client.get_model_version("churn", 1)
    try:
        first.set_stage("production")
    except Exception as error:
        print(error)
    first.set_stage("production", force=True)
    print(client.get_model_version("churn", "production").number)
