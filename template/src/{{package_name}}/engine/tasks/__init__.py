# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Ready-made tasks. Subclass one in the project's task.py and write `build`; override the rest."""

from .classification import Classification
from .forecasting import Forecasting
from .multilabel import MultiLabel
from .regression import Regression
from .segmentation import Segmentation

__all__ = ["Classification", "Forecasting", "MultiLabel", "Regression", "Segmentation"]
