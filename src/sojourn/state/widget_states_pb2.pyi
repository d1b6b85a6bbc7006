from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WidgetStates(_message.Message):
    __slots__ = ("widgets",)
    WIDGETS_FIELD_NUMBER: _ClassVar[int]
    widgets: _containers.RepeatedCompositeFieldContainer[WidgetState]
    def __init__(self, widgets: _Optional[_Iterable[_Union[WidgetState, _Mapping]]] = ...) -> None: ...

class WidgetState(_message.Message):
    __slots__ = ("id", "trigger_value", "bool_value", "double_value", "int_value", "string_value", "double_array_value", "int_array_value", "string_array_value", "json_value", "arrow_value", "bytes_value", "file_uploader_state_value", "string_trigger_value", "chat_input_value", "json_trigger_value")
    ID_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_VALUE_FIELD_NUMBER: _ClassVar[int]
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_ARRAY_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT_ARRAY_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_ARRAY_VALUE_FIELD_NUMBER: _ClassVar[int]
    JSON_VALUE_FIELD_NUMBER: _ClassVar[int]
    ARROW_VALUE_FIELD_NUMBER: _ClassVar[int]
    BYTES_VALUE_FIELD_NUMBER: _ClassVar[int]
    FILE_UPLOADER_STATE_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_TRIGGER_VALUE_FIELD_NUMBER: _ClassVar[int]
    CHAT_INPUT_VALUE_FIELD_NUMBER: _ClassVar[int]
    JSON_TRIGGER_VALUE_FIELD_NUMBER: _ClassVar[int]
    id: str
    trigger_value: bool
    bool_value: bool
    double_value: float
    int_value: int
    string_value: str
    double_array_value: DoubleArray
    int_array_value: SInt64Array
    string_array_value: StringArray
    json_value: str
    arrow_value: ArrowTable
    bytes_value: bytes
    file_uploader_state_value: FileUploaderState
    string_trigger_value: StringTriggerValue
    chat_input_value: ChatInputValue
    json_trigger_value: str
    def __init__(self, id: _Optional[str] = ..., trigger_value: bool = ..., bool_value: bool = ..., double_value: _Optional[float] = ..., int_value: _Optional[int] = ..., string_value: _Optional[str] = ..., double_array_value: _Optional[_Union[DoubleArray, _Mapping]] = ..., int_array_value: _Optional[_Union[SInt64Array, _Mapping]] = ..., string_array_value: _Optional[_Union[StringArray, _Mapping]] = ..., json_value: _Optional[str] = ..., arrow_value: _Optional[_Union[ArrowTable, _Mapping]] = ..., bytes_value: _Optional[bytes] = ..., file_uploader_state_value: _Optional[_Union[FileUploaderState, _Mapping]] = ..., string_trigger_value: _Optional[_Union[StringTriggerValue, _Mapping]] = ..., chat_input_value: _Optional[_Union[ChatInputValue, _Mapping]] = ..., json_trigger_value: _Optional[str] = ...) -> None: ...

class DoubleArray(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, data: _Optional[_Iterable[float]] = ...) -> None: ...

class SInt64Array(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, data: _Optional[_Iterable[int]] = ...) -> None: ...

class StringArray(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, data: _Optional[_Iterable[str]] = ...) -> None: ...

class StringTriggerValue(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: str
    def __init__(self, data: _Optional[str] = ...) -> None: ...

class ChatInputValue(_message.Message):
    __slots__ = ("data", "file_uploader_state", "audio_file_info")
    DATA_FIELD_NUMBER: _ClassVar[int]
    FILE_UPLOADER_STATE_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FILE_INFO_FIELD_NUMBER: _ClassVar[int]
    data: str
    file_uploader_state: FileUploaderState
    audio_file_info: UploadedFileInfo
    def __init__(self, data: _Optional[str] = ..., file_uploader_state: _Optional[_Union[FileUploaderState, _Mapping]] = ..., audio_file_info: _Optional[_Union[UploadedFileInfo, _Mapping]] = ...) -> None: ...

class FileUploaderState(_message.Message):
    __slots__ = ("uploaded_file_info",)
    UPLOADED_FILE_INFO_FIELD_NUMBER: _ClassVar[int]
    uploaded_file_info: _containers.RepeatedCompositeFieldContainer[UploadedFileInfo]
    def __init__(self, uploaded_file_info: _Optional[_Iterable[_Union[UploadedFileInfo, _Mapping]]] = ...) -> None: ...

class UploadedFileInfo(_message.Message):
    __slots__ = ("name", "size", "file_id", "file_urls")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    FILE_URLS_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    file_id: str
    file_urls: FileURLs
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ..., file_id: _Optional[str] = ..., file_urls: _Optional[_Union[FileURLs, _Mapping]] = ...) -> None: ...

class FileURLs(_message.Message):
    __slots__ = ("file_id", "upload_url", "delete_url")
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_URL_FIELD_NUMBER: _ClassVar[int]
    DELETE_URL_FIELD_NUMBER: _ClassVar[int]
    file_id: str
    upload_url: str
    delete_url: str
    def __init__(self, file_id: _Optional[str] = ..., upload_url: _Optional[str] = ..., delete_url: _Optional[str] = ...) -> None: ...

class ArrowTable(_message.Message):
    __slots__ = ("data", "index", "columns", "styler")
    DATA_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    STYLER_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    index: bytes
    columns: bytes
    styler: ArrowTableStyler
    def __init__(self, data: _Optional[bytes] = ..., index: _Optional[bytes] = ..., columns: _Optional[bytes] = ..., styler: _Optional[_Union[ArrowTableStyler, _Mapping]] = ...) -> None: ...

class ArrowTableStyler(_message.Message):
    __slots__ = ("uuid", "caption", "styles", "display_values")
    UUID_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    STYLES_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_VALUES_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    caption: str
    styles: str
    display_values: bytes
    def __init__(self, uuid: _Optional[str] = ..., caption: _Optional[str] = ..., styles: _Optional[str] = ..., display_values: _Optional[bytes] = ...) -> None: ...
