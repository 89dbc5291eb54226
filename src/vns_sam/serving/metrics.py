"""Counts and durations in Prometheus' text format, of one worker or of several together."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

BOUNDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class Metrics:
    """What a server has done since its start. Routes are named by their pattern, so that there are few."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))
        self._seconds: dict[str, float] = defaultdict(float)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Takes note of one request."""
        self._requests[method, route, status] += 1
        self._buckets[route][bisect_left(BOUNDS, seconds)] += 1
        self._seconds[route] += seconds

    def counts(self) -> dict[str, Any]:
        """All of it as JSON has it, see :meth:`text`."""
        requests = [[*key, count] for key, count in self._requests.items()]
        return {"requests": requests, "buckets": dict(self._buckets), "seconds": dict(self._seconds)}

    @staticmethod
    def text(counted: Sequence[Mapping[str, Any]]) -> str:
        """The page for Prometheus.

        Args:
            counted: :meth:`counts` of each worker, with ``gauges``, what is now by name; they are added up.
        """
        requests: Counter[tuple[str, str, int]] = Counter()
        buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))
        seconds: Counter[str] = Counter()
        gauges: Counter[str] = Counter()
        for one in counted:
            requests.update({(method, route, status): count for method, route, status, count in one["requests"]})
            for route, counts in one["buckets"].items():
                buckets[route] = [a + b for a, b in zip(buckets[route], counts, strict=True)]
            seconds.update(one["seconds"])
            gauges.update(one["gauges"])
        lines = ["# TYPE vns_sam_requests_total counter"]
        for (method, route, status), count in sorted(requests.items()):
            lines.append(f'vns_sam_requests_total{{method="{method}",route="{route}",status="{status}"}} {count}')
        lines.append("# TYPE vns_sam_request_seconds histogram")
        for route, parts in sorted(buckets.items()):
            total = 0
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), parts, strict=True):
                total += count
                lines.append(f'vns_sam_request_seconds_bucket{{route="{route}",le="{bound}"}} {total}')
            lines.append(f'vns_sam_request_seconds_sum{{route="{route}"}} {seconds[route]:.6f}')
            lines.append(f'vns_sam_request_seconds_count{{route="{route}"}} {total}')
        for name, value in gauges.items():
            lines += [f"# TYPE vns_sam_{name} gauge", f"vns_sam_{name} {value:g}"]
        return "\n".join(lines) + "\n"
