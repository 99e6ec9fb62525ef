"""Networks in specifications: the whole architecture as plain values."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any

from gancomp_core.lab.experiment import JSON, Spec, canonical, without_defaults
from gancomp_core.nets import AgdArchitecture, Architecture


def values_of(architecture: Architecture) -> dict[str, JSON]:
    """A whole architecture as plain values of its family, those at a default left out.

    :func:`architecture_of` reads them back. The layers of an AGD network are their text.
    """
    described: Any = architecture
    defaults: dict[str, JSON] = {
        field.name: field.default for field in fields(described) if field.default is not MISSING
    }
    values = without_defaults(described.as_dict(), {"legacy": False, **defaults})
    return values | ({"layers": str(architecture)} if isinstance(architecture, AgdArchitecture) else {})


def architecture_of(values: Spec) -> Any:
    """The architecture that :func:`values_of` wrote.

    Raises:
        GancompError: For values that describe no architecture.
    """
    return _architecture(canonical(values))


@lru_cache(maxsize=1024)
def _architecture(text: str) -> Architecture:
    values = json.loads(text)
    if values.get("family") == "agd" and isinstance(values.get("layers"), str):
        ends = (values.get(name, 3) for name in ("in_channels", "out_channels"))
        return AgdArchitecture.parse(values["kind"], values["layers"], *ends)
    found: Architecture = Architecture.from_dict(values)
    return found
