"""One git command: an argv list, no shell, no hooks, nobody's configuration, a time limit."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wire.errors import PermanentError, TransientError

_OUTPUT_MAX: Final = 300  # characters of git's own words in an error's detail


@dataclass(frozen=True, slots=True)
class GitSettings:
    """Where the GitOps repository is and who we are in it.

    `folder` is ours alone and disposable: the remote is the ledger. `environment` is what git may
    see of the world (PATH, SSH_AUTH_SOCK, proxies). `authorization` is the value of an HTTP
    ``Authorization`` header; like credentials in `remote` it appears in no error and no argv.
    """

    remote: str
    branch: str
    folder: Path
    author_name: str = "Holdfast"
    author_email: str = "holdfast@localhost"
    timeout_s: float = 60.0
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": os.defpath})
    ssh_command: str = "ssh -o BatchMode=yes"
    authorization: str = field(default="", repr=False)

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
        """How the command ended; TransientError ``git_timeout`` if it did not."""
        with subprocess.Popen(
            ["git", "--git-dir", str(self._bare), *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self._environment, **(environment or {})},
            start_new_session=True,  # git's transports are children; a time-out must end them too
        ) as git:
            try:
                out, err = git.communicate(stdin, timeout=self._settings.timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(git.pid, signal.SIGKILL)
                git.communicate()
                raise TransientError(
                    "git_timeout", f"git {argv[0]} took over {self._settings.timeout_s:g} s"
                ) from None
            except BaseException:
                os.killpg(git.pid, signal.SIGKILL)
                raise
        return Ended(git.returncode, out, self._redacted(err.decode(errors="replace")))

    def _redacted(self, words: str) -> str:
        words = re.sub(r"://[^/@\s]*@", "://***@", words)
        for secret in (self._settings.authorization, self._settings.authorization.split(" ")[-1]):
            if secret:
                words = words.replace(secret, "***")
        return " ".join(words.split())[:_OUTPUT_MAX]


def _environment(settings: GitSettings) -> dict[str, str]:
    config = {
        "core.hooksPath": "/dev/null",
        "core.askPass": "",
        "credential.helper": "",
        "gc.autoDetach": "false",
        "maintenance.autoDetach": "false",
        "advice.detachedHead": "false",
        "remote.origin.url": settings.remote,
        "user.name": settings.author_name,
        "user.email": settings.author_email,
    }
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
