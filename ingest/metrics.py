"""Ingest's own numbers for Prometheus, read from the receiver when they are asked for."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingest.acceptor import Crowd
from ingest.grant_quota import GrantQuota
from ingest.quota import Quotas
from ingest.receive import Receiver


class IngestCollector(Collector):
    """Nothing is counted twice on the upload path: these are the tallies and the door's state."""

    def __init__(
        self, receiver: Receiver, http: Crowd, grpc: Crowd, quotas: Quotas, grants: GrantQuota
    ) -> None:
        self._receiver = receiver
        self._quotas = quotas
        self._grants = grants
        self._http, self._grpc = http, grpc

    def collect(self) -> Iterator[Metric]:
        received = CounterMetricFamily("holdfast_ingest_received", "What came in.", labels=["what"])
        rejected = CounterMetricFamily(
            "holdfast_ingest_rejected", "What of it was refused, and why.", labels=["what", "code"]
        )
        fields = CounterMetricFamily(
            "holdfast_ingest_fields_discarded", "Fields left out, and why.", labels=["code"]
        )
        for name, count in sorted(self._receiver.totals().items()):
            what, _, rest = name.partition(":")
            if what == "fields":
                fields.add_metric([rest], count)
            elif rest == "received":
                received.add_metric([what], count)
            else:
                rejected.add_metric([what, rest.removeprefix("rejected:")], count)
        yield from (received, rejected, fields)
        yield from self._door()

    def _door(self) -> Iterator[Metric]:
        admission, committer = self._receiver.admission, self._receiver.committer
        grants, http, grpc = self._grants, self._http, self._grpc
        evicted = http.evicted_count + grpc.evicted_count
        expired = http.expired_count + grpc.expired_count
        for counter, text, count in (
            ("overload_refused", "Uploads told to come back.", admission.refused_count),
            ("quota_refused", "Uploads beyond an app's quota.", self._quotas.refused_count),
            ("grants_given", "Ids under which units count.", grants.given_count),
            ("grants_refused", "Questions of networks that had theirs.", grants.refused_count),
            ("groups_committed", "Commit groups written.", committer.groups),
            ("appends_failed", "Appends that the log refused.", committer.appends_failed),
            ("connections_evicted", "Connections closed for others.", evicted),
            ("connections_expired", "Connections closed as slow.", expired),
        ):
            yield CounterMetricFamily(f"holdfast_ingest_{counter}", text, value=count)
        for gauge, text, value in (
            ("uploads_in_flight", "Uploads admitted and not yet answered.", admission.in_flight),
            ("bytes_in_flight", "Bytes that came and wait.", admission.in_flight_bytes),
            ("connections", "Served over HTTP.", http.connections.count),
            ("grpc_connections", "Served over gRPC.", grpc.connections.count),
            ("newcomers", "Not served yet.", http.newcomers.count + grpc.newcomers.count),
            ("strangers", "Without a key, waiting for a turn.", len(http.turns)),  # both doors'
        ):
            yield GaugeMetricFamily(f"holdfast_ingest_{gauge}", text, value=value)
