"""JSON that tells by a digest whether it is as it was written.

A disk or a transfer changes a byte, and what is read then may be possible and wrong.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

_DIGEST = "sha256"


def seal(content: dict[str, Any]) -> bytes:
    """Give content of JSON with its digest.

    Parameters
    ----------
    content : dict
        Without a key ``"sha256"``.
    """
    return json.dumps({**content, _DIGEST: _digest(content)}).encode()


def read_sealed(path: Path, remedy: str) -> dict[str, Any]:
    """Read what `seal` has given.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    remedy : str
        What to do if it is damaged.

    Raises
    ------
    ValueError
        If it is.
    """
    try:
        content = json.loads(path.read_bytes())
        whole = content.pop(_DIGEST) == _digest(content)
    except (ValueError, LookupError, AttributeError, TypeError):
        whole = False
    if not whole:
        raise ValueError(f"{path} is damaged: {remedy}")
    return content


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
