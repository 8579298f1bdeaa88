"""Training of a classifier behind a spatial transformer, as a Lightning module."""

from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor

from .networks import Network
from .pose import summarise
from .recipe import Recipe


class Classifier(LightningModule):
    """Cross-entropy, AdamW and a one-cycle schedule.

    The localisation network has its own learning rate and gradient clipping: a few large steps of
    its are enough to lose the image for good.
    """

    def __init__(self, network: Network, recipe: Recipe):
        super().__init__()
        self.network = network
        self.recipe = recipe
        self._thetas: list[Tensor] = []
        self.theta_summary: dict[str, dict[str, float]] = {}

    def on_train_epoch_start(self) -> None:
        """Key every draw of the epoch by seed and epoch, so that a resumed run repeats it."""
        torch.manual_seed((self.recipe.seed << 20) + self.current_epoch)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        images, labels = batch
        loss = F.cross_entropy(self.network(images)[0].float(), labels)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Score a batch and keep its θ."""
        self._score("val_error", batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Score a batch and keep its θ."""
        self._score("test_error", batch)

    def on_validation_epoch_end(self) -> None:
        """Log what the transformer does, so that a collapse shows early."""
        self._summarise_theta()
        for name, value in self.theta_summary.items():
            self.log_dict({f"theta/{name}, {part}": number for part, number in value.items()})
        if "outside (%)" in self.theta_summary:
            self.log("outside (%)", self.theta_summary["outside (%)"]["mean"], prog_bar=True)

    def on_test_epoch_end(self) -> None:
        """Keep the summary of θ for the run's metrics."""
        self._summarise_theta()

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
            slow = recipe.lr * recipe.localisation_lr
            groups.append({"params": list(self.network.transformer.parameters()), "lr": slow})
        optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in groups],
            total_steps=int(self.trainer.estimated_stepping_batches),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _score(self, name: str, batch: tuple[Tensor, Tensor]) -> None:
        images, labels = batch
        logits, theta = self.network(images)
        error = 100 * (logits.argmax(1) != labels).double().mean()
        self.log(name, error, prog_bar=True, on_epoch=True, batch_size=len(labels))
        if theta is not None:
            self._thetas.append(theta.cpu())

    def _summarise_theta(self) -> None:
        transformer = self.network.transformer
        if transformer is not None and self._thetas:
            thetas = torch.cat(self._thetas)
            self.theta_summary = summarise(transformer.transformation, thetas)
        self._thetas.clear()
