"""Tickets are sorted into queues: classes of its own, hooks, retries, and a candidate by name."""

import json
import os
from typing import Annotated, Any

from gitml.interop.zenml import (
    ArtifactType,
    BaseMaterializer,
    Client,
    DockerSettings,
    Model,
    ResourceSettings,
    Schedule,
    StepRetryConfig,
    get_pipeline_context,
    get_step_context,
    log_metadata,
    pipeline,
    step,
)

docker = DockerSettings(requirements=["numpy"], required_integrations=["sklearn"])


class Router:
    """Words that lead to a queue."""

    def __init__(self, words: dict[str, str]) -> None:
        self.words = words

    def queue(self, text: str) -> str:
        return next((queue for word, queue in self.words.items() if word in text), "other")


class RouterMaterializer(BaseMaterializer):
    ASSOCIATED_TYPES = (Router,)
    ASSOCIATED_ARTIFACT_TYPE = ArtifactType.MODEL

    def save(self, data: Router) -> None:
        with self.artifact_store.open(os.path.join(self.uri, "words.json"), "w") as file:
            json.dump(data.words, file, sort_keys=True)

    def load(self, data_type: type[Any]) -> Router:
        with self.artifact_store.open(os.path.join(self.uri, "words.json"), "r") as file:
            return data_type(json.load(file))

    def extract_metadata(self, data: Router) -> dict[str, Any]:
        return {"words": len(data.words)}


attempts = []


def tell(exception: BaseException) -> None:
    print("failed:", get_step_context().step_name, type(exception).__name__)


def ended() -> None:
    print("ended:", get_step_context().step_name)


@step(retry=StepRetryConfig(max_retries=2, delay=0, backoff=1), on_failure=tell)
def fetch(failures: int) -> Annotated[list[str], "tickets"]:
    attempts.append(1)
    if len(attempts) <= failures:
        raise ConnectionError("the help desk does not answer")
    return ["printer on fire", "no salary", "a question"]


@step(
    output_materializers=RouterMaterializer,
    on_end=ended,
    settings={"resources": ResourceSettings()},
)
def learn(tickets: list[str], least: int = 1) -> Annotated[Router, "router"]:
    log_metadata({"tickets": len(tickets), "least": least})
    return Router({"printer": "hardware", "salary": "people"})


@step
def announce() -> None:
    print("announced")


@step
def route(router: Router, text: str) -> Annotated[str, "queue"]:
    return router.queue(text)


@pipeline(model=Model("router", version="release-candidate"), settings={"docker": docker})
def training(failures: int = 0) -> None:
    learn(fetch(failures))
    announce(after=["learn"])


@pipeline(model=Model("router", version="release-candidate"))
def routing(text: str) -> None:
    route(get_pipeline_context().model.get_artifact("router"), text)


if __name__ == "__main__":
    run = training(failures=2)
    client = Client()
    print(len(attempts), run.model_version.number, list(run.steps))
    changed = training.with_options(
        steps={"learn": {"parameters": {"least": 2}}, "announce": {"enable_cache": False}},
        schedule=Schedule(cron_expression="0 3 * * *"),
    )()
    candidate = client.get_model_version("router", "release-candidate")
    print(changed.model_version.number, candidate.number, candidate.run_metadata["least"])
    found = client.get_pipeline_run(changed.id).steps["learn"].outputs["router"]
    print(
        found.load().queue("my salary"),
        found[0].run_metadata["words"],
        found.id == candidate.get_artifact("router").id,
    )
    routed = routing(text="the printer again")
    print(routed.steps["route"].output.load())
    attempts.clear()
    try:
        training(failures=9)
    except Exception as error:
        print(len(attempts), error)
    print([one.number for one in client.list_model_versions("router")])
