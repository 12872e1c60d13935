"""A service that must not go on says so before it listens; its supervisor ends with the reason."""

from pathlib import Path

import pytest

from holdfast.config import load
from holdfast.example_repo import make_repository
from holdfast.folder import Folder
from holdfast.manifests import Clocks, Model, policy_text, repository_files
from holdfast.outside import store_settings
from holdfast.supervise import Node
from store.client import connect
from store.migrate import Migration, migrate, shipped
from wire.errors import PermanentError


@pytest.mark.timeout(120)
def test_a_store_of_a_later_version_ends_up_before_any_upload_is_taken(tmp_path: Path) -> None:
    model = Model("keyboard", "next-word", "1.4.0", "1.5.0", 0.2)
    policy = policy_text(Clocks(window_ms=1000), regions=("DE",), apps=("keyboard",))
    make_repository(tmp_path / "gitops.git", repository_files((model,), policy))
    folder = Folder(tmp_path / "node")
    settings = load(
        dir=folder.root,
        http_port=0,
        grpc_port=0,
        store_port=0,
        gitops_url=str(tmp_path / "gitops.git"),
        gitops_poll_s=0.3,
    )
    with (tmp_path / "node.log").open("ab") as errors:
        node = Node(settings, errors=errors)
        try:
            node.start()
            store = connect(store_settings(node.settings, folder))
            later = Migration(len(shipped()) + 1, "9999_later.sql", "SELECT 1;")
            migrate(store, now_ms=1, app_version="9.9.9", migrations=[*shipped(), later])
            store.close()
        finally:
            node.stop()

        again = Node(settings, errors=errors)
        try:
            with pytest.raises(PermanentError) as caught:
                again.start()
        finally:
            again.stop()

    assert caught.value.code == "schema_newer"
    assert not folder.service.exists()
