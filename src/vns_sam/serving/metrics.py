"""Counts and durations in Prometheus' text format."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping

BOUNDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class Metrics:
    """What the server has done since its start. Routes are named by their pattern, so that there are few."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, int], int] = defaultdict(int)
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))
        self._seconds: dict[str, float] = defaultdict(float)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Takes note of one request."""
        self._requests[method, route, status] += 1
        self._buckets[route][bisect_left(BOUNDS, seconds)] += 1
        self._seconds[route] += seconds

    def text(self, gauges: Mapping[str, float]) -> str:
        """The page for Prometheus.

        Args:
            gauges: What is now, by name.
        """
        lines = ["# TYPE vns_sam_requests_total counter"]
        for (method, route, status), count in sorted(self._requests.items()):
            lines.append(f'vns_sam_requests_total{{method="{method}",route="{route}",status="{status}"}} {count}')
        lines.append("# TYPE vns_sam_request_seconds histogram")
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
                total += count
                lines.append(f'vns_sam_request_seconds_bucket{{route="{route}",le="{bound}"}} {total}')
            lines.append(f'vns_sam_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}')
            lines.append(f'vns_sam_request_seconds_count{{route="{route}"}} {total}')
        for name, value in gauges.items():
            lines += [f"# TYPE vns_sam_{name} gauge", f"vns_sam_{name} {value:g}"]
        return "\n".join(lines) + "\n"
