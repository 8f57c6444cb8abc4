"""Simulate a bank's card payments and the frauds among them, one Parquet file a day.

The process is the one of Le Borgne, Siblini, Lebichot and Bontempi, "Reproducible Machine Learning for Credit Card
Fraud Detection" (Université Libre de Bruxelles, 2022), chapter 3; `BOOK` in a comment of this package means that
source.
"""

from model.training.simulation.files import SimulationSummary, simulate
from model.training.simulation.settings import PROFILES, SimulationError, SimulationSettings

__all__ = ["PROFILES", "SimulationError", "SimulationSettings", "SimulationSummary", "simulate"]
