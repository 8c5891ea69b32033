# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Tables: a CSV or Parquet file as a data set, and the first and last layers of its model.

The names in __all__ never change, so data.py and task.py of every version work with them.
"""

from .columns import Columns
from .layers import table_inputs, table_outputs
from .source import read_table

__all__ = ["Columns", "read_table", "table_inputs", "table_outputs"]
