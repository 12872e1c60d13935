"""One git command: an argv list, no shell, no hooks, nobody's configuration, a time limit."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from actions.git_words import shown_words
from wire.errors import PermanentError, TransientError

_LOOK_S: Final = 0.5
"""How often a growing clone is weighed."""


@dataclass(frozen=True, slots=True)
class GitSettings:
    """Where the GitOps repository is and who we are in it.

    `folder` is ours alone and disposable: the remote is the ledger. `environment` is what git may
    see of the world (PATH, SSH_AUTH_SOCK, proxies). `authorization` is the value of an HTTP
    ``Authorization`` header; like credentials in `remote` it appears in no error and no argv.
    `ca_file` (PEM) and `proxy` are for http(s) remotes; "" leaves them to `environment`.
    `timeout_s` is for one command, `bytes_max` for what a clone may take of the disk. `is_shallow`:
    the tip is enough, its history is not fetched.
    """

    remote: str
    branch: str
    folder: Path
    author_name: str = "Holdfast"
    author_email: str = "holdfast@localhost"
    timeout_s: float = 300.0
    bytes_max: int = 4 << 30
    is_shallow: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": os.defpath})
    ssh_command: str = "ssh -o BatchMode=yes"
    authorization: str = field(default="", repr=False)
    ca_file: str = ""
    proxy: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.remote or self.remote.startswith("-"):
            raise PermanentError("git_remote_invalid", "the remote is not an address")
        if not re.fullmatch(r"[0-9A-Za-z_][0-9A-Za-z_./-]*", self.branch) or ".." in self.branch:
            raise PermanentError("git_branch_invalid", "the branch is not a plain branch name")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a git command ended; `stderr` holds no secret."""

    code: int
    stdout: bytes
    stderr: str


class GitCommand:
    """Runs git against one bare repository with one remote, ``origin``."""

    def __init__(self, settings: GitSettings, bare: Path) -> None:
        self._settings = settings
        self._bare = bare
        self._environment = _environment(settings)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> bytes:
        """Standard output of a command that only touches the local clone.

        Raises
        ------
        TransientError
            ``git_failed`` or ``git_timeout``: the local clone is disposable and will be made anew.
        """
        ended = self.try_run(argv, stdin=stdin, environment=environment)
        if ended.code:
            raise TransientError("git_failed", f"git {argv[0]}: {ended.stderr}")
        return ended.stdout

    def try_run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """How the command ended.

        Raises
        ------
        TransientError
            ``git_timeout``: it did not end; ``git_not_started``.
        PermanentError
            ``git_repository_too_large``: the clone grew beyond `bytes_max`.
        """
        try:
            git = subprocess.Popen(
                ["git", "--git-dir", str(self._bare), *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**self._environment, **(environment or {})},
                start_new_session=True,  # git's transports are children; they must end with it
            )
        except OSError as error:
            raise TransientError("git_not_started", f"git: {error.strerror}") from error
        with git:
            try:
                out, err = self._waited_for(git, argv[0], stdin)
            except BaseException:
                os.killpg(git.pid, signal.SIGKILL)
                git.communicate()
                raise
        return Ended(git.returncode, out, self._shown(err.decode(errors="replace")))

    def _waited_for(
        self, git: subprocess.Popen[bytes], command: str, stdin: bytes
    ) -> tuple[bytes, bytes]:
        end_s = time.monotonic() + self._settings.timeout_s
        weighed = command == "fetch"
        given: bytes | None = stdin
        while True:
            left_s = end_s - time.monotonic()
            try:
                return git.communicate(given, max(min(left_s, _LOOK_S) if weighed else left_s, 0))
            except subprocess.TimeoutExpired:
                given = None  # it has been taken
                if time.monotonic() >= end_s:
                    limit = f"{self._settings.timeout_s:g} s"
                    raise TransientError(
                        "git_timeout", f"git {command} took over {limit}"
                    ) from None
                if weighed:
                    self.weigh()

    def weigh(self) -> None:
        """Raise PermanentError ``git_repository_too_large`` if the clone takes too much disk."""
        if folder_bytes(self._bare) > self._settings.bytes_max:
            raise PermanentError(
                "git_repository_too_large",
                f"its clone takes more than {self._settings.bytes_max >> 20} MiB",
                accepted="a repository of manifests alone, or a higher HOLDFAST_GITOPS_SIZE_MB",
            )

    def _shown(self, words: str) -> str:
        s = self._settings
        token = s.authorization.split(" ")[-1]
        return shown_words(words, remote=s.remote, secrets=(s.authorization, token, s.proxy))


def folder_bytes(folder: Path) -> int:
    """What its files take; those that vanish meanwhile take nothing."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.lstat(f"{parent}/{name}").st_size
    return total


def _environment(settings: GitSettings) -> dict[str, str]:
    config = {
        "core.hooksPath": "/dev/null",
        "core.askPass": "",
        "credential.helper": "",
        "core.fsmonitor": "false",
        "gc.autoDetach": "false",
        "maintenance.autoDetach": "false",
        "advice.detachedHead": "false",
        "remote.origin.url": settings.remote,
        "user.name": settings.author_name,
        "user.email": settings.author_email,
    }
    if settings.ca_file:
        config["http.sslCAInfo"] = settings.ca_file
    if settings.proxy:
        config["http.proxy"] = settings.proxy
    if settings.authorization:
        config["http.extraHeader"] = f"Authorization: {settings.authorization}"
    numbered = {"GIT_CONFIG_COUNT": str(len(config))}
    for i, (key, value) in enumerate(config.items()):
        numbered |= {f"GIT_CONFIG_KEY_{i}": key, f"GIT_CONFIG_VALUE_{i}": value}
    return {
        **settings.environment,
        **numbered,  # by environment, not by argv: other users see the argv of a process
        "HOME": str(settings.folder),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "GIT_SSH_COMMAND": settings.ssh_command,
        "GIT_ALLOW_PROTOCOL": "file:http:https:ssh",
        "GIT_NO_REPLACE_OBJECTS": "1",
    }
