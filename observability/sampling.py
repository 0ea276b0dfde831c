"""Which requests are traced: decided from the trace id alone, before anything is built.

The rule is OpenTelemetry's, so that gateways and clients with the same ratio choose the same traces. The default
differs on purpose: one in a hundred, not all, since tracing a request costs more than all else the gateway does for it.
Source: OpenTelemetry specification, SDK configuration (OTEL_TRACES_SAMPLER) and TraceIdRatioBased.
"""

import logging
from collections.abc import Mapping

from msgspec import Struct

IDS = 1 << 64  # the ratio looks at the lower half of a trace id
DEFAULT_RATIO = 0.01


class Sampler(Struct, frozen=True):
    """Traces whose id's lower 64 bits are below `bound` are kept; with `parent_based`, a caller's decision stands."""

    bound: int
    parent_based: bool

    def keeps(self, trace_id: str, parent_is_sampled: bool) -> bool:
        """Whether to trace a request that arrived within a trace of its caller's. `trace_id` is 32 hex digits."""
        return parent_is_sampled if self.parent_based else int(trace_id[16:], 16) < self.bound


NEVER = Sampler(bound=0, parent_based=False)


def read_sampler(environ: Mapping[str, str]) -> Sampler:
    """The sampler that OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG ask for; what cannot be read is logged."""
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "parentbased_traceidratio"
    kind = name.removeprefix("parentbased_")
    match kind:
        case "always_on":
            bound = IDS
        case "always_off":
            bound = 0
        case "traceidratio":
            bound = round(_read_ratio(environ.get("OTEL_TRACES_SAMPLER_ARG", "")) * IDS)
        case _:
            _log.warning("OTEL_TRACES_SAMPLER=%s is not known; tracing one request in a hundred", name)
            return Sampler(bound=round(DEFAULT_RATIO * IDS), parent_based=True)
    return Sampler(bound=bound, parent_based=kind != name)


def _read_ratio(text: str) -> float:
    if not text.strip():
        return DEFAULT_RATIO
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:  # also refuses NaN
        _log.warning("OTEL_TRACES_SAMPLER_ARG=%s is no number from 0 to 1; using %s", text, DEFAULT_RATIO)
        return DEFAULT_RATIO
    return ratio


_log = logging.getLogger(__name__)
