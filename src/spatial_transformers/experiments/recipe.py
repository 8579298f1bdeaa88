"""Everything that decides a run's result, as flat, typed, JSON-able facts.

Every experiment has the facts of `Recipe`. One that needs more derives a class from it. A fact's
text, default and allowed values are written once, where the fact is: errors and `stn train --help`
say the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import Field, asdict, dataclass, field, fields
from math import inf
from typing import Any, NamedTuple, TypeVar

from spatial_transformers import InputError, make_transformation

from .._errors import brief, shown
from .._reading import fault

#: The version of recipes on disk. It rises when a fact changes its meaning. A new fact does not
#: raise it, since recipes without that fact have its default.
VERSION = 1

Self = TypeVar("Self", bound="Recipe")


class Within(NamedTuple):
    """A range of numbers, and its words."""

    words: str
    holds: Callable[[float], bool]


POSITIVE = Within("more than 0", lambda value: 0 < value < inf)
NOT_NEGATIVE = Within("0 or more", lambda value: 0 <= value < inf)
SHARE = Within("0 to below 1", lambda value: 0 <= value < 1)
SEED = Within("0 to 2^32 - 1", lambda value: 0 <= value < 1 << 32)
PRECISIONS = ("32-true", "64-true", "16-mixed", "bf16-mixed")


def fact(default: Any, text: str, allowed: Sequence[str] | Within | None = None) -> Any:
    """Return a field of a recipe.

    Args:
        default: the value in recipes that do not say otherwise, and in older ones without the fact.
        text: what the fact decides, in the words of the help.
        allowed: the names that the fact may have, or its range.

    """
    return field(default=default, metadata={"text": text, "allowed": allowed})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one network is trained: the facts that all experiments share."""

    experiment: str
    model: str = fact("st-cnn", "one of the experiment's networks")
    transformation: str = fact(
        "affine", "of the spatial transformer: affine, projective, … or several joined by +"
    )
    epochs: int = fact(10, "passes over the training samples", POSITIVE)
    batch_size: int = fact(256, "samples per step", POSITIVE)
    lr: float = fact(3e-3, "peak learning rate of AdamW under a one-cycle schedule", POSITIVE)
    localisation_lr: float = fact(1.0, "multiplies lr for the localisation network", POSITIVE)
    localisation_clip: float = fact(
        1.0, "largest gradient norm of the localisation network", POSITIVE
    )
    weight_decay: float = fact(1e-4, "of AdamW, except for the localisation network", NOT_NEGATIVE)
    # Once choices are made, training on all samples is better; validation then only shows progress.
    hold_out: bool = fact(True, "leave the validation samples out of training, to guide choices")
    precision: str = fact("32-true", "of the computation, by Lightning's name", PRECISIONS)
    seed: int = fact(0, "of weights, order and distortions", SEED)

    def check(self) -> None:
        """Refuse what no run can have.

        Raises:
            InputError: for an unknown name or a number out of range, saying what is allowed.

        """
        make_transformation(self.transformation)
        for known in fields(self):
            value, allowed = getattr(self, known.name), known.metadata.get("allowed")
            words = in_words(allowed)
            if isinstance(allowed, Within):
                if not allowed.holds(value):
                    raise InputError(f"{known.name} {value} was asked for; give {words}")
            elif allowed and value not in allowed:
                raise InputError(f"{known.name} {value!r} was asked for; known: {words}")

    def as_json(self) -> dict[str, Any]:
        """Return the facts as a JSON object."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls: type[Self], given: Any, source: object) -> Self:
        """Read the facts back. A fact that is not there has its default.

        Raises:
            InputError: for a recipe of a later version, and for a missing, unknown or mistyped
                fact, naming `source`.

        """
        cure = f"give the folder of a run of version 1 to {VERSION}, made by `stn train`"
        if not isinstance(given, dict):
            raise InputError(f"{source}: not a recipe; {cure}")
        version, facts = given.get("version", 1), {**given}
        facts.pop("version", None)
        if type(version) is not int or version not in range(1, VERSION + 1):
            raise InputError(f"{source}: a recipe of version {shown(version)}; {cure}")
        known = {f.name: f for f in fields(cls)}
        odd = (set(facts) - set(known)) | ({"experiment"} - set(facts))
        if odd:
            names = shown(sorted(odd))
            raise InputError(f"{source}: not a recipe (differs in: {names}); {cure}")
        kinds = {name: kind(known[name]) for name in facts}
        if reason := fault(facts, kinds):
            raise InputError(f"{source}: not a recipe ({reason}); {cure}")
        return cls(**{name: of(facts[name]) for name, of in kinds.items()})

    def differences(self, other: "Recipe") -> str:
        """Say in which facts two recipes differ: `name: this → other`."""
        mine, theirs = asdict(self), asdict(other)
        return ", ".join(
            f"{name}: {brief(mine.get(name))} → {brief(theirs.get(name))}"
            for name in {**mine, **theirs}
            if mine.get(name) != theirs.get(name)
        )


def kind(known: "Field[Any]") -> type:
    """Return the type of a fact: str, bool, int or float."""
    assert isinstance(known.type, type)
    return known.type


def in_words(allowed: Sequence[str] | Within | None) -> str:
    """Return in words which values a fact may have."""
    return allowed.words if isinstance(allowed, Within) else ", ".join(allowed or ())
