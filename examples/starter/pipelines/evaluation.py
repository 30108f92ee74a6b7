"""How the newest version does on customers that it has never seen."""

from typing import Annotated

import pandas as pd
from customers import inputs
from sklearn.pipeline import Pipeline

from gitml import Artifact, Model, log_metrics, pipeline, step

NEWEST = Model("churn", version="latest")


@step
def evaluate(model: Pipeline, test_customers: pd.DataFrame) -> Annotated[dict, "evaluation"]:
    """How many it gets right, in all and by plan."""
    right = model.predict(inputs(test_customers)) == test_customers["left"]
    log_metrics({"test_accuracy": round(float(right.mean()), 4)})
    by_plan = right.groupby(test_customers["plan"]).mean().round(4)
    return {"customers": len(right), "right": int(right.sum()), "by_plan": by_plan.to_dict()}


@pipeline(model=NEWEST)
def evaluation() -> None:
    """Test the newest version of churn."""
    evaluate(NEWEST.artifact("model"), Artifact("test_customers"))


if __name__ == "__main__":
    print(evaluation().steps["evaluate"].outputs["evaluation"].load())
