"""An issue's files in an app's TUF repository."""

from typing import Final

import msgspec
from securesystemslib.signer import Signer

from ingest.issue import Issue, with_files
from ingest.tuf_metadata import Whole, sign_timestamp, sign_whole, target_name

TIMESTAMP: Final = "metadata/timestamp.json"


def with_tuf(
    issue: Issue, last: Issue | None, signer: Signer, *, root_version: int, is_first: bool
) -> Issue:
    """The same with TUF metadata; snapshot and targets are kept while they still fit.

    `is_first`: of this process. What lies in the folder may then be older than what phones have.
    """
    whole = None
    if last is not None and last.root_version == root_version and not is_first:
        whole = _whole_of(last)
    is_same = last is not None and last.content == issue.content
    if whole is None or not is_same or not whole.is_fresh(issue.issued_ms):
        whole = sign_whole(
            signer,
            issue.app_id,
            issue.content,
            version=issue.version,
            now_ms=issue.issued_ms,
        )
    timestamp = sign_timestamp(signer, whole, version=issue.version, expires_ms=issue.expires_ms)
    new = {
        f"metadata/{whole.version}.targets.json": whole.targets,
        f"metadata/{whole.version}.snapshot.json": whole.snapshot,
        f"targets/{target_name(issue.app_id, issue.content)}": issue.content,
        TIMESTAMP: timestamp,
    }
    return msgspec.structs.replace(
        issue,
        files=with_files(last.files if last is not None else {}, new),
        whole_version=whole.version,
        whole_expires_ms=whole.expires_ms,
        root_version=root_version,
    )


def _whole_of(issue: Issue) -> Whole | None:
    snapshot = issue.files.get(f"metadata/{issue.whole_version}.snapshot.json")
    targets = issue.files.get(f"metadata/{issue.whole_version}.targets.json")
    if snapshot is None or targets is None:
        return None
    return Whole(issue.whole_version, issue.whole_expires_ms, snapshot, targets)
