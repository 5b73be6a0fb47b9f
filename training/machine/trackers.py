"""Experiment trackers that `report_to` names."""

from collections.abc import Sequence

from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

from ...configuration.errors import UserError


def check_trackers(names: Sequence[str]) -> None:
    """Raises `UserError` for a tracker that Transformers does not know, or that is not installed."""
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            raise UserError(f"report_to={name} is no tracker: choose among {', '.join(INTEGRATION_TO_CALLBACK)}")
        if name not in (installed := get_available_reporting_integrations()):
            there = f"choose among {', '.join(installed)}" if installed else "set report_to=[]"
            raise UserError(f"report_to={name} needs a package that is not installed: pip install {name}, or {there}")
