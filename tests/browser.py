"""TensorBoard's pages in a real browser, Debian's Chromium without a screen.

python tests/browser.py logs docs/images     screenshots of each page, as PNG
"""

import contextlib
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

PAGES = ("timeseries", "graphs", "images", "histograms", "text", "hparams")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-quic", "--force-device-scale-factor=1"),
)

# Seconds for what is on a page for certain: only a failure takes so long.
PATIENCE = 300

# TensorBoard keeps much of its pages in shadow trees, where selectors do not look.
ALL_NODES = """
function nodes(node) {
  if (["STYLE", "SCRIPT", "NOSCRIPT"].includes(node.nodeName)) return [];
  const inner = node.shadowRoot ? [...node.shadowRoot.childNodes] : [];
  return [node, ...[...inner, ...node.childNodes].flatMap(nodes)];
}
const all = nodes(document.body);
"""
TEXT = ALL_NODES + "return all.filter(n => n.nodeType == 3).map(n => n.data).join(' ')"
IMAGES = (
    ALL_NODES + "return all.filter(n => n.nodeName == 'IMG' && n.naturalWidth > 100)"
    ".map(n => [n.naturalWidth, n.naturalHeight])"
)
PATHS = (
    ALL_NODES + "return all.filter(n => n.nodeName.toLowerCase() == 'path' && "
    "n.getBoundingClientRect().width > 20).length"
)


def missing():
    """What is not there of what a browser needs, in words, or ""."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed"
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install chromium-driver)"
    return ""


@contextlib.contextmanager
def tensorboard(log_dir):
    """Starts TensorBoard on a folder; yields its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log_dir)]
    command += ["--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = ""
            for line in process.stderr:
                said += line
                match = re.search(r"at (http://[^ ]+)/", line)
                if match:
                    break
            else:
                raise RuntimeError(f"TensorBoard ended: {said}")
            yield match.group(1)
        finally:
            process.terminate()


class Browser:
    """Chromium on a TensorBoard; quits at the end of a `with` statement."""

    def __init__(self, address, width=1400, height=900):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for flag in (*FLAGS, f"--window-size={width},{height}"):
            options.add_argument(flag)
        service = Service(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)
        self.address = address

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.driver.quit()

    def open(self, page):
        """Opens one of `PAGES` anew."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.address}/#{page}")

    def find(self, script, is_enough):
        """Runs a script until its value is enough; returns the last one."""
        deadline = time.monotonic() + PATIENCE
        value = None
        while time.monotonic() < deadline:
            value = self.driver.execute_script(script)
            if is_enough(value):
                break
            time.sleep(0.5)
        return value

    def text(self, *wanted):
        """The page's text, once all of the wanted words are in it."""
        return self.find(TEXT, lambda text: all(word in text for word in wanted))

    def images(self, count):
        """Sizes of the page's images, once so many are loaded."""
        return self.find(IMAGES, lambda sizes: len(sizes) >= count)

    def paths(self, count):
        """How many curves are drawn, once there are so many."""
        return self.find(PATHS, lambda found: found >= count)


def main(log_dir, out_dir):
    """Takes a screenshot of each page."""
    with tensorboard(log_dir) as address, Browser(address, 1500, 900) as browser:
        browser.open("hparams")
        browser.text("test accuracy")  # when that is there, all runs were read
        for page in PAGES:
            browser.open(page)
            time.sleep(8)
            browser.driver.save_screenshot(str(Path(out_dir) / f"{page}.png"))


if __name__ == "__main__":
    main(*sys.argv[1:])
