"""Values saved by hand, loaded in a step, and looked at afterwards."""

from typing import Annotated

from gitml.interop.zenml import (
    Client,
    get_step_context,
    load_artifact,
    log_metadata,
    pipeline,
    save_artifact,
    step,
)


@step(experiment_tracker="tracker", step_operator="k8s")
def count(words: list[str]) -> Annotated[dict[str, int], "counts"]:
    stop = load_artifact("stopwords")
    get_step_context().add_output_metadata({"stopwords": len(stop)})
    return {word: words.count(word) for word in words if word not in stop}


@step(enable_cache=False)
def report(counts: dict[str, int]) -> str:
    return ", ".join(sorted(counts))


@pipeline(enable_cache=True)
def counting(words: list[str]) -> None:
    report(count(words))


if __name__ == "__main__":
    saved = save_artifact(["the", "a"], name="stopwords")
    print(Client().get_artifact_version(saved.id).load())
    run = counting(words=["the", "good", "good", "film"])
    last = Client().get_pipeline("counting").last_run
    counted = last.steps["count"].outputs["counts"]
    print(last.id == run.id, last.status, counted.run_metadata["stopwords"])
    print(last.steps["report"].output.load(), counted.load())
    print([one.status for one in counting(words=["the", "good", "good", "film"]).steps.values()])
    log_metadata({"seen": True}, run_id_name_or_prefix=run.id)
    print(Client().get_pipeline_run(run.id).run_metadata["seen"])
