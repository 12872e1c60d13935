"""Tells people, once, that phones say names which nobody has registered, or units without a grant.

What they say is stored nowhere, the log of this process included: it is a stranger's words. So the
field and the number of uploads are told, and the release notes of the app know the rest.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from actions.messages import Notice
from wire.desired import Desired

_log = logging.getLogger("holdfast.registered")
_PREFIX: Final = "fields:unregistered_"
UNGRANTED: Final = "fields:ungranted"
WHERE: Final = {
    "app_version": "spec.appVersions",
    "sdk_version": "spec.sdkVersions",
    "region": "spec.regions",
}


@dataclass(slots=True)
class RegistrationWatch:
    """`look` at ingest's totals now and then. Told once a field and policy, anew after a change."""

    on_notice: Callable[[Notice], None] = lambda _: None
    _told: set[str] = field(default_factory=set)
    _commit: str = ""
    _before: dict[str, int] = field(default_factory=dict)

    def look(self, totals: Mapping[str, int], desired: Desired | None) -> None:
        """See what was counted since the last look."""
        commit = desired.commit if desired is not None else ""
        if commit != self._commit:
            self._commit, self._told = commit, set()
        for name, count in totals.items():
            fresh = count - self._before.get(name, 0)
            if name.startswith(_PREFIX) and fresh > 0:
                self._before[name] = count
                self._tell(name.removeprefix(_PREFIX), fresh)
            elif name == UNGRANTED and fresh > 0:
                self._before[name] = count
                self._tell_ungranted(fresh)

    def _tell_ungranted(self, uploads: int) -> None:
        if UNGRANTED in self._told:
            return
        self._told.add(UNGRANTED)
        do = "ship an SDK that asks for grants, or set units.proof: none"
        _log.warning("units_without_grant", extra={"uploads": uploads, "do": do})
        self.on_notice(
            Notice(
                "units_without_grant",
                f"{UNGRANTED}|{self._commit}",
                "Units come without a grant",
                (
                    ("Uploads", f"{uploads} so far; their rows are kept"),
                    ("Verdicts", "of releases leave their units out"),
                    ("To do", do),
                ),
            )
        )

    def _tell(self, name: str, uploads: int) -> None:
        if name in self._told:
            return
        self._told.add(name)
        where = WHERE[name]
        said = {"field": name, "uploads": uploads, "do": f"register it in {where} of the policy"}
        _log.warning("unregistered_names", extra=said)
        self.on_notice(
            Notice(
                "unregistered_names",
                f"{name}|{self._commit}",
                f"Phones say a {name} that is not registered",
                (
                    ("Uploads", f"{uploads} so far; they are taken and counted as 'other'"),
                    ("Verdicts", "of releases leave them out until it is registered"),
                    ("To do", f"add it to {where} of the policy"),
                ),
            )
        )
