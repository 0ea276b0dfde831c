"""What a type checker should know of the messages: the fields that are read or set by hand.

Messages that discovery fills from a document are plain.
"""

from collections.abc import Iterable, Mapping, MutableMapping, MutableSequence, Sequence

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

DESCRIPTOR_FILE: str
SERVICE: str
POOL: DescriptorPool

def load_pool() -> DescriptorPool: ...

class InferParameter(Message):
    bool_param: bool
    int64_param: int
    string_param: str
    double_param: float
    uint64_param: int

Parameters = Mapping[str, InferParameter]

class InferTensorContents(Message):
    bool_contents: Sequence[bool]
    int_contents: Sequence[int]
    int64_contents: Sequence[int]
    uint_contents: Sequence[int]
    uint64_contents: Sequence[int]
    fp32_contents: Sequence[float]
    fp64_contents: Sequence[float]
    bytes_contents: Sequence[bytes]
    def __init__(self, **fields: Iterable[bool] | Iterable[float] | Iterable[bytes]) -> None: ...

class ModelInferRequest(Message):
    class InferInputTensor(Message):
        name: str
        datatype: str
        shape: Sequence[int]
        parameters: Parameters
        contents: InferTensorContents

    class InferRequestedOutputTensor(Message):
        name: str
        parameters: Parameters

    model_name: str
    model_version: str
    id: str
    parameters: Parameters
    inputs: Sequence[InferInputTensor]
    outputs: Sequence[InferRequestedOutputTensor]
    raw_input_contents: Sequence[bytes]

class ModelInferResponse(Message):
    class InferOutputTensor(Message):
        name: str
        datatype: str
        shape: MutableSequence[int]
        parameters: Parameters
        contents: InferTensorContents

    class _Outputs(list[InferOutputTensor]):
        def add(self, *, name: str, datatype: str, shape: Sequence[int]) -> ModelInferResponse.InferOutputTensor: ...

    model_name: str
    model_version: str
    id: str
    parameters: MutableMapping[str, InferParameter]
    outputs: _Outputs
    raw_output_contents: MutableSequence[bytes]
    def __init__(self, *, model_name: str = ..., model_version: str = ...) -> None: ...

class ModelStreamInferResponse(Message):
    error_message: str
    infer_response: ModelInferResponse
    def __init__(self, *, error_message: str = ..., infer_response: ModelInferResponse = ...) -> None: ...

class ServerLiveRequest(Message): ...
class ServerLiveResponse(Message): ...
class ServerReadyRequest(Message): ...
class ServerReadyResponse(Message): ...
class ServerMetadataRequest(Message): ...
class ServerMetadataResponse(Message): ...

class ModelReadyRequest(Message):
    name: str
    version: str

class ModelReadyResponse(Message): ...

class ModelMetadataRequest(Message):
    name: str
    version: str

class ModelMetadataResponse(Message): ...

class ModelConfigRequest(Message):
    name: str
    version: str

class ModelConfigResponse(Message): ...

class ModelStatisticsRequest(Message):
    name: str
    version: str

class ModelStatisticsResponse(Message): ...

class RepositoryIndexRequest(Message):
    ready: bool

class RepositoryIndexResponse(Message): ...

class RepositoryModelLoadRequest(Message):
    repository_name: str
    model_name: str
    parameters: Mapping[str, Message]

class RepositoryModelLoadResponse(Message): ...

class RepositoryModelUnloadRequest(Message):
    repository_name: str
    model_name: str

class RepositoryModelUnloadResponse(Message): ...
