"""What operators write, as frozen values that hold just that. parse.py reads them, compile.py gives them meaning."""

from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from strategies.core.arm import Role
from strategies.core.hashes import HashName
from strategies.core.spec import Duration, Share

WORKERS_LIMIT = 256
REPLICAS_LIMIT = 1000
Text = Annotated[str, Field(min_length=1, max_length=1024)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]*$", max_length=128)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDoc:
    """Where a fact is found: a header (gRPC: metadata) or a request parameter of the protocol."""

    header: Text | None = None
    parameter: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderDoc:
    """Where a model runs; `require` refuses to run it elsewhere, `prefer` takes the CPU and says so."""

    name: Literal["cpu", "cuda", "tensorrt", "openvino"]
    policy: Literal["require", "prefer"] = "require"
    options: dict[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputsDoc:
    """What an answer must keep to beyond its signature; breaking it is a failure that a fallback cures."""

    nan: Literal["reject", "pass"] = "reject"
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchingDoc:
    """How calls that meet at a busy model share a run; `off` stands for `{max_rows: 1}`."""

    max_rows: Annotated[int, Field(ge=1, le=4096)] = 64
    max_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 0
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0  # absolute: what rows together may differ from rows apart


def _unless_off(written: object) -> object:
    return {"max_rows": 1} if written in ("off", False) else written  # False is what YAML 1.1 made of the word


_OFF_TOO = BeforeValidator(_unless_off, json_schema_input_type=BatchingDoc | Literal["off"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmTlsDoc:
    """Whom to trust at another server, by default whom the system trusts, and what to show it, by default nothing."""

    ca_file: Text | None = None
    cert_file: Text | None = None
    key_file: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcesDoc:
    """What every replica of an arm on Ray is given; Ray places it where that is free."""

    num_cpus: Annotated[float, Field(ge=0, le=1024)] = 1  # 0 reserves none
    num_gpus: Annotated[float, Field(ge=0, le=64)] = 0  # below 1 a part of one that several replicas share
    memory: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(MiB|GiB)$")] | None = None  # by default Ray counts none
    accelerator_type: Text | None = None  # as Ray calls it: H100, A100, T4, L4


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscalingDoc:
    """How many replicas an arm on Ray has, by what is asked of it."""

    min: Annotated[int, Field(ge=0, le=REPLICAS_LIMIT)] = 1  # 0: none while nobody asks; the fallback answers meanwhile
    max: Annotated[int, Field(ge=1, le=REPLICAS_LIMIT)]
    target: Annotated[float, Field(gt=0, le=10_000)] = 8  # calls under way at each replica


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultsDoc:
    """What holds of every arm of the route that does not say otherwise."""

    runner: Literal["embedded", "ray"] | None = None  # of models that lie in files; others go by their reference


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmDoc:
    """One alternative: a model, how to run it, and what it is trusted with."""

    model: Text  # file:PATH, bento:NAME:VERSION, constant:PATH, remote:MODEL:VERSION
    role: Role
    runner: Text | None = (
        None  # by default what the reference says: constant or remote, else the route's default or embedded
    )
    url: Text | None = None  # of the server that has a remote model
    tls: ArmTlsDoc | None = None
    token_file: Text | None = None  # sent to that server as a bearer token
    version: Text | None = None  # by default the registry's tag, else the digest's first 12 digits
    provider: ProviderDoc = ProviderDoc(name="cpu")
    outputs: OutputsDoc = OutputsDoc()
    golden: Text | None = None
    threads: Annotated[int, Field(ge=1, le=256)] = 1  # on Ray as many as CPUs
    batching: Annotated[
        BatchingDoc, BeforeValidator(_unless_off, json_schema_input_type=BatchingDoc | Literal["off"])
    ] = BatchingDoc()
    resources: ResourcesDoc | None = None  # of each replica on Ray, by default one CPU
    replicas: Annotated[int, Field(ge=1, le=REPLICAS_LIMIT)] | None = None  # on Ray, by default 1
    autoscaling: AutoscalingDoc | None = None  # on Ray, in place of `replicas`


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceDoc:
    """Only units whose attribute has one of these values take part."""

    attribute: Text
    values: Annotated[tuple[str, ...], Field(alias="in", min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToleranceDoc:
    """Numbers are alike within absolute + relative * abs(the one served)."""

    relative: Annotated[float, Field(ge=0, le=1)] = 0
    absolute: Annotated[float, Field(ge=0)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowDoc:
    """An arm that is called with a share of the requests and whose answer nobody gets."""

    candidate: Text
    share: Share = "100%"
    tolerance: ToleranceDoc | None = None  # by default that of each output's datatype
    capture: bool = False  # whether events hold both answers where they differ, cut to a bound


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDoc:
    """Answers whose rate is watched: those of which a row's value of an output is this."""

    output: Text
    equals: str | bool | int | float | None = None
    above: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteDoc:
    """A public model name and what stands behind it."""

    turnout: Literal["v1"]
    route: Name
    extends: Text | None = None  # a document whose words hold where this one is silent; extends.py merges them
    arms: Annotated[dict[Name, ArmDoc], Field(min_length=1)]
    defaults: DefaultsDoc = DefaultsDoc()
    strategy: Any  # one of the strategies' own classes; parse.py puts their union here
    fallback: tuple[Text, ...] | None = None  # by default the baseline
    unit: SourceDoc = SourceDoc(header="x-turnout-unit")
    attributes: dict[Name, SourceDoc] = field(default_factory=dict)
    actions: Annotated[dict[Name, ActionDoc], Field(max_length=8)] = field(default_factory=dict)
    audience: tuple[AudienceDoc, ...] = ()
    layer: Name | None = None  # of layers.yaml; other routes in it have other units
    slots: Text | None = None  # the range of the layer whose units take part: 0%-20%
    shadow: tuple[ShadowDoc, ...] = ()
    timeout: Duration = "1s"
    pin: bool = False  # whether clients may choose an arm by its version
    critical: bool = True  # whether the process is unready without this route
    owner: Text | None = None
    hypothesis: Text | None = None
    expires: date | None = None
    asserts: tuple[Text, ...] = ()  # sentences of asserts.py that must hold
    hash: HashName = HashName.SHA256  # another system's, so that units keep the buckets they had there
    salt: Text | None = None  # by default the route's name
    epoch: Annotated[int, Field(ge=0)] = 0  # a new one deals every unit afresh

    def is_expired(self, today: date) -> bool:
        """Whether its last day is over. Days are those of UTC."""
        return self.expires is not None and self.expires <= today


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutDoc:
    """A share of all units that meets no experiment on any route: they get the baselines."""

    share: Share
    salt: Text = "holdout"  # another one draws other units


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDoc:
    """A line on which routes have ranges that do not overlap, so that a unit meets the experiment of one at most."""

    salt: Text | None = None  # by default the layer's name


def _unless_empty(written: object) -> object:
    return {} if written is None else written  # a name and a colon are enough for a layer


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersDoc:
    """`layers.yaml`: what several routes share, beside `turnout.yaml`; may be absent."""

    turnout: Literal["v1"] = "v1"
    holdout: HoldoutDoc | None = None
    layers: dict[Name, Annotated[LayerDoc, BeforeValidator(_unless_empty, json_schema_input_type=LayerDoc | None)]] = (
        field(default_factory=dict)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenDoc:
    """Where clients connect. Port 0 takes a free one."""

    host: Text = "127.0.0.1"
    http: Annotated[int, Field(ge=0, le=65535)] = 8000
    grpc: Annotated[int, Field(ge=0, le=65535)] = 8001
    metrics: Annotated[int, Field(ge=0, le=65535)] = 8002
    admin: Annotated[int, Field(ge=0, le=65535)] = 8003
    admin_host: Text = "127.0.0.1"  # any other takes `tls` and a token
    admin_names: tuple[Text, ...] = ()  # by which it may be asked, beside its address and localhost


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsDoc:
    """PEM files for HTTP and gRPC, relative to the config directory; with a client CA clients need a certificate."""

    cert_file: Text
    key_file: Text
    client_ca_file: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPoolDoc:
    """Bounds of the shadow pool: calls under way, waiting and begun in a second, MiB of tensors held for all."""

    calls: Annotated[int, Field(ge=1, le=1024)] = 4
    queue: Annotated[int, Field(ge=0, le=65536)] = 256
    per_second: Annotated[float, Field(gt=0, le=100_000)] = 500
    memory_mib: Annotated[int, Field(ge=1, le=65536)] = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class HopTlsDoc:
    """PEM files for the way to replicas: who signed their certificates, and what to show them, if they ask."""

    ca_file: Text
    cert_file: Text | None = None
    key_file: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RayDoc:
    """The Ray cluster that hosts arms with `runner: ray`, and the secret that its replicas know, too."""

    address: Annotated[str, Field(pattern=r"^[^\s/]+:[0-9]{1,5}$")]  # of the head: HOST:6379
    secret_file: Text
    tls: HopTlsDoc | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyDoc:
    """A webhook that is told what rollouts do, signed with the content of a file or of an environment variable."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+(/\S*)?$")]
    secret_file: Text | None = None
    secret_env: Text | None = None
    on: tuple[Literal["rollback", "hold", "approval", "promotion", "srm", "expiry", "fallback_rate"], ...] = ()  # all


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsDoc:
    """`turnout.yaml`: read once at start. Everything has a default, the file itself may be absent."""

    turnout: Literal["v1"] = "v1"
    listen: ListenDoc = ListenDoc()
    workers: Annotated[int, Field(ge=1, le=WORKERS_LIMIT)] = 1  # processes that serve; each holds the models once
    tls: TlsDoc | None = None  # the metrics port stays plain
    body_limit_mib: Annotated[int, Field(ge=1, le=2047)] = 64
    drain: Duration = "30s"
    feedback_window: Duration = "30m"  # how long after a list was shown clicks on it count
    connection_age: Duration | None = None  # after which a gRPC client is asked to connect anew; by default never
    shadow_pool: ShadowPoolDoc = ShadowPoolDoc()
    state: Text = ".turnout"  # directory for events and keys, relative to where the command is started
    watch: bool = False  # whether a change in the directory is taken while the gateway runs
    ray: RayDoc | None = None  # by default no arm may run there
    notify: Annotated[tuple[NotifyDoc, ...], Field(max_length=16)] = ()
    override_token_file: Text | None = None  # who knows its content may force an arm; without it nobody may
