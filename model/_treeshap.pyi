from typing import Final

import numpy as np
from numpy.typing import NDArray

INSTRUCTION_SETS: Final[list[str]]

class Explainer:
    def __new__(
        cls,
        n_features: int,
        num_leaves: NDArray[np.int32],
        split_feature: NDArray[np.int32],
        decision_type: NDArray[np.int32],
        left_child: NDArray[np.int32],
        right_child: NDArray[np.int32],
        threshold: NDArray[np.float64],
        leaf_value: NDArray[np.float64],
        leaf_count: NDArray[np.float64],
        internal_count: NDArray[np.float64],
        instruction_set: str | None = None,
    ) -> Explainer: ...
    @property
    def n_features(self) -> int: ...
    @property
    def n_trees(self) -> int: ...
    @property
    def n_leaves(self) -> int: ...
    @property
    def points(self) -> int: ...
    @property
    def base(self) -> float: ...
    @property
    def instruction_set(self) -> str: ...
    def explain_into(self, row: NDArray[np.float64], contributions: NDArray[np.float64], /) -> float: ...
    def explain_rows_into(self, rows: NDArray[np.float64], contributions: NDArray[np.float64], /) -> None: ...
