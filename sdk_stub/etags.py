"""Which ETags may be shown to the server again. Nobody signs them, and flash spoils them."""

import re
from typing import Final

_ONE_TAG: Final = re.compile(r'(?:W/)?"[0-9A-Za-z._-]{1,128}"', re.ASCII)


def is_one_tag(etag: str) -> bool:
    """Whether it is one plain entity tag.

    ``*`` or a list that holds it would be answered "not modified" for ever; other characters would
    make no request at all.
    """
    return _ONE_TAG.fullmatch(etag) is not None
