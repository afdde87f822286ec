"""Converters between Python values and payloads, and between exceptions and failures.

A value goes through the payload converter (``PayloadConverter``: deterministic, inside workflow code) and then, where
one is configured, through the payload codec (``PayloadCodec``: asynchronous, outside). Payloads that are large after
that may go to a driver of the ``ExternalStorage``. ``DataConverter`` holds all of them.
"""

from perdure.converter._binary import (
    BinaryNullPayloadConverter,
    BinaryPlainPayloadConverter,
    BinaryProtoPayloadConverter,
    JSONProtoPayloadConverter,
)
from perdure.converter._data_converter import DataConverter, default
from perdure.converter._default import DefaultPayloadConverter, JSONPlainPayloadConverter
from perdure.converter._external_storage import (
    ExternalStorage,
    StorageDriver,
    StorageDriverActivityInfo,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverSelectContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
    StorageWarning,
)
from perdure.converter._failure_converter import (
    DefaultFailureConverter,
    DefaultFailureConverterWithEncodedAttributes,
    FailureConverter,
)
from perdure.converter._json_decode import JSONTypeConverter, JSONTypeConverterUnhandled, value_to_type
from perdure.converter._json_encode import AdvancedJSONEncoder
from perdure.converter._payload_codec import PayloadCodec
from perdure.converter._payload_converter import (
    CompositePayloadConverter,
    EncodingPayloadConverter,
    PayloadConverter,
)
from perdure.converter._payload_validation_error import create_payload_validation_error
from perdure.converter._search_attributes import (
    decode_search_attributes,
    decode_typed_search_attributes,
    encode_search_attribute_values,
    encode_search_attributes,
    encode_typed_search_attribute_value,
)
from perdure.converter._serialization_context import (
    ActivitySerializationContext,
    NexusSerializationContext,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from perdure.converter._transfer_type import TransferTypeConverter, transfer_type_convertible

__all__ = [
    "ActivitySerializationContext",
    "AdvancedJSONEncoder",
    "BinaryNullPayloadConverter",
    "BinaryPlainPayloadConverter",
    "BinaryProtoPayloadConverter",
    "CompositePayloadConverter",
    "DataConverter",
    "DefaultFailureConverter",
    "DefaultFailureConverterWithEncodedAttributes",
    "DefaultPayloadConverter",
    "EncodingPayloadConverter",
    "ExternalStorage",
    "FailureConverter",
    "JSONPlainPayloadConverter",
    "JSONProtoPayloadConverter",
    "JSONTypeConverter",
    "JSONTypeConverterUnhandled",
    "NexusSerializationContext",
    "PayloadCodec",
    "PayloadConverter",
    "SerializationContext",
    "StorageDriver",
    "StorageDriverActivityInfo",
    "StorageDriverClaim",
    "StorageDriverRetrieveContext",
    "StorageDriverSelectContext",
    "StorageDriverStoreContext",
    "StorageDriverWorkflowInfo",
    "StorageWarning",
    "TransferTypeConverter",
    "WithSerializationContext",
    "WorkflowSerializationContext",
    "create_payload_validation_error",
    "decode_search_attributes",
    "decode_typed_search_attributes",
    "default",
    "encode_search_attribute_values",
    "encode_search_attributes",
    "encode_typed_search_attribute_value",
    "transfer_type_convertible",
    "value_to_type",
]
