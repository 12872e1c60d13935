from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class UploadRequest(_message.Message):
    __slots__ = ("batch_id", "created_ms", "n", "context", "enrolled", "enrolled_ms", "unit_days", "outcomes", "event_offset_ms", "unit_bet", "latency_ms", "energy_mj", "bytes_sent", "bytes_received", "memory_peak_kb", "prediction_class", "confidence", "error_code")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ENROLLED_FIELD_NUMBER: _ClassVar[int]
    ENROLLED_MS_FIELD_NUMBER: _ClassVar[int]
    UNIT_DAYS_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    EVENT_OFFSET_MS_FIELD_NUMBER: _ClassVar[int]
    UNIT_BET_FIELD_NUMBER: _ClassVar[int]
    LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    ENERGY_MJ_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    BYTES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    MEMORY_PEAK_KB_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_CLASS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    batch_id: bytes
    created_ms: int
    n: int
    context: bytes
    enrolled: bool
    enrolled_ms: int
    unit_days: _containers.RepeatedScalarFieldContainer[bytes]
    outcomes: _containers.RepeatedScalarFieldContainer[bytes]
    event_offset_ms: bytes
    unit_bet: bytes
    latency_ms: bytes
    energy_mj: bytes
    bytes_sent: bytes
    bytes_received: bytes
    memory_peak_kb: bytes
    prediction_class: bytes
    confidence: bytes
    error_code: bytes
    def __init__(self, batch_id: _Optional[bytes] = ..., created_ms: _Optional[int] = ..., n: _Optional[int] = ..., context: _Optional[bytes] = ..., enrolled: _Optional[bool] = ..., enrolled_ms: _Optional[int] = ..., unit_days: _Optional[_Iterable[bytes]] = ..., outcomes: _Optional[_Iterable[bytes]] = ..., event_offset_ms: _Optional[bytes] = ..., unit_bet: _Optional[bytes] = ..., latency_ms: _Optional[bytes] = ..., energy_mj: _Optional[bytes] = ..., bytes_sent: _Optional[bytes] = ..., bytes_received: _Optional[bytes] = ..., memory_peak_kb: _Optional[bytes] = ..., prediction_class: _Optional[bytes] = ..., confidence: _Optional[bytes] = ..., error_code: _Optional[bytes] = ...) -> None: ...
