"""Reading of lines whose letters nobody has located: connectionist temporal classification."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..task import Metric, Task, percent


class Transcription(Task):
    """CTC of label sequences (N, L), padded with `blank`, with logits (N, T, labels) of columns.

    Args:
        blank: the label that says nothing.

    Source: Graves et al., Connectionist temporal classification: labelling unsegmented sequence
    data with recurrent neural networks, ICML 2006.

    """

    metrics = (Metric("error", "error", "%", percent),)

    def __init__(self, blank: int):
        self.blank = blank

    def loss(self, output: Tensor, theta: Tensor | None, target: Tensor) -> Tensor:
        """Return the mean over the lines of -log p, divided by the number of letters."""
        lengths = (target != self.blank).sum(1)
        steps = torch.full_like(lengths, output.shape[1])
        known = output.float().log_softmax(-1).transpose(0, 1)
        return F.ctc_loss(known, target, steps, lengths, blank=self.blank)

    def read(self, output: Tensor) -> Tensor:
        """Return the best labels (N, T) of columns, repeats and blanks taken out, then blanks."""
        best = output.argmax(-1)
        kept = (best != self.blank) & (best != F.pad(best, (1, 0), value=-1)[:, :-1])
        order = kept.int().argsort(dim=1, descending=True, stable=True)
        return best.where(kept, self.blank).gather(1, order)

    def scores(self, output: Tensor, theta: Tensor | None, target: Tensor) -> Mapping[str, Tensor]:
        """Return which lines are not read as a whole."""
        read = self.read(output)
        width = max(read.shape[1], target.shape[1])
        read, target = (F.pad(t, (0, width - t.shape[1]), value=self.blank) for t in (read, target))
        return {"error": (read != target).any(1)}

    def captions(self, output: Tensor, target: Tensor) -> list[str]:
        """Return what stands there, and what was read."""
        pairs = zip(target.tolist(), self.read(output).tolist(), strict=True)
        return [f"{self._word(a)}, read as {self._word(b)}" for a, b in pairs]

    def _word(self, labels: list[int]) -> str:
        return "".join(str(label) for label in labels if label != self.blank)
