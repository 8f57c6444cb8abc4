"""Committed records of a topic become files that analysts and the next refresh read."""

from model.training.landing.contract import AwayError, LandingError
from model.training.landing.kinds import KINDS
from model.training.landing.run import land
from model.training.landing.sink import Tally

__all__ = ["KINDS", "AwayError", "LandingError", "Tally", "land"]
