"""The OpenAPI 3.1 document: operations as each room names them, schemas from the models by pydantic."""

import json
import sys
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api.batches.incoming import NDJSON
from api.batches.operations import BATCH_OPERATIONS
from api.jobs.operations import JOB_OPERATIONS
from api.operations import HEADERS, Answer, Operation, Parameter, faults_of
from api.outgoing import MESSAGES, webhooks
from api.problems import PROBLEM_TYPE
from api.service_operations import SERVICE_OPERATIONS, UPLOAD_OPERATIONS
from api.version import VERSION
from api.views import Problem
from api.webhooks.operations import WEBHOOK_OPERATIONS
from shared.errors import Fault

EVERY_OPERATION = (
    *JOB_OPERATIONS,
    *UPLOAD_OPERATIONS,
    *WEBHOOK_OPERATIONS,
    *SERVICE_OPERATIONS,
    *BATCH_OPERATIONS,
)

_REF = "#/components/schemas/{model}"
_DESCRIPTION = (
    "Neural style transfer as a job service: POST two pictures, poll a job, collect a painting. "
    "Errors are RFC 9457 problems; `code` tells programs which."
)


@cache
def document() -> dict[str, Any]:
    """The whole document, the same for every installation: paths are relative to where it was fetched."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in EVERY_OPERATION:
        paths.setdefault(operation.path, {})[operation.method] = _typed(_operation(operation))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Impasto", "version": VERSION, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": paths,
        "webhooks": webhooks(_REF),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Only where the service has tokens.",
                }
            },
        },
    }


def every_fault() -> list[type[Fault]]:
    """Every named fault, in the order of `shared.errors`; those that only a job can have too."""
    found: list[type[Fault]] = []
    for kind in Fault.__subclasses__():
        found.append(kind)
        found.extend(kind.__subclasses__())
    return found


def _schemas() -> dict[str, Any]:
    wanted: dict[type[BaseModel], JsonSchemaMode] = {Problem: "serialization"}
    for operation in EVERY_OPERATION:
        if isinstance(operation.body, type):
            wanted[operation.body] = "validation"
        wanted.update((view, "serialization") for answer in operation.answers for view in answer.views)
    wanted.update((message, "serialization") for message in MESSAGES.values())
    _, definitions = models_json_schema(list(wanted.items()), ref_template=_REF)
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _operation(operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    if operation.description:
        made["description"] = operation.description
    if operation.parameters:
        made["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body:
        made["requestBody"] = _body(operation.body)
    if operation.lines:
        made["requestBody"]["content"][NDJSON] = {}
    if operation.guarded:
        made["security"] = [{}, {"token": []}]
    made["responses"] = {str(answer.status): _answer(answer) for answer in operation.answers}
    made["responses"].update(_problems(faults_of(operation)))
    return made


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.where == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _body(body: type[BaseModel] | str) -> dict[str, Any]:
    if isinstance(body, type):
        return {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
    form = {
        "type": "object",
        "properties": {"file": files},
        "required": ["file"],
        "additionalProperties": False,
    }
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": form}, "image/*": {}, "application/octet-stream": {}},
    }


def _answer(answer: Answer) -> dict[str, Any]:
    made: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        made["headers"] = {
            name: {"description": HEADERS[name][0], "schema": HEADERS[name][1]} for name in answer.headers
        }
    content: dict[str, Any] = {media: {} for media in answer.media}
    if answer.views:
        schemas = [_ref(view) for view in answer.views]
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        content["application/json"] = {"schema": schema}
    if content:
        made["content"] = content
    return made


def _problems(faults: tuple[type[Fault], ...]) -> dict[str, Any]:
    by_status: dict[int, list[type[Fault]]] = {}
    for fault in faults:
        by_status.setdefault(fault.status, []).append(fault)
    return {
        str(status): {
            "description": " ".join(f"`{fault.code}`: {fault.title}." for fault in kinds),
            "content": {PROBLEM_TYPE: {"schema": _ref(Problem)}},
        }
        for status, kinds in sorted(by_status.items())
    }


def _typed(operation: dict[str, Any]) -> dict[str, Any]:
    """Say of each body without a model what it is: generators of clients leave out what has no schema.

    A request whose body is a file is left as 3.1 has it: openapi-python-client trips over two of them.
    """
    asked = operation.get("requestBody", {}).get("content", {})
    for media, content in asked.items():
        if media.endswith("ndjson"):
            content.setdefault("schema", _schema_of(media))
    for described in operation["responses"].values():
        for media, content in described.get("content", {}).items():
            content.setdefault("schema", _schema_of(media))
    return operation


def _schema_of(media: str) -> dict[str, Any]:
    if media == "application/json":
        return {"type": "object"}
    if media.startswith("text/") or media.endswith("ndjson"):
        return {"type": "string"}
    # JSON Schema has no bytes; what generators know by `format` is older than what 3.1 says instead.
    return {"type": "string", "format": "binary", "contentMediaType": media}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), indent=1) + "\n")
