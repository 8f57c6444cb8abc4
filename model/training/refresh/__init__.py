"""Fresh statistics every hour: `antifraud refresh`."""

from model.training.refresh.contract import RefreshBusyError, RefreshError, RefreshOutcome, Verdict
from model.training.refresh.run import refresh

__all__ = ["RefreshBusyError", "RefreshError", "RefreshOutcome", "Verdict", "refresh"]
