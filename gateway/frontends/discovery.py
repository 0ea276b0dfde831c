"""Discovery: what the protocol tells about the server and its models, as plain documents for both frontends.

A document has the protocol's own field names, so that it is an HTTP body as it stands and fills the gRPC message of the
same name.
"""

from collections.abc import Iterator
from typing import Any

from gateway.errors import Malformed, UnknownModel
from gateway.execution.side_by_side import specs_beside
from gateway.frontends.readiness import Readiness
from gateway.routing.router import Router
from gateway.routing.table import BoundArm, BoundRoute
from runners.core.errors import NotReady
from runners.core.tensor import Signature, TensorSpec

SERVER_NAME = "turnout"
ONNX = "onnx_onnxv1"  # an ONNX model's platform in the protocol's metadata
ONNX_CONFIG = ("onnxruntime_onnx", "onnxruntime")  # and the platform and backend of one in a configuration
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics")
NAME_SHOWN = 100  # characters of a caller's name that an error repeats

Document = dict[str, Any]


class Discovery:
    """Answers every question that is not an inference."""

    def __init__(self, router: Router, readiness: Readiness, version: str) -> None:
        """`version` is the gateway's own."""
        self._router = router
        self._readiness = readiness
        self._version = version

    def server(self) -> Document:
        return {"name": SERVER_NAME, "version": self._version, "extensions": list(EXTENSIONS)}

    def is_server_ready(self) -> bool:
        return self._readiness.is_ready()

    def models(self) -> Document:
        """The names of all routes, those that could not be opened included."""
        table = self._router.table
        return {"models": sorted({*table.routes, *table.quarantined})}

    def model(self, name: str, version: str) -> Document:
        """A model's signature. `version` "" means the baseline's. Raises UnknownModel or NotReady."""
        route = self._router.route(name)
        description = self._arm(route, version).endpoint.description
        return {
            "name": route.name,
            "versions": list(_versions(route)),
            "platform": description.platform,
            "inputs": [_metadata(spec) for spec in description.signature.inputs],
            "outputs": [_metadata(spec) for spec in (*description.signature.outputs, *_beside(route, version))],
        }

    def config(self, name: str, version: str) -> Document:
        """The same as Triton's model configuration. No dimension is added for a batch: dims say all."""
        route = self._router.route(name)
        description = self._arm(route, version).endpoint.description
        platform, backend = (
            ONNX_CONFIG if description.platform == ONNX else (description.platform, description.platform)
        )
        return {
            "name": route.name,
            "platform": platform,
            "backend": backend,
            "max_batch_size": 0,
            "input": [_config(spec) for spec in description.signature.inputs],
            "output": [_config(spec) for spec in (*description.signature.outputs, *_beside(route, version))],
        }

    def signature(self, name: str, version: str) -> Signature:
        """What a model takes and gives. Raises UnknownModel or NotReady."""
        return self._arm(self._router.route(name), version).endpoint.description.signature

    def is_model_ready(self, name: str, version: str) -> bool:
        """Whether a request would be tried; a route that could not be opened is not ready. Raises UnknownModel."""
        try:
            route = self._router.route(name)
        except NotReady:
            return False
        return self._arm(route, version).endpoint.ready()

    def index(self, *, only_ready: bool) -> list[Document]:
        """Every model and version there is, and why those that are not ready are not."""
        table = self._router.table
        rows = [row for name in sorted(table.routes) for row in _index_rows(table.routes[name])]
        for name, reason in sorted(table.quarantined.items()):
            rows.append({"name": name, "version": "", "state": "UNAVAILABLE", "reason": reason})
        return [row for row in rows if row["state"] == "READY"] if only_ready else rows

    def statistics(self, name: str, version: str) -> Document:
        """What came of the calls to a model's versions, of all models for "". Raises UnknownModel or NotReady."""
        routes = [self._router.route(name)] if name else self._router.table.routes.values()
        if version:
            self._arm(self._router.route(name), version)
        rows = [_statistics(route, each) for route in routes for each in _versions(route) if version in ("", each)]
        return {"model_stats": rows}

    def load(self, name: str, *, has_parameters: bool) -> None:
        """Check a live model once more. Raises UnknownModel, NotReady, or Malformed for a model to be brought along."""
        if has_parameters:
            raise Malformed("routes change by publishing; load takes no parameters here")
        if not self.is_model_ready(name, ""):
            raise NotReady(f"model '{name[:NAME_SHOWN]}' is not ready")

    def unload(self, name: str) -> None:
        """Always refused. Raises UnknownModel or Malformed."""
        self.is_model_ready(name, "")
        raise Malformed("routes change by publishing; nothing is unloaded by a client")

    def _arm(self, route: BoundRoute, version: str) -> BoundArm:
        if not version:
            return route.baseline
        for bound in route.arms:
            if bound.version == version:
                return bound
        known = ", ".join(_versions(route))
        raise UnknownModel(f"model '{route.name}' has no version '{version[:NAME_SHOWN]}'; there is {known}")


def _beside(route: BoundRoute, version: str) -> list[TensorSpec]:
    """Other arms' outputs in the route's answers; a version that is asked for answers alone."""
    if version:
        return []
    signatures = {bound.arm.index: bound.endpoint.description.signature for bound in route.arms}
    return next((specs for plan in route.decider.allocation.plans if (specs := specs_beside(plan, signatures))), [])


def _versions(route: BoundRoute) -> Iterator[str]:
    """Versions in the order of the arms, the baseline's first, none twice."""
    return iter(dict.fromkeys([route.baseline.version, *(bound.version for bound in route.arms)]))


def _index_rows(route: BoundRoute) -> Iterator[Document]:
    """A row per version. The reason of one that is ready says what it runs on instead of what was preferred."""
    for version in _versions(route):
        arms = [bound.endpoint for bound in route.arms if bound.version == version]
        is_ready = any(endpoint.ready() for endpoint in arms)
        reason = next((endpoint.description.degraded for endpoint in arms if endpoint.description.degraded), "")
        yield {
            "name": route.name,
            "version": version,
            "state": "READY" if is_ready else "UNAVAILABLE",
            "reason": reason or ("" if is_ready else "not ready"),
        }


def _statistics(route: BoundRoute, version: str) -> Document:
    """One version's row. What is not measured apart (queueing, copying) is nought rather than absent."""
    known = [route.meter.statistics(bound.arm.name) for bound in route.arms if bound.version == version]
    succeeded_n = sum(each.succeeded_n for each in known)
    success = _duration(succeeded_n, sum(each.succeeded_s for each in known))
    unmeasured = _duration(0, 0.0)
    return {
        "name": route.name,
        "version": version,
        "last_inference": int(max(each.last_at for each in known) * 1e3),
        "inference_count": sum(each.rows_n for each in known),
        "execution_count": succeeded_n,
        "inference_stats": {
            "success": success,
            "fail": _duration(sum(each.failed_n for each in known), sum(each.failed_s for each in known)),
            "queue": unmeasured,
            "compute_input": unmeasured,
            "compute_infer": success,
            "compute_output": unmeasured,
            "cache_hit": unmeasured,
            "cache_miss": unmeasured,
        },
        "batch_stats": [],
    }


def _duration(count: int, seconds: float) -> Document:
    return {"count": count, "ns": int(seconds * 1e9)}


def _metadata(spec: TensorSpec) -> Document:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _config(spec: TensorSpec) -> Document:
    kind = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": list(spec.shape)}
