"""gRPC's reflection service: tools such as grpcurl ask it what there is to call.

Its messages are few and small, so they are described here; the descriptors it hands out are those of ``temporalio.api``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cache
from importlib import import_module
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, empty_pb2, message_factory
from google.protobuf.message import DecodeError

from perdure.wire._tables import EmptyMessage
from perdure.wire.methods import OPERATOR_SERVICE, SERVICES, TEST_SERVICE, WORKFLOW_SERVICE

#: The newer name and the one that older tools know; the messages are the same.
REFLECTION_SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
_PACKAGE = "perdure.reflection"
_EMPTY = "google.protobuf.Empty"
_NOT_FOUND = grpc.StatusCode.NOT_FOUND.value[0]
_UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED.value[0]

_INT32, _STRING, _MESSAGE, _BYTES = 5, 9, 11, 12
#: Message -> fields: name, number, type or message, whether it repeats.
_MESSAGES: dict[str, tuple[tuple[str, int, int | str, bool], ...]] = {
    "Request": (
        ("host", 1, _STRING, False),
        ("file_by_filename", 3, _STRING, False),
        ("file_containing_symbol", 4, _STRING, False),
        ("file_containing_extension", 5, _BYTES, False),
        ("all_extension_numbers_of_type", 6, _STRING, False),
        ("list_services", 7, _STRING, False),
    ),
    "Response": (
        ("valid_host", 1, _STRING, False),
        ("original_request", 2, "Request", False),
        ("file_descriptor_response", 4, "Files", False),
        ("list_services_response", 6, "Services", False),
        ("error_response", 7, "Failure", False),
    ),
    "Files": (("file_descriptor_proto", 1, _BYTES, True),),
    "Services": (("service", 1, "Service", True),),
    "Service": (("name", 1, _STRING, False),),
    "Failure": (("error_code", 1, _INT32, False), ("error_message", 2, _STRING, False)),
}


class Reflection:
    """Answers questions about the services that a server has."""

    def __init__(self) -> None:
        #: Full names of those that are there and have descriptors.
        self.services: set[str] = set()

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """The service's methods by path."""
        handler = grpc.stream_stream_rpc_method_handler(self._answers)
        return {f"/{name}/ServerReflectionInfo": handler for name in REFLECTION_SERVICES}

    async def _answers(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for data in requests:
            try:
                request = _class("Request").FromString(data)
            except DecodeError as error:
                await context.abort(grpc.StatusCode.INTERNAL, f"grpc: error unmarshalling request: {error}")
                return  # abort has raised
            yield self._answer(request).SerializeToString()

    def _answer(self, request: Any) -> Any:
        answer = _class("Response")(valid_host=request.host, original_request=request)
        asked = {field.name for field, _ in request.ListFields()}
        if "file_by_filename" in asked:
            _add_files(answer, "FindFileByName", request.file_by_filename)
        elif "file_containing_symbol" in asked:
            _add_files(answer, "FindFileContainingSymbol", request.file_containing_symbol)
        elif asked & {"file_containing_extension", "all_extension_numbers_of_type"}:
            answer.error_response.error_code = _UNIMPLEMENTED
            answer.error_response.error_message = "there are no extensions"
        else:
            for name in sorted(self.services):
                answer.list_services_response.service.add(name=name)
        return answer


def _add_files(answer: Any, find: str, name: str) -> None:
    """The file that has a name, with all that it imports."""
    pool = _temporals()
    try:
        wanted = [getattr(pool, find)(name)]
    except KeyError:
        answer.error_response.error_code = _NOT_FOUND
        answer.error_response.error_message = f"{name} is not known"
        return
    seen: set[str] = set()
    while wanted:
        file = wanted.pop()
        if file.name not in seen:
            seen.add(file.name)
            answer.file_descriptor_response.file_descriptor_proto.append(file.serialized_pb)
            wanted += file.dependencies


@cache
def _temporals() -> Any:
    """A pool with Temporal's messages and the services that use them."""
    pool = descriptor_pool.DescriptorPool()
    for service in (WORKFLOW_SERVICE, OPERATOR_SERVICE, TEST_SERVICE):
        package, _, name = service.rpartition(".")
        module = import_module(f"temporalio.{package.removeprefix('temporal.')}.request_response_pb2")
        imports = [module.DESCRIPTOR, empty_pb2.DESCRIPTOR]
        # The services' own files import another library, for a gateway that is not here.
        file = descriptor_pb2.FileDescriptorProto(name=f"{package.replace('.', '/')}/service.proto", package=package)
        file.syntax = "proto3"
        file.dependency.extend(it.name for it in imports)
        described = file.service.add(name=name)
        for method in SERVICES[service]:
            asked, answered = (
                _EMPTY if it is EmptyMessage else f"{package}.{it.__name__}" for it in (method.request, method.response)
            )
            described.method.add(
                name=method.path.rpartition("/")[2], input_type=f".{asked}", output_type=f".{answered}"
            )
        for descriptor in imports:
            _add(pool, descriptor)
        pool.Add(file)
    return pool


def _add(pool: Any, descriptor: Any) -> None:
    for imported in descriptor.dependencies:
        _add(pool, imported)
    pool.AddSerializedFile(descriptor.serialized_pb)


@cache
def _class(name: str) -> Any:
    """One of this service's own messages."""
    return message_factory.GetMessageClass(_own_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))


@cache
def _own_pool() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="perdure/reflection.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeats in fields:
            described = message.field.add(name=field, number=number, label=3 if repeats else 1)
            if isinstance(kind, str):
                described.type = _MESSAGE  # type: ignore[assignment]  # an enumeration's number
                described.type_name = f".{_PACKAGE}.{kind}"
            else:
                described.type = kind  # type: ignore[assignment]  # as above
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool
