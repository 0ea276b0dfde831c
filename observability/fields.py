"""The names that spans carry, all in one place: conventions move, and a name must change in one commit.

The HTTP names are stable, those for RPC still release candidates. Everything of our own begins with `turnout.`.
Source: OpenTelemetry semantic conventions 1.44: HTTP and RPC spans, `error.type`, `client.address`, `service.*`.
"""

SCOPE = "turnout"  # the instrumentation scope, and our namespace

# resource
SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE_ID = "service.instance.id"
HOST_NAME = "host.name"
PROCESS_PID = "process.pid"

# conventions
CLIENT_ADDRESS = "client.address"
ERROR_TYPE = "error.type"
HTTP_REQUEST_METHOD = "http.request.method"
HTTP_RESPONSE_STATUS_CODE = "http.response.status_code"
HTTP_ROUTE = "http.route"
RPC_METHOD = "rpc.method"
RPC_RESPONSE_STATUS_CODE = "rpc.response.status_code"
RPC_SYSTEM_NAME = "rpc.system.name"

# what an inference is called on either protocol; an HTTP path that names a version counts as the same operation
INFER_METHOD = "POST"
INFER_HTTP_ROUTE = "/v2/models/{model}/infer"
INFER_RPC_METHOD = "inference.GRPCInferenceService/ModelInfer"
GRPC = "grpc"
# gRPC codes that are the server's fault; the others leave a server span's status unset, as HTTP 4xx do
GRPC_SERVER_FAULTS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)

# ours
AGREEMENT = "turnout.shadow.agreement"
ANSWERED_ARM = "turnout.arm.answered"
ARM = "turnout.arm"
ASSIGNED_ARM = "turnout.arm.assigned"
DEADLINE_MS = "turnout.deadline_ms"
EVENT_ID = "turnout.event_id"
EXPERIMENT = "turnout.experiment"
FALLBACK_CAUSE = "turnout.fallback.cause"
MODEL_DIGEST = "turnout.model.digest"
MODEL_VERSION = "turnout.model.version"
PROVIDER = "turnout.provider"
REASON = "turnout.reason"
REQUEST_BYTES = "turnout.request.bytes"
REQUEST_ID = "turnout.request_id"
RESPONSE_BYTES = "turnout.response.bytes"
REVISION = "turnout.revision"
ROLE = "turnout.role"
ROUTE = "turnout.route"
ROWS = "turnout.rows"
SHADOWS = "turnout.shadows"
SHADOW_OUTCOME = "turnout.shadow.outcome"
SHARE_PPM = "turnout.share_ppm"
STATUS = "turnout.status"
STRATEGY = "turnout.strategy"
