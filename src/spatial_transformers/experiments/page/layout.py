"""What stands where on the page, and what each slider calls; it needs gradio.

Nothing is shared by users: each has the image that they gave in a state of their own.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes.base import Base
from torch import Tensor

from spatial_transformers import FAMILIES, KERNELS, InputError

from . import explain as explaining
from .pictures import read, read_drawing
from .view import Moves, Straightener

CSS = "footer {display: none} .words textarea {font-family: monospace}"
_HEIGHT = 300  # pixels of a picture, so that all of the page is seen at once
_PAD = 280  # pixels of the drawing pad, along each axis
#: Calls are answered in the order in which they came: the last one is what the page shows.
_IN_TURN: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden"}
_PRIVATE: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_OWN = "or your own image: PNG, JPEG, WebP, TIFF, BMP, PPM"
_ANOTHER = "Another digit that it has not learnt from"
_SLIDERS = [
    {"label": label, "minimum": low, "maximum": high, "value": rest, "step": step}
    for label, low, high, rest, step in (  # as `Moves` has them
        ("turn (deg)", -180, 180, 0, 1),
        ("scale", 0.5, 2, 1, 0.01),
        ("shear", -1, 1, 0, 0.01),
        ("move right (%)", -50, 50, 0, 1),
        ("move down (%)", -50, 50, 0, 1),
        ("bend (%)", -40, 40, 0, 1),
    )
]
_FIRST = "affine"  # transformation
_ABOUT = "Files have at most 10 MB and 2^24 pixels, and stay on the machine that serves this page."


def theme() -> Base:
    """Return a theme whose fonts are the system's own."""
    return Base(font=["system-ui", "sans-serif"], font_mono=["monospace"])


def page(straighten: Straightener) -> gr.Blocks:
    """Return the page of a run."""
    with gr.Blocks(title="Spatial transformers", analytics_enabled=False) as blocks:
        gr.Markdown(f"# Spatial transformers\n{_ABOUT}")
        with gr.Tab("Straighten"):
            _straighten(blocks, straighten)
        with gr.Tab("Explain"):
            _explain(blocks)
    return blocks


def _told(function: Callable[..., Sequence[Any]], pictures: int) -> Callable[..., Any]:
    """Return a function that, where it is refused, gives the reason in place of the words.

    Args:
        function: returns so many pictures, and then words.
        pictures: how many these are.

    """

    @wraps(function)
    def told(*given: Any) -> Sequence[Any]:
        try:
            return function(*given)
        except InputError as error:
            return [*[None] * pictures, str(error)]

    return told


def _held(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that gives the reason in place of an image that is refused."""

    @wraps(function)
    def held(*given: Any) -> Any:
        try:
            return function(*given)
        except InputError as error:
            return str(error)

    return held


def _columns_of(options: Sequence[Mapping[str, Any]]) -> list[gr.Slider]:
    """Lay out sliders in two columns, the first half in the first one."""
    made, half = [], len(options) // 2
    with gr.Row():
        for column in (options[:half], options[half:]):
            with gr.Column(min_width=200):
                made += [gr.Slider(interactive=True, **given) for given in column]
    return made


def _pictures(given: str, made: str) -> tuple[gr.Image, gr.Image]:
    options: dict[str, Any] = {
        "format": "png",
        "interactive": False,
        "buttons": [],
        "height": _HEIGHT,
    }
    return gr.Image(label=given, **options), gr.Image(label=made, **options)


def _words(label: str) -> gr.Textbox:
    return gr.Textbox(label=label, lines=4, interactive=False, elem_classes="words")


def _straighten(blocks: gr.Blocks, straighten: Straightener) -> None:
    """Lay out the tab of the run.

    What gives an image puts it, or the reason why there is none, into the user's state, and what
    shows it comes after that, with the sliders as they are by then.
    """
    with gr.Row():
        with gr.Column(scale=1, min_width=320):
            pad = _pad() if straighten.digits else None
            another = gr.Button(_ANOTHER) if straighten.digits else None
            file = gr.File(label=_OWN, height=120, elem_id="own")
        with gr.Column(scale=2):
            with gr.Row():
                given, straight = _pictures("What is given, and where it is read", "Straightened")
            sliders = _columns_of(_SLIDERS)
            with gr.Row():
                classes = gr.Label(label="Read as", num_top_classes=3)
                words = _words("θ: where the output lies in the input")

    def show(image: Tensor | str, *moves: float) -> list[Any]:
        if isinstance(image, str):
            raise InputError(image)
        return [*straighten(image, Moves(*moves))]

    def drawn(event: gr.EventData) -> Tensor:
        return straighten.canvas(read_drawing(event.image))

    def uploaded(path: str) -> Tensor:
        return straighten.canvas(read(Path(path)))

    def sampled(number: int) -> list[Any]:
        return [number + 1, straighten.sample(number)]

    image, number = gr.State("no image is there; draw something, or give a file"), gr.State(0)
    shown: dict[str, Any] = {
        "fn": _told(show, 3),
        "inputs": [image, *sliders],
        "outputs": [given, straight, classes, words],
    }
    gr.on([s.change for s in sliders], **shown, api_name="straighten", **_IN_TURN)
    upload = file.upload(_held(uploaded), file, image, api_name="file", **_IN_TURN)
    upload.then(**shown, **_PRIVATE)
    if pad is None or another is None:
        return
    pad.input(_held(drawn), None, image, **_PRIVATE).then(**shown, **_PRIVATE)
    for asked in (another.click, blocks.load):
        asked(sampled, number, [number, image], **_PRIVATE).then(**shown, **_PRIVATE)


def _pad() -> gr.HTML:
    """Return a pad to draw on, which gives the drawing as the data of its event."""
    return gr.HTML(
        container=True,
        html_template="<p>Draw a digit</p>"
        f'<canvas width="{_PAD}" height="{_PAD}"></canvas><button>Clear</button>',
        css_template="canvas {border: 1px solid gray; touch-action: none; cursor: crosshair}"
        " button {display: block; text-decoration: underline}",
        js_on_load=Path(__file__).with_name("pad.js").read_text(encoding="utf-8"),
    )


def _explain(blocks: gr.Blocks) -> None:
    """Lay out the tab of transformations and kernels."""
    with gr.Row():
        with gr.Column(scale=1, min_width=320):
            sample = gr.Dropdown([*explaining.samples()], value="flower", label="picture")
            file = gr.File(label="or your own image", height=120)
            family = gr.Dropdown([*FAMILIES], value=_FIRST, label="transformation")
            kernel = gr.Dropdown([*KERNELS], value="bilinear", label="kernel")
            padding = gr.Dropdown([*explaining.PADDING_MODES], value="zeros", label="padding")
            words = _words("θ in human units")
        with gr.Column(scale=2):
            with gr.Row():
                given, output = _pictures("Input and sampling grid", "Output")
            gr.Markdown("θ leads from the output to the input. A length of 1 is half the image.")
            sliders = _columns_of(_knobs(_FIRST))
            most = explaining.STRONGEST
            strength = gr.Slider(0, most, 0.1, step=0.01, label="strength", visible=False)
            seed = gr.Slider(0, 99, 0, step=1, label="seed of the draw", visible=False)

    own = gr.State()
    hand = [sample, kernel, padding, strength, seed, *sliders]
    shown: dict[str, Any] = {
        "fn": _told(_explained, 2),
        "inputs": [own, sample, family, kernel, padding, strength, seed, *sliders],
        "outputs": [given, output, words],
    }
    gr.on([option.change for option in hand], **shown, api_name="explain", **_IN_TURN)
    blocks.load(**shown, **_PRIVATE)
    turned = [*sliders, strength, seed]
    family.input(_turned_to, family, turned, api_name="family", **_IN_TURN).then(
        **shown,
        **_PRIVATE,  # sliders of the new family may rest where the others did
    )
    upload = file.upload(_held(_uploaded), file, own, api_name="explain_file", **_IN_TURN)
    for asked in (upload, file.clear(lambda: None, None, own, **_PRIVATE)):
        asked.then(**shown, **_PRIVATE)


def _explained(
    image: Tensor | str | None, name: str, family: str, kernel: str, padding: str,
    strength: float, seed: float, *values: float,
) -> list[Any]:  # fmt: skip
    """Return the pictures and words of a user's own image, or of a sample."""
    if isinstance(image, str):
        raise InputError(image)
    chosen, theta = explaining.theta_of(family, values, strength=strength, seed=seed)
    picture = explaining.samples()[name] if image is None else image
    return [*explaining.explain(picture, chosen, theta, mode=kernel, padding_mode=padding)]


def _uploaded(path: str) -> Tensor:
    """Return a user's own image."""
    return read(Path(path))


def _turned_to(family: str) -> list[Any]:
    """Return what the sliders become for a family."""
    drawn = not explaining.knobs(family)
    return [*(gr.update(**knob) for knob in _knobs(family)), *[gr.update(visible=drawn)] * 2]


def _knobs(family: str) -> list[dict[str, Any]]:
    """Return what every slider is like for a family; those that it does not need are hidden."""
    known = [
        {"minimum": k.low, "maximum": k.high, "value": k.start, "label": k.label, "visible": True}
        for k in explaining.knobs(family)
    ]
    spare: dict[str, Any] = {"minimum": -1, "maximum": 1, "value": 0, "visible": False}
    return known + [spare] * (explaining.MOST_KNOBS - len(known))
