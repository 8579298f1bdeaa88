"""Everything that decides a run's result, as flat, typed, JSON-able facts."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from spatial_transformers import InputError


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Args:
        experiment: its name.
        distortion: of the images, by the paper's name.
        model: `cnn`, `st-cnn`, `fcn` or `st-fcn`.
        transformation: of the spatial transformer.
        epochs: passes over the training images.
        batch_size: images per step.
        lr: peak learning rate of AdamW under a one-cycle schedule.
        localisation_lr: multiplies `lr` for the localisation network.
        localisation_clip: largest gradient norm of the localisation network.
        weight_decay: of AdamW, for the classifier.
        label_smoothing: share of every label that is spread over all classes.
        jitter: strength of random bends of the training images before they are distorted, at first;
            it falls towards a quarter.
        hold_out: leave the validation images out of training, so that they can guide choices; once
            these are made, training on all is better, and validation tells how it goes, no more.
        precision: of the computation, by Lightning's name: `32-true`, `bf16-mixed`, ….
        seed: of weights, order and distortions.

    """

    experiment: str
    distortion: str
    model: str = "st-cnn"
    transformation: str = "affine"
    epochs: int = 10
    batch_size: int = 256
    lr: float = 3e-3
    localisation_lr: float = 1.0
    localisation_clip: float = 1.0
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    jitter: float = 0.0
    hold_out: bool = True
    precision: str = "32-true"
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the facts as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, facts: Any, source: object) -> "Recipe":
        """Read the facts back.

        Raises:
            InputError: for a missing, unknown or mistyped fact, naming `source`.

        """
        known = {f.name: f.type for f in fields(cls)}
        if not isinstance(facts, dict) or set(facts) != set(known):
            found = set(facts) if isinstance(facts, dict) else set()
            odd = ", ".join(sorted(set(known) ^ found))
            raise InputError(f"{source}: not a recipe of this version (differs in: {odd})")
        kinds = {str: (str,), bool: (bool,), int: (int,), float: (int, float)}
        for name, kind in known.items():
            if type(facts[name]) not in kinds[kind]:  # type: ignore[index]
                raise InputError(f"{source}: {name} is {facts[name]!r}; it must be a {kind}")
        return cls(**facts)

    def differences(self, other: "Recipe") -> str:
        """Say in which facts two recipes differ: `name: this → other`."""
        mine, theirs = self.as_json(), other.as_json()
        return ", ".join(f"{k}: {mine[k]} → {theirs[k]}" for k in mine if mine[k] != theirs[k])
