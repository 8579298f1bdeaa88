"""Draws the pictures of `page.md`: `stn page` in a headless Chromium, one picture for each tab.

Run: python docs/page/draw_page.py
"""

import re
import shutil
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from spatial_transformers._drawing import few_colours

FOLDER = Path(__file__).parent
SIZE = (1280, 1080)  # of the window
COLOURS = 128
SETTLED = 2  # seconds after which nothing on the page moves any more
SERVE = "import sys; from spatial_transformers.commands import main; sys.exit(main(sys.argv[1:]))"
#: Draws a two with a round head, and lifts the pen.
DRAW = """
const pad = document.querySelector("canvas"), box = pad.getBoundingClientRect();
pad.setPointerCapture = () => {};
const put = (kind, x, y) => pad.dispatchEvent(new PointerEvent(kind, {
  clientX: box.left + x * box.width, clientY: box.top + y * box.height, pointerId: 1}));
put("pointerdown", 0.3, 0.3);
for (let k = 0; k <= 30; k++) {
  const angle = Math.PI * (1 + 1.2 * k / 30);
  put("pointermove", 0.5 + 0.2 * Math.cos(angle), 0.3 + 0.16 * Math.sin(angle));
}
put("pointermove", 0.28, 0.85);
put("pointermove", 0.75, 0.85);
put("pointerup", 0.75, 0.85);
"""
#: Moves a slider, which is found by the label that it begins with.
SLIDE = """
const [label, value] = arguments;
const slider = [...document.querySelectorAll("input[type=range]")].find((one) =>
  one.getAttribute("aria-label").startsWith("range slider for " + label));
slider.value = value;
for (const kind of ["input", "change"]) slider.dispatchEvent(new Event(kind, {bubbles: true}));
"""


def browser() -> WebDriver:
    """Return a browser without a window, which downloads nothing."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for option in ("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars"):
        options.add_argument(f"--{option}")
    options.add_argument(f"--window-size={SIZE[0]},{SIZE[1]}")
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def save(driver: WebDriver, name: str) -> None:
    """Write what the browser shows."""
    time.sleep(SETTLED)
    path = FOLDER / f"{name}.png"
    few_colours(Image.open(BytesIO(driver.get_screenshot_as_png())), COLOURS).save(
        path, optimize=True
    )
    print(path)


def draw(url: str) -> None:
    """Draw a digit, turn it, and bend a photograph."""
    driver = browser()
    try:
        driver.get(url)
        words = ".words textarea"
        WebDriverWait(driver, 30, ignored_exceptions=[Exception]).until(
            lambda _: driver.find_element(By.CSS_SELECTOR, words).get_attribute("value")
        )
        driver.execute_script(DRAW)
        driver.execute_script(SLIDE, "turn", 55)
        save(driver, "straighten")
        tabs = driver.find_elements(By.CSS_SELECTOR, "button[role=tab]")
        next(tab for tab in tabs if tab.text == "Explain").click()
        time.sleep(SETTLED)
        for entry, value in {"m11": 0.7, "m12": 0.35, "m21": -0.2, "m22": 0.8}.items():
            driver.execute_script(SLIDE, entry, value)
        save(driver, "explain")
    finally:
        driver.quit()


if __name__ == "__main__":
    command = [sys.executable, "-c", SERVE, "page", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.match(r"http://\S+", server.stdout.readline())
        assert found
        try:
            draw(found[0])
        finally:
            server.send_signal(signal.SIGINT)
