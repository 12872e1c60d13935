"""How the store and the GitOps repository are reached, of the settings. Imports no other room.

The store's clients weigh 100 MB: who only needs the repository does not load them.
"""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from actions.git_command import GitSettings
from actions.repository import Repository
from holdfast.config import Settings, git_environment
from holdfast.folder import Folder
from wire.errors import PermanentError

if TYPE_CHECKING:
    from store.client import StoreSettings
    from store.writer import Writer

VERSION = "0.1.0"


def repository_of(
    settings: Settings, folder: Folder, name: str, *, with_history: bool = False
) -> Repository:
    """The GitOps repository, with a clone of its own for one thread.

    Who looks for past rollbacks needs its history; for the rest the branch's tip is enough.
    """
    if not settings.gitops_url:
        raise PermanentError(
            "settings_invalid",
            "HOLDFAST_GITOPS_URL: there is no GitOps repository to watch",
            field="gitops_url",
            accepted="a path, or a file, https or ssh address",
        )
    return Repository(
        GitSettings(
            remote=settings.gitops_url,
            branch=settings.gitops_branch,
            folder=folder.gitops / name,
            environment=git_environment(),
            timeout_s=settings.gitops_timeout_s,
            bytes_max=settings.gitops_size_mb << 20,
            is_shallow=not with_history,
            ca_file=settings.gitops_ca_file,
            proxy=settings.gitops_proxy.get_secret_value(),
            authorization=settings.gitops_authorization.get_secret_value(),
        )
    )


def open_writer(settings: Settings, folder: Folder, now_ms: int) -> "Writer":
    """A writer of a store that answers and has every table; TransientError if it is away."""
    from store.client import connect
    from store.migrate import migrate
    from store.pace import Pace
    from store.released import Released
    from store.writer import Writer

    pace = Pace()
    client = connect(store_settings(settings, folder), on_retry=pace.failed)
    migrate(client, now_ms=now_ms, app_version=VERSION, cluster=settings.store_cluster)
    return Writer(client, pace, Released(client))


def store_settings(settings: Settings, folder: Folder, *, role: str = "writer") -> "StoreSettings":
    """How the store is reached: the own one, or a ClickHouse server."""
    from store.client import StoreSettings

    if settings.store_url:
        url = urlsplit(settings.store_url)
        return StoreSettings(
            host=url.hostname or "127.0.0.1",
            port=url.port or (8443 if url.scheme == "https" else 8123),
            user=settings.store_user,
            password=settings.store_password.get_secret_value(),
            secure=url.scheme == "https",
            cluster=settings.store_cluster,
        )
    return StoreSettings(
        host="127.0.0.1",
        port=settings.store_port,
        user="holdfast" if role == "writer" else role,
        password=folder.store_passwords()[role],
    )
