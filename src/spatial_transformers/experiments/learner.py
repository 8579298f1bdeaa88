"""Training of a network on its task, as a Lightning module."""

import time
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from spatial_transformers import SpatialTransformer, parameter_groups

from .base import Network
from .pose import summarise
from .recipe import Recipe
from .task import Task

_FRAMES = {round(1.25**k) for k in range(80)}  # steps after which poses are kept, to 5 · 10^7


class Learner(LightningModule):
    """AdamW and a one-cycle schedule.

    Localisation networks have their own learning rate and gradient clipping, since a few large
    steps of theirs are enough to lose the image for good. They have no weight decay, which would
    draw θ to a constant. Every process scores all samples, with the same result.

    Args:
        network: returns its output and θ, or None; see `Experiment`.
        task: what the network learns.
        recipe: how the network is trained.
        shown: inputs whose θ is kept during training.

    """

    def __init__(self, network: Network, task: Task, recipe: Recipe, shown: Tensor | None = None):
        super().__init__()
        self.network = network
        self.task = task
        self.recipe = recipe
        self.shown = shown
        self.poses: dict[int, Tensor] = {}  # by the number of steps
        self._scores: list[Any] = []
        self._thetas: list[Tensor] = []
        self.theta = torch.empty(0)  # of the samples scored last
        self.validation: dict[str, list[float]] = {m.key: [] for m in task.metrics}  # by epoch
        self.test: dict[str, float] = {}
        self.seconds = 0.0  # of training, interruptions taken out
        self._started = 0.0
        self.began = False  # to train; before, what a checkpoint holds is taken up

    def on_fit_start(self) -> None:
        """Start the clock."""
        self._started = time.monotonic() - self.seconds

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        inputs, target = batch
        output, theta = self.network(inputs.to(self.dtype))
        loss = self.task.loss(output.to(self.dtype), theta, target)  # autocast gives fewer bits
        self.log("loss", loss, prog_bar=True)
        return loss

    def on_train_start(self) -> None:
        """Keep the first θ."""
        self.began = True
        if self.global_step == 0:
            self._keep_poses()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Keep θ for the film, after certain steps."""
        if self.global_step in _FRAMES:
            self._keep_poses()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Score a batch and keep its θ."""
        self._score(batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Score a batch and keep its θ."""
        self._score(batch)

    def on_validation_epoch_end(self) -> None:
        """Log what the transformer does, so that a collapse shows early."""
        for key, value in self._summarise("val").items():
            self.validation[key].append(value)
        summary = self.theta_summary()
        for name, value in summary.items():
            self.log_dict({f"theta/{name}, {part}": number for part, number in value.items()})
        if summary:
            self.log("outside (%)", summary["outside (%)"]["mean"], prog_bar=True)

    def theta_summary(self) -> dict[str, dict[str, float]]:
        """Return mean and standard deviation of θ in human units, or nothing without one."""
        transformer = self.network.transformer
        return {} if transformer is None else summarise(transformer.transformation, self.theta)

    def on_test_epoch_end(self) -> None:
        """Keep the numbers for the run's metrics."""
        self.test = self._summarise("test")

    def on_train_end(self) -> None:
        """Read the clock, and keep the last θ."""
        self.seconds = time.monotonic() - self._started
        self._keep_poses()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the scores, seconds and poses so far, which a continued run goes on from."""
        seconds = time.monotonic() - self._started
        story = {"validation": self.validation, "seconds": seconds, "poses": self.poses}
        checkpoint["story"] = story

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the scores, seconds and poses of a checkpoint."""
        story = checkpoint["story"]
        self.validation = {key: list(values) for key, values in story["validation"].items()}
        self.seconds = story["seconds"]
        self.poses = dict(story["poses"])

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the localisation networks' gradient."""
        transformers = [m for m in self.network.modules() if isinstance(m, SpatialTransformer)]
        theirs = {id(p): p for t in transformers for p in t.localisation.parameters()}
        torch.nn.utils.clip_grad_norm_(theirs.values(), self.recipe.localisation_clip)

    def configure_optimizers(self) -> Any:
        """Return AdamW with a group per learning rate, and its schedule."""
        recipe = self.recipe
        groups = parameter_groups(
            self.network,
            recipe.lr,
            localisation_lr=recipe.lr * recipe.localisation_lr,
            weight_decay=recipe.weight_decay,
        )
        # a fused step unscales float16's gradients itself, after they are clipped
        fused = recipe.precision != "16-mixed"
        optimizer = torch.optim.AdamW(groups, fused=fused)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in groups],
            total_steps=int(self.trainer.estimated_stepping_batches),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    @torch.no_grad()
    def shown_poses(self) -> Tensor | None:
        """Return θ of the inputs that are shown, as the network would predict it now."""
        if self.shown is None or self.network.transformer is None:
            return None
        self.network.eval()  # in training mode these inputs would change its statistics
        theta = self.network(self.shown.to(self.device).to(self.dtype))[1]
        self.network.train()
        return theta.cpu()

    def _keep_poses(self) -> None:
        if (theta := self.shown_poses()) is not None:
            self.poses[self.global_step] = theta

    def _score(self, batch: tuple[Tensor, Tensor]) -> None:
        inputs, target = batch
        output, theta = self.network(inputs.to(self.dtype))
        self._scores.append(self.task.scores(output, theta, target))
        if theta is not None:
            self._thetas.append(theta.cpu())

    def _summarise(self, when: str) -> dict[str, float]:
        """Log and return the metrics, and keep θ."""
        found = {}
        for metric in self.task.metrics:
            scores = torch.cat([scores[metric.key] for scores in self._scores])
            found[metric.key] = metric.total(scores)
            self.log(f"{when}_{metric.key}", found[metric.key], prog_bar=True, sync_dist=True)
        self._scores.clear()
        if self._thetas:
            self.theta = torch.cat(self._thetas)
        self._thetas.clear()
        return found
