"""The page as served: two users at once, refused files, a browser, and no other machine."""

import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from PIL import Image, ImageDraw

from spatial_transformers.experiments.page import explain, pictures
from spatial_transformers.experiments.page.view import Moves, Straightener

#: Serves with a guard that tells of every connection to another machine, and refuses it.
SERVER = """
import socket, sys
connect, ask = socket.socket.connect, socket.getaddrinfo
def near(host):
    return host in ("127.0.0.1", "::1", "localhost", None, "")
def guarded(own, address):
    if isinstance(address, tuple) and not near(address[0]):
        print("went out", address, flush=True)
        raise OSError("offline")
    return connect(own, address)
def asked(host, *rest, **more):
    if not near(host):
        print("went out", host, flush=True)
        raise OSError("offline")
    return ask(host, *rest, **more)
socket.socket.connect, socket.getaddrinfo = guarded, asked
from spatial_transformers.commands import main
sys.exit(main(["page", "--port", "0"]))
"""
TURNS = 0, 40, -25, 80
REST = [1, 0, 0, 0, 0]  # the other sliders
SLIDE = """
const [slider, value] = arguments;
slider.value = value;
for (const kind of ["input", "change"]) slider.dispatchEvent(new Event(kind, {bubbles: true}));
"""
BROWSER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture(scope="module")
def url():
    """Serve the page; at the end Ctrl-C ends it, and nothing has gone out."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("stn page: loading")  # at once
    first = process.stdout.readline()
    found = re.match(r"http://127\.0\.0\.1:\d+/", first)
    try:
        if not found:
            process.kill()
        assert found, first + process.stdout.read()
        yield found[0]
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "went out" not in said
        assert "Traceback" not in said
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder of digits as users draw them, and of files that are refused."""
    folder = tmp_path_factory.mktemp("files")
    strokes = {
        "seven": [(70, 60), (200, 60), (110, 230)],
        "one": [(100, 90), (150, 50), (150, 230)],
    }
    for name, stroke in strokes.items():
        image = Image.new("L", (280, 280), 255)
        ImageDraw.Draw(image).line(stroke, 0, 16)
        image.save(folder / f"{name}.png")
    (folder / "none.png").write_bytes(b"no image at all")
    (folder / "long.png").write_bytes(bytes(11 << 20))
    Image.new("1", (4097, 4096)).save(folder / "wide.png")
    return folder


@pytest.fixture
def user(url):
    from gradio_client import Client, handle_file

    clients = []

    def make():
        clients.append(Client(url, verbose=False, analytics_enabled=False))
        return clients[-1], handle_file

    yield make
    for client in clients:
        client.close()


def read_as(found):
    return {c["label"]: c["confidence"] for c in found[2]["confidences"]}


def expected(image, *moves):
    straighten = Straightener()
    return straighten(straighten.canvas(image), Moves(*moves))


def test_two_users_do_not_disturb_each_other(user, files):
    names = "seven", "one"

    def use(name):
        client, file = user()
        client.predict(file(files / f"{name}.png"), api_name="/file")
        return [client.predict(turn, *REST, api_name="/straighten") for turn in TURNS]

    with ThreadPoolExecutor(2) as pool:
        both = dict(zip(names, pool.map(use, names), strict=True))
    for name, results in both.items():
        for turn, found in zip(TURNS, results, strict=True):
            due = expected(pictures.read(files / f"{name}.png"), turn)
            assert found[3] == due.words
            for label, confidence in read_as(found).items():
                assert confidence == pytest.approx(due.classes[label], abs=1e-5)
            with Image.open(found[1]) as image:
                assert image.convert("RGB").tobytes() == due.straight.tobytes()
    assert both["seven"][1][3] != both["one"][1][3]


@pytest.mark.traced
@pytest.mark.parametrize(
    ("name", "reason"),
    [("none", "none.png: not a PNG, JPEG, WebP"), ("wide", "wide.png: has 4097×4096 pixels; give")],
)
def test_files_that_cannot_be_used_are_told(user, files, name, reason):
    client, file = user()
    options = ["flower", "affine", "bilinear", "zeros", 0, 0, *[0.0] * 10]
    for given, shown, others in (
        ("/file", "/straighten", [0, *REST]),
        ("/explain_file", "/explain", options),
    ):
        client.predict(file(files / f"{name}.png"), api_name=given)
        found = client.predict(*others, api_name=shown)
        assert found[-1].startswith(reason)
        assert found[0] is None


def test_a_file_that_is_too_long_is_not_taken(url, files):
    head = 'Content-Disposition: form-data; name="files"; filename="long.png"'
    body = b"--edge\r\n" + head.encode() + b"\r\n\r\n" + (files / "long.png").read_bytes()
    request = Request(
        f"{url}gradio_api/upload",
        body + b"\r\n--edge--\r\n",
        {"Content-Type": "multipart/form-data; boundary=edge"},
    )
    with pytest.raises(HTTPError) as refused, urlopen(request):
        pass
    with refused.value as answer:
        assert answer.code == 413


def test_transformations_are_explained(user, files):
    client, file = user()
    start = client.predict("affine", api_name="/family")
    assert [update["label"] for update in start[:6]] == ["m11", "m12", "tx", "m21", "m22", "ty"]
    values = [0.5, 0, 0.25, 0, 0.5, 0, 0, 0, 0, 0]
    options = ["flower", "affine", "lanczos3", "border", 0, 0, *values]
    assert "translation x (%) +12" in client.predict(*options, api_name="/explain")[2]
    options[1], options[4] = "cpab", 0.2
    assert "velocity (%)" in client.predict(*options, api_name="/explain")[2]
    client.predict(file(files / "one.png"), api_name="/explain_file")
    with Image.open(client.predict(*options, api_name="/explain")[1]) as output:
        due = explain.explain(
            pictures.read(files / "one.png"),
            *explain.theta_of("cpab", strength=0.2),
            mode="lanczos3",
            padding_mode="border",
        )
        assert output.convert("RGB").tobytes() == due.output.tobytes()


@pytest.fixture
def browser():
    if None in BROWSER:
        pytest.skip("there is no chromium with its driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER[0]
    for option in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument(f"--{option}")
    options.add_argument("--window-size=1280,1000")
    driver = webdriver.Chrome(options=options, service=Service(BROWSER[1]))
    yield driver
    driver.quit()


def test_in_a_browser(browser, url, files):
    """Upload, slide, draw, and give a file that is none; all the page is made of is its own."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def one(selector):
        return browser.find_element(By.CSS_SELECTOR, selector)

    def words():
        return one(".words textarea").get_attribute("value")

    def becomes(condition):
        return WebDriverWait(browser, 20, ignored_exceptions=[Exception]).until(
            lambda _: condition()
        )

    browser.get(url)
    becomes(words)
    due = {turn: expected(pictures.read(files / "seven.png"), turn).words for turn in (0, 60)}
    one("#own input[type=file]").send_keys(str(files / "seven.png"))
    becomes(lambda: words() == due[0])
    for turn in (60, 0):
        browser.execute_script(SLIDE, one("input[type=range]"), turn)
        becomes(lambda turn=turn: words() == due[turn])
    pen = ActionChains(browser, duration=20).move_to_element_with_offset(one("canvas"), -30, -60)
    pen = pen.click_and_hold().move_by_offset(40, -30).move_by_offset(0, 160)
    pen.release().perform()
    becomes(lambda: words() != due[0])
    drawn = browser.execute_script("return arguments[0].toDataURL('image/png')", one("canvas"))
    assert words() == expected(pictures.read_drawing(drawn)).words
    one("#own button[aria-label=Clear]").click()
    becomes(lambda: one("#own input[type=file]")).send_keys(str(files / "none.png"))
    becomes(lambda: words().startswith("none.png: not a PNG"))
    asked = browser.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert asked
    assert [name for name in asked if not name.startswith((url, "blob:", "data:"))] == []
