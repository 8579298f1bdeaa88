"""A Lightning callback that logs what the spatial transformers of any model do; see `monitor`."""

from functools import partial
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from spatial_transformers import SpatialTransformer, monitor


class TransformerMonitor(Callback):
    """Logs θ in human units, the share outside and the local scale, in training.

    Every `SpatialTransformer` of the model is logged under its name in the model, as
    `network.stn/outside (%)`.

    Args:
        every: steps from one look to the next.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> from spatial_transformers.experiments.callback import TransformerMonitor
        >>> trainer = Trainer(callbacks=[TransformerMonitor(every=100)], logger=False, max_steps=1)

    """

    def __init__(self, every: int = 50):
        self.every = every
        self._monitors: list[Any] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to look."""
        for name, module in pl_module.named_modules():
            if isinstance(module, SpatialTransformer):
                log = partial(self._log, trainer, name)
                self._monitors.append(monitor(module, log, every=self.every))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop looking."""
        for each in self._monitors:
            each.close()
        self._monitors.clear()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Stop looking."""
        self.on_train_end(trainer, pl_module)

    @staticmethod
    def _log(trainer: Trainer, name: str, values: dict[str, float], step: int) -> None:
        if trainer.logger is not None:
            named = {f"{name}/{key}": value for key, value in values.items()}
            trainer.logger.log_metrics(named, trainer.global_step)
