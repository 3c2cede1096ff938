from eas_tw.body.schema import tf_predict_pb2 as _tf_predict_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StatusCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OK: _ClassVar[StatusCode]
    INPUT_EMPTY: _ClassVar[StatusCode]
    EXCEPTION: _ClassVar[StatusCode]
OK: StatusCode
INPUT_EMPTY: StatusCode
EXCEPTION: StatusCode

class ContextFeatures(_message.Message):
    __slots__ = ("features",)
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    features: _containers.RepeatedCompositeFieldContainer[PBFeature]
    def __init__(self, features: _Optional[_Iterable[_Union[PBFeature, _Mapping]]] = ...) -> None: ...

class PBFeature(_message.Message):
    __slots__ = ("int_feature", "long_feature", "string_feature", "float_feature")
    INT_FEATURE_FIELD_NUMBER: _ClassVar[int]
    LONG_FEATURE_FIELD_NUMBER: _ClassVar[int]
    STRING_FEATURE_FIELD_NUMBER: _ClassVar[int]
    FLOAT_FEATURE_FIELD_NUMBER: _ClassVar[int]
    int_feature: int
    long_feature: int
    string_feature: str
    float_feature: float
    def __init__(self, int_feature: _Optional[int] = ..., long_feature: _Optional[int] = ..., string_feature: _Optional[str] = ..., float_feature: _Optional[float] = ...) -> None: ...

class PBRequest(_message.Message):
    __slots__ = ("debug_level", "user_features", "item_ids", "context_features", "faiss_neigh_num")
    class UserFeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: PBFeature
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[PBFeature, _Mapping]] = ...) -> None: ...
    class ContextFeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ContextFeatures
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ContextFeatures, _Mapping]] = ...) -> None: ...
    DEBUG_LEVEL_FIELD_NUMBER: _ClassVar[int]
    USER_FEATURES_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FEATURES_FIELD_NUMBER: _ClassVar[int]
    FAISS_NEIGH_NUM_FIELD_NUMBER: _ClassVar[int]
    debug_level: int
    user_features: _containers.MessageMap[str, PBFeature]
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    context_features: _containers.MessageMap[str, ContextFeatures]
    faiss_neigh_num: int
    def __init__(self, debug_level: _Optional[int] = ..., user_features: _Optional[_Mapping[str, PBFeature]] = ..., item_ids: _Optional[_Iterable[str]] = ..., context_features: _Optional[_Mapping[str, ContextFeatures]] = ..., faiss_neigh_num: _Optional[int] = ...) -> None: ...

class Results(_message.Message):
    __slots__ = ("scores",)
    SCORES_FIELD_NUMBER: _ClassVar[int]
    scores: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, scores: _Optional[_Iterable[float]] = ...) -> None: ...

class PBResponse(_message.Message):
    __slots__ = ("results", "item_features", "generate_features", "context_features", "error_msg", "status_code", "item_ids", "outputs", "raw_features", "tf_outputs")
    class ResultsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Results
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Results, _Mapping]] = ...) -> None: ...
    class ItemFeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class GenerateFeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ContextFeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ContextFeatures
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ContextFeatures, _Mapping]] = ...) -> None: ...
    class RawFeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class TfOutputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _tf_predict_pb2.ArrayProto
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_tf_predict_pb2.ArrayProto, _Mapping]] = ...) -> None: ...
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    ITEM_FEATURES_FIELD_NUMBER: _ClassVar[int]
    GENERATE_FEATURES_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FEATURES_FIELD_NUMBER: _ClassVar[int]
    ERROR_MSG_FIELD_NUMBER: _ClassVar[int]
    STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    RAW_FEATURES_FIELD_NUMBER: _ClassVar[int]
    TF_OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.MessageMap[str, Results]
    item_features: _containers.ScalarMap[str, str]
    generate_features: _containers.ScalarMap[str, str]
    context_features: _containers.MessageMap[str, ContextFeatures]
    error_msg: str
    status_code: StatusCode
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    outputs: _containers.RepeatedScalarFieldContainer[str]
    raw_features: _containers.ScalarMap[str, str]
    tf_outputs: _containers.MessageMap[str, _tf_predict_pb2.ArrayProto]
    def __init__(self, results: _Optional[_Mapping[str, Results]] = ..., item_features: _Optional[_Mapping[str, str]] = ..., generate_features: _Optional[_Mapping[str, str]] = ..., context_features: _Optional[_Mapping[str, ContextFeatures]] = ..., error_msg: _Optional[str] = ..., status_code: _Optional[_Union[StatusCode, str]] = ..., item_ids: _Optional[_Iterable[str]] = ..., outputs: _Optional[_Iterable[str]] = ..., raw_features: _Optional[_Mapping[str, str]] = ..., tf_outputs: _Optional[_Mapping[str, _tf_predict_pb2.ArrayProto]] = ...) -> None: ...
