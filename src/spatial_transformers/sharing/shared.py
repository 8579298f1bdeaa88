"""Modules of this package as folders: a config, weights in safetensors, and a card.

README.md           the card, which the Hub shows
model.safetensors   the module's state, which says what θ means, too
config.json         what `to_config` returns
"""

import json
import os
from collections.abc import Iterator, Mapping
from inspect import getdoc
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from .._config import Configured, class_of
from .._errors import InputError, how_to_get
from .._files import whole_files, write_json
from .._reading import read_json
from .card import Card
from .hub import CARD, WEIGHTS, located, pushed, require_card, require_weights

CONFIG = "config.json"
_CURE = "give a folder that save_pretrained wrote, or a repository that push_to_hub did"
_LARGEST = 1 << 24  # bytes of a config, which may hold a table of numbers
_NAMES = 1 << 20  # bytes of names and shapes of weights
_PACKAGE = __name__.partition(".")[0]
_SIDES = {3: 32}  # pixels of an example along each axis
_Made = TypeVar("_Made", bound="Shared")


class Shared(Configured):
    """A module that is saved, loaded and pushed as models of the Hugging Face ecosystem are."""

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        license: str | None = None,
        numbers: Mapping[str, Any] | None = None,
        picture: str | os.PathLike[str] | None = None,
    ) -> None:
        """Write config, weights and a card into a folder, from which `from_pretrained` loads.

        Needs safetensors, which the extra `hub` brings. Files appear whole or not at all. A card
        that is there stays as it is.

        Args:
            folder: is made if there is none.
            license: the model's, by its name on the Hub, as `apache-2.0`.
            numbers: what is known of the model, by what they tell: `{"test error (%)": 0.66}`.
            picture: for the card, as `show` writes one.

        Raises:
            InputError: for what has no config, as `to_config` says, and without safetensors.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> import torch
            >>> from spatial_transformers import Affine, LocalisationCNN, SpatialTransformer
            >>> affine = Affine()
            >>> stn = SpatialTransformer(LocalisationCNN(affine, in_channels=1), affine, size=28)
            >>> with TemporaryDirectory() as folder:
            ...     stn.save_pretrained(folder, numbers={"test error (%)": 0.66})
            ...     again = SpatialTransformer.from_pretrained(folder)
            >>> image = torch.rand(1, 1, 40, 40)
            >>> torch.equal(again(image), stn.eval()(image))
            True

        """
        self._write(Path(folder), _card(self, os.fspath(folder), license, numbers, picture))

    @classmethod
    def from_pretrained(
        cls: type[_Made],
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
    ) -> _Made:
        """Return the module of a folder, or else of a repository of the Hub, in evaluation mode.

        Nothing is unpickled and no code of the folder runs: the config makes public classes of this
        package only, and weights are read from safetensors. Weights whose θ means something else
        than the config's are refused. The module is on the CPU, in single precision.

        Args:
            name: of the folder, or of the repository, as `someone/straightener`.
            revision: of the repository: a branch, a tag or a commit.
            token: for repositories that are not public; the one that is logged in, if None.
            cache_dir: where downloads are kept; huggingface_hub's own place, if None.
            force_download: download again what is there already.
            local_files_only: use what was downloaded before, and no network.

        Raises:
            InputError: if there is no such folder or repository; for one without a card, a config
                or safetensors; for a config of a later version, of another class or with an unknown
                key; and for weights that do not fit it.

        """
        options = {
            "revision": revision,
            "token": token,
            "cache_dir": cache_dir,
            "force_download": force_download,
            "local_files_only": local_files_only,
        }
        files = CARD, CONFIG, WEIGHTS
        folder, _ = located(name, files, **options)
        require_card(folder, name)
        config = _read(folder / CONFIG, cls.__name__, _CURE)
        try:
            module = cls.from_config(config)
        except InputError as error:
            raise InputError(f"{folder / CONFIG}: {error}") from error
        _load(module, require_weights(folder, name))
        return module.eval()

    def push_to_hub(
        self,
        repo_id: str,
        *,
        license: str | None = None,
        numbers: Mapping[str, Any] | None = None,
        picture: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> str:
        """Save, upload to a repository of the Hub, and return the commit's address.

        Args:
            repo_id: as `someone/straightener`; it is made if there is none.
            license: as `save_pretrained` takes it.
            numbers: likewise.
            picture: likewise.
            **options: of huggingface_hub's `ModelHubMixin.push_to_hub`: `commit_message`,
                `private`, `token`, `branch`, `create_pr`, `allow_patterns`, `ignore_patterns` and
                `delete_patterns`. `ignore_patterns="README.md"` keeps a card that is there.

        Raises:
            InputError: as `save_pretrained` does, and where the Hub does not take it.

        """

        def card(name: str) -> Card:
            return _card(self, name, license, numbers, picture)

        self._checked(card(repo_id))  # before a repository is made
        return pushed(lambda folder, name: self._write(folder, card(name)), repo_id, **options)

    def _write(self, folder: Path, card: Card) -> None:
        config, state = self._checked(card)
        folder.mkdir(parents=True, exist_ok=True)
        with whole_files(folder / CONFIG) as temporary:
            _tensors("saving").write(temporary / WEIGHTS, state)
            write_json(temporary / CONFIG, config)
            cure = "keep the code that makes it, and its state"
            _read(temporary / CONFIG, type(self).__name__, cure)
            card.write(temporary, folder)

    def _checked(self, card: Card) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return config and state; refuse what cannot be written."""
        kind, config, state = type(self).__name__, self.to_config(), self.state_dict()
        _tensors(f"saving a {kind}")
        if any(tensor.is_meta for tensor in state.values()):
            raise InputError(
                f"a {kind} on the meta device was to be saved, where it has no weights; move it"
            )
        card.check()
        return config, state


def _load(module: nn.Module, weights: Path) -> None:
    """Load a module's state from a file.

    Raises:
        InputError: if it is the state of another one.

    """
    tensors, state = _tensors(f"reading {weights}"), module.state_dict()
    most = 2 * sum(tensor.nbytes for tensor in state.values()) + _NAMES  # double precision
    if weights.stat().st_size > most:
        raise InputError(
            f"{weights}: has {weights.stat().st_size} bytes, and what {CONFIG} describes at most "
            f"{most}; {_CURE}"
        )
    found = tensors.read(weights, _CURE)
    if different := tensors.difference(found, state, older=False):
        raise InputError(
            f"{weights}: not the weights of what {CONFIG} describes ({different}); {_CURE}"
        )
    module.load_state_dict(found)


def _read(config: Path, kind: str, cure: str) -> Any:
    """Return a config, which may hold tables of numbers."""
    expected, what = {"class": str}, f"config of a {kind} that can be read"
    return read_json(config, expected, what=what, cure=cure, largest=_LARGEST)


def _tensors(asked: str) -> Any:
    """Return what reads and writes safetensors, which is no part of the core."""
    try:
        from .. import _tensors as found
    except ModuleNotFoundError as error:
        cure = how_to_get("hub")
        raise InputError(f"{asked} needs the package {error.name!r}; {cure}") from error
    return found


def _card(
    module: Shared,
    name: str,
    license: str | None,
    numbers: Mapping[str, Any] | None,
    picture: str | os.PathLike[str] | None,
) -> Card:
    kind = type(module)
    transformers: list[Any] = [m for m in module.modules() if hasattr(m, "localisation")]
    families = [type(m.transformation).__name__ for m in transformers]
    return Card(
        title=f"{kind.__name__} ({', '.join(families)})",
        says=(getdoc(kind) or kind.__name__).partition("\n")[0],
        code="\n".join(_code(kind, name, transformers[0])),
        made=repr(module),
        license=license,
        numbers=numbers or {},
        picture=None if picture is None else Path(picture),
    )


def _code(kind: type[Shared], name: str, first: Any) -> Iterator[str]:
    """Yield lines that load a module, and run it if its first transformer says on what."""
    channels = getattr(first.localisation, "in_channels", None)
    if channels is not None:
        yield "import torch"
    source = _PACKAGE if class_of(kind.__name__) is kind else kind.__module__
    yield f"from {source} import {kind.__name__}"
    yield ""
    yield f"model = {kind.__name__}.from_pretrained({json.dumps(name)})"
    if channels is not None:
        ndim = first.transformation.ndim
        shape = 1, channels, *[_SIDES.get(ndim, 64)] * ndim
        yield f"image = torch.rand{shape}"
        yield "output, theta = model(image, return_theta=True)"
