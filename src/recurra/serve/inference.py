"""The Open Inference Protocol (KServe v2) under /v2, with Triton's sequence extension: any client of it streams.

A request without `sequence_id` is a whole sequence from the beginning. With one, its rows are the next steps of that
sequence: `sequence_start` begins it anew, `sequence_end` forgets it after the answer. Of a program the input `x` is
FP32 [T, I] (INT64 [T] where it takes whole numbers) and the output `y` FP32 [T, O]; of a model of a task the input
`observations` is BYTES [T], each JSON, and so is the output `answers`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from recurra.serve.access import Access, Guest
from recurra.serve.faults import Fault, ServeError
from recurra.serve.frames import to_json
from recurra.serve.openapi import version
from recurra.serve.rest import body_of, guest_of, refusal, taken
from recurra.serve.served import Served
from recurra.serve.sessions import Sessions

_HEADER = "inference-header-content-length"
_SEQUENCE = "sequence."  # what the names of its sessions begin with
_EXTENSIONS = ["sequence", "binary_tensor_data"]


class Tensor(msgspec.Struct):
    """An input, or a wish for an output."""

    name: str
    shape: list[int] = []
    datatype: str = ""
    parameters: dict[str, Any] = {}
    data: Any = None


class Infer(msgspec.Struct):
    """A request."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[Tensor] = []


_DECODER = msgspec.json.Decoder(Infer)


class Inference:
    """What the paths under /v2 do."""

    def __init__(self, sessions: Sessions, access: Access) -> None:
        self.sessions, self.access = sessions, access

    def routes(self) -> list[Route]:
        """For Starlette."""
        model = "/v2/models/{model}"
        return [
            Route("/v2", self._do(self._server)),
            Route("/v2/health/live", self._do(self._live)),
            Route("/v2/health/ready", self._do(self._ready)),
            *(
                Route(path + ending, self._do(what), methods=[method])
                for path in (model, model + "/versions/{version}")
                for ending, what, method in (
                    ("", self._metadata, "GET"),
                    ("/ready", self._model_ready, "GET"),
                    ("/infer", self._infer, "POST"),
                )
            ),
        ]

    def _do(self, what: Callable[[Guest, Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            try:
                found = await what(guest_of(self.access, request), request)
            except ServeError as refused:
                self.sessions.observed.refused(refused.fault.word)
                answer = refusal(refused)
                said = f"{refused.fault.word}: {refused}"  # this protocol has one text
                return Response(to_json({"error": said}), answer.status_code, _retry(answer), "application/json")
            return found if isinstance(found, Response) else Response(to_json(found), media_type="application/json")

        return handle

    async def _server(self, guest: Guest, request: Request) -> Any:
        return {"name": "recurra", "version": version(), "extensions": _EXTENSIONS}

    async def _live(self, guest: Guest, request: Request) -> Any:
        return {"live": True}

    async def _ready(self, guest: Guest, request: Request) -> Any:
        if self.sessions.draining:
            raise ServeError(Fault.DRAINING, "the server is going down")
        return {"ready": True}

    async def _model_ready(self, guest: Guest, request: Request) -> Any:
        self.sessions.model(request.path_params["model"])
        return {"ready": True}

    async def _metadata(self, guest: Guest, request: Request) -> Any:
        served = self.sessions.model(request.path_params["model"])
        described = served.describe()
        if served.takes_json:
            inputs = {"name": "observations", "datatype": "BYTES", "shape": [-1]}
            outputs = {"name": "answers", "datatype": "BYTES", "shape": [-1]}
        else:
            ids = described["vocabulary"] > 0
            inputs = {
                "name": "x",
                "datatype": "INT64" if ids else "FP32",
                "shape": [-1] if ids else [-1, described["input_size"]],
            }
            outputs = {"name": "y", "datatype": "FP32", "shape": [-1, described["output_size"]]}
        return {
            "name": served.name, "versions": [served.fingerprint.hex()[:12]], "platform": "recurra",
            "inputs": [inputs], "outputs": [outputs],
        }  # fmt: skip

    async def _infer(self, guest: Guest, request: Request) -> Response:
        served = self.sessions.model(request.path_params["model"])
        body = await body_of(request, self.sessions.limits.frame)
        size = request.headers.get(_HEADER, str(len(body)))
        if not size.isascii() or not size.isdigit() or int(size[:12]) > len(body):
            raise ServeError(Fault.INVALID, f"{_HEADER} is {size[:20]!r}, expected at most {len(body)}")
        try:
            asked = _DECODER.decode(body[: int(size)])
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ServeError(Fault.INVALID, f"the request cannot be read: {error}") from None
        inputs = _inputs(served, asked, body[int(size) :])
        answers = await self._taken(guest, served, asked, inputs)
        wishes = asked.outputs[0].parameters if asked.outputs else asked.parameters
        binary = bool(wishes.get("binary_data", asked.parameters.get("binary_data_output", False)))
        return _answer(served, asked, answers, binary)

    async def _taken(self, guest: Guest, served: Served, asked: Infer, inputs: bytes) -> bytes:
        said = asked.parameters
        sequence = said.get("sequence_id", 0)
        if sequence in (0, ""):
            held = self.sessions.create(guest.tenant, served.name)
            try:
                return (await taken(self.sessions, guest, held, None, inputs)).answers
            finally:
                self.sessions.delete(held)
        if not isinstance(sequence, (int, str)) or isinstance(sequence, bool):
            raise ServeError(Fault.INVALID, "sequence_id is neither a number nor a text")
        name = f"{_SEQUENCE}{served.name}.{sequence}"
        if said.get("sequence_start"):
            try:
                held = self.sessions.get(guest.tenant, name)
                self.sessions.reset(held)
            except ServeError as refused:
                if refused.fault is not Fault.NOT_FOUND:
                    raise
                held = self.sessions.create(guest.tenant, served.name, name)
        else:
            held = self.sessions.get(guest.tenant, name)
        answers = (await taken(self.sessions, guest, held, None, inputs)).answers
        if said.get("sequence_end"):
            self.sessions.delete(held)
        return answers


def _retry(answer: Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name in ("retry-after", "www-authenticate")}


def _inputs(served: Served, asked: Infer, binary: bytes) -> bytes:
    """The inputs of the steps, whichever way they came."""
    if len(asked.inputs) != 1:
        raise ServeError(Fault.INVALID, f"there are {len(asked.inputs)} inputs, expected one")
    one = asked.inputs[0]
    described = served.describe()
    name, kind = ("observations", "BYTES") if served.takes_json else ("x", "FP32")
    if described.get("vocabulary"):
        kind = "INT64"
    if one.name != name or one.datatype != kind:
        raise ServeError(
            Fault.INVALID, f"the input is {one.name[:40]!r} of {one.datatype[:20]}, expected {name!r} of {kind}"
        )
    width = described["input_size"] if kind == "FP32" else 1
    if not one.shape or any(n < 0 for n in one.shape) or (kind == "FP32" and one.shape[-1] != width):
        raise ServeError(Fault.INVALID, f"the input's shape is {one.shape[:8]}, expected [T, {width}]")
    numbers = math.prod(one.shape)
    size = one.parameters.get("binary_data_size")
    if size is not None:
        if size != len(binary):
            raise ServeError(Fault.INVALID, f"there are {len(binary)} binary bytes, expected {str(size)[:20]}")
        if kind == "BYTES":
            texts = _texts(binary)
            binary = b"[" + b",".join(texts) + b"]"
        steps = served.count(binary)
    else:
        data = one.data if isinstance(one.data, list) else []
        if kind == "FP32":
            flat = _flat(data)
            if len(flat) % width:
                raise ServeError(Fault.INVALID, f"there are {len(flat)} numbers, expected a multiple of {width}")
            binary = served.read([flat[i : i + width] for i in range(0, len(flat), width)])
        elif kind == "INT64":
            binary = served.read(_flat(data))
        else:
            texts = [text.encode() for text in data if isinstance(text, str)]
            binary = b"[" + b",".join(texts) + b"]"
        steps = served.count(binary)
    if steps * width != numbers:
        raise ServeError(Fault.INVALID, f"the input has {steps} steps, expected {numbers // width} as its shape says")
    return binary


def _flat(data: list[Any]) -> list[Any]:
    return [v for one in data for v in (_flat(one) if isinstance(one, list) else [one])]


def _texts(binary: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(binary):
        if at + 4 > len(binary) or (end := at + 4 + struct.unpack_from("<I", binary, at)[0]) > len(binary):
            raise ServeError(Fault.INVALID, "the binary texts are cut short")
        found.append(binary[at + 4 : end])
        at = end
    return found


def _answer(served: Served, asked: Infer, answers: bytes, binary: bool) -> Response:
    name, kind = ("answers", "BYTES") if served.takes_json else ("y", "FP32")
    described = served.describe()
    lines = answers.splitlines() if kind == "BYTES" else []
    shape = [len(lines)] if kind == "BYTES" else [len(answers) // served.size, described["output_size"]]
    output: dict[str, Any] = {"name": name, "datatype": kind, "shape": shape}
    said: dict[str, Any] = {"model_name": served.name, "model_version": served.fingerprint.hex()[:12]}
    if asked.id is not None:
        said["id"] = asked.id
    if not binary:
        if kind == "BYTES":
            output["data"] = [line.decode() for line in lines]
        else:
            output["data"] = np.frombuffer(answers, "<f4").tolist()
        return Response(to_json(said | {"outputs": [output]}), media_type="application/json")
    content = b"".join(struct.pack("<I", len(line)) + line for line in lines) if kind == "BYTES" else answers
    output["parameters"] = {"binary_data_size": len(content)}
    head = to_json(said | {"outputs": [output]})
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return Response(head + content, 200, headers, "application/octet-stream")
