"""What goes to the Hugging Face Hub and comes from it; all that is asked of huggingface_hub."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .._errors import InputError, brief, how_to_get
from .card import CARD

WEIGHTS = "model.safetensors"
_REASON = 200  # characters of what the Hub says


def located(
    name: str | os.PathLike[str], files: Sequence[str], **options: Any
) -> tuple[Path, bool]:
    """Return the folder of a name, and whether it was downloaded.

    Args:
        name: of a folder, or else of a repository of the Hub.
        files: that are downloaded, of those that the repository has.
        **options: `revision`, `token`, `cache_dir`, `force_download` and `local_files_only`, as
            huggingface_hub's `snapshot_download` takes them.

    Raises:
        InputError: if there is no such folder, and no such repository or no way to it.

    """
    name = os.fspath(name)
    if os.path.isdir(name):
        return Path(name), False
    hub = _client(f"{brief(name)} is no folder here, and looking it up on the Hugging Face Hub")
    try:
        # one commit for all files, whatever is pushed meanwhile
        folder = hub.snapshot_download(name, allow_patterns=[*files], **options)
    except Exception as error:  # of the network, of the Hub, of the cache
        raise InputError(
            f"{brief(name)}: neither a folder here nor a repository of the Hub that can be read "
            f"({_reason(error)}); check the name, the token and the network"
        ) from error
    return Path(folder), True


def require_card(folder: Path, name: object) -> None:
    """Refuse a folder for the Hub that does not say in words what it holds."""
    if not (folder / CARD).is_file():
        raise InputError(
            f"{name}: has no {CARD}, which says what a model is and how it may be used; ask for "
            "one that save_pretrained or push_to_hub wrote"
        )


def require_weights(folder: Path, name: object) -> Path:
    """Return the file of a folder's weights; refuse whatever else is there in its place."""
    if not (folder / WEIGHTS).is_file():
        raise InputError(
            f"{name}: has no {WEIGHTS}; other files of weights, such as pytorch_model.bin, may run "
            "code when they are read, and are not; ask for safetensors"
        )
    return folder / WEIGHTS


def pushed(write: Callable[[Path, str], None], repo_id: str, **options: Any) -> str:
    """Upload what `write` puts into a folder, told the repository's full name; return the address.

    Args:
        write: gets the folder and the name.
        repo_id: the repository, which is made if there is none.
        **options: of huggingface_hub's `ModelHubMixin.push_to_hub`.

    Raises:
        InputError: if the Hub does not take it.

    """
    hub = _client(f"pushing to {brief(repo_id)}")

    class Folder(hub.ModelHubMixin):
        """A folder as the mixin uploads it: its own repository, commit or request, its options."""

        def _save_pretrained(self, save_directory: Path) -> None:
            write(save_directory, "/".join(save_directory.parts[-2:]))  # named as the repository

    try:
        return str(Folder().push_to_hub(repo_id, **options))
    except InputError:
        raise
    except Exception as error:  # of the network, and of the Hub
        raise InputError(
            f"{brief(repo_id)}: the Hub does not take it ({_reason(error)}); check the name, the "
            "token (`hf auth login`) and the network"
        ) from error


def _client(asked: str) -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        cure = how_to_get("hub")
        raise InputError(f"{asked} needs the package {error.name!r}; {cure}") from error
    return huggingface_hub


def _reason(error: Exception) -> str:
    return brief(" ".join(str(error).split()), _REASON) or type(error).__name__
