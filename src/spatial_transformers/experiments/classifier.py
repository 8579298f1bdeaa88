"""Training of a classifier behind a spatial transformer, as a Lightning module."""

import time
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor

from .networks import Network
from .pose import summarise
from .recipe import Recipe

_FRAMES = {round(1.25**k) for k in range(80)}  # steps after which poses are kept, to 5 · 10^7


class Classifier(LightningModule):
    """Cross-entropy, AdamW and a one-cycle schedule.

    The localisation network has its own learning rate and gradient clipping, since a few large
    steps of its are enough to lose the image for good, and no weight decay, which would draw θ to
    a constant. Every process scores all images, and finds the same.
    """

    def __init__(self, network: Network, recipe: Recipe, shown: Tensor | None = None):
        super().__init__()
        self.network = network
        self.recipe = recipe
        self.shown = shown  # images whose θ is kept during training
        self.poses: dict[int, Tensor] = {}  # by the number of steps
        self._wrong: list[Tensor] = []
        self._thetas: list[Tensor] = []
        self.theta = torch.empty(0)  # of the images scored last
        self.errors: list[float] = []  # % of the validation images, after each epoch
        self.test_error = float("nan")  # %
        self.seconds = 0.0  # of training, interruptions taken out
        self._started = 0.0

    def on_fit_start(self) -> None:
        """Start the clock."""
        self._started = time.monotonic() - self.seconds

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        images, labels = batch
        logits = self.network(images.to(self.dtype))[0].to(self.dtype)  # autocast gives fewer bits
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        self.log("loss", loss, prog_bar=True)
        return loss

    def on_train_start(self) -> None:
        """Keep the first θ."""
        if self.global_step == 0:
            self._keep_poses()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Keep what there is to show."""
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
        self.errors.append(self._summarise("val_error"))
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
        """Keep the error for the run's metrics."""
        self.test_error = self._summarise("test_error")

    def on_train_end(self) -> None:
        """Read the clock, and keep the last θ."""
        self.seconds = time.monotonic() - self._started
        self._keep_poses()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what a continued run needs to tell its whole story."""
        seconds = time.monotonic() - self._started
        checkpoint["story"] = {"errors": self.errors, "seconds": seconds, "poses": self.poses}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the story."""
        self.errors = list(checkpoint["story"]["errors"])
        self.seconds = checkpoint["story"]["seconds"]
        self.poses = dict(checkpoint["story"]["poses"])

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the localisation network's gradient."""
        if self.network.transformer is not None:
            localisation = self.network.transformer.localisation.parameters()
            torch.nn.utils.clip_grad_norm_(localisation, self.recipe.localisation_clip)

    def configure_optimizers(self) -> Any:
        """Return AdamW with a group per learning rate, and its schedule."""
        recipe = self.recipe
        groups = [{"params": list(self.network.classifier.parameters()), "lr": recipe.lr}]
        if self.network.transformer is not None:
            parameters = list(self.network.transformer.parameters())
            rate = recipe.lr * recipe.localisation_lr
            groups.append({"params": parameters, "lr": rate, "weight_decay": 0.0})
        # a fused step unscales float16's gradients itself, after they are clipped
        fused = recipe.precision != "16-mixed"
        optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=fused)
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
    def _keep_poses(self) -> None:
        """Keep θ of the images that are shown, as the network would predict it now."""
        if self.shown is not None and self.network.transformer is not None:
            self.network.eval()  # batches in training would count for its statistics
            shown = self.shown.to(self.device).to(self.dtype)
            self.poses[self.global_step] = self.network.transformer.localisation(shown).cpu()
            self.network.train()

    def _score(self, batch: tuple[Tensor, Tensor]) -> None:
        images, labels = batch
        logits, theta = self.network(images.to(self.dtype))
        self._wrong.append(logits.argmax(1) != labels)
        if theta is not None:
            self._thetas.append(theta.cpu())

    def _summarise(self, name: str) -> float:
        """Log and return the error in percent, and keep θ."""
        error = 100 * torch.cat(self._wrong).double().mean().item()
        self.log(name, error, prog_bar=True, sync_dist=True)
        self._wrong.clear()
        if self._thetas:
            self.theta = torch.cat(self._thetas)
        self._thetas.clear()
        return error
