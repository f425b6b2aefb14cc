"""`python -m tests.support.reference_pages`: the tables of docs/metrics.md and docs/access-log.md, from the code."""

from __future__ import annotations

import io
import json
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from pullgate_operator.metrics import Metrics as OperatorMetrics
from pullgate_proxy.observe.metrics import Metrics as ProxyMetrics
from pullgate_proxy.observe.pull_log import PullLog
from pullgate_proxy.request.record import Record

DOCS = Path(__file__).parents[2] / "docs"
FIELDS = {
    "time": "end of the request, RFC 3339 with milliseconds, UTC",
    "requestId": "the request's id; also in the header X-Request-Id of the answer",
    "client": "the client's address, behind trusted proxies the one that they name",
    "method": "GET, HEAD or POST",
    "kind": "manifests, blobs, tags, referrers, token or ping; empty if the path is invalid",
    "host": "the host that was asked, with its port",
    "app": "the License's namespace; empty before a key was recognized",
    "license": "the License",
    "key": "id of the key, as in `status.keys` of the License; never the key",
    "registry": "the Registry",
    "repository": "the repository of the request's path",
    "reference": "tag or digest",
    "status": "status code of the answer",
    "reason": "Ok, or the fault's name ([errors](errors.md)); ClientGone if the client hung up",
    "bytes": "bytes of the body that were sent",
    "duration": "seconds until the end of the body",
    "cache": "hit, revalidated, shared, miss, stale; off if nothing is kept ([cache](cache.md))",
    "message": "the fault in the vendor's words; absent without a fault",
    "test": "true for a test by the vendor; absent otherwise",
    "aborted": "true if the body failed after its header; absent otherwise",
}


def metric_rows(metrics: object) -> list[str]:
    """A row for each metric: its name as Prometheus sees it, type, labels, meaning."""
    rows = []
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            name = metric._name + ("_total" if isinstance(metric, Counter) else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            rows.append(f"| `{name}` | {metric._type} | {labels} | {metric._documentation} |")
    return rows


async def logged_fields() -> set[str]:
    """The names in a line of the access log that has all of them."""
    stream = io.StringIO()
    log = PullLog(stream, "json")
    log.write(Record(message="x", test=True, aborted=True), 0.0)
    log.flush()
    return set(json.loads(stream.getvalue()))


def log_rows() -> list[str]:
    """A row for each field of the access log."""
    return [f"| `{name}` | {meaning} |" for name, meaning in FIELDS.items()]


def render_metrics() -> str:
    """docs/metrics.md."""
    head = "| metric | type | labels | meaning |\n|---|---|---|---|\n"
    proxy, operator = ("\n".join(metric_rows(made())) for made in (ProxyMetrics, OperatorMetrics))
    return f"""\
# Metrics

Written by `python -m tests.support.reference_pages`, from the code.

Prometheus reads both from the admin ports (`--admin`): `/metrics`, the text format. No label holds a License, an image
or anything else that a customer chooses, so the number of series is bounded by the number of Registries.
`pullgate_requests_total{{reason}}` has the names of [errors.md](errors.md). Alerts and a dashboard:
[deploy/components](../deploy/components).

## Proxy

Metrics of the disk, of the object store and of peers exist only if the proxy has them.

{head}{proxy}

## Operator

Only the operator that leads shows Registries and Licenses.

{head}{operator}
"""


def render_log() -> str:
    """docs/access-log.md."""
    rows = "\n".join(log_rows())
    return f"""\
# The access log

Written by `python -m tests.support.reference_pages`, from the code.

The proxy writes one line to its standard output for each request, also for a refused one: JSON, or coloured text on a
terminal (`--log-format`). The line is written when the body has ended, so `bytes` and `duration` are those of the whole
answer. No field holds a key, a credential or a token.

| field | meaning |
|---|---|
{rows}

The pulls of the last day, from the logs of all proxies:

```sh
kubectl -n pullgate-system logs -l app.kubernetes.io/name=pullgate-proxy --since=24h --tail=-1 \\
  | jq -r 'select(.kind == "manifests" and .status == 200) | [.time, .app, .license, .repository, .reference] | @tsv'
```

The denied requests, with their reasons:

```sh
kubectl -n pullgate-system logs -l app.kubernetes.io/name=pullgate-proxy --since=24h --tail=-1 \\
  | jq -r 'select(.status == 401 or .status == 403 or .status == 429) | [.time, .license, .reason, .message] | @tsv'
```
"""


def main() -> None:
    """Write both pages."""
    (DOCS / "metrics.md").write_text(render_metrics())
    (DOCS / "access-log.md").write_text(render_log())


if __name__ == "__main__":
    main()
