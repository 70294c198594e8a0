"""The web page of a model inside its report, or the reason why the report has none.

The page is the one of ``tinyscene page``. Refuses nothing: a missing compiler is a reason, and so is a front end that
the firmware does not have.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinyscene import __version__
from tinyscene.firmware_harness.errors import FirmwareError
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.firmware_harness.ship.web_page import POLICY, page
from tinyscene.runtime.model import Model


@dataclass(frozen=True)
class Demo:
    """``html``: the page, empty where there is none, which ``reason`` then explains."""

    html: str = ""
    reason: str = ""

    @property
    def policy(self) -> str:
        """The content security policy of a page that contains it: a frame has that of its page too."""
        return POLICY


def demo_of(model: Model) -> Demo | None:
    """The page of a model with a front end; None for any other model."""
    if model.frontend is None:
        return None
    try:
        return Demo(page(Product(model, Options(), f"tinyscene {__version__}")))
    except FirmwareError as problem:
        return Demo(reason=str(problem))
