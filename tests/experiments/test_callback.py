"""The Lightning callback; oracle: a logger that keeps what it is given."""

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers.logger import DummyLogger

from spatial_transformers import Affine, LocalisationCNN, SpatialTransformer
from spatial_transformers.experiments.callback import TransformerMonitor
from spatial_transformers.experiments.trainer import surroundings, trainer


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.stn = SpatialTransformer(LocalisationCNN(Affine(), in_channels=1), Affine())

    def training_step(self, batch, batch_idx):
        return self.stn(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.rand(12, 1, 16, 16), batch_size=2)


class Keeping(DummyLogger):
    def __init__(self):
        super().__init__()
        self.kept = []

    def log_metrics(self, metrics, step=None):
        self.kept.append((step, metrics))


def test_every_transformer_is_logged_now_and_then():
    model, logger = Model(), Keeping()
    with surroundings(1):
        trainer(
            callbacks=[TransformerMonitor(every=2)],
            logger=logger,
            max_epochs=1,
            accelerator="cpu",
            enable_checkpointing=False,
            enable_progress_bar=False,
        ).fit(model)
    kept = [values for _, values in logger.kept if "stn/outside (%)" in values]
    assert len(kept) == 3
    assert abs(kept[0]["stn/rotation (deg)"]) < 10
    assert {"stn/local scale", "stn/apart (%)"} <= set(kept[0])
    model.stn(torch.rand(2, 1, 16, 16))
    assert len([v for _, v in logger.kept if "stn/outside (%)" in v]) == 3
