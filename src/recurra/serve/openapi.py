"""The OpenAPI document, made of the table of paths and the types of their bodies."""

from __future__ import annotations

import importlib
import re
from typing import Any

import msgspec

from recurra.serve.faults import Fault
from recurra.serve.rest import BYTES, PATHS, Path

_ALWAYS = (Fault.INVALID, Fault.UNAUTHORIZED, Fault.FORBIDDEN, Fault.TOO_LARGE, Fault.INTERNAL)
_SAYS = {
    "models": "All models, and what each takes and gives.",
    "model": "One model.",
    "reload": "Read the model's file again: what it has now takes all sessions over.",
    "list": "Sessions, by name.",
    "create": "A new session, at its beginning.",
    "get": "One session.",
    "delete": "Forget a session.",
    "step": "One step.",
    "run": "Several steps, one after the other.",
    "reset": "Back to the beginning; the next step is 1.",
    "end": "Take no more steps.",
    "fork": "Another session in the same state.",
    "states": "What the network remembers.",
    "snapshot": "All of a session as bytes, for this or another server of the same model.",
    "restore": "Put a session where a snapshot is.",
    "create_from": "A new session that begins at a snapshot.",
}
_ERROR = {
    "type": "object",
    "required": ["error", "message"],
    "properties": {
        "error": {"type": "string", "enum": [fault.word for fault in Fault]},
        "message": {"type": "string"},
        "expected": {"type": "integer", "description": "The next sequence number."},
    },
}


def version() -> str:
    """Of Recurra."""
    return str(importlib.import_module("recurra").__version__)


def document() -> dict[str, Any]:
    """The document of OpenAPI 3.1."""
    bodies = [path.body for path in PATHS if path.body not in (None, bytes)]
    _, schemas = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for path in PATHS:
        paths.setdefault(path.path, {})[path.method.lower()] = _operation(path)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Recurra: sessions of recurrent models", "version": version()},
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(path: Path) -> dict[str, Any]:
    refused: dict[str, Any] = {}
    for fault in (*_ALWAYS, *path.faults):
        words = refused.setdefault(str(fault.status), [])
        words.append(fault.word)
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses = {
        str(path.status): {"description": _SAYS[path.name]}
        | ({} if path.status == 204 else {"content": {path.answers: {}}}),
        **{status: {"description": ", ".join(words), "content": error} for status, words in sorted(refused.items())},
    }
    found: dict[str, Any] = {"operationId": path.name, "summary": _SAYS[path.name], "responses": responses}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path.path)
    ]
    if path.name == "list":
        parameters += [
            {"name": "after", "in": "query", "schema": {"type": "string"}},
            {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}},
        ]
    if path.name == "create_from":
        parameters.append({"name": "model", "in": "query", "schema": {"type": "string"}})
    if parameters:
        found["parameters"] = parameters
    if path.takes:
        schema = {} if path.takes == BYTES else {"$ref": f"#/components/schemas/{path.body.__name__}"}
        found["requestBody"] = {"required": True, "content": {path.takes: {"schema": schema}}}
    return found
