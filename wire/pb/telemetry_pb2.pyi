from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Platform(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLATFORM_UNSPECIFIED: _ClassVar[Platform]
    ANDROID: _ClassVar[Platform]
    IOS: _ClassVar[Platform]
    OTHER_PLATFORM: _ClassVar[Platform]

class DeviceTier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEVICE_TIER_UNSPECIFIED: _ClassVar[DeviceTier]
    LOW: _ClassVar[DeviceTier]
    MID: _ClassVar[DeviceTier]
    HIGH: _ClassVar[DeviceTier]

class Network(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NETWORK_UNSPECIFIED: _ClassVar[Network]
    OFFLINE: _ClassVar[Network]
    CELLULAR: _ClassVar[Network]
    WIFI: _ClassVar[Network]

class Runtime(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUNTIME_UNSPECIFIED: _ClassVar[Runtime]
    TFLITE: _ClassVar[Runtime]
    COREML: _ClassVar[Runtime]
    ONNX: _ClassVar[Runtime]
    EXECUTORCH: _ClassVar[Runtime]
    OTHER_RUNTIME: _ClassVar[Runtime]

class Placement(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLACEMENT_UNSPECIFIED: _ClassVar[Placement]
    DEVICE: _ClassVar[Placement]
    EDGE: _ClassVar[Placement]
    CLOUD: _ClassVar[Placement]

class Arm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ARM_UNSPECIFIED: _ClassVar[Arm]
    CANDIDATE: _ClassVar[Arm]
    CONTROL: _ClassVar[Arm]
PLATFORM_UNSPECIFIED: Platform
ANDROID: Platform
IOS: Platform
OTHER_PLATFORM: Platform
DEVICE_TIER_UNSPECIFIED: DeviceTier
LOW: DeviceTier
MID: DeviceTier
HIGH: DeviceTier
NETWORK_UNSPECIFIED: Network
OFFLINE: Network
CELLULAR: Network
WIFI: Network
RUNTIME_UNSPECIFIED: Runtime
TFLITE: Runtime
COREML: Runtime
ONNX: Runtime
EXECUTORCH: Runtime
OTHER_RUNTIME: Runtime
PLACEMENT_UNSPECIFIED: Placement
DEVICE: Placement
EDGE: Placement
CLOUD: Placement
ARM_UNSPECIFIED: Arm
CANDIDATE: Arm
CONTROL: Arm

class Context(_message.Message):
    __slots__ = ("app_id", "app_version", "platform", "os_major", "device_tier", "region", "network", "model_id", "model_version", "runtime", "placement", "sdk_version", "rollout_id", "step", "arm", "epsilon")
    APP_ID_FIELD_NUMBER: _ClassVar[int]
    APP_VERSION_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    OS_MAJOR_FIELD_NUMBER: _ClassVar[int]
    DEVICE_TIER_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    SDK_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    app_id: str
    app_version: str
    platform: Platform
    os_major: int
    device_tier: DeviceTier
    region: str
    network: Network
    model_id: str
    model_version: str
    runtime: Runtime
    placement: Placement
    sdk_version: str
    rollout_id: str
    step: int
    arm: Arm
    epsilon: float
    def __init__(self, app_id: _Optional[str] = ..., app_version: _Optional[str] = ..., platform: _Optional[_Union[Platform, str]] = ..., os_major: _Optional[int] = ..., device_tier: _Optional[_Union[DeviceTier, str]] = ..., region: _Optional[str] = ..., network: _Optional[_Union[Network, str]] = ..., model_id: _Optional[str] = ..., model_version: _Optional[str] = ..., runtime: _Optional[_Union[Runtime, str]] = ..., placement: _Optional[_Union[Placement, str]] = ..., sdk_version: _Optional[str] = ..., rollout_id: _Optional[str] = ..., step: _Optional[int] = ..., arm: _Optional[_Union[Arm, str]] = ..., epsilon: _Optional[float] = ...) -> None: ...

class UnitDay(_message.Message):
    __slots__ = ("day", "errored", "crashed", "energy_mj", "data_bytes")
    DAY_FIELD_NUMBER: _ClassVar[int]
    ERRORED_FIELD_NUMBER: _ClassVar[int]
    CRASHED_FIELD_NUMBER: _ClassVar[int]
    ENERGY_MJ_FIELD_NUMBER: _ClassVar[int]
    DATA_BYTES_FIELD_NUMBER: _ClassVar[int]
    day: int
    errored: bool
    crashed: bool
    energy_mj: float
    data_bytes: float
    def __init__(self, day: _Optional[int] = ..., errored: _Optional[bool] = ..., crashed: _Optional[bool] = ..., energy_mj: _Optional[float] = ..., data_bytes: _Optional[float] = ...) -> None: ...

class OutcomeFeedback(_message.Message):
    __slots__ = ("label_age_days", "correct", "incorrect", "unit_correct", "unit_incorrect")
    LABEL_AGE_DAYS_FIELD_NUMBER: _ClassVar[int]
    CORRECT_FIELD_NUMBER: _ClassVar[int]
    INCORRECT_FIELD_NUMBER: _ClassVar[int]
    UNIT_CORRECT_FIELD_NUMBER: _ClassVar[int]
    UNIT_INCORRECT_FIELD_NUMBER: _ClassVar[int]
    label_age_days: int
    correct: int
    incorrect: int
    unit_correct: int
    unit_incorrect: int
    def __init__(self, label_age_days: _Optional[int] = ..., correct: _Optional[int] = ..., incorrect: _Optional[int] = ..., unit_correct: _Optional[int] = ..., unit_incorrect: _Optional[int] = ...) -> None: ...

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
    context: Context
    enrolled: bool
    enrolled_ms: int
    unit_days: _containers.RepeatedCompositeFieldContainer[UnitDay]
    outcomes: _containers.RepeatedCompositeFieldContainer[OutcomeFeedback]
    event_offset_ms: _containers.RepeatedScalarFieldContainer[int]
    unit_bet: _containers.RepeatedScalarFieldContainer[int]
    latency_ms: _containers.RepeatedScalarFieldContainer[float]
    energy_mj: _containers.RepeatedScalarFieldContainer[float]
    bytes_sent: _containers.RepeatedScalarFieldContainer[int]
    bytes_received: _containers.RepeatedScalarFieldContainer[int]
    memory_peak_kb: _containers.RepeatedScalarFieldContainer[int]
    prediction_class: _containers.RepeatedScalarFieldContainer[int]
    confidence: _containers.RepeatedScalarFieldContainer[float]
    error_code: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, batch_id: _Optional[bytes] = ..., created_ms: _Optional[int] = ..., n: _Optional[int] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., enrolled: _Optional[bool] = ..., enrolled_ms: _Optional[int] = ..., unit_days: _Optional[_Iterable[_Union[UnitDay, _Mapping]]] = ..., outcomes: _Optional[_Iterable[_Union[OutcomeFeedback, _Mapping]]] = ..., event_offset_ms: _Optional[_Iterable[int]] = ..., unit_bet: _Optional[_Iterable[int]] = ..., latency_ms: _Optional[_Iterable[float]] = ..., energy_mj: _Optional[_Iterable[float]] = ..., bytes_sent: _Optional[_Iterable[int]] = ..., bytes_received: _Optional[_Iterable[int]] = ..., memory_peak_kb: _Optional[_Iterable[int]] = ..., prediction_class: _Optional[_Iterable[int]] = ..., confidence: _Optional[_Iterable[float]] = ..., error_code: _Optional[_Iterable[int]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("code", "field", "rows", "accepted")
    CODE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    code: str
    field: str
    rows: int
    accepted: str
    def __init__(self, code: _Optional[str] = ..., field: _Optional[str] = ..., rows: _Optional[int] = ..., accepted: _Optional[str] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("batch_id", "received_rows", "accepted_rows", "refused", "unknown_fields")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_ROWS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_ROWS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELDS_FIELD_NUMBER: _ClassVar[int]
    batch_id: bytes
    received_rows: int
    accepted_rows: int
    refused: _containers.RepeatedCompositeFieldContainer[Refusal]
    unknown_fields: int
    def __init__(self, batch_id: _Optional[bytes] = ..., received_rows: _Optional[int] = ..., accepted_rows: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., unknown_fields: _Optional[int] = ...) -> None: ...
