"""The client works where only grpcio and protobuf are, and beside googleapis-common-protos."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.repository import ROOT, own_files

CLIENT = ROOT / "proto"
NEEDED = ("grpcio", "protobuf", "typing_extensions")  # the last is grpcio's own need

EXERCISE = """
import concurrent.futures, importlib, json, pkgutil, sys
import grpc
import afterword
from afterword import errors
from afterword.googleapis import error_details_pb2, money_pb2, status_pb2
from afterword.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc

names = [m.name for m in pkgutil.walk_packages(afterword.__path__, "afterword.")]
for name in names:
    if "._bundled" not in name:
        importlib.import_module(name)

class Service(event_service_pb2_grpc.EventServiceServicer):
    def Publish(self, request, context):
        info = error_details_pb2.ErrorInfo(
            reason="FIELD_REQUIRED", domain="afterword.v1", metadata={"bound": "1"})
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(field="event.contact", description="say whom it concerns")
        status = status_pb2.Status(code=3, message="no contact")
        for detail in (info, bad):
            status.details.add().Pack(detail)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no contact")

server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
event_service_pb2_grpc.add_EventServiceServicer_to_server(Service(), server)
port = server.add_insecure_port("localhost:0")
server.start()
total = money_pb2.Money(currency_code="EUR", units=12)
event = event_pb2.Event(id="1", order=event_pb2.Order(reference="4711", total=total))
with grpc.insecure_channel(f"localhost:{port}") as channel:
    stub = event_service_pb2_grpc.EventServiceStub(channel)
    found = []
    for method in (stub.Publish, stub.ListEventTypes):
        try:
            request = event_service_pb2.PublishRequest(event=event)
            if method is stub.ListEventTypes:
                request = event_service_pb2.ListEventTypesRequest()
            method(request, timeout=10)
        except grpc.RpcError as error:
            problem = errors.details(error)
            found.append([problem.code.name, problem.message, problem.reason, dict(problem.metadata),
                          [[v.field, v.description] for v in problem.field_violations]])
server.stop(0)
print(json.dumps({
    "names": names,
    "official": sorted(n for n in sys.modules if n.startswith(("google.type.", "google.rpc."))),
    "bundled": sorted(n for n in sys.modules if n.startswith("afterword.googleapis._bundled.")),
    "money": type(event.order.total).__module__,
    "found": found,
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's wheel, built from what is under version control, without a network."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in own_files():
        if path.is_relative_to(CLIENT):
            copy = source / path.relative_to(CLIENT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, target], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return next(target.glob("*.whl"))


def environment_with(folder: Path, wheel: Path, distributions: tuple[str, ...]) -> Path:
    """Make an environment that holds these distributions of ours and the wheel; return its python."""
    venv.create(folder, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for name in distributions:
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or ():
            # `google` is shared by many; everything else belongs to one distribution.
            depth = 2 if file.parts[0] == "google" else 1
            top = Path(*file.parts[:depth])
            if ".." in file.parts or top.name == "__pycache__" or (site / top).exists():
                continue
            (site / top).parent.mkdir(exist_ok=True)
            os.symlink(distribution.locate_file(top), site / top)
    python = folder / "bin" / "python"
    install = [
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--python",
        python,
    ]
    done = subprocess.run([sys.executable, *install, wheel], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return python


def exercise(python: Path) -> dict[str, Any]:
    done = subprocess.run(
        [python, "-I", "-W", "error", "-c", EXERCISE], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def assert_works(answer: dict[str, Any]) -> None:
    assert "afterword.v1.event_service_pb2_grpc" in answer["names"]
    assert answer["found"] == [
        ["INVALID_ARGUMENT", "no contact", "FIELD_REQUIRED", {"bound": "1"},
         [["event.contact", "say whom it concerns"]]],
        ["UNIMPLEMENTED", "Method not implemented!", "", {}, []],
    ]  # fmt: skip


def test_works_with_grpcio_and_protobuf_only(wheel: Path, tmp_path: Path) -> None:
    answer = exercise(environment_with(tmp_path, wheel, NEEDED))
    assert_works(answer)
    assert answer["official"] == []
    assert answer["money"] == "afterword.googleapis._bundled.money_pb2"


def test_uses_googleapis_common_protos_where_installed(wheel: Path, tmp_path: Path) -> None:
    answer = exercise(environment_with(tmp_path, wheel, (*NEEDED, "googleapis-common-protos")))
    assert_works(answer)
    assert answer["bundled"] == []
    assert answer["money"] == "google.type.money_pb2"


def test_wheel_holds_the_client_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert len(tops) == 2, tops
    assert {"afterword/py.typed", "afterword/v1/event.proto", "afterword/v1/event_pb2.pyi",
            "afterword/googleapis/money_pb2.pyi"} <= set(names)  # fmt: skip
    metadata = next(name for name in names if name.endswith("/METADATA"))
    requires = [
        line.split(":", 1)[1].strip()
        for line in zipfile.ZipFile(wheel).read(metadata).decode().splitlines()
        if line.startswith("Requires-Dist:")
    ]
    assert {re.split(r"[<>=]", line)[0] for line in requires} == {"grpcio", "protobuf"}
