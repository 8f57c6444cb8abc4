"""Save the champion as an MLflow model, the form that `mlflow models serve` takes."""

import shutil
import sys
from pathlib import Path

import lightgbm as lgb
import mlflow.lightgbm


def main(model_text: Path, folder: Path) -> None:
    """Save it into a folder, which is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    # No signature: MLflow then checks no schema, which is the fastest it can be.
    mlflow.lightgbm.save_model(lgb.Booster(model_file=str(model_text)), str(folder), pip_requirements=["lightgbm"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
