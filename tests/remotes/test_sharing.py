"""Two clones and a bucket, by the commands alone: credentials come from the environment."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from gitml.testing.sealed import GitRepository, Project, SealedEnvironment
from tests.servers import S3Server


@pytest.fixture
def server(
    s3_server: S3Server, project: Project, tmp_path: Path, sealed_environment: SealedEnvironment
) -> S3Server:
    bare = GitRepository(tmp_path / "server.git")
    bare.path.mkdir()
    bare.git("init", "--quiet", "--bare")
    project.git("remote", "add", "origin", bare.path.as_uri())
    project.gitml("remote", "add", "lake", s3_server.url(secrets.token_hex(4)))
    for name, value in s3_server.environment().items():
        sealed_environment.set(name, value)
    return s3_server


def test_data_goes_to_a_bucket_and_comes_from_there(
    server: S3Server, project: Project, tmp_path: Path, sealed_environment: SealedEnvironment
) -> None:
    data = os.urandom(20 << 20)
    project.write("data/large.bin", data)
    project.write("data/small.txt", "small\n")
    project.gitml("add", "data")
    project.commit("data")
    sealed_environment.set("AWS_SECRET_ACCESS_KEY", "not the secret")
    refused = project.gitml("push", status=4)
    assert "does not accept the credentials" in refused.err
    assert "Caused by: the service" in refused.err
    sealed_environment.set("AWS_SECRET_ACCESS_KEY", server.secret)
    assert "21 MB of data" in project.gitml("push").out
    assert "Nothing to do" in project.gitml("push").out

    project.git("clone", "--quiet", project.git("remote", "get-url", "origin"), str(tmp_path / "a"))
    alice = Project(tmp_path / "a")
    alice.gitml("init")
    assert (alice.path / "data/large.bin").read_bytes() == data
    assert (alice.path / "data/small.txt").read_text() == "small\n"
