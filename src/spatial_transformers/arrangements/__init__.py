"""Several spatial transformers put together (section 3.4): side by side, and one after another."""

from .append import AppendTheta as AppendTheta
from .parallel import Parallel as Parallel
from .series import Recurrent as Recurrent
from .series import Series as Series
